"""One lab for all its tests: booted once, this project installed in it, and reported on at the end.

KEEP=1 in the environment leaves it running, and lets the next run take it over with the project installed anew.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Generator, Iterator

import pytest

from tests.xenlab.image import build
from tests.xenlab.lab import Lab

_LAB = pytest.StashKey[Lab]()
_REPORT = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A Xen node that serves."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the lab's image is made of Debian packages")
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("needs QEMU")
    started = time.monotonic()
    lab = Lab(build())
    lab.times["the image (0 where it was there)"] = time.monotonic() - started
    request.config.stash[_LAB] = lab
    try:
        lab.start()
        lab.install()
        yield lab
        lab.times["the whole run"] = time.monotonic() - started
        request.config.stash[_REPORT] = lab.report()
    finally:
        lab.close() if os.environ.get("KEEP") else lab.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the daemon's log with each failure."""
    report = yield
    lab = item.config.stash.get(_LAB, None)
    if report.failed and lab and lab.pid():
        report.sections.append(("the daemon's log", lab.daemon_log()))
        report.sections.append(("dom0", lab.ssh("xl list; lvs; tail -n 30 /var/log/xen/xl-*.log", check=False)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Times, retries and segfaults: a crash of xl was seen once, unexplained."""
    for line in terminalreporter.config.stash.get(_REPORT, []):
        terminalreporter.write_line(f"xenlab: {line}")
