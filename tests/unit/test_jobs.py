"""Admission and the life of calls: real threads over a scripted machine, events instead of sleeps."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Event, Thread, current_thread
from typing import Any

import pytest

from dtcxen_soap import jobs as module
from dtcxen_soap import settings
from dtcxen_soap.access import Caller, Role
from dtcxen_soap.answers import CancelAsked, DisksReady, JobStarted, ServerAlive
from dtcxen_soap.calls import Call, Kind, NotAdmitted
from dtcxen_soap.dom0 import Ran
from dtcxen_soap.errors import Busy, Cancelled, DtcxenError, Failed, Misconfigured, Missing, ParameterFault, Refused
from dtcxen_soap.facts import Facts, JobFact, Need, NeedDisks, NeedJobs, Room
from dtcxen_soap.jobs import Jobs
from dtcxen_soap.journal import AuditRow, Journal
from dtcxen_soap.plans import IMAGE_FILES, AllocateFile, Plan, RemoveFile, Run, Step, WriteFile
from dtcxen_soap.vps import Mib, VpsId
from tests.fakes import ScriptedDom0

ADMIN = Caller("dtc-xen", Role.ADMIN, "192.0.2.1")
VPS, OTHER = VpsId(1), VpsId(2)
LONG = 10.0


class Gate:
    """A command that has begun, and ends when the test opens the gate or the step is cancelled."""

    def __init__(self) -> None:
        self.begun, self.open, self.thread = Event(), Event(), current_thread()

    def __call__(self, argv: tuple[str, ...]) -> str:
        self.thread = current_thread()
        self.begun.set()
        assert self.open.wait(LONG)
        return ""


class Node:
    """Jobs over a scripted machine. Commands are instant unless a gate is set; the survey tells free space and jobs."""

    def __init__(self, path: str, workers: int = 4) -> None:
        self.dom0 = ScriptedDom0()
        self.dom0.strict = False
        self.journal = Journal(path)
        self.room = 1 << 40
        self.asked: list[tuple[Need, ...]] = []
        self.settings = dataclasses.replace(settings.defaults(), worker_threads=workers)
        self.jobs = Jobs(self.settings, self.dom0, self.journal, self.survey)

    def survey(self, needs: tuple[Need, ...]) -> Facts:
        self.asked.append(needs)
        return Facts(room=Room(self.room - sum(self.dom0.memory.sizes.values())))

    def gate(self, command: str) -> Gate:
        self.dom0.answers[command] = gate = Gate()
        return gate

    def call(self, kind: Kind, *steps: Step, vps: VpsId | None = VPS, answer: Any = None, **more: Any) -> Future[Any]:
        """Submit a call whose plan has these steps."""
        decide = more.pop("decide", lambda facts: Plan("the plan", steps, answer))
        operation = more.pop("operation", {Kind.NOW: "setupVPSDisk", Kind.JOB: "reinstallOS"}.get(kind, "getVPSState"))
        return self.jobs.submit(Call(operation, kind, ADMIN, vps, more.pop("needs", ()), decide, **more))

    def cancel(self, job: int) -> Future[Any]:
        return self.jobs.submit(Call("cancelJob", Kind.CANCEL, ADMIN, None, (), lambda facts: None, job=job))

    def audited(self, count: int) -> tuple[AuditRow, ...]:
        """The audit, once it has so many rows: those of refusals are written behind the caller's back."""
        deadline = time.monotonic() + LONG
        while len(rows := self.journal.audited(1000)) < count:
            assert time.monotonic() < deadline, rows
            time.sleep(0.01)
        return rows

    def ended(self, job: int) -> JobFact:
        """The job's record once it is over."""
        holders = [holder for holder in list(self.jobs._holders.values()) if holder.job == job]
        assert all(holder.over.wait(LONG) for holder in holders)
        fact = self.journal.job(job)
        assert fact
        return fact


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(str(tmp_path / "journal.sqlite"))
    node.jobs.start()
    yield node
    for answer in node.dom0.answers.values():
        if isinstance(answer, Gate):
            answer.open.set()
    node.jobs.stop(0)
    node.journal.close()


def run(name: str, **more: Any) -> Run:
    return Run(why=f"Run {name}.", argv=(name,), **more)


