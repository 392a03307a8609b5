"""The contract of a bundle: what its tarball may hold, which scripts it may have, and what they are told.

The scripts and their flags are the original's (dtc_reinstall_os and dtc-xen-parse-param of 0.5), so
that bundles of its time run unmodified. A tarball is judged member by member, as they come, before
anything is touched. `judge` knows what tar(1) would do at each member: it keeps where links lead,
and refuses the first member that would be written outside the tree, or through a link that leaves
it. What it cannot see (a reader that understands the archive otherwise) the confinement stops.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable, Iterator

from dtcxen_soap.facts import Member
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.vps import Address, ImageType

__all__ = ["MOST_BYTES", "MOST_MEMBERS", "SCRIPTS", "Member", "judge", "script_argv"]

SCRIPTS = ("install_os", "custom_os", "setup_network", "last_stage_custom")
"""The scripts of a bundle in the order in which they run; all but the first may be absent."""

MOST_BYTES = 1 << 40
MOST_MEMBERS = 2_000_000
LONGEST_NAME = 4095
MOST_LINK_CHARACTERS = 1 << 26
"""Together the links' names and targets, which have to be remembered: 64 Mi characters, some 10,000 times a Debian's."""
MOST_LINKS_IN_A_ROW = 40
_DEVICE_DIRECTORY = "dev"
_OLD_UDEV_DEVICES = ("lib", "udev", "devices")
"""Where udev until 2012 kept the nodes that it copied into /dev."""

# -- what a tarball may hold ----------------------------------------------------------------------


class _Unsafe(Exception):
    """A member must not be unpacked; the text says why."""


def judge(members: Iterable[Member], *, most_bytes: int = MOST_BYTES, most_members: int = MOST_MEMBERS, whole_system: bool = True) -> str:
    """Why these members must not be unpacked into a tree by root, in one sentence; "" when they may.

    Reads the members once and only as far as the first bad one. It remembers a hash of each name
    and the whole of each link. With `whole_system` an archive without a directory etc is refused too.
    """
    tree = _Unpacked()
    total = 0
    for number, member in enumerate(members, 1):
        total += max(member.size, 0) if member.kind == "file" else 0
        if number > most_members:
            return f"it has more than {most_members} members"
        if total > most_bytes:
            return f"its files need more than {most_bytes >> 20} MiB"
        try:
            tree.unpack(member)
        except _Unsafe as error:
            return f"member {_shown(member.name)} {error}"
    if whole_system and not tree.has_directory("etc"):
        return "it has no directory etc/ at its top, so it is not a system's root"
    return ""


def _shown(name: str) -> str:
    """A name that nobody vouches for, on one line and not too long."""
    return ascii(name if len(name) <= 120 else f"{name[:80]}...{name[-30:]}")


def _parts(name: str) -> list[str]:
    """A name in its components, checked as far as can be without knowing the tree."""
    if any(unicodedata.category(sign) in ("Cc", "Zl", "Zp") for sign in name):
        raise _Unsafe("has a control character or a line's end in its name")
    if len(name.encode(errors="surrogateescape")) > LONGEST_NAME:
        raise _Unsafe(f"has a name of more than {LONGEST_NAME} bytes")
    if name.startswith("/"):
        raise _Unsafe("has an absolute name")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _Unsafe("has .. in its name")
    return parts


class _Unpacked:
    """The tree as the members so far have made it: the kind of each path, and where each link leads.

    Paths are real ones, links followed, as tuples joined by slashes. A path keeps its kind: whoever
    needs a file to become a link, or a link to become a directory, prepares a trick.
    """

    def __init__(self) -> None:
        self._kinds: dict[int, str] = {hash(""): "directory"}
        self._links: dict[str, str] = {}
        self._link_characters = 0

    def has_directory(self, name: str) -> bool:
        """Whether the path is there and leads to a directory inside."""
        try:
            return self._kind(self._follow([name], last=True)) == "directory"
        except _Unsafe:
            return False

    def unpack(self, member: Member) -> None:
        """Take one member in; _Unsafe when it must not be."""
        parts = _parts(member.name)
        if not parts and member.kind != "directory":
            raise _Unsafe("stands for the tree itself and is no directory")
        path = self._place(parts)
        if member.kind == "hardlink":
            self._hard_link(path, member.linkname)
        elif member.kind == "symlink":
            self._symlink(path, member.linkname)
        elif member.kind in ("file", "directory", "fifo"):
            self._set(path, member.kind)
        elif _may_hold_devices(path):
            self._set(path, "device")
        else:
            raise _Unsafe("is a device, and not in dev/")

    def _place(self, parts: list[str]) -> str:
        """The real path that a member is written to; its parents are directories from now on."""
        if not parts:
            return ""
        above = self._follow(parts[:-1], last=True)
        for path in _upwards(above):
            if self._kind(path) not in ("", "directory"):
                raise _Unsafe(f"lies below {_shown(path)}, which is a {self._kind(path)}")
            self._kinds[hash(path)] = "directory"
        return f"{above}/{parts[-1]}" if above else parts[-1]

    def _follow(self, parts: list[str], *, last: bool) -> str:
        """The real path of `parts` as the kernel finds it in the half-unpacked tree; with `last` through a last link too."""
        waiting, followed = list(reversed(parts)), 0
        real: list[str] = []
        while waiting:
            part = waiting.pop()
            if part == "..":
                if not real:
                    raise _Unsafe("would be written through a link that leads out of the tree")
                real.pop()
                continue
            real.append(part)
            target = self._links.get("/".join(real))
            if target is None or not (waiting or last):
                continue
            followed += 1
            if followed > MOST_LINKS_IN_A_ROW:
                raise _Unsafe("would be written through links that go round")
            if target.startswith("/"):
                raise _Unsafe(f"would be written through the link {_shown('/'.join(real))}, which leads to {_shown(target)}")
            real.pop()
            waiting.extend(reversed([step for step in target.split("/") if step not in ("", ".")]))
        return "/".join(real)

    def _kind(self, path: str) -> str:
        return self._kinds.get(hash(path), "")

    def _set(self, path: str, kind: str) -> None:
        before = self._kind(path)
        if before and before != kind:
            raise _Unsafe(f"is a {kind} and was a {before} before")
        self._kinds[hash(path)] = kind

    def _symlink(self, path: str, target: str) -> None:
        if self._links.get(path, target) != target:
            raise _Unsafe("is a link that led elsewhere before")
        if not target or "\0" in target:
            raise _Unsafe("is a link to nothing")
        self._set(path, "symlink")
        if path not in self._links:
            self._link_characters += len(path) + len(target)
        if self._link_characters > MOST_LINK_CHARACTERS:
            raise _Unsafe("is one link too many: they cannot all be remembered")
        self._links[path] = target

    def _hard_link(self, path: str, target: str) -> None:
        """A second name. Of a link it is a link too, and its target may lead elsewhere from the new place."""
        try:
            other = self._follow(_parts(target), last=False)
        except _Unsafe:
            raise _Unsafe(f"is a hard link to {_shown(target)}, out of the tree") from None
        kind = self._kind(other)
        if kind in ("", "directory"):
            raise _Unsafe(f"is a hard link to {_shown(target)}, which is no file of the archive before it")
        if kind == "symlink":
            self._symlink(path, self._links[other])
        elif kind == "device" and not _may_hold_devices(path):
            raise _Unsafe("is a device, and not in dev/")
        else:
            self._set(path, kind)


def _upwards(path: str) -> Iterator[str]:
    """The path and all above it, without the tree itself."""
    while path:
        yield path
        path = posixpath.dirname(path)


def _may_hold_devices(path: str) -> bool:
    """Below dev/, also one of a chroot in the tree (var/spool/postfix/dev), or where old udev kept its nodes."""
    above = tuple(path.split("/")[:-1])
    return _DEVICE_DIRECTORY in above or above[:3] == _OLD_UDEV_DEVICES


# -- what its scripts are told --------------------------------------------------------------------


def script_argv(program: str, guest: Guest) -> tuple[str, ...]:
    """The command of one script: the flags that dtc_reinstall_os forwarded to every script, without empty ones.

    `-nic` is ip,netmask,broadcast as ever, so IPv6 has flags of its own behind all others, `-nic6`
    and `-gw6`, only where the VPS has such addresses.
    """
    return (program, *(word for flag, value in _flags(guest) if value for word in (flag, value)))


def _flags(guest: Guest) -> Iterator[tuple[str, str]]:
    vps, network = guest.vps, guest.network
    disk = vps.disks[0] if vps.disks else None
    yield "--disk-type", (disk.image_type if disk else ImageType.VBD).value
    yield "--xen-domu-hdd-dev-type", "xvd"
    yield "-os", guest.os_type
    yield "-ram", str(int(vps.ram))
    yield "-path", guest.tree
    yield "-vpsid", str(vps.id)
    yield "--vps-fqdn", guest.hostname
    yield "--vps-domain", guest.domain
    yield "--node-fqdn", guest.node
    yield from (("-nic", _ipv4(address)) for address in network.nic.addresses if address.version == 4)
    yield "-dns", ",".join(map(str, network.dns))
    yield "-gw", str(network.gateway(4) or "")
    yield "--virt-type", "xen"
    yield "--kernel", vps.kernel
    yield "--kernel-release", guest.kernel_release
    yield "--kmod-path", guest.modules
    yield "--initrd", vps.ramdisk
    yield "--mac", str(network.nic.mac)
    yield "--lvm-name", posixpath.basename(posixpath.dirname(disk.path)) if disk and disk.image_type is ImageType.LVM else ""
    yield "--xenu_extra_parm", vps.extra
    yield from (("-nic6", str(address.interface)) for address in network.nic.addresses if address.version == 6)
    yield "-gw6", str(network.gateway(6) or "")


def _ipv4(address: Address) -> str:
    net = address.interface.network
    return f"{address.ip},{net.netmask},{address.broadcast or net.broadcast_address}"
