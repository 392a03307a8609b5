"""ISOs in the homes of VPS owners, hostile ground, where a name may be a link, a pipe or a lie; and those of the node's library.

Directories are opened one by one from ttyssh_home on, never through a link; a file counts only
when it is regular and begins as ISO 9660 says (ECMA-119, 8.1: "CD001" in the first volume descriptor).
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

from dtcxen_soap.facts import IsoFact
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import VpsId

SIGNATURE = b"CD001"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SIGNATURE_AT = 32769
MOST = 1000
MOST_ENTRIES = 20_000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LAST_SECOND = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


def isos(settings: Settings, vps: VpsId) -> tuple[IsoFact, ...]:
    """The ISOs in the VPS's iso/, and those in its home, where the original had them, at most MOST; then the node's library. Each by name.

    A name that is in both places of the home means the one in iso/. One that is in the library too is told twice: the VPS's own comes first.
    """
    found: dict[str, IsoFact] = {}
    for folders in ((vps.name, "iso"), (vps.name,)):
        for iso in _in_directory(settings.ttyssh_home, folders):
            if len(found) < MOST:
                found.setdefault(iso.name, iso)
    return *(found[name] for name in sorted(found)), *library(settings)


def library(settings: Settings) -> tuple[IsoFact, ...]:
    """The admin's ISOs: those whose name needs no quoting, in a directory that, like each of them, only root may change.

    The directory itself may be reached by a link, as admins do it; its real path is told.
    """
    directory = os.path.realpath(settings.iso_library)
    if not _only_roots(directory):
        return ()
    found = itertools.islice(_in_directory(directory, ()), MOST)
    return tuple(dataclasses.replace(iso, library=True) for iso in found if _PLAIN_NAME.fullmatch(iso.name) and _only_roots(iso.path))


def _only_roots(path: str) -> bool:
    """Whether nobody but root, or who tries this node out as himself, may change it."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def _in_directory(top: str, folders: tuple[str, ...]) -> Iterator[IsoFact]:
    with ExitStack() as handles:
        try:
            handle = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            handles.callback(os.close, handle)
            for folder in folders:
                handle = os.open(folder, _DIRECTORY, dir_fd=handle)
                handles.callback(os.close, handle)
            names = sorted(_names(handle))
        except OSError:
            return
        for name in names:
            if (iso := _iso(handle, name, "/".join((top, *folders, name)))) is not None:
                yield iso


def _names(directory: int) -> Iterator[str]:
    """Names of ISOs among the first MOST_ENTRIES; never one that a reply or a terminal could choke on."""
    with os.scandir(directory) as entries:
        for entry in itertools.islice(entries, MOST_ENTRIES):
            if entry.name.lower().endswith(".iso") and entry.name.isprintable():
                yield entry.name


def _iso(directory: int, name: str, path: str) -> IsoFact | None:
    """The ISO of this name; None when it is none. Only regular files are opened, since opening others may have effects."""
    try:
        if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            return None
        handle = os.open(name, _FILE, dir_fd=directory)
    except OSError:
        return None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or os.pread(handle, len(SIGNATURE), SIGNATURE_AT) != SIGNATURE:
            return None
        return IsoFact(name, status.st_size, _time(status.st_mtime), path)
    except OSError:
        return None
    finally:
        os.close(handle)


def _time(seconds: float) -> datetime:
    """Owners may set any time, also those that no calendar has."""
    return datetime.fromtimestamp(min(max(int(seconds), 0), int(_LAST_SECOND)), UTC)
