"""/etc/sysconfig/network-scripts of the Red Hat family, for initscripts of CentOS 5 to 7 and NetworkManager's reader of them.

More IPv4 addresses are alias files ifcfg-eth0:N, as the original's and as CentOS 5 knows them;
more IPv6 addresses share the main file. Source: sysconfig.txt of initscripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dtcxen_soap.guestnet.files import CARD, NOTE, TreeFile, addresses, default_route, lines
from dtcxen_soap.vps import Address, GuestNetwork

DIRECTORY = "etc/sysconfig/network-scripts"
GENERAL = "etc/sysconfig/network"
_OURS = re.compile(r"\s*(NETWORKING|NETWORKING_IPV6|HOSTNAME|GATEWAY|GATEWAYDEV|IPV6_DEFAULTGW|IPV6_DEFAULTDEV|IPV6_AUTOCONF)\s*=")


def render(network: GuestNetwork, general: str = "", hostname: str = "") -> tuple[TreeFile, ...]:
    """The card's files and etc/sysconfig/network; of the tree's own `general` what is not about the network stays.

    Without `hostname` the tree's HOSTNAME, which CentOS 5 and 6 read there, is kept.
    """
    main = TreeFile(f"{DIRECTORY}/ifcfg-{CARD}", lines(*_main(network)))
    aliases = tuple(
        TreeFile(f"{DIRECTORY}/ifcfg-{CARD}:{number}", lines(NOTE, f"DEVICE={CARD}:{number}", "BOOTPROTO=none", "ONBOOT=yes", *_ipv4(address)))
        for number, address in enumerate(addresses(network, 4)[1:], 1))
    return TreeFile(GENERAL, lines(*_general(network, general, hostname))), main, *aliases, *_routes(network)


def _general(network: GuestNetwork, old: str, hostname: str) -> Iterator[str]:
    for line in old.splitlines():
        if not _OURS.match(line) or (not hostname and line.lstrip().startswith("HOSTNAME")):
            yield line
    yield "NETWORKING=yes"
    yield f"NETWORKING_IPV6={'yes' if addresses(network, 6) else 'no'}"
    if hostname:
        yield f"HOSTNAME={hostname}"


def _main(network: GuestNetwork) -> Iterator[str]:
    """PEERDNS=no leaves resolv.conf alone, where every name server stands; NetworkManager still takes the DNSn lines."""
    yield NOTE
    yield from (f"DEVICE={CARD}", f"HWADDR={network.nic.mac.upper()}", "TYPE=Ethernet", "BOOTPROTO=none", "ONBOOT=yes")
    for address in addresses(network, 4)[:1]:
        yield from _ipv4(address)
    route = default_route(network, 4)
    if route and not route.onlink:
        yield f"GATEWAY={route.gateway}"
    yield from _ipv6(network)
    yield "PEERDNS=no"
    for number, server in enumerate(network.dns, 1):
        yield f"DNS{number}={server}"


def _ipv4(address: Address) -> Iterator[str]:
    net = address.interface.network
    yield f"IPADDR={address.ip}"
    yield f"NETMASK={net.netmask}"
    if net.prefixlen < 31:
        yield f"NETWORK={net.network_address}"
    if address.broadcast or net.prefixlen < 31:
        yield f"BROADCAST={address.broadcast or net.broadcast_address}"


def _ipv6(network: GuestNetwork) -> Iterator[str]:
    """Only the addresses given here are used, none that a router announces."""
    every = addresses(network, 6)
    yield f"IPV6INIT={'yes' if every else 'no'}"
    yield "IPV6_AUTOCONF=no"
    if not every:
        return
    yield f"IPV6ADDR={every[0].interface}"
    if every[1:]:
        yield f"IPV6ADDR_SECONDARIES=\"{' '.join(str(address.interface) for address in every[1:])}\""
    route = default_route(network, 6)
    if route and not route.onlink:
        yield f"IPV6_DEFAULTGW={route.gateway}" + (f"%{CARD}" if route.gateway.is_link_local else "")


def _routes(network: GuestNetwork) -> Iterator[TreeFile]:
    """A gateway outside every network gets a route of its own first: understood by every version of both readers."""
    for version, name in ((4, "route"), (6, "route6")):
        route = default_route(network, version)
        if route and route.onlink:
            host = f"{route.gateway}/{route.gateway.max_prefixlen}"
            yield TreeFile(f"{DIRECTORY}/{name}-{CARD}", lines(f"{host} dev {CARD}", f"default via {route.gateway} dev {CARD}"))
