"""Disks that were set aside go when their time is over, by the daemon's own clock."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.node import Node

pytestmark = pytest.mark.machine


def test_a_disk_kept_long_enough_is_gone_after_the_start(tmp_path: Path) -> None:
    node = Node(tmp_path / "node")
    kept = Path(node.settings.provisioning_mount_point) / "kept"
    kept.mkdir(parents=True)
    old, fresh, foreign = kept / "xen01.img.1.20200101T000000Z", kept / f"xen01.img.1.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}", kept / "notes.txt"
    for path in (old, fresh, foreign):
        path.write_text("x")
    with node:
        deadline = time.monotonic() + 10
        while old.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert (old.exists(), fresh.exists(), foreign.exists()) == (False, True, True)
