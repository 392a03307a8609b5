"""Reading what is in a tarball, one member after another, without unpacking anything.

gz, xz and zst are sparsefiles.py's, bzip2 is Python's. They are read to their last byte, behind the archive's own end too: their
checksums stand there, and whoever stops at the end of the archive does not see that a bit of it is another.
What tarfile keeps in memory of an archive, headers and maps of holes, is bounded: a small file can hold any length of them.
"""

from __future__ import annotations

import bz2
import contextlib
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from dtcxen_soap import sparsefiles
from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.facts import Member
from dtcxen_soap.processes import Watch

_MAGICS = ((b"\x1f\x8b", "gz"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zst"))
_BZIP2 = b"BZh"
_MOST_HEADERS, _MOST_GLOBAL = 8 << 20, 1 << 20
"""Bytes of headers before a member, which are some KiB; and of those that hold for all."""
_MOST_BEHIND = 1 << 30
"""Bytes behind the archive's end; tar itself pads with a few KiB."""
_KINDS = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hardlink", tarfile.FIFOTYPE: "fifo"}


class _Bounded:
    """The file of an archive, until more is read of it than the members so far explain."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._left = file, _MOST_HEADERS + sparsefiles.PIECE

    def read(self, size: int) -> bytes:
        """At most `size` bytes; tarfile.ReadError for headers without end."""
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise tarfile.ReadError(f"more than {_MOST_HEADERS >> 20} MiB of headers")
        return data

    def expect(self, stored: int) -> None:
        """A member's content of so many bytes comes next, and then headers again."""
        self._left = stored + _MOST_HEADERS + 2 * sparsefiles.PIECE

    def close(self) -> None:
        """The file is closed by whoever opened it."""


def check(path: str, judge: Callable[[Iterable[Member]], str], watch: Watch) -> None:
    """Let `judge` see all members; Failed with what it says of them, or when the archive cannot be read to its end."""
    with _read_to_its_end(path), _opened(path) as (archive, file, bounded):
        members = _members(archive, bounded, watch)
        verdict = judge(members)
        if not verdict:
            for _ in members:
                pass
            verdict = _behind(file, watch)
    if verdict:
        raise Failed("", f"{path}: {verdict}")


def take_out(path: str, name: str, target: str, most_bytes: int, room: sparsefiles.Room) -> None:
    """Write one regular file of an archive that was judged to the new file `target`, whatever it is called in there; Failed as `check`, or when it is gone."""
    with _read_to_its_end(path), _opened(path) as (archive, _, bounded):
        for item in _items(archive, bounded):
            if item.name == name and item.isreg() and (file := archive.extractfile(item)):
                sparsefiles.write(sparsefiles.pieces(file), target, most_bytes, room)
                return
    raise Failed("", f"{path} has no {ascii(name)} any more: somebody changed it")


@contextlib.contextmanager
def _read_to_its_end(path: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise Failed("", f"{path} is no tarball that can be read to its end: {error}") from error
    except RecursionError:
        raise Failed("", f"{path} is no tarball that can be read to its end: one header after another, and no member") from None
    except Failed as error:
        if not error.command:
            raise
        raise Failed("", f"{path} is no tarball that can be read to its end: {error.reason}", error.command) from error


@contextlib.contextmanager
def _opened(path: str) -> Iterator[tuple[tarfile.TarFile, IO[bytes], _Bounded]]:
    """The archive, the file that it is read from, compression taken off, and what stands between the two."""
    with contextlib.ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(open(path, "rb"))
        head = file.read(6)
        file.seek(0)
        if kind := next((name for magic, name in _MAGICS if head.startswith(magic)), ""):
            file = stack.enter_context(sparsefiles.opened(file, kind, path))
        elif head.startswith(_BZIP2):
            file = stack.enter_context(bz2.BZ2File(file))
        bounded = _Bounded(file)
        archive = stack.enter_context(tarfile.open(fileobj=bounded, mode="r|", bufsize=sparsefiles.PIECE))  # type: ignore[call-overload]
        yield archive, file, bounded


def _behind(file: IO[bytes], watch: Watch) -> str:
    """Read what follows the archive; in words when that has no end."""
    length = 0
    while piece := file.read(sparsefiles.PIECE):
        if watch.cancelled():
            raise Cancelled("ended on request while the end of an archive was read")
        length += len(piece)
        if length > _MOST_BEHIND:
            return f"it has more than {_MOST_BEHIND >> 20} MiB behind the archive's end"
    return ""


def _items(archive: tarfile.TarFile, bounded: _Bounded) -> Iterator[tarfile.TarInfo]:
    """Each member once; tarfile's own list of them is emptied, for an archive may have millions."""
    for item in archive:
        archive.members = []  # type: ignore[attr-defined]
        if sum(len(name) + len(value) for name, value in archive.pax_headers.items()) > _MOST_GLOBAL:
            raise tarfile.ReadError(f"more than {_MOST_GLOBAL >> 20} MiB of global headers")
        bounded.expect(max(archive.offset - item.offset_data, 0))  # a sparse member's size says nothing of what is stored
        yield item


def _members(archive: tarfile.TarFile, bounded: _Bounded, watch: Watch) -> Iterator[Member]:
    for item in _items(archive, bounded):
        if watch.cancelled():
            raise Cancelled(f"ended on request while {item.name} was read")
        yield Member(item.name, "file" if item.isreg() else _KINDS.get(item.type, "device"), item.linkname, item.size, item.mode & 0o7777)
