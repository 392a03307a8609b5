"""Interprets a Plan: order, holds, rollback, progress; every event goes to the journal, all output to the job's log.

Whatever ends a plan early, what it owes is paid newest first: undo of the steps that succeeded and
releases of what is held, each in its place. A cleanup that itself fails is told, and the others
still run. Once nothing is left but steps that may fail, the plan has succeeded: undo is forgotten.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from dtcxen_soap import actions, movesteps, plans
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Cancelled, DtcxenError, Failed
from dtcxen_soap.joblog import JobLog
from dtcxen_soap.journal import Held, Journal
from dtcxen_soap.plans import Hold, Look, Plan, Run, Step, walk
from dtcxen_soap.undorecords import undo_to_record
from dtcxen_soap.vps import Secret

SHORTEST_REDACTED = 4
_REASON_LIMIT = 4000


def execute(job: int, plan: Plan, dom0: Dom0, journal: Journal, cancelled: Callable[[], bool], after: Callable[[Step], None] = lambda step: None) -> str:
    """Run a plan to its end, or undo it and raise Failed or Cancelled; what its steps found out, in words ("" for nothing to tell).

    `after` hears of each step that succeeded. Raises TypeError before anything runs when an undo
    step could not be journalled: that is a planner's defect.
    """
    for step in walk(plan.whole):
        for back in step.undo:
            undo_to_record(back)
    with journal.log(job) as log:
        return _Execution(job, plan, dom0, journal, log, cancelled, after).whole()


def count(steps: tuple[Step, ...]) -> int:
    """How many steps these are, inner ones included; what a Look will add is not known yet."""
    return sum(1 for _ in walk(steps))


@dataclasses.dataclass(frozen=True)
class Following:
    """A Watch that journals the processes of a job; cleanups cannot be cancelled."""

    job: int
    journal: Journal
    asked: Callable[[], bool] = lambda: False

    def started(self, pid: int, start_time: int) -> None:
        """A daemon that finds this in the journal ends the group before it releases anything."""
        self.journal.process_started(self.job, pid, start_time)

    def ended(self, pid: int) -> None:
        """Nothing of the group lives."""
        self.journal.process_ended(self.job, pid)

    def cancelled(self) -> bool:
        """Whether the command is to be ended."""
        return self.asked()


class _Execution:
    """One plan under way. `_done` of `_whole` weight is done; a Look's steps share the Look's own weight."""

    def __init__(
        self, job: int, plan: Plan, dom0: Dom0, journal: Journal, log: JobLog, cancelled: Callable[[], bool], after: Callable[[Step], None],
    ) -> None:
        self._job, self._plan, self._dom0, self._journal, self._log, self._cancelled, self._after = job, plan, dom0, journal, log, cancelled, after
        self._watch, self._patient = Following(job, journal, cancelled), Following(job, journal)
        self._n, self._steps, self._name = 0, count(plan.whole), ""
        self._whole, self._done, self._percent = float(max(1, _weight(plan.whole))), 0.0, 0
        self._undone: list[str] = []
        self._troubles: list[str] = []
        self._outcomes: list[str] = []
        self._secrets = _secrets(plan.whole)

    def whole(self) -> str:
        """Run everything that counts with a rollback behind it, then what may fail, then the proof; the outcome in words."""
        for line in (self._plan.title, *(f"note: {note}" for note in self._plan.notes)):
            self._log.write(line)
        counts, rest = _split(self._plan.steps)
        try:
            with ExitStack() as undo:
                self._run_all(counts, undo, 1.0)
                undo.pop_all()
        except (Failed, Cancelled) as error:
            final = self._told(error)
            self._tell_hooks(str(final))
            raise final from error
        self._tidy("Forget the undo steps", lambda: self._journal.undo_forgotten(self._job))
        self._run_all(rest, ExitStack(), 1.0)
        self._prove()
        outcome = "; ".join((*filter(None, (self._plan.outcome,)), *self._outcomes))
        self._log.write(f"{_clock()} done" + (f": {outcome}" if outcome else ""))
        return outcome

    def _prove(self) -> None:
        """What was done stands, whatever the proof says."""
        try:
            self._run_all(self._plan.proof, ExitStack(), 1.0)
        except Failed as error:
            final = Failed(self._plan.unproven, str(error), error.command, error.tail)
            self._tell_hooks(str(final))
            raise final from error
        except Cancelled as error:
            self._tell_hooks(str(error))
            raise

    # -- steps ------------------------------------------------------------------------------------

    def _run_all(self, steps: tuple[Step, ...], undo: ExitStack, scale: float) -> None:
        for step in steps:
            self._step(step, undo, scale)

    def _step(self, step: Step, undo: ExitStack, scale: float) -> None:
        """One step with its place in the journal; its undo joins `undo` only once it succeeded."""
        optional = step.may_fail
        if not optional and self._cancelled():
            raise Cancelled(f"before: {step.why}")
        n, behind = self._announce(step), self._done + _weight((step,)) * scale
        try:
            self._intend(step, n)
            self._do(step, n, undo, scale)
        except (Failed, Cancelled) as error:
            if not optional:
                raise
            self._log.write(f"{error} (this step may fail: going on)")
        else:
            self._arm(step, undo)
            self._after(step)
        finally:
            self._journal.step_ended(self._job, n)
        self._done = behind

    def _announce(self, step: Step) -> int:
        self._n += 1
        self._name = step.why
        self._percent = self._reached(0.0)
        self._journal.step_started(self._job, self._n, self._steps, step.why, self._percent)
        self._log.write(f"{_clock()} [{self._n}/{self._steps} {self._percent}%] {step.why}")
        if step.destroys:
            self._log.write(f"DESTROYS {step.destroys}")
        return self._n

    def _reached(self, more: float) -> int:
        """Percent of the whole when `more` weight is done; never less than before, 100 only at the end."""
        return max(self._percent, min(99, int(100 * (self._done + more) / self._whole)))

    def _do(self, step: Step, n: int, undo: ExitStack, scale: float) -> None:
        if isinstance(step, Hold):
            self._hold(step, n, undo, scale)
        elif isinstance(step, Look):
            self._look(step, undo, scale)
        elif isinstance(step, Run):
            self._log.write(f"$ {self._clean(actions.command(step, self._dom0))}")
            with self._blame(step):
                self._found(actions.run(step, self._dom0, self._listener(step, scale), self._watch))
        else:
            with self._blame(step):
                self._found(actions.perform(step, self._dom0, self._journal, self._watch, self._teller(step, scale)))

    def _found(self, outcome: str) -> None:
        if outcome:
            self._outcomes.append(self._clean(outcome))

    def _look(self, step: Look, undo: ExitStack, scale: float) -> None:
        """Plan the rest over what is in the tree now; the new steps divide the Look's weight among them."""
        with self._blame(step):
            more = step.decide(self._dom0.tree(step.tree).look(step.texts, step.globs, step.heads))
            for inner in walk(more):
                for back in inner.undo:
                    undo_to_record(back)
        self._steps += count(more)
        self._secrets |= _secrets(more)
        self._run_all(more, undo, scale * step.weight / max(1, _weight(more)))

    def _listener(self, step: Run, scale: float) -> Callable[[str], None]:
        """Files each line of output, and moves the progress at each of the step's marks."""
        passed = 0

        def say(line: str) -> None:
            nonlocal passed
            self._log.output(self._clean(line))
            reached = next((place for place in range(len(step.marks), passed, -1) if step.marks[place - 1] in line), 0)
            if reached:
                passed = reached
                self._progress(self._reached(step.weight * scale * passed / (len(step.marks) + 1)))

        return say

    def _teller(self, step: Step, scale: float) -> Callable[[str, float], None]:
        """For a long step that knows how far it is."""
        def tell(text: str, share: float) -> None:
            if text:
                self._log.write(f"{_clock()} {self._clean(text)}")
            self._progress(self._reached(step.weight * scale * share))

        return tell

    def _progress(self, percent: int) -> None:
        if percent > self._percent:
            self._percent = percent
            self._journal.progress(self._job, percent)

    # -- holds and undo ---------------------------------------------------------------------------

    def _hold(self, hold: Hold, n: int, undo: ExitStack, scale: float) -> None:
        """Acquire, run the inner steps, always release; their undo outlives the hold, but runs within it if they fail."""
        with ExitStack() as held:
            with self._blame(hold):
                record = actions.hold_record(hold, n, self._dom0)
                self._journal.held(self._job, record.hold_id, record.kind, record.detail)
                held.push(self._releaser(hold, record))
                wanted = actions.acquire(hold, self._dom0, self._watch)
            self._done += hold.weight * scale
            inner = held.enter_context(ExitStack())
            if wanted:
                self._run_all(hold.steps, inner, scale)
            else:
                self._log.write(f"{_clock()} it is there already: {count(hold.steps)} steps are left out")
            undo.push(inner.pop_all())

    def _releaser(self, hold: Hold, record: Held) -> Callable[..., None]:
        """A release for an ExitStack: trouble while another error is on its way is told beside it, else it is the error."""
        why = f"Release: {hold.why}"

        def leave(kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
            self._log.write(f"{_clock()} release: {hold.why}")
            if self._tidy(why, lambda: actions.release(record, self._dom0, self._log.write)):
                self._tidy(why, lambda: self._journal.released(self._job, record.hold_id))
            elif kind is None:
                raise Failed(why, self._troubles.pop().removeprefix(f"{why}: "))

        return leave

    def _intend(self, step: Step, n: int) -> None:
        """Journal before the step what a crash within it would leave to undo, where that can be run without harm."""
        for back in reversed(step.undo):
            if self._harmless_before(back):
                self._journal.undo_intended(self._job, n, undo_to_record(back))

    def _harmless_before(self, back: Step) -> bool:
        """Whether `back` is right no matter how far its step got: what it removes or moves is not there before the step."""
        match back:
            case plans.RemoveFile() | plans.RemoveDirectory():
                return not self._dom0.exists(back.path)
            case plans.RenameFile() | plans.ExchangeFile():
                return not self._dom0.exists(back.source)
            case plans.RemoveVolume():
                return not self._dom0.volume_exists(back.vg, back.lv)
            case plans.RenameVolume() | plans.ExchangeVolume():
                return not self._dom0.volume_exists(back.vg, back.source)
            case plans.WriteFile() | plans.Symlink() | movesteps.DropAtPeer() | movesteps.StartAgain() | movesteps.TakeBack():
                return True
            case _:
                return False

    def _arm(self, step: Step, undo: ExitStack) -> None:
        """Let the step's undo join the rollback, and only then the journal, so that a full disk loses neither."""
        for back in reversed(step.undo):
            undo.callback(self._undo, back)
        for back in reversed(step.undo):
            self._journal.undo_pushed(self._job, undo_to_record(back))

    def _undo(self, back: Step) -> None:
        """Run one undo step. A command may not be repeatable, so it leaves the journal before it runs, the others after."""
        self._log.write(f"{_clock()} undo: {back.why}")
        if isinstance(back, Run):
            self._forget(back)
        found: list[str] = []
        paid = self._tidy(back.why, lambda: found.append(self._pay(back)))
        if paid:
            self._undone.append(f"{back.why} ({found[0]})" if found[0] else back.why)
        if not isinstance(back, Run) and (paid or not isinstance(back, movesteps.TakeBack)):
            self._forget(back)

    def _forget(self, back: Step) -> None:
        self._tidy("Write the journal", lambda: self._journal.undo_done(self._job, undo_to_record(back)))

    def _pay(self, step: Step) -> str:
        """Run an undo step or an error hook; what it found out, in words. No cancel cuts it short."""
        if isinstance(step, Run):
            self._log.write(f"$ {self._clean(actions.command(step, self._dom0))}")
            actions.run(step, self._dom0, lambda line: self._log.output(self._clean(line)), self._patient)
        elif not isinstance(step, Look | Hold):
            return actions.perform(step, self._dom0, self._journal, self._patient, lambda text, share: self._log.write(text) if text else None)
        return ""

    def _tidy(self, why: str, action: Callable[[], object]) -> bool:
        """Do one cleanup; its failure is logged and kept for the reason, never raised, for others still wait."""
        try:
            action()
        except (DtcxenError, OSError) as error:
            self._troubles.append(f"{why}: {self._clean(_reason(error, why))}")
            self._log.write(f"FAILED TO CLEAN UP: {self._troubles[-1]}")
            return False
        return True

    # -- failures ---------------------------------------------------------------------------------

    @contextmanager
    def _blame(self, step: Step) -> Iterator[None]:
        """Turn whatever goes wrong into a Failed of this step; a defect of ours goes to the log and tells nothing."""
        try:
            yield
        except Cancelled as error:
            raise Cancelled(f"during: {step.why}") from error
        except (DtcxenError, OSError) as error:
            command, tail = (error.command, error.tail) if isinstance(error, Failed) else ("", "")
            failed = Failed(step.why, self._clean(_reason(error, step.why)), self._clean(command), self._clean(tail))
            self._log.write(f"{_clock()} FAILED: {failed}")
            raise failed from error
        except Exception as error:
            self._log.write(self._clean(f"{_clock()} DEFECT: {step.why}\n{''.join(traceback.format_exception(error))}"))
            raise Failed(step.why, f"an internal error; the log of job {self._job} has its traceback") from error

    def _told(self, error: Failed | Cancelled) -> Failed | Cancelled:
        """The error as the caller hears it, once the rollback is over: with what was undone and what could not be."""
        undone = tuple(self._undone)
        trouble = f"; cleaning up failed: {'; '.join(self._troubles)}" if self._troubles else ""
        if isinstance(error, Cancelled):
            return Cancelled(f"{error}{trouble}")
        return Failed(error.why, f"{error.reason}{trouble}", error.command, error.tail, undone)

    def _tell_hooks(self, reason: str) -> None:
        """Run the plan's error hooks, each for itself."""
        self._log.write(f"{_clock()} {reason}")
        told = (("DTCXEN_FAILED_STEP", self._name), ("DTCXEN_REASON", reason.replace("\0", "")[:_REASON_LIMIT]))
        for step in self._plan.on_error:
            self._log.write(f"{_clock()} {step.why}")
            hook = dataclasses.replace(step, env=(*step.env, *told)) if isinstance(step, Run) else step
            try:
                self._pay(hook)
            except (DtcxenError, OSError) as error:
                self._log.write(f"{self._clean(_reason(error, step.why))} (an error hook may fail: going on)")

    def _clean(self, text: str) -> str:
        """The text without the plan's secrets. Very short ones stay: blotting them out everywhere would spell them."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "(redacted)")
        return text


def _clock() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}"


def _reason(error: Exception, why: str) -> str:
    """What an error says beyond the step's own purpose."""
    if isinstance(error, Failed):
        return error.reason if error.why in ("", why) else str(error)
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(str(part) for part in (error.filename, error.strerror) if part)
    return str(error) or type(error).__name__


def _split(steps: tuple[Step, ...]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The steps that count, and the ones at the end that may fail."""
    last = next((place for place in range(len(steps), 0, -1) if not steps[place - 1].may_fail), 0)
    return steps[:last], steps[last:]


def _weight(steps: tuple[Step, ...]) -> int:
    return sum(step.weight for step in walk(steps))


def _secrets(steps: tuple[Step, ...]) -> set[str]:
    """The secrets of these steps, line by line as a program would print them."""
    found: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, Secret):
            found.update(line for line in value.reveal().splitlines() if len(line) >= SHORTEST_REDACTED)
        elif isinstance(value, tuple):
            for item in value:
                collect(item)

    for step in walk(steps):
        for item in dataclasses.fields(step):
            collect(getattr(step, item.name))
    return found
