"""Initial RAM disks: entries from a directory or a tarball, and the archive that kernels unpack (cpio, format newc).

Nothing of a tree is run or changed; a tree is only read. Names are relative, without a leading "./".
Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import gzip
import lzma
import os
import re
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO

_KINDS = {tarfile.REGTYPE: stat.S_IFREG, tarfile.AREGTYPE: stat.S_IFREG, tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK}
_MODULE = re.compile(r"(.+)\.ko(\.xz|\.gz)?")
_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
_VERMAGIC = re.compile(rb"\0vermagic=([^ \0]+)")


@dataclass(frozen=True)
class Entry:
    """A file, directory or link: `mode` with its kind, `data` its content or where it points to."""

    name: str
    mode: int
    data: bytes = b""
    uid: int = 0
    gid: int = 0


def file(name: str, data: bytes, mode: int = 0o644) -> Entry:
    """A regular file, root's."""
    return Entry(name, stat.S_IFREG | mode, data)


def directory(name: str) -> Entry:
    """A directory, root's."""
    return Entry(name, stat.S_IFDIR | 0o755)


def link(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, stat.S_IFLNK | 0o777, target.encode(errors="surrogateescape"))


def write(out: IO[bytes], entries: Iterable[Entry]) -> int:
    """Write the archive; bytes that its entries take in memory. What comes later under a name replaces what came earlier."""
    whole = 0
    number = 0
    for number, entry in enumerate(entries, 1):
        whole += -(-len(entry.data) // 4096) * 4096
        _put(out, number, entry)
    _put(out, number + 1, Entry("TRAILER!!!", 0))
    return whole


def _put(out: IO[bytes], number: int, entry: Entry) -> None:
    name = entry.name.encode(errors="surrogateescape") + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    words = (number, entry.mode, entry.uid, entry.gid, links, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
    for part in (b"070701" + b"".join(b"%08X" % word for word in words) + name, entry.data):
        out.write(part + b"\0" * (-len(part) % 4))


# -- where entries come from ------------------------------------------------------------------------


def of_tarball(path: str, keeps: Callable[[str], bool]) -> Iterator[Entry]:
    """Entries of a tarball. A second name of a file becomes a link to the first; devices and the like are left out."""
    with tarfile.open(path, "r|*", errorlevel=2) as archive:
        for item in archive:
            archive.members = []  # type: ignore[attr-defined]
            name = item.name.removeprefix("./").strip("/")
            if not name or name == "." or not keeps(name):
                continue
            if item.islnk():
                yield link(name, "/" + item.linkname.removeprefix("./"))
            elif kind := _KINDS.get(item.type):
                content = archive.extractfile(item) if item.isreg() else None
                data = content.read() if content else item.linkname.encode(errors="surrogateescape") if item.issym() else b""
                yield Entry(name, kind | item.mode & 0o7777, data, item.uid, item.gid)


def of_directory(root: str, keeps: Callable[[str], bool]) -> Iterator[Entry]:
    """Entries of a directory, parents first; what it holds of devices and the like is left out."""
    for at, directories, names in os.walk(root, onerror=_raise):
        inside = os.path.relpath(at, root)
        links = [name for name in directories if os.path.islink(os.path.join(at, name))]
        directories[:] = sorted(name for name in directories if name not in links and keeps(os.path.normpath(os.path.join(inside, name))))
        for name in (*directories, *sorted((*links, *names))):
            path = os.path.normpath(os.path.join(inside, name))
            if (name in directories or keeps(path)) and (entry := _of_path(os.path.join(at, name), path)):
                yield entry


def _raise(error: OSError) -> None:
    raise error


def _of_path(path: str, name: str) -> Entry | None:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        data = os.fsencode(os.readlink(path))
    elif stat.S_ISREG(status.st_mode):
        with open(path, "rb") as opened:
            data = opened.read()
    elif stat.S_ISDIR(status.st_mode):
        data = b""
    else:
        return None
    return Entry(name, status.st_mode, data, status.st_uid, status.st_gid)


# -- modules ----------------------------------------------------------------------------------------


def module_files(root: str) -> dict[str, str]:
    """Path of each kernel module below `root`, by its name with `-` written `_`."""
    found: dict[str, str] = {}
    for at, _, names in os.walk(root):
        for name in names:
            if match := _MODULE.fullmatch(name):
                found[match[1].replace("-", "_")] = os.path.join(at, name)
    return found


def module(path: str) -> bytes:
    """A module, unpacked: the whole RAM disk is compressed in one."""
    with open(path, "rb") as opened:
        data = opened.read()
    return lzma.decompress(data) if path.endswith(".xz") else gzip.decompress(data) if path.endswith(".gz") else data


def module_needs(data: bytes) -> tuple[str, ...]:
    """The modules that a module says it depends on."""
    match = _DEPENDS.search(data)
    return tuple(name.replace("-", "_") for name in match[1].decode().split(",") if name) if match else ()


def module_release(data: bytes) -> str:
    """The release of the kernel that a module is for, as uname -r says it; "" when it does not tell."""
    match = _VERMAGIC.search(data)
    return match[1].decode(errors="replace") if match else ""
