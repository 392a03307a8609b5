"""Hostile bundles, images and templates for test_hostile_corpus.py: each wrong in one way, with the words in which it must be refused.

What they reach for is a canary: a directory beside everything, whose files must be as they were.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bundles import write_system
from tests.diskbytes import CLUSTER, extension, gpt, qcow2, table

MIB = 1 << 20
BOMB_MIB = 200
"""What the bombs hold: more than --largest allows, far less than would hurt the machine if they went off."""


@dataclass(frozen=True)
class Ground:
    """Where a corpus is made: `canary` is what the hostile reach for, `system` a harmless tree, `image` an ext4 file system with it."""

    canary: Path
    system: Path
    image: Path
    work: Path

    @property
    def up(self) -> str:
        """The canary by a way of .. from anywhere."""
        return "../" * 30 + str(self.canary).lstrip("/")


# -- archives -----------------------------------------------------------------------------------------


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> None:
    item = tarfile.TarInfo(name)
    item.type, item.linkname, item.size, item.mode = kind, link, len(data), mode
    item.devmajor, item.devminor = 8, 0
    archive.addfile(item, io.BytesIO(data))


def packed(fill: Callable[[tarfile.TarFile], None], system: bool = True) -> bytes:
    """A tar, not compressed: the small system, then what `fill` adds."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        if system:
            write_system(archive)
        fill(archive)
    return out.getvalue()


def sparse_header(name: str, size: int) -> bytes:
    """A member of the old GNU sparse format that claims `size` bytes and has none."""
    block = bytearray(512)
    block[:len(name)] = name.encode()
    block[100:136] = b"0000644\0" + b"0000000\0" * 2 + b"00000000000\0"
    block[136:148] = b"00000000000\0"
    block[156:157], block[257:265] = b"S", b"ustar  \0"
    block[386:398] = b"00000000000\0"
    block[398:410] = b"00000000000\0"
    block[483:495] = b"\x80" + size.to_bytes(11, "big")
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def add_huge(archive: tarfile.TarFile, name: str) -> None:
    """A member of 4 EiB."""
    assert archive.fileobj
    archive.fileobj.write(sparse_header(name, 1 << 62))
    archive.offset += 512  # type: ignore[attr-defined]


def zeros_in(kind: str, mib: int) -> bytes:
    """So many MiB of zeros, compressed."""
    if kind == "gz":
        out = io.BytesIO()
        with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as file:
            for _ in range(mib):
                file.write(bytes(MIB))
        return out.getvalue()
    argv = ("xz", "-0", "-T1", "-c") if kind == "xz" else ("zstd", "-q", "-c")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        out_bytes, _ = process.communicate(bytes(mib * MIB))
    return out_bytes


def zst(data: bytes) -> bytes:
    return subprocess.run(("zstd", "-q", "-c"), input=data, stdout=subprocess.PIPE, check=True).stdout


Through = Callable[[Ground, tarfile.TarFile], None]
"""Adds what is wrong to an archive."""


def _through_absolute(ground: Ground, archive: tarfile.TarFile) -> None:
    add(archive, "srv", kind=tarfile.SYMTYPE, link=str(ground.canary))
    add(archive, "srv/owned", b"owned")


def _through_relative(ground: Ground, archive: tarfile.TarFile) -> None:
    add(archive, "srv", kind=tarfile.SYMTYPE, link=ground.up)
    add(archive, "srv/precious", b"owned")


def _through_a_chain(ground: Ground, archive: tarfile.TarFile) -> None:
    for name, target in (("a", "."), ("a/b", "a/.."), ("c", "b/..")):
        add(archive, name, kind=tarfile.SYMTYPE, link=target)
    add(archive, f"c/{str(ground.canary).lstrip('/')}/owned", b"owned")


def _hard_link_then_write(ground: Ground, archive: tarfile.TarFile) -> None:
    add(archive, "etc/one", kind=tarfile.LNKTYPE, link=str(ground.canary / "precious"))
    add(archive, "etc/one", b"owned")


def _hard_link_up(ground: Ground, archive: tarfile.TarFile) -> None:
    add(archive, "etc/one", kind=tarfile.LNKTYPE, link=f"{ground.up}/precious")


