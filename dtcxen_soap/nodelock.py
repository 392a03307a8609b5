"""Locks of the whole node, for what all VPSes share: files that several threads, and other programs of ours, change.

A lock is an empty file with flock(2), which also keeps threads of one process apart, unlike fcntl's record locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator

from dtcxen_soap.errors import Busy, Cancelled

WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.05


@contextlib.contextmanager
def held(path: str, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock of this file, made when absent; Busy when somebody else has it for `wait_seconds`."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait_seconds
        while not _taken(handle):
            if time.monotonic() > deadline:
                raise Busy(f"the lock {path} was held by others for {wait_seconds:.0f} seconds; try again")
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Locks:
    """Locks that outlive the call that took them, each under a name of its holder's, so that whoever ends a hold needs no handle."""

    def __init__(self) -> None:
        self._handles: dict[str, int] = {}

    def take(self, name: str, path: str, cancelled: Callable[[], bool]) -> None:
        """Wait for the lock of this file as long as it takes; Cancelled when `cancelled` says so."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            while not _taken(handle):
                if cancelled():
                    raise Cancelled("ended on request while another job had the lock")
                time.sleep(_POLL_SECONDS)
        except BaseException:
            os.close(handle)
            raise
        self._handles[name] = handle

    def let_go(self, name: str) -> None:
        """Release what was taken under this name; fine when nothing was."""
        handle = self._handles.pop(name, None)
        if handle is not None:
            os.close(handle)
