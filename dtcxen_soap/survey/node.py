"""The node itself: who it is, its kernels, and the tools, sources and keys that an installation can use."""

from __future__ import annotations

import os
import re

from dtcxen_soap import domus
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.facts import AptSource, NodeFact
from dtcxen_soap.install import aptsources
from dtcxen_soap.install.debootstrap import DEBIAN_KEYRING
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey.programs import writable_by_others
from dtcxen_soap.xen import bootmode

COMMANDS = (
    "mkfs.ext3", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "mkswap", "mount", "umount", "losetup", "chroot", "unshare",
    "e2fsck", "resize2fs", "tune2fs", "xfs_repair", "btrfs", "setfacl", "xorriso",
    "mmdebstrap", "debootstrap", "dnf-3", "curl", "prlimit", "mv", "tar", "gzip", "bzip2", "xz", "zstd", "sh", "bash")
KERNEL_NAMES = ("vmlinuz-", "vmlinux-", "initrd.img-", "initramfs-")
KEYRING_DIRECTORIES = ("/usr/share/keyrings", "/etc/apt/keyrings", "/etc/apt/trusted.gpg.d")
TEXTS = ("motd", "bashrc", "authorized_keys2")
_APT = "/etc/apt"
_XEN_VERSION = re.compile(r"xen-[0-9.]+")


def node(dom0: Dom0, settings: Settings) -> NodeFact:
    """Everything about the dom0 that planners of installations lean on."""
    sources = apt_sources(dom0)
    return NodeFact(
        dom0.hostname(), _line(dom0, "/etc/machine-id"), _release(dom0), dom0.uname_release(), frozenset(_kernels(dom0, settings)), dom0.commands(COMMANDS),
        sources, frozenset(_keyrings(dom0, settings, sources)), _texts(dom0, settings), frozenset(_loaders(dom0)), domus.runs_hvm(dom0, settings.toolstack),
        _unsafe(settings.custom_postinstall_script))


def _unsafe(script: str | None) -> tuple[str, ...]:
    """What others could have written of a program: itself, its directory, and whatever a link in these leads to."""
    return writable_by_others(script, os.path.dirname(script)) if script else ()


def apt_sources(dom0: Dom0) -> tuple[AptSource, ...]:
    """The node's own sources, in the order in which apt reads their files."""
    parts = f"{_APT}/sources.list.d"
    files = {"sources.list": f"{_APT}/sources.list"} | {name: f"{parts}/{name}" for name in dom0.listdir(parts)}
    texts = {name: text for name, path in files.items() if (text := _text(dom0, path)) is not None}
    return aptsources.parse(texts, aptsources.architecture(os.uname().machine))


def _release(dom0: Dom0) -> str:
    """VERSION_CODENAME of os-release(5); "" where there is none."""
    for line in (_text(dom0, "/etc/os-release") or "").splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip().strip("\"'")
    return ""


def _kernels(dom0: Dom0, settings: Settings) -> list[str]:
    """Paths that exist: kernels and initial RAM disks in /boot, modules of each, and what the settings name."""
    found = [f"/boot/{name}" for name in dom0.listdir("/boot") if name.startswith(KERNEL_NAMES)]
    found += [f"/lib/modules/{name}" for name in dom0.listdir("/lib/modules")]
    named = (settings.KERNELPATH, settings.INITRDPATH, settings.KMOD_PATH, settings.bsd_kernel_path, settings.bsd_install_kernel_path)
    return found + [path for path in named if path and dom0.exists(path)]


def _loaders(dom0: Dom0) -> list[str]:
    """Paths that exist: what fetches a guest's own kernel, pygrub of whichever version of Xen."""
    versions = [f"/usr/lib/{name}/bin" for name in dom0.listdir("/usr/lib") if _XEN_VERSION.fullmatch(name)]
    places = (*bootmode.GRUB.values(), *(f"{directory}/pygrub" for directory in (*bootmode.PYGRUB_DIRECTORIES, *versions)))
    return [path for path in places if dom0.exists(path)]


def _keyrings(dom0: Dom0, settings: Settings, sources: tuple[AptSource, ...]) -> list[str]:
    found = [f"{directory}/{name}" for directory in KEYRING_DIRECTORIES for name in dom0.listdir(directory)]
    named = {DEBIAN_KEYRING, settings.debian_keyring, *(source.signed_by for source in sources)}
    return found + [path for path in named if path and path.startswith("/") and dom0.exists(path)]


def _texts(dom0: Dom0, settings: Settings) -> dict[str, str]:
    texts = {name: _text(dom0, f"{settings.config_dir}/{name}") for name in TEXTS}
    return {name: text for name, text in texts.items() if text is not None}


def _line(dom0: Dom0, path: str) -> str:
    return (_text(dom0, path) or "").strip()


def _text(dom0: Dom0, path: str) -> str | None:
    try:
        return dom0.read_text(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
