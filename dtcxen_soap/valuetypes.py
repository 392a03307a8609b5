"""The types of parameters as callers must write them: facets for the schema, and how each is read.

One table row per type. The facets (pattern, length, range, choices) are both what the WSDL
publishes and what is enforced here, so the two cannot differ. `read` turns the checked text into
a value of our own and raises ValueError with what is wrong; `expected` says it in words.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import Address, BootMode, ImageType, IpAddress, Mib, Secret, VpsId

MOST_SSH_KEYS = 20
MOST_USER_DATA_BYTES = 1 << 16


@dataclass(frozen=True)
class Facets:
    """Restrictions of a schema simple type; patterns are anchored, as XML Schema's are."""

    base: str = "string"
    pattern: str = ""
    min_length: int = 1
    max_length: int = 255
    minimum: int = 0
    maximum: int = 0
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ValueType:
    """A parameter type. `many`: a SOAP array of strings is taken too, its items joined by newlines."""

    name: str
    facets: Callable[[Settings], Facets]
    expected: Callable[[Settings], str]
    read: Callable[[str, Settings], Any]
    many: bool = False

    def parse(self, text: str, settings: Settings) -> Any:
        """The value of `text`; ValueError says what is wrong, without quoting it."""
        facets = self.facets(settings)
        if facets.base == "string":
            if not facets.min_length <= len(text) <= facets.max_length:
                raise ValueError("empty" if not text else f"{len(text)} characters are too many" if len(text) > facets.max_length else "too short")
        else:
            text = text.strip(" \t\r\n")
        if facets.base == "integer":
            if not re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII):
                raise ValueError("empty" if not text else "not a whole number")
            if not facets.minimum <= int(text) <= facets.maximum:
                raise ValueError("too small" if int(text) < facets.minimum else "too large")
        if facets.choices and text not in facets.choices:
            raise ValueError("empty" if not text else "not one of the words allowed")
        if facets.pattern and not re.fullmatch(facets.pattern, text, re.ASCII):
            raise ValueError("not of the form allowed")
        return self.read(text, settings)


def _integer(name: str, low: Callable[[Settings], int], high: Callable[[Settings], int], unit: str, read: Callable[[str, Settings], Any]) -> ValueType:
    return ValueType(
        name, lambda s: Facets("integer", minimum=low(s), maximum=high(s)),
        lambda s: f"a whole number of {unit} from {low(s)} to {high(s)}", read)


def _string(name: str, expected: str, pattern: str, read: Callable[[str, Settings], Any], longest: int = 255, many: bool = False) -> ValueType:
    return ValueType(name, lambda s: Facets(pattern=pattern, max_length=longest), lambda s: expected, read, many)


def _vps(text: str, settings: Settings) -> VpsId:
    vps = VpsId.parse(text)
    if vps.number > settings.max_vps_id:
        raise ValueError("too large a number")
    return vps


def _mib(text: str, settings: Settings) -> Mib:
    return Mib(int(text))


def _int(text: str, settings: Settings) -> int:
    return int(text)


def _node(text: str, settings: Settings) -> str:
    port = text.rpartition(":")[2] if ":" in text and not text.endswith("]") else "22"
    if not 1 <= int(port) <= 65535:
        raise ValueError("no port number")
    return text.lower()


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word]


def _ip(word: str) -> IpAddress:
    try:
        return ipaddress.ip_address(word)
    except ValueError:
        raise ValueError(f"{word!r} is not an IP address") from None


def _guest_ip(ip: IpAddress) -> None:
    if ip.is_unspecified or ip.is_multicast or ip.is_loopback or (ip.version == 4 and int(ip) >> 28 == 15):
        raise ValueError(f"{ip} cannot be the address of a guest")
    if isinstance(ip, ipaddress.IPv6Address) and ip.scope_id:
        raise ValueError(f"{ip} has a scope")


def _dns(text: str, settings: Settings) -> tuple[IpAddress, ...]:
    servers = tuple(dict.fromkeys(_ip(word) for word in _words(text)))
    if any(server.is_unspecified or server.is_multicast for server in servers):
        raise ValueError("holds an address that no name server can have")
    if not servers or len(servers) > 8:
        raise ValueError("no address" if not servers else "more than 8 addresses")
    return servers


def _gateway(text: str, settings: Settings) -> tuple[IpAddress, ...]:
    gateways = tuple(_ip(word) for word in _words(text))
    for gateway in gateways:
        _guest_ip(gateway)
    if not gateways:
        raise ValueError("no address")
    if len({gateway.version for gateway in gateways}) < len(gateways):
        raise ValueError("more than one gateway of one IP version")
    return gateways


