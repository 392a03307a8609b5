"""What every kind of step has: why it is done, what undoes it, what it destroys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtcxen_soap.plans import Step


@dataclass(frozen=True, kw_only=True)
class OneStep:
    """`weight` is the step's share of the job's time, for the progress bar only.

    With `may_fail` a failure is logged and the plan goes on. Once nothing but such steps is left the plan has succeeded and its undo is forgotten, so what drops the old
    for good belongs there.
    """

    why: str
    undo: tuple[Step, ...] = ()
    destroys: str = ""
    weight: int = 1
    may_fail: bool = False
