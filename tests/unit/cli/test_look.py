"""dtcxen states, jobs, log and cancel: from the node itself, beside a daemon that runs or one that died, and by a daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap import journal
from dtcxen_soap.cli import local as cli_local
from dtcxen_soap.cli import look as cli_look
from dtcxen_soap.cli import main as cli
from dtcxen_soap.cli import soap as cli_soap
from dtcxen_soap.journal import Journal
from dtcxen_soap.vps import VpsId

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "dtc-xen.conf"
    path.write_text(f"config_dir={tmp_path}\nstate_dir={tmp_path}\nprovisioning_mount_point={tmp_path}\nxen_config_dir={tmp_path}\nlisten_port=99\ntoolstack=none\n")
    (tmp_path / "admin.password").write_text("geheim\n")
    return path


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Journal]:
    """A journal as a daemon has it: a check that is done, an installation that runs."""
    made = Journal(str(tmp_path / "journal.sqlite"))
    made.claim()
    check = made.begin("fsckVPSpartition", VpsId(1), "dtc-xen", "job", ("1. Check it.",), 1)
    made.started(check)
    made.ended(check, "failed", "it is\nbroken")
    install = made.begin("reinstallOS", VpsId(1), "dtc-xen", "job", (), 9)
    made.started(install)
    made.step_started(install, 2, 9, "Make the file system.", 12)
    with made.log(install) as log:
        for number in range(1, 4):
            log.write(f"line {number} [red]")
    now = made.begin("startVPS", VpsId(1), "dtc-xen", "now", (), 1)
    made.ended(now, "done")
    yield made
    made.close()


def run(capsys: pytest.CaptureFixture[str], config: Path, *words: str) -> tuple[int, str, str]:
    code = cli.main((*words, "--config", str(config)))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# -- on the node ----------------------------------------------------------------------------------


def test_jobs_are_told_beside_a_daemon_that_runs(capsys: pytest.CaptureFixture[str], config: Path, kept: Journal) -> None:
    code, out, err = run(capsys, config, "jobs")
    rows = out.splitlines()
    assert (code, err, len(rows)) == (0, "", 4)
    assert rows[0].split() == ["id", "vps", "operation", "state", "progress", "step", "created", "seconds", "caller", "reason"]
    assert [row.split()[:4] for row in rows[1:]] == [["3", "01", "startVPS", "done"], ["2", "01", "reinstallOS", "running"], ["1", "01", "fsckVPSpartition", "failed"]]
    assert "12 %" in rows[2] and "2/9 Make the file system." in rows[2] and rows[3].endswith("it is broken")


def test_json_is_what_listJobs_answers(capsys: pytest.CaptureFixture[str], config: Path, kept: Journal) -> None:
    code, out, _ = run(capsys, config, "jobs", "--json", "--limit", "1")
    (record,) = json.loads(out)["jobs"]
    assert code == 0 and (record["id"], record["vps"], record["stepName"], record["logBytes"]) == (3, "01", "", 0)


def test_jobs_of_a_daemon_that_died_are_not_told_as_running(capsys: pytest.CaptureFixture[str], config: Path, kept: Journal) -> None:
    kept.close()
    _, out, _ = run(capsys, config, "jobs")
    assert "running" not in out and "interrupted" in out and "settled when one starts again" in out
    code, _, err = run(capsys, config, "log", "-f", "2")
    assert code == 1 and "was interrupted" in err


def test_reading_changes_nothing_and_does_not_keep_a_daemon_from_starting(capsys: pytest.CaptureFixture[str], config: Path, kept: Journal, tmp_path: Path) -> None:
    kept.close()
    before = (tmp_path / "journal.sqlite").read_bytes()
    with cli_local.survey(cli_local.load(str(config))) as looked:
        assert not looked.served()
        again = Journal(str(tmp_path / "journal.sqlite"))
        again.claim()
        assert looked.served()
        again.close()
    run(capsys, config, "jobs")
    assert (tmp_path / "journal.sqlite").read_bytes() == before


def test_a_node_without_a_journal_gets_none(capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path) -> None:
    assert run(capsys, config, "jobs") == (0, "", "no jobs\n")
    assert run(capsys, config, "log", "7")[::2] == (1, "dtcxen: getJobLog: there is no job 7\n")
    assert run(capsys, config, "log", "01")[::2] == (1, "dtcxen: VPS 01 has no jobs\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["admin.password", "dtc-xen.conf"]


def test_a_journal_of_another_version_is_not_guessed_at(capsys: pytest.CaptureFixture[str], config: Path, kept: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MIGRATIONS", (*journal.MIGRATIONS, "SELECT 1;"))
    assert "older version" in run(capsys, config, "jobs")[2]
    monkeypatch.setattr(journal, "MIGRATIONS", journal.MIGRATIONS[:1])
    assert "newer version" in run(capsys, config, "jobs")[2]


def test_a_log_by_number_and_by_vps(capsys: pytest.CaptureFixture[str], config: Path, kept: Journal) -> None:
    whole = "line 1 [red]\nline 2 [red]\nline 3 [red]\n"
    assert run(capsys, config, "log", "2") == (0, whole, "")
    for vps in ("01", "xen01", "xen1"):
        assert run(capsys, config, "log", vps) == (0, whole, "job 2 (reinstallOS), running\n"), "not the start after it, and not the check before"
    assert run(capsys, config, "log", "2", "-n", "1")[1] == "line 3 [red]\n"
    assert run(capsys, config, "log", "1") == (0, "", "")


def test_a_log_is_followed_to_the_jobs_end_and_the_code_says_how_it_ended(
        capsys: pytest.CaptureFixture[str], config: Path, kept: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[float] = []

    def pass_time(seconds: float) -> None:
        turns.append(seconds)
        with kept.log(2) as log:
            log.write(f"later {len(turns)}")
        if len(turns) == 2:
            kept.ended(2, "done")

    monkeypatch.setattr(cli_look.time, "sleep", pass_time)
    code, out, err = run(capsys, config, "log", "-f", "xen01", "-n", "1")
    assert (code, out) == (0, "line 3 [red]\nlater 1\nlater 2\n") and "is done" in err
    assert run(capsys, config, "log", "-f", "1")[0] == 1


@pytest.mark.parametrize(("words", "text"), [
    (("jobs", "30000"), "vps: '30000'"), (("jobs", "--limit", "0"), "limit: '0': too small"), (("log", "xen5000"), "vps: 'xen5000'"),
    (("log", "0"), "vps: '0'"), (("log", "99999999999"), "job: '99999999999': too large")])
def test_what_is_no_job_and_no_vps_is_refused_by_name(capsys: pytest.CaptureFixture[str], config: Path, kept: Journal, words: tuple[str, ...], text: str) -> None:
    code, out, err = run(capsys, config, *words)
    assert (code, out) == (1, "") and text in err


def test_an_empty_vps_is_not_all_of_them(capsys: pytest.CaptureFixture[str], config: Path, kept: Journal) -> None:
    assert run(capsys, config, "jobs", "")[:2] == (2, "")


def test_call_local_answers_what_only_reads(capsys: pytest.CaptureFixture[str], config: Path, kept: Journal) -> None:
    assert run(capsys, config, "call", "--local", "getJob", "job=1", "--json")[0] == 0
    code, _, err = run(capsys, config, "call", "--local", "startVPS", "vps=01")
    assert code == 2 and "the daemon's" in err
    assert run(capsys, config, "call", "--local", "testVPSServer", "--user", "x")[0] == 2


# -- by a daemon ----------------------------------------------------------------------------------


class FakeNode:
    """Answers calls from a table, lists one answer at a time."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.calls = answers, []  # type: ignore[var-annotated]

    def __call__(self, door: Any) -> FakeNode:
        return self

    def call(self, operation: str, values: list[tuple[str, str]]) -> Any:
        self.calls.append((operation, dict(values)))
        answer = self.answers[operation]
        return answer.pop(0) if isinstance(answer, list) else answer


