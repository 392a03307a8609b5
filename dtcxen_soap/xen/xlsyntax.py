"""What xl's own parser takes of a configuration, so that Python in a file of xm's time is seen before a VPS fails to start.

configread.py is tolerant and reads what it can; xl refuses a file for one line. Source: what
libxlutil of Xen 4.17 takes and refuses, sign by sign (tests/integration compares the two); xl.cfg(5).
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""(?P<skip>[ \t]+|\#[^\n]*(?=\n))
      | (?P<newline>\n)
      | (?P<name>[a-z][a-z0-9_.]*)
      | (?P<value>[0-9][0-9a-fx]*|'(?:[^'\\\n]|\\(?:["'\\abfnrtv]|[0-7]{3}))*'|"(?:[^"\\\n]|\\(?:["'\\abfnrtv]|[0-7]{3}))*")
      | (?P<mark>\+=|[=;,\[\]])
      | (?P<wrong>.)""", re.VERBOSE | re.DOTALL)

_Token = tuple[str, str, int]
"""Kind, text, and number of the line."""
_END = ("end", "", 0)


class _Refused(Exception):
    """The token at this place cannot stand there."""


def refused_lines(text: str) -> tuple[int, ...]:
    """Numbers, from 1, of the lines that keep xl from reading the file; () when it reads all of it."""
    reader = _Reader(text)
    lines: list[int] = []
    while not reader.at_end:
        try:
            reader.statement()
        except _Refused:
            lines.append(reader.line)
            reader.next_line()
    return tuple(dict.fromkeys(lines))


class _Reader:
    """The tokens of a file, and how far they are read. A line's end is only left out within a list."""

    def __init__(self, text: str) -> None:
        self._tokens: list[_Token] = []
        self._at = 0
        number = 1
        for match in _TOKEN.finditer(text):
            if match.lastgroup != "skip":
                self._tokens.append((match.lastgroup or "", match[0], number))
            number += match[0].count("\n")
        self._tokens.append((*_END[:2], number))

    @property
    def at_end(self) -> bool:
        """Whether all is read."""
        return self._tokens[self._at][0] == "end"

    @property
    def line(self) -> int:
        """The line of the next token."""
        return self._tokens[self._at][2]

    def next_line(self) -> None:
        """Go on behind the next end of a line: always further."""
        while not self.at_end and self._tokens[self._at][0] != "newline":
            self._at += 1
        self._at += not self.at_end

    def statement(self) -> None:
        """NAME = VALUE, or nothing, up to the end of a line, a semicolon, or the end of the file."""
        if self._is("name"):
            if not (self._mark("=") or self._mark("+=")):
                raise _Refused
            self._value()
        if not (self._is("newline") or self._mark(";") or self.at_end):
            raise _Refused

    def _value(self) -> None:
        if self._is("value"):
            return
        if not self._mark("["):
            raise _Refused
        self._newlines()
        while not self._mark("]"):
            self._value()
            self._newlines()
            if self._mark(","):
                self._newlines()
            elif self._mark("]"):
                return
            else:
                raise _Refused

    def _newlines(self) -> None:
        while self._is("newline"):
            continue

    def _is(self, kind: str) -> bool:
        """Take a token of this kind, if it is next."""
        found = self._tokens[self._at][0] == kind
        self._at += found
        return found

    def _mark(self, text: str) -> bool:
        found = self._tokens[self._at][:2] == ("mark", text)
        self._at += found
        return found
