"""Asking xl: no answer is never "stopped", gone means gone, and a disk is free only when nobody holds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dtcxen_soap import domus
from dtcxen_soap.errors import Cancelled, Failed, Missing
from dtcxen_soap.facts import MemoryFact, StartedFact
from dtcxen_soap.plans import EndDomu, MustBeFree, WaitGone
from dtcxen_soap.processes import Ran, Unwatched
from dtcxen_soap.vps import Mib, VpsId
from dtcxen_soap.xen import xl
from tests.fakes import ScriptedDom0

DATA = Path(__file__).parents[1] / "data"
TABLE = (DATA / "xl-list-4.17-pv-pvh-hvm.txt").read_text()
ALONE = (DATA / "xl-list-4.17-dom0-only.txt").read_text()
INFO = (DATA / "xl-info-4.17-no-domu.txt").read_text()
NAME = "Name                                        ID   Mem"
WHILE_DESTROYED = [NAME + rows for rows in (DATA / "xl-list-4.17-while-one-is-destroyed.txt").read_text().split(NAME)[1:]]
VPS = VpsId(1)
WATCH = Unwatched()


class CancelledWatch(Unwatched):
    def cancelled(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that passes only when somebody sleeps."""
    now = [1000.0]
    monkeypatch.setattr(domus, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds)))
    return now


def told(*tables: str) -> Callable[[tuple[str, ...]], str]:
    """`xl list` that shows these tables one after another, the last one for ever, with test-pvh as xen01."""
    left = [table.replace("test-pvh", "xen01   ") for table in tables]
    return lambda argv: left.pop(0) if len(left) > 1 else left[0]


def node(*tables: str, **more: Any) -> ScriptedDom0:
    return ScriptedDom0({xl.LIST: told(*tables), **more})


# -- what there is ------------------------------------------------------------------------------------


def test_what_runs_without_dom0_and_without_what_is_just_going() -> None:
    table = TABLE.replace("test-pvh", "(null)  ")
    assert domus.started(node(table), "xl") == (
        StartedFact("test-pv", 1, Mib(256), 1, "blocked", "-b----", 37.8), StartedFact("test-hvm", 3, Mib(256), 1, "running", "r-----", 148.9))
    assert domus.started(node(ALONE), "xl") == ()


def test_a_node_without_a_toolstack_says_so() -> None:
    for toolstack in ("none", "auto"):
        with pytest.raises(Missing, match="runs no domUs"):
            domus.started(ScriptedDom0(), toolstack)


@pytest.mark.parametrize(("answer", "reason"), [
    (Ran(127, ""), "not installed"), (Ran(1, ""), "ended with code 1"), (Ran(124, ""), "no answer in time"), ("", "not the table"), (f"{ALONE}xen01 ?", "cannot be read")])
def test_no_answer_is_a_failure(answer: Ran | str, reason: str) -> None:
    dom0 = ScriptedDom0({xl.LIST: answer})
    for ask in (lambda: domus.domain(dom0, "xen01"), lambda: domus.started(dom0, "xl")):
        with pytest.raises(Failed, match=reason):
            ask()


@pytest.mark.parametrize(("files", "commandline", "expected"), [
    ({}, "dom0_mem=1536M", False), ({}, "", True), ({"/etc/xen/xl.conf": 'autoballoon="off"\n'}, "", False), ({"/etc/xen/xl.conf": 'autoballoon="on"\n'}, "dom0_mem=1536M", True)])
def test_memory(files: dict[str, str], commandline: str, expected: bool) -> None:
    info = INFO.replace("dom0_mem=1536M,max:1536M", commandline)
    assert domus.memory(ScriptedDom0({xl.INFO: info}, files)) == MemoryFact(Mib(2516), Mib(4095), expected)


@pytest.mark.parametrize(("answer", "trouble"), [
    (Ran(127, ""), "xl is not installed"), (Ran(1, ""), "xl ended with code 1"),
    ("host : x\n", "xl info does not tell the free memory"), ("free_memory : much\ntotal_memory : 1", "not tell")])
def test_memory_that_is_not_known_is_trouble(answer: Ran | str, trouble: str) -> None:
    assert trouble in domus.memory(ScriptedDom0({xl.INFO: answer})).trouble


# -- free ---------------------------------------------------------------------------------------------


def must_be_free(dom0: ScriptedDom0, **more: Any) -> None:
    domus.must_be_free(MustBeFree(why="Nobody uses it.", vps=VPS, paths=("/dev/vg0/xen01", "/dev/vg0/xen01swap"), **more), dom0, WATCH)


def test_a_domu_that_is_down_and_disks_that_nobody_holds() -> None:
    must_be_free(node(TABLE.replace("test-pvh", "xen012  ")))
    must_be_free(ScriptedDom0(), toolstack=False)


