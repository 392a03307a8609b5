"""A VPS moves between two nodes, with everything real but Xen and ssh: equal bytes, one startable VPS, whatever is cut or killed on the way."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import zeep.exceptions

from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.journal import Journal
from tests.twonodes import MovingNode, fresh, pair

pytestmark = [pytest.mark.root, pytest.mark.slow]


Nodes = tuple[MovingNode, MovingNode, tuple[str, ...]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MovingNode, MovingNode]]:
    made = pair(tmp_path_factory.mktemp("two"))
    yield made
    for node in made:
        node.close()


@pytest.fixture
def nodes(both: tuple[MovingNode, MovingNode]) -> Nodes:
    """The old node, whose daemon runs, and the new one; what VPS 01's disks hold."""
    before = fresh(*both)
    if both[0].daemon is None:
        both[0].start()
    return *both, before


@pytest.fixture
def running(nodes: Nodes) -> Nodes:
    """The same, and VPS 01 runs."""
    nodes[0].boot()
    return nodes


def test_a_running_vps_moves(running: Nodes) -> None:
    old, new, before = running
    htpasswd = Path(old.settings.htpasswd_file)
    htpasswd.write_text(htpasswd.read_text() + "xen01:$2b$12$hash\n")
    with new:
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


def test_one_that_is_down_stays_down(nodes: Nodes) -> None:
    old, new, before = nodes
    record = old.migrate(toVps="07")
    assert record.state == "done", record.reason + old.job_log(record.id)
    assert new.digests(name="xen07") == before and (new.xen / "xen07").read_text().count("xen07") == 3 and new.running() == []


def test_a_plan_has_asked_the_other_node(running: Nodes) -> None:
    old, new, before = running
    code, said = old.dtcxen("migrate", "01", "--to", "other", "--plan")
    assert code == 0 and "8. Give the VPS up" in said and "other was asked, and would take it" in said, said
    assert new.left_of_arrival() == [] and old.running() == ["xen01"] and old.digests() == before
    (new.xen / "xen09").write_text('name = "xen09"\nvif = [ "mac=00:16:3e:10:10:09,ip=192.0.2.10" ]\n')
    code, said = old.dtcxen("migrate", "01", "--to", "other", "--plan")
    assert code == 1 and "8. Give the VPS up" in said and "other cannot take it: the address 192.0.2.10 is xen09's here" in said, said
    (old.bin / "down").touch()
    code, said = old.dtcxen("migrate", "01", "--to", "other", "--plan")
    assert code == 1 and "8. Give the VPS up" in said and "other could not be asked: " in said and "No route to host" in said, said


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


@pytest.mark.parametrize("cuts", ["1", "3000000 2000000 1000001 900 3 40000"])
def test_a_cut_connection_is_gone_on_with(running: Nodes, cuts: str) -> None:
    """At any byte: what had arrived is not sent again. The first connection is for the offer, which is no copy."""
    old, new, before = running
    planned = old.client().migrateVPS(vps="01", toHost="other", planOnly=True).plan
    assert any("Give the VPS up" in line for line in planned)
    (old.bin / "cut").write_text(f"- {cuts}")
    record = old.migrate()
    log = old.job_log(record.id)
    assert record.state == "done", record.reason + log
    assert log.count("connecting again") == len(cuts.split()) and not (old.bin / "cut").exists()
    assert only_one(old, new, before, cuts)


@pytest.mark.parametrize(("point", "moves"), [
    ("put after", True), ("digest before", True), ("arrive before", False), ("start before", False), ("start after", True), ("keep before", False),
    ("drop before", False)])
def test_the_receiver_killed(running: Nodes, point: str, moves: bool) -> None:
    """While it copies, another connection goes on; where a question has no answer, it comes back. What was answered counts, so after `start` it goes on."""
    old, new, before = running
    if point.startswith("drop"):
        (new.bin / "no-boot").touch()
    (new.bin / "kill-receiver").write_text(point)
    record = old.migrate()
    assert not (new.bin / "kill-receiver").exists(), f"never reached: {record.reason}"
    assert "cleaning up failed" not in record.reason, record.reason + old.job_log(record.id)
    assert only_one(old, new, before, point) == moves == (record.state == "done"), record.reason


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_taking_it_for_good(running: Nodes, when: str) -> None:
    """The commit is on disk, and nothing else, or all but the answer: the old node's question ends it."""
    old, new, before = running
    (new.bin / "kill-inside").write_text(when)
    record = old.migrate()
    assert not (new.bin / "kill-inside").exists() and only_one(old, new, before, "inside keep"), record.reason
    assert record.state == "failed" and "the other node's for good" in record.reason
    assert not list(old.directory.rglob("*.leaving"))
    old.client().setupVPSDisk(vps="01", diskSizeMib=64, swapSizeMib=0, imageType="vbd")


POINTS = (*((Journal, name) for name in ("started", "step_ended", "block", "undo_forgotten", "ended")), *((Dom0, name) for name in ("write_file", "remove_file", "rename_file")))


def _dying_at(point: int, count: Path) -> None:
    """Have this process kill itself when it does the thing of that number that changes something; `count` holds the last one's and its name."""
    reached, after = 0, False

    def watch(kind: type, name: str) -> None:
        real = getattr(kind, name)

        def watched(*words: Any, **more: Any) -> Any:
            nonlocal reached, after
            after = after or name == "undo_forgotten"
            if after and name not in ("undo_forgotten", "ended"):
                return real(*words, **more)
            reached += 1
            count.write_text(f"{reached} {name} {words[1:4]}")
            if reached == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*words, **more)

        setattr(kind, name, watched)

    for kind, name in POINTS:
        watch(kind, name)


