"""`dtcxen setup-host`: make a node of a bare dom0, or take that back; a plan first, and nothing without --yes.

It has a journal of its own, so that a run that was killed is rolled back by the next one, whether a daemon serves or not.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dtcxen_soap import hostplan, hostsetup, nodelock, planprint, settings
from dtcxen_soap.cli import init as cli_init
from dtcxen_soap.cli import local as cli_local
from dtcxen_soap.cli.console import FAILED, OK, complain, load, remark, say
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Cancelled, DtcxenError, Failed, Misconfigured
from dtcxen_soap.hostfacts import HostWish, Made
from dtcxen_soap.hostplan import LAYOUT, PLACE, RECORD
from dtcxen_soap.hostsetup import Material
from dtcxen_soap.plans import Plan
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey import host as survey_host
from dtcxen_soap.survey import machine as survey_machine
from dtcxen_soap.upgrade import machine
from dtcxen_soap.upgrade.finding import Severity
from dtcxen_soap.vps import Mib

if TYPE_CHECKING:
    from dtcxen_soap.journal import Journal

_WORK = "setup-host"
_JOURNAL = f"{PLACE}/{_WORK}/journal.sqlite"
_LOCK = "/run/dtcxen-setup-host.lock"
LEAST_MIB, MOST_MIB = 512, 1 << 20
_EXAMPLES = """\
examples:
  dtcxen setup-host
  dtcxen setup-host --yes
  dtcxen setup-host --bridge xenbr0 --nic eth0 --dom0-memory 2048
  dtcxen setup-host --undo

