"""`dtcxen call OPERATION name=value...`: one call to a daemon over SOAP, through its WSDL, as any client would make it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from dtcxen_soap import requests
from dtcxen_soap import settings as conf
from dtcxen_soap.calls import Kind
from dtcxen_soap.cli import door as cli_door
from dtcxen_soap.cli.console import CONFIG, FAILED, OK, VALUES_HELP, Caller, UsageError, add_operation, form_of, given, operation_lines, remark, wants_help
from dtcxen_soap.errors import Refused
from dtcxen_soap.operations import Form
from dtcxen_soap.settings import Settings

_EXAMPLES = f"""\
examples:
  dtcxen call --config ./node/etc/dtc-xen/dtc-xen.conf setupVPSDisk vps=01 diskSizeMib=2048 swapSizeMib=256
  dtcxen call --config ./node/etc/dtc-xen/dtc-xen.conf reinstallOS vps=01 osType=debian ramSizeMib=512 \\
      password=@./secret nics=192.0.2.10/24 gateway=192.0.2.1 dns=192.0.2.53
  dtcxen call --url https://node.example.com:8089/ --ca node.pem --password-file ./admin listJobs --json
  dtcxen call --local getFreeSpace

a node's settings tell where it listens, its certificate and who its admin is; --url and the others say so
for a node elsewhere. A call that starts a job follows it to its end, unless --no-follow is given.

{VALUES_HELP}

{operation_lines()}"""


def add_to(commands: Any) -> None:
    """The subcommand."""
    command = commands.add_parser(
        "call", add_help=False, help="call a daemon over SOAP", description="Call a daemon over SOAP, and follow the job that this starts.", epilog=_EXAMPLES)
    add_operation(command)
    cli_door.add_options(command)
    command.add_argument("--local", action="store_true", help="answer on this node itself, without a daemon: for operations that only read")
    command.add_argument("--no-follow", action="store_true", help="do not wait for the job to end")
    command.add_argument("--json", action="store_true", help="print the answer as JSON; of a job that was followed, its last record")
    command.set_defaults(run=run, command=command)


def run(options: argparse.Namespace) -> int:
    """One call, and the job it may start."""
    if wants_help(options, options.command):
        return OK
    form = form_of(options.operation)
    settings = cli_door.settings_of(options)
    values = given(form, options.values)
    refuse_misnamed(form, values, settings or conf.defaults())
    if options.local:
        return _locally(form, values, options)
    return carry_out(cli_door.node(options, settings), form, values, follow=not options.no_follow, as_json=options.json)


def _locally(form: Form, values: list[tuple[str, str]], options: argparse.Namespace) -> int:
    if cli_door.is_elsewhere(options):
        raise UsageError("--local asks no daemon: without --url, --user and --password-file")
    from dtcxen_soap.cli import local as cli_local
    with cli_local.here(options.config or CONFIG) as node:
        show(node.call(form.name, values), options.json)
    return OK


def carry_out(node: Caller, form: Form, values: list[tuple[str, str]], *, follow: bool, as_json: bool) -> int:
    """One call, and the job that it may start; what came of it, and the exit code."""
    answer = node.call(form.name, values)
    job = answer.get("job") if form.operation.kind is Kind.JOB and isinstance(answer, dict) else None
    if job is None or not follow:
        show(answer, as_json)
        return OK
    remark(f"job {job} was started")
    return end_of(node, job, as_json)


def end_of(node: Caller, job: int, as_json: bool) -> int:
    """Follow a job to its end and tell it; the exit code says whether it did what it was to do."""
    from dtcxen_soap.cli import follow as cli_follow
    record = cli_follow.follow(lambda: node.call("getJob", [("job", str(job))]), on_terminal=sys.stderr.isatty())
    if as_json:
        show(record, True)
    return OK if cli_follow.tell(record) else FAILED


def show(answer: Any, as_json: bool) -> None:
    """An answer on standard output, for people or for programs."""
    if as_json:
        sys.stdout.write(json.dumps(answer, indent=2, default=str, ensure_ascii=False) + "\n")
    else:
        from dtcxen_soap.cli import answer as cli_answer
        cli_answer.show(answer)


def refuse_misnamed(form: Form, values: list[tuple[str, str]], settings: Settings) -> None:
    """Names that no schema holds cannot be sent: told here, with every other fault of the call.

    What is well named is sent, right or wrong: the node's own limits count.
    """
    known = {item.name(form.old): item for item in requests.parameters(form.operation.request, form.old, rpc=False)}
    names = [name for name, _ in values]
    missing = [name for name, item in known.items() if not item.optional and name not in names]
    flags = [name for name, value in values if name in known and known[name].type.facets(settings).base == "boolean" and value not in ("true", "false", "1", "0")]
    if missing or flags or len(set(names)) < len(names) or not set(names) <= set(known):
        requests.parse(form.operation.request, form.name, values, settings, old=form.old, rpc=False)
        raise Refused
