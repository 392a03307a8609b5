"""Pinging for real: loopback answers, a namespace made here holds the addresses that do not.

The namespace's pair of interfaces leads nowhere: what is sent into one end is dropped at the other.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap.ping import Echoes, _Run, echo_request, ping_all
from dtcxen_soap.vps import IpAddress

pytestmark = pytest.mark.root

ROOT = str(Path(__file__).resolve().parents[2])
SCRIPT = """
import ipaddress, json, os, sys, time
from dtcxen_soap.ping import ping_all
given = json.load(sys.stdin)
if given["nobody"]:
    os.setgid(65534)
    os.setuid(65534)
addresses = [ipaddress.ip_address(address) for address in given["addresses"]]
begun = time.monotonic()
echoes = ping_all(addresses, given["timeout_ms"], given["count"])
print(json.dumps({"seconds": time.monotonic() - begun, "busy": time.process_time(), "echoes": {str(address): each for address, each in echoes.items()}}))
"""


def loopback(number: int) -> list[IpAddress]:
    """So many different addresses of the loopback interface."""
    return [ipaddress.IPv4Address((127 << 24) + (1 << 16) + index) for index in range(1, number + 1)]


class Space:
    """A network namespace: 10.98.0.0/16 and fd98::/64 swallow everything, 10.97.0.0/16 is unreachable from a router."""

    def __init__(self, name: str) -> None:
        self.name, self.router, self.busy_seconds = name, name + "r", 0.0
        self.ip("netns", "add", name)
        self.ip("netns", "add", self.router)
        self.inside("link", "set", "lo", "up")
        self.inside("link", "add", "void0", "type", "veth", "peer", "name", "void1")
        self.inside("addr", "add", "10.98.0.1/16", "dev", "void0")
        self.inside("addr", "add", "fd98::1/64", "dev", "void0", "nodad")
        for end in ("void0", "void1"):
            self.inside("link", "set", end, "arp", "off", "up")
        self._route()

    def _route(self) -> None:
        """A router in a namespace of its own, which answers for 10.97.0.0/16 with host unreachable."""
        self.inside("link", "add", "up0", "type", "veth", "peer", "name", "down0", "netns", self.router)
        self.inside("addr", "add", "10.96.0.1/30", "dev", "up0")
        self.inside("link", "set", "up0", "up")
        self.ip("-n", self.router, "addr", "add", "10.96.0.2/30", "dev", "down0")
        self.ip("-n", self.router, "link", "set", "down0", "up")
        self.ip("netns", "exec", self.router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.ip("-n", self.router, "route", "add", "unreachable", "10.97.0.0/16")
        self.inside("route", "add", "10.97.0.0/16", "via", "10.96.0.2")

    @staticmethod
    def ip(*words: str) -> None:
        subprocess.run(("ip", *words), check=True, timeout=30)

    def inside(self, *words: str) -> None:
        self.ip("-n", self.name, *words)

    def ping(self, addresses: list[str], timeout_ms: int, count: int = 1, nobody: bool = False) -> tuple[dict[str, Echoes], float]:
        """What ping_all finds in the namespace, and how many seconds it took."""
        given = {"addresses": addresses, "timeout_ms": timeout_ms, "count": count, "nobody": nobody}
        done = subprocess.run(
            ("ip", "netns", "exec", self.name, sys.executable, "-c", SCRIPT), input=json.dumps(given), capture_output=True, text=True, cwd=ROOT, timeout=60)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        self.busy_seconds = found["busy"]
        return {address: Echoes(*each) for address, each in found["echoes"].items()}, found["seconds"]

    def remove(self) -> None:
        for name in (self.name, self.router):
            subprocess.run(("ip", "netns", "delete", name), check=False, timeout=30)


@pytest.fixture(scope="module")
def space() -> Iterator[Space]:
    """A namespace for this module's tests."""
    made = Space(f"dtcping{secrets.token_hex(3)}")
    try:
        yield made
    finally:
        made.remove()


def test_every_one_of_ten_thousand_live_addresses_is_live() -> None:
    addresses = loopback(10_000)
    begun = time.monotonic()
    echoes = ping_all(addresses, 5000)
    assert time.monotonic() - begun < 4, "it returns when all have answered"
    assert [str(address) for address in addresses if echoes[address].received != 1] == []


def test_a_tenth_dead_costs_the_timeout_and_hardly_more(space: Space) -> None:
    dead = [f"10.98.1.{index}" for index in range(100)]
    live = [str(address) for address in loopback(900)]
    echoes, seconds = space.ping([address for nine, one in zip(zip(*[iter(live)] * 9, strict=True), dead, strict=True) for address in (*nine, one)], 2000)
    assert 2.0 <= seconds < 3.0
    assert space.busy_seconds < 0.7, "waiting is not polling"
    assert [address for address in live if not echoes[address].received] == []
    assert [address for address in dead if echoes[address] != (1, 0, None)] == []


