"""The journal: what jobs did, are doing and still owe, so that a daemon that died tells the truth when it starts again.

SQLite in WAL mode, one connection behind one lock; beside it one readable log file per job. What a
lost power supply must not take back (a job's birth and end, undo, tenancies) is synced; the rest
survives the death of the process only. Times are UTC. sqlite3's errors become Failed.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from threading import RLock
from typing import Any
from urllib.parse import quote

from dtcxen_soap.errors import Failed, Misconfigured
from dtcxen_soap.facts import JobFact, NeedJobs, TenancyFact
from dtcxen_soap.joblog import JobLog, part, tail
from dtcxen_soap.lookfacts import JOB_STATES, LogPart
from dtcxen_soap.perffacts import Counters, Reading, Readings, Sample, Usage
from dtcxen_soap.vps import VpsId

# One script per schema version; a version that was released is never edited, the next one changes it.
MIGRATIONS = ("""
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, vps INTEGER, tenancy INTEGER NOT NULL, operation TEXT NOT NULL, kind TEXT NOT NULL,
  caller TEXT NOT NULL, state TEXT NOT NULL, created TEXT NOT NULL, started TEXT, ended TEXT, step INTEGER NOT NULL DEFAULT 0,
  steps INTEGER NOT NULL, step_name TEXT NOT NULL DEFAULT '', percent INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
  plan TEXT NOT NULL);
CREATE INDEX jobs_of_vps ON jobs (vps, id);
CREATE TABLE steps (
  job INTEGER NOT NULL REFERENCES jobs, n INTEGER NOT NULL, name TEXT NOT NULL, started TEXT NOT NULL, ended TEXT,
  PRIMARY KEY (job, n)) WITHOUT ROWID;
CREATE TABLE owed (
  id INTEGER PRIMARY KEY AUTOINCREMENT, job INTEGER NOT NULL REFERENCES jobs, what TEXT NOT NULL CHECK (what IN ('hold', 'undo', 'intent')),
  mark TEXT NOT NULL DEFAULT '', kind TEXT NOT NULL, detail TEXT NOT NULL);
CREATE INDEX owed_by_job ON owed (job, id);
CREATE TABLE processes (job INTEGER NOT NULL REFERENCES jobs, pid INTEGER NOT NULL, start_time INTEGER NOT NULL, PRIMARY KEY (job, pid)) WITHOUT ROWID;
CREATE TABLE tenancies (vps INTEGER PRIMARY KEY, number INTEGER NOT NULL DEFAULT 1, blocked TEXT NOT NULL DEFAULT '');
CREATE TABLE audit (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, caller TEXT NOT NULL, peer TEXT NOT NULL, operation TEXT NOT NULL, vps INTEGER,
  detail TEXT NOT NULL, outcome TEXT NOT NULL, job INTEGER);
CREATE TABLE pulse (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), at TEXT NOT NULL);
""", """
CREATE TABLE samples (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, usages TEXT NOT NULL);
CREATE TABLE readings (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), boot TEXT NOT NULL, readings TEXT NOT NULL);
""", """
ALTER TABLE audit ADD COLUMN arguments TEXT NOT NULL DEFAULT '';
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END;
CREATE TRIGGER audit_is_not_dropped BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END;
""")

LIVE = ("queued", "running")
MOST_SAMPLES = 7 * 24 * 60
"""A week of minutes; what nobody fetches for longer is forgotten, the oldest first."""


@dataclass(frozen=True)
class Held:
    """A hold that was acquired and not released: `kind` names the plan's hold, `detail` what its release needs."""

    hold_id: str
    kind: str
    detail: str


@dataclass(frozen=True)
class OwedUndo:
    """An undo step as a record of undorecords.py.

    `intended`: its step had begun but was not seen to end; what it would undo may not exist.
    """

    record: dict[str, Any]
    intended: bool = False


@dataclass(frozen=True)
class Unfinished:
    """What a job left behind. `owed` holds releases and undo steps in the order to run them, newest first."""

    job: JobFact
    processes: tuple[tuple[int, int], ...]
    owed: tuple[Held | OwedUndo, ...]

    @property
    def holds(self) -> tuple[Held, ...]:
        """Holds alone, last first."""
        return tuple(item for item in self.owed if isinstance(item, Held))

    @property
    def undo(self) -> tuple[dict[str, Any], ...]:
        """Undo records alone, last first."""
        return tuple(item.record for item in self.owed if isinstance(item, OwedUndo))


