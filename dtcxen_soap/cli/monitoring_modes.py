"""What check_dtcxen can look at: a row of MODES each, which asks the daemon and makes figures of its answer."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import requests

from dtcxen_soap import certificates
from dtcxen_soap.cli import soap as cli_soap
from dtcxen_soap.cli.console import Door, Unreachable
from dtcxen_soap.cli.thresholds import Figure, State
from dtcxen_soap.errors import Missing

MOST_JOBS = 1000
_BAD_ENDS = ("failed", "interrupted")
MEMORY = "memory"


@dataclass(frozen=True)
class Question:
    """Where to look, and at what: one VPS, these places, jobs of so many hours; `seconds` is what all of it may take."""

    door: Door
    seconds: float
    vps: str = ""
    places: tuple[str, ...] = ()
    hours: float = 24.0


@dataclass(frozen=True)
class Finding:
    """What was found, in a line; `state` is what it is whatever the thresholds say of the figures."""

    text: str
    figures: tuple[Figure, ...]
    state: State = State.OK


@dataclass(frozen=True)
class Mode:
    """One thing to look at. Thresholds as text, "" for none; what they are held against, in words."""

    look: Callable[[Question], Finding]
    judged: str
    warning: str = ""
    critical: str = ""
    signs_in: bool = True


def health(question: Question) -> Finding:
    """/healthz: the journal can be written and the workers live."""
    begun = time.monotonic()
    healthy = _healthz(question)
    figure = Figure("time", time.monotonic() - begun, "s", most=question.seconds)
    if healthy:
        return Finding(f"the daemon is well, and said so in {figure.value:.3f} s", (figure,))
    return Finding("the daemon says that it is not well: its log has more", (figure,), State.CRITICAL)


def _healthz(question: Question) -> bool:
    """Whether the daemon is well; Unreachable when whatever answers there is none, or none to be trusted."""
    url = question.door.url
    try:
        with cli_soap.session(Door(url, "", "", question.door.trust)) as session:
            session.auth = None
            reply = session.get(f"{url}healthz", timeout=question.seconds, allow_redirects=False)
    except requests.RequestException as error:
        raise cli_soap.unreachable(url, error) from None
    if reply.status_code not in (200, 503):
        raise Unreachable(f"{url} answers HTTP {reply.status_code} to /healthz: it is no dtcxen daemon")
    return reply.status_code == 200


def ping(question: Question) -> Finding:
    """pingAllIPs: addresses that do not answer."""
    rows = cli_soap.Node(question.door).call("pingAllIPs", ())["pings"]
    if question.vps:
        rows = [row for row in rows if row["vps"] == question.vps]
        if not rows:
            raise Missing(f"no address of VPS {question.vps} is configured on this node")
    silent = [f"{row['address']} (VPS {row['vps']})" for row in rows if not row["answered"]]
    times = [row["rttMs"] for row in rows if row["rttMs"] is not None]
    figures = [Figure("unanswered", len(silent), most=len(rows))]
    if times:
        figures.append(Figure("rtt", sum(times) / len(times) / 1000, "s", judged=False))
    text = f"{len(rows) - len(silent)} of {len(rows)} addresses answer"
    return Finding(f"{text}; silent: {_some(silent)}" if silent else text, tuple(figures))


def jobs(question: Question) -> Finding:
    """listJobs: what failed or was interrupted lately."""
    rows = cli_soap.Node(question.door).call("listJobs", [("limit", str(MOST_JOBS))])["jobs"]
    if question.vps:
        rows = [row for row in rows if row["vps"] == question.vps]
    since = datetime.now(UTC) - timedelta(hours=question.hours)
    bad = [row for row in rows if row["state"] in _BAD_ENDS and row["ended"] and row["ended"] >= since]
    counts = {state: sum(row["state"] == state for row in rows) for state in ("running", "queued")}
    figures = (Figure("failed", len(bad)), *(Figure(state, number, judged=False) for state, number in counts.items()))
    named = [f"job {row['id']} ({row['operation']}{f' of VPS {number}' if (number := row['vps']) else ''}): {_first_line(row['reason'])}" for row in bad]
    text = f"{len(bad)} failed within {question.hours:g} h, {counts['running']} running, {counts['queued']} queued"
    return Finding(f"{text}; {_some(named)}" if named else text, figures)


def space(question: Question) -> Finding:
    """getFreeSpace: MiB for disks in each place, and for domUs."""
    answer = cli_soap.Node(question.door).call("getFreeSpace", ())
    free = {row["place"]: row["freeMib"] for row in answer["spaces"]}
    judged = question.places or tuple(place for place in free if not any(other.startswith(f"{place}/") for other in _pools(answer)))
    most = {MEMORY: answer["totalMemoryMib"]}
    if answer["freeMemoryMib"] is not None:
        free[MEMORY] = answer["freeMemoryMib"]
    if unknown := [place for place in question.places if place not in free]:
        raise Missing(f"the node tells nothing of {', '.join(unknown)}, only of {', '.join(free) or 'nothing'}")
    if not judged:
        raise Missing("the node tells of no place for disks")
    figures = tuple(Figure(place, mib, "MB", most=most.get(place), judged=place in judged) for place, mib in free.items())
    return Finding("free: " + ", ".join(f"{place} {mib} MiB" for place, mib in free.items()), figures)


def _pools(answer: dict[str, Any]) -> list[str]:
    """Thin pools, as GROUP/POOL: what is free beside a pool in its group is no disk's room."""
    return [row["place"] for row in answer["spaces"] if row["imageType"] == "lvm" and "/" in row["place"]]


def certificate(question: Question) -> Finding:
    """The certificate that the daemon shows: how many days are left, and whether it is trusted here."""
    where = urlsplit(question.door.url)
    try:
        shown = certificates.described(ssl.get_server_certificate((where.hostname or "", where.port or 443), timeout=question.seconds).encode())
    except OSError as error:
        raise Unreachable(f"{question.door.url} cannot be reached: {error.strerror or error}") from None
    if shown.ends is None:
        raise Unreachable(f"{question.door.url} shows a certificate that cannot be read: {shown.trouble}")
    left = (shown.ends - datetime.now(UTC)) / timedelta(days=1)
    figure = Figure("days", round(left, 2), least=None)
    text = f"{shown.subject} ends on {shown.ends:%Y-%m-%d}, " + (f"{left:.0f} days from now" if left > 0 else f"{-left:.0f} days ago")
    if left <= 0:
        return Finding(text, (figure,), State.CRITICAL)
    try:
        _healthz(question)
    except Unreachable as error:
        return Finding(f"{text}; {error}", (figure,), State.CRITICAL)
    return Finding(text, (figure,))


def _some(items: list[str]) -> str:
    """The first few of them, and how many more there are."""
    return ", ".join(items[:3]) + (f" and {len(items) - 3} more" if len(items) > 3 else "")


def _first_line(text: str | None) -> str:
    return (text or "no reason told").splitlines()[0][:120]


MODES = {
    "health": Mode(health, "the seconds that the daemon takes to say that it is well", signs_in=False),
    "ping": Mode(ping, "addresses that do not answer", "0"),
    "jobs": Mode(jobs, "jobs that failed or were interrupted in the last --since hours", "0"),
    "space": Mode(space, "free MiB in each place", "10240:", "2048:"),
    "certificate": Mode(certificate, "days until it ends", "30:", "7:", signs_in=False),
}
