"""Compressed and archived images written out as files with holes, within a bound and without filling the disk.

gz and xz are Python's own, piece by piece with bounded memory; zstd comes through zstd(1), which
bounds its memory itself. Sources: lseek(2) on holes, RFC 1952, the .xz format.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Generator, Iterable
from typing import IO, Any

from dtcxen_soap.errors import Failed
from dtcxen_soap.nodefiles import free_bytes
from dtcxen_soap.processes import Unwatched, reading

PIECE = 1 << 20
_BLOCK = 1 << 16
_ZEROS = bytes(_BLOCK)
_ASK_EVERY = 16 << 20
_XZ_MEMORY = 256 << 20
"""Decoding what the strongest ordinary setting of xz made takes 65 MiB."""
LEFT_FREE = 512 << 20
"""Bytes of the file system that stay free, whatever is packed."""


class Room(Unwatched):
    """A watch that ends a command before it fills the file system of `directory`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def cancelled(self) -> bool:
        """Whether too little is left."""
        return free_bytes(self.directory) < LEFT_FREE

    def refuse_full(self, wanted: int = 0) -> None:
        """Raise Failed when less than the reserve would be left after `wanted` more bytes."""
        free = free_bytes(self.directory)
        if free - wanted < LEFT_FREE:
            more = f" and {-(-wanted >> 20)} MiB are wanted" if wanted else ""
            raise Failed("", f"{self.directory} would be filled: {free >> 20} MiB are free{more}, and {LEFT_FREE >> 20} MiB stay so")


def expand(path: str, compression: str, target: str, most_bytes: int, room: Room) -> int:
    """Write what a compressed file holds to the new file `target`; its length in bytes.

    Failed when it is damaged or cut off, holds more than `most_bytes`, or would fill the disk.
    """
    try:
        with open(path, "rb") as file:
            return write(_PIECES[compression](file, path), target, most_bytes, room)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise Failed("", f"{path} cannot be read to its end as {compression}: {error}") from error
    except Failed as error:
        if not error.command:
            raise
        raise Failed("", f"{path} cannot be read to its end as {compression}: {error.reason}", error.command) from error


def copy(path: str, target: str, most_bytes: int, room: Room) -> int:
    """Copy a regular file to the new file `target`; its length. Failed as in `expand`."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Failed("", f"{path} is no regular file")
        return write(pieces(file), target, most_bytes, room)


def write(pieces: Iterable[bytes], target: str, most_bytes: int, room: Room) -> int:
    """Write pieces one after another to the new file `target`, holes where they are zeros; the length. Failed as in `expand`."""
    length, asked = 0, -_ASK_EVERY
    with open(target, "xb") as file:
        for piece in pieces:
            if length - asked >= _ASK_EVERY:
                room.refuse_full()
                asked = length
            length += len(piece)
            if length > most_bytes:
                raise Failed("", f"it holds more than the {most_bytes >> 20} MiB that --largest allows")
            _write_blocks(file, piece)
        file.truncate(length)
    return length


def _write_blocks(file: IO[bytes], piece: bytes) -> None:
    for place in range(0, len(piece), _BLOCK):
        block = piece[place:place + _BLOCK]
        if block == _ZEROS[:len(block)]:
            file.seek(len(block), 1)
        else:
            file.write(block)


def pieces(file: IO[bytes]) -> Generator[bytes, None, None]:
    """What a file holds, in pieces."""
    while piece := file.read(PIECE):
        yield piece


def _gz(file: IO[bytes], path: str) -> Generator[bytes, None, None]:
    with gzip.GzipFile(fileobj=file) as opened:
        yield from pieces(opened)  # type: ignore[arg-type]


def _zst(file: IO[bytes], path: str) -> Generator[bytes, None, None]:
    with reading(("zstd", "-dcq", "--", path)) as opened:
        yield from pieces(opened)


def _xz(file: IO[bytes], path: str) -> Generator[bytes, None, None]:
    """One stream after another, with zeros between them."""
    waiting = file.read(PIECE)
    while waiting:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        while not decoder.eof:
            if decoder.needs_input and not waiting and not (waiting := file.read(PIECE)):
                raise EOFError("it ends in the middle of a stream")
            if piece := decoder.decompress(waiting, PIECE):
                yield piece
            waiting = b""
        waiting = decoder.unused_data
        while not (waiting := waiting.lstrip(b"\0")) and (more := file.read(PIECE)):
            waiting = more


_PIECES = {"gz": _gz, "xz": _xz, "zst": _zst}


class _Stream(io.RawIOBase):
    """Pieces as a file to be read once."""

    def __init__(self, source: Generator[bytes, None, None]) -> None:
        self._source, self._rest = source, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._source, b""))
        length = min(len(buffer), len(self._rest))
        buffer[:length], self._rest = self._rest[:length], self._rest[length:]
        return length

    def close(self) -> None:
        self._source.close()
        super().close()


def opened(file: IO[bytes], compression: str, path: str) -> IO[bytes]:
    """What the compressed `file`, which is at `path`, holds, as a file to be read once and to its end: its last bytes tell whether it is whole.

    Reading it raises what EOFError, OSError, zlib and lzma call damaged, and Failed when zstd ended with a code.
    """
    return io.BufferedReader(_Stream(_PIECES[compression](file, path)), PIECE)
