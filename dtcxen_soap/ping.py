"""ICMP echo to many addresses at once: one loop, one socket per IP version, nothing per address but a few bytes.

Requests leave in short bursts and the replies are taken in between, so that no buffer on the way
overflows. A reply counts when its identifier, its sequence number, a random token in its payload
and its source address are all what was sent; whatever else arrives belongs to other programs.
Sources: RFC 792, RFC 4443, icmp(7), raw(7); Linux's ping sockets and SO_TIMESTAMPNS.
"""

from __future__ import annotations

import errno
import os
import secrets
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dtcxen_soap.errors import Failed
from dtcxen_soap.vps import IpAddress

BURST = 64
BURST_GAP_NS = 500_000
FULL_PATIENCE_NS = 200_000_000
RECEIVE_BUFFER = 8 << 20
TOKEN_BYTES = 8
_PACKET = struct.Struct(f"!BBHHH{TOKEN_BYTES}sI4x")
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_STAMP = struct.Struct("@ll")

# <asm-generic/socket.h>, <linux/icmp.h>, <linux/icmpv6.h>: names that Python's socket module lacks.
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_SOL_RAW = 255
_ICMP_FILTER = 1
_ICMPV6_FILTER = 1


class Echoes(NamedTuple):
    """What came of the echo requests to one address; `mean_rtt_ms` is None when none was answered."""

    sent: int
    received: int
    mean_rtt_ms: float | None


def ping_all(addresses: Iterable[IpAddress], timeout_ms: int, count: int = 1) -> dict[IpAddress, Echoes]:
    """Send `count` echo requests to each address and wait for what answers; early when all did.

    The requests of one address are spread over the first half of the timeout, so each has at least
    the other half to be answered in. A request that the node itself cannot send (no route, no
    neighbour, no such IP version here) is one that was not answered, and so is one that an ICMP
    error comes back for. Failed when this process may not send echo requests at all.
    """
    targets = tuple(dict.fromkeys(addresses))
    run = _Run(targets, timeout_ms * 1_000_000, count)
    try:
        run.all()
    finally:
        run.close()
    return {target: run.echoes(place) for place, target in enumerate(targets)}


# -- packets: pure ------------------------------------------------------------------------------------


def checksum(data: bytes) -> int:
    """The Internet checksum of an even number of bytes (RFC 1071): words modulo 65535 add up as in ones' complement."""
    return -int.from_bytes(data, "big") % 0xFFFF


def echo_request(version: int, identifier: int, number: int, token: bytes) -> bytes:
    """The packet of the echo with this number; its sequence number is the low half. ICMPv6's checksum is the kernel's work."""
    fields = identifier, number & 0xFFFF, token, number
    packet = _PACKET.pack(_REQUEST[version], 0, 0, *fields)
    return _PACKET.pack(_REQUEST[version], 0, checksum(packet), *fields) if version == 4 else packet


def echo_number(version: int, packet: bytes, identifier: int | None, token: bytes) -> int | None:
    """The number of the echo that an ICMP packet answers; None when it is not an answer to ours.

    `identifier` is None where the kernel has chosen it and delivers only what answers it.
    """
    if len(packet) != _PACKET.size:
        return None
    kind, code, _, replied, sequence, their_token, number = _PACKET.unpack(packet)
    fits = kind == _REPLY[version] and code == 0 and identifier in (None, replied) and their_token == token and sequence == number & 0xFFFF
    return number if fits else None


def without_ip_header(packet: bytes) -> bytes:
    """What an IPv4 packet carries; raw sockets give the header too (raw(7)), in words of four bytes."""
    return packet[(packet[0] & 0x0F) * 4:] if packet else packet


# -- sockets ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Line:
    """A socket for one IP version. `identifier` is None on a ping socket, where the kernel chooses it."""

    version: int
    socket: socket.socket
    identifier: int | None
    payload: Callable[[bytes], bytes]


def _open(version: int) -> _Line | None:
    """A raw socket, or a ping socket where raw ones are not permitted; None when the node lacks this IP version."""
    family, protocol = (socket.AF_INET, socket.IPPROTO_ICMP) if version == 4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
    for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
        try:
            line = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        except PermissionError:
            continue
        except OSError as error:
            if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
                return None
            raise
        raw = kind == socket.SOCK_RAW
        _prepare(line, version, raw)
        return _Line(version, line, secrets.randbits(16) if raw else None, without_ip_header if raw and version == 4 else bytes)
    raise Failed("Ping addresses.", "this process may not send ICMP echo requests: it needs CAP_NET_RAW, or its group in net.ipv4.ping_group_range")


def _prepare(line: socket.socket, version: int, raw: bool) -> None:
    """Room for replies, the kernel's time of their arrival, and on raw sockets nothing but echo replies."""
    try:
        line.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    line.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    if raw and version == 4:
        line.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("@I", 0xFFFFFFFF ^ 1 << _REPLY[4]))
    elif raw:
        word, bit = divmod(_REPLY[6], 32)
        line.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, struct.pack("@8I", *(0xFFFFFFFF ^ (1 << bit if place == word else 0) for place in range(8))))


