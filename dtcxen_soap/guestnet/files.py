"""What the renderers of guest network files share: a file of the guest's tree, and the network seen per IP version.

Every renderer turns one GuestNetwork into files; none reads or probes anything. All addresses sit
on one card, which the guest sees as eth0.
"""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap.vps import Address, GuestNetwork, IpAddress

CARD = "eth0"
NOTE = "# Written by dtcxen when this system was installed; yours to change."
VERSIONS = (4, 6)


@dataclass(frozen=True)
class TreeFile:
    """A text file of the guest's tree, its path relative to the tree, owned by root."""

    path: str
    text: str
    mode: int = 0o644


@dataclass(frozen=True)
class DefaultRoute:
    """The default route of one IP version. `onlink`: no address of the card says that the gateway is on the link."""

    gateway: IpAddress
    onlink: bool


def default_route(network: GuestNetwork, version: int) -> DefaultRoute | None:
    """The default route for IP version 4 or 6; None without a gateway, or without an address that could use it.

    A link-local IPv6 gateway (fe80::1) is on the link by its nature and needs no on-link route.
    """
    gateway = network.gateway(version)
    if gateway is None or not _of(network, version):
        return None
    return DefaultRoute(gateway, network.on_link(gateway) and not (version == 6 and gateway.is_link_local))


def addresses(network: GuestNetwork, version: int) -> tuple[Address, ...]:
    """The card's addresses of one IP version, those beside the gateway first.

    Formats with one main address set the default route with it, which fails unless the gateway is
    in its network; the kernel takes the address beside the gateway as source in any order.
    """
    gateway = network.gateway(version)
    return tuple(sorted(_of(network, version), key=lambda address: gateway is None or gateway not in address.interface.network))


def _of(network: GuestNetwork, version: int) -> tuple[Address, ...]:
    return tuple(address for address in network.nic.addresses if address.version == version)


def dns(network: GuestNetwork, version: int) -> tuple[IpAddress, ...]:
    """The name servers of one IP version, for formats that keep them apart."""
    return tuple(server for server in network.dns if server.version == version)


def lines(*text: str) -> str:
    """The lines of a file; empty strings are empty lines."""
    return "".join(line + "\n" for line in text)
