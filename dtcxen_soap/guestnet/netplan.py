"""/etc/netplan of Ubuntu and of Debian's cloud images (netplan(5), 0.98 to 1.1).

The card is matched by its MAC address and not renamed here: were a name demanded and not given,
there would be no network at all. The default route is written as a route, since gateway4 is
deprecated. Netplan has no word for a broadcast address of one's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from dtcxen_soap.guestnet.files import CARD, NOTE, VERSIONS, TreeFile, addresses, default_route, lines
from dtcxen_soap.vps import GuestNetwork

DIRECTORY = "etc/netplan"
PATH = f"{DIRECTORY}/01-dtcxen.yaml"
_EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


def render(network: GuestNetwork, renderer: str = "networkd") -> tuple[TreeFile, ...]:
    """The file, for netplan's back end `renderer`: networkd or NetworkManager. Mode 0600, which netplan asks for."""
    return (TreeFile(PATH, lines(*_document(network, renderer)), 0o600),)


def _document(network: GuestNetwork, renderer: str) -> Iterator[str]:
    yield from (NOTE, "network:", "  version: 2", f"  renderer: {renderer}", "  ethernets:", f"    {CARD}:")
    yield from ("      match:", f"        macaddress: \"{network.nic.mac}\"")
    yield from ("      dhcp4: false", "      dhcp6: false", "      accept-ra: false")
    yield "      addresses:"
    for version in VERSIONS:
        yield from (f"        - \"{address.interface}\"" for address in addresses(network, version))
    yield from _routes(network)
    if network.dns:
        yield from ("      nameservers:", "        addresses:")
        yield from (f"          - \"{server}\"" for server in network.dns)


def _routes(network: GuestNetwork) -> Iterator[str]:
    routes = [(version, route) for version in VERSIONS if (route := default_route(network, version))]
    if routes:
        yield "      routes:"
    for version, route in routes:
        yield f"        - to: \"{_EVERYWHERE[version]}\""
        yield f"          via: \"{route.gateway}\""
        if route.onlink:
            yield "          on-link: true"
