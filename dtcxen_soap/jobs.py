"""Admits calls and runs them: who may go now, who waits, who is told Busy, and how everything ends.

Three bounded pools of threads keep slow work from delaying the rest: one reads, one runs changes
that answer when they are done, one runs jobs. A changing call holds its VPS from admission to the
end. Space is shared by all VPSes: survey and decision of whatever looks at disks are serialised,
and what an admitted plan will allocate counts as taken until that step is done.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock
from typing import Any

from dtcxen_soap import planprint, plans
from dtcxen_soap.access import Caller
from dtcxen_soap.answers import CancelAsked, JobStarted
from dtcxen_soap.calls import Call, Kind, NotAdmitted
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Busy, Cancelled, DtcxenError, Failed, Missing
from dtcxen_soap.execute import count, execute
from dtcxen_soap.facts import Facts, Need, NeedDisks, NeedMemory
from dtcxen_soap.journal import Journal
from dtcxen_soap.logfields import AUDIT, about
from dtcxen_soap.lookfacts import busy_word
from dtcxen_soap.plans import Plan, Step, walk
from dtcxen_soap.recover import recover
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import VpsId
from dtcxen_soap.workers import Pool, Work

READ_THREADS, WAITING_READS = 16, 512
NOW_THREADS, WAITING_NOW = 8, 256
WAITING_JOBS = 100
CANCEL_SECONDS = 5.0
TAKE_OVER_SECONDS = 15.0
STOP_SECONDS = 10.0
MOST_REFUSALS, REFUSALS_SECONDS = 100, 3600.0
"""So many rows of one caller's calls that were not admitted does the audit take in that time: an owner must not fill the node's disk with them."""

LATER = "later"
"""Kind of the journal's records of what a call left for after its answer."""

_log, _audit_log = logging.getLogger(__name__), logging.getLogger(AUDIT)


@dataclass(eq=False)
class _Holder:
    """A changing call that holds its VPS.

    `taking` is what its steps will still use up, in bytes by place, under each step's identity.
    `later` is set once the call was answered and its plan goes on: then the next call may end it.
    `before` is whom this call took the VPS from.
    """

    call: Call
    job: int | None = None
    work: Work | None = None
    taking: dict[int, dict[str, int]] = field(default_factory=dict)
    later: Plan | None = None
    before: _Holder | None = None
    asked: Event = field(default_factory=Event)
    over: Event = field(default_factory=Event)
    ending: tuple[str, str] = ("cancelled", "cancelled")

    def __str__(self) -> str:
        """Who holds it, for whoever must wait."""
        return f"job {self.job} ({self.call.operation})" if self.job else f"a call of {self.call.operation}"


