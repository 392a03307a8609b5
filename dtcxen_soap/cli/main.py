"""`dtcxen`: makes a node, serves it, looks at its settings, and calls it; a subcommand per module of this folder.

Exit codes: 0 done; 1 refused, failed, or problems found; 2 the command line itself is wrong;
3 the daemon cannot be reached. What was asked for goes to standard output, all else to standard error. What takes long to import is imported where it is used.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from dtcxen_soap import __version__
from dtcxen_soap.cli import audit, call, completion, doctor, init, look, migrate, node, outcome, pack, plan, rescue, setup_host
from dtcxen_soap.cli.console import Parser

_EXAMPLES = """\
a node of your own, below one directory, and a first call:
  dtcxen init ./node
  dtcxen serve --config ./node/etc/dtc-xen/dtc-xen.conf
  dtcxen call --config ./node/etc/dtc-xen/dtc-xen.conf listInstallableOS

each command has its own help:
  dtcxen call --help
  dtcxen call reinstallOS --help

exit codes: 0 done; 1 refused, failed, or problems found; 2 wrong usage; 3 the daemon cannot be reached"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    made = Parser(prog="dtcxen", description="The node daemon of the DTC hosting panel, and its client.", epilog=_EXAMPLES)
    made.add_argument("--version", action="version", version=f"dtcxen {__version__}")
    commands = made.add_subparsers(metavar="COMMAND", required=True)
    for module in (init, setup_host, node, doctor, look, audit, plan, call, migrate, rescue, pack, completion):
        module.add_to(commands)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. `console_scripts` exits with what this returns."""
    return outcome.told(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    options = _parse(arguments)
    code: int = options.run(options)
    return code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; name=value words may stand anywhere, which argparse alone does not take."""
    command_line = parser()
    options, rest = command_line.parse_known_args(arguments)
    if rest and ("values" not in options or any(word.startswith("-") for word in rest)):
        command_line.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.values += rest
    return options
