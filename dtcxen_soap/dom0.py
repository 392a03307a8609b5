"""The machine, behind one object: everything that reads or changes dom0 goes through Dom0.

Rooms of the edge: processes.py starts and ends commands, mounts.py owns mounts and loop devices,
nodefiles.py the node's own files, tarballs.py reads archives, tree.py guest trees, confine.py is
the small program inside which commands of others run. Errors: OSError of the system call as it
came, Failed where a tool said why, Cancelled when a Watch asked for the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from dtcxen_soap.facts import Member
from dtcxen_soap.plans import Run
from dtcxen_soap.processes import Ran, Unwatched, Watch
from dtcxen_soap.tree import Tree

__all__ = ["Dom0", "Ran", "Tree", "Unwatched", "Watch"]


class Dom0:
    """This machine. Stateless, so threads may share one."""

    def command_of(self, step: Run) -> tuple[str, ...]:
        """What is really started for `step`, containment included, ready to paste."""
        raise NotImplementedError

    def run(self, step: Run, say: Callable[[str], None], watch: Watch) -> Ran:
        """Run a step's command."""
        raise NotImplementedError

    def capture(self, argv: tuple[str, ...], timeout_seconds: int = 30) -> Ran:
        """Run a command that only reads and return its standard output."""
        raise NotImplementedError

    def end_group(self, pid: int, start_time: int) -> bool:
        """End what an earlier daemon started; whether there was anything."""
        raise NotImplementedError

    def read_bytes(self, path: str, limit: int = 1 << 20) -> bytes:
        """A whole file of at most `limit` bytes."""
        raise NotImplementedError

    def read_text(self, path: str, limit: int = 1 << 20) -> str:
        """A whole UTF-8 file of at most `limit` bytes."""
        raise NotImplementedError

    def exists(self, path: str) -> bool:
        """Whether something has this name."""
        raise NotImplementedError

    def listdir(self, path: str) -> tuple[str, ...]:
        """Names in a directory, sorted; none when it is absent."""
        raise NotImplementedError

    def stat(self, path: str) -> os.stat_result:
        """os.stat, links followed."""
        raise NotImplementedError

    def is_regular(self, path: str) -> bool:
        """Whether the name itself, no link, is a regular file."""
        raise NotImplementedError

    def blank(self, path: str) -> bool:
        """Whether no block was ever written."""
        raise NotImplementedError

    def free_bytes(self, path: str) -> int:
        """Free space of the file system that holds, or would hold, `path`."""
        raise NotImplementedError

    def write_file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file whole or not at all."""
        raise NotImplementedError

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        """Make a directory and its parents; fine when it is there."""
        raise NotImplementedError

    def allocate_file(self, path: str, size_bytes: int, sparse: bool, mode: int = 0o600) -> None:
        """Make a file that reads as zeros; FileExistsError when `path` is there."""
        raise NotImplementedError

    def remove_file(self, path: str) -> None:
        """Remove a file; fine when it is gone."""
        raise NotImplementedError

    def rename_file(self, source: str, target: str) -> None:
        """Rename; FileExistsError when `target` is there."""
        raise NotImplementedError

    def exchange_file(self, source: str, target: str, keep: str) -> None:
        """Put `source` in the place of `target`, which lives on as `keep`."""
        raise NotImplementedError

    def symlink(self, path: str, target: str) -> None:
        """Make or replace a link in one move."""
        raise NotImplementedError

    def mount(self, source: str, at: str, fstype: str, options: str = "") -> None:
        """Mount a device or an image file at a directory, which is made when absent."""
        raise NotImplementedError

    def unmount(self, at: str, say: Callable[[str], None] = lambda line: None) -> None:
        """Unmount `at` and all below it; fine when nothing is mounted there."""
        raise NotImplementedError

    def mounts_below(self, prefix: str) -> tuple[str, ...]:
        """Mount points at or below `prefix`, the last mounted first."""
        raise NotImplementedError

    def mounted_at(self, path: str) -> bool:
        """Whether `path` is a mount point."""
        raise NotImplementedError

    def loop_devices_of(self, path: str) -> tuple[str, ...]:
        """Loop devices that `path` backs."""
        raise NotImplementedError

    def detach_loop(self, device: str) -> None:
        """Free a loop device; fine when it is free."""
        raise NotImplementedError

    def commands(self, names: Iterable[str]) -> frozenset[str]:
        """Those of `names` that are installed."""
        raise NotImplementedError

    def uname_release(self) -> str:
        """Release of the running kernel."""
        raise NotImplementedError

    def hostname(self) -> str:
        """The node's host name."""
        raise NotImplementedError

    def tree(self, root: str) -> Tree:
        """A guest tree, links kept inside."""
        raise NotImplementedError

    def check_tarball(self, path: str, judge: Callable[[Iterable[Member]], str], watch: Watch | None = None) -> None:
        """Let `judge` see every member; Failed with its text when it says one."""
        raise NotImplementedError
