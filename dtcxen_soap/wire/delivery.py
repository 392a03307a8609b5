"""Whether a reply has reached its reader: all of it was acknowledged, and the reader closed the connection without a reset.

A reader that is cut off with something unread resets the connection. It therefore closes first: one
that has not read what we say when we close would reset as well. The word is TCP's, from below TLS,
since many clients end TLS without saying so. In doubt nothing has arrived. Source: tcp(7), SIOCOUTQ.
"""

from __future__ import annotations

import fcntl
import struct
import termios
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

CLOSING_SECONDS = 5
"""How long a reader that was asked to close may wait for us to do it."""
_FAREWELL_BYTES = 64
"""What may be unacknowledged at the end: our own word of it."""


def when_delivered(request: Any, call: Callable[[], None]) -> None:
    """Ask the reader of this reply, which is still to be written, to close the connection; and call once it did so and has all of it."""
    request.setHeader(b"connection", b"close")
    channel = request.channel
    tcp = getattr(channel.transport, "transport", None)
    if tcp is not None:
        channel.persistent = True
        _Delivery(request, channel, tcp, call)


class _Delivery:
    """One reply on its way, listening between TLS and TCP."""

    def __init__(self, request: Any, channel: Any, tcp: Any, call: Callable[[], None]) -> None:
        self._channel, self._tcp, self._call = channel, tcp, call
        self._socket = tcp.getHandle().dup()
        self._written = False
        self._lost, channel.transport.connectionLost = channel.transport.connectionLost, self._ended
        request.notifyFinish().addCallbacks(self._finished, lambda failure: None)

    def _finished(self, ok: None) -> None:
        self._written = True
        self._channel.setTimeout(CLOSING_SECONDS)

    def _ended(self, reason: Failure) -> None:
        with self._socket:
            complete = self._written and not self._unsent() and self._unacknowledged() <= _FAREWELL_BYTES
        self._lost(reason)
        if complete and reason.check(ConnectionDone):
            self._call()

    def _unsent(self) -> int:
        """Bytes that the kernel has not taken yet, which Twisted drops when the peer closes; it has no public name for them."""
        return int(len(self._tcp.dataBuffer) - self._tcp.offset + self._tcp._tempDataLen)

    def _unacknowledged(self) -> int:
        """Bytes that the kernel has taken and the other end has not."""
        return int(struct.unpack("i", fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
