"""`dtcxen migrate` moves a VPS to another node, by this node's daemon; `dtcxen receive-vps` is what it talks to there."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from dtcxen_soap.access import Caller, Role
from dtcxen_soap.cli import call as cli_call
from dtcxen_soap.cli import door as cli_door
from dtcxen_soap.cli.console import CONFIG, FAILED, OK, form_of, load, remark, say
from dtcxen_soap.errors import Failed

if TYPE_CHECKING:
    from dtcxen_soap.movesteps import AskPeer

OPERATION = "migrateVPS"
_MIGRATE = """\
examples:
  dtcxen migrate 01 --to node2.example.org --plan
  dtcxen migrate 01 --to node2.example.org --copy-first
  dtcxen migrate 01 --to node2.example.org --settle

The other node checks everything before anything stops here, and is spoken to by ssh with migrate_key, if migrate_known_hosts knows it. Follows the
job to its end; one that was cut off so that nobody knows whose the VPS is starts nowhere, until --settle has asked the other node."""
_RECEIVE = """\
in root's authorized_keys of the node that VPSes move to, in one line:
  command="/usr/bin/dtcxen receive-vps",restrict ssh-ed25519 AAAA... the public half of the other node's migrate_key

Speaks a protocol of its own by standard input and output; not for hands."""


def add_to(commands: Any) -> None:
    """The subcommands."""
    migrate = commands.add_parser("migrate", help="move a VPS to another node", description="Move a VPS to another node.", epilog=_MIGRATE)
    migrate.add_argument("vps", metavar="VPS", help="01 or xen01")
    migrate.add_argument("--to", metavar="HOST[:PORT]", required=True, help="the node that it moves to, as migrate_known_hosts calls it")
    migrate.add_argument("--as", dest="to_vps", metavar="VPS", help="its number there; the same when not given")
    migrate.add_argument("--copy-first", action="store_true", help="copy once while it runs, so that it is down for a shorter time")
    migrate.add_argument("--stop-seconds", metavar="N", help="how long its shutdown may take, 180 when not given")
    migrate.add_argument("--force", action="store_true", help="end it at once when it has not shut down by then")
    migrate.add_argument("--settle", action="store_true", help="end a move that was cut off")
    migrate.add_argument("--plan", action="store_true", help="print the steps, ask the other node, and stop")
    migrate.add_argument("--no-follow", action="store_true", help="do not wait for the job to end")
    migrate.add_argument("--json", action="store_true", help="print the job's last record as JSON")
    cli_door.add_options(migrate)
    migrate.set_defaults(run=run_migrate)
    receive = commands.add_parser("receive-vps", help="take a VPS from another node; for sshd to run", description="Take a VPS from another node.", epilog=_RECEIVE)
    receive.add_argument("--config", metavar="FILE", default=CONFIG, help=f"the node's settings, {CONFIG} when not given")
    receive.set_defaults(run=run_receive)


def run_migrate(options: argparse.Namespace) -> int:
    """Ask the daemon, and follow the job; with --plan decide here, as `dtcxen plan` does."""
    values = _values(options)
    if options.plan and not cli_door.is_elsewhere(options):
        return print_plan(values, options.config or CONFIG)
    node = cli_door.node(options, cli_door.settings_of(options))
    shown = [*values, ("planOnly", "true")] if options.plan else values
    code = cli_call.carry_out(node, form_of(OPERATION), shown, follow=not options.no_follow, as_json=options.json)
    if options.plan and not options.settle:
        remark(f"{options.to} was not asked: it checks everything at its end first of all, before anything stops; without --url it is asked now")
    return code


def _values(options: argparse.Namespace) -> list[tuple[str, str]]:
    given = (("toVps", options.to_vps), ("copyFirst", options.copy_first and "true"), ("stopSeconds", options.stop_seconds),
             ("force", options.force and "true"), ("settle", options.settle and "true"))
    return [("vps", options.vps), ("toHost", options.to), *((name, value) for name, value in given if value)]


def print_plan(values: list[tuple[str, str]], config: str) -> int:
    """The steps that it would take now, and what the other node says to that: it is asked, and nothing is made there."""
    from dtcxen_soap import operations
    from dtcxen_soap.cli import plan as cli_plan
    from dtcxen_soap.movesteps import AskPeer
    from dtcxen_soap.planprint import render
    settings = load(config)
    call = operations.prepare(OPERATION, values, settings, Caller(settings.admin_user, Role.ADMIN, "dtcxen migrate"), rpc=False)
    plan = cli_plan.decided(call, settings)
    for line in render(plan):
        say(line)
    asks = [step for step in plan.steps if isinstance(step, AskPeer)]
    return _ask(asks[0], dict(values)["toHost"]) if asks else OK


def _ask(step: AskPeer, host: str) -> int:
    """Tell what the other node says. FAILED when the move would fail at once."""
    from dtcxen_soap import moving
    from dtcxen_soap.processes import Unwatched
    try:
        against = moving.would_refuse(step, Unwatched())
    except Failed as error:
        remark(f"{host} could not be asked: {error}")
        return FAILED
    for why in against:
        remark(f"{host} cannot take it: {why}")
    if not against:
        remark(f"{host} was asked, and would take it")
    return FAILED if against else OK


def run_receive(options: argparse.Namespace) -> int:
    """One session. Nothing but the protocol goes to standard output."""
    from dtcxen_soap.dom0 import Dom0
    from dtcxen_soap.journal import Journal
    from dtcxen_soap.lookfacts import busy_word
    from dtcxen_soap.movepipe import Pipe
    from dtcxen_soap.receiver import IDLE_SECONDS, Receiver
    from dtcxen_soap.survey.survey import Survey
    from dtcxen_soap.vps import VpsId
    settings = load(options.config)
    journal = Journal(settings.journal_path, settings.job_log_dir)

    def busy(vps: VpsId) -> str:
        operation = journal.at_work(vps) if journal.served() else ""
        return busy_word(operation) if operation else ""

    try:
        dom0 = Dom0()
        pipe = Pipe(os.dup(0), os.dup(1), IDLE_SECONDS, lambda: False)
        done = Receiver(settings, dom0, journal, Survey(settings, dom0, journal, busy), pipe).serve()
    finally:
        journal.close()
    return OK if done else FAILED
