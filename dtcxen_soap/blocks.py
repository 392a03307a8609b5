"""A disk by chunks: what each one's SHA-256 is, what is a hole, and writing them; for moves between nodes.

Image files and volumes alike. Chunks are movewords.CHUNK_BYTES long, the last one of a disk may be
shorter. Before it is read, what the kernel has cached of a disk is let go: a domU's backend writes past it.
Sources: lseek(2) on SEEK_DATA, posix_fadvise(2), BLKFLSBUF in linux/fs.h.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator

from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.movewords import CHUNK_BYTES

_BLKFLSBUF = 0x1261
_ZEROS = bytes(CHUNK_BYTES)


def hash_of(data: bytes) -> bytes:
    """A chunk's SHA-256."""
    return hashlib.sha256(data).digest()


_ZERO_HASH = hash_of(_ZEROS)


class BlockDisk:
    """An open disk, of which the first `size_bytes` count; use as a context manager. Failed when it is shorter, or neither a regular file nor a block device."""

    def __init__(self, path: str, size_bytes: int, *, write: bool = False) -> None:
        self._path, self.size_bytes = path, size_bytes
        self._handle = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)
        try:
            self._regular = _is_regular(self._handle, path)
            self.length = os.lseek(self._handle, 0, os.SEEK_END)
            if self.length < size_bytes:
                raise Failed("", f"{path} has {self.length} bytes, expected {size_bytes}")
            self.refresh()
        except BaseException:
            os.close(self._handle)
            raise

    def __enter__(self) -> BlockDisk:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._handle)

    @property
    def chunks(self) -> int:
        return -(-self.size_bytes // CHUNK_BYTES)

    def refresh(self) -> None:
        """What is read from now on is what the disk holds, whatever was cached."""
        os.fsync(self._handle)
        os.posix_fadvise(self._handle, 0, 0, os.POSIX_FADV_DONTNEED)
        if not self._regular:
            fcntl.ioctl(self._handle, _BLKFLSBUF)

    def length_of(self, at: int) -> int:
        """How long chunk `at` is."""
        return min(CHUNK_BYTES, self.size_bytes - at * CHUNK_BYTES)

    def chunk(self, at: int) -> bytes:
        """What chunk `at` holds."""
        return _ZEROS[:self.length_of(at)] if self._is_hole(at) else self._read(at * CHUNK_BYTES, self.length_of(at))

    def hash(self, at: int) -> bytes:
        """Its SHA-256; a hole is not read for it."""
        if self.length_of(at) == CHUNK_BYTES and self._is_hole(at):
            return _ZERO_HASH
        return hash_of(self.chunk(at))

    def write(self, at: int, data: bytes) -> None:
        """Overwrite chunk `at`."""
        if len(data) != self.length_of(at):
            raise Failed("", f"chunk {at} of {self._path} has {self.length_of(at)} bytes, not {len(data)}")
        self._write(at * CHUNK_BYTES, data)

    def zero_tail(self) -> None:
        """Overwrite what lies behind the bytes that count, where it is not zero."""
        for offset in range(self.size_bytes, self.length, CHUNK_BYTES):
            size = min(CHUNK_BYTES, self.length - offset)
            if self._read(offset, size) != _ZEROS[:size]:
                self._write(offset, _ZEROS[:size])

    def sync(self) -> None:
        """Have on disk what was written."""
        os.fsync(self._handle)

    def digest(self, cancelled: Callable[[], bool], told: Callable[[int], None] = lambda at: None) -> str:
        """The SHA-256 of all that counts, read anew from the disk; `told` hears of each chunk. Cancelled when `cancelled` says so."""
        self.refresh()
        found = hashlib.sha256()
        for at in range(self.chunks):
            if cancelled():
                raise Cancelled(f"ended on request while {self._path} was read")
            found.update(self.chunk(at))
            told(at)
        return found.hexdigest()

    def _is_hole(self, at: int) -> bool:
        """Whether no block of the chunk was ever written, where the kernel tells that."""
        if not self._regular:
            return False
        try:
            return os.lseek(self._handle, at * CHUNK_BYTES, os.SEEK_DATA) >= at * CHUNK_BYTES + self.length_of(at)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return True
            if error.errno == errno.EINVAL:
                return False
            raise

    def _read(self, offset: int, size: int) -> bytes:
        return b"".join(self._pieces(offset, size))

    def _pieces(self, offset: int, size: int) -> Iterator[bytes]:
        while size:
            data = os.pread(self._handle, size, offset)
            if not data:
                raise Failed("", f"{self._path} ends at byte {offset}")
            yield data
            offset, size = offset + len(data), size - len(data)

    def _write(self, offset: int, data: bytes) -> None:
        left = memoryview(data)
        while left:
            written = os.pwrite(self._handle, left, offset)
            left, offset = left[written:], offset + written


def _is_regular(handle: int, path: str) -> bool:
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        raise Failed("", f"{path} is neither a regular file nor a block device")
    return stat.S_ISREG(mode)
