"""What commands say: bytes to lines, without secrets and without what a terminal would obey."""

from __future__ import annotations

import codecs
import re
import shlex
from collections import deque
from collections.abc import Callable, Iterable

from dtcxen_soap.vps import Secret

TAIL_BYTES = 64 << 10
LONGEST_LINE = 16 << 10
_REDACTED = "(redacted)"
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f]")


class Redactor:
    """Takes secrets out of text: whole, line by line, what follows a colon (chpasswd's "user:password"), and as a shell would quote them."""

    def __init__(self, values: Iterable[str | Secret]) -> None:
        pieces = {piece for value in values if isinstance(value, Secret) for piece in _pieces(value.reveal())}
        self.longest = max(map(len, pieces), default=0)
        self._pattern = re.compile("|".join(map(re.escape, sorted(pieces, key=len, reverse=True)))) if pieces else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(_REDACTED, text) if self._pattern else text


def _pieces(secret: str) -> set[str]:
    lines = {secret, *secret.splitlines()}
    known = lines | {line.strip() for line in lines} | {line.partition(":")[2].strip() for line in lines}
    return {form for piece in known if piece for form in (piece, shlex.quote(piece))}


class Lines:
    """Cuts output into lines as they are complete and remembers the last 64 KiB of them.

    A carriage return ends a line too, since progress bars are made of them. A line without end is
    cut, but never through a secret.
    """

    def __init__(self, redact: Redactor, say: Callable[[str], None]) -> None:
        self._redact, self._say = redact, say
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._tail: deque[str] = deque()
        self._size = 0

    def feed(self, data: bytes) -> None:
        """More output; complete lines are said."""
        text = self._rest + self._decoder.decode(data)
        held = text.endswith("\r")
        *lines, rest = re.split(r"\r\n|\n|\r", text[:-1] if held else text)
        for line in lines:
            self._line(self._redact(line))
        self._rest = rest + ("\r" if held else "")
        if len(rest) > LONGEST_LINE:
            self._cut(rest)

    def end(self) -> str:
        """Say what is left and return the last 64 KiB."""
        self.flush()
        return "".join(self._tail)[-TAIL_BYTES:]

    def flush(self) -> None:
        """Say what is left without a line's end."""
        rest, self._rest = (self._rest + self._decoder.decode(b"", final=True)).rstrip("\r"), ""
        self._decoder.reset()
        if rest:
            self._line(self._redact(rest))

    def _cut(self, rest: str) -> None:
        """Say an overlong line's beginning, holding back what may be the beginning of a secret."""
        rest = self._redact(rest)
        cut = len(rest) - max(self._redact.longest, 1)
        if cut > 0:
            self._line(rest[:cut])
            self._rest = rest[cut:]

    def _line(self, line: str) -> None:
        line = _TERMINAL.sub("", line)
        self._tail.append(line + "\n")
        self._size += len(line) + 1
        while self._size - len(self._tail[0]) > TAIL_BYTES:
            self._size -= len(self._tail.popleft())
        self._say(line)
