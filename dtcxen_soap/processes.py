"""Starting, watching and ending commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Ran:
    """How a command ended. `code` is a shell's: 124 timed out, 127 not found, 128+n ended by signal n.

    `output` is the last 64 KiB of what it said, secrets redacted; of `capture` it is all of standard output.
    """

    code: int
    output: str


class Watch(Protocol):
    """Who follows a command while it runs; called from the thread that runs it.

    `started` and `ended` get the leader of the command's session and its start time as /proc tells it.
    """

    def started(self, pid: int, start_time: int) -> None: ...

    def ended(self, pid: int) -> None: ...

    def cancelled(self) -> bool: ...


class Unwatched:
    """A Watch for what nobody follows."""

    def started(self, pid: int, start_time: int) -> None:
        """Nobody asks."""

    def ended(self, pid: int) -> None:
        """Nobody asks."""

    def cancelled(self) -> bool:
        return False
