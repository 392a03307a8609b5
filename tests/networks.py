"""Guest networks of every kind a panel may ask for: the cases of the golden files and of the tests on real tools."""

from __future__ import annotations

import ipaddress

from dtcxen_soap.settings import load
from dtcxen_soap.valuetypes import address
from dtcxen_soap.vps import GuestNetwork, MacAddress, Nic

SETTINGS = load("").settings
MAC = MacAddress("00:16:3e:10:10:01")


def network(addresses: str, gateways: str, dns: str = "192.0.2.53", onlink: bool = False) -> GuestNetwork:
    """A network as a caller writes it: words separated by blanks."""
    ips = [tuple(ipaddress.ip_address(word) for word in text.split()) for text in (gateways, dns)]
    return GuestNetwork(Nic(MAC, tuple(address(word, SETTINGS) for word in addresses.split())), ips[0], ips[1], onlink)


CASES = {
    "one-ipv4": network("192.0.2.10,255.255.255.0,192.0.2.255", "192.0.2.1", "192.0.2.53 192.0.2.54"),
    "three-ipv4": network("192.0.2.10/24 192.0.2.11/24 192.0.2.12/24", "192.0.2.1"),
    "two-networks": network("198.51.100.7/28 192.0.2.10/24", "192.0.2.1"),
    "own-broadcast": network("192.0.2.10,255.255.255.0,192.0.2.127", "192.0.2.1"),
    "both-versions": network("192.0.2.10/24 2001:db8:1::10/64 2001:db8:1::11/64", "192.0.2.1 2001:db8:1::1", "192.0.2.53 2001:db8:1::53"),
    "ipv6-only": network("2001:db8:1::10/64 2001:db8:1::11/64", "fe80::1", "2001:db8:1::53 2001:db8:1::54"),
    "onlink": network("192.0.2.10/32 2001:db8:1::10/128", "203.0.113.1 2001:db8:ffff::1", "192.0.2.53", True),
    "onlink-three": network("192.0.2.10/24 192.0.2.11/24 198.51.100.7/32", "203.0.113.1", "192.0.2.53", True),
    "point-to-point": network("192.0.2.10/31", "192.0.2.11"),
    "many-dns": network("192.0.2.10/24", "192.0.2.1", "192.0.2.53 192.0.2.54 192.0.2.55 192.0.2.56 198.51.100.53"),
}
