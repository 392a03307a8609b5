"""What somebody who looks at a node asks for: the state of every VPS at once, and the log of a job from where the last look ended."""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap.vps import Mib, VpsId

VPS_STATES = ("running", "paused", "shutdown", "crashed", "dying", "stopped", "mkos", "fsck")
"""A job's word first (mkos, fsck: as getVPSState says it), then Xen's; "running" is also what waits for work or for a processor."""
JOB_STATES = ("queued", "running", "done", "failed", "cancelled", "interrupted")


@dataclass(frozen=True)
class NeedStates:
    """Every VPS of the node: Facts.states."""


@dataclass(frozen=True)
class NeedJobCounts:
    """How many jobs the journal holds in each of JOB_STATES: Facts.job_counts."""


@dataclass(frozen=True)
class NeedJobLog:
    """The log of one job from this byte on: Facts.job_log (None: there is none)."""

    job: int
    start: int


@dataclass(frozen=True)
class StateFact:
    """One VPS that is configured, has a disk or runs: `busy` is the word for a job that holds it, the rest is of a running domU.

    `trouble` says why it is not known whether one runs; `state` is Xen's word for it, "" where none runs.
    """

    vps: VpsId
    busy: str = ""
    trouble: str = ""
    state: str = ""
    rescue: bool = False
    domid: int | None = None
    memory: Mib | None = None
    vcpus: int | None = None
    flags: str | None = None
    cpu_seconds: float | None = None

    @property
    def word(self) -> str:
        """One of VPS_STATES; "" when it is not known."""
        if self.busy or self.trouble:
            return self.busy
        return "running" if self.state == "blocked" else self.state or "stopped"


@dataclass(frozen=True)
class LogPart:
    """Whole lines of a log, and the byte at which the next look goes on."""

    text: str
    end: int


def busy_word(operation: str) -> str:
    """The old panel's word for a job that holds a VPS: it knows two."""
    return "fsck" if "fsck" in operation.lower() else "mkos"
