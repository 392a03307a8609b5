"""What all subcommands share: exit codes, how they speak, and how OPERATION name=value... is read."""

from __future__ import annotations

import argparse
import getpass
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

from dtcxen_soap import requests, settings
from dtcxen_soap.operations import OPERATIONS, Form, find, forms
from dtcxen_soap.settings import Settings

OK, FAILED, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130
CONFIG = "/etc/dtc-xen/dtc-xen.conf"
VALUES_HELP = """\
a value may come from elsewhere, so that no secret shows in the list of processes:
  password=@FILE   what FILE holds, without the newline at its end
  password=-       asked for on the terminal, or a line of standard input
  name=@@text      a value that itself begins with @"""


class UsageError(Exception):
    """The command line is wrong."""


class Unreachable(Exception):
    """No daemon answers there, or not one that is trusted."""


@dataclass(frozen=True)
class Door:
    """Where and as whom to call. `trust` is a certificate file, or True for the system's."""

    url: str
    user: str
    password: str = field(repr=False)
    trust: str | bool


class Caller(Protocol):
    """Whoever answers calls by name: a daemon, or this node itself."""

    def call(self, operation: str, values: list[tuple[str, str]]) -> Any:
        """The answer, as plain dictionaries and lists under the names of the wire."""


class Parser(argparse.ArgumentParser):
    """argparse with examples kept as written, and with our exit code and voice for mistakes."""

    def __init__(self, **words: object) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **words)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """A mistake on the command line."""
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}\n{self.prog} --help says more")


def say(text: str = "") -> None:
    """What was asked for: standard output."""
    print(text)


def remark(text: str) -> None:
    """What only a person wants to know: standard error."""
    print(text, file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """What went wrong: standard error, so that it is never taken for the answer."""
    remark(f"dtcxen: {text}")


def load(path: str) -> Settings:
    """The settings of a file; Misconfigured lists its problems. Its warnings are for `check` and the daemon to say."""
    return settings.load(Path(path).read_text(errors="surrogateescape"), path).settings


# -- OPERATION name=value... ----------------------------------------------------------------------


def add_operation(command: argparse.ArgumentParser) -> None:
    """The arguments OPERATION and name=value..., with a help of their own for each operation."""
    command.add_argument("-h", "--help", action="store_true", help="show this help; after OPERATION, the parameters of that one")
    command.add_argument("operation", metavar="OPERATION", nargs="?", help="one of those below, or its old name")
    command.add_argument("values", metavar="name=value", nargs="*", help="the parameters, in any order")


def wants_help(options: argparse.Namespace, command: argparse.ArgumentParser) -> bool:
    """Show the help that was asked for, if any was."""
    if options.help:
        form = find(options.operation, rpc=False) if options.operation else None
        say(_operation_help(form) if form else command.format_help().rstrip())
    elif not options.operation:
        command.error("OPERATION is missing")
    return bool(options.help)


def operation_lines() -> str:
    """The table of operations as help text."""
    rows = [(row.name + (f" ({row.old_name})" if row.old_name not in ("", row.name) else ""), row.help) for row in OPERATIONS]
    width = max(len(name) for name, _ in rows)
    return "operations, old names in brackets:\n" + "\n".join(f"  {name:{width}}  {text}" for name, text in rows)


def _operation_help(form: Form) -> str:
    """One operation with its parameters; limits are those of default settings."""
    lines = [f"{form.name}: {form.operation.help}", f"for: {form.operation.access.value}"]
    plain = settings.defaults()
    for item in requests.parameters(form.operation.request, form.old, rpc=False):
        optional = " (optional)" if item.optional else ""
        lines += ["", f"  {item.name(form.old)}={optional}", f"      {item.help}", f"      {item.type.expected(plain)}"]
    return "\n".join(lines if len(lines) > 2 else [*lines, "no parameters"])


def form_of(name: str) -> Form:
    """The operation of that name, new or old."""
    form = find(name, rpc=False)
    if form is None:
        raise UsageError(f"unknown operation {name!r}, expected one of {', '.join(item.name for item in forms(rpc=False))}")
    return form


def given(form: Form, words: list[str]) -> list[tuple[str, str]]:
    """name=value words as pairs in the schema's order, unknown names last; values from files are read."""
    order = {item.name(form.old): (number, item.secret) for number, item in enumerate(requests.parameters(form.operation.request, form.old, rpc=False))}
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r} is not name=value")
        secret = order.get(name, (0, False))[1]
        if secret and value and not value.startswith("@") and value != "-":
            complain(f"warning: {name} on a command line can be read by every user of this machine; {name}=@FILE cannot")
        pairs.append((name, _value(name, value, secret)))
    return sorted(pairs, key=lambda pair: order.get(pair[0], (len(order), False))[0])


def _value(name: str, text: str, secret: bool) -> str:
    if text.startswith("@@"):
        return text[1:]
    if text.startswith("@"):
        return first_line(text[1:])
    if text != "-":
        return text
    if secret and sys.stdin.isatty():
        return getpass.getpass(f"{name}: ")
    return sys.stdin.readline().rstrip("\n")


def first_line(path: str) -> str:
    """What a file holds, without the newline at its end: how passwords are kept."""
    return Path(path).read_text().removesuffix("\n")
