"""`dtcxen serve`, `check` and `wsdl`: the daemon, its settings, its interface."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from dtcxen_soap import settings
from dtcxen_soap.cli.console import CONFIG, FAILED, OK, complain, load, say
from dtcxen_soap.survey import ostypes as survey_ostypes

_SERVE = """\
example:
  dtcxen serve --config ./node/etc/dtc-xen/dtc-xen.conf

One line "listening on https://HOST:PORT/" on standard output says that it is ready; the log goes to standard
error. SIGHUP reads the settings, htpasswd and certificate again; SIGTERM ends it after the running answers."""
_CHECK = """\
example:
  dtcxen check --config /etc/dtc-xen/dtc-xen.conf

A line per setting: its value, and where that came from (default, or file:line); then each OS type of os.d/. Exit code 1 if anything is wrong."""
_WSDL = """\
examples:
  dtcxen wsdl > dtcxen.wsdl
  dtcxen wsdl --config ./node/etc/dtc-xen/dtc-xen.conf"""


def add_to(commands: Any) -> None:
    """The subcommands."""
    serve = commands.add_parser("serve", help="run the daemon in the foreground", description="Run the daemon in the foreground.", epilog=_SERVE)
    check = commands.add_parser("check", help="show every setting and every problem", description="Show every effective setting and OS type, and every problem.", epilog=_CHECK)
    wsdl = commands.add_parser("wsdl", help="print the WSDL", description="Print the WSDL: of default settings, or with the limits of a node's own.", epilog=_WSDL)
    for command, run in ((serve, run_serve), (check, run_check)):
        command.add_argument("--config", metavar="FILE", default=CONFIG, help=f"the node's settings, {CONFIG} when not given")
        command.set_defaults(run=run)
    wsdl.add_argument("--config", metavar="FILE", help="the node's settings")
    wsdl.set_defaults(run=run_wsdl)


def run_serve(options: argparse.Namespace) -> int:
    """Run until a signal ends it."""
    from dtcxen_soap import daemon
    return daemon.serve(options.config)


def run_check(options: argparse.Namespace) -> int:
    """Print the table, then what is wrong."""
    found = settings.examine(Path(options.config).read_text(errors="surrogateescape"), options.config)
    width = max(len(row.name) for row in settings.TABLE)
    for row in settings.TABLE:
        value = found.texts[row.name] or "(empty)"
        say(f"{row.name:{width}}  {value}  [{found.sources[row.name]}]")
    types = survey_ostypes.every(found.settings) if found.settings else ()
    for each in types:
        say(f"OS type {each.name}  {each.description.label if each.description else 'cannot be installed'}  [{each.path}]")
    sys.stdout.flush()
    for warning in (*found.warnings, *(text for each in types for text in each.lacking)):
        complain(f"warning: {warning}")
    problems = (*found.problems, *(text for each in types for text in each.problems))
    for problem in problems:
        complain(f"problem: {problem}")
    return FAILED if problems else OK


def run_wsdl(options: argparse.Namespace) -> int:
    """Print the WSDL as a client gets it."""
    from dtcxen_soap.wire import wsdl
    chosen = load(options.config) if options.config else settings.defaults()
    host = "localhost" if chosen.listen_address in ("", "0.0.0.0", "::") else chosen.listen_address
    sys.stdout.buffer.write(wsdl.of(chosen, f"https://{host}:{chosen.listen_port}/"))
    return OK
