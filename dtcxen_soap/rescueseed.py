"""What a rescue system must be told, as the files of its seed: a small read-only disk labelled cidata.

The files bear the names that NoCloud gives them (meta-data, user-data, network-config; JSON, which is
YAML), for whoever puts a rescue system of their own in the place of ours. Ours reads what a shell
reads most simply: `rescue` (a word and its value per line), `authorized_keys` and `motd`. The
password's hash comes into etc/shadow by a step of its own. Source: cloud-init's pages on NoCloud and
on its network configuration, version 2.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass

from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import IpAddress, IpInterface, MacAddress, VpsId

LABEL = "cidata"
SHADOW = "etc/shadow"


@dataclass(frozen=True)
class Route:
    """The way out for one IP version; `onlink`: the gateway lies outside the network of every address."""

    gateway: IpAddress
    onlink: bool


@dataclass(frozen=True)
class Network:
    """The addresses of the VPS with their networks, the ways out, and the name servers."""

    addresses: tuple[IpInterface, ...]
    routes: tuple[Route, ...]
    dns: tuple[IpAddress, ...]

    def told(self) -> tuple[str, ...]:
        """Each address as a person reads it."""
        ways = {route.gateway.version: route.gateway for route in self.routes}
        return tuple(f"{address} via {ways[address.version]}" if address.version in ways else f"{address}, no gateway" for address in self.addresses)


@dataclass(frozen=True)
class Seed:
    """One VPS's rescue system: `keys` are lines of authorized_keys, `disks` what stands behind xvda, xvdb."""

    vps: VpsId
    mac: MacAddress
    network: Network
    keys: tuple[str, ...]
    disks: tuple[tuple[str, str], ...]

    @property
    def hostname(self) -> str:
        """A name that shows at every prompt which system this is."""
        return f"{self.vps.name}-rescue"


def network(addresses: tuple[IpAddress, ...], settings: Settings) -> Network:
    """The network around addresses whose own is not known, as those of a domU's configuration.

    The node's NETMASK (64 bits for IPv6) counts where its gateway then lies within; elsewhere the
    address stands alone and the gateway is reached on the link. Without a gateway an address stands alone.
    """
    gateways = {gateway.version: gateway for gateway in settings.GATEWAY}
    made = tuple(_interface(address, gateways.get(address.version), settings) for address in addresses)
    routes = tuple(
        Route(gateway, not gateway.is_link_local and not any(gateway in address.network for address in made))
        for version, gateway in gateways.items() if any(address.version == version for address in made))
    return Network(made, routes, settings.DNS)


def _interface(address: IpAddress, gateway: IpAddress | None, settings: Settings) -> IpInterface:
    alone = ipaddress.ip_interface(address)
    mask = "64" if address.version == 6 else str(settings.NETMASK or "")
    if gateway is None or not mask:
        return alone
    wide = ipaddress.ip_interface(f"{address}/{mask}")
    return wide if gateway in wide.network or gateway.is_link_local else alone


def files(seed: Seed) -> tuple[tuple[str, str], ...]:
    """Path and text of each file."""
    return (
        ("rescue", _lines(seed)),
        ("authorized_keys", "".join(f"{key}\n" for key in seed.keys)),
        ("motd", motd(seed)),
        ("meta-data", _json({"instance-id": seed.hostname, "local-hostname": seed.hostname})),
        ("user-data", "#cloud-config\n" + _json({"disable_root": False, "ssh_pwauth": True, "ssh_authorized_keys": list(seed.keys)})),
        ("network-config", _json(netplan(seed.mac, seed.network))))


def _lines(seed: Seed) -> str:
    words = [f"hostname {seed.hostname}"]
    words += [f"address {address}" for address in seed.network.addresses]
    words += [f"gateway {route.gateway}{' onlink' if route.onlink else ''}" for route in seed.network.routes]
    words += [f"dns {server}" for server in seed.network.dns]
    return "".join(f"{line}\n" for line in words)


def command_line(seed: Seed) -> str:
    """The first address as the kernel and other rescue systems read it (`ip=` of nfsroot.rst and of dracut); IPv4 where there is one, since the kernel knows no other."""
    ordered = sorted(seed.network.addresses, key=lambda address: address.version)
    if not ordered:
        return ""
    address = ordered[0]
    gateway = next((route.gateway for route in seed.network.routes if route.gateway.version == address.version), None)
    if isinstance(address, ipaddress.IPv6Interface):
        return f"ip=[{address.ip}]::{f'[{gateway}]' if gateway else ''}:{address.network.prefixlen}:{seed.hostname}:eth0:off"
    return f"ip={address.ip}::{gateway or ''}:{address.netmask}:{seed.hostname}:eth0:off"


def motd(seed: Seed) -> str:
    """What whoever signs in reads: where they are, what the disks are, and how to leave."""
    disks = "\n".join(f"  /dev/{device}  {what}" for device, what in seed.disks)
    return f"""
This is the rescue system of {seed.vps.name}. All of it is in memory: what you write here is gone when it ends.
The VPS's own disks are not mounted:

{disks}

  mount /dev/xvda /mnt      look into the VPS's system (partitions: fdisk -l; volumes: vgchange -ay)
  chroot-mnt                work inside what is mounted at /mnt
  reboot                    end the rescue system; the VPS is off then, and is started as ever

"""


def netplan(mac: MacAddress, network: Network) -> dict[str, object]:
    """The network as cloud-init reads it, version 2; the card is known by its address."""
    routes = [{"to": "0.0.0.0/0" if route.gateway.version == 4 else "::/0", "via": str(route.gateway), **({"on-link": True} if route.onlink else {})}
              for route in network.routes]
    card = {"match": {"macaddress": str(mac)}, "addresses": [str(address) for address in network.addresses], "routes": routes,
            "nameservers": {"addresses": [str(server) for server in network.dns]}}
    return {"version": 2, "ethernets": {"eth0": card}}


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


def keys(text: str) -> tuple[str, ...]:
    """The keys of an authorized_keys file as they stand there, options included; comments and what no line should hold left out."""
    return tuple(line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#") and line.isprintable())
