"""A call that was checked and admitted, and what is told of one that was not: what the catalogue hands to the engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dtcxen_soap.access import Caller
from dtcxen_soap.facts import Facts, Need
from dtcxen_soap.plans import Plan
from dtcxen_soap.vps import VpsId


class Kind(Enum):
    """How an operation runs: it only reads; it changes something before it answers; it starts a job; it ends one."""

    READ = "read"
    NOW = "now"
    JOB = "job"
    CANCEL = "cancel"


@dataclass(frozen=True)
class Call:
    """An admitted call. `decide` makes, of the surveyed `needs`, an answer or a Plan; it is pure.

    A Plan is executed under the lock of `vps`, unless `plan_only` asks for its text alone.
    `arguments` is what the call said, for the audit: no secret is in it. `job` is set for Kind.CANCEL only. `takes_over`: it may end what an earlier, answered call left running.
    """

    operation: str
    kind: Kind
    caller: Caller
    vps: VpsId | None
    needs: tuple[Need, ...]
    decide: Callable[[Facts], Plan | Any]
    plan_only: bool = False
    job: int | None = None
    takes_over: bool = False
    arguments: str = ""


@dataclass(frozen=True)
class NotAdmitted:
    """A call that would have changed something, and was refused before anybody looked at the node; for the audit.

    Its values were not understood, so where one may be a secret `arguments` and `reason` hold none at all.
    """

    operation: str
    caller: Caller
    vps: VpsId | None
    arguments: str
    reason: str
