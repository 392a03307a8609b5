"""Names of disks inside the guest: xvda is the root, xvdb the swap, whatever the image's author had.

Images of other hosts say sda1 (the seed's stacklet images), hda1 or vda1, or the UUID of a file
system that is gone. Names are changed token by token, never by a pattern over the whole text, so
that sdaa or a word that only contains sda stays what it is. A second run changes nothing.
"""

from __future__ import annotations

import re

ROOT, SWAP = "/dev/xvda", "/dev/xvdb"
BOOT_FILES = (
    "boot/grub/grub.cfg", "boot/grub/menu.lst", "boot/grub/grub.conf", "boot/grub2/grub.cfg", "boot/extlinux/extlinux.conf", "extlinux.conf",
    "etc/default/grub", "etc/initramfs-tools/conf.d/resume")
_DEVICE = re.compile(r"/dev/(?:sd|hd|vd|xvd)([ab])([0-9]?)(?![0-9A-Za-z])")
_TOKEN = re.compile(r"(\s+|[\"'])")
_ROOT_BY_NAME = re.compile(r"root=(UUID|LABEL|PARTUUID)=[^\s\"']+")
_RESUME_BY_NAME = re.compile(r"(resume|RESUME)=(UUID|LABEL|PARTUUID)=[^\s\"']+")
_GRUB_PARTITION = re.compile(r"\(hd0,(?:msdos|gpt)?[0-9]+\)")
_NOT_ON_DISK = ("proc", "sysfs", "tmpfs", "devpts", "devtmpfs", "usbfs", "debugfs", "none", "nfs", "nfs4", "cifs", "cgroup", "cgroup2", "configfs", "securityfs")


def rename(token: str) -> str:
    """One token with the device it names renamed: first disk or its first partition is the root, its second the swap."""
    def new_name(match: re.Match[str]) -> str:
        disk, partition = match[1], match[2]
        if disk == "a" and partition in ("", "1"):
            return ROOT
        return SWAP if (disk, partition) in (("a", "2"), ("b", ""), ("b", "1")) else match[0]

    return _DEVICE.sub(new_name, token)


def boot_text(text: str) -> str:
    """A boot loader's file with root= and resume= on our disks; comments stay as they are."""
    return "".join(line if line.lstrip().startswith("#") and "root=" not in line else _boot_line(line) for line in text.splitlines(keepends=True))


def _boot_line(line: str) -> str:
    line = _ROOT_BY_NAME.sub(f"root={ROOT}", line)
    line = _RESUME_BY_NAME.sub(rf"\1={SWAP}", line)
    line = _GRUB_PARTITION.sub("(hd0)", line)
    return "".join(rename(token) for token in _TOKEN.split(line))


def fstab(old: str, fstype: str, has_swap: bool) -> str:
    """The guest's fstab: our root and swap first, what the image mounts beside them kept.

    Lines of disks that this VPS does not have are kept as comments: booting would wait for them.
    """
    lines = [f"{ROOT} / {fstype} {'errors=remount-ro' if fstype.startswith('ext') else 'defaults'} 0 1"]
    if has_swap:
        lines.append(f"{SWAP} none swap sw 0 0")
    kept = [_kept(line) for line in old.splitlines()]
    return "\n".join([*lines, *(line for line in kept if line is not None)]) + "\n"


def _kept(line: str) -> str | None:
    """A line of the old fstab as it goes on; None for its root and swap, which ours replace."""
    fields = line.split()
    if len(fields) < 3 or fields[0].startswith("#"):
        return line
    source, point, fstype = fields[:3]
    options = fields[3].split(",") if len(fields) > 3 else []
    if point == "/" or fstype == "swap":
        return None
    elsewhere = fstype in _NOT_ON_DISK or ":" in source or source.startswith("//") or "bind" in options or "rbind" in options
    return line if elsewhere else f"# no such disk here: {line}"
