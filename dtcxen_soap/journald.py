"""Systemd's journal by its native protocol: a datagram per entry, a field per line, so that entries can be searched by field.

Source: "Native Journal Protocol" (systemd.io/JOURNAL_NATIVE_PROTOCOL). Text is cut long before a
datagram is full, so that the protocol's file descriptors for larger entries are not needed.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"
LONGEST_VALUE = 48 << 10
"""Bytes of one value; a datagram takes about 200 KiB."""
SEND_SECONDS = 5.0


class Journald:
    """Sends entries; safe from every thread, since a datagram is whole or not sent. OSError where there is no journal, or it does not take any."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(SEND_SECONDS)

    def send(self, fields: Mapping[str, str]) -> None:
        """One entry; names are upper-case letters, digits and underscores."""
        self._socket.sendto(encoded(fields), self._path)

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def encoded(fields: Mapping[str, str]) -> bytes:
    """An entry's bytes. A value with a newline goes behind its length: none can make a field of its own."""
    return b"".join(_field(name, value) for name, value in fields.items())


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "replace")
    if len(data) > LONGEST_VALUE:
        data = data[:LONGEST_VALUE].decode("utf-8", "ignore").encode() + f" (cut: {len(data)} bytes)".encode()
    if b"\n" in data:
        return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


def is_where_it_goes(file: int, environment: Mapping[str, str]) -> bool:
    """Whether systemd connected this open file (standard error) with its journal: JOURNAL_STREAM of systemd.exec(5) names its device and inode."""
    try:
        device, inode = map(int, environment.get("JOURNAL_STREAM", "").split(":"))
        status = os.fstat(file)
    except (ValueError, OSError):
        return False
    return (status.st_dev, status.st_ino) == (device, inode)
