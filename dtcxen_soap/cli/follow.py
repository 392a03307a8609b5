"""Following a job: a bar with its step on a terminal, a line per step elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from dtcxen_soap.cli.console import Unreachable, complain, remark

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 30.0
WORTH_A_LINE_SECONDS = 1.0
LIVE = ("queued", "running")
Record = dict[str, Any]


def follow(get: Callable[[], Record], on_terminal: bool, wait: Callable[[float], None] = time.sleep) -> Record:
    """Ask until the job has ended; its last record. Who interrupts is told that the job goes on."""
    record: Record = {}
    record = get()
    try:
        return _on_terminal(record, get, wait) if on_terminal else _in_lines(record, get, wait)
    except KeyboardInterrupt:
        remark(f"\njob {record['id']} goes on; dtcxen call cancelJob job={record['id']} ends it")
        raise


def _next(get: Callable[[], Record], wait: Callable[[float], None]) -> Record:
    """The record a moment later. A daemon that restarts is waited for: the job's end is in its journal."""
    deadline = PATIENCE_SECONDS
    while True:
        wait(POLL_SECONDS)
        try:
            return get()
        except Unreachable:
            deadline -= POLL_SECONDS
            if deadline <= 0:
                raise


def _in_lines(record: Record, get: Callable[[], Record], wait: Callable[[float], None]) -> Record:
    shown: tuple[Any, ...] = ()
    while True:
        step = (record["step"], record["stepName"])
        if step != shown and record["step"]:
            remark(f"  step {record['step']}/{record['steps']}  {record['percent']:3} %  {record['stepName']}")
            shown = step
        if record["state"] not in LIVE:
            return record
        record = _next(get, wait)


class _Step(ProgressColumn):
    """Step n of m; nothing while the job is queued."""

    def render(self, task: Task) -> str:
        record = task.fields["record"]
        return f"step {record['step']}/{record['steps']}" if record["step"] else record["state"]


def _on_terminal(record: Record, get: Callable[[], Record], wait: Callable[[float], None]) -> Record:
    name = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"))
    columns = (_Step(), name, BarColumn(16), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), expand=True) as progress:
        task = progress.add_task("", total=100, record=record)
        seen, since = record, time.monotonic()
        while True:
            if record["step"] != seen["step"] or record["state"] not in LIVE:
                _leave(progress, seen, time.monotonic() - since)
                seen, since = record, time.monotonic()
            progress.update(task, completed=record["percent"], description=record["stepName"] or "waiting", record=record)
            if record["state"] not in LIVE:
                return record
            record = _next(get, wait)


def _leave(progress: Progress, record: Record, seconds: float) -> None:
    """A line above the bar for a step that took its time and has ended."""
    if record["step"] and seconds >= WORTH_A_LINE_SECONDS:
        progress.console.print(Text(f"step {record['step']}/{record['steps']}  {record['stepName']}  {seconds:.0f} s"), soft_wrap=True)


def tell(record: Record) -> bool:
    """Say how the job ended; whether it did what was asked."""
    took = record["ended"] - record["started"] if record["ended"] and record["started"] else None
    duration = f" in {took.total_seconds():.0f} s" if took is not None else ""
    if record["state"] == "done":
        remark(f"job {record['id']} ({record['operation']}) is done{duration}")
        return True
    complain(f"job {record['id']} ({record['operation']}) {_ending(record)}{duration}")
    return False


def _ending(record: Record) -> str:
    where = f" at step {record['step']} of {record['steps']} ({record['stepName']})" if record["step"] else ""
    reason = f": {record['reason']}" if record["reason"] else ""
    words = {"failed": "failed", "cancelled": "was cancelled", "interrupted": "was interrupted"}
    return f"{words.get(record['state'], record['state'])}{where}{reason}"
