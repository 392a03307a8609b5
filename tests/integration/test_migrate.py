"""A VPS moves between two nodes, with everything real but Xen and ssh: equal bytes, one startable VPS, whatever is cut or killed on the way."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import zeep.exceptions

from tests.twonodes import MovingNode, pair

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[MovingNode, MovingNode]]:
    old, new = pair(tmp_path)
    yield old, new
    for node in (old, new):
        if node.daemon is not None:
            node.stop()
        node.halt()


def test_a_running_vps_moves(nodes: tuple[MovingNode, MovingNode]) -> None:
    old, new = nodes
    before = old.digests()
    old.boot()
    htpasswd = Path(old.settings.htpasswd_file)
    htpasswd.write_text(htpasswd.read_text() + "xen01:$2b$12$hash\n")
    with old, new:
        record = old.migrate(copyFirst=True)
        log = old.job_log(record.id)
        assert record.state == "done", record.reason + log
        assert "moved to other.example.org" in record.reason and "booted: login prompt" in record.reason
        assert new.digests() == before and old.digests("kept") == before and old.digests() == ()
        assert new.startable() and not old.startable() and new.running() == ["xen01"] and old.running() == []
        assert (new.xen / "auto/xen01").is_symlink() and not (old.xen / "auto/xen01").is_symlink()
        config = (new.xen / "xen01").read_text()
        assert "# made by an admin, with care" in config and f"target={new.mnt}/xen01.img" in config and str(old.mnt) not in config
        assert "xen01:$2b$12$hash" in Path(new.settings.htpasswd_file).read_text() and "xen01:" not in htpasswd.read_text()
        assert "$2b$12$hash" not in log and new.client().getVPSState(vps="01").state == "running"
        assert (new.mnt / "xen01.img").stat().st_blocks * 512 < 16 << 20, "holes stay holes"
        assert not list(new.directory.rglob("*.arriving")) and not list(old.directory.rglob("*.leaving"))
        with pytest.raises(zeep.exceptions.Fault, match="no configuration"):
            old.client().startVPS(vps="01")


def test_one_that_is_down_stays_down(nodes: tuple[MovingNode, MovingNode]) -> None:
    old, new = nodes
    before = old.digests()
    with old:
        record = old.migrate(toVps="07")
        assert record.state == "done", record.reason + old.job_log(record.id)
    assert new.digests(name="xen07") == before and (new.xen / "xen07").read_text().count("xen07") == 3 and new.running() == []


# -- one startable VPS, whatever happens ------------------------------------------------------------


def only_one(old: MovingNode, new: MovingNode, before: tuple[str, ...], where: str) -> bool:
    """It runs, and can be started, at one node, with the bytes that it had; whether that is the new one."""
    assert old.startable() != new.startable(), f"{where}: startable at {old.startable()} (old), {new.startable()} (new)"
    home, other = (new, old) if new.startable() else (old, new)
    assert home.running() == ["xen01"] and other.running() == [], f"{where}: {old.running()} (old), {new.running()} (new)"
    assert home.digests() == before, f"{where}: other bytes"
    assert (home.xen / "auto/xen01").is_symlink() and not (other.xen / "auto/xen01").is_symlink(), where
    if home is old:
        assert new.left_of_arrival() == [], where
    return home is new


def back_again(old: MovingNode, new: MovingNode) -> None:
    """As at the beginning, for the next round."""
    for node in (old, new):
        node.halt()
        for path in (*node.mnt.glob("xen*"), *node.mnt.glob("kept/*"), *node.xen.glob("xen*"), *node.xen.glob("auto/*")):
            path.unlink()
    old.new_vps()
    old.boot()


@pytest.mark.parametrize("cuts", ["1", "3000000 2000000 1000001 900 3 40000"])
def test_a_cut_connection_is_gone_on_with(nodes: tuple[MovingNode, MovingNode], cuts: str) -> None:
    """At any byte: what had arrived is not sent again. The first connection is for the offer, which is no copy."""
    old, new = nodes
    before = old.digests()
    old.boot()
    with old:
        started = old.client().migrateVPS(vps="01", toHost="other", planOnly=True).plan
        assert any("Give the VPS up" in line for line in started)
        real = (old.bin / "ssh").read_text()
        (old.bin / "cut.later").write_text(cuts)
        (old.bin / "ssh").write_text(real.replace('budget = None\n', 'budget = None\nif (HERE / "cut.later").exists():\n    if (HERE / "seen").exists():\n'
                                                  '        (HERE / "cut.later").rename(HERE / "cut")\n    (HERE / "seen").write_text("")\n', 1))
        record = old.migrate()
        log = old.job_log(record.id)
        assert record.state == "done", record.reason + log
        assert log.count("connecting again") == len(cuts.split()) and not (old.bin / "cut").exists()
    assert only_one(old, new, before, cuts)


@pytest.mark.parametrize(("point", "moves"), [
    ("put after", True), ("digest before", True), ("arrive before", False), ("start before", False), ("start after", True), ("keep before", False),
    ("drop before", False)])
def test_the_receiver_killed(nodes: tuple[MovingNode, MovingNode], point: str, moves: bool) -> None:
    """While it copies, another connection goes on; where a question has no answer, it comes back. What was answered counts, so after `start` it goes on."""
    old, new = nodes
    before = old.digests()
    old.boot()
    if point.startswith("drop"):
        (new.bin / "no-boot").write_text("")
    (new.bin / "kill-receiver").write_text(point)
    with old:
        record = old.migrate()
        assert not (new.bin / "kill-receiver").exists(), f"never reached: {record.reason}"
        assert "cleaning up failed" not in record.reason, record.reason + old.job_log(record.id)
        assert only_one(old, new, before, point) == moves == (record.state == "done"), record.reason


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_taking_it_for_good(nodes: tuple[MovingNode, MovingNode], when: str) -> None:
    """The commit is on disk, and nothing else, or all but the answer: the old node's question ends it."""
    old, new = nodes
    before = old.digests()
    old.boot()
    (new.bin / "kill-inside").write_text(when)
    with old:
        record = old.migrate()
        assert not (new.bin / "kill-inside").exists() and only_one(old, new, before, "inside keep"), record.reason
        assert record.state == "failed" and "the other node's for good" in record.reason
        assert not list(old.directory.rglob("*.leaving"))
        old.client().setupVPSDisk(vps="01", diskSizeMib=64, swapSizeMib=0, imageType="vbd")


