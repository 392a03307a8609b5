"""LVM: what to call, what its reports say, and the names that a VPS's volumes have. Pure; the edge does the calling.

Reports are asked for as JSON with named fields, in bytes. Every command line is made here, its
names checked and set after `--`. Sources: lvm(8), lvmreport(7), lvs(8), vgs(8), and what LVM 2.03
prints. Two things that its manuals do not tell were seen there: a thin volume's data_percent is
0.00 only while nothing at all was written (64 KiB of 1 TiB show as 0.01), and lvremove refuses an
open volume even with --yes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dtcxen_soap.facts import ThinPool, VolumeGroup
from dtcxen_soap.vps import DiskRole, Mib, VpsId

UNUSED, UNZEROED = "dtcxen.unused", "dtcxen.unzeroed"
"""Tags of a volume that was made and never used, and of one whose blocks may still show what an earlier owner wrote."""
ZERO_STEP = "64MiB"
"""One call of blkdiscard to the kernel cannot be interrupted: this much at a time, so that a job can be cancelled."""

_JSON = ("--reportformat", "json", "--units", "b", "--nosuffix", "--options")
VGS = ("vgs", *_JSON, "vg_name,vg_free,vg_extent_size")
LVS = ("lvs", *_JSON, "vg_name,lv_name,lv_size,lv_tags,pool_lv,segtype,data_percent,zero,lv_device_open")

_GOOD_NAME = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]*")
_RESERVED_START = ("snapshot", "pvmove")
_RESERVED_PART = re.compile(r"_(cdata|cmeta|corig|cpool|cvol|iorig|mimage|mlog|pmspare|rimage|rmeta|tdata|tmeta|tpool|vdata|vorigin|wcorig)")
_LONGEST_PATH = 126


# -- names that LVM takes -------------------------------------------------------------------------


def valid_group(name: str) -> bool:
    """Whether lvm(8) allows this as the name of a volume group."""
    return bool(_GOOD_NAME.fullmatch(name)) and name not in (".", "..") and len(name) < _LONGEST_PATH


def valid_volume(name: str) -> bool:
    """Whether lvm(8) allows this as the name of a logical volume."""
    return valid_group(name) and not name.startswith(_RESERVED_START) and not _RESERVED_PART.search(name)


def checked(vg: str, lv: str) -> str:
    """The volume as commands name it, vg/lv. ValueError for a name that LVM does not allow, so none is ever an option or a whole group."""
    if not valid_group(vg) or not valid_volume(lv) or len(vg) + len(lv) > _LONGEST_PATH:
        raise ValueError(f"{vg}/{lv} is not the name of a logical volume")
    return f"{vg}/{lv}"


def path_of(vg: str, lv: str) -> str:
    """The volume's device."""
    return f"/dev/{checked(vg, lv)}"


def split_path(path: str) -> tuple[str, str] | None:
    """The (vg, lv) of a volume's device; None for any other path."""
    match = re.fullmatch(r"/dev/([^/]+)/([^/]+)", path)
    return (match[1], match[2]) if match and valid_group(match[1]) and valid_volume(match[2]) else None


def mapper_path(vg: str, lv: str) -> str:
    """The same device's other name, which admins write into configurations as well."""
    return "/dev/mapper/" + "-".join(name.replace("-", "--") for name in (vg, lv))


# -- commands -------------------------------------------------------------------------------------


def volumes_of(vg: str) -> tuple[str, ...]:
    """Report the volumes of one group."""
    if not valid_group(vg):
        raise ValueError(f"{vg!r} is not the name of a volume group")
    return (*LVS, "--", vg)


def make(vg: str, lv: str, size: Mib, pool: str = "", tags: Iterable[str] = ()) -> tuple[str, ...]:
    """Make a volume; old signatures in it are wiped, so that nothing of an earlier life is recognised."""
    checked(vg, lv)
    marks = tuple(word for tag in tags for word in ("--addtag", tag))
    if pool:
        checked(vg, pool)
        return ("lvcreate", "--yes", "--thinpool", pool, "--virtualsize", f"{size}m", *marks, "--name", lv, "--", vg)
    return ("lvcreate", "--yes", "--wipesignatures", "y", "--zero", "y", "--size", f"{size}m", *marks, "--name", lv, "--", vg)


def remove(vg: str, lv: str) -> tuple[str, ...]:
    """Remove a volume; LVM refuses while it is open."""
    return ("lvremove", "--yes", "--", checked(vg, lv))


def rename(vg: str, source: str, target: str) -> tuple[str, ...]:
    """Rename a volume; LVM refuses a name that is taken."""
    checked(vg, source)
    checked(vg, target)
    return ("lvrename", "--yes", "--", vg, source, target)


def tag(vg: str, lv: str, add: Iterable[str], remove: Iterable[str]) -> tuple[str, ...]:
    """Add tags and take tags off; a tag that is not there is fine."""
    words = (*(word for name in add for word in ("--addtag", name)), *(word for name in remove for word in ("--deltag", name)))
    return ("lvchange", *words, "--", checked(vg, lv))


def zero(path: str) -> tuple[str, ...]:
    """Overwrite a whole device with zeros; fails while a file system on it is mounted."""
    return ("blkdiscard", "--zeroout", "--step", ZERO_STEP, "--", path)


# -- reports --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """A row of vgs."""

    name: str
    free_bytes: int
    extent_bytes: int


