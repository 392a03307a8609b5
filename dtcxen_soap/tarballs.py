"""Reading what is in a tarball, one member after another, without unpacking anything.

gz, xz and zst are sparsefiles.py's, bzip2 is Python's. They are read to their last byte, behind the archive's own end too: their
checksums stand there, and whoever stops at the end of the archive does not see that a bit of it is another.
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
_MOST_BEHIND = 1 << 30
"""Bytes behind the archive's end; tar itself pads with a few KiB."""
_KINDS = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hardlink", tarfile.FIFOTYPE: "fifo"}


def check(path: str, judge: Callable[[Iterable[Member]], str], watch: Watch) -> None:
    """Let `judge` see all members; Failed with what it says of them, or when the archive cannot be read to its end."""
    with _read_to_its_end(path), _opened(path) as (archive, file):
        members = _members(archive, watch)
        verdict = judge(members)
        if not verdict:
            for _ in members:
                pass
            verdict = _behind(file, watch)
    if verdict:
        raise Failed("", f"{path}: {verdict}")


def take_out(path: str, name: str, target: str, most_bytes: int, room: sparsefiles.Room) -> None:
    """Write one regular file of an archive that was judged to the new file `target`, whatever it is called in there; Failed as `check`, or when it is gone."""
    with _read_to_its_end(path), _opened(path) as (archive, _):
        for item in archive:
            archive.members = []  # type: ignore[attr-defined]
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
    except Failed as error:
        if not error.command:
            raise
        raise Failed("", f"{path} is no tarball that can be read to its end: {error.reason}", error.command) from error


@contextlib.contextmanager
def _opened(path: str) -> Iterator[tuple[tarfile.TarFile, IO[bytes]]]:
    """The archive, and the file that it is read from, compression taken off."""
    with contextlib.ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(open(path, "rb"))
        head = file.read(6)
        file.seek(0)
        if kind := next((name for magic, name in _MAGICS if head.startswith(magic)), ""):
            file = stack.enter_context(sparsefiles.opened(file, kind, path))
        elif head.startswith(_BZIP2):
            file = stack.enter_context(bz2.BZ2File(file))
        yield stack.enter_context(tarfile.open(fileobj=file, mode="r|", bufsize=sparsefiles.PIECE)), file


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


def _members(archive: tarfile.TarFile, watch: Watch) -> Iterator[Member]:
    """Each member once; tarfile's own list of them is emptied, for an archive may have millions."""
    for item in archive:
        if watch.cancelled():
            raise Cancelled(f"ended on request while {item.name} was read")
        archive.members = []  # type: ignore[attr-defined]
        yield Member(item.name, "file" if item.isreg() else _KINDS.get(item.type, "device"), item.linkname, item.size, item.mode & 0o7777)
