"""A kernel in the VPS's own file system, for the modes whose loader takes it from there: pvh-grub, pv-grub and pygrub.

The tree's own kernel where it has one, the newest; else the node's is copied in with its modules.
A kernel that the mode's loader cannot read is told here, while the old system still stands. The
menu of GRUB that an image brings stays when it starts a kernel that is there, and its kernels are
told their console and that eth0 keeps its name; else it is ours. Debian's GRUB images for Xen
(grub-xen-host 2.06) look for /boot/grub/grub.cfg and /grub/grub.cfg only; pygrub reads menu.lst too.
"""

from __future__ import annotations

import re

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install import grubmenu, kernelimage
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.install.originals import keep, kept
from dtcxen_soap.plans import Look, Step, TreeCopy, TreeCopyFile, TreeWrite
from dtcxen_soap.vps import BootMode

MODES = (BootMode.PVH_GRUB, BootMode.PV_GRUB, BootMode.PYGRUB)
"""Modes in which the kernel is the guest's own."""
MENU, OLD_MENU, DEFAULTS = "boot/grub/grub.cfg", "boot/grub/menu.lst", "etc/default/grub"
TEXTS = (MENU, OLD_MENU, DEFAULTS)
_UPDATERS = ("usr/sbin/update-grub", "usr/sbin/grub-mkconfig", "usr/bin/grub-mkconfig", "usr/sbin/grub2-mkconfig")
GLOBS = ("boot/*", "initrd*", *_UPDATERS, *(kept(path) for path in TEXTS))
HEADS = ("boot/vmlinuz*", "boot/vmlinux*", "boot/bzImage*", "boot/kernel*", "vmlinuz*")

_KERNEL = re.compile(r"boot/vmlinuz(?:-(?P<release>[A-Za-z0-9._+-]+))?")
_ASIDE = re.compile(r"\.(?:old|bak|orig|new|tmp|hmac|sig|signed|dpkg-\w+|rpm\w+)$")
_RAMDISKS = ("boot/initrd.img-{0}", "boot/initramfs-{0}.img", "boot/initrd-{0}.img", "boot/initrd-{0}", "boot/initramfs-{0}")
"""Debian's and Ubuntu's; Fedora's and Arch's; CentOS 5's; SUSE's; Alpine's and Gentoo's."""
_ONLY_RAMDISKS = ("boot/initrd.img", "boot/initramfs.img", "boot/initrd", "boot/initramfs")
_WEIGHT = 3


