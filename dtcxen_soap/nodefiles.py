"""The node's own files: they appear whole, under a temporary name in the same directory first, and survive a crash.

Errors are the system calls' own OSError. Sources: rename(2), link(2), fallocate(2), lseek(2) on
SEEK_DATA. Paths here are ours (settings, names we made); a guest's are tree.py's.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator

from dtcxen_soap.errors import Cancelled

_PIECE = 1 << 20
"""How much of a long file is read at once."""


def read_bytes(path: str, limit: int) -> bytes:
    """A whole file; OSError EFBIG when it is longer than `limit`, so nobody takes a part for all."""
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return data


def digest(path: str, cancelled: Callable[[], bool]) -> str:
    """The SHA-256 of a whole file, which may be long, in hexadecimal digits; Cancelled as soon as `cancelled` says so."""
    found = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(_PIECE):
            if cancelled():
                raise Cancelled(f"ended on request while {path} was read")
            found.update(data)
    return found.hexdigest()


def read_from(path: str, offset: int, limit: int) -> bytes:
    """At most `limit` bytes of a file from `offset` on, of what is there now."""
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(limit)


def write(path: str, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Write a file with exactly `mode`, owned by (uid, gid) or whoever writes; it and its directory are on disk when this returns."""
    with _new_beside(path, mode) as (handle, temporary):
        with open(handle, "wb", closefd=False) as file:
            file.write(data)
        if owner is not None:
            os.fchown(handle, *owner)
            os.fchmod(handle, mode)
        os.fsync(handle)
        os.rename(temporary, path)
    _sync_directory(path)


def allocate(path: str, size_bytes: int, sparse: bool, mode: int) -> None:
    """Make a file that reads as zeros, its blocks reserved unless `sparse`; FileExistsError when `path` is there.

    A link to a name fails if the name exists, where a rename would replace it.
    """
    with _new_beside(path, mode) as (handle, temporary):
        if sparse or not size_bytes:
            os.ftruncate(handle, size_bytes)
        else:
            os.posix_fallocate(handle, 0, size_bytes)
        os.fsync(handle)
        os.link(temporary, path)
    _sync_directory(path)


@contextlib.contextmanager
def _new_beside(path: str, mode: int) -> Iterator[tuple[int, str]]:
    """A new file in the directory of `path`, gone again at the end unless it was renamed; parents are not made."""
    temporary = os.path.join(os.path.dirname(path), f".dtcxen-{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(handle, mode)
        yield handle, temporary
    finally:
        os.close(handle)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def remove(path: str) -> None:
    """Remove a file or a link, never a directory; fine when it is gone."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    _sync_directory(path)


def remove_directory(path: str) -> bool:
    """Remove a directory unless anything is in it; whether it is gone."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            raise
        return False
    _sync_directory(path)
    return True


def rename(source: str, target: str) -> None:
    """Rename a file, the target's parents made; FileExistsError when the target is there.

    Two names for a moment, then one, since rename(2) replaces. After a crash in between, calling it
    again finds its own half-done work and ends it.
    """
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    _link_once(source, target)
    _sync_directory(target)
    os.unlink(source)
    _sync_directory(source)


def exchange(source: str, target: str, keep: str) -> None:
    """Put `source` in the place of `target`, which lives on as `keep`; at no moment is there no `target`.

    Fails before any change when `source` is missing, and with FileExistsError when `keep` is
    another file than `target`. A crash leaves at worst `target` and `keep` as two names of the old
    file, and calling it again then goes on.
    """
    os.stat(source)
    _link_once(target, keep)
    _sync_directory(keep)
    os.rename(source, target)
    _sync_directory(target)


def _link_once(source: str, target: str) -> None:
    """Give `source` a second name, unless it has that name already."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        if not os.path.samestat(os.lstat(source), os.lstat(target)):
            raise


def pin(top: str, path: str, target: str) -> None:
    """Give the regular file `path`, somewhere below `top`, the further name `target` in one move; no link on the way is followed.

    The directory of `target` must be root's alone, and `top` nobody else's to change. OSError, also
    ELOOP for a link, and EXDEV when the two lie in different file systems.
    """
    private = os.path.dirname(target)
    for directory, others in ((top, 0o022), (private, 0o077)):
        status = os.stat(directory)
        if status.st_uid != os.geteuid() or status.st_mode & others:
            raise PermissionError(errno.EPERM, "others than root may change what is there", directory)
    temporary = os.path.join(private, f".dtcxen-{secrets.token_hex(8)}")
    with _directory_of(top, path) as handle:
        os.link(os.path.basename(path), temporary, src_dir_fd=handle, follow_symlinks=False)
    try:
        if not stat.S_ISREG(os.lstat(temporary).st_mode):
            raise OSError(errno.ELOOP, "not a regular file", path)
        os.rename(temporary, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    _sync_directory(target)


@contextlib.contextmanager
def _directory_of(top: str, path: str) -> Iterator[int]:
    """The directory that holds `path`, opened step by step from `top`; OSError ENOTDIR or ELOOP at a link."""
    with contextlib.ExitStack() as handles:
        handle = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        handles.callback(os.close, handle)
        for name in os.path.relpath(os.path.dirname(path), top).split("/"):
            if name == "..":
                raise OSError(errno.EXDEV, f"lies outside {top}", path)
            handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
            handles.callback(os.close, handle)
        yield handle


def symlink(path: str, target: str) -> None:
    """Make or replace a symbolic link in one move."""
    temporary = os.path.join(os.path.dirname(path), f".dtcxen-{secrets.token_hex(8)}")
    os.symlink(target, temporary)
    try:
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    _sync_directory(path)


def make_directory(path: str, mode: int) -> None:
    """Make a directory with exactly `mode`, its parents with 0755; one that is there keeps its own."""
    os.makedirs(os.path.dirname(path) or "/", mode=0o755, exist_ok=True)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
        return
    os.chmod(path, mode)


def listdir(path: str) -> tuple[str, ...]:
    """Names in a directory, sorted; none when there is no such directory."""
    try:
        return tuple(sorted(os.listdir(path)))
    except (FileNotFoundError, NotADirectoryError):
        return ()


def blank(path: str) -> bool:
    """Whether no block of an image file was ever written: reserved ones that were not count as blank.

    Zeros that somebody merely read would look written while the kernel keeps them cached, so clean
    pages are dropped first. False whenever the kernel cannot tell: of a block device, or on a file
    system without SEEK_DATA.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.lseek(handle, 0, os.SEEK_DATA)
    except OSError as error:
        if error.errno not in (errno.ENXIO, errno.EINVAL):
            raise
        return error.errno == errno.ENXIO
    finally:
        os.close(handle)
    return False


def size(path: str) -> int | None:
    """How long a regular file is; None for anything else, or nothing, of that name."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def free_bytes(path: str) -> int:
    """What an ordinary file could still grow by in the file system that holds, or would hold, `path`."""
    while not os.path.exists(path):
        path = os.path.dirname(path) or "/"
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def sync(path: str) -> None:
    """Have a file's bytes, or a directory's names, on disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_directory(path: str) -> None:
    """Make a directory's new names survive a crash."""
    handle = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