def test_the_daemon_killed_in_one_step_after_another(nodes: tuple[MovingNode, MovingNode]) -> None:
    old, new = nodes
    with old:
        old.boot()
        steps = old.migrate().steps
    assert steps > 12
    moved = []
    for step in sorted({*range(1, steps - 2, 4), *range(steps - 6, steps - 2)}):
        back_again(old, new)
        before = old.digests()
        old.start(environment={"KILL_AT": str(step)})
        with contextlib.suppress(requests.ConnectionError):
            old.client().migrateVPS(vps="01", toHost="other.example.org")
        assert old.died() == -signal.SIGKILL, f"step {step} was never begun"
        with old:
            (record,) = old.client().listJobs(vps=None, limit=1)
            assert record.step == step and "cleaning up failed" not in record.reason, f"step {step}: {record}"
            moved.append(only_one(old, new, before, f"step {step} ({record.stepName})"))
    assert moved == sorted(moved) and moved[0] is False and moved[-1] is True, "first never, then always"


def test_one_that_does_not_boot_there_runs_here_again(nodes: tuple[MovingNode, MovingNode]) -> None:
    old, new = nodes
    before = old.digests()
    old.boot()
    (new.bin / "no-boot").write_text("")
    with old:
        record = old.migrate()
        assert record.state == "failed" and "no login prompt" in record.reason and "still starting" in record.reason, record.reason
        assert not only_one(old, new, before, "no boot")