class Jobs:
    """The engine: `submit` a call, get a future of its answer or error (errors.py). Safe from any thread, never blocks."""

    def __init__(
            self, settings: Settings, dom0: Dom0, journal: Journal, survey: Callable[[tuple[Need, ...]], Facts],
            work_left: Callable[[], None] = lambda: None) -> None:
        """`work_left` is called, from any thread, when a plan left something to the node's housekeeping."""
        self._settings, self._dom0, self._journal, self._survey, self._work_left = settings, dom0, journal, survey, work_left
        self._reads = Pool("read", READ_THREADS, WAITING_READS)
        self._now = Pool("now", NOW_THREADS, WAITING_NOW)
        self._long = Pool("job", settings.worker_threads, WAITING_JOBS)
        self._guard, self._space = Lock(), Lock()
        self._holders: dict[VpsId | None, _Holder] = {}
        self._refused: dict[str, tuple[float, int]] = {}
        self._stopping = False

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Settle what an earlier daemon left, then take calls. Misconfigured while another daemon lives."""
        self._journal.claim()
        for fact in recover(self._dom0, self._journal):
            _log.warning("job %d (%s) was interrupted: %s", fact.id, fact.operation, fact.reason,
                         extra=about(job=fact.id, vps=fact.vps, caller=fact.caller, operation=fact.operation, outcome="interrupted"))
        for pool in self._pools:
            pool.start()

    def stop(self, grace_seconds: float) -> None:
        """Take no more calls, drop jobs that wait, give the others this long, then interrupt and undo them."""
        with self._guard:
            self._stopping = True
            holders = list(self._holders.values())
        waiting = [holder for holder in holders if holder.work and self._long.take_back(holder.work)]
        for holder in waiting:
            self._end_waiting(holder, "interrupted", "the service was stopped before it began")
        if not _all_over(holders, grace_seconds):
            for holder in holders:
                holder.ending = ("interrupted", "the service was stopped")
                holder.asked.set()
            _all_over(holders, STOP_SECONDS)
        for pool in self._pools:
            pool.stop()

    @property
    def _pools(self) -> tuple[Pool, ...]:
        return self._reads, self._now, self._long

    def alive(self) -> bool:
        """Whether every worker thread lives and the journal can be written, for /healthz."""
        return all(pool.alive() for pool in self._pools) and self._journal.writable()

    def delivered(self, newest: int) -> None:
        """Samples up to this number have reached whoever asked for them. Never blocks."""
        self._reads.put(lambda: _unasked(lambda: self._journal.drop_samples(newest)))

    def replace_settings(self, settings: Settings) -> None:
        """Use new settings from the next call on; worker threads become more at once, fewer as they finish."""
        self._settings = settings
        self._long.resize(settings.worker_threads)

    def running(self, vps: VpsId) -> str:
        """The old panel's word for the job that holds the VPS ("mkos", "fsck"), "" without one."""
        with self._guard:
            holder = self._holders.get(vps)
        if holder is None or holder.job is None or not (holder.call.kind is Kind.JOB or holder.later):
            return ""
        return busy_word(holder.call.operation)

    # -- admission --------------------------------------------------------------------------------

    def submit(self, call: Call) -> Future[Any]:
        """Admit a call. The future cannot be cancelled: cancelJob ends jobs."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        changing = call.kind in (Kind.NOW, Kind.JOB) and not call.plan_only
        try:
            if self._stopping:
                raise Busy(f"{call.operation}: the service is stopping; call again when it has started")
            if changing:
                self._admit(call, future)
            else:
                work = self._cancel if call.kind is Kind.CANCEL else self._answer
                self._enter(self._reads, call, lambda: _settle(future, lambda: work(call)))
        except DtcxenError as error:
            if changing:
                self._audit_soon(partial(self._audit, call, None, error))
            future.set_exception(error)
        return future

    def _enter(self, pool: Pool, call: Call, work: Work) -> None:
        if not pool.put(work):
            raise Busy(f"{call.operation}: too many calls are waiting; try again in a moment")

    def _admit(self, call: Call, future: Future[Any]) -> None:
        holder = self._hold(call)
        try:
            self._enter(self._now, call, lambda: _settle(future, lambda: self._change(holder)))
        except Busy:
            self._let_go(holder)
            raise

    def _hold(self, call: Call) -> _Holder:
        with self._guard:
            other = self._holders.get(call.vps)
            if other is not None and not (call.takes_over and other.later):
                raise Busy(f"{call.operation}: {f'VPS {call.vps}' if call.vps else 'the node'} is held by {other}", other.job)
            jobs = sum(holder.call.kind is Kind.JOB for holder in self._holders.values())
            if call.kind is Kind.JOB and jobs >= self._settings.worker_threads + WAITING_JOBS:
                raise Busy(f"{call.operation}: {jobs} jobs are running or waiting already; try again when some have ended")
            self._holders[call.vps] = holder = _Holder(call, before=other)
        return holder

    def _let_go(self, holder: _Holder) -> None:
        with self._guard:
            if self._holders.get(holder.call.vps) is holder:
                del self._holders[holder.call.vps]
        holder.over.set()

    # -- what a call becomes ----------------------------------------------------------------------

    def _answer(self, call: Call) -> Any:
        """A read, or the text of a plan that is not going to run."""
        made = self._decide(call, None)
        if not isinstance(made, Plan):
            return made
        lines = planprint.render(made)
        return JobStarted(None, lines) if call.kind is Kind.JOB else dataclasses.replace(_answer_of(made), plan=lines)

    def _decide(self, call: Call, holder: _Holder | None) -> Plan | Any:
        """Survey and decide; with `holder` the plan's space is reserved in the same breath."""
        scarce = any(isinstance(need, NeedDisks | NeedMemory) for need in call.needs)
        with self._space_lock(scarce and holder is not None):
            facts = dataclasses.replace(self._survey(call.needs), reserved=self._reserved())
            made = call.decide(facts)
            if holder is not None and isinstance(made, Plan):
                holder.taking = {id(step): taken for step in walk(made.whole) if (taken := plans.taking(step))}
        return made

    def _reserved(self) -> dict[str, int]:
        """What admitted plans will still use up, in bytes by place."""
        sums: Counter[str] = Counter()
        with self._guard:
            for holder in self._holders.values():
                for taken in list(holder.taking.values()):
                    sums.update(taken)
        return dict(sums)

    def _space_lock(self, needed: bool) -> AbstractContextManager[Any]:
        return self._space if needed else nullcontext()

    def _change(self, holder: _Holder) -> Any:
        """Decide, journal, and run at once or hand over to a job's thread; the VPS is let go before anybody is told."""
        call, handed_over = holder.call, False
        try:
            self._take_over(holder)
            made = self._decide(call, holder)
            if not isinstance(made, Plan):
                self._audit(call, None, "nothing to do")
                return made
            holder.before = None
            holder.job = self._begin(call, made, call.kind.value)
            if call.kind is Kind.JOB:
                handed_over = True
                return self._hand_over(holder, made)
            self._run(holder, made)
            self._audit(call, holder.job, "done", made.title)
            if made.later:
                handed_over = True
                self._go_on(holder, made.later)
            return _answer_of(made)
        except Exception as error:
            self._audit(call, holder.job, error)
            raise
        finally:
            if not handed_over:
                self._let_go(holder)
                self._give_back(holder)

    def _begin(self, call: Call, plan: Plan, kind: str) -> int:
        return self._journal.begin(call.operation, call.vps, call.caller.name, kind, planprint.render(plan), count(plan.whole))

    def _take_over(self, holder: _Holder) -> None:
        """End the answered call's rest that this call took the VPS from; Busy when that does not end."""
        other = holder.before
        if other is None:
            return
        ending = f"ended for {holder.call.operation}"
        if other.work and self._long.take_back(other.work):
            self._end_waiting(other, "cancelled", f"{ending} before it began")
            return
        other.ending = ("cancelled", ending)
        other.asked.set()
        if not other.over.wait(TAKE_OVER_SECONDS):
            raise Busy(f"{holder.call.operation}: VPS {holder.call.vps} is held by {other}", other.job)

    def _give_back(self, holder: _Holder) -> None:
        """A call that took the VPS and then had nothing to do for it: what it ended begins anew."""
        other = holder.before
        if other is None or other.later is None or not other.over.is_set():
            return
        again = _Holder(other.call)
        with self._guard:
            if self._stopping or holder.call.vps in self._holders:
                return
            self._holders[holder.call.vps] = again
        self._go_on(again, other.later)

    def _go_on(self, holder: _Holder, plan: Plan) -> None:
        """The rest of an answered call, as a job under the same hold of the VPS."""
        holder.later, holder.asked = plan, Event()
        holder.job = self._begin(holder.call, plan, LATER)
        holder.work = lambda: self._long_job(holder, plan)
        if not self._long.put(holder.work):
            self._end_waiting(holder, "interrupted", "no room to wait, or the service is stopping")

    def _hand_over(self, holder: _Holder, plan: Plan) -> JobStarted:
        """Queue a journalled job; from here its thread lets the VPS go."""
        job = holder.job
        holder.work = lambda: self._long_job(holder, plan)
        if not self._long.put(holder.work):
            self._end_waiting(holder, "interrupted", "the service was stopped before it began")
            raise Busy(f"{holder.call.operation}: the service is stopping; call again when it has started")
        self._audit(holder.call, job, "queued", plan.title)
        return JobStarted(job)

    def _long_job(self, holder: _Holder, plan: Plan) -> None:
        """A job's whole life in its thread; its outcome is in the journal, so nobody is told here."""
        call, job = holder.call, holder.job
        fields: dict[str, Any] = {"job": job, "vps": call.vps, "caller": call.caller.name, "operation": call.operation}
        try:
            self._run(holder, plan)
            _log.info("job %s (%s): done", job, call.operation, extra=about(**fields, outcome="done"))
        except DtcxenError as error:
            _log.warning("job %s (%s): %s", job, call.operation, error, extra=about(**fields, outcome=type(error).__name__.lower()))
        finally:
            self._let_go(holder)

    def _run(self, holder: _Holder, plan: Plan) -> None:
        """Execute and write down how it ended; raises what execute raised, a defect as a Failed that tells nothing."""
        job = holder.job
        assert job is not None
        try:
            self._journal.started(job)
            outcome = execute(job, plan, self._dom0, self._journal, holder.asked.is_set, lambda step: self._taken(holder, step))
        except Cancelled as error:
            state, who = holder.ending
            self._journal.ended(job, state, f"{who} {error}")
            raise Cancelled(f"{holder.call.operation}: {who} {error}") from error
        except Failed as error:
            self._journal.ended(job, "failed", error.in_full())
            raise
        except Exception as error:
            _log.exception("job %d (%s): a defect", job, holder.call.operation, extra=about(job=job, vps=holder.call.vps, operation=holder.call.operation))
            self._journal.ended(job, "failed", _INTERNAL)
            raise Failed(plan.title, _INTERNAL) from error
        self._journal.ended(job, "done", outcome)
        if plan.leaves_work:
            self._work_left()

    def _taken(self, holder: _Holder, step: Step) -> None:
        """What a step took shows in the node's own figures now; a survey under way must not miss both."""
        if id(step) in holder.taking:
            with self._space:
                holder.taking.pop(id(step), None)

    # -- ends -------------------------------------------------------------------------------------

    def _cancel(self, call: Call) -> CancelAsked:
        """End a job that waits at once; ask a running one to end, and wait a little for its rollback."""
        assert call.job is not None
        if self._journal.job(call.job) is None:
            raise Missing(f"{call.operation}: there is no job {call.job}")
        with self._guard:
            holder = next((holder for holder in self._holders.values() if holder.job == call.job), None)
        if holder is None:
            return CancelAsked(call.job, False)
        self._audit(call, call.job, "asked")
        if holder.work and self._long.take_back(holder.work):
            self._end_waiting(holder, "cancelled", f"cancelled by {call.caller.name} before it began")
        else:
            holder.ending = ("cancelled", f"cancelled by {call.caller.name}")
            holder.asked.set()
            holder.over.wait(CANCEL_SECONDS)
        return CancelAsked(call.job, True)

    def _end_waiting(self, holder: _Holder, state: str, reason: str) -> None:
        """End a job that never began."""
        assert holder.job is not None
        try:
            self._journal.ended(holder.job, state, reason)
        finally:
            self._let_go(holder)

    def not_admitted(self, refused: NotAdmitted) -> None:
        """A call that would have changed something was refused before it could be submitted: it goes into the audit."""
        count = self._refusals(refused.caller.name)
        last = f" ({MOST_REFUSALS} refusals within an hour: the next ones of this caller are in the log alone)" if count == MOST_REFUSALS else ""
        entry = (refused.caller, refused.operation, refused.vps, refused.arguments, refused.reason + last)
        if count > MOST_REFUSALS:
            _log_entry(*entry)
        else:
            self._audit_soon(lambda: self._keep(*entry))

    def _refusals(self, caller: str) -> int:
        """How many there were within the hour, with this one."""
        now = time.monotonic()
        with self._guard:
            begun, count = self._refused.get(caller, (now, 0))
            self._refused[caller] = begun, count = (begun, count + 1) if now - begun < REFUSALS_SECONDS else (now, 1)
        return count

    def _audit_soon(self, work: Work) -> None:
        """Out of the caller's way; at once when no thread takes it, or not for long, since an entry must not be lost."""
        if self._stopping or not self._reads.put(lambda: _unasked(work)):
            _unasked(work)

    def _audit(self, call: Call, job: int | None, outcome: str | Exception, title: str = "") -> None:
        if isinstance(outcome, Exception):
            outcome = f"{type(outcome).__name__}: {outcome}" if isinstance(outcome, DtcxenError) else _INTERNAL
        self._keep(call.caller, call.operation, call.vps, call.arguments, outcome, job, title)

    def _keep(self, who: Caller, operation: str, vps: VpsId | None, arguments: str, outcome: str, job: int | None = None, title: str = "") -> None:
        """A line of the log, and a row of the audit; the line is there also when the journal's disk is full."""
        _log_entry(who, operation, vps, arguments, outcome, job)
        self._journal.audit(caller=who.name, peer=who.peer, operation=operation, vps=vps, detail=title, outcome=outcome, job=job, arguments=arguments)


