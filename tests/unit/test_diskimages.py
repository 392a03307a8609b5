"""Headers of disk images, and partition tables: what is believed, and in which words the rest is refused."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtcxen_soap import diskimages, partitions
from dtcxen_soap.partitions import Partition
from tests.diskbytes import CLUSTER, extension, gpt, qcow2, table

MIB = 1 << 20
LARGEST = 1024 * MIB


def reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: data[offset:offset + length] if offset < 1 << 62 else b""


def judged(image: bytes) -> str:
    return diskimages.judge_format(image[:diskimages.HEAD_BYTES], len(image), LARGEST)


def test_what_is_read() -> None:
    assert judged(qcow2()) == judged(qcow2(version=2)) == "qcow2" and judged(bytes(512)) == "raw"
    assert judged(qcow2(incompatible=1)) == "qcow2", "merely not closed"
    assert judged(qcow2(extensions=extension(0x6803F857, b"feature names"))) == "qcow2"
    assert diskimages.compression(gzip.compress(b"x")) == "gz" and diskimages.compression(lzma.compress(b"x")) == "xz" and diskimages.compression(bytes(64)) == ""


@pytest.mark.parametrize("image, said", [
    (b"", "it is empty"),
    (b"KDMV" + bytes(600), "a VMDK image"),
    (bytes(0x40) + b"\x7f\x10\xda\xbe" + bytes(600), "a VDI image"),
    (b"conectix" + bytes(600), "a VHD image"),
    (b"QFI\xfb\0\0\0\1" + bytes(600), "version 1"),
    (qcow2(cut=60), "cut off"),
    (qcow2(cut=80), "cut off"),
    (qcow2(version=4), "version 4"),
    (qcow2(backing_offset=512, backing_size=11, backing=b"/etc/shadow"), r"backing file \('/etc/shadow'\)"),
    (qcow2(backing_size=4), "backing file"),
    (qcow2(extensions=extension(0xE2792ACA, b"raw")), "backing file's format"),
    (qcow2(incompatible=4), "external data file"),
    (qcow2(extensions=extension(0x44415441, b"/etc/shadow")), "external data file"),
    (qcow2(crypt=1), "encrypted"),
    (qcow2(crypt=2), "encrypted"),
    (qcow2(extensions=extension(0x0537BE77, bytes(16))), "encrypted"),
    (qcow2(extensions=struct.pack(">II", 0x6803F857, 0xFFFFFFF0)), "no end"),
    (qcow2(incompatible=2), "marked as corrupt"),
    (qcow2(incompatible=1 << 40), r"features that are not known here \(0x10000000000\)"),
    (qcow2(bits=8), r"clusters of 2\^8"),
    (qcow2(bits=4096), r"clusters of 2\^4096"),
    (qcow2(header_bytes=99), "99 bytes"),
    (qcow2(header_bytes=0xFFFFFFF8), "4294967288 bytes"),
    (qcow2(size=0), "no size"),
    (qcow2(size=1 << 62), "more than the 1024 MiB"),
    (qcow2(size=1024 * MIB, l1_entries=1), "1 entries for a disk that needs 2"),
    (qcow2(l1_entries=0), "0 entries"),
    (qcow2(l1_entries=1 << 31), "entries for a disk"),
    (qcow2(l1_offset=4 * CLUSTER), "beyond the end"),
    (qcow2(l1_offset=(1 << 64) - 8), "beyond the end"),
    (qcow2(l1_offset=100), "at no cluster"),
    (qcow2(refcount_clusters=100), "table of references lies beyond"),
    (qcow2(cut=2 * CLUSTER + 200), "table of clusters lies beyond"),
])
def test_what_is_refused(image: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        judged(image)


def test_a_raw_disk_has_a_largest_size_too() -> None:
    with pytest.raises(ValueError, match="a disk of 1025 MiB, more than the 1024 MiB that --largest allows"):
        diskimages.judge_format(bytes(512), LARGEST + 1, LARGEST)


@pytest.mark.parametrize("head, name", [(b"BZh9", "bzip2"), (b"PK\x03\x04", "zip"), (b"7z\xbc\xaf\x27\x1c", "7z")])
def test_a_compression_that_is_not_read_is_named(head: bytes, name: str) -> None:
    with pytest.raises(ValueError, match=f"compressed with {name}, and only gz, xz and zst"):
        diskimages.compression(head)


@given(st.binary(max_size=300))
def test_no_header_is_a_surprise(rest: bytes) -> None:
    for image in (b"QFI\xfb\0\0\0\3" + rest, rest):
        with contextlib.suppress(ValueError):
            judged(image)


# -- what lies there --------------------------------------------------------------------------------


def at(place: int, data: bytes, size: int = 1 << 18) -> bytes:
    return bytes(place) + data + bytes(size - place - len(data))


@pytest.mark.parametrize("disk, found", [
    (at(1080, b"\x53\xef"), "ext"), (at(0, b"XFSB"), "xfs"), (at(65600, b"_BHRfS_M"), "btrfs"), (at(0, b"LUKS\xba\xbe"), "LUKS"), (at(512, b"LABELONE"), "LVM"),
    (at(4096, b"\xfc\x4e\x2b\xa9"), "RAID"), (at(0, b"\xfc\x4e\x2b\xa9"), "RAID"), (at((1 << 18) - 8192, b"\xfc\x4e\x2b\xa9"), "RAID"),
    (at((1 << 18) - 65536, b"\xfc\x4e\x2b\xa9"), "RAID"), (at(4086, b"SWAPSPACE2"), "swap"), (at(82, b"FAT32") [:510] + b"\x55\xaa" + bytes(8000), "fat"),
    (at(0, b"hsqs"), "squashfs"), (at(32769, b"CD001"), "iso9660"), (bytes(1 << 18), ""), (b"", ""),
], ids=lambda value: value if isinstance(value, str) else "")
def test_content(disk: bytes, found: str) -> None:
    assert diskimages.content(reader(disk), len(disk)) == found


def test_a_raid_member_is_no_file_system_although_one_shows_through() -> None:
    disk = bytearray(at(1080, b"\x53\xef"))
    disk[-8192:-8188] = b"\xfc\x4e\x2b\xa9"
    assert diskimages.content(reader(bytes(disk)), len(disk)) == "RAID" and "RAID" in diskimages.unsupported("RAID") and not diskimages.unsupported("swap")


def test_a_journal_that_waits_is_seen() -> None:
    assert diskimages.needs_recovery(reader(at(1024 + 0x60, b"\x04\0\0\0"))) and not diskimages.needs_recovery(reader(bytes(4096)))


# -- partition tables -------------------------------------------------------------------------------


def parsed(disk: bytes, size: int = MIB) -> list[tuple[int, int, int]]:
    return [(each.number, each.start // 512, each.size // 512) for each in partitions.parse(reader(disk.ljust(size, b"\0")), size)]


def test_mbr() -> None:
    assert parsed(bytes(512)) == [] and parsed(b"") == []
    assert parsed(table((0x80, 0x83, 8, 100), (0, 0, 0, 0), (0, 0x82, 200, 10))) == [(1, 8, 100), (3, 200, 10)]


def test_logical_partitions() -> None:
    disk = bytearray(table((0, 0x83, 8, 100), (0, 5, 200, 300)).ljust(MIB, b"\0"))
    disk[200 * 512:201 * 512] = table((0, 0x83, 8, 50), (0, 5, 100, 100))
    disk[300 * 512:301 * 512] = table((0, 0x83, 8, 92))
    assert parsed(bytes(disk)) == [(1, 8, 100), (5, 208, 50), (6, 308, 92)]


def test_gpt() -> None:
    assert parsed(gpt((64, 127), (1024, 2000))) == [(1, 64, 64), (2, 1024, 977)]


def chain(*sectors: tuple[int, bytes]) -> bytes:
    disk = bytearray(table((0, 5, 200, 300)).ljust(MIB, b"\0"))
    for number, sector in sectors:
        disk[number * 512:number * 512 + 512] = sector
    return bytes(disk)


@pytest.mark.parametrize("disk, said", [
    (table((0, 0x83, 8, 100), (0, 0x83, 50, 100)), r"partition 1 \(.*\) and partition 2 \(.*\) overlap"),
    (table((0, 0x83, 8, 4000)), "partition 1 .* lies beyond the disk's end at 1 MiB"),
    (table((0, 0x83, 0xFFFFFFFF, 0xFFFFFFFF)), "beyond the disk's end"),
    (table((0, 0x83, 0, 10)), "lies on the partition table"),
    (table((7, 0x83, 8, 10)), "status 0x7"),
    (table((0, 0xEE, 1, 2047)), "announces a GPT, and there is none"),
    (chain(), "broken"),
    (chain((200, table((0, 0x83, 8, 50), (0, 5, 0, 0), (0, 0, 0, 0))), ), ""),
    (chain((200, table((0, 0x83, 8, 50), (0, 5, 100, 9))), (300, table((0, 0x83, 8, 5), (0, 5, 100, 9)))), "goes round"),
    (chain((200, table((0, 0x83, 8, 50), (0, 5, 900, 9)))), "leads out of the extended"),
    (chain((200, table((0, 0x83, 8, 500)))), "partition 5 leads out of the extended"),
    (gpt((64, 127), (100, 200)), "overlap"),
    (gpt((64, 4000)), "beyond the disk's end"),
    (gpt((64, (1 << 64) - 2)), "beyond the disk's end"),
    (gpt((100, 50)), "ends before it begins"),
    (gpt((0, 50)), "partition table itself"),
    (gpt((64, 127), crc=1), "checksum of its GPT header"),
    (gpt((64, 127), table_crc=1), "checksum of its GPT's table"),
    (gpt((64, 127), count=1 << 31), "claims 2147483648 entries"),
    (gpt((64, 127), count=0), "claims 0 entries"),
    (gpt((64, 127), entry_bytes=3), "entries of 3 bytes"),
    (gpt((64, 127), table=1 << 60), "table of its GPT lies beyond"),
    (gpt((64, 127), header=5000), "checksum of its GPT header"),
])
def test_tables_that_are_not_believed(disk: bytes, said: str) -> None:
    if not said:
        assert parsed(disk) == [(5, 208, 50)]
        return
    with pytest.raises(ValueError, match=said):
        parsed(disk)


@given(st.binary(min_size=446, max_size=510), st.binary(max_size=2000))
def test_no_table_is_a_surprise(head: bytes, rest: bytes) -> None:
    for disk in (head.ljust(510, b"\0") + b"\x55\xaa" + rest, head.ljust(512, b"\0") + b"EFI PART" + rest):
        with contextlib.suppress(ValueError):
            partitions.parse(reader(disk), len(disk))


def test_a_partition_knows_where_it_is() -> None:
    assert str(Partition(2, 5 * MIB, 7 * MIB)) == "partition 2 (at 5 MiB, 7 MiB)" and Partition(1, 10, 5).end == 15
