"""GET /metrics: what this daemon was asked and did, and what its node is like now, in Prometheus's text format 0.0.4.

Labels are bounded: operations are those of the catalogue, VPSes their numbers, states and outcomes
lists of words; only places of disks are the admin's own names. What cannot be told is not there,
and never 0; dtcxen_look_success says which question had no answer (looks.py).
"""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import product
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.internet import defer

from dtcxen_soap import __version__, operations
from dtcxen_soap.answers import FreeSpace, PingList
from dtcxen_soap.lookfacts import JOB_STATES, VPS_STATES
from dtcxen_soap.wire import faults
from dtcxen_soap.wire.looks import Ask, Looks

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DONE, LEFT = "done", "left"
OUTCOMES = (DONE, *faults.OUTCOMES, LEFT)
"""How calls end: with an answer, with a fault of some kind, or because the caller did not wait for either."""
REASONS = ("unsigned", "credentials", "media", "operation")
"""Why what came was no call: nobody signed in, or wrongly; not SOAP 1.1; no operation of ours could be read in it."""
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Seconds. Reads take milliseconds, disks and power seconds; destroyVPS waits up to 20 s for a domU's end, and pings as long as they are told."""
LOOKS = ("space", "vpses", "jobs", "pings")
PATIENCE_SECONDS = 5.0
"""A scrape answers within this, and half of what Prometheus waits, with what is known by then."""

InThread = Callable[[Callable[[], bytes]], "defer.Deferred[bytes]"]


class Metrics:
    """One daemon's figures: a registry of what it counts, and looks at its node."""

    def __init__(self, looks: Looks, certificate_ends: Callable[[], datetime], in_thread: InThread) -> None:
        """`certificate_ends` is that of the certificate which is served now; texts are written `in_thread`."""
        self._looks, self._certificate_ends, self._in_thread = looks, certificate_ends, in_thread
        self._registry = CollectorRegistry()
        self._counts = _Counts(self._registry)

    def answered(self, form: operations.Form | None, outcome: str, seconds: float) -> None:
        """A signed-in caller's request is over, a word of OUTCOMES; without a form it named no operation."""
        if form is None:
            self.rejected("operation")
        else:
            self._counts.calls[form.operation.name, outcome] += 1
            self._counts.latency.labels(form.operation.name).observe(seconds)

    def rejected(self, reason: str) -> None:
        """Something came that was no call: a word of REASONS."""
        self._counts.rejected[reason] += 1

    async def text(self, ask: Ask) -> bytes:
        """All figures of now. `ask` puts a call to the engine."""
        found = await self._looks.answers(ask, PATIENCE_SECONDS, *LOOKS)
        text: bytes = await self._in_thread(lambda: self._render(found))
        return text

    def _render(self, found: Mapping[str, Any]) -> bytes:
        node = CollectorRegistry()
        node.register(_Figures(tuple(_figures(found, self._certificate_ends()))))
        return generate_latest(self._registry) + generate_latest(node)


class _Counts(Collector):
    """What is counted from the start of the daemon on. Every pair is there from the start: an increase from nothing would not be seen as one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter(dict.fromkeys(product((row.name for row in operations.OPERATIONS), OUTCOMES), 0))
        self.rejected = Counter(dict.fromkeys(REASONS, 0))
        self.latency = Histogram(
            "dtcxen_request_duration_seconds", "Time from a signed-in caller's request to its reply.", ("operation",), registry=registry, buckets=BUCKETS)
        ProcessCollector(registry=registry)
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Prometheus's families."""
        build = InfoMetricFamily("dtcxen_build", "The version of this daemon, and of the Python that runs it.")
        build.add_metric((), {"version": __version__, "python": platform.python_version()})
        yield build
        calls = CounterMetricFamily("dtcxen_requests", "Requests of signed-in callers, by operation and by how they ended.", labels=("operation", "outcome"))
        for names, number in self.calls.items():
            calls.add_metric(names, number)
        yield calls
        rejected = CounterMetricFamily("dtcxen_rejected_requests", "Requests that were no call of anybody.", labels=("reason",))
        for reason, number in self.rejected.items():
            rejected.add_metric((reason,), number)
        yield rejected


class _Figures(Collector):
    """Families that were made already."""

    def __init__(self, families: tuple[Metric, ...]) -> None:
        self._families = families

    def collect(self) -> tuple[Metric, ...]:
        """The families."""
        return self._families


def _figures(found: Mapping[str, Any], certificate_ends: datetime) -> Iterator[Metric]:
    """The node's families, by what was found: a look without an answer has none, nor has one in which a VPS's state is not known."""
    if not all(state.word for state in found["vpses"] or ()):
        found = {**found, "vpses": None}
    yield _gauge("dtcxen_look_success", "Whether the node answered this question in time.", ("look",), {(name,): float(answer is not None) for name, answer in found.items()})
    yield _gauge("dtcxen_certificate_expiry_timestamp_seconds", "When the certificate that is served ends, unix time.", (), {(): certificate_ends.timestamp()})
    if found["jobs"] is not None:
        yield _gauge("dtcxen_jobs", "Jobs in the journal, by state.", ("state",), {(state,): found["jobs"].get(state, 0) for state in JOB_STATES})
    if found["vpses"] is not None:
        words = Counter(state.word for state in found["vpses"])
        yield _gauge("dtcxen_vpses", "VPSes that are configured, have a disk or run, by state.", ("state",), {(state,): words[state] for state in VPS_STATES})
    if found["space"] is not None:
        yield from _space(found["space"])
    if found["pings"] is not None:
        yield from _pings(found["pings"])


def _space(space: FreeSpace) -> Iterator[Metric]:
    yield _gauge("dtcxen_disk_free_bytes", "Room for new disks, promises taken off, by type and place.", ("type", "place"),
                 {(row.image_type, row.place): row.free_mib << 20 for row in space.spaces})
    for name, text, mib in (("free", "Memory for more domUs, as Xen has it.", space.free_memory_mib), ("total", "The node's memory, as Xen has it.", space.total_memory_mib)):
        if mib is not None:
            yield _gauge(f"dtcxen_memory_{name}_bytes", text, (), {(): mib << 20})


def _pings(pings: PingList) -> Iterator[Metric]:
    """By VPS: addresses are its owner's affair, and come and go."""
    rows = defaultdict(list)
    for ping in pings.pings:
        rows[(ping.vps,)].append(ping)
    yield _gauge("dtcxen_vps_addresses", "Addresses of a VPS that were pinged, at most a minute ago.", ("vps",), {vps: len(pinged) for vps, pinged in rows.items()})
    yield _gauge("dtcxen_vps_addresses_answering", "Those of them that answered within a second.", ("vps",),
                 {vps: sum(ping.answered for ping in pinged) for vps, pinged in rows.items()})
    times = {vps: [ping.rtt_ms for ping in pinged if ping.rtt_ms is not None] for vps, pinged in rows.items()}
    yield _gauge("dtcxen_vps_ping_rtt_seconds", "Mean round trip to the addresses that answered.", ("vps",),
                 {vps: sum(took) / len(took) / 1000 for vps, took in times.items() if took})


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for names, value in values.items():
        family.add_metric(names, value)
    return family
