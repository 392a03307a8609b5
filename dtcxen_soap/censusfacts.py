"""How many there are: what every VPS of the node does now, and the journal's jobs by their state."""

from __future__ import annotations

from dataclasses import dataclass

VPS_STATES = ("running", "paused", "shutdown", "crashed", "dying", "stopped", "mkos", "fsck")
"""A job's word first (mkos, fsck: as getVPSState says it), then Xen's; "running" is also what waits for work or for a processor."""
JOB_STATES = ("queued", "running", "done", "failed", "cancelled", "interrupted")


@dataclass(frozen=True)
class NeedStates:
    """What every VPS does that is configured or runs, a word of VPS_STATES: Facts.states."""


@dataclass(frozen=True)
class NeedJobCounts:
    """How many jobs the journal holds in each of JOB_STATES: Facts.job_counts."""
