"""Terminals that others serve, read without disturbing whoever uses them. Source: pty(7), open(2)."""

from __future__ import annotations

import errno
import os

CHUNK = 65536


class Terminal:
    """The reading end of a pseudo terminal, open until `close`. It never becomes ours, its modes stay as they are.

    What is read is gone for every other reader.
    """

    def __init__(self, path: str) -> None:
        """OSError when it is not there."""
        self._fd = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)

    def read(self) -> bytes:
        """What waits to be read, at most 64 KiB; b"" when nothing does, or its other end is gone."""
        try:
            return os.read(self._fd, CHUNK)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EIO):
                return b""
            raise

    def close(self) -> None:
        """Let others read."""
        os.close(self._fd)