def test_killed_at_every_point(both: tuple[MovingNode, MovingNode], tmp_path: Path) -> None:
    """The engine without its wire: behind each step, and within those that change more than one thing. The next start settles it.

    Of what only tidies up, once it is the other node's for good, just the first and the last.
    """
    old, new = both
    if old.daemon is not None:
        old.stop()
    moved, point, code = [], 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        point += 1
        before = fresh(old, new)
        old.boot()

        def move(at: int = point) -> None:
            _dying_at(at, tmp_path / "count")
            old.serve("migrateVPS", "vps=01", "toHost=other.example.org")

        code = old.forked(move)
        where = (tmp_path / "count").read_text()
        assert old.forked(lambda: (tmp_path / "told").write_text(old.serve())) == 0, where
        told = (tmp_path / "told").read_text()
        assert "cleaning up failed" not in told, f"{where}: {told}"
        moved.append(only_one(old, new, before, where))
    assert code == 0 and point > 20, f"{point} {code}"
    assert moved == sorted(moved) and moved[0] is False and moved[-1] is True, "first never, then always"


@pytest.mark.parametrize(("begun", "moves"), [("Have other.example.org start it", False), ("Hide this tenant", True)])
def test_the_daemon_killed(running: Nodes, begun: str, moves: bool) -> None:
    """As it serves: it settles the move when it starts again, and then tells how it ended."""
    old, new, before = running
    plan = old.client().migrateVPS(vps="01", toHost="other.example.org", planOnly=True).plan
    (step,) = (line.partition(".")[0] for line in plan if line.partition(". ")[2].startswith(begun))
    old.stop()
    old.start(environment={"KILL_AT": step})
    with contextlib.suppress(requests.ConnectionError):
        old.client().migrateVPS(vps="01", toHost="other.example.org")
    assert old.died() == -signal.SIGKILL, f"step {step} was never begun"
    old.start()
    (record,) = old.client().listJobs(vps=None, limit=1)
    assert str(record.step) == step and "cleaning up failed" not in record.reason, str(record)
    assert only_one(old, new, before, record.stepName) == moves


def test_one_that_does_not_boot_there_runs_here_again(running: Nodes) -> None:
    old, new, before = running
    (new.bin / "no-boot").touch()
    record = old.migrate()
    assert record.state == "failed" and "no login prompt" in record.reason and "still starting" in record.reason, record.reason
    assert not only_one(old, new, before, "no boot")


def test_a_guest_that_does_not_shut_down(running: Nodes) -> None:
    old, new, before = running
    (old.bin / "deaf").touch()
    record = old.migrate(stopSeconds=2)
    assert record.state == "failed" and "still there after 2 seconds" in record.reason
    assert not only_one(old, new, before, "deaf")
    record = old.migrate(stopSeconds=2, force=True)
    assert record.state == "done" and only_one(old, new, before, "forced"), record.reason


def test_nobody_knows_whose_it_is_until_the_other_can_be_asked(running: Nodes) -> None:
    """Neither starts it meanwhile, nor does the next start of the daemon; settle ends it."""
    old, new, before = running
    (new.bin / "kill-receiver").write_text(f"start before {old.bin}/down")
    record = old.migrate()
    assert record.state == "failed" and "starts nowhere" in record.reason and "migrateVPS settle=true" in record.reason, record.reason
    assert not old.startable() and not new.startable() and old.running() == []
    with pytest.raises(zeep.exceptions.Fault, match="blocked: it is on its way to other.example.org"):
        old.client().startVPS(vps="01")
    with pytest.raises(zeep.exceptions.Fault, match="has no known end"):
        old.client().migrateVPS(vps="01", toHost="other.example.org")
    old.stop()
    old.start()
    assert not old.startable()
    (old.bin / "down").unlink()
    with pytest.raises(zeep.exceptions.Fault, match="was moving to other.example.org"):
        old.client().migrateVPS(vps="01", toHost="third.example.org", settle=True)
    record = old.migrate(settle=True)
    assert record.state == "done" and "here again" in record.reason, record.reason
    assert not only_one(old, new, before, "settled")


def test_cancelled_it_stays(running: Nodes) -> None:
    old, new, before = running
    (old.bin / "deaf").touch()
    job = old.client().migrateVPS(vps="01", toHost="other.example.org", stopSeconds=60).job
    while "Shut" not in old.client().getJob(job=job).stepName:
        pass
    old.client().cancelJob(job=job)
    assert old.wait(job).state == "cancelled" and not only_one(old, new, before, "cancelled")


def test_a_taken_number_is_refused_before_anything_stops(running: Nodes) -> None:
    old, new, before = running
    new.mnt.mkdir(parents=True, exist_ok=True)
    (new.mnt / "xen01.img").write_bytes(b"another tenant's")
    (new.xen).mkdir(exist_ok=True)
    (new.xen / "xen09").write_text('name = "xen09"\nvif = [ "mac=00:16:3e:10:10:09,ip=192.0.2.10" ]\n')
    record = old.migrate()
    assert record.state == "failed" and "VPS 01 has a disk here" in record.reason and "192.0.2.10 is xen09's here" in record.reason, record.reason
    assert old.running() == ["xen01"] and old.digests() == before and (new.mnt / "xen01.img").read_bytes() == b"another tenant's"
