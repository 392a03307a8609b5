"""Reading what is in a tarball, one member after another, without unpacking anything.

gzip, bzip2 and xz are tarfile's own; zstd comes through zstd(1), since Python 3.13 cannot read it.
"""

from __future__ import annotations

import contextlib
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from dtcxen_soap import sparsefiles
from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.facts import Member
from dtcxen_soap.processes import Watch, reading

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_KINDS = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hardlink", tarfile.FIFOTYPE: "fifo"}


def check(path: str, judge: Callable[[Iterable[Member]], str], watch: Watch) -> None:
    """Let `judge` see all members; Failed with what it says of them, or when the archive cannot be read to its end."""
    with _read_to_its_end(path), _opened(path) as archive:
        members = _members(archive, watch)
        verdict = judge(members)
        for _ in members if not verdict else ():
            pass
    if verdict:
        raise Failed("", f"{path}: {verdict}")


def take_out(path: str, name: str, target: str, most_bytes: int, room: sparsefiles.Room) -> None:
    """Write one regular file of an archive that was judged to the new file `target`, whatever it is called in there; Failed as `check`, or when it is gone."""
    with _read_to_its_end(path), _opened(path) as archive:
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


@contextlib.contextmanager
def _opened(path: str) -> Iterator[tarfile.TarFile]:
    with contextlib.ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(open(path, "rb"))
        if file.read(4) == _ZSTD_MAGIC:
            file = stack.enter_context(reading(("zstd", "-dcq", "--", path)))
        else:
            file.seek(0)
        yield stack.enter_context(tarfile.open(fileobj=file, mode="r|*"))


def _members(archive: tarfile.TarFile, watch: Watch) -> Iterator[Member]:
    """Each member once; tarfile's own list of them is emptied, for an archive may have millions."""
    for item in archive:
        if watch.cancelled():
            raise Cancelled(f"ended on request while {item.name} was read")
        archive.members = []  # type: ignore[attr-defined]
        yield Member(item.name, "file" if item.isreg() else _KINDS.get(item.type, "device"), item.linkname, item.size, item.mode & 0o7777)
