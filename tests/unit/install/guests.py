"""A VPS for tests of what its new system is told."""

from __future__ import annotations

import dataclasses
import ipaddress
from typing import Any

from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import Look, Run, Step, TreeCopy, TreeCopyFile, TreeDirectory, TreeHostKey, TreePassword, TreeRemove, TreeSymlink, TreeWrite
from dtcxen_soap.vps import Address, BootMode, Disk, DiskRole, GuestNetwork, ImageType, MacAddress, Mib, Nic, Secret, Vps, VpsId

TREE = "/m/01"


def guest(*addresses: str, swap: bool = True, **more: Any) -> Guest:
    """VPS 01 as mail.example.org; `more` replaces fields of the record."""
    roles = (DiskRole.ROOT, DiskRole.SWAP) if swap else (DiskRole.ROOT,)
    nic = Nic(MacAddress("00:16:3e:10:10:01"), tuple(Address(ipaddress.ip_interface(each)) for each in addresses or ("192.0.2.10/24", "192.0.2.11/24")))
    network = GuestNetwork(nic, (ipaddress.ip_address("192.0.2.1"),), (ipaddress.ip_address("192.0.2.53"), ipaddress.ip_address("192.0.2.54")))
    vps = Vps(VpsId(1), Mib(512), tuple(Disk(role, ImageType.VBD, f"/d/{role.value}.img") for role in roles), nic, BootMode.DIRECT, "/boot/vmlinuz-6.1", "/boot/initrd-6.1")
    made = Guest(vps=vps, tree=TREE, os_type="lenny", hostname="mail.example.org", network=network, password=Secret("geheim"), fstype="ext4", kernel_release="6.1",
                 modules="/lib/modules/6.1", node="node.example")
    return dataclasses.replace(made, **more)


def tree(texts: dict[str, str] | None = None, *paths: str) -> TreeFact:
    """A tree with these texts and these paths, all directories above them included."""
    there = {"etc", *(texts or {}), *paths}
    return TreeFact(texts or {}, frozenset(there))


def written(steps: tuple[Step, ...]) -> dict[str, str]:
    """What the steps write, by path."""
    return {step.path: str(step.content) for step in steps if isinstance(step, TreeWrite)}


def told(steps: tuple[Step, ...]) -> str:
    """The steps with all that they write, for golden files."""
    return "".join(_told(step) for step in steps)


def _told(step: Step) -> str:
    assert getattr(step, "tree", TREE) == TREE
    match step:
        case TreeWrite():
            head = f"write {step.path} {step.mode:04o}"
            return f"# {step.why}\n{head}\n" + "".join(f"    {line}\n" for line in str(step.content).splitlines())
        case TreeRemove():
            what = f"remove {step.path}"
        case TreeSymlink():
            what = f"link {step.path} -> {step.target}"
        case TreeHostKey():
            what = f"host key {step.path} {step.comment}"
        case TreeDirectory():
            what = f"directory {step.path} {step.mode:04o}"
        case TreeCopy():
            what = f"copy {step.source} into {step.into}"
        case TreeCopyFile():
            what = f"copy {step.source} as {step.path} {step.mode:04o}"
        case Look():
            what = "look, and go on"
        case TreePassword():
            what = f"password of {step.user}: {step.password}"
        case Run():
            what = f"run in {step.chroot}: {' '.join(step.argv)}"
        case _:
            what = repr(step)
    return f"# {step.why}\n{what}\n"


MAGICS = {
    "gzip": b"\x1f\x8b\x08\0", "xz": b"\xfd7zXZ\0\0\x01", "zstd": b"\x28\xb5\x2f\xfd", "lz4": b"\x02!L\x18", "bzip2": b"BZh9", "lzma": b"]\0\0\x80",
    "lzo": b"\x89LZO\0\r\n\x1a\n"}


def bzimage(compression: str, version: str = "6.1.0-50-amd64", protocol: int = 0x20F, sectors: int = 27, offset: int = 0x2C4) -> bytes:
    """The beginning of a kernel as Linux's boot protocol lays it out."""
    head = bytearray((sectors + 1) * 512 + offset)
    head[0x1F1] = sectors
    head[0x1FE:0x206] = b"\x55\xaa\xeb\x6aHdrS"
    head[0x206:0x208] = protocol.to_bytes(2, "little")
    head[0x20E:0x210] = (0x600).to_bytes(2, "little")
    head[0x248:0x24C] = offset.to_bytes(4, "little")
    text = f"{version} (maintainer) #1 SMP".encode() + b"\0"
    head[0x800:0x800 + len(text)] = text
    return bytes(head) + MAGICS[compression] + b"\0" * 64
