"""Which project of the file system's quotas files count for: the kernel's own attribute of each, set through handles.

chattr -R and xfs_quota's project -s open names, which an uploader could make a link to another's file meanwhile; here no name
is opened that is a link, and nothing but regular files and directories. Sources: ioctl_xfs_fsgetxattr(2), ext4(5) (project).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator

_GET, _SET = 0x801C581F, 0x401C5820
"""FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR of linux/fs.h."""
_RECORD = struct.Struct("=5I8x")
"""struct fsxattr: flags, extent size, extents, project, extent size of copies."""
_FLAGS, _PROJECT = 0, 3
_INHERITED = 0x200
DEEPEST = 32
"""Each level costs a handle; what an owner hid deeper before there was a quota is not counted."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def mark(top: str, path: str, project: int) -> None:
    """Give directory `path` below `top` the project, so that what is made in it gets it too, and what is in it already, DEEPEST levels down.

    OSError EOPNOTSUPP or ENOTTY where the file system knows no projects, ELOOP or ENOTDIR for a link.
    """
    with contextlib.ExitStack() as handles:
        handle = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        handles.callback(os.close, handle)
        for folder in path.split("/"):
            handle = os.open(folder, _DIRECTORY, dir_fd=handle)
            handles.callback(os.close, handle)
        device = os.fstat(handle).st_dev
        for where, folders, files, directory in os.fwalk(".", dir_fd=handle):
            deeper = where.count("/") < DEEPEST
            folders[:] = [folder for folder in folders if deeper and _device(directory, folder) == device]
            _set(directory, project, inherited=True)
            for file in _regular(directory, files):
                _set(file, project, inherited=False)


def project_of(handle: int) -> tuple[int, bool]:
    """The project of an open file or directory, and whether what is made in it inherits it."""
    found = _get(handle)
    return found[_PROJECT], bool(found[_FLAGS] & _INHERITED)


def _device(directory: int, name: str) -> int:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_dev
    except FileNotFoundError:
        return -1


def _regular(directory: int, names: list[str]) -> Iterator[int]:
    """Handles of the regular files among the names, each closed when the next is asked for; what goes meanwhile is passed by."""
    for name in names:
        try:
            if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                continue
            handle = os.open(name, _FILE, dir_fd=directory)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                raise
            continue
        try:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                yield handle
        finally:
            os.close(handle)


def _get(handle: int) -> list[int]:
    record = bytearray(_RECORD.size)
    fcntl.ioctl(handle, _GET, record)
    return list(_RECORD.unpack(record))


def _set(handle: int, project: int, *, inherited: bool) -> None:
    found = _get(handle)
    flags = found[_FLAGS] | _INHERITED if inherited else found[_FLAGS]
    if (found[_PROJECT], found[_FLAGS]) == (project, flags):
        return
    found[_FLAGS], found[_PROJECT] = flags, project
    fcntl.ioctl(handle, _SET, _RECORD.pack(*found))
