"""Rules for every test: an unmarked test touches neither commands nor the network, and no skip hides on CI.

A test that is not marked `machine`, `root` or `slow` fails loudly as soon as it starts a command or
opens a network socket, with an exception that no `except Exception` swallows. Setup and call are
watched; not the teardown, where long-lived fixtures of others may end.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("loaded", deadline=None)
hypothesis.settings.load_profile("loaded")
"""No deadline for one example: on a machine that does other things too it says nothing of the code."""

LIFTED_BY = ("machine", "root", "slow", "xenlab")
_COMMANDS = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"})
_SOCKETS = frozenset({"socket.__new__", "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"})
_LOCAL_FAMILIES = frozenset({socket.AF_UNIX, -1})


class TouchedTheMachine(BaseException):
    """A unit test started a command or opened a socket. BaseException, so that broad excepts let it pass."""


class _Guard:
    """Listens to Python's audit events; what was caught is kept, since a worker thread's exception is lost."""

    def __init__(self) -> None:
        self.armed = False
        self.caught: list[str] = []

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed or not (event in _COMMANDS or _is_network(event, arguments)):
            return
        shown = f"{event}{tuple(repr(item)[:80] for item in arguments)} in thread {threading.current_thread().name}"
        self.caught.append(shown)
        raise TouchedTheMachine(f"{shown}: use tests/fakes.py, or mark the test machine, root or slow")


def _is_network(event: str, arguments: tuple[Any, ...]) -> bool:
    if event not in _SOCKETS:
        return False
    if event == "socket.__new__":
        return arguments[1] not in _LOCAL_FAMILIES
    return not arguments or getattr(arguments[0], "family", None) not in _LOCAL_FAMILIES


_guard = _Guard()
sys.addaudithook(_guard.hear)


def _on_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("true", "1")


def _watched(item: pytest.Item) -> Iterator[None]:
    """Arm the guard around one phase of an unmarked test, and fail it for what its threads did."""
    if any(item.get_closest_marker(name) for name in LIFTED_BY):
        yield
        return
    _guard.armed, _guard.caught = True, []
    try:
        yield
    finally:
        _guard.armed = False
    if _guard.caught:
        raise TouchedTheMachine("; ".join(_guard.caught))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests whose tools are not for this machine run in Debian 13 only (tools/debian13.py), those on Xen in the lab only (make xenlab-test)."""
    elsewhere = [item for item in items if _runs_elsewhere(item)]
    if elsewhere:
        items[:] = [item for item in items if item not in elsewhere]
        config.hook.pytest_deselected(items=elsewhere)


def _runs_elsewhere(item: pytest.Item) -> bool:
    if item.get_closest_marker("debian13") and not os.environ.get("DTCXEN_DEBIAN13"):
        return True
    part = item.get_closest_marker("xenlab")
    return bool(part) and os.environ.get("DTCXEN_XENLAB") not in ("full", part.args[0])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Skip what needs root where there is none, then watch the fixtures."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")
    return (yield from _watched(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Watch the test itself."""
    return (yield from _watched(item))


def _no_skip_on_ci(report: Any) -> None:
    """On CI a test that cannot run has failed: what is not proven there is proven nowhere."""
    if report.skipped and not hasattr(report, "wasxfail") and _on_ci():
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"skipped, which CI does not accept: {why}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Turn a skipped test into a failed one on CI."""
    report = yield
    _no_skip_on_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Turn a skipped test file into an error on CI."""
    report = yield
    _no_skip_on_ci(report)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say in one line what was left out, so that a green run without root is not mistaken for all."""
    left_out = sum("needs root" in str(report.longrepr) for report in terminalreporter.stats.get("skipped", []))
    if left_out:
        terminalreporter.write_line(f"LEFT OUT: {left_out} tests that need root (loop devices, mounts, installations)", yellow=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one flag that rewrites golden files; the diff is what gets reviewed."""
    parser.addoption("--rewrite", action="store_true", help="write golden files anew instead of comparing with them")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Any:
    """golden(name, text): the text is what tests/golden/<name> holds, or becomes so with --rewrite."""
    def compare(name: str, text: str) -> None:
        path = Path(__file__).with_name("golden") / name
        if request.config.getoption("--rewrite"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.is_file(), f"tests/golden/{name} is missing: pytest --rewrite makes it"
        assert text == path.read_text()
    return compare


@pytest.fixture(scope="session")
def debian13() -> Any:
    """The cached Debian 13 with real clients (tools/debian13.py): debian13.command(argv, bind) runs in it. For root tests."""
    from tools import debian13
    debian13.build()
    return debian13