def _second_name_of_a_link(ground: Ground, archive: tarfile.TarFile) -> None:
    add(archive, "srv", kind=tarfile.SYMTYPE, link=str(ground.canary))
    add(archive, "other", kind=tarfile.LNKTYPE, link="srv")
    add(archive, "other/owned", b"owned")


def _device_by_a_second_name(ground: Ground, archive: tarfile.TarFile) -> None:
    add(archive, "dev/sdx", kind=tarfile.BLKTYPE)
    add(archive, "home/disk", kind=tarfile.LNKTYPE, link="dev/sdx")


def _file_that_becomes_a_link(ground: Ground, archive: tarfile.TarFile) -> None:
    add(archive, "etc/x", b"x")
    add(archive, "etc/x", kind=tarfile.SYMTYPE, link=str(ground.canary / "precious"))


def _link_that_changes(ground: Ground, archive: tarfile.TarFile) -> None:
    add(archive, "x", kind=tarfile.SYMTYPE, link="etc")
    add(archive, "x", kind=tarfile.SYMTYPE, link=str(ground.canary))


def _round(ground: Ground, archive: tarfile.TarFile) -> None:
    add(archive, "x", kind=tarfile.SYMTYPE, link="y")
    add(archive, "y", kind=tarfile.SYMTYPE, link="x")
    add(archive, "x/owned", b"owned")


def _one(name: str, **more: object) -> Through:
    return lambda ground, archive: add(archive, name.format(canary=ground.canary, up=ground.up), **more)  # type: ignore[arg-type]


ARCHIVES: dict[str, tuple[Through, str]] = {
    "through an absolute link": (_through_absolute, "would be written through the link 'srv'"),
    "through a relative link": (_through_relative, "through a link that leads out of the tree"),
    "through a chain of links": (_through_a_chain, "through a link that leads out of the tree"),
    "through links that go round": (_round, "through links that go round"),
    "hard link out, then written": (_hard_link_then_write, "is a hard link to .*precious', out of the tree"),
    "hard link up": (_hard_link_up, "is a hard link to .*, out of the tree"),
    "hard link of a link": (_second_name_of_a_link, "would be written through the link 'other'"),
    "block device": (_one("home/disk", kind=tarfile.BLKTYPE), "'home/disk' is a device, and not in dev/"),
    "character device": (_one("etc/mem", kind=tarfile.CHRTYPE, mode=0o666), "'etc/mem' is a device, and not in dev/"),
    "device by a second name": (_device_by_a_second_name, "'home/disk' is a device, and not in dev/"),
    "file that becomes a link": (_file_that_becomes_a_link, "is a symlink and was a file before"),
    "link that changes": (_link_that_changes, "is a link that led elsewhere before"),
    "below a file": (_one("etc/hostname/x"), "lies below 'etc/hostname', which is a file"),
    "absolute name": (_one("{canary}/owned", data=b"owned"), "has an absolute name"),
    "dots": (_one("{up}/owned", data=b"owned"), "has .. in its name"),
    "dots behind a directory": (_one("etc/../../owned", data=b"owned"), "has .. in its name"),
    "newline": (_one("etc/x\nroot::0:0"), r"'etc/x\\nroot::0:0' has a control character"),
    "escape sequence": (_one("etc/\x1b]0;owned\x07\x1b[2J"), r"\\x1b.* has a control character"),
    "quotes and a way out": (_one("../$(touch {canary}/owned)'; touch {canary}/owned; '\""), "has .. in its name"),
    "setuid through dots": (_one("../bin/su", mode=0o4755), "has .. in its name"),
    "name without end": (_one("a/" * 2500 + "x"), "has a name of more than 4095 bytes"),
    "the tree itself": (_one(".", kind=tarfile.SYMTYPE, link="/"), "stands for the tree itself"),
}


# -- tarballs of bundles, by what is wrong with the stream ---------------------------------------------


