"""What the status page says, before it is HTML or JSON: tables of cells, made of what was found and of nothing else.

What is not known is said to be unknown: it is never 0, never "none", and never green. All text is
made harmless at a cell's birth: reasons and step names may hold what a hostile guest printed.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dtcxen_soap import __version__
from dtcxen_soap.answers import FreeSpace, Job, JobList, Ping, PingList, VpsDetails, VpsState
from dtcxen_soap.errors import Missing
from dtcxen_soap.lookfacts import VPS_STATES, StateFact

LONGEST_TEXT = 600
GOOD, BUSY, WARN, BAD, UNKNOWN = "good", "busy", "warn", "bad", "unknown"
"""Tones of cells: how they look, in addition to what they say."""
_TONES = {"running": GOOD, "mkos": BUSY, "fsck": BUSY, "dying": WARN, "paused": WARN, "crashed": BAD}
_HARMFUL = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
"""Categories of Unicode that steer a terminal or a reader's eye, or are no text: controls, formats (bidi among them), surrogates, separators."""


def harmless(text: str, kept: str = "") -> str:
    """`text` with every character that is not seen, or moves others, written as its number; `kept` are spared."""
    return "".join(char if char in kept or unicodedata.category(char) not in _HARMFUL else f"\\u{ord(char):04x}" for char in text)


@dataclass(frozen=True)
class Cell:
    """One thing that is said. `link` is a path of ours, `percent` draws a bar."""

    text: str
    tone: str = ""
    link: str = ""
    percent: int | None = None

    def __post_init__(self) -> None:
        text = harmless(" ".join(self.text.split()))
        object.__setattr__(self, "text", text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…")


@dataclass(frozen=True)
class Table:
    """Rows under a heading, or (`tiles`) pairs of a name and a value. `rows` None: not known. `seen`: when the node was looked at."""

    name: str
    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...] | None
    seen: str = ""
    empty: str = "none"
    tiles: bool = False


@dataclass(frozen=True)
class Page:
    """All of it."""

    title: str
    signed_in: str
    made: str
    tables: tuple[Table, ...]
    live: bool
    """Something goes on whose progress is worth watching."""


@dataclass(frozen=True)
class Seen:
    """What was found, by the name of each look, and how many seconds ago."""

    found: Mapping[str, Any]
    age: Callable[[str], float]
    now: datetime

    def at(self, *names: str) -> str:
        """When these were looked at, in words."""
        known = [f"{self.now - timedelta(seconds=self.age(name)):%H:%M:%S} UTC{_OF.get(name, '')}" for name in names if self.found[name] is not None]
        return f"seen at {', '.join(known)}" if known else ""


_OF = {"vpses": " (states)", "pings": " (pings)", "state": " (state)", "details": " (configuration)"}
"""What a time is of, where several stand beside each other."""


def node(name: str, signed_in: str, seen: Seen, certificate_ends: datetime, node_seconds: float, daemon_seconds: float) -> Page:
    """The whole node, for its admin and monitor."""
    found = seen.found
    service = ((Cell("VPSes"), _counted(found["vpses"])), (Cell("Certificate"), certificate(certificate_ends, seen.now)),
               (Cell("Node is up"), Cell(duration(node_seconds))), (Cell("Daemon is up"), Cell(duration(daemon_seconds))), (Cell("Version"), Cell(__version__)))
    return Page(name, signed_in, _clock(seen.now), (
        Table("node", "Node", ("What", "How it is"), service, tiles=True),
        Table("capacity", "Free", ("Of what", "How much"), _capacity(found["space"]), seen.at("space"), tiles=True),
        *_jobs(seen),
        Table("vpses", "VPSes", ("VPS", "State", "Memory", "Domain", "Addresses", "Answered"), _vpses(found["vpses"], found["pings"]), seen.at("vpses", "pings"))),
        _live(found["live"]))


def owned(vps: str, signed_in: str, seen: Seen) -> Page:
    """One VPS, for its owner."""
    return Page(f"VPS {vps}", signed_in, _clock(seen.now), (
        Table("own", "Your VPS", ("What", "How it is"), tuple(_own(seen.found["state"], seen.found["details"])), seen.at("state", "details"), tiles=True),
        *_jobs(seen)), _live(seen.found["live"]))


