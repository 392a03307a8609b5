"""What every new system gets, whoever installed it: planned over the tree once it exists.

Disks, names, console, network, root's password, the admin's texts, kernel modules. Everything is
decided here from the tree's facts; the steps write inside the tree and follow no link out of it.
"""

from __future__ import annotations

from dtcxen_soap.facts import TreeFact
from dtcxen_soap.guestnet import choose
from dtcxen_soap.install import console, devices, identity
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import Look, Step, TreeCopy, TreeDirectory, TreePassword, TreeRemove, TreeSymlink, TreeWrite

TEXTS = ("etc/fstab", *devices.BOOT_FILES, *identity.TEXTS, *console.TEXTS, *choose.TEXTS)
GLOBS = (*identity.GLOBS, *console.GLOBS, *choose.GLOBS)


def look(guest: Guest, *, network: bool = True) -> Look:
    """The step that finishes a tree. Without `network` its files are left to whoever writes them (setup_network)."""
    return Look(
        why="Make the system this VPS's own.", tree=guest.tree, texts=TEXTS, globs=GLOBS, weight=4,
        decide=lambda tree: (*steps(guest, tree), *(network_steps(guest, tree) if network else ())))


def steps(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """All but the network."""
    return (
        *_disks(guest, tree), *identity.steps(guest, tree), *console.steps(guest, tree), *_texts(guest), *_modules(guest),
        TreePassword(why="Set root's password.", tree=guest.tree, user="root", password=guest.password))


def network_steps(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """The network files of the system that the tree has; Failed when it has none that we know."""
    gone = tuple(TreeRemove(why="Remove a file that would fight over the network card.", tree=guest.tree, path=path) for path in choose.stale(tree))
    files = tuple(
        TreeWrite(why=f"Write the network into {file.path}.", tree=guest.tree, path=file.path, content=file.text, mode=file.mode)
        for file in choose.render_for(tree, guest.network, hostname=guest.hostname))
    links = tuple(
        TreeSymlink(why="Bring the network up at boot.", tree=guest.tree, path=path, target=target) for path, target in choose.links_for(tree))
    return (*gone, *files, *links)


def _disks(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """fstab and boot loader on xvda and xvdb; what an image brought stays beside as .dtcxen-orig."""
    old = tree.texts.get("etc/fstab", "")
    made: list[Step] = _changed(guest, "etc/fstab", old, devices.fstab(old, guest.fstype, guest.has_swap), "Mount this VPS's own disks.")
    for path in devices.BOOT_FILES:
        if path in tree.texts:
            made += _changed(guest, path, tree.texts[path], devices.boot_text(tree.texts[path]), f"Boot from this VPS's own disk ({path}).")
    return tuple(made)


def _changed(guest: Guest, path: str, old: str, new: str, why: str) -> list[Step]:
    if old == new:
        return []
    keep = TreeWrite(why=f"Keep the image's {path}.", tree=guest.tree, path=f"{path}.dtcxen-orig", content=old)
    return [*([keep] if old.strip() else []), TreeWrite(why=why, tree=guest.tree, path=path, content=new)]


def _texts(guest: Guest) -> tuple[Step, ...]:
    """The admin's motd, bashrc and keys; both names of the key file, since old sshds read the second."""
    made: list[Step] = []
    if guest.motd is not None:
        made.append(TreeWrite(why="Greet with the node's own text.", tree=guest.tree, path="etc/motd", content=guest.motd))
    if guest.bashrc is not None:
        made.append(TreeWrite(why="Give root the node's bashrc.", tree=guest.tree, path="root/.bashrc", content=guest.bashrc))
    if guest.authorized_keys is not None:
        made.append(TreeDirectory(why="Have a place for root's keys.", tree=guest.tree, path="root/.ssh", mode=0o700))
        made += [
            TreeWrite(why="Let the node's admins in.", tree=guest.tree, path=f"root/.ssh/{name}", content=guest.authorized_keys, mode=0o600)
            for name in ("authorized_keys", "authorized_keys2")]
    return tuple(made)


def _modules(guest: Guest) -> tuple[Step, ...]:
    """The modules of the kernel that boots this VPS; dom0's copy has their index already."""
    if not guest.modules:
        return ()
    return (TreeCopy(why=f"Bring the modules of kernel {guest.kernel_release}.", tree=guest.tree, source=guest.modules, into="lib/modules", weight=2),)
