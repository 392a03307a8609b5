"""GRUB's menu of a guest: one that pvh-grub, pv-grub and pygrub all read, and etc/default/grub for the menus that the owner's update-grub makes.

The root disk is one file system without partitions, found by the loader already, so the menu sets no
root: pygrub cannot read GRUB's names of Xen's disks, and stops. Kernel and initial RAM disk are named
by paths of that file system. Sources: GRUB manual 2.06 (Simple configuration; linux, initrd), pygrub's
GrubConf.py of Xen 4.17, update-grub(8).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dtcxen_soap.errors import Failed
from dtcxen_soap.install.fstab import ROOT_DEVICE

WORDS = ("console=hvc0", "net.ifnames=0")
"""What every kernel of a guest is told: its console, and that its card is eth0, as its network is configured for."""
_NOTE = "# Written by dtcxen when this system was installed; update-grub may write it anew."
_PLAIN = re.compile(r"[\w.,:/=@%+\[\]-]+", re.ASCII)
_SETTING = re.compile(r"^[ \t]*(?:export[ \t]+)?(GRUB_\w+)=(\"[^\"\n]*\"|'[^'\n]*'|`[^`\n]*`|\S*)", re.MULTILINE)
_DISTRIBUTOR = "`lsb_release -i -s 2> /dev/null || echo Debian`"
_ALWAYS = {"GRUB_TERMINAL": "console", "GRUB_DISABLE_OS_PROBER": "true", "GRUB_DISABLE_LINUX_UUID": "true", "GRUB_DISABLE_LINUX_PARTUUID": "true"}
"""No graphics, no look at other disks, and the root disk by its name: it is xvda on every start, wherever its volume comes from."""
_NEW = {"GRUB_DEFAULT": "0", "GRUB_TIMEOUT": "1", "GRUB_DISTRIBUTOR": _DISTRIBUTOR, "GRUB_CMDLINE_LINUX_DEFAULT": '""'}
_COMMAND_LINE = "GRUB_CMDLINE_LINUX"


@dataclass(frozen=True)
class Entry:
    """What a menu starts, paths as in facts ("boot/vmlinuz-6.1"); "" for no initial RAM disk."""

    kernel: str
    ramdisk: str = ""


def words(extra: str) -> tuple[str, ...]:
    """The kernel's words, those of the node's settings last. Failed for one that a menu could not hold as it stands."""
    every = tuple(dict.fromkeys((*WORDS, *extra.split())))
    if wrong := [word for word in every if not _PLAIN.fullmatch(word)]:
        raise Failed("Write GRUB's menu.", f"the kernel parameters {' '.join(wrong)} hold signs that GRUB would understand in its own way: change XENU_EXTRA_PARM")
    return every


def render(entry: Entry, told: Iterable[str]) -> str:
    """The menu of one kernel."""
    title = posixpath.basename(entry.kernel).removeprefix("vmlinuz-") or entry.kernel
    lines = [_NOTE, "set default=0", "set timeout=1", f"menuentry 'Linux {title}' {{", f"    linux /{entry.kernel} root={ROOT_DEVICE} ro {' '.join(told)}"]
    return "\n".join((*lines, *((f"    initrd /{entry.ramdisk}",) if entry.ramdisk else ()), "}")) + "\n"


# -- menus that an image brings -------------------------------------------------------------------

_GRUB2 = re.compile(r"^([ \t]*linux[ \t]+)(\S+)(.*)$", re.MULTILINE)
_GRUB2_RAMDISK = re.compile(r"^[ \t]*initrd[ \t]+(\S.*)$", re.MULTILINE)
_GRUB1 = re.compile(r"^([ \t]*kernel[ \t]+)(\S+)(.*)$", re.MULTILINE)
_GRUB1_RAMDISK = re.compile(r"^[ \t]*initrd[ \t]+(\S+)", re.MULTILINE)
_ANY_KERNEL = re.compile(r"^[ \t]*(linux|linux16|linuxefi|blscfg|multiboot2?)\b", re.MULTILINE)
"""The other commands are other GRUBs': firmware's, Fedora's, and of a dom0."""
_ROOT = re.compile(r"^\s*set\s+root=(.*)$", re.MULTILINE)
_ROOT_OF_PYGRUB = re.compile(r"(['\"]?)\(?(?:hd[0-9]+(?:,(?:msdos|gpt)?[0-9]+)?|/dev/xvd[a-z])\)?\1")
_DISK_BEFORE = re.compile(r"^\((?:\$\{?root\}?|hd[0-9]+(?:,\w+)?)\)")