@dataclass(frozen=True)
class AuditRow:
    """One changing call: who, from where, what with which words (secrets redacted), how it went, and its job if it became one."""

    at: datetime
    caller: str
    peer: str
    operation: str
    vps: VpsId | None
    detail: str
    outcome: str
    job: int | None
    arguments: str = ""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _vps(number: int | None) -> VpsId | None:
    return VpsId(number) if number else None


def _text(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True)


class Journal:
    """The only writer of the database at `path`; safe to use from every thread.

    With `read_only` it writes nothing, and may be opened beside a daemon; then it must be there.
    """

    def __init__(self, path: str, log_dir: str = "", clock: Callable[[], datetime] = _utc_now, read_only: bool = False) -> None:
        self.path, self.log_dir = path, log_dir or os.path.join(os.path.dirname(path), "jobs")
        self._clock, self._lock, self._claim = clock, RLock(), -1
        if read_only:
            self._open_to_read()
        else:
            self._open()

    def _open(self) -> None:
        path = self.path
        os.makedirs(self.log_dir, mode=0o700, exist_ok=True)
        os.chmod(self.log_dir, 0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        os.chmod(path, 0o600)
        try:
            self._db = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._migrate()
        except sqlite3.Error as error:
            raise Misconfigured(f"{path}: not a usable journal: {error}") from error

    def _open_to_read(self) -> None:
        """A schema that is not ours is not guessed at."""
        os.close(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC))
        try:
            self._db = sqlite3.connect(f"file:{quote(self.path)}?mode=ro", uri=True, timeout=5, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            if self._version() < len(MIGRATIONS):
                raise Misconfigured(f"{self.path}: written by an older version; start the daemon once")
        except sqlite3.Error as error:
            raise Misconfigured(f"{self.path}: cannot be read: {error}") from error

    def _version(self) -> int:
        version: int = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise Misconfigured(f"{self.path}: written by a newer version (schema {version}, this one knows {len(MIGRATIONS)})")
        return version

    def _migrate(self) -> None:
        version = self._version()
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            self._db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version={number}; COMMIT;")

    def claim(self) -> None:
        """Be the one daemon of this journal; Misconfigured when another lives, whose jobs must not be ended."""
        if self._claim < 0:
            file = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                raise Misconfigured(f"{self.path}: another daemon serves this node") from None
            self._claim = file

    def served(self) -> bool:
        """Whether a daemon holds the claim of this journal; asked of the kernel, so that no daemon that just starts finds it taken by us."""
        try:
            number = os.stat(f"{self.path}.lock").st_ino
            with open("/proc/locks", encoding="ascii") as locks:
                return any(words[1:2] == ["FLOCK"] and words[5].rpartition(":")[2] == str(number) for words in map(str.split, locks))
        except OSError:
            return False

    def close(self) -> None:
        """Close the database and give up the claim."""
        with self._lock:
            self._db.close()
            if self._claim >= 0:
                os.close(self._claim)
                self._claim = -1

    @contextmanager
    def _writing(self, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction; `durable` syncs it to the disk."""
        with self._lock:
            try:
                self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._db.execute("BEGIN IMMEDIATE")
                with self._db:
                    yield self._db
            except sqlite3.Error as error:
                raise Failed("Write the journal.", str(error)) from error

    def _write(self, sql: str, *values: Any, durable: bool = False) -> None:
        with self._writing(durable) as db:
            db.execute(sql, values)

    def _read(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise Failed("Read the journal.", str(error)) from error

    def _now(self) -> str:
        return self._clock().isoformat()

    # -- the life of a job ------------------------------------------------------------------------

    def begin(self, operation: str, vps: VpsId | None, caller: str, kind: str, plan_lines: tuple[str, ...], steps: int) -> int:
        """Write a queued job with its plan down, under the VPS's present tenancy; its number."""
        tenancy = self.tenancy(vps).number if vps else 0
        with self._writing(durable=True) as db:
            cursor = db.execute(
                "INSERT INTO jobs (vps, tenancy, operation, kind, caller, state, created, steps, plan) VALUES (?, ?, ?, ?, ?, 'queued', ?, ?, ?)",
                (vps.number if vps else None, tenancy, operation, kind, caller, self._now(), steps, "\n".join(plan_lines)))
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def started(self, job: int) -> None:
        """A worker took the job up."""
        self._write("UPDATE jobs SET state = 'running', started = ? WHERE id = ?", self._now(), job)

    def step_started(self, job: int, n: int, steps: int, name: str, percent: int) -> None:
        """Step `n` of now `steps` began."""
        with self._writing() as db:
            db.execute("UPDATE jobs SET step = ?, steps = ?, step_name = ?, percent = max(percent, ?) WHERE id = ?", (n, steps, name, percent, job))
            db.execute("INSERT OR REPLACE INTO steps (job, n, name, started) VALUES (?, ?, ?, ?)", (job, n, name, self._now()))

    def step_ended(self, job: int, n: int) -> None:
        """Step `n` is over, well or not: what it intended to undo is pushed by now, or there is nothing to undo."""
        with self._writing() as db:
            db.execute("UPDATE steps SET ended = ? WHERE job = ? AND n = ?", (self._now(), job, n))
            db.execute("DELETE FROM owed WHERE job = ? AND what = 'intent' AND mark = ?", (job, str(n)))

    def progress(self, job: int, percent: int) -> None:
        """The job is this far; a smaller figure than before changes nothing."""
        self._write("UPDATE jobs SET percent = max(percent, ?) WHERE id = ?", percent, job)

    def ended(self, job: int, state: str, reason: str = "") -> None:
        """The job's end: done, failed, cancelled or interrupted. Holds that could not be released stay owed."""
        with self._writing(durable=True) as db:
            db.execute(
                "UPDATE jobs SET state = ?, reason = ?, ended = ?, percent = CASE ? WHEN 'done' THEN 100 ELSE percent END WHERE id = ?",
                (state, reason, self._now(), state, job))
            db.execute("DELETE FROM owed WHERE job = ? AND what != 'hold'", (job,))
            db.execute("DELETE FROM processes WHERE job = ?", (job,))

    # -- what a job owes --------------------------------------------------------------------------

    def held(self, job: int, hold_id: str, kind: str, detail: str) -> None:
        """A hold is about to be acquired: written before, so that no moment is without a record."""
        self._write("INSERT INTO owed (job, what, mark, kind, detail) VALUES (?, 'hold', ?, ?, ?)", job, hold_id, kind, detail)

    def released(self, job: int, hold_id: str) -> None:
        """A hold was released, or never acquired."""
        self._write("DELETE FROM owed WHERE job = ? AND what = 'hold' AND mark = ?", job, hold_id)

    def undo_intended(self, job: int, n: int, record: dict[str, Any]) -> None:
        """Step `n` begins, whose undo can be run safely even if the step is cut off; forgotten when the step ends."""
        self._owe_undo(job, "intent", str(n), record)

    def undo_pushed(self, job: int, record: dict[str, Any]) -> None:
        """A step succeeded; this would undo it."""
        self._owe_undo(job, "undo", "", record)

    def _owe_undo(self, job: int, what: str, mark: str, record: dict[str, Any]) -> None:
        self._write(
            "INSERT INTO owed (job, what, mark, kind, detail) VALUES (?, ?, ?, ?, ?)", job, what, mark, record["kind"], _text(record), durable=True)

    def undo_done(self, job: int, record: dict[str, Any]) -> None:
        """This undo step of the job, the newest if it is there twice, needs no running any more."""
        self._write("DELETE FROM owed WHERE id = (SELECT max(id) FROM owed WHERE job = ? AND what != 'hold' AND detail = ?)", job, _text(record))

    def undo_forgotten(self, job: int) -> None:
        """All that mattered is done: nothing of the job is undone any more."""
        self._write("DELETE FROM owed WHERE job = ? AND what != 'hold'", job, durable=True)

    def process_started(self, job: int, pid: int, start_time: int) -> None:
        """A process group leader of the job; `start_time` as in /proc/PID/stat, since pids come back."""
        self._write("INSERT OR REPLACE INTO processes (job, pid, start_time) VALUES (?, ?, ?)", job, pid, start_time)

    def process_ended(self, job: int, pid: int) -> None:
        """The process group is gone."""
        self._write("DELETE FROM processes WHERE job = ? AND pid = ?", job, pid)

    def unfinished(self) -> tuple[Unfinished, ...]:
        """Jobs that did not end, and ended ones whose holds could not be released; newest first."""
        rows = self._read(
            "SELECT * FROM jobs WHERE state IN (?, ?) OR id IN (SELECT job FROM owed WHERE what = 'hold') ORDER BY id DESC", *LIVE)
        return tuple(Unfinished(job, self._processes(job.id), self._owed(job.id)) for job in map(self._fact, rows))

    def _processes(self, job: int) -> tuple[tuple[int, int], ...]:
        return tuple((pid, start) for pid, start in self._read("SELECT pid, start_time FROM processes WHERE job = ? ORDER BY pid", job))

    def _owed(self, job: int) -> tuple[Held | OwedUndo, ...]:
        rows = self._read("SELECT what, mark, kind, detail FROM owed WHERE job = ? ORDER BY id DESC", job)
        return tuple(
            Held(mark, kind, detail) if what == "hold" else OwedUndo(json.loads(detail), what == "intent") for what, mark, kind, detail in rows)

    # -- tenancies --------------------------------------------------------------------------------

    def tenancy(self, vps: VpsId) -> TenancyFact:
        """Which tenancy the VPS is in, counted from 1, and why it is blocked, if it is."""
        rows = self._read("SELECT number, blocked FROM tenancies WHERE vps = ?", vps.number)
        return TenancyFact(*rows[0]) if rows else TenancyFact(1)

    def next_tenancy(self, vps: VpsId) -> None:
        """From now on, what was before is another tenant's."""
        self._write("INSERT INTO tenancies (vps, number) VALUES (?, 2) ON CONFLICT (vps) DO UPDATE SET number = number + 1", vps.number, durable=True)

    def block(self, vps: VpsId, reason: str) -> None:
        """Why the VPS must not start or install; "" lifts it."""
        self._write(
            "INSERT INTO tenancies (vps, blocked) VALUES (?, ?) ON CONFLICT (vps) DO UPDATE SET blocked = excluded.blocked",
            vps.number, reason, durable=True)

    # -- who asks ---------------------------------------------------------------------------------

    def job(self, job: int) -> JobFact | None:
        """One job, of whatever tenancy."""
        return next(iter(self.jobs(NeedJobs(job=job))), None)

    def jobs(self, need: NeedJobs) -> tuple[JobFact, ...]:
        """The jobs asked for, newest first; an owner sees the present tenancy of the own VPS alone."""
        asked: list[tuple[str, Any]] = []
        if need.job is not None:
            asked.append(("id = ?", need.job))
        if need.vps is not None:
            asked.append(("vps = ?", need.vps.number))
        if need.owner is not None:
            asked += [("vps = ?", need.owner.number), ("tenancy = ?", self.tenancy(need.owner).number)]
        if need.states:
            asked.append(("state IN (SELECT value FROM json_each(?))", json.dumps(need.states)))
        where = " AND ".join(condition for condition, _ in asked) or "1"
        rows = self._read(f"SELECT * FROM jobs WHERE {where} ORDER BY id DESC LIMIT ?", *(value for _, value in asked), need.limit)
        return tuple(map(self._fact, rows))

    def job_counts(self) -> dict[str, int]:
        """How many jobs there are in each state, of whatever tenancy; 0 where there are none."""
        return dict.fromkeys(JOB_STATES, 0) | {state: number for state, number in self._read("SELECT state, count(*) FROM jobs GROUP BY state")}

    def at_work(self, vps: VpsId) -> str:
        """The operation of a job that goes on for the VPS after its call was answered, as far as the journal knows; "" without one."""
        rows = self._read("SELECT operation FROM jobs WHERE vps = ? AND state IN (?, ?) AND kind != 'now' ORDER BY id DESC LIMIT 1", vps.number, *LIVE)
        return rows[0]["operation"] if rows else ""

    def _fact(self, row: sqlite3.Row) -> JobFact:
        path = self._log_path(row["id"])
        return JobFact(
            row["id"], _vps(row["vps"]), row["tenancy"], row["operation"], row["state"], row["caller"],
            datetime.fromisoformat(row["created"]), _time(row["started"]), _time(row["ended"]),
            row["step"], row["steps"], row["step_name"], row["percent"], row["reason"],
            path, os.path.getsize(path) if os.path.exists(path) else 0)

    def _log_path(self, job: int) -> str:
        return f"{self.log_dir}/job-{job}.log"

    def log(self, job: int) -> JobLog:
        """The job's readable log, to write to."""
        return JobLog(self._log_path(job))

    def latest_log(self, vps: VpsId, lines: int) -> str | None:
        """The last lines (0: all) of the latest long job of the VPS's present tenancy; None without one."""
        rows = self._read(
            "SELECT max(id) FROM jobs WHERE vps = ? AND tenancy = ? AND kind = 'job'", vps.number, self.tenancy(vps).number)
        return tail(self._log_path(rows[0][0]), lines) if rows[0][0] else None

    def log_part(self, job: int, start: int) -> LogPart | None:
        """Whole lines of the job's log from byte `start` on; None when nothing was ever written to it."""
        return part(self._log_path(job), start)

    def audit(self, *, caller: str, peer: str, operation: str, vps: VpsId | None, detail: str, outcome: str, job: int | None = None, arguments: str = "") -> None:
        """Keep one row for a changing call, refused ones too; `detail` is the plan's title, `arguments` what the caller said, without secrets."""
        self._write(
            "INSERT INTO audit (at, caller, peer, operation, vps, detail, outcome, job, arguments) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self._now(), caller, peer, operation, vps.number if vps else None, detail, outcome, job, arguments, durable=True)

    def audited(self, limit: int = 100, vps: VpsId | None = None) -> tuple[AuditRow, ...]:
        """The latest changing calls, of one VPS or of all, newest first."""
        rows = self._read("SELECT * FROM audit WHERE ?1 IS NULL OR vps = ?1 ORDER BY id DESC LIMIT ?2", vps.number if vps else None, limit)
        return tuple(
            AuditRow(datetime.fromisoformat(row["at"]), row["caller"], row["peer"], row["operation"], _vps(row["vps"]),
                     row["detail"], row["outcome"], row["job"], row["arguments"])
            for row in rows)

    # -- samples ----------------------------------------------------------------------------------

    def readings(self) -> Readings | None:
        """The counters at the latest sample; None before the first."""
        rows = self._read("SELECT boot, readings FROM readings")
        return Readings(rows[0]["boot"], {VpsId(vps): Reading(domid, Counters(*counters)) for vps, domid, counters in json.loads(rows[0]["readings"])}) if rows else None

    def keep_sample(self, now: Readings, usages: tuple[Usage, ...]) -> None:
        """Keep the counters, and what came of them unless no domU runs; both or neither."""
        readings = json.dumps([(vps.number, reading.domid, astuple(reading.counters)) for vps, reading in now.of.items()])
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO readings VALUES (1, ?, ?)", (now.boot, readings))
            if usages:
                rows = json.dumps([(usage.vps.number, astuple(usage.total), astuple(usage.used)) for usage in usages])
                db.execute("INSERT INTO samples (at, usages) VALUES (?, ?)", (self._now(), rows))
                db.execute("DELETE FROM samples WHERE id <= (SELECT max(id) FROM samples) - ?", (MOST_SAMPLES,))

    def samples(self, count: int) -> tuple[Sample, ...]:
        """The oldest samples that are kept, so many at most, oldest first."""
        rows = self._read("SELECT id, at, usages FROM samples ORDER BY id LIMIT ?", count)
        return tuple(
            Sample(row["id"], datetime.fromisoformat(row["at"]),
                   tuple(Usage(VpsId(vps), Counters(*total), Counters(*used)) for vps, total, used in json.loads(row["usages"])))
            for row in rows)

    def drop_samples(self, newest: int) -> None:
        """These were delivered: all up to this number."""
        self._write("DELETE FROM samples WHERE id <= ?", newest)

    def answers(self) -> bool:
        """Whether a question has an answer: not so when a thread never gives the lock back, or the database is gone."""
        try:
            return bool(self._read("SELECT count(*) FROM pulse"))
        except Failed:
            return False

    def writable(self) -> bool:
        """Whether a row can be written now: a real write, for the health of the node."""
        try:
            self._write("INSERT INTO pulse VALUES (1, ?) ON CONFLICT (only_row) DO UPDATE SET at = excluded.at", self._now())
        except Failed:
            return False
        return True
