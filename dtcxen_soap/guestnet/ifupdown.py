"""/etc/network/interfaces, in words that ifupdown of 2008 and of today both take (interfaces(5), 0.6 to 0.8).

Hence address and netmask on lines of their own, aliases eth0:N for more IPv4 addresses, and no
second stanza of the same family, which old ones refuse: more IPv6 addresses are added by commands.
"""

from __future__ import annotations

from collections.abc import Iterator

from dtcxen_soap.guestnet.files import CARD, NOTE, TreeFile, addresses, default_route, lines
from dtcxen_soap.vps import Address, GuestNetwork

PATH = "etc/network/interfaces"
LOOPBACK = ("auto lo", "iface lo inet loopback")
SOURCE = "source /etc/network/interfaces.d/*"


def render(network: GuestNetwork, source: bool = False) -> tuple[TreeFile, ...]:
    """The whole file; `source`: also read interfaces.d, as systems that have that directory expect."""
    return (TreeFile(PATH, lines(*_head(source), *_ipv4(network), *_ipv6(network, bool(addresses(network, 4))))),)


def loopback_only(source: bool = False) -> TreeFile:
    """The file of a tree whose card is another system's business."""
    return TreeFile(PATH, lines(*_head(source)))


def _head(source: bool) -> Iterator[str]:
    yield NOTE
    if source:
        yield SOURCE
    yield ""
    yield from LOOPBACK


def _ipv4(network: GuestNetwork) -> Iterator[str]:
    """The first address on eth0 with route and name servers, the others on eth0:1 and so on."""
    for number, address in enumerate(addresses(network, 4)):
        card = f"{CARD}:{number}" if number else CARD
        yield from ("", f"auto {card}", f"iface {card} inet static")
        yield from _indent(*_address(address))
        if number == 0:
            yield from _indent(*_route4(network), *_dns(network))


def _address(address: Address) -> Iterator[str]:
    """Network and broadcast only where a network has them: a /31 or /32 does not."""
    net = address.interface.network
    yield f"address {address.ip}"
    yield f"netmask {net.netmask}"
    if net.prefixlen < 31:
        yield f"network {net.network_address}"
    if address.broadcast or net.prefixlen < 31:
        yield f"broadcast {address.broadcast or net.broadcast_address}"


def _route4(network: GuestNetwork) -> Iterator[str]:
    route = default_route(network, 4)
    if route and route.onlink:
        yield f"post-up ip route replace default via {route.gateway} dev {CARD} onlink"
    elif route:
        yield f"gateway {route.gateway}"


def _ipv6(network: GuestNetwork, has_ipv4: bool) -> Iterator[str]:
    """One stanza; only the addresses given here are used, none that a router announces."""
    every = addresses(network, 6)
    if not every:
        return
    yield ""
    if not has_ipv4:
        yield f"auto {CARD}"
    yield f"iface {CARD} inet6 static"
    yield from _indent(f"address {every[0].ip}", f"netmask {every[0].interface.network.prefixlen}", "accept_ra 0", "autoconf 0")
    yield from _indent(*_route6(network), *(f"post-up ip -6 addr replace {address.interface} dev {CARD}" for address in every[1:]))
    if not has_ipv4:
        yield from _indent(*_dns(network))


def _route6(network: GuestNetwork) -> Iterator[str]:
    """Kernels before 4.16 know no onlink for IPv6: there the gateway gets a route of its own first."""
    route = default_route(network, 6)
    if route and route.onlink:
        yield f"post-up ip -6 route replace {route.gateway} dev {CARD}"
        yield f"post-up ip -6 route replace default via {route.gateway} dev {CARD}"
    elif route:
        yield f"gateway {route.gateway}"


def _dns(network: GuestNetwork) -> Iterator[str]:
    """For resolvconf; without it the line means nothing."""
    if network.dns:
        yield f"dns-nameservers {' '.join(map(str, network.dns))}"


def _indent(*text: str) -> Iterator[str]:
    return (f"    {line}" for line in text)
