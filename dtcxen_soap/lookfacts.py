"""What somebody who looks at a node asks for: the state of every VPS at once, and the log of a job from where the last look ended."""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap.vps import Mib, VpsId


@dataclass(frozen=True)
class NeedStates:
    """Every VPS of the node: Facts.states."""


@dataclass(frozen=True)
class NeedJobLog:
    """The log of one job from this byte on: Facts.job_log (None: there is none)."""

    job: int
    start: int


@dataclass(frozen=True)
class StateFact:
    """One VPS that is configured, has a disk or runs: `busy` is the word for a job that holds it, the rest is of a running domU.

    `trouble` says why it is not known whether one runs.
    """

    vps: VpsId
    busy: str = ""
    trouble: str = ""
    rescue: bool = False
    domid: int | None = None
    memory: Mib | None = None
    vcpus: int | None = None
    flags: str | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True)
class LogPart:
    """Whole lines of a log, and the byte at which the next look goes on."""

    text: str
    end: int


def busy_word(operation: str) -> str:
    """The old panel's word for a job that holds a VPS: it knows two."""
    return "fsck" if "fsck" in operation.lower() else "mkos"
