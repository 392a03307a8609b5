"""The logical volumes of a VPS as they are: whose data they hold, who has them open, and what room is left in their groups.

A volume counts as a VPS's disk by its exact name, and only in the group where this node's volumes
live, or where the domU's configuration names it: an admin's copy in another group is nobody's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from dtcxen_soap import lvm, stores
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.facts import DiskFact, KeptDisk, Leftover, LvmFact
from dtcxen_soap.lvm import Volume, VolumeName
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey import content as survey_content
from dtcxen_soap.vps import ImageType, VpsId

PATIENCE_SECONDS = 1.0
"""How long a volume that merely is open may be looked at by udev or blkid before that counts as use."""


@dataclass(frozen=True)
class Volumes:
    """All volumes of the node, and their groups as planners read them; none when there is no LVM, or it does not tell (`fact.trouble`)."""

    fact: LvmFact
    volumes: tuple[Volume, ...] = ()

    def ours(self) -> Iterator[tuple[Volume, VolumeName]]:
        """Volumes whose name is one of ours, with what it says."""
        for volume in self.volumes:
            if name := lvm.parse_name(volume.name):
                yield volume, name


def volumes(dom0: Dom0) -> Volumes:
    """Ask LVM. A node without it has no groups, and neither has one that is not root's; no answer where it is installed is trouble."""
    if not dom0.is_root():
        return Volumes(LvmFact())
    reports = []
    for argv in (lvm.VGS, lvm.LVS):
        ran = dom0.capture(argv)
        if ran.code == 127 and argv == lvm.VGS:
            return Volumes(LvmFact())
        if ran.code:
            return Volumes(LvmFact(trouble=f"{argv[0]} ended with code {ran.code}"))
        reports.append(ran.output)
        if argv == lvm.VGS and _no_groups(ran.output):
            return Volumes(LvmFact())
    try:
        groups, found = lvm.parse_groups(reports[0]), lvm.parse_volumes(reports[1])
    except ValueError as error:
        return Volumes(LvmFact(trouble=str(error)))
    return Volumes(LvmFact(lvm.volume_groups(groups, found)), found)


def _no_groups(report: str) -> bool:
    """Without a group there is no volume to ask for."""
    try:
        return not lvm.parse_groups(report)
    except ValueError:
        return False


def disks(dom0: Dom0, found: Volumes, settings: Settings, vps: VpsId, named: tuple[str, ...]) -> tuple[DiskFact, ...]:
    """The VPS's volumes; `named` are the paths that its configuration names."""
    return tuple(_disk(dom0, volume, name) for volume, name in _of(found, settings, vps, named) if name.is_disk)


def _of(found: Volumes, settings: Settings, vps: VpsId, named: tuple[str, ...]) -> Iterator[tuple[Volume, VolumeName]]:
    """All volumes with a name of the VPS, where such a volume is a disk of it."""
    mine = [(volume, name) for volume, name in found.ours() if name.vps == vps]
    homes = {volume.vg for volume, _ in mine if {volume.path, lvm.mapper_path(volume.vg, volume.name)} & set(named)}
    with contextlib.suppress(ValueError):
        homes.add(stores.chosen_group(settings, found.fact.groups).name)
    return ((volume, name) for volume, name in mine if volume.vg in homes)


def _disk(dom0: Dom0, volume: Volume, name: VolumeName) -> DiskFact:
    return DiskFact(
        name.role, volume.path, volume.size_bytes, _blank(dom0, volume), _in_use(dom0, volume), ImageType.LVM, lvm.UNZEROED in volume.tags, pool=volume.pool)


def _blank(dom0: Dom0, volume: Volume) -> bool:
    """Whether nobody ever used it: a thin volume tells by itself; any other by our mark, and by having no signature.

    A volume that is not overwritten yet no guest has seen; what is found in it is an earlier owner's.
    """
    if volume.pool:
        return volume.data_percent == 0
    return lvm.UNUSED in volume.tags and (lvm.UNZEROED in volume.tags or not survey_content.content(dom0, volume.path))


def _in_use(dom0: Dom0, volume: Volume) -> str:
    """Who has it open, when LVM counts an open; what only looks into it is given a moment to go."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while volume.is_open and (claims := dom0.claims(volume.path)):
        if time.monotonic() > deadline or not all(claim.startswith("open") for claim in claims):
            return ", ".join(claims)
        time.sleep(0.2)
    return ""


def kept(found: Volumes, vps: VpsId, tenancy: int) -> tuple[KeptDisk, ...]:
    """What was set aside for this tenancy of the VPS."""
    return tuple(_kept(volume, name) for volume, name in found.ours() if name.since and (name.vps, name.tenancy) == (vps, tenancy))


def all_kept(found: Volumes) -> tuple[KeptDisk, ...]:
    """What was set aside on this node, whosever it was."""
    return tuple(_kept(volume, name) for volume, name in found.ours() if name.since)


def _kept(volume: Volume, name: VolumeName) -> KeptDisk:
    assert name.since is not None
    return KeptDisk(volume.path, volume.size_bytes, name.since, name.role, ImageType.LVM, volume.pool)


def doomed(found: Volumes) -> tuple[str, ...]:
    """Paths of volumes that wait to be overwritten and removed."""
    return tuple(volume.path for volume in found.volumes if lvm.is_doomed(volume.name))


def leftovers(found: Volumes, settings: Settings, vps: VpsId, named: tuple[str, ...]) -> tuple[Leftover, ...]:
    """What an interrupted plan left beside the VPS's disks."""
    return tuple(Leftover(volume.path, ImageType.LVM, volume.pool) for volume, name in _of(found, settings, vps, named) if name.beside)
