"""The readable face of one job: a file that an admin can follow with tail -f and paste commands from.

A log that cannot be written never stops a job, least of all its rollback: lines that a full disk
swallowed are counted and told as soon as one fits again. What programs print is limited and cleaned
of control characters, since it may come from a guest.
"""

from __future__ import annotations

import os
from types import TracebackType

from dtcxen_soap.lookfacts import LogPart

OUTPUT_LIMIT = 32 << 20
TAIL_LIMIT = 4 << 20
PART_LIMIT = 1 << 18
_CLEAN = {code: "?" for code in (*range(9), *range(10, 32), *range(127, 160))}


class JobLog:
    """Appends whole lines to one file, mode 0600; a context manager."""

    def __init__(self, path: str, output_limit: int = OUTPUT_LIMIT) -> None:
        self.path, self._limit, self._lost, self._printed, self._file = path, output_limit, 0, 0, -1

    def __enter__(self) -> JobLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def write(self, line: str) -> None:
        """Append one line of ours (or several, split at newlines)."""
        for part in line.split("\n"):
            self._append(part)

    def output(self, line: str) -> None:
        """Append one line of a program; nothing beyond 32 MiB, so that no guest fills the node's disk."""
        if self._printed > self._limit:
            return
        self._printed += len(line) + 1
        self._append(line if self._printed <= self._limit else f"(output beyond {self._limit >> 20} MiB is left out)")

    def _append(self, line: str) -> None:
        told = f"({self._lost} lines are lost: the log could not be written)\n" if self._lost else ""
        data = f"{told}{line.translate(_CLEAN)}\n".encode(errors="replace")
        try:
            if self._file < 0:
                self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            while data:
                data = data[os.write(self._file, data):]
        except OSError:
            self._lost += 1
        else:
            self._lost = 0

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def tail(path: str, lines: int) -> str | None:
    """The last `lines` lines (0: all) of a log, at most 4 MiB; None when it is not there."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - TAIL_LIMIT))
            text = file.read(TAIL_LIMIT).decode(errors="replace")
    except FileNotFoundError:
        return None
    kept = text.splitlines()
    if size > TAIL_LIMIT:
        kept = kept[1:]
    return "\n".join(kept[-lines:] if lines else kept)


def part(path: str, start: int) -> LogPart | None:
    """Whole lines of a log from this byte on, at most 256 KiB; nothing yet when a line is only half written. None when the log is not there."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read(PART_LIMIT)
    except FileNotFoundError:
        return None
    if len(data) < PART_LIMIT or b"\n" in data:
        data = data[:data.rfind(b"\n") + 1]
    return LogPart(data.decode(errors="replace"), start + len(data))
