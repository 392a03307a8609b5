"""dtcxen(1) and dtcxen-soap(8), written from the command line's own parser, the catalogue and the table of the original's commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from dtcxen_soap import __version__, requests, settings
from dtcxen_soap.access import Access
from dtcxen_soap.cli import legacy as cli_legacy
from dtcxen_soap.cli import main as cli
from dtcxen_soap.operations import OPERATIONS, Operation

HEAD = '.\\" Written by tools/documents.py from the tables of dtcxen_soap.\n'
_DTCXEN = r""".SH DESCRIPTION
Makes, serves and looks at a node of the DTC hosting panel, and calls it. What was asked for goes to standard output, all else to standard
error. On a terminal answers are tables and jobs have a progress bar; elsewhere all is plain text, and
.B \-\-json
is for programs.
.PP
A value may be read from a file
.RB ( password=@FILE )
or from the terminal
.RB ( password=\- ),
so that no secret shows in the list of processes. A value that itself begins with @ is written with two of them.
"""
_STATUS = r""".SH EXIT STATUS
.TP
.B 0
done
.TP
.B 1
refused, failed, or problems found
.TP
.B 2
wrong usage
.TP
.B 3
the daemon cannot be reached, or is not to be trusted
"""
_FILES = r""".SH FILES
.TP
.I /etc/dtc\-xen/dtc\-xen.conf
The node's settings.
.TP
.I /etc/dtc\-xen/admin.password
The password with which commands on the node sign in as its admin; only root reads it.
.TP
.I /var/lib/dtc\-xen/journal.sqlite
Jobs, their steps, and what they owe.
.TP
.I /var/lib/dtc\-xen/jobs/
A readable log per job.
"""
_DAEMON = r""".SH SYNOPSIS
.B dtcxen serve
.RB [ \-\-config
.IR FILE ]
.SH DESCRIPTION
Runs on a Xen dom0 and makes VPSes there for whoever calls it over HTTPS SOAP, at port 8089 unless the settings say otherwise. It speaks document/literal,
described by the WSDL at
.IR https://HOST:8089/?wsdl ,
and RPC/encoded with the old names, as the panel does. Every call is signed in by HTTP Basic authentication, and checked before anything runs: all its
faults are told at once, each by its parameter. What changes something is a plan, written to a journal, that is followed, cancelled and rolled back; what a
daemon left that was killed is settled when it starts again.
.PP
One line "listening on https://HOST:PORT/" on standard output says that it is ready; the log goes to standard error. It runs as root, in the foreground:
.B systemctl start dtcxen\-soap
starts it as a service. Guests survive its restart.
"""
_SIGNALS = r""".SH SIGNALS
.TP
.B SIGHUP
Read settings, htpasswd and certificate again. What is wrong with them is logged, and the old ones stay. Address, port and state_dir wait for a restart.
.TP
.BR SIGTERM ", " SIGINT
End: no more calls, and the steps that run get a moment to end; jobs that are cut off are undone at the next start.
"""


def roff(text: str) -> str:
    """Text that troff takes literally."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped


def dtcxen() -> str:
    """man/dtcxen.1: every command with its options, every operation with its parameters, the original's names."""
    commands = _commands(cli.parser())
    return "".join((
        HEAD, _title("DTCXEN", 1), ".SH NAME\ndtcxen \\- make, serve and call a node of the DTC hosting panel\n", ".SH SYNOPSIS\n", *_synopsis(commands), _DTCXEN,
        ".SH COMMANDS\n", *(line for name, command in commands.items() for line in _command(name, command)),
        ".SH OPERATIONS\nFor\n.B dtcxen call\nand\n.BR \"dtcxen plan\" ;\nthe limits of numbers are those of default settings.\n",
        *(line for row in OPERATIONS for line in _operation(row)),
        ".SH THE ORIGINAL'S COMMANDS\n", *_originals(), _STATUS, _FILES, _see("dtc\\-xen.conf (5)", "dtcxen\\-soap (8)", "xl (1)")))


