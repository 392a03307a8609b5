"""Each step of a reinstallation fails, or the whole daemon is killed in it: the truth is told, everything released, nothing lost.

A bundle is installed, so that a round takes seconds. Before the point of no return the old system
must be there as it was; from then on the new one. Either way the VPS can be reinstalled.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import signal
from pathlib import Path

import pytest
import requests

from tests.bundles import make_bundle
from tests.node import Node

pytestmark = [pytest.mark.root, pytest.mark.slow]
INSTALL = {
    "vps": "01", "osType": "old-style-2010", "ramSizeMib": 64, "password": "r00t", "nics": "192.0.2.10/24", "gateway": "192.0.2.1", "dns": "192.0.2.53"}
HERE = Path(__file__).parent


def digest(path: Path) -> str:
    with path.open("rb") as disk:
        return hashlib.file_digest(disk, "sha256").hexdigest()


def chosen(log: str) -> list[int]:
    """Every step's number; of the many that only write a file of the new tree, one after another, every third."""
    names = dict(re.findall(r"\[([0-9]+)/[0-9]+ [0-9]+%\] (.*)", log))
    numbers = {name: int(number) for number, name in names.items()}
    first, last = next(numbers[name] for name in numbers if name.startswith("Finish the new system")), numbers["Make sure that nobody uses the disks now."]
    return [step for step in range(1, len(names) + 1) if not first + 1 < step < last - 1 or step % 3 == 0]


def test_killed_at_every_step(tmp_path: Path) -> None:
    node = Node(tmp_path / "node")
    make_bundle(Path(node.settings.os_dir) / "old-style-2010")
    mnt, config = Path(node.settings.provisioning_mount_point), Path(node.settings.xen_config_dir) / "xen01"
    with node:
        node.client().setupVPSDisk(vps="01", diskSizeMib=96, swapSizeMib=64, imageType="vbd")
        for _ in ("the first has no configuration to keep", "the second no system that was kept", "the third is like those that are killed"):
            record = node.wait(node.client().reinstallOS(**INSTALL).job)
            assert record.state == "done", record.reason + node.job_log(record.id)
    steps = record.steps
    assert steps > 20
    last_that_is_undone = steps - 4
    killed = chosen(node.job_log(record.id))
    assert killed[0] == 1 and killed[-1] == steps and len(killed) > 20
    for step in killed:
        old = digest(mnt / "xen01.img"), config.read_text()
        node.start(environment={"PYTHONPATH": str(HERE / "killat"), "KILL_AT": str(step)})
        with contextlib.suppress(requests.ConnectionError):
            node.client().reinstallOS(**INSTALL)
        assert node.died() == -signal.SIGKILL, f"step {step} was never begun"
        with node:
            (record,) = node.client().listJobs(vps="01", limit=1)
            assert record.state == "interrupted" and record.step == step, f"step {step}: {record}"
            assert "cleaning up failed" not in record.reason, f"step {step}: {record.reason}"
            assert node.leftovers() == [], f"step {step}"
            assert node.client().getVPSState(vps="01").state == "Not running"
            new = digest(mnt / "xen01.img"), config.read_text()
            if step <= last_that_is_undone:
                assert new == old, f"step {step}: the old system changed"
                assert {path.name for path in mnt.glob("xen01*")} == {"xen01.img", "xen01.swap.img"}, f"step {step}"
            else:
                assert new[0] != old[0], f"step {step}: past the point of no return, but the new system is not there"
    with node:
        record = node.wait(node.client().reinstallOS(**INSTALL).job)
        assert record.state == "done", record.reason
        assert {path.name for path in mnt.glob("xen01*")} == {"xen01.img", "xen01.swap.img"}


def test_failing_at_every_step(tmp_path: Path) -> None:
    """Up to the point of no return a failure leaves the old system as it was; behind it the new one stands."""
    node = Node(tmp_path / "node")
    make_bundle(Path(node.settings.os_dir) / "old-style-2010")
    mnt, config = Path(node.settings.provisioning_mount_point), Path(node.settings.xen_config_dir) / "xen01"
    which = tmp_path / "which"
    which.write_text("0")
    node.start(environment={"PYTHONPATH": str(HERE / "killat"), "FAIL_AT_FILE": str(which)})
    with contextlib.ExitStack() as ending:
        ending.callback(node.stop)
        client = node.client()
        client.setupVPSDisk(vps="01", diskSizeMib=96, swapSizeMib=64, imageType="vbd")
        for _ in range(3):
            done = node.wait(client.reinstallOS(**INSTALL).job)
            assert done.state == "done", done.reason
        last_that_is_undone = done.steps - 4
        for step in range(1, done.steps + 1):
            which.write_text(str(step))
            old = digest(mnt / "xen01.img"), config.read_text()
            record = node.wait(client.reinstallOS(**INSTALL).job)
            names = {path.name for path in mnt.glob("xen01*")}
            if step <= last_that_is_undone:
                assert record.state == "failed" and "made to fail" in record.reason, f"step {step}: {record}"
                assert "cleaning up failed" not in record.reason, f"step {step}: {record.reason}"
                assert (digest(mnt / "xen01.img"), config.read_text()) == old, f"step {step}: the old system changed"
                assert names == {"xen01.img", "xen01.swap.img"}, f"step {step}"
            else:
                assert record.state == "done" and digest(mnt / "xen01.img") != old[0], f"step {step}: {record}"
            assert node.leftovers() == [], f"step {step}"