def job(record: Job, signed_in: str, now: datetime) -> Page:
    """One job; its log goes beneath."""
    rows = [("State", Cell(record.state, _job_tone(record.state))), ("Done", Cell(f"{record.percent} %", percent=record.percent)),
            ("Step", Cell(_step(record))), ("Asked by", Cell(record.caller)), ("Asked at", Cell(_clock(record.created)))]
    rows += [(name, Cell(_clock(at))) for name, at in (("Begun at", record.started), ("Ended at", record.ended)) if at]
    if record.reason:
        rows.append(("Reason", Cell(record.reason)))
    title = f"Job {record.id}: {record.operation}" + (f" of VPS {record.vps}" if record.vps else "")
    return Page(harmless(title), signed_in, _clock(now), (
        Table("job", "Job", ("What", "How it is"), tuple((Cell(name), cell) for name, cell in rows), tiles=True),),
        record.state in ("queued", "running"))


# -- the node ---------------------------------------------------------------------------------------------


def _counted(states: tuple[StateFact, ...] | None) -> Cell:
    """How many there are in each state; those that are not known are told first."""
    if states is None:
        return Cell("unknown", UNKNOWN)
    counts = Counter(state.word for state in states)
    told = [f"{counts[word]} {word or 'unknown'}" for word in ("", *VPS_STATES) if counts[word]]
    return Cell(", ".join(told) or "none", UNKNOWN if counts[""] else BAD if counts["crashed"] else "")


def certificate(ends: datetime, now: datetime) -> Cell:
    """When the certificate that is served ends."""
    days = (ends - now).days
    if ends <= now:
        return Cell(f"ended {ends:%Y-%m-%d}", BAD)
    return Cell(f"ends {ends:%Y-%m-%d}, in {days} days", BAD if days < 7 else WARN if days < 30 else GOOD)


def _capacity(space: FreeSpace | None) -> tuple[tuple[Cell, ...], ...] | None:
    if space is None:
        return None
    kinds = {"vbd": "Disk images in", "lvm": "Volumes in"}
    rows = [(Cell("Memory"), _memory(space))]
    rows += [(Cell(f"{kinds.get(row.image_type, row.image_type)} {row.place}"), Cell(mebibytes(row.free_mib), "" if row.free_mib else WARN)) for row in space.spaces]
    return tuple(rows)


def _memory(space: FreeSpace) -> Cell:
    if space.free_memory_mib is None:
        return Cell("unknown", UNKNOWN)
    total = "" if space.total_memory_mib is None else f" of {mebibytes(space.total_memory_mib)}"
    return Cell(f"{mebibytes(space.free_memory_mib)}{total}", "" if space.free_memory_mib else WARN)


def _vpses(states: tuple[StateFact, ...] | None, pings: PingList | None) -> tuple[tuple[Cell, ...], ...] | None:
    if states is None:
        return None
    pinged: dict[str, list[Ping]] = defaultdict(list)
    for ping in pings.pings if pings else ():
        pinged[ping.vps].append(ping)
    return tuple(_vps(fact, pinged[str(fact.vps)], pings is not None) for fact in states)


def _vps(fact: StateFact, pinged: list[Ping], pings_known: bool) -> tuple[Cell, ...]:
    """One row. Where it is not known whether a domU runs, its memory and number are not known either."""
    if fact.domid is not None:
        memory, domid = Cell(mebibytes(int(fact.memory)) if fact.memory else "unknown", "" if fact.memory else UNKNOWN), Cell(str(fact.domid))
    else:
        memory = domid = Cell("unknown", UNKNOWN) if fact.trouble else Cell("–")
    addresses = Cell(", ".join(ping.address for ping in pinged) or "–") if pings_known else Cell("unknown", UNKNOWN)
    return Cell(fact.vps.name), _state(fact), memory, domid, addresses, _answered(pinged, pings_known, fact.word)


def _state(fact: StateFact) -> Cell:
    if fact.trouble and not fact.busy:
        return Cell(f"unknown: {fact.trouble}", UNKNOWN)
    return Cell(f"{fact.word}, rescue system" if fact.rescue else fact.word, WARN if fact.rescue else _TONES.get(fact.word, ""))


