"""What `dtcxen pack` makes of a system's tree: what must go from it, its manifest, and its install_os.

A bundle's system is installed many times, so what makes one machine itself is taken out of it first.
The manifest's `cache` says that install_os only unpacks, `boot_mode` how its VPSes boot; everything
else in it is told for the admin. Sources: machine-id(5), systemd-random-seed(8), ELF's e_machine.
"""

from __future__ import annotations

import json
import posixpath
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install import fstab, kernelimage
from dtcxen_soap.vps import BootMode

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What callers of reinstallOS can write."""

# -- what goes ------------------------------------------------------------------------------------

FORGOTTEN = (
    "etc/ssh/ssh_host_*", "etc/dropbear/dropbear_*host_key*", "var/lib/dbus/machine-id",
    "etc/udev/rules.d/*persistent-net*.rules", "etc/udev/rules.d/*persistent-cd*.rules",
    "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret", "var/lib/urandom/random-seed", "var/lib/random-seed", "var/lib/misc/random-seed",
    "boot/loader/random-seed", "boot/efi/loader/random-seed", "efi/loader/random-seed")
"""Keys, numbers and names of cards that no two machines may share; a directory of such a name stays."""
EMPTIED = "etc/machine-id"
"""Stays as an empty file: systemd makes a new one then, and knows that this is no first boot after a reset."""

# -- what it is -----------------------------------------------------------------------------------

KERNELS = ("boot/vmlinuz-*", "boot/vmlinux-*")
PROGRAMS = ("bin/sh", "usr/bin/sh", "bin/bash", "usr/bin/bash", "sbin/init", "usr/sbin/init", "bin/busybox", "usr/bin/env", "lib/systemd/systemd", "usr/lib/systemd/systemd")
_MACHINES = {3: "i386", 62: "amd64", 40: "armhf", 183: "arm64", 243: "riscv64", 21: "ppc64el", 22: "s390x"}
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "x64": "amd64", "i486": "i386", "i586": "i386", "i686": "i386", "x86": "i386", "aarch64": "arm64"}
_NUMBER = re.compile(r"(\d+)")


def architecture(tree: TreeFact) -> str:
    """The processor that the system's programs are for, in Debian's words; "" when no program tells."""
    return next((name for path in PROGRAMS if (name := _machine(tree.heads.get(path, b"")))), "")


def _machine(head: bytes) -> str:
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return ""
    return _MACHINES.get(struct.unpack("<H" if head[5] == 1 else ">H", head[18:20])[0], "")


def newest_kernel(tree: TreeFact) -> tuple[str, kernelimage.KernelImage] | None:
    """The newest of the kernels in boot/ and what its image says; None when there is none. Numbers in names count as numbers."""
    paths = [path for path in tree.heads if path.startswith("boot/vmlinu") and not path.endswith((".old", ".bak"))]
    if not paths:
        return None
    newest = max(paths, key=lambda path: [(int(part), "") if part.isdigit() else (-1, part) for part in _NUMBER.split(posixpath.basename(path))])
    return newest, kernelimage.parse(tree.heads[newest])


def refuse(name: str, mode: BootMode | None, tree: TreeFact) -> None:
    """Raise Failed when the bundle's name or boot mode contradicts what is in the tree."""
    found, kernel = architecture(tree), newest_kernel(tree)
    known = {*_MACHINES.values()}
    said = next((word for word in (_ALIASES.get(part.lower(), part.lower()) for part in name.split("-")) if word in known), "")
    if said and found and said != found:
        raise Failed(f"Pack {name}.", f"its name says {said}, and its programs are for {found}")
    if mode and mode is not BootMode.DIRECT and kernel and (problem := kernelimage.obstacle(kernel[1], mode)):
        raise Failed(f"Pack {name}.", f"{mode.value} cannot start {ascii(kernel[0])}: {problem}")


# -- what lies elsewhere --------------------------------------------------------------------------