def steps(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """What the tree lacks to boot by itself. Failed when there is no kernel to be had, or none that the mode can start.

    A kernel that has to be copied in is looked at, like any other, once it is there.
    """
    if guest.vps.boot not in MODES:
        return ()
    told = grubmenu.words(guest.vps.extra)
    if menu := _serving(guest, tree):
        return (*_told(guest, tree, menu, told), *_defaults(guest, tree, told))
    if made := _own(guest, tree, told):
        return made
    _refuse_without_kernel(guest)
    return (*_copies(guest), Look(why="Let the system start by the node's kernel.", tree=guest.tree, decide=lambda after: _copied(guest, after, told),
                                  texts=TEXTS, globs=GLOBS, heads=HEADS))


# -- the image's own menu -------------------------------------------------------------------------


def _told(guest: Guest, tree: TreeFact, path: str, told: tuple[str, ...]) -> tuple[Step, ...]:
    """The menu that the image brings, with what its kernels must be told."""
    new = grubmenu.telling(tree.texts[path], told)
    if new == tree.texts[path]:
        return ()
    write = TreeWrite(why=f"Tell the kernels of /{path} their console and their card.", tree=guest.tree, path=path, content=new, mode=0o600)
    return (*keep(guest.tree, path, tree, new, 0o600), write)


def _serving(guest: Guest, tree: TreeFact) -> str:
    """The menu that the mode's loader reads, when it starts a kernel that is there. Failed when the loader cannot read that kernel."""
    pygrub = guest.vps.boot is BootMode.PYGRUB
    if MENU in tree.texts:
        path, entry = MENU, grubmenu.entry(tree.texts[MENU]) if not pygrub or grubmenu.for_pygrub(tree.texts[MENU]) else None
    elif pygrub and OLD_MENU in tree.texts:
        path, entry = OLD_MENU, grubmenu.old_entry(tree.texts[OLD_MENU])
    else:
        return ""
    if entry is None or entry.kernel not in tree.heads or (entry.ramdisk and not tree.has(entry.ramdisk)):
        return ""
    _judge(guest, tree, entry.kernel)
    return path


# -- a menu of ours -------------------------------------------------------------------------------


def _own(guest: Guest, tree: TreeFact, told: tuple[str, ...]) -> tuple[Step, ...]:
    """A menu for the newest kernel of the tree; nothing when there is no kernel."""
    entry = newest(tree)
    if entry is None:
        return ()
    _judge(guest, tree, entry.kernel)
    menu = grubmenu.render(entry, told)
    write = TreeWrite(why=f"Let GRUB start /{entry.kernel}.", tree=guest.tree, path=MENU, content=menu, mode=0o600)
    return (*keep(guest.tree, MENU, tree, menu, 0o600), write, *_defaults(guest, tree, told))


def newest(tree: TreeFact) -> grubmenu.Entry | None:
    """The tree's newest kernel by its release, with its initial RAM disk; /boot/vmlinuz when none has a release."""
    found = [match for path in tree.heads if not _ASIDE.search(path) and (match := _KERNEL.fullmatch(path))]
    if not found:
        return None
    kernel = max(found, key=lambda match: _version(match["release"] or ""))
    release = kernel["release"]
    places = tuple(place.format(release) for place in _RAMDISKS) if release else _ONLY_RAMDISKS
    return grubmenu.Entry(kernel[0], next((place for place in places if tree.has(place)), ""))


def _version(release: str) -> tuple[tuple[int, int, str], ...]:
    """A release to compare by: numbers as numbers, and a release candidate before what it is one for."""
    parts: list[tuple[int, int, str]] = []
    for part in re.findall(r"[0-9]+|[A-Za-z]+", release):
        parts.append((2, int(part), "") if part.isdigit() else (-1 if part == "rc" else 1, 0, part))
    return (*parts, (0, 0, ""))


def _judge(guest: Guest, tree: TreeFact, kernel: str) -> None:
    if obstacle := kernelimage.obstacle(kernelimage.parse(tree.heads[kernel]), guest.vps.boot):
        raise Failed("Choose the kernel that the VPS starts.", f"/{kernel} cannot be started with boot mode {guest.vps.boot.value}: {obstacle}")


# -- the node's kernel ----------------------------------------------------------------------------


def _refuse_without_kernel(guest: Guest) -> None:
    if not guest.node_kernel:
        raise Failed(
            "Choose the kernel that the VPS starts.",
            f"the new system has no kernel in /boot and the node has none to give, so boot mode {guest.vps.boot.value} has nothing to start: "
            f"install a kernel on the node, use an image with a kernel, or boot mode {BootMode.DIRECT.value}")


def _copies(guest: Guest) -> tuple[Step, ...]:
    """The node's kernel, its initial RAM disk and its modules, under the names of their release."""
    release = guest.kernel_release
    made: tuple[Step, ...] = (TreeCopyFile(
        why=f"The system has no kernel of its own: copy the node's, {release}.", tree=guest.tree, source=guest.node_kernel, path=f"boot/vmlinuz-{release}"),)
    if guest.node_ramdisk:
        made += (TreeCopyFile(
            why="Copy its initial RAM disk.", tree=guest.tree, source=guest.node_ramdisk, path=_RAMDISKS[0].format(release), mode=0o600),)
    return (*made, *modules(guest))


def modules(guest: Guest) -> tuple[Step, ...]:
    """The modules of the node's kernel, for a VPS that runs it."""
    if not guest.modules:
        return ()
    return (TreeCopy(why=f"Copy the modules of kernel {guest.kernel_release}.", tree=guest.tree, source=guest.modules, into="lib/modules", weight=_WEIGHT),)


def _copied(guest: Guest, tree: TreeFact, told: tuple[str, ...]) -> tuple[Step, ...]:
    """A menu for the kernel that was just copied in."""
    made = _own(guest, tree, told)
    if not made:
        raise Failed("Choose the kernel that the VPS starts.", f"{guest.node_kernel} was copied into the new system and is no kernel there")
    return made


# -- the owner's update-grub ----------------------------------------------------------------------


def _defaults(guest: Guest, tree: TreeFact, told: tuple[str, ...]) -> tuple[Step, ...]:
    """etc/default/grub, so that a menu which the owner's system makes serves as well as this one; made only where something reads it."""
    old = tree.texts.get(DEFAULTS)
    if old is None and not any(tree.has(path) for path in _UPDATERS):
        return ()
    new = grubmenu.defaults(old, told)
    if new == old:
        return ()
    write = TreeWrite(why="Let update-grub make menus that start under Xen: /etc/default/grub.", tree=guest.tree, path=DEFAULTS, content=new)
    return (*keep(guest.tree, DEFAULTS, tree, new), write)
