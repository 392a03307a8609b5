"""One thing that an upgrade from the original finds: what, where, how bad, and what to do about it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import Enum

_LINE = "%s\\n"


class Severity(Enum):
    """How much it matters. A problem is a door left open, or something that will not work; a note is only good to know."""

    PROBLEM = "problem"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """`check` is a word for scripts. What is not `taken_over` is left as it is, and `mend` holds the commands of whoever wants it otherwise."""

    check: str
    severity: Severity
    where: str
    what: str
    taken_over: bool = False
    mend: tuple[str, ...] = ()


def problem(check: str, where: str, what: str, *mend: str) -> Finding:
    """Left, and must be mended."""
    return Finding(check, Severity.PROBLEM, where, what, mend=mend)


def warning(check: str, where: str, what: str, *mend: str) -> Finding:
    """Left, and should be mended."""
    return Finding(check, Severity.WARNING, where, what, mend=mend)


def left(check: str, where: str, what: str, *mend: str) -> Finding:
    """Left, and harmless."""
    return Finding(check, Severity.NOTE, where, what, mend=mend)


def taken(check: str, where: str, what: str) -> Finding:
    """Taken over as it is."""
    return Finding(check, Severity.NOTE, where, what, taken_over=True)


def edit(path: str, line: int = 0) -> str:
    """The command that opens a file where something must be changed by hand."""
    return command("editor", *((f"+{line}",) if line else ()), path)


def command(*argv: str) -> str:
    """A command, ready to paste into bash; names that hold what a terminal obeys are written as $'...'."""
    return " ".join(shlex.quote(word) if word.isprintable() else _escaped(word) for word in argv)


def _escaped(word: str) -> str:
    plain = (chr(byte) if 0x20 <= byte < 0x7F and byte not in b"\\'" else f"\\x{byte:02x}" for byte in word.encode(errors="surrogateescape"))
    return f"$'{''.join(plain)}'"


def counted(number: int, noun: str) -> str:
    """1 key, 2 keys."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: tuple[str, ...], most: int = 12) -> str:
    """Names after commas; of very many the first, and how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def append(path: str, *lines: str) -> str:
    """The command that adds lines to a file of settings."""
    return f"{command('printf', _LINE, *lines)} >> {command(path)}"
