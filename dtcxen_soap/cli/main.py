"""`dtcxen`: makes a node, serves it, looks at its settings, and calls it; a subcommand per module cli_*.py.

Exit codes: 0 done; 1 refused, failed, or problems found; 2 the command line itself is wrong;
3 the daemon cannot be reached. What was asked for goes to standard output, all else to standard error. What takes long to import is imported where it is used.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from dtcxen_soap import __version__
from dtcxen_soap.cli import audit as cli_audit
from dtcxen_soap.cli import call as cli_call
from dtcxen_soap.cli import completion as cli_completion
from dtcxen_soap.cli import doctor as cli_doctor
from dtcxen_soap.cli import init as cli_init
from dtcxen_soap.cli import look as cli_look
from dtcxen_soap.cli import migrate as cli_migrate
from dtcxen_soap.cli import node as cli_node
from dtcxen_soap.cli import pack as cli_pack
from dtcxen_soap.cli import plan as cli_plan
from dtcxen_soap.cli import rescue as cli_rescue
from dtcxen_soap.cli import setup_host as cli_setup_host
from dtcxen_soap.cli.console import FAILED, INTERRUPTED, UNREACHABLE, USAGE, Parser, Unreachable, UsageError, complain
from dtcxen_soap.errors import DtcxenError, Failed, Misconfigured, Refused

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
    for module in (cli_init, cli_setup_host, cli_node, cli_doctor, cli_look, cli_audit, cli_plan, cli_call, cli_migrate, cli_rescue, cli_pack, cli_completion):
        module.add_to(commands)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. `console_scripts` exits with what this returns."""
    return told(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    options = _parse(arguments)
    code: int = options.run(options)
    return code


def told(run: Callable[[], int]) -> int:
    """Run it; every error that has an exit code is told on standard error."""
    try:
        code = run()
        sys.stdout.flush()
        return code
    except UsageError as error:
        complain(str(error))
        return USAGE
    except Unreachable as error:
        complain(str(error))
        return UNREACHABLE
    except DtcxenError as error:
        for line in _lines(error):
            complain(line)
        return FAILED
    except OSError as error:
        return _machine_says(error)
    except KeyboardInterrupt:
        return INTERRUPTED


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; name=value words may stand anywhere, which argparse alone does not take."""
    command_line = parser()
    options, rest = command_line.parse_known_args(arguments)
    if rest and ("values" not in options or any(word.startswith("-") for word in rest)):
        command_line.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.values += rest
    return options


def _lines(error: DtcxenError) -> list[str]:
    """An error as an admin reads it: a line per fault or problem, a failure in full."""
    if isinstance(error, Refused):
        return [str(fault) for fault in error.faults]
    if isinstance(error, Misconfigured):
        return list(error.problems)
    return [error.in_full()] if isinstance(error, Failed) else str(error).splitlines()


def _machine_says(error: OSError) -> int:
    """A file that cannot be read or written. Whoever closed our output wanted no more: no complaint then."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return FAILED
