"""The file-backed disks of a VPS as they are: whose data they hold, who holds them, and what room is left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.facts import DiskFact, KeptDisk, Leftover, Room
from dtcxen_soap.imagefiles import KEPT_STAMP, file_name
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import DiskRole, VpsId

BLOCK_BYTES = 512
_KEPT = re.compile(r"xen(?P<vps>[0-9]{2,4})(?P<swap>\.swap)?\.img\.(?P<tenancy>[0-9]{1,9})\.(?P<stamp>[0-9]{8}T[0-9]{6}Z)")
_LEFT = "|".join(("new", "old", "failed"))
_MAY_GROW = re.compile(rf".*\.img(\.({_LEFT}))?")


def disks(dom0: Dom0, settings: Settings, vps: VpsId) -> tuple[DiskFact, ...]:
    """Whatever has the name of one of the VPS's disks, be it no regular file: such a thing counts as used."""
    paths = ((role, f"{settings.provisioning_mount_point}/{file_name(vps, role)}") for role in DiskRole)
    return tuple(_disk(dom0, role, path) for role, path in paths if dom0.exists(path))


def _disk(dom0: Dom0, role: DiskRole, path: str) -> DiskFact:
    try:
        size = dom0.stat(path).st_size
    except FileNotFoundError:
        return DiskFact(role, path, 0, blank=False)
    in_use = ", ".join(dom0.loop_devices_of(path))
    return DiskFact(role, path, size, dom0.is_regular(path) and dom0.blank(path), f"attached to {in_use}" if in_use else "")


def kept(dom0: Dom0, settings: Settings, vps: VpsId, tenancy: int) -> tuple[KeptDisk, ...]:
    """What was set aside for this tenancy of the VPS."""
    return tuple(disk for whose, disk in _all_kept(dom0, settings) if whose == (vps, tenancy))


def all_kept(dom0: Dom0, settings: Settings) -> tuple[KeptDisk, ...]:
    """What was set aside on this node, whosever it was."""
    return tuple(disk for _, disk in _all_kept(dom0, settings))


def _all_kept(dom0: Dom0, settings: Settings) -> Iterator[tuple[tuple[VpsId, int], KeptDisk]]:
    """Set-aside disks with their VPS and tenancy; names that ImageFiles.kept does not make are nobody's."""
    directory = f"{settings.provisioning_mount_point}/kept"
    for name in dom0.listdir(directory):
        path = f"{directory}/{name}"
        if (match := _KEPT.fullmatch(name)) and dom0.is_regular(path):
            try:
                since = datetime.strptime(match["stamp"], KEPT_STAMP).replace(tzinfo=UTC)
                owner = VpsId(int(match["vps"])), int(match["tenancy"])
            except ValueError:
                continue
            yield owner, KeptDisk(path, dom0.stat(path).st_size, since, DiskRole.SWAP if match["swap"] else DiskRole.ROOT)


def leftovers(dom0: Dom0, settings: Settings, vps: VpsId) -> tuple[Leftover, ...]:
    """What an interrupted installation left beside the VPS's disks: unfinished ones, and old ones that were not dropped yet."""
    mine = re.compile(rf"{vps.name}(\.swap)?\.img\.({_LEFT})")
    directory = settings.provisioning_mount_point
    return tuple(Leftover(f"{directory}/{name}") for name in dom0.listdir(directory) if mine.fullmatch(name))


def room(dom0: Dom0, settings: Settings) -> Room:
    """Free space of the image files' file system, and what image files there, of whatever VPS, may still grow by.

    A reserved file is promised nothing, until a mkfs has discarded what it does not need: then its
    holes count again.
    """
    directory = settings.provisioning_mount_point
    paths = (f"{directory}/{name}" for name in dom0.listdir(directory) if _MAY_GROW.fullmatch(name))
    promised = 0
    for path in paths:
        if dom0.is_regular(path):
            status = dom0.stat(path)
            promised += max(0, status.st_size - status.st_blocks * BLOCK_BYTES)
    return Room(dom0.free_bytes(directory), promised)
