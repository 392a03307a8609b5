"""What a step does beside its order and undo: commands that speak for themselves, are never cut short, and get a scope; steps on domUs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from dtcxen_soap import actions, processes
from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.journal import Journal
from dtcxen_soap.plans import EndDomu, MustBeFree, Run, WaitGone, WatchBoot
from dtcxen_soap.processes import Ran, Unwatched
from dtcxen_soap.vps import VpsId
from dtcxen_soap.xen import xl
from tests.fakes import ScriptedDom0

CREATE = xl.create("/etc/xen/xen01")
ALONE = (Path(__file__).parents[1] / "data" / "xl-list-4.17-dom0-only.txt").read_text()


class CancelledWatch(Unwatched):
    def cancelled(self) -> bool:
        return True


def run(answer: Ran, watch: Unwatched | None = None, **more: Any) -> str:
    step = Run(why="Start xen01.", argv=CREATE, **more)
    return actions.run(step, ScriptedDom0({CREATE: answer}), lambda line: None, watch or Unwatched())


@pytest.mark.parametrize(("code", "output", "reason"), [
    (3, "libxl: error: libxl_create.c:1296:initiate_domain_create: Domain 4:cannot make domain: -6\n", "Domain 4:cannot make domain: -6"),
    (3, "\n", "xl ended with code 3"), (127, "xl: No such file or directory: xl\n", "xl was not found"),
    (124, "ended: it took longer than 300 s\n", "xl took longer than 300 seconds and was ended"), (139, "", "xl was ended by signal 11")])
def test_the_reason_is_in_the_commands_own_words_where_it_has_any(code: int, output: str, reason: str) -> None:
    with pytest.raises(Failed) as caught:
        run(Ran(code, output), words=xl.words)
    assert caught.value.reason == reason and caught.value.tail == output.rstrip("\n") and caught.value.command == " ".join(CREATE)


def test_without_a_reader_of_its_words_it_is_how_it_ended() -> None:
    with pytest.raises(Failed, match="xl ended with code 3"):
        run(Ran(3, "libxl: error: x"))


def test_a_patient_command_is_not_cut_short_nor_ended_at_the_next_start() -> None:
    with pytest.raises(Cancelled):
        run(Ran(0, ""), CancelledWatch())

    class Journalling(CancelledWatch):
        def started(self, pid: int, start_time: int) -> None:
            raise AssertionError("what is journalled is ended by the next daemon")

    assert run(Ran(0, ""), Journalling(), patient=True) == ""


def test_a_scope_where_systemd_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Run(why="Start xen01.", argv=CREATE, scope="dtcxen-xen01-1")
    monkeypatch.setattr(processes, "SYSTEMD", str(tmp_path))
    assert processes.command_of(step) == ("systemd-run", "--scope", "--quiet", "--collect", "--unit=dtcxen-xen01-1", "--", *CREATE)
    monkeypatch.setattr(processes, "SYSTEMD", str(tmp_path / "not here"))
    assert processes.command_of(step) == CREATE


@pytest.mark.parametrize("step", [
    MustBeFree(why="x", vps=VpsId(1)), WaitGone(why="x", vps=VpsId(1)), EndDomu(why="x", vps=VpsId(1))], ids=lambda step: type(step).__name__)
def test_steps_on_domus_are_performed(step: Any) -> None:
    dom0 = ScriptedDom0({xl.LIST: ALONE})
    assert actions.perform(step, dom0, cast(Journal, None), Unwatched()) == "" and ("capture", xl.LIST) in dom0.calls


def test_a_watched_boot_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtcxen_soap.bootwatch.watch_boot", lambda step, dom0, watch: "booted: login prompt after 41 s")
    step = WatchBoot(why="x", vps=VpsId(1), addresses=())
    assert actions.perform(step, ScriptedDom0(), cast(Journal, None), Unwatched()) == "booted: login prompt after 41 s"