def address(word: str, settings: Settings) -> Address:
    """Read one NIC: ip, ip/prefix, or ip,netmask[,broadcast]; ValueError says what is wrong."""
    parts = [part.strip() for part in word.split(",")]
    plain, slash, prefix = parts[0].partition("/")
    ip = _ip(plain)
    _guest_ip(ip)
    if (slash and len(parts) > 1) or len(parts) > 3 or (ip.version == 6 and len(parts) > 1):
        raise ValueError(f"{word!r} has too many parts")
    given = len(parts) > 1 and parts[1] != ""
    mask = prefix if slash else parts[1] if given else _default_mask(ip, settings)
    if ip.version == 4 and not slash and not re.fullmatch(r"\d+\.\d+\.\d+\.\d+", mask):
        raise ValueError(f"{mask!r} is not a netmask")
    try:
        interface = ipaddress.ip_interface(f"{ip}/{mask}")
        if ip.version == 4 and not slash and str(interface.netmask) != str(ipaddress.IPv4Address(mask)):
            raise ValueError
    except ValueError:
        raise ValueError(f"{mask!r} is not a netmask or prefix of {ip}") from None
    _in_its_network(interface)
    broadcast = parts[2] if len(parts) > 2 and parts[2] else str(settings.BROADCAST or "") if not slash and not given and ip.version == 4 else ""
    return Address(interface, _broadcast(broadcast, interface) if broadcast else None)


def _default_mask(ip: IpAddress, settings: Settings) -> str:
    if ip.version == 6:
        return "64"
    if settings.NETMASK is None:
        raise ValueError(f"{ip} has no netmask, and the node's NETMASK is not set")
    return str(settings.NETMASK)


