"""Disks on logical volumes (lvm): the original's xenNN and xenNNswap in one volume group, ordinary or in a thin pool.

A new ordinary volume consists of blocks that anybody may have written before. It carries the tag
"unzeroed" until a job has overwritten it, and no guest may see it until then. A pool that zeroes
makes that needless. What is removed from a group is first renamed and overwritten by the node's
housekeeping (wipe_disks), so that a caller does not wait for hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dtcxen_soap import lvm
from dtcxen_soap.facts import ThinPool, VolumeGroup
from dtcxen_soap.plans import ExchangeVolume, MakeVolume, RemoveVolume, RenameVolume, Run, Step, TagVolume
from dtcxen_soap.vps import DiskRole, ImageType, Mib, VpsId

SLOWEST_MIB_PER_SECOND = 5
SHORTEST_SECONDS = 600


@dataclass(frozen=True)
class Volumes:
    """The Store of one volume group, or of a thin pool in it; `reserved` is what admitted plans will still take, in bytes.

    `now` names what is doomed. `wipes`: ordinary volumes are overwritten before they go.
    """

    group: VolumeGroup
    pool: ThinPool | None
    reserved: int
    overcommit: bool
    wipes: bool
    now: datetime
    image_type: ImageType = ImageType.LVM

    @property
    def place(self) -> str:
        """As a caller reads it."""
        return f"thin pool {self.group.name}/{self.pool.name}" if self.pool else f"volume group {self.group.name}"

    @property
    def clean(self) -> bool:
        """Whether new volumes read as zeros by themselves."""
        return self.pool is not None and self.pool.zeroes

    def path(self, vps: VpsId, role: DiskRole) -> str:
        """The volume's device."""
        return lvm.path_of(self.group.name, lvm.volume_name(vps, role))

    def size_bytes(self, size: Mib) -> int:
        """LVM rounds up to whole extents."""
        return -(-size.bytes // self.group.extent_bytes) * self.group.extent_bytes

    def lacking(self, wanted: Mib) -> int:
        """How many bytes are lacking for `wanted` more; 0 when they fit, or when a pool may be overcommitted."""
        if self.pool is None:
            return max(0, self.size_bytes(wanted) - (self.group.free_bytes - self.reserved))
        free = self.pool.free_bytes - self.pool.promised_bytes - self.reserved
        return 0 if self.overcommit else max(0, self.size_bytes(wanted) - free)

    def prepare(self) -> tuple[Step, ...]:
        """Nothing: the group is there."""
        return ()

    def make(self, path: str, size: Mib, why: str, *, zero: bool = True) -> tuple[Step, ...]:
        """Make a volume and, unless its blocks are clean by themselves or `zero` is false, overwrite it."""
        vg, lv = self._name(path)
        tags = (lvm.UNUSED,) if self.clean else (lvm.UNUSED, lvm.UNZEROED)
        back = RemoveVolume(why=f"Remove the unfinished {path}.", vg=vg, lv=lv)
        whole = Mib(-(-self.size_bytes(size) >> 20))
        made = MakeVolume(why=why, vg=vg, lv=lv, size=whole, pool=self.pool.name if self.pool else "", tags=tags, undo=(back,))
        return (made, *self.zero(path, size)) if zero else (made,)

    def zero(self, path: str, size: Mib) -> tuple[Step, ...]:
        """Overwrite a volume that is tagged as unzeroed, and take the tag off."""
        if self.clean:
            return ()
        vg, lv = self._name(path)
        seconds = max(SHORTEST_SECONDS, size // SLOWEST_MIB_PER_SECOND)
        return (Run(why=f"Overwrite {path} with zeros: its blocks may show what an earlier owner wrote.", argv=lvm.zero(path), timeout_seconds=seconds, weight=3),
                TagVolume(why=f"Note that {path} is clean.", vg=vg, lv=lv, remove=(lvm.UNZEROED,)))

    def used(self, path: str) -> tuple[Step, ...]:
        """Note that the volume is in use from now on."""
        vg, lv = self._name(path)
        return (TagVolume(why=f"Note that {path} is in use.", vg=vg, lv=lv, remove=(lvm.UNUSED,)),)

    def remove(self, path: str, why: str, destroys: str = "", *, may_fail: bool = False, at_once: bool = False) -> tuple[Step, ...]:
        """Remove for good: an ordinary volume under a name of the doomed, where wipe_disks has it overwritten first."""
        vg, lv = self._name(path)
        wipe = self.wipes and not self.pool
        if at_once or not wipe:
            return (RemoveVolume(why=why, vg=vg, lv=lv, wipe=wipe, destroys=destroys, may_fail=may_fail, weight=3 if wipe else 1),)
        return (RenameVolume(why=why, vg=vg, source=lv, target=lvm.doomed_name(lv, self.now), destroys=destroys, may_fail=may_fail),)

    def rename(self, source: str, target: str, why: str, undo_why: str = "", *, may_fail: bool = False) -> tuple[Step, ...]:
        """Rename, and back if the plan fails and `undo_why` says why."""
        (vg, old), (_, new) = self._name(source), self._name(target)
        back = (RenameVolume(why=undo_why, vg=vg, source=new, target=old),) if undo_why else ()
        return (RenameVolume(why=why, vg=vg, source=old, target=new, undo=back, may_fail=may_fail),)

    def exchange(self, source: str, target: str, keep: str, why: str, undo_why: str) -> tuple[Step, ...]:
        """Swap in, and out again if the plan fails."""
        (vg, new), (_, name), (_, old) = self._name(source), self._name(target), self._name(keep)
        failed = f"{name}.failed"
        back = (ExchangeVolume(why=undo_why, vg=vg, source=old, target=name, keep=failed), RemoveVolume(why="Remove the one that failed.", vg=vg, lv=failed))
        return (ExchangeVolume(why=why, vg=vg, source=new, target=name, keep=old, undo=back),)

    def kept(self, path: str, tenancy: int, now: datetime) -> str:
        """Beside the others, with tenancy and UTC time in its name."""
        vg, lv = self._name(path)
        return lvm.path_of(vg, lvm.kept_name(lv, tenancy, now))

    def _name(self, path: str) -> tuple[str, str]:
        """A path of this group as (vg, lv); ValueError for any other, which is a planner's mistake."""
        name = lvm.split_path(path)
        if name is None or name[0] != self.group.name:
            raise ValueError(f"{path} is no volume of {self.group.name}")
        return name


def wipe(path: str, may_fail: bool = True) -> Step:
    """End a doomed volume: overwrite it, and only then remove it."""
    name = lvm.split_path(path)
    assert name is not None
    return RemoveVolume(why=f"Overwrite and remove {path}.", vg=name[0], lv=name[1], wipe=True, may_fail=may_fail, weight=3)


def leaves_work(steps: tuple[Step, ...]) -> bool:
    """Whether these steps leave doomed volumes to the housekeeping."""
    return any(isinstance(step, RenameVolume) and lvm.is_doomed(step.target) for step in steps)
