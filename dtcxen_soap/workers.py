"""Worker threads that take work from one bounded queue; jobs.py has three such pools and nobody else has threads of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, Thread

Work = Callable[[], None]


class Pool:
    """Threads that take work from one bounded queue; work that waits can be taken back."""

    def __init__(self, name: str, size: int, waiting: int) -> None:
        self._name, self._size, self._waiting = name, size, waiting
        self._queue: deque[Work] = deque()
        self._threads: dict[int, Thread] = {}
        self._change = Condition()
        self._open = False

    def start(self) -> None:
        """Take work from now on."""
        with self._change:
            self._open = True
        self.resize(self._size)

    def resize(self, size: int) -> None:
        """Have so many threads; those that are too many end when their work has."""
        with self._change:
            self._size = size
            missing = [place for place in range(size) if self._open and place not in self._threads]
            new = {place: Thread(target=self._serve, args=(place,), name=f"{self._name}-{place}", daemon=True) for place in missing}
            self._threads |= new
            self._change.notify_all()
        for thread in new.values():
            thread.start()

    def put(self, work: Work) -> bool:
        """Queue work; False when too much waits, or nothing is taken any more."""
        with self._change:
            if not self._open or len(self._queue) >= self._waiting:
                return False
            self._queue.append(work)
            self._change.notify()
            return True

    def take_back(self, work: Work) -> bool:
        """Take work out of the queue; False when a thread has it already."""
        with self._change:
            if work not in self._queue:
                return False
            self._queue.remove(work)
            return True

    def stop(self) -> None:
        """Take no more; threads end once the queue is empty."""
        with self._change:
            self._open = False
            self._change.notify_all()

    def alive(self) -> bool:
        """Whether every thread that there should be lives."""
        with self._change:
            return self._open and all(place in self._threads and self._threads[place].is_alive() for place in range(self._size))

    def _serve(self, place: int) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._queue or not self._open or place >= self._size)
                if place >= self._size or not self._queue:
                    del self._threads[place]
                    return
                work = self._queue.popleft()
            work()
