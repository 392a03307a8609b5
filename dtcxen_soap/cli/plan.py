"""`dtcxen plan OPERATION name=value...`: what an operation would do on this node. Without the daemon, and nothing is run."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from dtcxen_soap import operations, planprint
from dtcxen_soap.access import Caller, Role
from dtcxen_soap.calls import Call, Kind
from dtcxen_soap.cli import local as cli_local
from dtcxen_soap.cli.console import CONFIG, OK, VALUES_HELP, add_operation, form_of, given, load, operation_lines, say, wants_help
from dtcxen_soap.plans import Plan
from dtcxen_soap.settings import Settings

_EXAMPLES = f"""\
examples:
  dtcxen plan setupVPSDisk vps=01 diskSizeMib=2048 swapSizeMib=256 imageType=vbd
  dtcxen plan reinstallOS vps=01 osType=debian ramSizeMib=512 password=@secret nics=192.0.2.10/24 gateway=192.0.2.1 dns=192.0.2.53

{VALUES_HELP}

{operation_lines()}"""


def add_to(commands: Any) -> None:
    """The subcommand."""
    command = commands.add_parser(
        "plan", add_help=False, help="print the steps that an operation would take", epilog=_EXAMPLES,
        description="Print the steps that an operation would take on this node now. Nothing is run.")
    add_operation(command)
    command.add_argument("--config", metavar="FILE", default=CONFIG, help=f"the node's settings, {CONFIG} when not given")
    command.set_defaults(run=run, command=command)


def run(options: argparse.Namespace) -> int:
    """Check, survey, decide, print."""
    if wants_help(options, options.command):
        return OK
    form = form_of(options.operation)
    settings = load(options.config)
    caller = Caller(settings.admin_user, Role.ADMIN, "dtcxen plan")
    call = operations.prepare(form.name, given(form, options.values), settings, caller, rpc=False)
    for line in lines_of(call, settings):
        say(line)
    return OK


def lines_of(call: Call, settings: Settings) -> tuple[str, ...]:
    """The steps that a call would take on this node now, or why it takes none."""
    if call.kind is Kind.READ:
        return (f"{call.operation} takes no steps: it changes nothing",)
    if call.kind is Kind.CANCEL:
        return (f"{call.operation} takes no steps of its own",)
    made = decided(call, settings)
    return planprint.render(made) if isinstance(made, Plan) else _nothing_to_do(call.operation, made)


def decided(call: Call, settings: Settings) -> Plan | Any:
    """What a call that changes something would do on this node now: a plan, or an answer where there is nothing to do."""
    with cli_local.survey(settings) as looked:
        return call.decide(looked.survey.fill(call.needs))


def _nothing_to_do(name: str, answer: Any) -> tuple[str, ...]:
    """An answer without a plan: all is as it was asked for."""
    fields = ((item.name, getattr(answer, item.name)) for item in dataclasses.fields(answer))
    shown = ", ".join(f"{field}={' '.join(value) if isinstance(value, tuple) else value}" for field, value in fields if value not in ((), None))
    return (f"{name}: nothing to do ({shown})",)