def record(state: str) -> dict[str, Any]:
    return {"id": 7, "operation": "reinstallOS", "state": state, "step": 1, "steps": 3, "stepName": "Step 1.", "percent": 33, "started": START,
            "ended": START + timedelta(seconds=42), "reason": "", "vps": "01", "caller": "dtc-xen", "created": START}


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(**answers: Any) -> FakeNode:
        node = FakeNode(**answers)
        monkeypatch.setattr(cli_soap, "Node", node)
        monkeypatch.setattr("dtcxen_soap.cli.follow.POLL_SECONDS", 0)
        return node
    return put


def test_with_an_address_the_daemon_is_asked(capsys: pytest.CaptureFixture[str], config: Path, daemon: Any) -> None:
    node = daemon(listVPS={"vpses": [{"vps": "01", "state": "running", "domid": 3}, {"vps": "02", "state": "mkos", "domid": None}]}, listJobs={"jobs": [record("running")]})
    code, out, _ = run(capsys, config, "states", "--url", "https://n:1/")
    assert code == 0 and [line.split() for line in out.splitlines()] == [["vps", "state", "domid"], ["01", "running", "3"], ["02", "mkos"]]
    assert run(capsys, config, "jobs", "01", "--limit", "5", "--url", "https://n:1/")[0] == 0
    assert node.calls == [("listVPS", {}), ("listJobs", {"vps": "01", "limit": "5"})]


@pytest.mark.parametrize(("end", "code"), [("cancelled", 0), ("done", 1), ("failed", 1)])
def test_cancel_waits_and_tells_the_truth(capsys: pytest.CaptureFixture[str], config: Path, daemon: Any, end: str, code: int) -> None:
    node = daemon(cancelJob={"job": 7, "cancelled": True}, getJob=[record("running"), record(end)])
    assert run(capsys, config, "cancel", "7")[0] == code
    assert [name for name, _ in node.calls] == ["cancelJob", "getJob", "getJob"]


def test_a_job_that_had_ended_cannot_be_cancelled(capsys: pytest.CaptureFixture[str], config: Path, daemon: Any) -> None:
    daemon(cancelJob={"job": 7, "cancelled": False})
    code, _, err = run(capsys, config, "cancel", "7")
    assert code == 1 and "had ended already" in err
    daemon(cancelJob={"job": 7, "cancelled": True})
    assert run(capsys, config, "cancel", "7", "--no-follow", "--json")[:2] == (0, '{\n  "job": 7,\n  "cancelled": true\n}\n')