def entry(text: str) -> Entry | None:
    """What a grub.cfg starts first; None when it has no entry that GRUB for Xen and pygrub understand."""
    first = _ANY_KERNEL.search(text)
    return _first(text, _GRUB2, _GRUB2_RAMDISK) if first and first[1] == "linux" else None


def old_entry(text: str) -> Entry | None:
    """What a menu.lst starts first; None when there is nothing."""
    return _first(text, _GRUB1, _GRUB1_RAMDISK)


def for_pygrub(text: str) -> bool:
    """Whether pygrub reads this grub.cfg: it gives up at a root device whose name it does not know."""
    return all(_ROOT_OF_PYGRUB.fullmatch(match[1].strip()) for match in _ROOT.finditer(text))


def telling(text: str, told: Iterable[str]) -> str:
    """A menu of either GRUB whose kernels are told these words too; those that have them stay as they are."""
    wanted = tuple(told)

    def more(match: re.Match[str]) -> str:
        lacking = [word for word in wanted if word not in match[3].split()]
        return match[1] + match[2] + " ".join((match[3].rstrip(), *lacking)) if lacking else match[0]

    return _GRUB1.sub(more, _GRUB2.sub(more, text))


def _first(text: str, kernels: re.Pattern[str], ramdisks: re.Pattern[str]) -> Entry | None:
    """The first kernel, and the initial RAM disk before the next one."""
    if not (kernel := kernels.search(text)):
        return None
    after = kernels.search(text, kernel.end())
    ramdisk = ramdisks.search(text, kernel.end(), after.start() if after else len(text))
    return Entry(_path(kernel[2]), _path(ramdisk[1].split()[0]) if ramdisk else "")


def _path(word: str) -> str:
    return posixpath.normpath(_DISK_BEFORE.sub("", word)).lstrip("/")


# -- etc/default/grub -----------------------------------------------------------------------------


def defaults(old: str | None, told: Iterable[str]) -> str:
    """The settings of update-grub, `old` with its other lines as they were; made when there are none.

    update-grub is a shell that reads them from top to bottom: only the last line of a name counts, and what is lacking comes behind them all.
    """
    if old is None:
        old = _NOTE.replace("it anew", "grub.cfg from it") + "\n" + "".join(f"{name}={value}\n" for name, value in _NEW.items())
    wanted = dict(_ALWAYS)
    last = {match[1]: match for match in _SETTING.finditer(old)}
    given = [match[2] for match in _SETTING.finditer(old) if match[1] == _COMMAND_LINE]
    wanted[_COMMAND_LINE], more = _joined(given or ['""'], told)
    new = old
    for match in sorted((last[name] for name in wanted if name in last), key=lambda each: each.start(), reverse=True):
        if match[2].strip("\"'") != wanted[match[1]].strip("\"'"):
            new = f"{new[:match.start(2)]}{wanted[match[1]]}{new[match.end(2):]}"
    lines = [f"{name}={value}\n" for name, value in wanted.items() if name not in last]
    if more:
        lines.append(f'{_COMMAND_LINE}="${_COMMAND_LINE} {more}"\n')
    return (f"{new}\n" if lines and new and not new.endswith("\n") else new) + "".join(lines)


def _joined(given: Sequence[str], told: Iterable[str]) -> tuple[str, str]:
    """The last of the given values with the words that it lacks. One that only the shell understands stays, and a later line must add those."""
    bare = given[-1].strip("\"'")
    if re.search(r"[`$\\\"']", bare):
        said = " ".join(given).replace('"', " ").split()
        return given[-1], " ".join(word for word in told if word not in said)
    lacking = [word for word in told if word not in bare.split()]
    return (f'"{" ".join((*bare.split(), *lacking))}"' if lacking else given[-1]), ""