def write(path: str) -> WriteFile:
    return WriteFile(why="Write.", path=path, content="x", undo=(RemoveFile(why="Remove it again.", path=path),))


def allocate(path: str, mib: int, sparse: bool = False) -> AllocateFile:
    return AllocateFile(why="Allocate.", path=path, size=Mib(mib), sparse=sparse)


def error_of(future: Future[Any]) -> BaseException:
    error = future.exception(LONG)
    assert error is not None
    return error


# -- the three kinds ------------------------------------------------------------------------------


def test_a_read_is_surveyed_decided_and_answered(node: Node) -> None:
    needs = (NeedJobs(),)
    future = node.call(Kind.READ, decide=lambda facts: ServerAlive(str(facts.room.free_bytes)), needs=needs)
    assert future.result(LONG) == ServerAlive(str(1 << 40))
    assert node.asked == [needs] and node.journal.audited() == ()


def test_a_slow_read_delays_no_other(node: Node) -> None:
    gate = Gate()
    slow = node.call(Kind.READ, decide=lambda facts: gate(()))
    assert gate.begun.wait(LONG)
    assert node.call(Kind.READ, decide=lambda facts: 1).result(LONG) == 1
    assert node.call(Kind.NOW, write("/a"), answer=2).result(LONG) == 2
    assert not slow.done()
    gate.open.set()
    assert slow.result(LONG) == ""


def test_a_change_is_done_and_its_vps_free_before_it_is_answered(node: Node) -> None:
    seen: list[object] = []
    answer = DisksReady(True, ("/a",))
    future = node.call(Kind.NOW, write("/a"), answer=answer)
    future.add_done_callback(lambda done: seen.append((dict(node.dom0.files), dict(node.jobs._holders))))
    assert future.result(LONG) == answer
    assert node.call(Kind.NOW, write("/b"), answer=answer).result(LONG) == answer
    assert seen == [({"/a": b"x"}, {})]
    fact, = node.journal.jobs(NeedJobs(job=1))
    assert (fact.state, fact.operation, fact.caller, fact.percent, fact.steps) == ("done", "setupVPSDisk", "dtc-xen", 100, 1)


def test_a_change_without_a_plan_makes_no_job(node: Node) -> None:
    assert node.call(Kind.NOW, decide=lambda facts: DisksReady(False, ())).result(LONG) == DisksReady(False, ())
    assert node.journal.jobs(NeedJobs()) == () and node.journal.audited()[0].outcome == "nothing to do"


def test_a_job_is_answered_when_it_is_journalled(node: Node) -> None:
    gate = node.gate("install")
    assert node.jobs.running(VPS) == ""
    started = node.call(Kind.JOB, run("install")).result(LONG)
    assert started == JobStarted(1)
    assert gate.begun.wait(LONG)
    assert node.jobs.running(VPS) == "mkos" and node.jobs.running(OTHER) == ""
    gate.open.set()
    assert node.ended(1).state == "done" and node.jobs.running(VPS) == ""
    assert [(row.outcome, row.job, row.detail, row.peer) for row in node.journal.audited()] == [("queued", 1, "the plan", "192.0.2.1")]


def test_an_fsck_has_its_own_word(node: Node) -> None:
    gate = node.gate("fsck")
    node.call(Kind.JOB, run("fsck"), operation="fsckVPSpartition").result(LONG)
    assert gate.begun.wait(LONG) and node.jobs.running(VPS) == "fsck"
    gate.open.set()


def test_no_vps_seems_busy_to_its_own_planner(node: Node) -> None:
    seen: list[str] = []

    def decide(facts: Facts) -> Plan:
        seen.append(node.jobs.running(VPS))
        return Plan("the plan", ())

    job = node.call(Kind.JOB, decide=decide).result(LONG).job
    assert node.ended(job).state == "done" and seen == [""]


# -- one at a time --------------------------------------------------------------------------------


