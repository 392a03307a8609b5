"""What a call leaves for after its answer: it goes on under the same hold, and gives way to whoever may take over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap.calls import Kind
from dtcxen_soap.dom0 import Ran
from dtcxen_soap.errors import Busy, Failed, Missing
from dtcxen_soap.facts import Facts, JobFact, NeedJobs, NeedMemory
from dtcxen_soap.jobs import LATER, Jobs
from dtcxen_soap.plans import MEMORY, Plan, Run
from tests.unit.test_jobs import LONG, OTHER, VPS, Gate, Node, run, write


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


def zeroing(node: Node) -> Gate:
    """A call that was answered, and whose zeroing waits at a gate."""
    gate = node.gate("blkdiscard")
    plan = Plan("make", (write("/made"),), "made", later=Plan("zero", (run("blkdiscard"),)))
    assert node.call(Kind.NOW, decide=lambda facts: plan).result(LONG) == "made"
    return gate


def latest(node: Node) -> JobFact:
    return node.journal.jobs(NeedJobs(vps=VPS))[0]


def test_it_holds_the_vps_and_reads_as_an_installation(node: Node) -> None:
    gate = zeroing(node)
    assert gate.begun.wait(LONG) and node.jobs.running(VPS) == "mkos"
    with pytest.raises(Busy, match="held by job 2"):
        node.call(Kind.NOW, write("/b")).result(LONG)
    gate.open.set()
    assert node.ended(2).state == "done" and node.jobs.running(VPS) == ""
    assert node.call(Kind.NOW, answer=1).result(LONG) == 1


def test_nothing_is_left_for_later_when_the_call_fails(node: Node) -> None:
    node.dom0.answers["false"] = Ran(1, "")
    plan = Plan("make", (run("false"),), "made", later=Plan("zero", (write("/later"),)))
    with pytest.raises(Failed):
        node.call(Kind.NOW, decide=lambda facts: plan).result(LONG)
    assert len(node.journal.jobs(NeedJobs())) == 1 and "/later" not in node.dom0.files


def test_who_may_take_over_ends_it_first(node: Node) -> None:
    gate = zeroing(node)
    assert gate.begun.wait(LONG)
    rest = node.jobs._holders[VPS]
    again = node.call(Kind.JOB, write("/new"), takes_over=True)
    assert rest.asked.wait(LONG)
    gate.open.set()
    started = again.result(LONG)
    assert node.ended(started.job).state == "done"
    ended = node.journal.job(2)
    assert ended and ended.state == "cancelled" and "ended for reinstallOS" in ended.reason


def test_what_waits_for_a_thread_is_taken_back(tmp_path: Path) -> None:
    node = Node(str(tmp_path / "journal.sqlite"), workers=1)
    node.jobs.start()
    blocker = node.gate("block")
    node.call(Kind.JOB, run("block"), vps=OTHER).result(LONG)
    assert blocker.begun.wait(LONG)
    gate = zeroing(node)
    node.call(Kind.NOW, write("/gone"), takes_over=True).result(LONG)
    assert latest(node).operation == "setupVPSDisk" and not gate.begun.is_set() and "/gone" in node.dom0.files
    blocker.open.set()
    node.jobs.stop(LONG)


def test_a_refused_call_lets_it_begin_anew(node: Node) -> None:
    gate = zeroing(node)
    assert gate.begun.wait(LONG)
    gate.begun.clear()

    def refuse(facts: Facts) -> Plan:
        raise Missing("no such thing")

    rest = node.jobs._holders[VPS]
    call = node.call(Kind.JOB, decide=refuse, takes_over=True)
    assert rest.asked.wait(LONG)
    gate.open.set()
    with pytest.raises(Missing):
        call.result(LONG)
    assert gate.begun.wait(LONG)
    assert node.ended(latest(node).id).state == "done" and latest(node).operation == "setupVPSDisk"


def test_the_install_log_is_not_that_of_a_rest(node: Node) -> None:
    zeroing(node).open.set()
    node.ended(2)
    assert Kind.JOB.value != LATER and node.journal.latest_log(VPS, 0) is None


def test_work_that_is_left_is_told(tmp_path: Path) -> None:
    told: list[int] = []
    node = Node(str(tmp_path / "journal.sqlite"))
    node.jobs = Jobs(node.settings, node.dom0, node.journal, node.survey, lambda: told.append(1))
    node.jobs.start()
    node.call(Kind.NOW, write("/a")).result(LONG)
    assert not told
    node.call(Kind.NOW, decide=lambda facts: Plan("kill", (write("/b"),), leaves_work=True)).result(LONG)
    assert told == [1]
    node.jobs.stop(LONG)


def test_memory_counts_as_taken_until_the_domu_is_there(node: Node) -> None:
    gate = node.gate("xl")
    node.call(Kind.JOB, Run(why="Start.", argv=("xl",), takes=((MEMORY, 512),))).result(LONG)
    assert gate.begun.wait(LONG)
    seen: list[Any] = []
    node.call(Kind.NOW, vps=OTHER, decide=lambda facts: seen.append(facts.reserved), needs=(NeedMemory(),)).result(LONG)
    gate.open.set()
    node.ended(1)
    node.call(Kind.NOW, vps=OTHER, decide=lambda facts: seen.append(facts.reserved), needs=(NeedMemory(),)).result(LONG)
    assert seen == [{MEMORY: 512}, {}]


def test_a_job_ends_with_what_its_steps_found(node: Node) -> None:
    node.dom0.answers["e2fsck"] = Ran(1, "fixed")
    step = run("e2fsck", ok_codes=(0, 1), outcomes=((0, "clean"), (1, "errors were corrected")))
    assert node.ended(node.call(Kind.JOB, step).result(LONG).job).reason == "errors were corrected"


def test_a_failed_proof_fails_the_job_and_undoes_nothing(node: Node) -> None:
    node.dom0.answers["watch"] = Ran(1, "Kernel panic")
    node.dom0.answers["hook"] = ""
    plan = Plan("install", (write("/new"),), proof=(run("watch"),), unproven="installed, does not boot", on_error=(run("hook"),))
    ended = node.ended(node.call(Kind.JOB, decide=lambda facts: plan).result(LONG).job)
    assert ended.state == "failed" and "/new" in node.dom0.files and ("hook",) in node.dom0.argvs
    assert ended.reason.startswith("installed, does not boot: ")
