"""Where disks live: image files, a volume group, a thin pool; one interface to all, so that planners need not know which.

`chosen` says where new disks go, `of` whose a disk is that exists: by its own path, not by what the
settings say today. Beside a disk, both kinds call the unfinished one path.new, the one that was
replaced path.old, and the one that failed path.failed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from dtcxen_soap import lvm
from dtcxen_soap.errors import Failed, ParameterFault, Refused
from dtcxen_soap.facts import DiskFact, Facts, KeptDisk, Leftover, ThinPool, VolumeGroup
from dtcxen_soap.imagefiles import ImageFiles
from dtcxen_soap.plans import IMAGE_FILES, Step
from dtcxen_soap.settings import Settings
from dtcxen_soap.volumes import Volumes
from dtcxen_soap.vps import DiskRole, ImageType, Mib, VpsId


class Store(Protocol):
    """Where disks of one kind live. `place` is for messages; all steps come with their undo."""

    @property
    def image_type(self) -> ImageType:
        """lvm or vbd."""

    @property
    def place(self) -> str:
        """A directory, "volume group vg0", "thin pool vg0/pool"."""

    def path(self, vps: VpsId, role: DiskRole) -> str:
        """Where a VPS's disk is, or would be."""

    def size_bytes(self, size: Mib) -> int:
        """How large a disk of that size really becomes."""

    def lacking(self, wanted: Mib) -> int:
        """How many bytes are lacking for so much more, counting what other plans will still take; 0: it fits."""

    def prepare(self) -> tuple[Step, ...]:
        """What must be there before the first disk is made."""

    def make(self, path: str, size: Mib, why: str, *, zero: bool = True) -> tuple[Step, ...]:
        """Make a disk that reads as zeros; with `zero` false what that takes is left for later, and the disk says so (unzeroed)."""

    def zero(self, path: str, size: Mib) -> tuple[Step, ...]:
        """Make an unzeroed disk read as zeros; nothing for kinds that never need it."""

    def used(self, path: str) -> tuple[Step, ...]:
        """Take the mark "never used" off, before anything is written."""

    def remove(self, path: str, why: str, destroys: str = "", *, may_fail: bool = False, at_once: bool = False) -> tuple[Step, ...]:
        """Remove for good; an ordinary volume is only doomed (volumes.leaves_work), and overwritten by the housekeeping, unless its room is wanted at once."""

    def rename(self, source: str, target: str, why: str, undo_why: str = "", *, may_fail: bool = False) -> tuple[Step, ...]:
        """Rename; undone only where `undo_why` says why."""

    def exchange(self, source: str, target: str, keep: str, why: str, undo_why: str) -> tuple[Step, ...]:
        """Put `source` in the place of `target`, which lives on as `keep`."""

    def kept(self, path: str, tenancy: int, now: datetime) -> str:
        """The name under which a disk is set aside: none that a domU uses."""


def chosen(image_type: ImageType | None, operation: str, parameter: str, settings: Settings, facts: Facts) -> Store:
    """Where new disks of a type go, the node's default when it is None. Refused by `parameter` where the node cannot; Failed when LVM does not tell."""
    if (image_type or settings.default_image_type) is ImageType.VBD:
        return image_files(settings, facts)
    if facts.lvm.trouble:
        raise Failed(f"{operation}: see what volume groups there are.", facts.lvm.trouble)
    try:
        group = chosen_group(settings, facts.lvm.groups)
        return _volumes(group, _chosen_pool(settings, group), settings, facts)
    except ValueError as error:
        raise Refused(ParameterFault(operation, parameter, "InvalidParameter", f"lvm: {error}", "vbd, or the node's admin must settle it")) from None


def chosen_group(settings: Settings, groups: tuple[VolumeGroup, ...]) -> VolumeGroup:
    """The group of new volumes: the named one, else the only one. ValueError when there is none, or nobody says which."""
    names = ", ".join(sorted(group.name for group in groups))
    if not groups:
        raise ValueError("this node has no volume group")
    wanted = settings.provisioning_volgroup
    fitting = [group for group in groups if group.name == wanted] if wanted else list(groups)
    if not fitting:
        raise ValueError(f"this node has no volume group {wanted} (provisioning_volgroup), only {names}")
    if len(fitting) > 1:
        raise ValueError(f"this node has several volume groups ({names})" + ("" if wanted else ", and provisioning_volgroup names none"))
    return fitting[0]


def _chosen_pool(settings: Settings, group: VolumeGroup) -> ThinPool | None:
    """The pool of new volumes: the named one, else the group's only one; None for ordinary volumes. ValueError as above."""
    names = ", ".join(pool.name for pool in group.pools)
    wanted = settings.thin_pool
    if wanted == "none" or not (wanted or group.pools):
        return None
    fitting = [pool for pool in group.pools if pool.name == wanted] if wanted else list(group.pools)
    if not fitting:
        raise ValueError(f"volume group {group.name} has no thin pool {wanted} (thin_pool)" + (f", only {names}" if names else ""))
    if len(fitting) > 1:
        raise ValueError(f"volume group {group.name} has several thin pools ({names}), and thin_pool names none")
    if not fitting[0].zeroes:
        raise ValueError(f"thin pool {group.name}/{fitting[0].name} does not zero new blocks (lvchange --zero y): a guest could read another's")
    return fitting[0]


def of(disk: DiskFact | KeptDisk | Leftover, settings: Settings, facts: Facts) -> Store:
    """Where a disk lives that exists. Failed when it is a volume and its group is not known."""
    name = lvm.split_path(disk.path) if disk.image_type is ImageType.LVM else None
    if name is None:
        return image_files(settings, facts)
    for group in facts.lvm.groups:
        if group.name == name[0]:
            return _volumes(group, next((pool for pool in group.pools if pool.name == disk.pool), None), settings, facts)
    raise Failed(f"See where {disk.path} lives.", facts.lvm.trouble or f"LVM knows no volume group {name[0]}")


def image_files(settings: Settings, facts: Facts) -> Store:
    """The store of file-backed disks."""
    return ImageFiles(settings.provisioning_mount_point, facts.room, facts.reserved.get(IMAGE_FILES, 0), settings.overcommit)


def _volumes(group: VolumeGroup, pool: ThinPool | None, settings: Settings, facts: Facts) -> Store:
    assert facts.now is not None
    place = f"{group.name}/{pool.name}" if pool else group.name
    return Volumes(group, pool, facts.reserved.get(place, 0), settings.overcommit, settings.wipe_disks, facts.now)