Prints what it would do; --yes does it. What is there is kept: a second run does nothing. Packages, volume groups and a reboot are never
its business: what else the machine lacks is told at the end, as dtcxen doctor tells it."""


def add_to(commands: Any) -> None:
    """The subcommand."""
    command = commands.add_parser(
        "setup-host", help="make a node of this machine, a plan first", epilog=_EXAMPLES,
        description="Make whatever this dom0 lacks to be a node: directories, settings, credentials, the owners' console, sshd's rules; on request a bridge and dom0's memory.")
    command.add_argument("--yes", action="store_true", help="do it; without, the plan is printed and nothing is done")
    command.add_argument("--bridge", metavar="NAME", default="", help="have this bridge from the next boot on (ifupdown)")
    command.add_argument("--nic", metavar="CARD", default="", help="with that network card in it, whose address goes to the bridge")
    command.add_argument("--dom0-memory", metavar="MIB", type=_memory, help="what dom0 keeps for itself from the next boot on")
    command.add_argument("--admin-password-file", metavar="F", help="take the admin's password from F, instead of inventing one")
    command.add_argument("--undo", action="store_true", help="take back what setup-host made; what was changed since stays")
    command.set_defaults(run=run, command=command)


def _memory(text: str) -> Mib:
    if not text.isdecimal() or len(text) > 9 or not LEAST_MIB <= int(text) <= MOST_MIB:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of memory in MiB, expected {LEAST_MIB} to {MOST_MIB}")
    return Mib(int(text))


def run(options: argparse.Namespace) -> int:
    """Look, decide, tell; with --yes do it, and say what is left to the admin."""
    if options.nic and not options.bridge:
        options.command.error("--nic is for a --bridge")
    if options.undo and (options.bridge or options.dom0_memory or options.admin_password_file):
        options.command.error("--undo takes no other option than --yes")
    dom0 = Dom0()
    if not dom0.is_root():
        complain("only root sets up a node")
        return FAILED
    decide: Callable[[bool], Plan] = (lambda doing: _undo(dom0)) if options.undo else lambda doing: _plan(dom0, options, doing)
    if not options.yes:
        return _tell_only(decide(False), dom0)
    with nodelock.held(_LOCK, 0):
        try:
            code = _do(decide, dom0)
        finally:
            _end(dom0)
    if not options.undo:
        _tell_admin(dom0)
        _tell_left(dom0)
    return code


# -- deciding -------------------------------------------------------------------------------------


def _chosen(dom0: Dom0) -> Settings:
    return load(LAYOUT.config) if dom0.exists(LAYOUT.config) else settings.defaults()


def _made(dom0: Dom0) -> tuple[Made, ...]:
    return hostplan.read(dom0.read_text(RECORD, 1 << 24)) if dom0.exists(RECORD) else ()


def _plan(dom0: Dom0, options: argparse.Namespace, doing: bool) -> Plan:
    """Keys, passwords and hashes are made for one that is carried out only."""
    chosen = _chosen(dom0)
    fact = survey_host.look(dom0, chosen)
    material = Material()
    if doing and hostplan.needs_credentials(fact, chosen):
        cli_init.refuse_strangers(LAYOUT, dom0)
        material = cli_init.material(LAYOUT, hostsetup.lacking(LAYOUT, fact.present), options.admin_password_file, dom0)
    return hostplan.plan(fact, HostWish(options.bridge, options.nic, options.dom0_memory), chosen, material, _made(dom0))


def _undo(dom0: Dom0) -> Plan:
    """Misconfigured while a daemon serves with what would go."""
    with cli_local.journal_of(_chosen(dom0)) as journal:
        if journal.served():
            raise Misconfigured("a daemon serves this node: systemctl disable --now dtcxen-soap")
    return hostplan.undo(_made(dom0), lambda path: dom0.digest(path) if dom0.is_regular(path) else "")


# -- doing ----------------------------------------------------------------------------------------


def _tell_only(plan: Plan, dom0: Dom0) -> int:
    if plan.steps or plan.notes:
        _show(plan)
    if dom0.exists(_JOURNAL):
        remark("setup-host: a run before may have been cut off; --yes puts back what it left half done, then plans anew")
    remark("setup-host: nothing was done; --yes does it" if plan.steps else "setup-host: nothing to do")
    return OK


def _show(plan: Plan) -> None:
    for line in planprint.render(plan):
        say(line)


def _do(decide: Callable[[bool], Plan], dom0: Dom0) -> int:
    """Put back what a killed run left, decide anew, carry out."""
    from dtcxen_soap.execute import count, execute
    from dtcxen_soap.recover import recover
    if dom0.exists(_JOURNAL):
        with _journal(dom0) as journal:
            for left in recover(dom0, journal):
                remark(f"setup-host: {left.operation} was cut off at {datetime.now(UTC):%H:%M} or before, and is undone: {left.reason}")
    plan = decide(True)
    if plan.steps or plan.notes:
        _show(plan)
    if not plan.steps:
        remark("setup-host: nothing to do")
        return OK
    with _journal(dom0) as journal:
        job = journal.begin(plan.title, None, "root", "job", planprint.render(plan), count(plan.whole))
        journal.started(job)
        try:
            outcome = execute(job, plan, dom0, journal, lambda: False)
        except (Failed, Cancelled) as error:
            journal.ended(job, "failed", str(error))
            raise
        journal.ended(job, "done", outcome)
    say(f"done: {count(plan.whole)} steps" + (f"; {outcome}" if outcome else ""))
    return OK


@contextmanager
def _journal(dom0: Dom0) -> Iterator[Journal]:
    from dtcxen_soap.journal import Journal
    dom0.make_directory(PLACE, 0o755)
    dom0.make_directory(f"{PLACE}/{_WORK}", 0o700)
    journal = Journal(_JOURNAL)
    try:
        yield journal
    finally:
        journal.close()


def _end(dom0: Dom0) -> None:
    """A journal that owes nothing goes: the record is what stays."""
    if dom0.exists(_JOURNAL):
        with _journal(dom0) as journal:
            owed = journal.unfinished()
        if owed:
            remark(f"setup-host: the next run puts back what is left of {owed[0].job.operation}")
            return
    if dom0.exists(f"{PLACE}/{_WORK}"):
        dom0.remove_below(PLACE, _WORK)
    if dom0.exists(PLACE):
        dom0.remove_directory(PLACE)


# -- telling --------------------------------------------------------------------------------------


def _tell_admin(dom0: Dom0) -> None:
    if dom0.exists(LAYOUT.password):
        say(f"admin: {hostsetup.ADMIN}, password in {LAYOUT.password}")


def _tell_left(dom0: Dom0) -> None:
    """What is not our business, with the commands."""
    try:
        chosen = _chosen(dom0)
    except DtcxenError as error:
        complain(str(error))
        return
    for finding in machine.judge(chosen, survey_machine.look(dom0, chosen)):
        if finding.severity is not Severity.NOTE:
            say(f"left to you: {finding.where}: {finding.what}")
            for line in finding.mend:
                say(f"    {line}")
