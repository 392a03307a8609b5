"""What can go wrong, sorted by who must act: the caller, the caller later, or the node's admin.

Everything that crosses from the engine to a shell is one of these; any other exception is a defect
of ours, is logged in full and tells the caller nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


class DtcxenError(Exception):
    """Root of the tree; never raised itself."""


@dataclass(frozen=True)
class ParameterFault:
    """One fault of one parameter.

    `kind` is one word of soap.md's list (MissingParameter, UnknownParameter, RepeatedParameter,
    NilParameter, InvalidParameter, ParameterType, ParameterOrder, UnknownOperation). The texts
    never hold a secret: whoever makes a fault of a secret parameter leaves its value out.
    `tells_value`: `problem` quotes what was given, as far as the caller may see it again.
    """

    operation: str
    parameter: str
    kind: str
    problem: str
    expected: str = ""
    tells_value: bool = False

    def __str__(self) -> str:
        return self._told(self.problem)

    def without_value(self) -> str:
        """The same for others than the caller, who may have put a secret into the wrong parameter."""
        return self._told("not valid" if self.tells_value else self.problem)

    def _told(self, problem: str) -> str:
        where = f"{self.operation}: {self.parameter}: " if self.parameter else f"{self.operation}: "
        return where + problem + (f", expected {self.expected}" if self.expected else "")


class Refused(DtcxenError):
    """The caller must change the call. Holds every fault of the request, not the first one."""

    def __init__(self, *faults: ParameterFault) -> None:
        super().__init__("; ".join(str(fault) for fault in faults))
        self.faults = faults


class NotAllowed(DtcxenError):
    """The caller may not do this, now or later."""


class Missing(DtcxenError):
    """What the call names is not there (no such job, no disk, no log): the caller must make it first."""


class Busy(DtcxenError):
    """Another job holds what the call needs; the caller may try again when it has ended."""

    def __init__(self, text: str, job: int | None = None) -> None:
        super().__init__(text)
        self.job = job


class Failed(DtcxenError):
    """The node could not do it; its admin finds the step, the command and what it said.

    `undone` names what was rolled back; `tail` is the last output of the command.
    """

    def __init__(self, why: str, reason: str, command: str = "", tail: str = "", undone: tuple[str, ...] = ()) -> None:
        super().__init__(f"{why.rstrip('.')}: {reason}" if why else reason)
        self.why, self.reason, self.command, self.tail, self.undone = why, reason, command, tail, undone

    def in_full(self) -> str:
        """All of it on lines of its own: what failed, the command to paste, what it said last, what was undone."""
        parts = (str(self), self.command and f"command: {self.command}", self.tail and f"it said last:\n{self.tail}",
                 self.undone and f"undone: {' '.join(self.undone)}")
        return "\n".join(part for part in parts if part)


class Cancelled(DtcxenError):
    """A caller asked for the end of this job, and it ended."""


class Misconfigured(DtcxenError):
    """The admin's configuration cannot be used; every problem is listed with file and line."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
