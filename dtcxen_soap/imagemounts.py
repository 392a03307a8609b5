"""The system inside a disk image: found by what is there, and mounted where nobody else sees it.

Nothing is written: the loop device and the mount are read-only, journals are not replayed, devices,
set-user-id bits and programs of the image do not count. The loop device goes with the mount, and the
mount with this process (mounts.keep_to_ourselves). Sources: mount(8), ext4(5), xfs(5), btrfs(5).
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dtcxen_soap import diskimages, mounts, partitions
from dtcxen_soap.errors import Failed
from dtcxen_soap.nodefiles import read_from
from dtcxen_soap.tree import Tree

SAFE = ("ro", "nodev", "nosuid", "noexec")


@dataclass(frozen=True)
class Place:
    """A part of a disk that may hold a system: partition 0 is the whole disk. `content` as diskimages.content says it."""

    number: int
    start: int
    size: int
    content: str

    def __str__(self) -> str:
        where = f"partition {self.number}" if self.number else "the whole disk"
        return f"{where} ({self.content or 'nothing known'}, {self.size >> 20} MiB)"


@contextlib.contextmanager
def root(image: str, at: str, number: int | None, tell: Callable[[str], None]) -> Iterator[str]:
    """The root of the system on the raw image, mounted at `at` (or below, never elsewhere) while this lasts.

    `number` chooses a partition where several hold a system. Failed names what is there when none or several do.
    """
    size, read = os.path.getsize(image), _reader(image, 0, os.path.getsize(image))
    places = _places(image, read, size)
    systems = [place for place in places if place.content in diskimages.FILE_SYSTEMS and number in (None, place.number) and _holds_system(image, at, place)]
    if len(systems) != 1:
        raise Failed("", _no_root(image, places, systems, number))
    (place,) = systems
    tell(f"the system is on {place}")
    if place.content == "ext" and diskimages.needs_recovery(_reader(image, place.start, place.size)):
        tell("its file system was not unmounted cleanly: what its journal holds is left out")
    with _mounted(image, at, place):
        yield at


def _reader(image: str, start: int, size: int) -> diskimages.Read:
    def read(offset: int, length: int) -> bytes:
        return read_from(image, start + offset, min(length, size - offset)) if 0 <= offset < size else b""
    return read


def _places(image: str, read: diskimages.Read, size: int) -> tuple[Place, ...]:
    """The whole disk where a file system begins at its first sector, else, or as well, its partitions."""
    whole = diskimages.content(read, size)
    first = (Place(0, 0, size, whole),) if whole else ()
    try:
        found = partitions.parse(read, size)
    except ValueError as error:
        if whole in diskimages.FILE_SYSTEMS and not partitions.has_gpt(read):
            return first
        raise Failed("", f"{image}: {error}") from error
    return (*first, *(Place(each.number, each.start, each.size, diskimages.content(_reader(image, each.start, each.size), each.size)) for each in found))


def _no_root(image: str, places: tuple[Place, ...], systems: list[Place], number: int | None) -> str:
    named = ", ".join(map(str, systems or places))
    if systems:
        return f"{image} holds several systems: {named}; --partition chooses one"
    strange = dict.fromkeys(reason for place in places if (reason := diskimages.unsupported(place.content)))
    why = f"; {' and '.join(strange)}: that is not supported" if strange else ""
    chosen = "" if number is None else f" in partition {number}"
    return f"{image} holds no system{chosen}, that is a file system with etc/ and bin or usr/; there is {named or 'no file system and no partition that is known'}{why}"


def _holds_system(image: str, at: str, place: Place) -> bool:
    with _mounted(image, at, place):
        return is_system(Tree(at))


@contextlib.contextmanager
def tree(directory: str, at: str) -> Iterator[str]:
    """A directory with a system's tree, seen read-only at `at` while this lasts, without what is mounted in it. Failed when it is none."""
    if not is_system(Tree(directory)):
        raise Failed("", f"{directory} holds no system, that is a directory with etc/ and bin or usr/")
    mounts.mount(directory, at, "none", ",".join(("bind", *SAFE)))
    try:
        yield at
    finally:
        mounts.unmount(at, lambda line: None)


def is_system(tree: Tree) -> bool:
    """Whether a tree looks like a system's root: etc/, and bin or usr/."""
    return _is_directory(tree, "etc") and (_is_directory(tree, "bin") or _is_directory(tree, "usr"))


def _is_directory(tree: Tree, path: str) -> bool:
    status = tree.status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


@contextlib.contextmanager
def _mounted(image: str, at: str, place: Place) -> Iterator[None]:
    options = (*SAFE, *diskimages.OPTIONS[place.content], "loop", f"offset={place.start}", f"sizelimit={place.size}")
    try:
        mounts.mount(image, at, diskimages.FILE_SYSTEMS[place.content], ",".join(options))
    except Failed as error:
        raise Failed("", f"{image}: the file system on {place} cannot be read: {error.reason}", error.command, error.tail) from error
    try:
        yield
    finally:
        mounts.unmount(at, lambda line: None)