def streams() -> dict[str, tuple[str, bytes, str]]:
    """Name of the file, its bytes, and the words: what cannot be read to its end, or holds too much."""
    good = packed(lambda archive: None)
    half = len(good) // 2
    huge = packed(lambda archive: add_huge(archive, "var/huge"))
    return {
        "gz cut": ("x.tar.gz", gzip.compress(good)[:-5000], "no tarball that can be read to its end"),
        "xz cut": ("x.tar.xz", lzma.compress(good, preset=0)[:-5000], "no tarball that can be read to its end"),
        "zst cut": ("x.tar.zst", zst(good)[:-5000], "zstd|no tarball that can be read to its end"),
        "tar cut": ("x.tar", good[:half // 512 * 512 + 100], "no tarball that can be read to its end"),
        "gz with a wrong checksum": ("x.tar.gz", _wrong_end(gzip.compress(good)), "no tarball that can be read to its end"),
        "no archive": ("x.tar.gz", os.urandom(5000), "no tarball that can be read to its end"),
        "gz of nothing known": ("x.tar.gz", gzip.compress(os.urandom(5000)), "no tarball that can be read to its end"),
        "empty": ("x.tar.gz", b"", "no tarball that can be read to its end"),
        "no system": ("x.tar", packed(lambda archive: add(archive, "readme"), system=False), "no directory etc/"),
        "huge sparse member": ("x.tar", huge, "its files need more than"),
    }


def _long_header(archive: tarfile.TarFile) -> None:
    """A pax header of 200 MiB, which readers keep in memory."""
    add(archive, "x", bytes(BOMB_MIB * MIB), kind=tarfile.XHDTYPE)


def _many_headers(archive: tarfile.TarFile) -> None:
    for _ in range(5000):
        add(archive, "x", b"12 a=bcdefg\n", kind=tarfile.XHDTYPE)


def _many_global_headers(archive: tarfile.TarFile) -> None:
    """Each is remembered to the end of the archive."""
    for number in range(40):
        add(archive, "x", b"100013 %05d=" % number + b"x" * 99_999 + b"\n", kind=tarfile.XGLTYPE)
        add(archive, f"var/{number}")


def _long_map(archive: tarfile.TarFile) -> None:
    """A sparse member whose map goes on for 100 MiB."""
    assert archive.fileobj
    block = bytearray(sparse_header("var/map", 1 << 20))
    block[482] = 1
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    entry = b"00000000001\0" * 2
    more = entry * 21 + b"\1" + bytes(7)
    archive.fileobj.write(bytes(block) + more * (100 * MIB // 512))
    archive.offset += 512 + 100 * MIB  # type: ignore[attr-defined]


def _behind_a_hole(archive: tarfile.TarFile) -> None:
    assert archive.fileobj
    archive.fileobj.write(sparse_header("var/hole", 50 * MIB))
    archive.offset += 512  # type: ignore[attr-defined]
    add(archive, "x", bytes(40 * MIB), kind=tarfile.XHDTYPE)


HEADERS: dict[str, tuple[Callable[[tarfile.TarFile], None], str]] = {
    "a header without end": (_long_header, "no tarball that can be read to its end: more than 8 MiB of headers"),
    "headers without end": (_many_headers, "no tarball that can be read to its end"),
    "global headers without end": (_many_global_headers, "no tarball that can be read to its end: more than 1 MiB of global headers"),
    "a header without end behind a large hole": (_behind_a_hole, "no tarball that can be read to its end: more than 8 MiB of headers"),
    "a map without end": (_long_map, "no tarball that can be read to its end: more than 8 MiB of headers"),
}
"""Archives that fill the memory of whoever reads them; compressed they are small."""

STREAMS = ("gz cut", "xz cut", "zst cut", "tar cut", "gz with a wrong checksum", "no archive", "gz of nothing known", "empty", "no system", "huge sparse member")


def _wrong_end(data: bytes) -> bytes:
    return data[:-8] + bytes([data[-8] ^ 1]) + data[-7:]


# -- disk images --------------------------------------------------------------------------------------


def disk(ground: Ground, name: str, *parts: tuple[int, bytes | Path], size: int = 48 * MIB) -> Path:
    """A raw image: bytes, or a file's, at their places."""
    path = ground.work / name
    with path.open("wb") as file:
        for place, what in parts:
            file.seek(place)
            file.write(what if isinstance(what, bytes) else what.read_bytes())
        file.truncate(size)
    return path


def written(ground: Ground, name: str, data: bytes) -> Path:
    path = ground.work / name
    path.write_bytes(data)
    return path


def ext4(ground: Ground, name: str, change: Callable[[Path], None]) -> Path:
    """A file system with the small system, after `change` did something to its tree."""
    tree, path = ground.work / f"{name}.tree", ground.work / name
    subprocess.run(("cp", "-a", f"{ground.system}/.", str(tree)), check=True)
    change(tree)
    subprocess.run(("mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(path), "16M"), check=True)
    subprocess.run(("rm", "-rf", str(tree)), check=True)
    return path


def _mbr(*entries: tuple[int, int, int, int]) -> bytes:
    return table(*entries)


def _xz_with_a_large_window() -> bytes:
    """A stream whose header asks for 4 GiB of memory."""
    data = bytearray(lzma.compress(bytes(1000), preset=0))
    length = (data[12] + 1) * 4
    data[12 + 4] = 40
    data[12 + length - 4:12 + length] = struct.pack("<I", zlib.crc32(bytes(data[12:12 + length - 4])))
    return bytes(data)


def _made_by_qemu(ground: Ground, name: str, *options: str) -> Path:
    path = ground.work / name
    for _ in range(5):
        made = subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "16M"), stderr=subprocess.PIPE, text=True)
        if "accurate CPU usage" not in made.stderr:
            break  # else it could not measure how long a round of its key's hash takes, and gave up
    assert made.returncode == 0, made.stderr
    return path


def _beyond(ground: Ground) -> Path:
    """Tables inside the file that point beyond its end: only qemu-img sees that."""
    data = bytearray(qcow2())
    data[3 * CLUSTER:3 * CLUSTER + 8] = struct.pack(">Q", (1 << 63) | (1 << 40))
    return written(ground, "l2.qcow2", bytes(data))


def _attributes_of_overlay(tree: Path) -> None:
    (tree / "etc/x\ny").write_text("x")


def _escape(tree: Path) -> None:
    (tree / "etc/\x1b[2Jx").write_text("x")


def _device(tree: Path) -> None:
    os.mknod(tree / "home-disk", 0o060666, os.makedev(8, 0))


def _long(tree: Path) -> None:
    handle = os.open(tree, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=handle)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)


def _huge(tree: Path) -> None:
    with (tree / "var/huge").open("wb") as file:
        file.truncate(1 << 40)


def _etc_elsewhere(canary: Path) -> Callable[[Path], None]:
    def change(tree: Path) -> None:
        (tree / "etc").rename(tree / "real")
        (tree / "etc").symlink_to(canary)
    return change


def _small(ground: Ground) -> Path:
    """An ext4 file system that is cut in the middle."""
    path = disk(ground, "cut.img", (0, ground.image), size=16 * MIB)
    os.truncate(path, 5 * MIB)
    return path


def _wrecked(ground: Ground) -> Path:
    data = bytearray(ground.image.read_bytes())
    data[4096:2 * MIB] = os.urandom(2 * MIB - 4096)
    return written(ground, "wrecked.img", bytes(data))


def _chain(ground: Ground) -> Path:
    return disk(ground, "chain.img", (0, _mbr((0, 5, 200, 3000))), (200 * 512, table((0, 0x83, 8, 50), (0, 5, 100, 9))), (300 * 512, table((0, 0x83, 8, 5), (0, 5, 100, 9))))


IMAGES: dict[str, tuple[Callable[[Ground], Path], str]] = {
    "empty": (lambda g: written(g, "x.img", b""), "it is empty"),
    "noise": (lambda g: written(g, "x.img", b"\1" + os.urandom(MIB)), "holds no system.*no file system and no partition"),
    "gz cut": (lambda g: written(g, "x.gz", gzip.compress(g.image.read_bytes())[:-9000]), "cannot be read to its end as gz"),
    "xz cut": (lambda g: written(g, "x.xz", lzma.compress(g.image.read_bytes(), preset=0)[:-9000]), "cannot be read to its end as xz"),
    "zst cut": (lambda g: written(g, "x.zst", zst(g.image.read_bytes())[:-9000]), "cannot be read to its end as zst"),
    "gz with a wrong checksum": (lambda g: written(g, "x.gz", _wrong_end(gzip.compress(g.image.read_bytes()))), "cannot be read to its end as gz"),
    "gz with rubbish behind": (lambda g: written(g, "x.gz", gzip.compress(bytes(5000)) + b"rubbish"), "cannot be read to its end as gz"),
    "gz bomb": (lambda g: written(g, "x.gz", zeros_in("gz", BOMB_MIB)), "more than the 64 MiB that --largest allows"),
    "xz bomb": (lambda g: written(g, "x.xz", zeros_in("xz", BOMB_MIB)), "more than the 64 MiB that --largest allows"),
    "zst bomb": (lambda g: written(g, "x.zst", zeros_in("zst", BOMB_MIB)), "more than the 64 MiB that --largest allows"),
    "xz that asks for 4 GiB of memory": (lambda g: written(g, "x.xz", _xz_with_a_large_window()), "cannot be read to its end as xz: Memory usage limit"),
    "compressed twice": (lambda g: written(g, "x.gz", gzip.compress(gzip.compress(bytes(5000)))), "compressed with gz more than once"),
    "bzip2": (lambda g: written(g, "x.bz2", b"BZh91AY" + bytes(900)), "compressed with bzip2"),
    "VMDK": (lambda g: written(g, "x.vmdk", b"KDMV" + bytes(4000)), "a VMDK image"),
    "VDI": (lambda g: written(g, "x.vdi", bytes(0x40) + b"\x7f\x10\xda\xbe" + bytes(4000)), "a VDI image"),
    "larger than allowed": (lambda g: disk(g, "x.img", size=65 * MIB), "a disk of 65 MiB, more than the 64 MiB"),
    "sparse without end": (lambda g: disk(g, "x.img", (0, g.image), size=1 << 42), "more than the 64 MiB that --largest allows"),
    "qcow2 backed by /etc/shadow": (lambda g: written(g, "x.qcow2", qcow2(backing_offset=512, backing_size=11, backing=b"/etc/shadow")), r"backing file \('/etc/shadow'\)"),
    "qcow2 backed by the canary": (lambda g: _made_by_qemu(g, "x.qcow2", "-F", "raw", "-b", str(g.canary / "secret")), "backing file"),
    "qcow2 with a data file": (lambda g: _made_by_qemu(g, "x.qcow2", "-o", f"data_file={g.work}/data.raw,data_file_raw=on"), "external data file"),
    "qcow2 with a data file's name": (lambda g: written(g, "x.qcow2", qcow2(extensions=extension(0x44415441, b"/etc/shadow"))), "external data file"),
    "qcow2 encrypted": (lambda g: written(g, "x.qcow2", qcow2(crypt=2)), "it is encrypted"),
    "qcow2 encrypted by qemu": (lambda g: _made_by_qemu(
        g, "x.qcow2", "--object", "secret,id=s,data=abc", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"), "it is encrypted"),
    "qcow2 compressed by xz, with a backing file": (lambda g: written(
        g, "x.qcow2.xz", lzma.compress(qcow2(backing_offset=512, backing_size=11, backing=b"/etc/shadow"))), "backing file"),
    "qcow2 of no size": (lambda g: written(g, "x.qcow2", qcow2(size=0)), "a disk of no size"),
    "qcow2 without end": (lambda g: written(g, "x.qcow2", qcow2(size=1 << 62)), "more than the 64 MiB that --largest allows"),
    "qcow2 with too small a table": (lambda g: written(g, "x.qcow2", qcow2(l1_entries=0)), "0 entries for a disk that needs 1"),
    "qcow2 with a table of 16 GiB": (lambda g: written(g, "x.qcow2", qcow2(l1_entries=1 << 31)), "2147483648 entries"),
    "qcow2 cut": (lambda g: written(g, "x.qcow2", qcow2(cut=2 * CLUSTER)), "beyond the end of the file"),
    "qcow2 of unknown features": (lambda g: written(g, "x.qcow2", qcow2(incompatible=32)), "features that are not known"),
    "qcow2 with clusters beyond its end": (_beyond, "qemu-img ended with code 1|holds no system"),
    "partitions that overlap": (lambda g: disk(g, "x.img", (0, _mbr((0, 0x83, 2048, 40000), (0, 0x83, 30000, 40000)))), "overlap"),
    "partition beyond the end": (lambda g: disk(g, "x.img", (0, _mbr((0, 0x83, 2048, 1 << 31)))), "lies beyond the disk's end"),
    "partition on the table": (lambda g: disk(g, "x.img", (0, _mbr((0, 0x83, 0, 4000)))), "lies on the partition table"),
    "logical partitions that go round": (_chain, "goes round"),
    "logical partitions broken off": (lambda g: disk(g, "x.img", (0, _mbr((0, 5, 200, 3000)))), "chain of its logical partitions is broken"),
    "GPT announced and missing": (lambda g: disk(g, "x.img", (0, _mbr((0, 0xEE, 1, 90000)))), "announces a GPT, and there is none"),
    "GPT with a wrong checksum": (lambda g: disk(g, "x.img", (0, gpt((2048, 9000), crc=5))), "checksum of its GPT header"),
    "GPT with a wrong table": (lambda g: disk(g, "x.img", (0, gpt((2048, 9000), table_crc=5))), "checksum of its GPT's table"),
    "GPT beyond the end": (lambda g: disk(g, "x.img", (0, gpt((2048, 1 << 50)))), "lies beyond the disk's end"),
    "GPT that overlaps": (lambda g: disk(g, "x.img", (0, gpt((2048, 9000), (8000, 20000)))), "overlap"),
    "two systems": (lambda g: disk(g, "x.img", (0, _mbr((0, 0x83, 2048, 32768), (0, 0x83, 40960, 32768))), (MIB, g.image), (20 * MIB, g.image)),
                    "holds several systems: partition 1 .*, partition 2 .*; --partition chooses one"),
    "LVM": (lambda g: disk(g, "x.img", (0, _mbr((0, 0x8E, 2048, 9000))), (MIB + 512, b"LABELONE")), r"partition 1 \(LVM, .*a physical volume of LVM: that is not supported"),
    "LUKS": (lambda g: disk(g, "x.img", (0, b"LUKS\xba\xbe\0\1")), r"encrypted \(LUKS\): that is not supported"),
    "RAID": (lambda g: disk(g, "x.img", (0, _mbr((0, 0xFD, 2048, 9000))), (MIB + 4096, b"\xfc\x4e\x2b\xa9")), "a part of a software RAID: that is not supported"),
    "only swap": (lambda g: disk(g, "x.img", (4086, b"SWAPSPACE2")), r"holds no system.*the whole disk \(swap"),
    "a file system and no system": (lambda g: ext4(g, "x.img", lambda tree: (tree / "etc").rename(tree / "other") and None), "holds no system"),  # type: ignore[func-returns-value]
    "etc is a link to the canary": (lambda g: ext4(g, "x.img", _etc_elsewhere(g.canary)), "holds no system"),
    "file system cut": (_small, "cannot be read: mount ended with code 32"),
    "file system wrecked": (_wrecked, "cannot be read"),
    "name with a newline": (lambda g: ext4(g, "x.img", _attributes_of_overlay), r"'etc/x\\ny' has a control character"),
    "name with an escape sequence": (lambda g: ext4(g, "x.img", _escape), r"'etc/\\x1b\[2Jx' has a control character"),
    "device outside dev": (lambda g: ext4(g, "x.img", _device), "'home-disk' is a device, and not in dev/"),
    "file without end": (lambda g: ext4(g, "x.img", _huge), "its files need more than 64 MiB"),
    "path without end": (lambda g: ext4(g, "x.img", _long), "has a name of more than 4095 bytes|cannot be read.*File name too long"),
}


# -- Oracle VM templates -------------------------------------------------------------------------------

CONFIG = "memory = 512\nvcpus = 1\ndisk = ['file:/OVS/x/System.img,xvda,w']\n"


def template(ground: Ground, config: str | bytes = CONFIG, image: bytes | Path | None = None, *more: Callable[[tarfile.TarFile], None], without: str = "") -> bytes:
    """A template, not compressed, with one thing changed."""
    system = image if isinstance(image, bytes) else (image or ground.image).read_bytes()

    def fill(archive: tarfile.TarFile) -> None:
        for name, data in (("x/vm.cfg", config if isinstance(config, bytes) else config.encode()), ("x/System.img", system)):
            if not name.endswith(without or "\0"):
                add(archive, name, data)
        for each in more:
            each(archive)
    return packed(fill, system=False)


def _with(name: str, **values: object) -> Callable[[Ground], bytes]:
    return lambda g: template(g, CONFIG, None, lambda archive: add(archive, name.format(canary=g.canary, up=g.up), **values))  # type: ignore[arg-type]


def _code(text: str) -> Callable[[Ground], bytes]:
    return lambda g: template(g, CONFIG + text.format(canary=g.canary) + "\n")


TEMPLATES: dict[str, tuple[Callable[[Ground], bytes], str]] = {
    "symbolic link": (_with("x/link", kind=tarfile.SYMTYPE, link="/etc"), "'x/link' is a symlink, and a template has only files"),
    "hard link": (_with("x/link", kind=tarfile.LNKTYPE, link="/etc/passwd"), "'x/link' is a hardlink"),
    "device": (_with("x/disk.img", kind=tarfile.BLKTYPE), "'x/disk.img' is a device"),
    "FIFO": (_with("x/fifo", kind=tarfile.FIFOTYPE), "'x/fifo' is a fifo"),
    "absolute name": (_with("{canary}/owned", data=b"owned"), "has an absolute name"),
    "dots": (_with("{up}/owned", data=b"owned"), "has .. in its name"),
    "setuid and dots": (_with("../su", data=b"owned", mode=0o4755), "has .. in its name"),
    "newline": (_with("x/a\nb"), "has a control character"),
    "escape sequence": (_with("x/\x1b[2J"), "has a control character"),
    "the configuration twice": (_with("x/./vm.cfg", data=b"memory = 1"), "is there twice"),
    "the image twice": (_with("x/System.img", data=b"x"), "is there twice"),
    "two configurations": (_with("y/vm.cfg", data=b"memory = 1"), "several files vm.cfg"),
    "two images of one name": (_with("y/System.img", data=b"x"), "several files 'System.img'"),
    "no configuration": (lambda g: template(g, without="vm.cfg"), "no file vm.cfg"),
    "no image": (lambda g: template(g, without=".img"), "the archive has no such file"),
    "import": (_code("import os"), "holds code, and only settings"),
    "call": (_code("x = __import__('os').system('touch {canary}/owned')"), "holds code"),
    "code behind a setting": (_code("name = 'x'; open('{canary}/owned', 'w')"), "holds code"),
    "code in a list": (_code("vif = ['x', open('{canary}/owned', 'w')]"), "holds code"),
    "exec": (_code("exec \"open('{canary}/owned', 'w')\""), "holds code"),
    "configuration in no text": (lambda g: template(g, b"\xff\xfe\0m"), "no text in UTF-8"),
    "configuration without end": (lambda g: template(g, CONFIG + "#" * 70000), "longer than 64 KiB"),
    "cut": (lambda g: gzip.compress(template(g))[:-9000], "no tarball that can be read to its end"),
    "no archive": (lambda g: os.urandom(9000), "no tarball that can be read to its end"),
    "bomb": (lambda g: _bomb(g), "more than the 64 MiB that --largest allows"),
    "huge sparse member": (lambda g: template(g, CONFIG, None, lambda archive: add_huge(archive, "x/huge")), "more than the 64 MiB that --largest allows"),
    **{f"{name}": (lambda g, fill=fill: gzip.compress(template(g, CONFIG, bytes(512), fill), 1), said) for name, (fill, said) in HEADERS.items()},
    "an image with a backing file": (lambda g: template(g, CONFIG, qcow2(backing_offset=512, backing_size=11, backing=b"/etc/shadow")), "backing file"),
    "an image that is a bomb": (lambda g: template(g, CONFIG, zeros_in("gz", BOMB_MIB)), "more than the 64 MiB that --largest allows"),
    "an image of nothing": (lambda g: template(g, CONFIG, bytes(MIB)), "holds no system"),
}


def _bomb(ground: Ground) -> bytes:
    """An archive of some 200 KiB that holds 200 MiB."""
    head = packed(lambda archive: add(archive, "x/vm.cfg", CONFIG.encode()), system=False)[:1024]
    item = tarfile.TarInfo("x/System.img")
    item.size = BOMB_MIB * MIB
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as file:
        file.write(head + item.tobuf())
        for _ in range(BOMB_MIB):
            file.write(bytes(MIB))
        file.write(bytes(1024))
    return out.getvalue()
