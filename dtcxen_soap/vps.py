"""The nouns: what a VPS is made of. A wrong value cannot be built, so nobody checks twice.

Constructors raise ValueError with a text that says what is wrong; sizes are MiB.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import Enum

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

HIGHEST_VPS_NUMBER = 9999


@dataclass(frozen=True, order=True)
class VpsId:
    """A VPS's number, 1 to 9999; "01", "1" and "xen01" are the same VPS."""

    number: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= HIGHEST_VPS_NUMBER:
            raise ValueError(f"{self.number} is not a VPS number")

    @classmethod
    def parse(cls, text: str) -> VpsId:
        """Read "01" or "xen01"."""
        if not (match := re.fullmatch(r"(?:xen)?([0-9]{1,4})", text, re.ASCII)):
            raise ValueError("not a VPS number")
        return cls(int(match[1]))

    @property
    def name(self) -> str:
        """The domU's name and the stem of all its files: xen01."""
        return f"xen{self}"

    def __str__(self) -> str:
        return f"{self.number:02d}"


class Mib(int):
    """A size in MiB, 0 or more."""

    def __new__(cls, value: int) -> Mib:
        if value < 0:
            raise ValueError(f"{value} is not a size")
        return super().__new__(cls, value)

    @property
    def bytes(self) -> int:
        return int(self) << 20


class Secret:
    """Text that prints as redacted; only `reveal` gives it away, and only edges call that."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(redacted)"

    def __str__(self) -> str:
        return "(redacted)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))


class MacAddress(str):
    """aa:bb:cc:dd:ee:ff in lower case, never a multicast address."""

    def __new__(cls, text: str) -> MacAddress:
        text = text.lower()
        if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", text, re.ASCII):
            raise ValueError(f"{text!r} is not a MAC address")
        if int(text[:2], 16) & 1:
            raise ValueError(f"{text} is a multicast address")
        return super().__new__(cls, text)


class ImageType(Enum):
    """Where disks live, in the wire's words: an LVM volume, or a file (vbd)."""

    LVM = "lvm"
    VBD = "vbd"


class BootMode(Enum):
    """How the domU finds its kernel, in the wire's words.

    pvh-grub and pv-grub: GRUB as a small guest of its own reads the VPS's disk. direct: dom0's kernel.
    pygrub: a program in dom0 reads the VPS's disk. hvm: firmware boots disk or CD. netbsd: dom0's NetBSD kernel.
    """

    PVH_GRUB = "pvh-grub"
    PV_GRUB = "pv-grub"
    DIRECT = "direct"
    PYGRUB = "pygrub"
    HVM = "hvm"
    NETBSD = "netbsd"


class DiskRole(Enum):
    """The two disks of a VPS and the device each is inside the guest."""

    ROOT = "xvda"
    SWAP = "xvdb"


@dataclass(frozen=True)
class Disk:
    """A disk of a VPS: for vbd `path` is the image file, for lvm the volume's device."""

    role: DiskRole
    image_type: ImageType
    path: str


@dataclass(frozen=True)
class Address:
    """One address of the guest with its network; `broadcast` only when the caller named one."""

    interface: IpInterface
    broadcast: ipaddress.IPv4Address | None = None

    @property
    def ip(self) -> IpAddress:
        return self.interface.ip

    @property
    def version(self) -> int:
        return int(self.interface.version)


@dataclass(frozen=True)
class Nic:
    """The guest's card (eth0): all addresses of the VPS sit on it; `bridge` "" is Xen's own default."""

    mac: MacAddress
    addresses: tuple[Address, ...]
    bridge: str = ""


@dataclass(frozen=True)
class GuestNetwork:
    """The network as the guest must see it.

    `gateways` holds at most one address per IP version. With `onlink` a gateway may lie outside
    every network of the NIC and is rendered as reachable on the link.
    """

    nic: Nic
    gateways: tuple[IpAddress, ...]
    dns: tuple[IpAddress, ...]
    onlink: bool = False

    def gateway(self, version: int) -> IpAddress | None:
        """The gateway for IP version 4 or 6."""
        return next((gateway for gateway in self.gateways if gateway.version == version), None)

    def on_link(self, gateway: IpAddress) -> bool:
        """Whether `gateway` lies outside every network of the NIC, so that it needs an on-link route."""
        return not any(gateway in address.interface.network for address in self.nic.addresses)


@dataclass(frozen=True)
class HvmOptions:
    """What only an HVM guest has: what it boots, and its screen.

    `iso` is the path of the image in its CD drive, "" for an empty one; it is booted first. The
    screen is served over VNC at `vnc_listen` when there is a `vnc_password`; without one at the UNIX
    socket `vnc_socket`, which nobody but root may reach, or not at all.
    """

    iso: str = ""
    firmware: str = "bios"
    vnc_password: Secret | None = None
    vnc_listen: str = "127.0.0.1"
    vnc_socket: str = ""


@dataclass(frozen=True)
class Vps:
    """One VPS as its domU's configuration describes it. `vcpus` None is Xen's own default, one.

    `kernel` is what dom0 loads: GRUB's image in the grub modes, "" for pygrub and hvm. `hvm` is set
    in that mode only. `on_reboot` is xl's word, for a crash too. `seed` is a small disk that the guest
    only reads (xvdc; a CD of an HVM guest). `pvh`: a direct kernel is started as a PVH guest, else as a PV one.
    """

    id: VpsId
    ram: Mib
    disks: tuple[Disk, ...]
    nic: Nic
    boot: BootMode
    kernel: str = ""
    ramdisk: str = ""
    extra: str = ""
    vcpus: int | None = None
    hvm: HvmOptions | None = None
    on_reboot: str = "restart"
    seed: str = ""
    pvh: bool = False