def daemon() -> str:
    """man/dtcxen-soap.8: the service, who may call what, and what it obeys."""
    return "".join((
        HEAD, _title("DTCXEN-SOAP", 8), ".SH NAME\ndtcxen\\-soap \\- node daemon of the DTC hosting panel\n", _DAEMON,
        ".SH WHO CALLS\nThe node's admin (admin_user) may call everything, its monitor (monitor_user) what reads, and the owner of a VPS (user xenNN) what is meant for it, on "
        "that VPS only. Nobody calls anything without signing in.\n",
        *(line for access in Access for line in _of_access(access)), _SIGNALS, _FILES, _see("dtcxen (1)", "dtc\\-xen.conf (5)", "systemctl (1)")))


def _title(name: str, section: int) -> str:
    return f'.TH {roff(name)} {section} "" "dtcxen\\-soap {roff(__version__)}"\n'


def _see(*pages: str) -> str:
    return ".SH SEE ALSO\n" + "".join(f".BR {page}{',' if page is not pages[-1] else ''}\n" for page in pages)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(commands.choices)


def _words(command: argparse.ArgumentParser) -> str:
    """What stands behind a command's name, as its usage says it, options as one word."""
    words = [str(action.metavar) for action in command._actions if not action.option_strings]
    optional = {str(action.metavar) for action in command._actions if not action.option_strings and action.nargs in ("?", "*")}
    shown = [f"[{word}]" if word in optional - {"OPERATION"} else word for word in words]
    return " ".join(("[OPTIONS]", *shown)).replace("[name=value]", "[name=value...]")


def _synopsis(commands: dict[str, argparse.ArgumentParser]) -> Iterator[str]:
    for name, command in commands.items():
        yield f".B dtcxen {roff(name)}\n{roff(_words(command))}\n.br\n"


def _command(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    yield f".SS dtcxen {roff(name)}\n{roff(command.description or '')}\n"
    for action in command._actions:
        if not action.option_strings:
            yield f".TP\n.I {roff(str(action.metavar))}\n{roff(action.help or '')}\n"
        elif action.dest != "help":
            value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
            yield f".TP\n.B {roff(', '.join(action.option_strings) + value)}\n{roff(action.help or '')}\n"


def _operation(row: Operation) -> Iterator[str]:
    old = f" ({row.old_name})" if row.old_name not in ("", row.name) else ""
    yield f".SS {roff(row.name + old)}\n{roff(row.help)} For: {roff(row.access.value)}.\n"
    plain = settings.defaults()
    for item in requests.parameters(row.request, rpc=False):
        known = f" Its old name: {item.old}." if old and item.old and item.old != item.wire else ""
        optional = " (optional)" if item.optional else ""
        yield f".TP\n.BI {roff(item.wire)}= {roff(item.type.name)}\n{roff(item.help)} Expected: {roff(item.type.expected(plain))}{optional}.{roff(known)}\n"


def _originals() -> Iterator[str]:
    yield ("Names that hands and cron jobs know from the original, with its arguments. A word that is not what its place wants is refused by the parameter's name. The daemon of "
           "the node carries them out, signed in as its admin, so that its locks hold. Before all other words may stand\n.B \\-\\-plan\n(print what would be done, and stop),\n"
           ".BI \\-\\-config\\~ FILE\\fR,\n.BI \\-\\-password\\-file\\~ FILE\\fR,\n.BI \\-\\-ca\\~ FILE\nand\n.BR \\-\\-help .\n")
    for command in cli_legacy.COMMANDS:
        yield f".TP\n.B {roff(command.name)} \\fR{roff(command.usage)}\n{roff(command.help)}\n"


def _of_access(access: Access) -> Iterator[str]:
    rows = [row for row in OPERATIONS if row.access is access]
    yield f".SS For {roff(access.value)}\n"
    for row in rows:
        old = f" The panel's name: {row.old_name}." if row.old_name not in ("", row.name) else ""
        yield f".TP\n.B {roff(row.name)}\n{roff(row.help + old)}\n"
