"""A kernel's image from its first 64 KiB: its version, how it is compressed, and which boot modes can start it.

A bzImage names the place of its compressed payload in the header of the boot protocol; the payload
begins with the magic number of its compression. GRUB for PV unpacks the payload itself and knows
gzip, xz and LZO only; for pygrub libxenguest does, of 4.17 and newer with all that kernels use; GRUB
for PVH lets the kernel unpack itself, but takes nothing else than a bzImage, and only a kernel of 4.11
or newer can be a PVH guest. Sources: Documentation/arch/x86/boot.rst and scripts/Makefile.lib of
Linux, grub-core/io of GRUB 2.06 to 2.12, tools/libs/guest/xg_dom_bzimageloader.c of Xen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dtcxen_soap.vps import BootMode

_MAGICS = (
    (b"\x1f\x8b", "gzip"), (b"\x1f\x9e", "gzip"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"\x02!L\x18", "lz4"), (b"BZh", "bzip2"),
    (b"]\0\0", "lzma"), (b"\x89LZO\0\r\n\x1a\n", "lzo"))
_SETUP_SECTORS, _BOOT_FLAG, _MAGIC, _VERSION, _NAME, _PAYLOAD = 0x1F1, 0x1FE, 0x202, 0x206, 0x20E, 0x248
_SECTOR = 512
_WITH_PAYLOAD = 0x208
"""The boot protocol that brought the payload's place, 2.08 of Linux 2.6.26."""
_FIRST_PVH = (4, 11)
_PV_GRUB = ("gzip", "xz", "lzo", "")
_PYGRUB = ("gzip", "bzip2", "lzma", "xz", "lzo", "lz4", "zstd", "")


@dataclass(frozen=True)
class KernelImage:
    """What the image says of itself. `compression` is "" where it does not tell, `version` too.

    Without `bzimage` it is something else: an ELF file, as it is or compressed as a whole, as kernels for Xen alone once were.
    """

    bzimage: bool
    compression: str
    version: str


def parse(head: bytes) -> KernelImage:
    """Read the beginning of a kernel's file; never raises, whatever is in it."""
    if head[_MAGIC:_MAGIC + 4] != b"HdrS" or head[_BOOT_FLAG:_BOOT_FLAG + 2] != b"\x55\xaa":
        return KernelImage(False, _compression(head), "")
    start = (head[_SETUP_SECTORS] or 4) * _SECTOR + _SECTOR + _number(head, _PAYLOAD, 4)
    known = _number(head, _VERSION, 2) >= _WITH_PAYLOAD
    return KernelImage(True, _compression(head[start:]) if known else "", _name(head))


def readers(image: KernelImage) -> tuple[BootMode, ...]:
    """The modes whose loader can start this kernel from the VPS's disk; what the image does not tell is believed."""
    modes = []
    if image.bzimage and not _too_old(image.version):
        modes.append(BootMode.PVH_GRUB)
    if image.compression in _PV_GRUB:
        modes.append(BootMode.PV_GRUB)
    if image.compression in _PYGRUB:
        modes.append(BootMode.PYGRUB)
    return tuple(modes)


def obstacle(image: KernelImage, mode: BootMode) -> str:
    """Why this mode's loader cannot start the kernel, and which can; "" when it can."""
    able = readers(image)
    if mode in able:
        return ""
    if mode is not BootMode.PVH_GRUB:
        why = f"it is compressed with {image.compression}, which the loader of {mode.value} cannot read"
    elif image.bzimage:
        why = f"it is Linux {image.version}, and PVH guests need 4.11 or newer"
    else:
        why = "it is no bzImage, and the loader of pvh-grub takes nothing else"
    return f"{why}; modes that can: {', '.join(each.value for each in (*able, BootMode.DIRECT))}"


def _number(head: bytes, offset: int, size: int) -> int:
    return int.from_bytes(head[offset:offset + size], "little")


def _compression(data: bytes) -> str:
    return next((name for magic, name in _MAGICS if data.startswith(magic)), "")


def _name(head: bytes) -> str:
    """The first word of the version's text: the release, as uname -r says it."""
    place = _number(head, _NAME, 2)
    text = head[place + _SECTOR:place + _SECTOR + 80].partition(b"\0")[0].decode("ascii", "replace") if place else ""
    match = re.match(r"[0-9][\w.+~-]*", text, re.ASCII)
    return match[0] if match else ""


def _too_old(version: str) -> bool:
    match = re.match(r"([0-9]+)\.([0-9]+)", version)
    return match is not None and (int(match[1]), int(match[2])) < _FIRST_PVH
