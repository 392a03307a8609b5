"""A NetworkManager connection as a keyfile (nm-settings-keyfile(5), 1.12 and later).

It names the card by its MAC address only, so that it holds under any card name. NetworkManager
has no word for a broadcast address of one's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from dtcxen_soap.guestnet.files import CARD, NOTE, TreeFile, addresses, default_route, dns, lines
from dtcxen_soap.vps import GuestNetwork

DIRECTORY = "etc/NetworkManager/system-connections"
PATH = f"{DIRECTORY}/{CARD}.nmconnection"
_EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
_WITHOUT_ADDRESS = {4: "disabled", 6: "link-local"}


def render(network: GuestNetwork) -> tuple[TreeFile, ...]:
    """The connection; mode 0600, since NetworkManager ignores files that others may read."""
    head = (NOTE, "[connection]", f"id={CARD}", "type=ethernet", "autoconnect=true", "", "[ethernet]", f"mac-address={network.nic.mac.upper()}")
    return (TreeFile(PATH, lines(*head, *_ip(network, 4), *_ip(network, 6)), 0o600),)


def _ip(network: GuestNetwork, version: int) -> Iterator[str]:
    """One IP version's section. Without an address of its own a version may not name servers, says NetworkManager."""
    every = addresses(network, version)
    yield from ("", f"[ipv{version}]", f"method={'manual' if every else _WITHOUT_ADDRESS[version]}")
    yield from (f"address{number}={address.interface}" for number, address in enumerate(every, 1))
    route = default_route(network, version)
    if route and route.onlink:
        yield from (f"route1={_EVERYWHERE[version]},{route.gateway}", "route1_options=onlink=true")
    elif route:
        yield f"gateway={route.gateway}"
    if every and (servers := dns(network, version)):
        yield f"dns={''.join(f'{server};' for server in servers)}"
