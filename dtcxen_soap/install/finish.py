"""What every new system gets, whoever put it on the disk: planned over the tree as it is, by one Look.

Each noun has a module that says which files it must see (TEXTS, GLOBS) and which steps follow.
Everything is written by us through links that stay inside; of the guest's programs only its own
ssh-keygen runs, chrooted and contained. depmod does not: the modules come with the lists that
dom0's depmod made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install import adminfiles, appliance, bootfiles, clouddata, console, firstboot, fstab, guestkernel, identity, network
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import Look, Step, TreeWrite
from dtcxen_soap.vps import BootMode

__all__ = ["LOOK_HEADS", "LOOK_PATHS", "LOOK_TEXTS", "Guest", "finish", "look"]

_ROOMS = (fstab, bootfiles, guestkernel, identity, network, console, adminfiles, clouddata, appliance, firstboot)
LOOK_TEXTS = tuple(dict.fromkeys(path for room in _ROOMS for path in room.TEXTS))
"""Files whose text Look must hand over."""
LOOK_PATHS = tuple(dict.fromkeys(("etc", *(pattern for room in _ROOMS for pattern in room.GLOBS))))
"""Patterns of paths whose existence Look must tell."""
LOOK_HEADS = guestkernel.HEADS
"""Patterns of files whose beginning Look must hand over."""
_WEIGHT = 5


def look(guest: Guest, *, own_network: bool = False) -> Step:
    """The step that finishes the tree; with `own_network` a script of the bundle sets up the network after it."""
    return Look(
        why="Finish the new system: disks, names, network, console, password, keys.", tree=guest.tree, decide=finish(guest, own_network=own_network),
        texts=LOOK_TEXTS, globs=LOOK_PATHS, heads=LOOK_HEADS, weight=_WEIGHT)


def finish(guest: Guest, *, own_network: bool = False) -> Callable[[TreeFact], tuple[Step, ...]]:
    """A planner over the tree's facts. Failed when there is no system in the tree."""
    def decide(tree: TreeFact) -> tuple[Step, ...]:
        if not tree.has("etc"):
            raise Failed("Finish the new system.", "the tree has no /etc: what ran before this left no system there")
        net = network.steps_before_script(guest, tree) if own_network else network.steps(guest, tree)
        boot = bootfiles.steps(guest, tree)
        return (
            *fstab.steps(guest, tree), *boot, *guestkernel.steps(guest, _after(tree, boot)), *identity.steps(guest, tree), *net, *console.steps(guest, tree),
            *adminfiles.steps(guest, tree), *clouddata.steps(guest, tree), *appliance.steps(guest, tree), *firstboot.steps(guest, tree),
            *_modules(guest), *identity.package_keys(guest, tree), *identity.host_keys(guest, tree))
    return decide


def _after(tree: TreeFact, steps: tuple[Step, ...]) -> TreeFact:
    """The tree as it will be once these steps have written their files."""
    written = {step.path: str(step.content) for step in steps if isinstance(step, TreeWrite)}
    return dataclasses.replace(tree, texts={**tree.texts, **written}, paths=tree.paths | written.keys())


def _modules(guest: Guest) -> tuple[Step, ...]:
    """The modules of the kernel that dom0 boots the VPS with; in other modes they come with the kernel."""
    return guestkernel.modules(guest) if guest.vps.boot is BootMode.DIRECT else ()
