"""A small daemon that stops at a named point of a real plan and waits there to be killed: python killed.py DIRECTORY POINT.

A point is "method before", "method after" or "allocate_file half"; "" runs the plan to its end.
The last step inside the mount sleeps in a PID namespace until the file `go` is there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dtcxen_soap.dom0 import Dom0  # noqa: E402
from dtcxen_soap.execute import count, execute  # noqa: E402
from dtcxen_soap.journal import Journal  # noqa: E402
from dtcxen_soap.plans import AllocateFile, Mounted, Plan, RemoveFile, RenameFile, Run, ServicesOff, TreeWrite, WriteFile  # noqa: E402
from dtcxen_soap.vps import Mib, VpsId  # noqa: E402

SLEEP = 'echo asleep; test -e "$1/go" || { (setsid sleep 300 &) ; sleep 300; }'


def plan(directory: str) -> Plan:
    """An installation in small: an image, a file system, a mount, a tree, a program that takes its time, a swap."""
    new, image, config, at = (f"{directory}/{name}" for name in ("disks/new", "disks/root", "config", "mnt"))
    return Plan("install in small", (
        AllocateFile(why="Make the image.", path=new, size=Mib(48), undo=(RemoveFile(why="Remove the image.", path=new),)),
        Run(why="Make the file system.", argv=("mkfs.ext4", "-q", "-F", "--", new)),
        Mounted(why="Mount it.", source=new, at=at, fstype="ext4", steps=(
            TreeWrite(why="Name it.", tree=at, path="etc/hostname", content="small\n"),
            ServicesOff(why="No services.", tree=at, steps=(
                Run(why="Take time.", argv=("sh", "-c", SLEEP, "sh", directory), cwd=at, contained=True),)),
        )),
        RenameFile(why="Name the image.", source=new, target=image, undo=(RenameFile(why="Take the name back.", source=image, target=new),)),
        WriteFile(why="Write the configuration.", path=config, content="x\n", undo=(RemoveFile(why="Remove the configuration.", path=config),)),
    ))


def run(directory: str, dom0: Dom0) -> int:
    """Journal and execute the plan; the job's number."""
    journal = Journal(f"{directory}/journal.sqlite")
    journal.claim()
    todo = plan(directory)
    job = journal.begin("reinstallOS", VpsId(1), "dtc-xen", "job", (), count(todo.steps))
    journal.started(job)
    execute(job, todo, dom0, journal, lambda: False)
    journal.ended(job, "done")
    journal.close()
    return job


def wait_for_the_end() -> None:
    """Say so, and wait for a signal that nobody can catch."""
    print("here", flush=True)
    while True:
        sys.stdin.read()


class Stopping(Dom0):
    """The real machine, at one point of which everything stands still."""

    def __init__(self, point: str) -> None:
        self._method, _, self._when = point.partition(" ")

    def __getattribute__(self, name: str) -> Any:
        real = super().__getattribute__(name)
        if name.startswith("_") or name != self._method:
            return real
        return self._stop_around(real)

    def _stop_around(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if self._when == "before":
                wait_for_the_end()
            value = real(*arguments, **named)
            if self._when == "after":
                wait_for_the_end()
            return value
        return call


def stop_half_way() -> None:
    """Stop where an image has its blocks and not yet its name."""
    allocate = os.posix_fallocate

    def half(*arguments: int) -> None:
        allocate(*arguments)
        wait_for_the_end()

    os.posix_fallocate = half


if __name__ == "__main__":
    if sys.argv[2] == "allocate_file half":
        stop_half_way()
    run(sys.argv[1], Stopping(sys.argv[2]))