# -- the loop -----------------------------------------------------------------------------------------


class _Run:
    """One ping_all: echo n goes to target n modulo their number, in round n divided by it. Times in ns, monotonic."""

    def __init__(self, targets: Sequence[IpAddress], timeout: int, count: int) -> None:
        self._timeout, self._count, self._total = timeout, count, len(targets) * count
        self._token = os.urandom(TOKEN_BYTES)
        self._versions = [target.version for target in targets]
        self._texts = [socket.inet_ntop(socket.AF_INET if target.version == 4 else socket.AF_INET6, target.packed) for target in targets]
        self._selector = selectors.DefaultSelector()
        self._lines: dict[int, _Line | None] = {}
        try:
            for version in sorted(set(self._versions)):
                self._lines[version] = self._add(version)
        except BaseException:
            self.close()
            raise
        self._sent_at = [0] * self._total
        self._waiting: set[int] = set()
        self._received = [0] * len(targets)
        self._taken = [0] * len(targets)
        self._patience = FULL_PATIENCE_NS
        self._clocks_apart = time.time_ns() - time.monotonic_ns()

    def _add(self, version: int) -> _Line | None:
        line = _open(version)
        if line is not None:
            self._selector.register(line.socket, selectors.EVENT_READ, line)
        return line

    def close(self) -> None:
        for line in self._lines.values():
            if line is not None:
                line.socket.close()
        self._selector.close()

    def echoes(self, place: int) -> Echoes:
        """What came of the echoes to the target at this place."""
        received = self._received[place]
        return Echoes(self._count, received, self._taken[place] / received / 1e6 if received else None)

    def all(self) -> None:
        """Send everything, take what comes, end when all is answered or nothing more can be waited for."""
        begun = next_at = deadline = time.monotonic_ns()
        number = 0
        while number < self._total or (self._waiting and time.monotonic_ns() < deadline):
            if number < self._total and time.monotonic_ns() >= next_at:
                next_at = time.monotonic_ns() + BURST_GAP_NS
                number = self._burst(number)
                deadline = max(deadline, time.monotonic_ns() + (self._timeout if number <= len(self._texts) else self._timeout // 2))
                next_at = max(next_at, begun + self._due(number))
            self._receive((next_at if number < self._total else deadline) - time.monotonic_ns())

    def _due(self, number: int) -> int:
        """How long after the beginning an echo may leave: rounds are spread over half the timeout."""
        return number // len(self._texts) * (self._timeout // 2) // max(self._count - 1, 1)

    def _burst(self, number: int) -> int:
        """Send the next echoes, at most to the end of their round; the number after the last one."""
        end = min(number + BURST, (number // len(self._texts) + 1) * len(self._texts))
        for each in range(number, end):
            if self._send(each):
                self._waiting.add(each)
        return end

    def _send(self, number: int) -> bool:
        """Whether the node let this echo go. Full queues are given a moment, all in all FULL_PATIENCE_NS."""
        place = number % len(self._texts)
        line = self._lines[self._versions[place]]
        if line is None:
            return False
        packet = echo_request(line.version, line.identifier or 0, number, self._token)
        while True:
            self._sent_at[number] = now = time.monotonic_ns()
            try:
                line.socket.sendto(packet, (self._texts[place], 0))
                return True
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.ENOBUFS) or self._patience <= 0:
                    return False
            self._receive(1_000_000)
            self._patience -= time.monotonic_ns() - now

    def _receive(self, wait: int) -> None:
        """Take the replies that are there, a bounded number; wait up to so many ns for the first."""
        for key, _ in self._selector.select(max(wait, 0) / 1e9):
            for _ in range(4 * BURST):
                try:
                    packet, ancillary, _, source = key.data.socket.recvmsg(256, 64)
                except OSError:
                    break
                self._take(key.data, packet, ancillary, source[0])

    def _take(self, line: _Line, packet: bytes, ancillary: list[tuple[int, int, bytes]], source: str) -> None:
        number = echo_number(line.version, line.payload(packet), line.identifier, self._token)
        if number is None or number not in self._waiting:
            return
        place = number % len(self._texts)
        if self._texts[place] == source and self._versions[place] == line.version:
            self._waiting.remove(number)
            self._received[place] += 1
            self._taken[place] += self._arrival(ancillary, self._sent_at[number]) - self._sent_at[number]

    def _arrival(self, ancillary: list[tuple[int, int, bytes]], sent_at: int) -> int:
        """When the kernel got a reply, in monotonic time; now, when it does not say or the clock was set meanwhile."""
        now = time.monotonic_ns()
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) == _STAMP.size:
                seconds, fraction = _STAMP.unpack(data)
                at = int(seconds * 1_000_000_000 + fraction - self._clocks_apart)
                return at if sent_at <= at <= now else now
        return now