def test_both_ip_versions(space: Space) -> None:
    echoes, seconds = space.ping(["::1", "fd98::1", "127.0.0.1", "fd98::2", "10.98.0.9"], 300)
    assert [address for address, each in echoes.items() if each.received] == ["::1", "fd98::1", "127.0.0.1"]
    assert seconds < 1.5


def test_an_icmp_error_is_no_answer(space: Space) -> None:
    """A router says host unreachable; so does the node itself of an address it has no route to, and that is not waited for."""
    echoes, _ = space.ping(["10.97.0.1", "127.0.0.1"], 300)
    assert echoes["10.97.0.1"] == (1, 0, None) and echoes["127.0.0.1"].received == 1
    echoes, seconds = space.ping(["192.0.2.1", "2001:db8::1", "127.0.0.1"], 5000)
    assert [each.received for each in echoes.values()] == [0, 0, 1] and seconds < 1


def test_echoes_are_spread_within_the_timeout(space: Space) -> None:
    echoes, seconds = space.ping(["127.0.0.1"], 2000, count=5)
    assert echoes["127.0.0.1"][:2] == (5, 5) and 1.0 <= seconds < 1.9
    echoes, seconds = space.ping(["127.0.0.1", "10.98.0.7"], 2000, count=5)
    assert echoes["10.98.0.7"] == (5, 0, None) and 2.0 <= seconds < 3.0


def test_without_raw_sockets_ping_sockets_do(space: Space) -> None:
    Space.ip("netns", "exec", space.name, "sysctl", "-qw", "net.ipv4.ping_group_range=65534 65534")
    live = [str(address) for address in loopback(2000)]
    echoes, _ = space.ping([*live, "::1", "10.98.0.7"], 1000, nobody=True)
    assert [address for address, each in echoes.items() if not each.received] == ["10.98.0.7"]


def test_neither_permitted_is_said_plainly(space: Space) -> None:
    Space.ip("netns", "exec", space.name, "sysctl", "-qw", "net.ipv4.ping_group_range=1 0")
    with pytest.raises(AssertionError, match="may not send ICMP echo requests: it needs CAP_NET_RAW"):
        space.ping(["127.0.0.1"], 100, nobody=True)


def test_round_trip_times_are_the_kernels() -> None:
    """A burst is taken in after it was sent; with the kernel's stamps its first echo looks no slower than its last."""
    shares = []
    for _ in range(5):
        began = time.monotonic()
        times = [each.mean_rtt_ms for each in ping_all(loopback(640), 1000).values()]
        whole = (time.monotonic() - began) * 1000
        assert all(each is not None and 0 <= each < whole for each in times)
        shares.append(sorted(each for each in times if each is not None)[320] / whole)
    assert min(shares) < 0.02, "without the stamps it is 0.04, with them 0.001; a machine that is at work may delay some"


def test_two_runs_at_once_do_not_take_each_others_replies() -> None:
    """Both raw sockets see all replies; each run counts its own, once."""
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: ping_all(loopback(2000), 3000, 2), range(2)))
    assert all(each[:2] == (2, 2) for run in runs for each in run.values())


def test_a_reply_counts_once_and_only_to_what_was_sent() -> None:
    """A network may double a reply, and anybody who saw a request may invent more of them."""
    run = _Run((ipaddress.IPv4Address("127.0.0.1"),), 1_000_000, 1)
    try:
        line = run._lines[4]
        assert line is not None and line.identifier is not None
        replies = [b"\x45" + bytes(19) + b"\0" + echo_request(4, line.identifier, number, run._token)[1:] for number in (0, 0, 1, 4711)]
        run._waiting.add(0)
        for reply in replies:
            run._take(line, reply, [], "127.0.0.1")
        assert run.echoes(0).received == 1
    finally:
        run.close()


def test_no_address_no_time() -> None:
    begun = time.monotonic()
    assert ping_all((), 5000) == {} and time.monotonic() - begun < 3


def test_an_address_given_twice_is_pinged_once() -> None:
    address = ipaddress.IPv4Address("127.0.0.9")
    echoes = ping_all((address, address), 1000)
    assert list(echoes) == [address] and echoes[address].sent == 1


def test_an_answer_from_elsewhere_is_no_answer() -> None:
    """0.0.0.0 is answered by 127.0.0.1, which is not the address that was asked for."""
    asked = ipaddress.IPv4Address("0.0.0.0")
    assert ping_all((asked,), 200)[asked].received == 0
