"""Whether the node is well, asked at most once a second however often it is polled."""

from __future__ import annotations

import logging
from collections.abc import Callable

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

log = logging.getLogger(__name__)

CACHED_SECONDS = 1.0


class Health:
    """The engine's own word (`alive` writes to the journal, so it runs in a thread), remembered for a second."""

    def __init__(self, alive: Callable[[], bool], in_thread: Callable[[Callable[[], bool]], defer.Deferred[bool]], clock: IReactorTime) -> None:
        self._alive, self._in_thread, self._clock = alive, in_thread, clock
        self._known, self._until = False, 0.0
        self._waiting: list[defer.Deferred[bool]] | None = None

    def healthy(self) -> defer.Deferred[bool]:
        """Fires with whether the journal can be written and the workers live."""
        if self._clock.seconds() < self._until:
            return defer.succeed(self._known)
        answer: defer.Deferred[bool] = defer.Deferred()
        if self._waiting is None:
            self._waiting = [answer]
            self._in_thread(self._alive).addCallbacks(self._tell, self._failed)
        else:
            self._waiting.append(answer)
        return answer

    def _failed(self, failure: Failure) -> None:
        log.error("the health of the node cannot be told: %s", failure.getErrorMessage())
        self._tell(False)

    def _tell(self, healthy: bool) -> None:
        self._known, self._until = healthy, self._clock.seconds() + CACHED_SECONDS
        waiting, self._waiting = self._waiting or [], None
        for answer in waiting:
            if not answer.called:
                answer.callback(healthy)
