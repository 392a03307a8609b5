"""Copying of the node's kernel and modules into a guest tree, on handles: no link of the target is followed."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 30


def copy_directory(source: str, parent: int, name: str) -> None:
    """Copy the directory `source` to `name` in the directory `parent`; what is there is merged, its files replaced."""
    handle = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _directory(handle, parent, name)
    finally:
        os.close(handle)


def copy_regular_file(source: str, parent: int, name: str, mode: int) -> None:
    """Copy the file `source`, links of the node followed, to the new file `name` in the directory `parent`. OSError EINVAL for what is no regular file."""
    reader = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(reader).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", source)
        writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        try:
            _content(reader, writer)
            os.fchown(writer, 0, 0)
            os.fchmod(writer, mode)
            os.fsync(writer)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _directory(source: int, parent: int, name: str) -> None:
    """One directory and all below it."""
    _clear(parent, name, keep_directory=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    target = os.open(name, _LIST, dir_fd=parent)
    try:
        for entry in sorted(os.listdir(source)):
            _entry(source, target, entry)
        _same(target, os.fstat(source))
    finally:
        os.close(target)


def _entry(source: int, target: int, name: str) -> None:
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        handle = os.open(name, _LIST, dir_fd=source)
        try:
            _directory(handle, target, name)
        finally:
            os.close(handle)
        return
    _clear(target, name)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    elif stat.S_ISREG(status.st_mode):
        _file(source, target, name)
    else:
        raise OSError(errno.EINVAL, "neither a directory, a regular file nor a link", name)


def _file(source: int, target: int, name: str) -> None:
    reader = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
    try:
        writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            _content(reader, writer)
            _same(writer, os.fstat(reader))
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _content(reader: int, writer: int) -> None:
    while os.sendfile(writer, reader, None, _CHUNK):
        pass


def _same(handle: int, status: os.stat_result) -> None:
    """Root's, with the source's permission bits and times; depmod compares the latter."""
    os.fchown(handle, 0, 0)
    os.fchmod(handle, stat.S_IMODE(status.st_mode))
    os.utime(handle, ns=(status.st_atime_ns, status.st_mtime_ns))


def _clear(parent: int, name: str, keep_directory: bool = False) -> None:
    """Take away what is in the way; a directory in a file's way is an error of the unlink."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not (keep_directory and stat.S_ISDIR(status.st_mode)):
        os.unlink(name, dir_fd=parent)
