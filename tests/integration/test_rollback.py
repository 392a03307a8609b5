"""The system before the last installation is kept, and rollbackVPS brings it back, whole and with its configuration."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import zeep.exceptions

from tests.bundles import make_bundle
from tests.node import Node

pytestmark = [pytest.mark.root, pytest.mark.slow]
INSTALL = {"vps": "01", "osType": "old-style-2010", "password": "r00t", "nics": "192.0.2.10/24", "gateway": "192.0.2.1", "dns": "192.0.2.53"}


def digest(path: Path) -> str:
    with path.open("rb") as disk:
        return hashlib.file_digest(disk, "sha256").hexdigest()


def installed(node: Node, ram: int) -> tuple[str, str]:
    """Install; what the root disk and the configuration are now."""
    record = node.wait(node.client().reinstallOS(**INSTALL, ramSizeMib=ram).job)
    assert record.state == "done", record.reason + node.job_log(record.id)
    return now(node)


def now(node: Node) -> tuple[str, str]:
    return digest(Path(node.settings.provisioning_mount_point) / "xen01.img"), (Path(node.settings.xen_config_dir) / "xen01").read_text()


def kept(node: Node) -> list[str]:
    return sorted(path.name for path in (Path(node.settings.provisioning_mount_point) / "kept").glob("*"))


def test_back_and_forth(tmp_path: Path) -> None:
    node = Node(tmp_path / "node")
    make_bundle(Path(node.settings.os_dir) / "old-style-2010")
    with node:
        client = node.client()
        client.setupVPSDisk(vps="01", diskSizeMib=96, swapSizeMib=64, imageType="vbd")
        with pytest.raises(zeep.exceptions.Fault, match="no earlier system of VPS 01 is kept"):
            client.rollbackVPS(vps="01")
        first = installed(node, 64)
        assert kept(node) == [], "a disk that was never used is nobody's system"
        second = installed(node, 96)
        assert first[0] != second[0] and "memory = 64" in first[1] and "memory = 96" in second[1] and len(kept(node)) == 1
        steps = "\n".join(client.rollbackVPS(vps="01", planOnly=True).plan)
        assert "Put the earlier root disk in its place." in steps and now(node) == second
        client.rollbackVPS(vps="01")
        assert now(node) == first and len(kept(node)) == 1
        client.rollbackVPS(vps="01")
        assert now(node) == second and len(kept(node)) == 1
        third = installed(node, 128)
        assert len(kept(node)) == 1, "one earlier system is kept, not all"
        client.rollbackVPS(vps="01")
        assert now(node) == second and third[0] != second[0]
        client.killVPSDisk(vps="01")
        assert kept(node) == [] and not list(Path(node.settings.xen_config_dir).glob("xen01*"))


def test_nothing_is_kept_where_the_node_says_so(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", keep_old_disk_hours="0")
    make_bundle(Path(node.settings.os_dir) / "old-style-2010")
    with node:
        node.client().setupVPSDisk(vps="01", diskSizeMib=96, swapSizeMib=64, imageType="vbd")
        installed(node, 64)
        installed(node, 96)
        assert kept(node) == []
        with pytest.raises(zeep.exceptions.Fault, match="no earlier system"):
            node.client().rollbackVPS(vps="01")
