"""etc/resolv.conf: a nameserver line for every DNS server of the VPS (resolv.conf(5)).

A plain file is right for every system that has no resolver daemon, and systemd-resolved reads it
too when it is no link. Where systemd-resolved is enabled and the network's files hand it the name
servers, choose.py leaves its link alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from dtcxen_soap.guestnet.files import NOTE, TreeFile, lines
from dtcxen_soap.vps import GuestNetwork

PATH = "etc/resolv.conf"
ASKED = 3


def render(network: GuestNetwork) -> TreeFile:
    """The file; all servers in the order given."""
    return TreeFile(PATH, lines(*_lines(network)))


def _lines(network: GuestNetwork) -> Iterator[str]:
    yield NOTE
    if len(network.dns) > ASKED:
        yield f"# The C library asks the first {ASKED} only."
    yield from (f"nameserver {server}" for server in network.dns)
