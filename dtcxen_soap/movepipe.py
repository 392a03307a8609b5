"""Two pipes to the other node: lines and raw bytes of movewords.py, never waited for longer than they may take.

Writing goes on while the other end is slow; `cancelled` is asked all the while.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

from dtcxen_soap.errors import Cancelled
from dtcxen_soap.movewords import MOST_HEADER_BYTES, Garbled, Header, parse, render

POLL_SECONDS = 0.2
_PIECE = 1 << 18


class Cut(Exception):
    """The other end is gone, or says nothing for too long; what was done there is not known."""


class Pipe:
    """What comes at `reading`, what goes to `writing`. `idle_seconds` without a byte in either direction is a Cut."""

    def __init__(self, reading: int, writing: int, idle_seconds: float, cancelled: Callable[[], bool]) -> None:
        self._reading, self._writing, self._idle, self._cancelled = reading, writing, idle_seconds, cancelled
        self._held = bytearray()
        for handle in (reading, writing):
            os.set_blocking(handle, False)

    def send(self, header: Header, raw: bytes | memoryview = b"") -> None:
        """A header, and the bytes that it announces."""
        for data in (render(header), raw):
            left = memoryview(data)
            while left:
                self._wait([], [self._writing])
                try:
                    left = left[os.write(self._writing, left[:_PIECE]):]
                except BlockingIOError:
                    continue
                except OSError as error:
                    raise Cut(f"the connection was closed: {error.strerror}") from error

    def receive(self) -> Header | None:
        """The next header; None when the other end closed between two. Garbled when it is none."""
        seen = 0
        while (end := self._held.find(b"\n", seen)) < 0:
            seen = len(self._held)
            if seen > MOST_HEADER_BYTES:
                raise Garbled(f"a line of more than {MOST_HEADER_BYTES} bytes")
            if not self._more():
                if self._held:
                    raise Cut("the connection ended within a line")
                return None
        line = bytes(self._held[:end])
        del self._held[:end + 1]
        return parse(line)

    def raw(self, size: int) -> bytes:
        """So many bytes; whoever calls has bounded them."""
        while len(self._held) < size:
            if not self._more():
                raise Cut("the connection ended within a block")
        data = bytes(self._held[:size])
        del self._held[:size]
        return data

    def _more(self) -> bool:
        """Read once; False at the end."""
        while True:
            self._wait([self._reading], [])
            try:
                data = os.read(self._reading, _PIECE)
            except BlockingIOError:
                continue
            except OSError as error:
                raise Cut(f"the connection was closed: {error.strerror}") from error
            self._held += data
            return bool(data)

    def _wait(self, reading: list[int], writing: list[int]) -> None:
        deadline = time.monotonic() + self._idle
        while True:
            if self._cancelled():
                raise Cancelled("ended on request")
            if any(select.select(reading, writing, [], POLL_SECONDS)):
                return
            if time.monotonic() > deadline:
                raise Cut(f"nothing came or went for {self._idle:.0f} seconds")
