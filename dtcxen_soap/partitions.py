"""Partition tables, read without trust: MBR with its chain of logical partitions, and GPT with its checksums.

Everything is bounded: a chain that goes round, a partition that lies beyond the disk's end, or two
that overlap make the table one that is refused, by ValueError in words. Sources: the UEFI
specification 2.10, chapter 5; the customary layout of MBR and extended partitions.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Read = Callable[[int, int], bytes]

_SECTOR = 512
_SECTOR_SIZES = (512, 4096)
_EXTENDED = (0x05, 0x0F, 0x85)
_PROTECTIVE = 0xEE
_MOST_LOGICAL = 60
_MOST_ENTRIES = 1024


@dataclass(frozen=True)
class Partition:
    """Where a partition lies on its disk, in bytes. Numbers are those that Linux gives them."""

    number: int
    start: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.size

    def __str__(self) -> str:
        return f"partition {self.number} (at {self.start >> 20} MiB, {self.size >> 20} MiB)"


def has_gpt(read: Read) -> bool:
    """Whether there is a GPT header behind the first sector."""
    return any(read(sector, 8) == b"EFI PART" for sector in _SECTOR_SIZES)


def parse(read: Read, size_bytes: int) -> tuple[Partition, ...]:
    """The partitions of a disk, none when it has no table. ValueError says what is wrong with one that must not be believed."""
    head = read(0, _SECTOR)
    if has_gpt(read):
        found = tuple(_gpt(read, size_bytes))
    elif len(head) == _SECTOR and head[510:] == b"\x55\xaa":
        if any(head[446 + 16 * slot + 4] == _PROTECTIVE for slot in range(4)):
            raise ValueError("its MBR announces a GPT, and there is none: the image is cut off or damaged")
        found = tuple(_mbr(read, head))
    else:
        return ()
    _refuse_places(found, size_bytes)
    return found


def _refuse_places(found: tuple[Partition, ...], size_bytes: int) -> None:
    for partition in found:
        if partition.end > size_bytes:
            raise ValueError(f"{partition} lies beyond the disk's end at {size_bytes >> 20} MiB")
        if partition.start < _SECTOR:
            raise ValueError(f"{partition} lies on the partition table itself")
    ordered = sorted(found, key=lambda each: each.start)
    for one, other in zip(ordered, ordered[1:], strict=False):
        if other.start < one.end:
            raise ValueError(f"{one} and {other} overlap")


# -- MBR --------------------------------------------------------------------------------------------


def _entries(sector: bytes) -> list[tuple[int, int, int, int]]:
    """The four entries: status, type, first sector and number of sectors."""
    entries = (sector[446 + 16 * slot:462 + 16 * slot] for slot in range(4))
    return [(entry[0], entry[4], *struct.unpack("<II", entry[8:16])) for entry in entries]


def _mbr(read: Read, head: bytes) -> Iterator[Partition]:
    for number, (status, kind, start, sectors) in enumerate(_entries(head), 1):
        if not kind or not sectors:
            continue
        if status not in (0, 0x80):
            raise ValueError(f"entry {number} of its partition table has the status {status:#x}, which cannot be")
        if kind in _EXTENDED:
            yield from _logical(read, start, sectors)
        else:
            yield Partition(number, start * _SECTOR, sectors * _SECTOR)


def _logical(read: Read, extended: int, length: int) -> Iterator[Partition]:
    """The chain of logical partitions, each with a table of its own that leads to the next."""
    place, seen, number = extended, set[int](), 5
    while True:
        if place in seen or len(seen) >= _MOST_LOGICAL or not extended <= place < extended + length:
            raise ValueError("the chain of its logical partitions goes round, or leads out of the extended partition")
        seen.add(place)
        sector = read(place * _SECTOR, _SECTOR)
        if len(sector) < _SECTOR or sector[510:] != b"\x55\xaa":
            raise ValueError("the chain of its logical partitions is broken, or lies beyond the disk's end")
        (_, kind, start, sectors), (_, next_kind, step, _), *_ = _entries(sector)
        if kind and sectors:
            if start + sectors > extended + length - place:
                raise ValueError(f"partition {number} leads out of the extended partition")
            yield Partition(number, (place + start) * _SECTOR, sectors * _SECTOR)
            number += 1
        if next_kind not in _EXTENDED or not step:
            return
        place = extended + step


# -- GPT --------------------------------------------------------------------------------------------


def _gpt(read: Read, size_bytes: int) -> Iterator[Partition]:
    sector = next(size for size in _SECTOR_SIZES if read(size, 8) == b"EFI PART")
    header = read(sector, sector)
    if len(header) < 92:
        raise ValueError("its GPT header is cut off")
    length, checksum = struct.unpack("<II", header[12:20])
    if not 92 <= length <= sector or zlib.crc32(header[:16] + bytes(4) + header[20:length]) != checksum:
        raise ValueError("the checksum of its GPT header is wrong")
    table, count, entry_bytes, table_checksum = struct.unpack("<QIII", header[72:92])
    if not 0 < count <= _MOST_ENTRIES or entry_bytes not in (128, 256, 512, 1024, 2048, 4096):
        raise ValueError(f"its GPT claims {count} entries of {entry_bytes} bytes")
    if table * sector + count * entry_bytes > size_bytes:
        raise ValueError("the table of its GPT lies beyond the disk's end")
    data = read(table * sector, count * entry_bytes)
    if zlib.crc32(data) != table_checksum:
        raise ValueError("the checksum of its GPT's table is wrong")
    for number in range(count):
        entry = data[number * entry_bytes:(number + 1) * entry_bytes]
        first, last = struct.unpack("<QQ", entry[32:48])
        if entry[:16] == bytes(16):
            continue
        if last < first:
            raise ValueError(f"partition {number + 1} ends before it begins")
        yield Partition(number + 1, first * sector, (last - first + 1) * sector)