_INTERNAL = "an internal error; the node's log tells more"


def _answer_of(plan: Plan) -> Any:
    """The plan's answer; a plan may also exist to refuse in good order."""
    if isinstance(plan.answer, Exception):
        raise plan.answer
    return plan.answer


def _all_over(holders: list[_Holder], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    return all([holder.over.wait(max(0.0, deadline - time.monotonic())) for holder in holders])


def _log_entry(who: Caller, operation: str, vps: VpsId | None, arguments: str, outcome: str, job: int | None = None) -> None:
    _audit_log.info(
        "%s%s: %s: %s%s", who.name, f" from {who.peer}" if who.peer else "", f"{operation} {arguments}".rstrip(), outcome, f" (job {job})" if job else "",
        extra=about(job=job, vps=vps, caller=who.name, operation=operation, peer=who.peer, outcome=outcome, arguments=arguments))


def _unasked(work: Work) -> None:
    """Work that nobody waits for: its failure is for the log, and the thread lives on."""
    try:
        work()
    except DtcxenError as error:
        _log.error("the journal was not written: %s", error)


def _settle(future: Future[Any], work: Callable[[], Any]) -> None:
    """Resolve a future: our own errors as they are, a defect in full to the log and without detail to the caller."""
    try:
        answer = work()
    except DtcxenError as error:
        future.set_exception(error)
    except Exception:
        _log.exception("a defect")
        future.set_exception(Failed("", _INTERNAL))
    else:
        future.set_result(answer)