def test_fifty_calls_at_once_become_one_job(node: Node) -> None:
    gate, start = node.gate("install"), Barrier(50)
    futures: list[Future[Any]] = []

    def submit() -> None:
        start.wait(LONG)
        futures.append(node.call(Kind.JOB, run("install")))

    threads = [Thread(target=submit) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait(futures, LONG)
    errors = [error for future in futures if (error := future.exception()) is not None]
    assert len(errors) == 49 and all(isinstance(error, Busy) for error in errors)
    assert [future.result() for future in futures if not future.exception()] == [JobStarted(1)]
    assert len(node.journal.jobs(NeedJobs())) == 1
    later = error_of(node.call(Kind.NOW, write("/a")))
    assert isinstance(later, Busy) and str(later) == "setupVPSDisk: VPS 01 is held by job 1 (reinstallOS)" and later.job == 1
    assert node.call(Kind.NOW, write("/b"), vps=OTHER, answer=5).result(LONG) == 5
    gate.open.set()
    assert node.ended(1).state == "done"
    assert len(node.audited(52)) == 52


def test_a_call_that_is_still_deciding_holds_too(node: Node) -> None:
    gate = Gate()
    first = node.call(Kind.NOW, decide=lambda facts: gate(()))
    assert gate.begun.wait(LONG)
    assert str(error_of(node.call(Kind.JOB))) == "reinstallOS: VPS 01 is held by a call of setupVPSDisk"
    gate.open.set()
    first.result(LONG)


def test_jobs_beyond_the_queue_are_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_JOBS", 2)
    node = Node(str(tmp_path / "journal.sqlite"), workers=1)
    node.jobs.start()
    gate = node.gate("install")
    started = [node.call(Kind.JOB, run("install"), vps=VpsId(number)).result(LONG).job for number in (1, 2, 3)]
    assert "3 jobs are running or waiting already" in str(error_of(node.call(Kind.JOB, run("install"), vps=VpsId(4))))
    gate.open.set()
    assert [node.ended(job).state for job in started] == ["done"] * 3
    node.jobs.stop(LONG)


def test_reads_beyond_the_queue_are_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_THREADS", 1)
    monkeypatch.setattr(module, "WAITING_READS", 1)
    node = Node(str(tmp_path / "journal.sqlite"))
    node.jobs.start()
    gate = Gate()
    first = node.call(Kind.READ, decide=lambda facts: gate(()))
    assert gate.begun.wait(LONG)
    second = node.call(Kind.READ, decide=lambda facts: 2)
    assert "too many calls are waiting" in str(error_of(node.call(Kind.READ)))
    gate.open.set()
    assert (first.result(LONG), second.result(LONG)) == ("", 2)
    node.jobs.stop(LONG)


def test_a_change_that_finds_no_room_to_wait_lets_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_NOW", 0)
    node = Node(str(tmp_path / "journal.sqlite"))
    node.jobs.start()
    assert "too many calls" in str(error_of(node.call(Kind.NOW))) and node.jobs._holders == {}
    node.jobs.stop(0)


# -- refusals and failures ------------------------------------------------------------------------


TOLD = NotAdmitted("killVPS", ADMIN, VPS, "vpsname=01 imagetype=30000", "Refused: killVPS: imagetype: no such thing")


def test_a_call_that_was_not_admitted_is_audited(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    node.jobs.not_admitted(TOLD)
    (row,) = node.audited(1)
    assert (row.caller, row.peer, row.operation, row.vps, row.arguments, row.outcome, row.job) == (
        "dtc-xen", "192.0.2.1", "killVPS", VPS, "vpsname=01 imagetype=30000", "Refused: killVPS: imagetype: no such thing", None)
    assert "dtc-xen from 192.0.2.1: killVPS vpsname=01 imagetype=30000: Refused: killVPS: imagetype: no such thing" in caplog.text


def test_an_entry_of_the_audit_is_not_lost_for_want_of_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_READS", 0)
    node = Node(str(tmp_path / "journal.sqlite"))
    node.jobs.start()
    node.jobs.not_admitted(TOLD)
    assert len(node.journal.audited()) == 1
    node.jobs.stop(0)
    node.jobs.not_admitted(TOLD)
    assert len(node.journal.audited()) == 2


def test_nobody_fills_the_audit_with_refusals(node: Node, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO)
    other = dataclasses.replace(TOLD, caller=Caller("xen02", Role.OWNER, "192.0.2.2", OTHER))
    for _ in range(103):
        node.jobs.not_admitted(TOLD)
    node.jobs.not_admitted(other)
    node.audited(101)
    node.jobs.stop(LONG)
    rows = node.journal.audited(1000)
    assert len(rows) == 101 and sum(row.caller == "xen02" for row in rows) == 1 and sum("in the log alone" in row.outcome for row in rows) == 1
    assert caplog.text.count("dtc-xen from 192.0.2.1: killVPS vpsname=01 imagetype=30000: Refused") == 103
    monkeypatch.setattr(module, "REFUSALS_SECONDS", 0.0)
    node.jobs.not_admitted(TOLD)
    assert len(node.journal.audited(1000)) == 102, "the next hour"


def test_a_journal_that_takes_nothing_ends_no_thread(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    node.journal._db.execute("DROP TABLE audit")
    node.jobs.not_admitted(TOLD)
    node.jobs.stop(LONG)
    deadline = time.monotonic() + LONG
    while "the journal was not written: Write the journal: no such table: audit" not in caplog.text:
        assert time.monotonic() < deadline, caplog.text
        time.sleep(0.01)
    assert "killVPS vpsname=01 imagetype=30000: Refused" in caplog.text


def test_a_refusal_is_immediate_and_frees_the_vps(node: Node) -> None:
    refusal = Refused(ParameterFault("reinstallOS", "osType", "InvalidParameter", "no such system"))

    def decide(facts: Facts) -> Plan:
        raise refusal

    assert error_of(node.call(Kind.JOB, decide=decide)) is refusal
    assert node.journal.jobs(NeedJobs()) == () and node.journal.audited()[0].outcome == "Refused: reinstallOS: osType: no such system"
    assert node.call(Kind.NOW, answer=1).result(LONG) == 1


def test_a_plan_may_be_a_refusal_in_good_order(node: Node) -> None:
    refusal = Refused(ParameterFault("setupLVMDisks", "vpsname", "InvalidParameter", "no room"))
    assert error_of(node.call(Kind.NOW, write("/blocked"), answer=refusal)) is refusal
    assert "/blocked" in node.dom0.files and node.journal.audited()[0].outcome.startswith("Refused")


def test_a_failed_change_tells_its_caller_and_the_journal(node: Node) -> None:
    node.dom0.answers["mkfs"] = Ran(1, "no space")
    error = error_of(node.call(Kind.NOW, write("/a"), run("mkfs")))
    assert isinstance(error, Failed) and error.undone == ("Remove it again.",) and error.tail == "no space"
    fact = node.ended(1)
    assert fact.state == "failed" and all(part in fact.reason for part in ("mkfs ended with code 1", "command: mkfs", "no space", "undone: Remove it again."))
    assert node.call(Kind.NOW, answer=1).result(LONG) == 1


def test_a_failed_job_is_in_the_journal(node: Node) -> None:
    node.dom0.answers["mkfs"] = Ran(1, "no space")
    job = node.call(Kind.JOB, run("mkfs")).result(LONG).job
    assert node.ended(job).state == "failed"


@pytest.mark.parametrize("kind", list(Kind)[:3])
def test_a_defect_tells_the_log_and_not_the_caller(node: Node, kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    def decide(facts: Facts) -> Plan:
        raise KeyError("inner workings")

    with caplog.at_level(logging.ERROR):
        error = error_of(node.call(kind, decide=decide))
    assert isinstance(error, Failed) and "inner workings" not in error.in_full()
    assert "inner workings" in caplog.text and "Traceback" in caplog.text
    assert node.jobs._holders == {}


def test_a_defect_in_a_job_ends_it(node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*arguments: object) -> None:
        raise KeyError("inner workings")

    monkeypatch.setattr(module, "execute", broken)
    job = node.call(Kind.JOB).result(LONG).job
    fact = node.ended(job)
    assert (fact.state, fact.reason) == ("failed", "an internal error; the node's log tells more") and "inner workings" in caplog.text


# -- plan only ------------------------------------------------------------------------------------


def test_a_plan_alone_takes_no_lock_and_leaves_no_trace(node: Node) -> None:
    gate = node.gate("install")
    node.call(Kind.JOB, run("install")).result(LONG)
    assert gate.begun.wait(LONG)
    started = node.call(Kind.JOB, write("/a"), plan_only=True).result(LONG)
    assert started.job is None and started.plan[:2] == ("the plan", "1. Write.")
    ready = node.call(Kind.NOW, write("/a"), answer=DisksReady(True, ("/a",)), plan_only=True).result(LONG)
    assert ready.disks == ("/a",) and "1. Write." in ready.plan
    assert node.call(Kind.NOW, decide=lambda facts: DisksReady(False, ()), plan_only=True).result(LONG) == DisksReady(False, ())
    refusal = Missing("nothing there")
    assert error_of(node.call(Kind.NOW, answer=refusal, plan_only=True)) is refusal
    assert node.dom0.files == {} and len(node.journal.jobs(NeedJobs())) == 1 and len(node.journal.audited()) == 1
    gate.open.set()


# -- space ----------------------------------------------------------------------------------------


def roomy(path: str, mib: int, **more: Any) -> Callable[[Facts], Plan]:
    def decide(facts: Facts) -> Plan:
        if (mib << 20) > facts.room.free_bytes - facts.reserved.get(IMAGE_FILES, 0):
            raise Failed("", "no room")
        return Plan("the plan", (allocate(path, mib), *more.get("steps", ())), path)
    return decide


def test_two_changes_never_count_the_same_free_bytes(node: Node) -> None:
    node.room = 100 << 20
    start, futures = Barrier(8), []

    def submit(number: int) -> None:
        start.wait(LONG)
        futures.append(node.call(Kind.NOW, vps=VpsId(number), decide=roomy(f"/{number}", 60), needs=(NeedDisks(VpsId(number)),)))

    threads = [Thread(target=submit, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait(futures, LONG)
    assert sorted(str(future.exception() or "made") for future in futures) == ["made"] + ["no room"] * 7


def test_disks_are_surveyed_one_call_at_a_time(node: Node) -> None:
    meeting = Barrier(2)

    def decide(facts: Facts) -> str:
        try:
            meeting.wait(0.2)
        except BrokenBarrierError:
            return "alone"
        return "together"

    calls = [node.call(Kind.NOW, vps=VpsId(number), decide=decide, needs=(NeedDisks(VpsId(number)),)) for number in (1, 2)]
    assert [call.result(LONG) for call in calls] == ["alone", "alone"]
    meeting.reset()
    calls = [node.call(Kind.NOW, vps=VpsId(number), decide=decide) for number in (1, 2)]
    assert [call.result(LONG) for call in calls] == ["together", "together"]


def test_space_of_a_waiting_job_is_taken_until_its_allocation_is_done(tmp_path: Path) -> None:
    node = Node(str(tmp_path / "journal.sqlite"), workers=1)
    node.jobs.start()
    node.room = 100 << 20
    first, second = node.gate("first"), node.gate("second")
    node.call(Kind.JOB, run("first")).result(LONG)
    needs = (NeedDisks(OTHER),)
    job = node.call(Kind.JOB, vps=OTHER, decide=roomy("/2", 60, steps=(run("second"),)), needs=needs).result(LONG).job
    assert str(error_of(node.call(Kind.NOW, vps=VpsId(3), decide=roomy("/3", 60), needs=needs))) == "no room"
    first.open.set()
    assert second.begun.wait(LONG)
    assert node.call(Kind.NOW, vps=VpsId(3), decide=roomy("/3", 40), needs=needs).result(LONG) == "/3"
    second.open.set()
    assert node.ended(job).state == "done"
    node.jobs.stop(LONG)


def test_sparse_files_take_no_space(node: Node) -> None:
    gate = node.gate("wait")
    node.call(Kind.JOB, allocate("/a", 60, sparse=True), run("wait")).result(LONG)
    seen: list[Any] = []
    node.call(Kind.NOW, vps=OTHER, decide=lambda facts: seen.append(facts.reserved)).result(LONG)
    assert seen == [{}]
    gate.open.set()


# -- cancel ---------------------------------------------------------------------------------------


def test_a_waiting_job_is_cancelled_at_once(tmp_path: Path) -> None:
    node = Node(str(tmp_path / "journal.sqlite"), workers=1)
    node.jobs.start()
    gate = node.gate("install")
    first = node.call(Kind.JOB, run("install")).result(LONG).job
    second = node.call(Kind.JOB, write("/a"), vps=OTHER).result(LONG).job
    assert gate.begun.wait(LONG)
    assert node.cancel(second).result(LONG) == CancelAsked(second, True)
    fact = node.journal.job(second)
    assert fact and (fact.state, fact.reason, fact.started) == ("cancelled", "cancelled by dtc-xen before it began", None)
    assert node.call(Kind.NOW, vps=OTHER, answer=1).result(LONG) == 1
    gate.open.set()
    assert node.ended(first).state == "done" and node.dom0.files == {}
    assert node.cancel(first).result(LONG) == CancelAsked(first, False)
    node.jobs.stop(LONG)


def test_a_running_job_is_cancelled_and_undone(node: Node) -> None:
    gate = node.gate("install")
    job = node.call(Kind.JOB, write("/a"), run("install"), write("/b")).result(LONG).job
    assert gate.begun.wait(LONG)
    asked = node.cancel(job)
    holder = node.jobs._holders[VPS]
    assert holder.asked.wait(LONG)
    gate.open.set()
    assert asked.result(LONG) == CancelAsked(job, True)
    fact = node.ended(job)
    assert (fact.state, fact.reason) == ("cancelled", "cancelled by dtc-xen during: Run install.")
    assert node.dom0.files == {} and node.jobs._holders == {}
    assert [row.outcome for row in node.journal.audited()] == ["asked", "queued"]


def test_a_cancel_waits_only_so_long(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CANCEL_SECONDS", 0.01)
    gate = node.gate("install")
    job = node.call(Kind.JOB, run("install")).result(LONG).job
    assert gate.begun.wait(LONG)
    assert node.cancel(job).result(LONG) == CancelAsked(job, True)
    gate.open.set()
    assert node.ended(job).state == "cancelled"


def test_a_change_can_be_cancelled_by_its_number(node: Node) -> None:
    gate = node.gate("wait")
    future = node.call(Kind.NOW, run("wait"))
    assert gate.begun.wait(LONG)
    asked = node.cancel(1)
    assert node.jobs._holders[VPS].asked.wait(LONG)
    gate.open.set()
    assert asked.result(LONG).cancelled
    error = error_of(future)
    assert isinstance(error, Cancelled) and str(error) == "setupVPSDisk: cancelled by dtc-xen during: Run wait."


def test_a_job_that_never_was_cannot_be_cancelled(node: Node) -> None:
    assert isinstance(error_of(node.cancel(99)), Missing)


# -- life -----------------------------------------------------------------------------------------


def test_stop_interrupts_what_outlives_its_grace(tmp_path: Path) -> None:
    node = Node(str(tmp_path / "journal.sqlite"), workers=1)
    node.jobs.start()
    gate = node.gate("install")
    running = node.call(Kind.JOB, write("/a"), run("install")).result(LONG).job
    waiting = node.call(Kind.JOB, write("/b"), vps=OTHER).result(LONG).job
    assert gate.begun.wait(LONG)
    holder = node.jobs._holders[VPS]
    stopping = Thread(target=node.jobs.stop, args=(0,))
    stopping.start()
    assert holder.asked.wait(LONG)
    assert isinstance(error_of(node.call(Kind.READ)), Busy)
    gate.open.set()
    stopping.join(LONG)
    facts = {fact.id: (fact.state, fact.reason) for fact in node.journal.jobs(NeedJobs())}
    assert facts[running] == ("interrupted", "the service was stopped during: Run install.")
    assert facts[waiting] == ("interrupted", "the service was stopped before it began")
    assert node.dom0.files == {} and node.journal.unfinished() == () and not node.jobs.alive()


def test_stop_lets_jobs_end_within_the_grace(node: Node) -> None:
    gate = node.gate("install")
    job = node.call(Kind.JOB, run("install")).result(LONG).job
    assert gate.begun.wait(LONG)
    stopping = Thread(target=node.jobs.stop, args=(LONG,))
    stopping.start()
    gate.open.set()
    stopping.join(LONG)
    assert node.ended(job).state == "done"


def test_a_job_decided_while_stopping_never_begins(node: Node) -> None:
    gate = Gate()

    def decide(facts: Facts) -> Plan:
        gate(())
        return Plan("the plan", (write("/a"),))

    future = node.call(Kind.JOB, decide=decide)
    assert gate.begun.wait(LONG)
    node.jobs._long.stop()
    gate.open.set()
    assert isinstance(error_of(future), Busy)
    assert node.ended(1).state == "interrupted" and node.dom0.files == {}


def test_alive_needs_every_thread_and_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Poison(BaseException):
        pass

    def poison() -> None:
        raise Poison

    node = Node(str(tmp_path / "journal.sqlite"))
    assert not node.jobs.alive()
    node.jobs.start()
    assert node.jobs.alive()
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    node.jobs._long.put(poison)
    while all(thread.is_alive() for thread in node.jobs._long._threads.values()):
        for thread in node.jobs._long._threads.values():
            thread.join(0.01)
    assert not node.jobs.alive()
    node.jobs.stop(0)


def test_alive_tells_of_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    node = Node(str(tmp_path / "journal.sqlite"))
    node.jobs.start()
    node.journal.close()
    assert not node.jobs.alive()
    node.jobs.stop(0)


def test_start_settles_what_another_daemon_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(tmp_path / "journal.sqlite")
    dead = Journal(path)
    job = dead.begin("reinstallOS", VPS, "dtc-xen", "job", (), 3)
    dead.started(job)
    dead.held(job, "1", "Mounted", '{"at": "/m", "source": "/d"}')
    node = Node(path)
    node.dom0.mounts.append(("/d", "/m", "ext4", ""))
    node.jobs.start()
    fact = node.journal.job(job)
    assert fact and fact.state == "interrupted" and node.dom0.mounts == [] and "was interrupted" in caplog.text
    with pytest.raises(Misconfigured):
        Node(path).jobs.start()
    node.jobs.stop(0)
    node.journal.close()


@pytest.mark.parametrize("sizes", [(3,), (3, 1), (1, 4, 2, 3)])
def test_new_settings_change_the_number_of_workers(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    node = Node(str(tmp_path / "journal.sqlite"), workers=2)
    node.jobs.start()
    for size in sizes:
        node.jobs.replace_settings(dataclasses.replace(node.settings, worker_threads=size))
        for place, thread in list(node.jobs._long._threads.items()):
            if place >= size:
                thread.join(LONG)
        assert len(node.jobs._long._threads) == size and node.jobs.alive()
    gates = [node.gate(f"install{number}") for number in range(size)]
    for number, gate in enumerate(gates):
        node.call(Kind.JOB, run(f"install{number}"), vps=VpsId(number + 1)).result(LONG)
        assert gate.begun.wait(LONG)
    node.call(Kind.JOB, write("/late"), vps=VpsId(50)).result(LONG)
    assert "/late" not in node.dom0.files
    for gate in gates:
        gate.open.set()
    node.jobs.stop(LONG)


def test_workers_fill_the_gap_that_an_ended_one_left(tmp_path: Path) -> None:
    node = Node(str(tmp_path / "journal.sqlite"), workers=3)
    node.jobs.start()
    gates = [node.gate(f"install{number}") for number in range(3)]
    for number, gate in enumerate(gates):
        node.call(Kind.JOB, run(f"install{number}"), vps=VpsId(number + 1)).result(LONG)
        assert gate.begun.wait(LONG)
    middle = next(gate for gate in gates if gate.thread is node.jobs._long._threads[1])
    node.jobs.replace_settings(dataclasses.replace(node.settings, worker_threads=1))
    middle.open.set()
    middle.thread.join(LONG)
    node.jobs.replace_settings(dataclasses.replace(node.settings, worker_threads=3))
    assert sorted(node.jobs._long._threads) == [0, 1, 2] and node.jobs.alive()
    for gate in gates:
        gate.open.set()
    node.jobs.stop(LONG)


def test_the_journal_s_own_failure_reaches_the_caller_as_ours(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **named: object) -> int:
        raise Failed("Write the journal.", "database or disk is full")

    monkeypatch.setattr(node.journal, "begin", full)
    error = error_of(node.call(Kind.JOB))
    assert isinstance(error, DtcxenError) and "disk is full" in str(error) and node.jobs._holders == {}