def _answered(pinged: list[Ping], known: bool, word: str) -> Cell:
    """How many addresses answered the last ping; that those of a stopped VPS are silent is no wonder."""
    if not known:
        return Cell("unknown", UNKNOWN)
    if not pinged:
        return Cell("not pinged")
    number = sum(ping.answered for ping in pinged)
    tone = GOOD if number == len(pinged) else "" if word == "stopped" and not number else WARN if number else BAD
    return Cell(f"{number} of {len(pinged)}", tone)


# -- an owner's VPS ---------------------------------------------------------------------------------------


def _own(state: VpsState | None, details: VpsDetails | Missing | None) -> Iterable[tuple[Cell, Cell]]:
    """What its owner is told, by getVPSState and infoVPS."""
    yield Cell("State"), _own_state(state)
    if state and state.domid is not None:
        yield Cell("Domain"), Cell(str(state.domid))
        yield Cell("Memory now"), Cell("unknown", UNKNOWN) if state.max_memory_mib is None else Cell(mebibytes(state.max_memory_mib))
    if details is None:
        yield Cell("Configuration"), Cell("unknown", UNKNOWN)
    elif isinstance(details, Missing):
        yield Cell("Configuration"), Cell("neither a disk nor a configuration on this node")
    else:
        yield Cell("Addresses"), Cell(", ".join(details.addresses) or "none")
        if details.memory_mib is not None:
            yield Cell("Memory configured"), Cell(mebibytes(details.memory_mib))
        for disk in details.disks:
            yield Cell(f"{disk.role.capitalize()} disk"), Cell(mebibytes(disk.size_mib))


def _own_state(state: VpsState | None) -> Cell:
    if state is None:
        return Cell("unknown", UNKNOWN)
    if state.state.startswith("NOTOK"):
        return Cell(f"unknown: {state.state.removeprefix('NOTOK - ')}", UNKNOWN)
    return Cell("running, rescue system", WARN) if state.state == "rescue" else Cell(state.state, _TONES.get(state.state, ""))


# -- jobs -------------------------------------------------------------------------------------------------


def _jobs(seen: Seen) -> tuple[Table, Table]:
    return (
        Table("live", "Running jobs", ("Job", "What", "VPS", "Step", "Done"), _rows(seen.found["live"], _live_row), seen.at("live")),
        Table("failures", "Last failures", ("Job", "What", "VPS", "When", "How", "Reason"), _rows(seen.found["failures"], _failure_row), seen.at("failures")))


def _rows(jobs: JobList | None, row: Callable[[Job], tuple[Cell, ...]]) -> tuple[tuple[Cell, ...], ...] | None:
    return None if jobs is None else tuple(map(row, jobs.jobs))


def _live(jobs: JobList | None) -> bool:
    return bool(jobs and jobs.jobs)


def _live_row(record: Job) -> tuple[Cell, ...]:
    return *_which(record), Cell(_step(record)), Cell(f"{record.percent} %", percent=record.percent)


def _failure_row(record: Job) -> tuple[Cell, ...]:
    when = _clock(record.ended) if record.ended else "unknown"
    return (*_which(record), Cell(when, "" if record.ended else UNKNOWN), Cell(record.state, _job_tone(record.state)),
            Cell(record.reason) if record.reason else Cell("unknown", UNKNOWN))


def _which(record: Job) -> tuple[Cell, ...]:
    return Cell(f"Job {record.id}", link=f"/jobs/{record.id}"), Cell(record.operation), Cell(f"xen{record.vps}" if record.vps else "–")


def _step(record: Job) -> str:
    if record.state == "queued":
        return "waits for its turn"
    return f"{record.step} of {record.steps}: {record.step_name}" if record.step else "begins"


def _job_tone(state: str) -> str:
    return {"done": GOOD, "running": BUSY, "queued": BUSY, "failed": BAD, "interrupted": BAD}.get(state, "")


# -- words ------------------------------------------------------------------------------------------------


def mebibytes(mib: int) -> str:
    """A size in the unit that a reader would choose."""
    return f"{mib} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB" if mib < 1 << 20 else f"{mib / (1 << 20):.1f} TiB"


def duration(seconds: float) -> str:
    """How long, in the two greatest units."""
    minutes = int(seconds) // 60
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