_NEEDED = ("boot", "usr", "var", "etc", "bin", "sbin", "lib", "opt", "srv")
_OF_FIRMWARE = ("/boot/efi", "/efi")
TEXTS = (fstab.PATH,)
"""What `elsewhere` wants to read."""


def elsewhere(tree: TreeFact, filled: Callable[[str], bool]) -> tuple[tuple[str, str], ...]:
    """Mount points of the tree's fstab whose content is not there, and the disk that has it; `filled` tells whether a directory holds anything."""
    mounts = (("/" + posixpath.normpath(at).lstrip("/"), disk) for at, disk in fstab.other_mounts(tree.texts.get(fstab.PATH, "")))
    return tuple((at, disk) for at, disk in mounts if at not in ("/", *_OF_FIRMWARE) and not filled(at))


def refuse_in_parts(name: str, mode: BootMode | None, missing: tuple[tuple[str, str], ...]) -> None:
    """Raise Failed when a part that a system does not run without lies on another disk. A VPS that dom0's kernel starts needs no boot/."""
    needed = [(at, disk) for at, disk in missing if at.split("/")[1] in _NEEDED and not (mode is BootMode.DIRECT and at.split("/")[1] == "boot")]
    if needed:
        told = ", ".join(f"{ascii(at)} on {ascii(disk)}" for at, disk in needed)
        more = "; --boot-mode direct does without boot/" if all(at.split("/")[1] == "boot" for at, _ in needed) else ""
        raise Failed(f"Pack {name}.", f"etc/fstab keeps {told}, and a bundle has one disk: copy all into one directory, and pack that{more}")


# -- the bundle -----------------------------------------------------------------------------------

_ROOM_SHARE, _ROOM_MIB = 1.25, 32
"""Beside its files a disk holds ext4's tables, its journal, what is reserved for root, and what the first hours write."""


@dataclass(frozen=True)
class Packed:
    """A tree that was packed: `sha256` and name of the tarball, what its files need on a disk in bytes, and what it was made from."""

    tarball: str
    sha256: str
    need_bytes: int
    made_from: Mapping[str, str]
    made: str


def tarball_name(name: str) -> str:
    """What the tarball of a bundle is called."""
    return f"{name}.tar.gz"


def smallest_disk_mib(need_bytes: int) -> int:
    """The smallest root disk for files that need so many bytes, in MiB."""
    return int(-(-need_bytes * _ROOM_SHARE // (1 << 20))) + _ROOM_MIB


def manifest(packed: Packed, tree: TreeFact, mode: BootMode | None) -> str:
    """The text of manifest.json."""
    kernel = newest_kernel(tree)
    told = {
        "cache": True,
        **({"boot_mode": mode.value} if mode else {}),
        "tarball": packed.tarball,
        "sha256": packed.sha256,
        "architecture": architecture(tree) or None,
        "kernel": (kernel[1].version or posixpath.basename(kernel[0])) if kernel else None,
        "kernel_boot_modes": [each.value for each in kernelimage.readers(kernel[1])] if kernel else [],
        "smallest_disk_mib": smallest_disk_mib(packed.need_bytes),
        "made_from": dict(packed.made_from),
        "made": packed.made,
    }
    return json.dumps(told, indent=1) + "\n"


def install_os(tarball: str) -> str:
    """The script of the original's contract: unpacks the tarball into the tree that it is told, and does nothing else."""
    return f"""\
#!/bin/sh
# Unpacks the system into the tree, as bundles do. Made by `dtcxen pack`.
set -e

. /usr/share/dtc-xen/dtc-xen-parse-param

OSDIR=${{OSDIR:-/usr/share/dtc-xen-os/${{DISTRO}}}}
DISTRO_FNAME={tarball}

echo "Uncompressing ${{DISTRO_FNAME}} in ${{VPS_PATH}}..."
exec tar --numeric-owner --same-owner --acls --xattrs --xattrs-include='user.*' --xattrs-include=security.capability \\
	-xzpf "${{OSDIR}}/${{DISTRO_FNAME}}" -C "${{VPS_PATH}}"
"""
