"""A question about the node, asked at most every few seconds however many scrapes want to know, and never waited for too long."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

log = logging.getLogger(__name__)


class Look:
    """One question. What came of it, be it nothing, counts for `seconds`; there is one question under way at most, whoever waits for it."""

    def __init__(self, name: str, seconds: float, clock: IReactorTime) -> None:
        self.name = name
        self._seconds, self._clock = seconds, clock
        self._known: Any = None
        self._until = 0.0
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

    def _failed(self, failure: Failure) -> None:
        log.warning("metrics: %s cannot be told: %s", self.name, failure.getErrorMessage())
        self._tell(None)

    def _tell(self, answer: Any) -> None:
        self._known, self._until = answer, self._clock.seconds() + self._seconds
        waiting, self._waiting = self._waiting or [], None
        for waiter in waiting:
            waiter.callback(answer)  # one that gave up, or was cancelled, takes no notice
