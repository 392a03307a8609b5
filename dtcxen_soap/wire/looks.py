"""Questions about the node, asked at most every few seconds however many scrapes and browsers want to know, and never waited for too long.

They go through the engine, as the monitor user would ask. Pings are looks of our own, one echo to each
address with a second to answer, made while somebody wants to know and at most once a minute: a
caller's pingAllIPs may have had another patience, or been long ago.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from dtcxen_soap import operations
from dtcxen_soap.access import Caller
from dtcxen_soap.calls import Call
from dtcxen_soap.settings import Settings

log = logging.getLogger(__name__)

NODE_SECONDS, PING_SECONDS, JOB_SECONDS = 10.0, 60.0, 2.0
MOST_LIVE_JOBS, MOST_FAILURES = 50, 10
LIVE, FAILED = ("queued", "running"), ("failed", "interrupted")

Ask = Callable[[Call], "defer.Deferred[Any]"]
Question = tuple[float, Callable[[], Call]]
"""How long an answer counts, in seconds, and the call that gets one."""


class Look:
    """One question. What came of it, be it nothing, counts for `seconds`; there is one question under way at most, whoever waits for it."""

    def __init__(self, name: str, seconds: float, clock: IReactorTime) -> None:
        self.name = name
        self._seconds, self._clock = seconds, clock
        self._known: Any = None
        self._told = self._until = 0.0
        self._waiting: list[defer.Deferred[Any]] | None = None

    def answer(self, ask: Callable[[], defer.Deferred[Any]], patience: float) -> defer.Deferred[Any]:
        """Fires with the answer, and with None when there is none, or none within `patience` seconds: a later scrape finds it then."""
        if self._waiting is None and self._clock.seconds() < self._until:
            return defer.succeed(self._known)
        waiter: defer.Deferred[Any] = defer.Deferred()
        if self._waiting is None:
            self._waiting = [waiter]
            ask().addCallbacks(self._tell, self._failed)
        else:
            self._waiting.append(waiter)
        return waiter.addTimeout(patience, self._clock, onTimeoutCancel=lambda outcome, seconds: None)

    @property
    def age(self) -> float:
        """Seconds since what is known was told."""
        return float(self._clock.seconds() - self._told)

    def _failed(self, failure: Failure) -> None:
        log.warning("a look at the node: %s cannot be told: %s", self.name, failure.getErrorMessage())
        self._tell(None)

    def _tell(self, answer: Any) -> None:
        self._known, self._told = answer, self._clock.seconds()
        self._until = self._told + self._seconds
        waiting, self._waiting = self._waiting or [], None
        for waiter in waiting:
            waiter.callback(answer)  # one that gave up, or was cancelled, takes no notice


class Looks:
    """Questions by name, each a Look."""

    def __init__(self, questions: Mapping[str, Question], clock: IReactorTime) -> None:
        self._looks = {name: (Look(name, seconds, clock), call) for name, (seconds, call) in questions.items()}

    async def answers(self, ask: Ask, patience: float, *names: str) -> dict[str, Any]:
        """What is known of each, None where that is nothing. `ask` puts a call to the engine."""
        asked = [look.answer(lambda call=call: ask(call()), patience) for look, call in map(self._looks.__getitem__, names)]  # type: ignore[misc]
        return dict(zip(names, await defer.gatherResults(asked, consumeErrors=True), strict=True))

    def age(self, name: str) -> float:
        """Seconds since what is known of it was told."""
        return self._looks[name][0].age


def of_the_node(settings_of: Callable[[], Settings], clock: IReactorTime) -> Looks:
    """What the admin and the monitor may know of the whole node."""
    return Looks({
        "space": (NODE_SECONDS, lambda: operations.of_the_node("getFreeSpace", settings_of())),
        "vpses": (NODE_SECONDS, operations.vps_states),
        "jobs": (NODE_SECONDS, operations.job_counts),
        "live": (JOB_SECONDS, lambda: operations.latest_jobs(settings_of(), LIVE, MOST_LIVE_JOBS)),
        "failures": (JOB_SECONDS, lambda: operations.latest_jobs(settings_of(), FAILED, MOST_FAILURES)),
        "pings": (PING_SECONDS, lambda: operations.of_the_node("pingAllIPs", settings_of()))}, clock)


def of_an_owner(caller: Caller, settings_of: Callable[[], Settings], clock: IReactorTime) -> Looks:
    """What the owner of a VPS may know of it."""
    vps = str(caller.vps)
    return Looks({
        "state": (NODE_SECONDS, lambda: operations.prepare("getVPSState", (("vps", vps),), settings_of(), caller, rpc=False)),
        "details": (NODE_SECONDS, lambda: operations.prepare("infoVPS", (("vps", vps),), settings_of(), caller, rpc=False)),
        "live": (JOB_SECONDS, lambda: operations.latest_jobs(settings_of(), LIVE, MOST_LIVE_JOBS, caller)),
        "failures": (JOB_SECONDS, lambda: operations.latest_jobs(settings_of(), FAILED, MOST_FAILURES, caller))}, clock)
