"""kill -9 in each step of a real plan: the next daemon ends, releases and removes all of it, and the plan runs again."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dtcxen_soap import settings
from dtcxen_soap.access import Caller, Role
from dtcxen_soap.answers import CancelAsked
from dtcxen_soap.calls import Call, Kind
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.facts import Facts
from dtcxen_soap.jobs import Jobs
from dtcxen_soap.journal import Journal
from dtcxen_soap.plans import Mounted, Plan, Run
from dtcxen_soap.recover import recover
from dtcxen_soap.vps import VpsId
from tests.integration import killed

pytestmark = pytest.mark.root
CHILD = str(Path(killed.__file__))
dom0 = Dom0()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "disks").mkdir()
    yield str(tmp_path)
    for pid in processes(str(tmp_path)):
        os.kill(pid, signal.SIGKILL)
    dom0.unmount(str(tmp_path))


def processes(directory: str) -> list[int]:
    """Who has the directory in its command line, or works in it."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace").split("\0")
            inside = os.readlink(f"/proc/{name}/cwd").startswith(f"{directory}/")
        except OSError:
            continue
        if directory in words or inside:
            found.append(int(name))
    return [pid for pid in found if pid != os.getpid()]


def eventually(what: Callable[[], object], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def log_says(directory: str, words: str) -> bool:
    log = Path(directory, "jobs/job-1.log")
    return log.exists() and words in log.read_text()


def kill_at(directory: str, point: str) -> None:
    """Start the small daemon, wait until it is at the point, and kill it alone."""
    child = subprocess.Popen([sys.executable, CHILD, directory, point], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout and child.stdin
    try:
        if point:
            assert child.stdout.readline() == b"here\n"
        else:
            assert eventually(lambda: log_says(directory, "asleep\n"))
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        child.stdin.close()


POINTS = (
    "allocate_file before", "allocate_file half", "allocate_file after", "run before", "run after", "mount before", "mount after", "tree before", "",
    "unmount before", "unmount after", "rename_file before", "rename_file after", "write_file before", "write_file after",
)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point or "run during")
def test_a_daemon_killed_in_a_step_leaves_nothing(directory: str, point: str) -> None:
    if point.startswith(("unmount", "rename_file", "write_file")):
        Path(directory, "go").touch()
    kill_at(directory, point)
    if point == "":
        assert dom0.mounted_at(f"{directory}/mnt") and dom0.loop_devices_of(f"{directory}/disks/new") and len(processes(directory)) >= 2
    if point == "allocate_file half":
        assert [name[:8] for name in os.listdir(f"{directory}/disks")] == [".dtcxen-"]

    journal = Journal(f"{directory}/journal.sqlite")
    journal.claim()
    fact, = recover(dom0, journal)
    assert (fact.state, journal.unfinished()) == ("interrupted", ()) and "cleaning up failed" not in fact.reason, fact.reason
    journal.close()
    assert dom0.mounts_below(directory) == () and processes(directory) == []
    assert os.listdir(f"{directory}/disks") == [] and not os.path.exists(f"{directory}/config")
    assert directory not in subprocess.run(["losetup", "--list", "--noheadings", "--output", "BACK-FILE"], capture_output=True, text=True, check=True).stdout

    Path(directory, "go").touch()
    assert killed.run(directory, dom0) == 2
    assert os.listdir(f"{directory}/disks") == ["root"] and dom0.mounts_below(directory) == ()


def test_a_cancel_ends_the_most_stubborn_in_time(directory: str) -> None:
    """Cancel ends everything in under 5 s: a command that ignores TERM, its children, and one that left the session."""
    image, at = f"{directory}/disks/new", f"{directory}/mnt"
    dom0.allocate_file(image, 32 << 20, False, 0o600)
    subprocess.run(["mkfs.ext4", "-q", "-F", "--", image], check=True)
    stubborn = 'trap "" TERM; setsid sleep 300 & sleep 300 & echo "$1" asleep; while :; do sleep 300; done'
    steps = (Mounted(why="Mount it.", source=image, at=at, fstype="ext4", steps=(
        Run(why="Take time.", argv=("sh", "-c", stubborn, "sh", directory), cwd=at, contained=True),)),)
    journal = Journal(f"{directory}/journal.sqlite")
    jobs = Jobs(dataclasses.replace(settings.defaults(), worker_threads=1), dom0, journal, lambda needs: Facts())
    jobs.start()
    admin = Caller("dtc-xen", Role.ADMIN)
    job = jobs.submit(Call("reinstallOS", Kind.JOB, admin, VpsId(1), (), lambda facts: Plan("sleep", steps))).result(10).job
    assert eventually(lambda: log_says(directory, "asleep\n"))
    begun = time.monotonic()
    asked = jobs.submit(Call("cancelJob", Kind.CANCEL, admin, None, (), lambda facts: None, job=job)).result(10)
    took = time.monotonic() - begun
    fact = journal.job(job)
    assert asked == CancelAsked(job, True) and took < 5 and fact and fact.state == "cancelled"
    assert processes(directory) == [] and dom0.mounts_below(directory) == () and dom0.loop_devices_of(image) == ()
    jobs.stop(0)
    journal.close()


def test_two_vpses_install_side_by_side(directory: str) -> None:
    """Loop devices are the kernel's to hand out: holds of two jobs at once never get in each other's way."""
    journal = Journal(f"{directory}/journal.sqlite")
    jobs = Jobs(settings.defaults(), dom0, journal, lambda needs: Facts())
    jobs.start()
    Path(directory, "go").touch()
    calls = []
    for number in (1, 2, 3, 4):
        below = f"{directory}/{number}"
        os.makedirs(f"{below}/disks")
        Path(below, "go").touch()
        calls.append(Call("reinstallOS", Kind.JOB, Caller("dtc-xen", Role.ADMIN), VpsId(number), (), lambda facts, below=below: killed.plan(below)))
    started = [jobs.submit(call).result(10).job for call in calls]
    assert eventually(lambda: all((fact := journal.job(job)) and fact.ended for job in started), 60)
    assert [(fact.state, fact.reason) for job in started if (fact := journal.job(job))] == [("done", "")] * 4
    assert dom0.mounts_below(directory) == ()
    jobs.stop(0)
    journal.close()