def test_a_guest_that_does_not_shut_down(nodes: tuple[MovingNode, MovingNode]) -> None:
    old, new = nodes
    before = old.digests()
    old.boot()
    (old.bin / "deaf").write_text("")
    with old:
        record = old.migrate(stopSeconds=2)
        assert record.state == "failed" and "still there after 2 seconds" in record.reason
        assert not only_one(old, new, before, "deaf")
        record = old.migrate(stopSeconds=2, force=True)
        assert record.state == "done" and only_one(old, new, before, "forced"), record.reason


def test_nobody_knows_whose_it_is_until_the_other_can_be_asked(nodes: tuple[MovingNode, MovingNode]) -> None:
    """Neither starts it meanwhile; settle ends it, and so does the next start of the daemon."""
    old, new = nodes
    before = old.digests()
    old.boot()
    real, down = (new.bin / "sitecustomize.py").read_text(), str(old.bin / "down")
    (new.bin / "kill-receiver").write_text("start before")
    (new.bin / "sitecustomize.py").write_text(real.replace('endswith("before"):\n', f'endswith("before"):\n            Path({down!r}).write_text("")\n'))
    sped = (old.bin / "sitecustomize.py").read_text().replace("movepeer.FIRST_WAIT = 0.2", "movepeer.FIRST_WAIT = 0.2\n    movepeer.LONGEST_WAIT = 0.2")
    (old.bin / "sitecustomize.py").write_text(sped)
    with old:
        record = old.migrate()
        assert record.state == "failed" and "starts nowhere" in record.reason and "migrateVPS settle=true" in record.reason, record.reason
        assert not old.startable() and not new.startable() and old.running() == []
        with pytest.raises(zeep.exceptions.Fault, match="blocked: it is on its way to other.example.org"):
            old.client().startVPS(vps="01")
        with pytest.raises(zeep.exceptions.Fault, match="has no known end"):
            old.client().migrateVPS(vps="01", toHost="other.example.org")
    with old:
        assert not old.startable()
        (old.bin / "down").unlink()
        with pytest.raises(zeep.exceptions.Fault, match="was moving to other.example.org"):
            old.client().migrateVPS(vps="01", toHost="third.example.org", settle=True)
        record = old.migrate(settle=True)
        assert record.state == "done" and "here again" in record.reason, record.reason
        assert not only_one(old, new, before, "settled")


def test_cancelled_it_stays(nodes: tuple[MovingNode, MovingNode]) -> None:
    old, new = nodes
    before = old.digests()
    old.boot()
    (old.bin / "deaf").write_text("")
    with old:
        job = old.client().migrateVPS(vps="01", toHost="other.example.org", stopSeconds=60).job
        while "Shut" not in old.client().getJob(job=job).stepName:
            pass
        old.client().cancelJob(job=job)
        assert old.wait(job).state == "cancelled" and not only_one(old, new, before, "cancelled")


def test_a_taken_number_is_refused_before_anything_stops(nodes: tuple[MovingNode, MovingNode]) -> None:
    old, new = nodes
    before = old.digests()
    old.boot()
    new.mnt.mkdir(parents=True, exist_ok=True)
    (new.mnt / "xen01.img").write_bytes(b"another tenant's")
    (new.xen).mkdir(exist_ok=True)
    (new.xen / "xen09").write_text('name = "xen09"\nvif = [ "mac=00:16:3e:10:10:09,ip=192.0.2.10" ]\n')
    with old:
        record = old.migrate()
        assert record.state == "failed" and "VPS 01 has a disk here" in record.reason and "192.0.2.10 is xen09's here" in record.reason, record.reason
    assert old.running() == ["xen01"] and old.digests() == before and (new.mnt / "xen01.img").read_bytes() == b"another tenant's"