@dataclass(frozen=True)
class Volume:
    """A row of lvs. `data_percent` is how much of a thin volume or pool is in use, None of any other; `zeroes` is told of a pool."""

    vg: str
    name: str
    size_bytes: int
    tags: frozenset[str] = frozenset()
    pool: str = ""
    kind: str = "linear"
    data_percent: float | None = None
    zeroes: bool = False
    is_open: bool = False

    @property
    def path(self) -> str:
        """Its device."""
        return f"/dev/{self.vg}/{self.name}"

    @property
    def used_bytes(self) -> int:
        """What it takes of its pool; all of it when that is not told."""
        return self.size_bytes if self.data_percent is None else round(self.size_bytes * self.data_percent / 100)


def _rows(text: str, kind: str) -> list[dict[str, Any]]:
    """The rows of a report; ValueError when it is none, since no rows must not mean no volumes."""
    report = json.loads(text)
    try:
        return [row for part in report["report"] for row in part[kind]]
    except (KeyError, TypeError):
        raise ValueError(f"this is not a report of {kind}s") from None


def parse_groups(text: str) -> tuple[Group, ...]:
    """The rows of vgs. ValueError when they cannot be read."""
    try:
        return tuple(Group(row["vg_name"], int(row["vg_free"]), int(row["vg_extent_size"])) for row in _rows(text, "vg"))
    except (KeyError, TypeError) as error:
        raise ValueError(f"the report of volume groups lacks {error}") from None


def parse_volumes(text: str) -> tuple[Volume, ...]:
    """The rows of lvs but LVM's own hidden volumes, whose names stand in brackets. ValueError when they cannot be read."""
    try:
        return tuple(_volume(row) for row in _rows(text, "lv") if not row["lv_name"].startswith("["))
    except (KeyError, TypeError) as error:
        raise ValueError(f"the report of logical volumes lacks {error}") from None


def _volume(row: dict[str, Any]) -> Volume:
    percent = row["data_percent"]
    return Volume(
        row["vg_name"], row["lv_name"], int(row["lv_size"]), frozenset(filter(None, row["lv_tags"].split(","))), row["pool_lv"], row["segtype"],
        float(percent) if percent else None, row["zero"] == "zero", row["lv_device_open"] == "open")


def volume_groups(groups: Iterable[Group], volumes: Iterable[Volume]) -> tuple[VolumeGroup, ...]:
    """Groups with their thin pools, as planners read them."""
    known = tuple(volumes)
    return tuple(VolumeGroup(group.name, group.free_bytes, group.extent_bytes, _pools(group.name, known)) for group in groups)


def _pools(vg: str, volumes: tuple[Volume, ...]) -> tuple[ThinPool, ...]:
    return tuple(
        ThinPool(
            pool.name, pool.size_bytes, pool.size_bytes - pool.used_bytes,
            sum(volume.size_bytes - (0 if volume.data_percent is None else volume.used_bytes) for volume in volumes if (volume.vg, volume.pool) == (vg, pool.name)),
            pool.zeroes)
        for pool in volumes if pool.vg == vg and pool.kind == "thin-pool")


# -- names of a VPS's volumes ---------------------------------------------------------------------

STAMP = "%Y%m%dT%H%M%SZ"
_DOOMED_STAMP = "%Y%m%dT%H%M%S%fZ"
_NAME = re.compile(
    r"xen(?P<number>[0-9]{2,4})(?P<swap>swap)?"
    r"(\.(?P<beside>new|old|failed)|\.kept\.(?P<tenancy>[0-9]{1,9})\.(?P<since>[0-9]{8}T[0-9]{6}Z))?", re.ASCII)
_DOOMED = re.compile(r"(?P<name>.+)\.doomed\.[0-9]{8}T[0-9]{12}Z", re.ASCII)


@dataclass(frozen=True)
class VolumeName:
    """What a volume's name says: whose disk it is; `beside` (new, old, failed) for what a plan left; `since` for a kept one, with its tenancy."""

    vps: VpsId
    role: DiskRole
    beside: str = ""
    tenancy: int = 0
    since: datetime | None = None

    @property
    def is_disk(self) -> bool:
        """Whether this is the disk itself, not one beside it."""
        return not self.beside and self.since is None


def volume_name(vps: VpsId, role: DiskRole) -> str:
    """The original's names: xen01, xen01swap."""
    return vps.name + ("swap" if role is DiskRole.SWAP else "")


def kept_name(name: str, tenancy: int, now: datetime) -> str:
    """The name under which a volume is set aside: no domU uses it."""
    return f"{name}.kept.{tenancy}.{now:{STAMP}}"


def doomed_name(name: str, now: datetime) -> str:
    """The name of a volume that is to be overwritten and removed; exact to the microsecond, for numbers are used again at once."""
    return f"{name}.doomed.{now:{_DOOMED_STAMP}}"


def parse_name(name: str) -> VolumeName | None:
    """Whose volume a name means; None for one that is not exactly ours, as xen1, xen010, xen01-copy."""
    match = _NAME.fullmatch(name)
    if not match or not int(match["number"]):
        return None
    vps = VpsId(int(match["number"]))
    if match["number"] != str(vps):
        return None
    try:
        since = datetime.strptime(match["since"], STAMP).replace(tzinfo=UTC) if match["since"] else None
    except ValueError:
        return None
    return VolumeName(vps, DiskRole.SWAP if match["swap"] else DiskRole.ROOT, match["beside"] or "", int(match["tenancy"] or 0), since)


def is_doomed(name: str) -> bool:
    """Whether this is a volume of ours that waits for its end."""
    match = _DOOMED.fullmatch(name)
    return bool(match and parse_name(match["name"]))
