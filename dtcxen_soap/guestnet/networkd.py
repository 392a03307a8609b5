"""/etc/systemd/network: the card's addresses for systemd-networkd, and its name for udev on any systemd guest.

Sources: systemd.network(5), systemd.link(5). Unknown keys are ignored by older versions with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator

from dtcxen_soap.guestnet.files import CARD, NOTE, VERSIONS, TreeFile, addresses, default_route, lines
from dtcxen_soap.vps import Address, GuestNetwork

DIRECTORY = "etc/systemd/network"
PATH = f"{DIRECTORY}/05-dtcxen-{CARD}.network"
LINK_PATH = f"{DIRECTORY}/05-dtcxen-{CARD}.link"


def render(network: GuestNetwork) -> tuple[TreeFile, ...]:
    """The card's .network file, matched by MAC address."""
    return (TreeFile(PATH, lines(*_document(network))),)


def link(network: GuestNetwork) -> TreeFile:
    """The .link file that keeps the card's name eth0, which systemd 250 and later would make enX0."""
    return TreeFile(LINK_PATH, lines(NOTE, "[Match]", f"MACAddress={network.nic.mac}", "Kind=!*", "", "[Link]", f"Name={CARD}"))


def _document(network: GuestNetwork) -> Iterator[str]:
    """Kind=!* leaves out bridges and VLANs, which inherit the card's MAC address."""
    yield from (NOTE, "[Match]", f"MACAddress={network.nic.mac}", "Kind=!*", "", "[Network]", "DHCP=no", "IPv6AcceptRA=no")
    every = [address for version in VERSIONS for address in addresses(network, version)]
    yield from (f"Address={address.interface}" for address in every if address.broadcast is None)
    routes = [route for version in VERSIONS if (route := default_route(network, version))]
    yield from (f"Gateway={route.gateway}" for route in routes if not route.onlink)
    yield from (f"DNS={server}" for server in network.dns)
    for address in every:
        yield from _own_broadcast(address)
    for route in routes:
        if route.onlink:
            yield from ("", "[Route]", f"Gateway={route.gateway}", "GatewayOnLink=yes")


def _own_broadcast(address: Address) -> Iterator[str]:
    if address.broadcast is not None:
        yield from ("", "[Address]", f"Address={address.interface}", f"Broadcast={address.broadcast}")
