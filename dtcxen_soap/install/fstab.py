"""etc/fstab of a new system: xvda is the root, xvdb the swap, and no line waits for a disk that is not there.

The file systems were made anew, so UUIDs and labels of an image lead to nothing: its root and swap
lines are replaced. Lines of other disks would stop the boot; they become comments. All else stays
as it was. Sources: fstab(5), systemd.mount(5).
"""

from __future__ import annotations

import re

from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.install.originals import keep, kept
from dtcxen_soap.plans import Step, TreeWrite
from dtcxen_soap.vps import DiskRole

PATH = "etc/fstab"
TEXTS = (PATH,)
GLOBS = (kept(PATH), "lib/systemd/systemd", "usr/lib/systemd/systemd")

ROOT_DEVICE, SWAP_DEVICE = (f"/dev/{role.value}" for role in (DiskRole.ROOT, DiskRole.SWAP))
_DISK = re.compile(
    r"(UUID|LABEL|PARTUUID|PARTLABEL)=.*|/dev/(sd[a-z]+|hd[a-z]|vd[a-z]+|xvd[a-z]+)[0-9]*|/dev/(nvme|mmcblk|md|dm-)[0-9].*|/dev/(disk|mapper|md)/.+"
    r"|/dev/(?!loop|shm/|pts/|fd/|bus/|input/|snd/|net/)[A-Za-z0-9+_.-]+/[A-Za-z0-9+_.-]+")
_OPTIONS = {"ext2": "errors=remount-ro", "ext3": "errors=remount-ro", "ext4": "errors=remount-ro"}
_NOT_HERE = "# not a disk of this VPS: "
_KERNELS = (("proc", "/proc", "proc"), ("sysfs", "/sys", "sysfs"), ("devpts", "/dev/pts", "devpts"))
_UNCONFIGURED = "# UNCONFIGURED FSTAB FOR BASE SYSTEM"
_HEAD = "# <device> <mount point> <type> <options> <dump> <pass>"


def steps(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """The new fstab; the one that an image brought is kept beside it."""
    old = tree.texts.get(PATH, "")
    new = render(old, guest.fstype, guest.has_swap, own_mounts=not (tree.has("lib/systemd/systemd") or tree.has("usr/lib/systemd/systemd")))
    write = TreeWrite(why="Tell the system its disks: /etc/fstab.", tree=guest.tree, path=PATH, content=new)
    return (*keep(guest.tree, PATH, tree, new), write)


def render(old: str, fstype: str, has_swap: bool, own_mounts: bool) -> str:
    """`old` for a root disk of `fstype`. With `own_mounts` the kernel's file systems are there too, which old inits do not mount themselves."""
    kept_lines = [line for line in map(_line, old.splitlines()) if line is not None]
    if not any(line.strip() for line in kept_lines):
        kept_lines = [_HEAD]
    taken = {words[1] for line in kept_lines if (words := _words(line))}
    lines = kept_lines
    if own_mounts:
        lines += [_row(device, at, kind, "defaults", "0") for device, at, kind in _KERNELS if at not in taken]
    lines.append(_row(ROOT_DEVICE, "/", fstype, _OPTIONS.get(fstype, "defaults"), "1" if fstype in _OPTIONS else "0"))
    if has_swap:
        lines.append(_row(SWAP_DEVICE, "none", "swap", "sw", "0"))
    return "\n".join(lines) + "\n"


def _row(device: str, at: str, fstype: str, options: str, checked: str) -> str:
    return f"{device}\t{at}\t{fstype}\t{options}\t0 {checked}"


def _words(line: str) -> list[str]:
    """The fields of a line that mounts something; none of a comment, or of what mount(8) would not read either."""
    words = line.split()
    return words if len(words) >= 3 and not words[0].startswith("#") else []


def other_mounts(text: str) -> tuple[tuple[str, str], ...]:
    """Where a fstab wants other disks than the root's at every start, and which: (mount point, disk) as they are written there."""
    found = (words for line in text.splitlines() if (words := _words(line)))
    return tuple((words[1], words[0]) for words in found if words[1].startswith("/") and words[1] != "/" and _DISK.fullmatch(words[0]) and not _may_lack(words))


def _may_lack(words: list[str]) -> bool:
    return bool({"noauto", "nofail"} & set(words[3].split(",") if len(words) > 3 else ()))


def _line(line: str) -> str | None:
    """A line as it stays, or as a comment; None for the root and the swap disk of old."""
    words = _words(line)
    if not words:
        return None if line.strip() == _UNCONFIGURED else line
    device, at, fstype = words[:3]
    is_disk = bool(_DISK.fullmatch(device))
    if at == "/" or (fstype == "swap" and is_disk):
        return None
    if is_disk and not _may_lack(words):
        return _NOT_HERE + line
    return line
