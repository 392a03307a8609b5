"""Signs of life for systemd: only from an event loop that turns, and only while the journal answers."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from dtcxen_soap.daemon import SIGNS_PER_WATCHDOG, Watchdog
from dtcxen_soap.journal import Journal
from dtcxen_soap.servicemanager import ServiceManager

SECONDS = 120


class Reactor:
    """What a thread tells the event loop happens at once."""

    def callFromThread(self, work: Callable[..., Any], *arguments: Any) -> None:
        work(*arguments)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(5)
        yield made


@pytest.fixture
def watch(systemd: socket.socket) -> Iterator[Callable[[Callable[[], bool]], Clock]]:
    """Starts a watchdog over this question to the journal; the clock that drives it."""
    started: list[Watchdog] = []

    def start(answers: Callable[[], bool]) -> Clock:
        manager = ServiceManager({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": str(SECONDS * 1_000_000)})
        watchdog = Watchdog(SimpleNamespace(manager=manager, engine=SimpleNamespace(answers=answers)), Reactor())  # type: ignore[arg-type]
        watchdog.clock = Clock()
        watchdog.startService()
        started.append(watchdog)
        return watchdog.clock

    yield start
    for watchdog in started:
        watchdog.stopService()


def silent(systemd: socket.socket) -> bool:
    systemd.settimeout(0.2)
    try:
        return not systemd.recv(100)
    except TimeoutError:
        return True


def until(condition: Callable[[], Any]) -> None:
    """Wait for another thread."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_journal_that_answers_is_a_sign_several_times_per_watchdog(systemd: socket.socket, watch: Any, tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "journal.sqlite"))
    clock = watch(journal.answers)
    assert systemd.recv(100) == b"WATCHDOG=1"
    for _ in range(3):
        until(clock.getDelayedCalls)
        clock.advance(SECONDS / SIGNS_PER_WATCHDOG)
        assert systemd.recv(100) == b"WATCHDOG=1"
    assert silent(systemd)
    journal.close()


def test_a_journal_that_is_gone_is_none(systemd: socket.socket, watch: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(str(tmp_path / "journal.sqlite"))
    journal.close()
    with caplog.at_level(logging.ERROR):
        watch(journal.answers)
        until(lambda: "the journal does not answer" in caplog.text)
    assert silent(systemd)


def test_one_that_hangs_is_asked_no_second_time(systemd: socket.socket, watch: Any) -> None:
    asked, go_on = [], Event()

    def answers() -> bool:
        asked.append(1)
        return go_on.wait(5)

    clock = watch(answers)
    until(lambda: asked)
    for _ in range(9):
        clock.advance(SECONDS / SIGNS_PER_WATCHDOG)
    assert silent(systemd) and len(asked) == 1
    go_on.set()
    systemd.settimeout(5)
    assert systemd.recv(100) == b"WATCHDOG=1"
