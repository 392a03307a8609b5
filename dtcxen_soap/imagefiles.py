"""File-backed disks (vbd): image files in provisioning_mount_point under the original's names, xenNN.img and xenNN.swap.img.

A new one reads as zeros whatever was there before, so nothing ever needs to be overwritten.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from datetime import datetime

from dtcxen_soap.facts import Room
from dtcxen_soap.plans import AllocateFile, ExchangeFile, MakeDirectory, RemoveFile, RenameFile, Step
from dtcxen_soap.vps import DiskRole, ImageType, Mib, VpsId

SUFFIX = {DiskRole.ROOT: ".img", DiskRole.SWAP: ".swap.img"}
KEPT_STAMP = "%Y%m%dT%H%M%SZ"


def file_name(vps: VpsId, role: DiskRole) -> str:
    """The name of a VPS's image file within its directory."""
    return f"{vps.name}{SUFFIX[role]}"


@dataclass(frozen=True)
class ImageFiles:
    """The Store of image files below `place`; `reserved` is what admitted plans will still take, in bytes."""

    place: str
    room: Room
    reserved: int
    overcommit: bool
    image_type: ImageType = ImageType.VBD

    def path(self, vps: VpsId, role: DiskRole) -> str:
        """The image file."""
        return f"{self.place}/{file_name(vps, role)}"

    def size_bytes(self, size: Mib) -> int:
        """Files are as long as was asked for."""
        return size.bytes

    def lacking(self, wanted: Mib) -> int:
        """How many bytes are lacking for `wanted` more; 0 when they fit, or when the node may overcommit."""
        return 0 if self.overcommit else max(0, wanted.bytes - (self.room.free_bytes - self.room.promised_bytes - self.reserved))

    def prepare(self) -> tuple[Step, ...]:
        """A directory for them."""
        return (MakeDirectory(why="Have a directory for image files.", path=self.place),)

    def make(self, path: str, size: Mib, why: str, *, zero: bool = True) -> tuple[Step, ...]:
        """Allocate; it reads as zeros at once."""
        back = RemoveFile(why=f"Remove the unfinished {path}.", path=path)
        return (AllocateFile(why=why, path=path, size=size, sparse=self.overcommit, undo=(back,)),)

    def zero(self, path: str, size: Mib) -> tuple[Step, ...]:
        """Nothing: no file shows old blocks."""
        return ()

    def used(self, path: str) -> tuple[Step, ...]:
        """Nothing: the file itself shows that it was written to."""
        return ()

    def remove(self, path: str, why: str, destroys: str = "", *, may_fail: bool = False, at_once: bool = False) -> tuple[Step, ...]:
        """Remove for good."""
        return (RemoveFile(why=why, path=path, destroys=destroys, may_fail=may_fail),)

    def rename(self, source: str, target: str, why: str, undo_why: str = "", *, may_fail: bool = False) -> tuple[Step, ...]:
        """Rename, and back if the plan fails and `undo_why` says why."""
        back = (RenameFile(why=undo_why, source=target, target=source),) if undo_why else ()
        return (RenameFile(why=why, source=source, target=target, undo=back, may_fail=may_fail),)

    def exchange(self, source: str, target: str, keep: str, why: str, undo_why: str) -> tuple[Step, ...]:
        """Swap in, and out again if the plan fails."""
        failed = f"{target}.failed"
        back = (ExchangeFile(why=undo_why, source=keep, target=target, keep=failed), RemoveFile(why="Remove the one that failed.", path=failed))
        return (ExchangeFile(why=why, source=source, target=target, keep=keep, undo=back),)

    def kept(self, path: str, tenancy: int, now: datetime) -> str:
        """In a directory of their own, with tenancy and UTC time."""
        return f"{self.place}/kept/{posixpath.basename(path)}.{tenancy}.{now:{KEPT_STAMP}}"