def _in_its_network(interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> None:
    network = interface.network
    if network.prefixlen == 0:
        raise ValueError(f"{interface} spans every address")
    if interface.version == 4 and network.prefixlen < 31 and interface.ip in (network.network_address, network.broadcast_address):
        raise ValueError(f"{interface.ip} is the network's own or broadcast address in {network}")


def _broadcast(text: str, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> ipaddress.IPv4Address:
    broadcast = _ip(text)
    if not isinstance(broadcast, ipaddress.IPv4Address) or broadcast not in interface.network:
        raise ValueError(f"{text!r} is not a broadcast address in {interface.network}")
    return broadcast


def _nics(text: str, settings: Settings) -> tuple[Address, ...]:
    words = [word for word in re.split(r"[+\s]+", text) if word]
    return _judged(tuple(address(word, settings) for word in words), settings)


def _bare(text: str, settings: Settings) -> tuple[Address, ...]:
    """Addresses without a netmask, for where only the address counts: each is a network of its own."""
    ips = [_ip(word) for word in text.split()]
    for ip in ips:
        _guest_ip(ip)
    return _judged(tuple(Address(ipaddress.ip_interface(ip)) for ip in ips), settings)


def _judged(addresses: tuple[Address, ...], settings: Settings) -> tuple[Address, ...]:
    """The same addresses, when one VPS may have them all."""
    ips = [item.ip for item in addresses]
    if not ips or len(ips) > 64:
        raise ValueError("no address" if not ips else "more than 64 addresses")
    if twice := next((ip for ip in ips if ips.count(ip) > 1), None):
        raise ValueError(f"{twice} is given twice")
    outside = [ip for ip in ips if settings.node_networks and not any(ip in network for network in settings.node_networks)]
    if outside:
        raise ValueError(f"{outside[0]} lies outside the node's networks")
    return addresses


def _single_nic(text: str, settings: Settings) -> tuple[Address, ...]:
    addresses = _nics(text, settings)
    if len(addresses) > 1:
        raise ValueError("more than one address")
    return addresses


def _soap_password(text: str, settings: Settings) -> Secret:
    """bcrypt takes 72 bytes: what follows would not count."""
    if len(text.encode()) > 72:
        raise ValueError(f"{len(text.encode())} bytes are too many")
    return Secret(text)


def _ssh_keys(text: str, settings: Settings) -> tuple[str, ...]:
    """Keys without options; whether each is one is ssh-keygen's to say."""
    keys = []
    for number, line in enumerate((line for line in text.splitlines() if line.strip()), 1):
        words = line.split(maxsplit=2)
        if not re.fullmatch(r"[a-z][a-z0-9@.-]{2,63} AAAA[A-Za-z0-9+/]+={0,3}", " ".join(words[:2]), re.ASCII):
            raise ValueError(f"line {number} is not a public key")
        if "-cert-" in words[0]:
            raise ValueError(f"line {number} is a certificate, not a key")
        keys.append(" ".join(words).strip())
    if not keys or len(keys) > MOST_SSH_KEYS:
        raise ValueError("no key" if not keys else f"more than {MOST_SSH_KEYS} keys")
    return tuple(dict.fromkeys(keys))


def _user_data(text: str, settings: Settings) -> Secret:
    """cloud-init reads it as UTF-8; a script with the line ends of another system would not find its interpreter."""
    text = text.replace("\r\n", "\n")
    if len(text.encode()) > MOST_USER_DATA_BYTES:
        raise ValueError(f"{len(text.encode())} bytes are too many")
    if not text.startswith("#!") and text.split("\n", 1)[0].rstrip() != "#cloud-config":
        raise ValueError("begins with neither #cloud-config nor #!")
    return Secret(text if text.endswith("\n") else text + "\n")


VPS = _string("VpsName", "a VPS number from 01 to 9999 (max_vps_id), with or without xen", "(xen)?[0-9]{1,4}", _vps, 7)
OS_TYPE = _string("OsType", "a name of letters, digits and ._-", "[A-Za-z0-9][A-Za-z0-9._-]*", lambda text, s: text, 64)
PASSWORD = _string("Password", "1 to 255 printable characters", "[^\\x00-\\x1f\\x7f-\\x9f]+", lambda text, s: Secret(text))
SOAP_PASSWORD = _string("SoapPassword", "1 to 72 printable characters, at most 72 bytes", "[^\\x00-\\x1f\\x7f-\\x9f]+", _soap_password, 72)
SSH_KEYS = _string(
    "SshKeys", "SSH public keys, one a line: type, key and comment as in a .pub file", "([^\\x00-\\x1f\\x7f-\\x9f]|[\\t\\n\\r])+", _ssh_keys, 65536, True)
USER_DATA = _string(
    "UserData", "text that begins with #cloud-config or #!, at most 64 KiB of UTF-8", "#([^\\x00-\\x1f\\x7f-\\x9f]|[\\t\\n\\r])+", _user_data, MOST_USER_DATA_BYTES)
VNC_PASSWORD = _string(
    "VncPassword", "1 to 8 printable ASCII characters, which is all that VNC compares; no_vnc: none", "[!-~]+",
    lambda text, s: None if text == "no_vnc" else Secret(text), 8)
BOOT_FROM = _string("BootFrom", "hdd, or the name of one of the VPS's ISOs", "[^\\x00-\\x1f\\x7f-\\x9f/]+", lambda text, s: text)
NODE = _string(
    "Node", "a host name or address, with :port where it is not 22 (an IPv6 address in brackets)",
    "([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?", _node, 255)
HOSTNAME = _string(
    "HostName", "a host name of letters, digits, dots and hyphens",
    "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*", lambda text, s: text.lower(), 253)
NICS = _string("Nics", "addresses as ip/prefix or ip,netmask[,broadcast], separated by + or blanks", "[0-9A-Fa-f:.,/+\\s]+", _nics, 4096, True)
SINGLE_NIC = _string("SingleNic", "one address", "[0-9A-Fa-f:.,/]+", _single_nic, 128)
ADDRESSES = _string("Addresses", "addresses without netmasks, separated by blanks", "[0-9A-Fa-f:.\\s]+", _bare, 4096, True)
GATEWAY = _string("Gateway", "one IP address, or one IPv4 and one IPv6 separated by a comma", "[0-9A-Fa-f:.,\\s]+", _gateway, 128)
DNS = _string("NameServers", "IP addresses separated by commas or blanks", "[0-9A-Fa-f:.,\\s]+", _dns, 512, True)
IMAGE_TYPE = ValueType("ImageType", lambda s: Facets(choices=("lvm", "vbd")), lambda s: "lvm or vbd", lambda text, s: ImageType(text))
BOOT_MODE = ValueType(
    "BootMode", lambda s: Facets(choices=("pvh-grub", "pv-grub", "direct", "pygrub")), lambda s: "pvh-grub, pv-grub, direct or pygrub", lambda text, s: BootMode(text))
FIRMWARE = ValueType("Firmware", lambda s: Facets(choices=("bios", "uefi")), lambda s: "bios or uefi", lambda text, s: text)
BSD_KERNEL = ValueType("BsdKernel", lambda s: Facets(choices=("normal", "install")), lambda s: "normal or install", lambda text, s: text)
BOOLEAN = ValueType("Flag", lambda s: Facets("boolean", choices=("true", "false", "1", "0")), lambda s: "true or false", lambda text, s: text in ("true", "1"))
DISK_SIZE = _integer("DiskSizeMib", lambda s: s.vps_disk_min_mib, lambda s: s.vps_disk_max_mib, "MiB", _mib)
SWAP_SIZE = _integer("SwapSizeMib", lambda s: 0, lambda s: s.vps_swap_max_mib, "MiB", _mib)
RAM_SIZE = _integer("RamSizeMib", lambda s: s.vps_ram_min_mib, lambda s: s.vps_ram_max_mib, "MiB", _mib)
TIMEOUT_MS = _integer("TimeoutMs", lambda s: 10, lambda s: 60000, "milliseconds", _int)
STOP_SECONDS = _integer("StopSeconds", lambda s: 1, lambda s: 3600, "seconds", _int)
ECHO_COUNT = _integer("EchoCount", lambda s: 1, lambda s: 20, "echo requests", _int)
LINE_COUNT = _integer("LineCount", lambda s: 0, lambda s: 1000000, "lines (0: all)", _int)
BYTE_OFFSET = _integer("ByteOffset", lambda s: 0, lambda s: 1 << 40, "bytes", _int)
JOB_ID = _integer("JobId", lambda s: 1, lambda s: 2147483647, "a job's number", _int)
ROW_LIMIT = _integer("RowLimit", lambda s: 1, lambda s: 10000, "rows", _int)