def test_a_domu_that_runs_or_is_not_known_of() -> None:
    with pytest.raises(Failed, match="^xen01 is running: shut it down first$"):
        must_be_free(node(TABLE))
    with pytest.raises(Failed, match="xl ended with code 1"):
        must_be_free(ScriptedDom0({xl.LIST: Ran(1, "")}))


def test_held_disks_are_named_with_their_holders(clock: list[float]) -> None:
    dom0 = node(ALONE)
    dom0.claimed["/dev/vg0/xen01swap"] = ("mounted on /mnt", "open in pid 7 (cat)")
    with pytest.raises(Failed, match=r"^/dev/vg0/xen01swap is mounted on /mnt; /dev/vg0/xen01swap is open in pid 7 \(cat\)$"):
        must_be_free(dom0)
    assert 1005 <= clock[0] < 1007, "what is just leaving gets a moment"


def test_a_disk_that_becomes_free_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    dom0 = node(ALONE)
    claims = [("open, as the disk of a running domU is",), (), ()]
    monkeypatch.setattr(dom0, "claims", lambda path: claims.pop(0) if claims else ())
    must_be_free(dom0)


# -- gone ---------------------------------------------------------------------------------------------


def test_gone_when_neither_name_nor_number_is_left() -> None:
    dom0 = node(*WHILE_DESTROYED)
    domus.wait_gone(WaitGone(why="It is gone.", vps=VPS), dom0, WATCH)
    assert len(dom0.calls) == 7, "the sixth table has it without its name still"


def test_a_domu_that_is_about_to_be_started_anew_is_not_gone(clock: list[float]) -> None:
    dom0 = node(ALONE)
    dom0.held_open[xl.monitor_log("xen01")] = ("pid 12 (xl)", "pid 13 (tail)")
    with pytest.raises(Failed, match="^xen01 is still there after 20 seconds$"):
        domus.wait_gone(WaitGone(why="It is gone.", vps=VPS), dom0, WATCH)
    with pytest.raises(Failed, match=r"^xen01 is about to be started anew by xl, pid 12 \(xl\)"):
        must_be_free(dom0)
    dom0.held_open[xl.monitor_log("xen01")] = ("pid 13 (tail)",)
    must_be_free(dom0)


def test_what_does_not_go_is_told_after_the_time(clock: list[float]) -> None:
    with pytest.raises(Failed, match="^xen01 is still there after 3 seconds$"):
        domus.wait_gone(WaitGone(why="It is gone.", vps=VPS, seconds=3), node(TABLE), WATCH)
    assert clock[0] == 1003


def test_waiting_can_be_cancelled_and_never_takes_silence_for_gone() -> None:
    with pytest.raises(Cancelled):
        domus.wait_gone(WaitGone(why="It is gone.", vps=VPS), node(TABLE), CancelledWatch())
    with pytest.raises(Failed, match="ended with code 1"):
        domus.wait_gone(WaitGone(why="It is gone.", vps=VPS), ScriptedDom0({xl.LIST: Ran(1, "")}), WATCH)


# -- ended --------------------------------------------------------------------------------------------


def end(dom0: ScriptedDom0) -> None:
    domus.end(EndDomu(why="End it.", vps=VPS), dom0, WATCH)


def test_destroyed_and_waited_for() -> None:
    dom0 = node(TABLE, *WHILE_DESTROYED)
    dom0.answers[xl.destroy("xen01")] = ""
    end(dom0)
    assert dom0.argvs == (xl.destroy("xen01"),) and dom0.calls[-1] == ("capture", xl.LIST)


def test_what_is_gone_is_not_destroyed() -> None:
    dom0 = node(ALONE)
    end(dom0)
    assert not dom0.argvs


def test_what_went_by_itself_meanwhile_is_no_failure() -> None:
    dom0 = node(TABLE, ALONE)
    dom0.answers[xl.destroy("xen01")] = Ran(1, "xen01 is an invalid domain identifier (rc=-6)\n")
    end(dom0)


def test_what_was_just_being_started_anew_is_destroyed_again() -> None:
    again = TABLE.replace("   2   256", "   9   256")
    dom0 = node(TABLE, ALONE, again, again, ALONE)
    dom0.held_open[xl.monitor_log("xen01")] = ("pid 12 (xl)",)

    def destroy(argv: tuple[str, ...]) -> str:
        if len(dom0.ran) == 2:
            dom0.held_open.clear()
        return ""

    dom0.answers[xl.destroy("xen01")] = destroy
    end(dom0)
    assert len(dom0.ran) == 2


def test_what_xl_cannot_destroy_is_told_in_its_words() -> None:
    dom0 = node(TABLE)
    dom0.answers[xl.destroy("xen01")] = Ran(1, "libxl: error: libxl_domain.c:1064:domain_destroy_cb: Domain 2:Destruction of domain failed\n")
    with pytest.raises(Failed, match="^Domain 2:Destruction of domain failed$"):
        end(dom0)
