"""The journal alone: what it keeps, who may see it, and what a daemon finds in it after another died."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from threading import Thread

import pytest

from dtcxen_soap import joblog, plans
from dtcxen_soap import journal as module
from dtcxen_soap.errors import Failed, Misconfigured
from dtcxen_soap.facts import NeedJobs
from dtcxen_soap.joblog import JobLog, tail
from dtcxen_soap.journal import Held, Journal, OwedUndo
from dtcxen_soap.lookfacts import JOB_STATES, LogPart
from dtcxen_soap.undorecords import undo_from_record, undo_to_record
from dtcxen_soap.vps import Secret, VpsId

VPS = VpsId(1)
UNDO = (
    plans.RemoveFile(why="Remove it again.", path="/d/new"),
    plans.RenameFile(why="Put it back.", source="/d/kept", target="/d/root"),
    plans.ExchangeFile(why="Swap back.", source="/d/root.old", target="/d/root", keep="/d/root.failed"),
    plans.WriteFile(why="Write the old text.", path="/etc/x", content="old\n", mode=0o600),
    plans.Symlink(why="Link back.", path="/etc/auto/x", target="../x"),
    plans.RemoveAccount(why="Remove the user.", user="xen01", lock="/s/lock"),
    plans.Run(why="Undo it.", argv=("undo", "--", "it"), env=(("A", "b"), ("C", "d")), ok_codes=(0, 5), contained=True, marks=("x",)),
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "journal.sqlite")


@pytest.fixture
def journal(path: str) -> Journal:
    return Journal(path)


def begin(journal: Journal, vps: VpsId | None = VPS, kind: str = "job") -> int:
    return journal.begin("reinstallOS", vps, "dtc-xen", kind, ("install", "1. Do it."), 3)


def test_a_job_from_birth_to_end(journal: Journal) -> None:
    job = begin(journal)
    fact = journal.job(job)
    assert fact and (fact.state, fact.steps, fact.started, fact.caller, fact.tenancy) == ("queued", 3, None, "dtc-xen", 1)
    journal.started(job)
    journal.step_started(job, 1, 4, "Do it.", 25)
    fact = journal.job(job)
    assert fact and (fact.state, fact.step, fact.steps, fact.step_name, fact.percent) == ("running", 1, 4, "Do it.", 25)
    journal.step_ended(job, 1)
    journal.ended(job, "failed", "no room")
    fact = journal.job(job)
    assert fact and (fact.state, fact.reason, fact.percent) == ("failed", "no room", 25)
    assert fact.started and fact.ended and fact.created <= fact.started <= fact.ended and fact.ended.utcoffset() is not None


def test_percent_never_falls_and_done_is_all(journal: Journal) -> None:
    job = begin(journal)
    journal.progress(job, 40)
    journal.progress(job, 30)
    journal.step_started(job, 2, 3, "Next.", 20)
    assert journal.jobs(NeedJobs(job=job))[0].percent == 40
    journal.ended(job, "done")
    assert journal.jobs(NeedJobs(job=job))[0].percent == 100


def test_files_are_for_root_alone(path: str) -> None:
    os.mkdir(os.path.dirname(path) + "/jobs", 0o755)
    journal = Journal(path)
    job = begin(journal)
    with journal.log(job) as log:
        log.write("hello")
    fact = journal.job(job)
    assert fact and fact.log_bytes == 6
    modes = {name: stat.S_IMODE(os.stat(name).st_mode) for name in (path, path + "-wal", journal.log_dir, fact.log_path)}
    assert set(modes.values()) == {0o600, 0o700} and modes[journal.log_dir] == 0o700 and modes[fact.log_path] == 0o600


def test_what_is_owed_comes_newest_first_after_a_death(path: str) -> None:
    dead = Journal(path)
    job = begin(dead)
    dead.started(job)
    dead.undo_pushed(job, undo_to_record(UNDO[0]))
    dead.held(job, "2", "Mounted", "{}")
    dead.undo_pushed(job, undo_to_record(UNDO[1]))
    dead.held(job, "4", "ServicesOff", "{}")
    dead.undo_intended(job, 5, undo_to_record(UNDO[4]))
    dead.process_started(job, 77, 123)
    left, = Journal(path).unfinished()
    assert left.processes == ((77, 123),)
    assert left.owed == (
        OwedUndo(undo_to_record(UNDO[4]), intended=True), Held("4", "ServicesOff", "{}"), OwedUndo(undo_to_record(UNDO[1])),
        Held("2", "Mounted", "{}"), OwedUndo(undo_to_record(UNDO[0])))
    assert [hold.hold_id for hold in left.holds] == ["4", "2"]
    assert left.undo == tuple(undo_to_record(step) for step in (UNDO[4], UNDO[1], UNDO[0]))


def test_debts_leave_one_by_one(journal: Journal) -> None:
    job, record, other = begin(journal), undo_to_record(UNDO[0]), undo_to_record(UNDO[1])
    for one in (record, other, record):
        journal.undo_pushed(job, one)
    journal.held(job, "1", "Mounted", "{}")
    journal.process_started(job, 7, 1)
    journal.undo_done(job, record)
    assert journal.unfinished()[0].undo == (other, record)
    journal.released(job, "1")
    journal.process_ended(job, 7)
    left = journal.unfinished()[0]
    assert not left.holds and not left.processes
    journal.undo_forgotten(job)
    assert journal.unfinished()[0].owed == ()


def test_intents_end_with_their_own_step(journal: Journal) -> None:
    job = begin(journal)
    journal.undo_intended(job, 1, undo_to_record(UNDO[0]))
    journal.undo_intended(job, 2, undo_to_record(UNDO[1]))
    journal.step_ended(job, 2)
    assert journal.unfinished()[0].undo == (undo_to_record(UNDO[0]),)


def test_an_ended_job_owes_only_what_stayed_held(journal: Journal) -> None:
    job = begin(journal)
    journal.undo_pushed(job, undo_to_record(UNDO[0]))
    journal.held(job, "1", "Mounted", "{}")
    journal.process_started(job, 7, 1)
    journal.ended(job, "failed", "busy mount")
    left, = journal.unfinished()
    assert (left.job.state, left.owed, left.processes) == ("failed", (Held("1", "Mounted", "{}"),), ())
    journal.released(job, "1")
    assert journal.unfinished() == ()


@pytest.mark.parametrize("step", UNDO, ids=lambda step: type(step).__name__)
def test_undo_steps_survive_json(journal: Journal, step: plans.Step) -> None:
    job = begin(journal)
    journal.undo_pushed(job, undo_to_record(step))
    assert undo_from_record(journal.unfinished()[0].undo[0]) == step


@pytest.mark.parametrize("step", [
    plans.WriteFile(why="x", path="/x", content=Secret("hush")),
    plans.Run(why="x", argv=("x",), env=(("A", Secret("hush")),)),
    plans.Run(why="x", argv=("x",), confinement=plans.Confinement(writable=())),
    plans.TreeRemove(why="x", tree="/t", path="x"),
])
def test_what_cannot_be_journalled_cannot_be_undo(step: plans.Step) -> None:
    with pytest.raises(TypeError):
        undo_to_record(step)


def test_the_next_tenant_sees_nothing_of_the_last(journal: Journal) -> None:
    first, other = begin(journal), begin(journal, VpsId(2))
    with journal.log(first) as log:
        log.write("password policy of the last tenant")
    assert journal.latest_log(VPS, 0) == "password policy of the last tenant"
    journal.next_tenancy(VPS)
    assert journal.tenancy(VPS).number == 2
    assert journal.latest_log(VPS, 0) is None
    assert journal.jobs(NeedJobs(owner=VPS)) == ()
    assert journal.jobs(NeedJobs(job=first, owner=VPS)) == () == journal.jobs(NeedJobs(job=other, owner=VPS))
    second = begin(journal)
    assert [fact.id for fact in journal.jobs(NeedJobs(owner=VPS))] == [second]
    assert [fact.id for fact in journal.jobs(NeedJobs(owner=VPS, vps=VpsId(2)))] == []
    assert [fact.id for fact in journal.jobs(NeedJobs(vps=VPS))] == [second, first]
    assert [fact.id for fact in journal.jobs(NeedJobs(limit=2))] == [second, other]
    journal.ended(first, "failed", "no space")
    assert [fact.id for fact in journal.jobs(NeedJobs(states=("failed", "interrupted")))] == [first]
    assert [fact.id for fact in journal.jobs(NeedJobs(states=("queued",), limit=1))] == [second]
    assert journal.jobs(NeedJobs(states=("failed",), owner=VPS)) == ()


def test_tenancies_count_and_block(journal: Journal) -> None:
    assert (journal.tenancy(VPS).number, journal.tenancy(VPS).blocked) == (1, "")
    journal.block(VPS, "an old disk is in the way")
    assert journal.tenancy(VPS).blocked == "an old disk is in the way"
    journal.next_tenancy(VPS)
    journal.next_tenancy(VPS)
    assert (journal.tenancy(VPS).number, journal.tenancy(VPS).blocked) == (3, "an old disk is in the way")
    journal.block(VPS, "")
    assert journal.tenancy(VPS).blocked == "" == journal.tenancy(VpsId(2)).blocked


def test_the_latest_log_is_a_long_job_s(journal: Journal) -> None:
    job, quick = begin(journal), begin(journal, kind="now")
    for number, words in ((job, "one\ntwo\nthree"), (quick, "other")):
        with journal.log(number) as log:
            log.write(words)
    assert journal.latest_log(VPS, 2) == "two\nthree"
    assert journal.latest_log(VPS, 0) == "one\ntwo\nthree"
    assert journal.latest_log(VpsId(2), 0) is None


def test_a_log_keeps_terminals_and_disks_safe(tmp_path: Path) -> None:
    with JobLog(str(tmp_path / "log"), output_limit=20) as log:
        log.write("a\x1b[2Jb\rc\td\x85\udcff")
        for number in range(10):
            log.output(f"line {number}")
        log.write("the end")
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == ["a?[2Jb?c\td??", "line 0", "line 1", "(output beyond 0 MiB is left out)", "the end"]


def test_a_log_that_cannot_be_written_stops_nobody_and_says_so_later(tmp_path: Path) -> None:
    place = tmp_path / "log"
    place.mkdir()
    with JobLog(str(place)) as log:
        log.write("lost")
        log.write("lost too")
        place.rmdir()
        log.write("kept")
    assert place.read_text().splitlines() == ["(2 lines are lost: the log could not be written)", "kept"]


def test_a_long_log_is_read_from_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dtcxen_soap.joblog.TAIL_LIMIT", 20)
    (tmp_path / "log").write_text("".join(f"line number {number}\n" for number in range(9)))
    assert tail(str(tmp_path / "log"), 0) == "line number 8"
    assert tail(str(tmp_path / "none"), 5) is None


def test_changing_calls_are_audited(journal: Journal) -> None:
    journal.audit(caller="dtc-xen", peer="192.0.2.1", operation="killVPS", vps=VPS, detail="remove the disks", outcome="done", job=3)
    journal.audit(caller="xen02", peer="192.0.2.2", operation="cancelJob", vps=None, detail="", outcome="Busy: later")
    latest, first = journal.audited()
    assert (latest.caller, latest.vps, latest.job, latest.outcome) == ("xen02", None, None, "Busy: later")
    assert (first.caller, first.peer, first.operation, first.vps, first.detail, first.outcome, first.job) == (
        "dtc-xen", "192.0.2.1", "killVPS", VPS, "remove the disks", "done", 3)


def test_writable_writes(journal: Journal, path: str) -> None:
    assert journal.writable()
    other = sqlite3.connect(path)
    assert other.execute("SELECT count(*) FROM pulse").fetchone() == (1,)
    other.close()
    journal.close()
    assert not journal.writable()
    with pytest.raises(Failed, match="journal"):
        begin(journal)


def test_one_daemon_at_a_time(path: str) -> None:
    first, second = Journal(path), Journal(path)
    first.claim()
    first.claim()
    with pytest.raises(Misconfigured, match="another daemon"):
        second.claim()
    first.close()
    second.claim()


def test_unusable_journals_are_refused_by_name(path: str) -> None:
    Path(path).write_text("not a database " * 100)
    with pytest.raises(Misconfigured, match="journal.sqlite: not a usable journal"):
        Journal(path)


def test_schemas_move_forward_only(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = begin(Journal(path))
    with monkeypatch.context() as patch:
        patch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, "ALTER TABLE jobs ADD COLUMN colour TEXT;"))
        newer = Journal(path)
        assert newer.job(job)
        newer.close()
    with pytest.raises(Misconfigured, match="newer version"):
        Journal(path)


def test_threads_share_it(journal: Journal) -> None:
    job = begin(journal)

    def write(number: int) -> None:
        for step in range(20):
            journal.step_started(job, number * 20 + step, 400, "x", 1)
            journal.undo_pushed(job, {"kind": "RemoveFile", "why": "x", "path": f"/{number}/{step}"})

    threads = [Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(str, journal.unfinished()[0].undo))) == 400


def test_a_transaction_is_whole(journal: Journal) -> None:
    job = begin(journal)
    with pytest.raises(Failed, match="no such table"), journal._writing() as db:
        db.execute("UPDATE jobs SET percent = 50")
        db.execute("INSERT INTO nowhere VALUES (1)")
    fact = journal.job(job)
    assert fact and fact.percent == 0
    journal.progress(job, 7)


def test_jobs_are_counted_by_state(journal: Journal) -> None:
    assert journal.job_counts() == dict.fromkeys(JOB_STATES, 0)
    for state in (*JOB_STATES[2:], "done"):
        journal.ended(begin(journal), state)
    journal.next_tenancy(VPS)
    journal.started(begin(journal, VpsId(2)))
    begin(journal, None, "now")
    assert journal.job_counts() == {"queued": 1, "running": 1, "done": 2, "failed": 1, "cancelled": 1, "interrupted": 1}


def test_a_log_is_read_in_pieces_that_end_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    assert joblog.part(str(path), 0) is None
    path.write_bytes("ä\nb\nhalf".encode())
    assert joblog.part(str(path), 0) == LogPart("ä\nb\n", 5)
    assert joblog.part(str(path), 5) == LogPart("", 5) == joblog.part(str(path), 5)
    monkeypatch.setattr(joblog, "PART_LIMIT", 4)
    assert joblog.part(str(path), 0) == LogPart("ä\n", 3)
    assert joblog.part(str(path), 5) == LogPart("half", 9), "a line longer than a piece comes in several"
    assert joblog.part(str(path), 99) == LogPart("", 99)
