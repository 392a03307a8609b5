"""The guest's own boot configuration, for later boots by its kernel: the root disk is xvda, whatever the image called it.

Edited token by token, everything else stays byte by byte: root= and resume= of kernel command lines,
names of the first disk, (hdN,partition), which becomes (hdN) since the disk has no partition table,
and `search --set=root` by a UUID that is gone, which becomes a search for etc/fstab. Idempotent.
Sources: GRUB manuals 0.97 and 2.06, extlinux, kernel-parameters.txt.
"""

from __future__ import annotations

import re

from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install.fstab import ROOT_DEVICE, SWAP_DEVICE
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.install.originals import keep, kept
from dtcxen_soap.plans import Step, TreeWrite

_MODES = {
    "boot/grub/grub.cfg": 0o600,
    "boot/grub2/grub.cfg": 0o600,
    "boot/grub/menu.lst": 0o600,
    "boot/grub/grub.conf": 0o600,
    "boot/grub/device.map": 0o644,
    "boot/extlinux/extlinux.conf": 0o600,
    "boot/extlinux.conf": 0o600,
    "boot/syslinux/syslinux.cfg": 0o600,
    "etc/default/grub": 0o644,
    "etc/kernel/cmdline": 0o644,
    "etc/initramfs-tools/conf.d/resume": 0o644,
}
"""Boot configuration and its mode: menus may hold passwords, so only root reads them."""

TEXTS = tuple(_MODES)
GLOBS = tuple(kept(path) for path in _MODES)

_SPEC = r"(?:(?:UUID|LABEL|PARTUUID|PARTLABEL)=[^\s\"']+|/dev/[^\s\"']+)"
_ROOT = re.compile(rf"(?<![\w./-])(root=){_SPEC}")
_RESUME = re.compile(rf"(?<![\w./-])(resume=|RESUME=){_SPEC}")
_ROOT_TYPE = re.compile(r"(?<![\w./-])(rootfstype=)[\w,]+")
_ROOT_FLAGS = re.compile(r"(?<![\w./-])rootflags=[^\s\"']+ ?")
_FIRST_DISK = re.compile(r"(?<![\w./-])/dev/(?:sd|hd|vd|xvd)a1?(?![\w/-])")
_GRUB_DISK = re.compile(r"\bhd([0-9]+),(?:msdos|gpt)?[0-9]+(?![\w,])")
_SEARCH = re.compile(r"^(\s*)search\s.*--set(?:=|\s+)root\b.*$", re.MULTILINE)
_SET_ROOT = re.compile(r"^(\s*)set root=.*$", re.MULTILINE)
_CONSOLES = re.compile(r"(?<![\w./-])console=(\w+)(?:,\w+)*")
_FIND = "search --no-floppy --file --set=root /etc/fstab"


def steps(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """One write for each file that changes, and the image's own kept beside it."""
    made: tuple[Step, ...] = ()
    for path, mode in _MODES.items():
        old = tree.texts.get(path)
        new = None if old is None else rename(old, guest.fstype, guest.has_swap, by_grub2=path.endswith("grub.cfg"))
        if new is not None and new != old:
            changed = sum(before != after for before, after in zip(str(old).splitlines(), new.splitlines(), strict=False))
            made += (
                *keep(guest.tree, path, tree, new, mode),
                TreeWrite(why=f"Call the root disk xvda in /{path} ({changed} lines).", tree=guest.tree, path=path, content=new, mode=mode))
    return made


def rename(text: str, fstype: str, has_swap: bool, by_grub2: bool = False) -> str:
    """The text with every token of the image's disks replaced; `by_grub2`: a grub.cfg, where GRUB must find its root."""
    text = _RESUME.sub(rf"\g<1>{SWAP_DEVICE if has_swap else 'none'}", text)
    text = _ROOT.sub(rf"\g<1>{ROOT_DEVICE}", text)
    text = _ROOT_TYPE.sub(rf"\g<1>{fstype}", text)
    text = _ROOT_FLAGS.sub("", text)
    text = _FIRST_DISK.sub(ROOT_DEVICE, text)
    text = _GRUB_DISK.sub(r"hd\1", text)
    text = "".join(map(_with_console, text.splitlines(keepends=True)))
    return _findable(text) if by_grub2 else text


def _with_console(line: str) -> str:
    """A line that names other consoles for the kernel names hvc0 last, so that it is /dev/console; else Xen's kernel chooses it anyway."""
    found = list(_CONSOLES.finditer(line))
    if not found or any(each[1] == "hvc0" for each in found):
        return line
    end = found[-1].end()
    return f"{line[:end]} console=hvc0{line[end:]}"


def _findable(text: str) -> str:
    """GRUB under Xen calls disks xen/xvda and knows no old UUID: it finds its root by a file, in every place where it looked for it."""
    if _SEARCH.search(text):
        return _SEARCH.sub(rf"\g<1>{_FIND}", text)
    return _SET_ROOT.sub(lambda match: f"{match[0]}\n{match[1]}{_FIND}", text)
