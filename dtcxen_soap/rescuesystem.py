"""The node's rescue system as `dtcxen rescue-system` makes it: a small Debian that lives in an initial RAM disk.

What goes in, and what stays out, decided over names alone: packages, paths of the tree, modules of
the kernel, and our own few files. It is small because its memory is taken from the VPS's. Which
programs need what was left out (the interpreters of Perl and Python, ICU, udev) was tried by running
those that repair disks.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import NodeFact
from dtcxen_soap.install import debootstrap
from dtcxen_soap.plans import Run
from dtcxen_soap.settings import Settings

PACKAGES = (
    "busybox", "mount", "kmod", "login", "passwd", "procps", "openssh-server", "e2fsprogs", "xfsprogs", "btrfs-progs", "dosfstools", "lvm2", "mdadm",
    "cryptsetup-bin", "fdisk", "gdisk", "rsync", "iproute2", "iputils-ping", "nano", "less")
DATA = posixpath.join(posixpath.dirname(__file__), "data/rescue")
OWN = (
    ("init", "init", 0o755), ("etc/inittab", "inittab", 0o644), ("usr/sbin/rescue-end", "rescue-end", 0o755), ("usr/sbin/chroot-mnt", "chroot-mnt", 0o755),
    ("etc/ssh/sshd_config", "sshd_config", 0o644), ("etc/lvm/lvmlocal.conf", "lvmlocal.conf", 0o644))
"""Our files: path in the system, name in DATA, mode."""
LINKS = tuple((f"usr/sbin/{name}", "/bin/busybox") for name in ("reboot", "poweroff", "halt"))
MODULES_AT = "usr/lib/modules"

_EMPTY = ("dev", "proc", "sys", "run", "tmp", "boot", "var/cache", "var/log", "var/lib/apt", "var/lib/dpkg", "var/lib/systemd")
"""Directories of which only the directory itself goes in."""
_LEFT_OUT = (
    "usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian", "usr/share/bash-completion", "usr/share/perl*", "usr/share/python3",
    "usr/share/initramfs-tools", "usr/share/bug", "usr/share/zoneinfo", "usr/lib/python3*", "usr/lib/*/perl*", "usr/lib/*/gconv", "usr/lib/udev", "usr/lib/systemd",
    "usr/lib/modules", "usr/lib/*/libicu*", "usr/lib/*/libpython*", "usr/lib/*/libperl*", "usr/bin/perl*", "usr/bin/python3*", "usr/sbin/xfs_scrub*",
    "usr/lib/apt", "usr/lib/dpkg", "usr/bin/apt*", "usr/bin/dpkg*", "usr/lib/*/libapt*",
    "etc/ssh/ssh_host_*", "etc/machine-id", "etc/mtab", "etc/resolv.conf", "etc/motd", "etc/issue", "etc/apt", "etc/udev", "etc/systemd", "etc/cron*", "etc/hostname", "etc/hosts")

_WANTED = (
    "xen_blkfront", "xen_netfront", "xenfs", "virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "virtio_scsi", "virtio_rng",
    "ext4", "xfs", "btrfs", "vfat", "exfat", "isofs", "udf", "squashfs", "overlay", "fuse", "jfs", "ntfs3", "f2fs", "nls_ascii", "nls_cp437", "nls_iso8859_1", "nls_utf8",
    "loop", "dm_mod", "dm_crypt", "dm_mirror", "dm_snapshot", "dm_thin_pool", "dm_cache*", "dm_raid", "raid0", "raid1", "raid10", "raid456", "linear", "md_mod",
    "crc32*", "libcrc32c", "xxhash*", "blake2b*", "sha256*", "sha512*", "xts", "cbc", "ecb", "essiv", "aes*", "cryptd", "algif_skcipher", "algif_hash", "af_packet", "ipv6",
    "zstd*", "lz4*", "lzo*")
"""Modules by name, `-` written `_`: disks and cards of Xen and of virtio, file systems, device mapper, and the sums and ciphers that these ask for by name."""

_RD_ZSTD = re.compile(r"^CONFIG_RD_ZSTD=y$", re.MULTILINE)
_PVH = re.compile(r"^CONFIG_PVH=y$", re.MULTILINE)


def config_beside(kernel: str) -> str:
    """Where the configuration that a kernel was built with lies: beside it, under Debian's name for it."""
    directory, name = posixpath.split(kernel)
    return posixpath.join(directory, name.replace("vmlinuz", "config") if "vmlinuz" in name else f"{name}.config")


def can_pvh(kernel_config: str) -> bool:
    """Whether the kernel of this configuration has the entry for PVH guests; False where there is none that could say so."""
    return bool(_PVH.search(kernel_config))


def bootstrap(target: str, settings: Settings, node: NodeFact) -> Run:
    """Make the tree, as a tarball, of the node's own release and sources, verified by their signatures. Failed when the node cannot."""
    debootstrap.refuse_unready(settings, node)
    argv = ("mmdebstrap", "--mode=root", "--format=tar", "--variant=essential", f"--include={','.join(PACKAGES)}", debootstrap.release(settings, node), target)
    sources = tuple(str(source) for source in debootstrap.sources(settings, node))
    return Run(why="Make a small Debian.", argv=(*argv, *sources), contained=True, timeout_seconds=settings.install_timeout_minutes * 60)


def compress(source: str, kernel_config: str, node: NodeFact) -> tuple[Run, str]:
    """Compress the RAM disk so that the kernel can read it; and the path of what comes out.

    gzip is for kernels that say they cannot read zstd: the toolstack unpacks that one by itself, and
    the guest then holds it a second time.
    """
    argv: tuple[str, ...] = ("zstd", "-q", "-6", "-T0", "--", source)
    made = f"{source}.zst"
    if kernel_config and not _RD_ZSTD.search(kernel_config):
        argv, made = ("gzip", "-n", "-9", "--", source), f"{source}.gz"
    if argv[0] not in node.commands:
        raise Failed("Compress the RAM disk.", f"the node lacks {argv[0]}: install the package")
    return Run(why="Compress the RAM disk.", argv=argv, timeout_seconds=3600), made


def keeps(path: str) -> bool:
    """Whether a path of the tree goes in."""
    if path in {own for own, _, _ in OWN} | {link for link, _ in LINKS}:
        return False
    parts = path.split("/")
    above = {"/".join(parts[:length]) for length in range(1, len(parts))}
    if above & set(_EMPTY):
        return False
    return not any(fnmatchcase(each, pattern) and each.count("/") == pattern.count("/") for each in (*above, path) for pattern in _LEFT_OUT)


def modules(needs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Names of the modules that go in: the wanted ones, and all that these need, of those that there are."""
    chosen: dict[str, None] = {}

    def add(name: str) -> None:
        if name in needs and name not in chosen:
            chosen[name] = None
            for needed in needs[name]:
                add(needed)

    for name in sorted(needs):
        if any(fnmatchcase(name, pattern) for pattern in _WANTED):
            add(name)
    return tuple(sorted(chosen))
