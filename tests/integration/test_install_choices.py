"""What the node's admin chooses: the file system, hooks, a post-installation script, disks that may not be overcommitted."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import zeep.exceptions

from tests.bundles import make_bundle
from tests.node import Node

pytestmark = [pytest.mark.root, pytest.mark.slow]
INSTALL = {
    "vps": "01", "osType": "old-style-2010", "ramSizeMib": 64, "password": "hunter2hunter2", "nics": "192.0.2.10/24", "gateway": "192.0.2.1", "dns": "192.0.2.53"}


def made(directory: Path, **changed: str) -> Node:
    node = Node(directory / "node", **changed)
    make_bundle(Path(node.settings.os_dir) / "old-style-2010")
    return node


def install(node: Node, size: int = 128) -> Any:
    node.client().setupVPSDisk(vps="01", diskSizeMib=size, swapSizeMib=64, imageType="vbd")
    return node.wait(node.client().reinstallOS(**INSTALL).job)


def hook(node: Node, phase: str, text: str, operation: str = "reinstallOS") -> None:
    directory = Path(node.settings.hooks_dir) / f"{operation}-{phase}.d"
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "10-told"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


@pytest.mark.parametrize("filesystem", ["ext3", "ext4", "xfs", "btrfs"])
def test_file_systems(tmp_path: Path, filesystem: str) -> None:
    with made(tmp_path, root_filesystem=filesystem) as node:
        record = install(node, 512)
        assert record.state == "done", record.reason + node.job_log(record.id)
        told = subprocess.run(["blkid", "-p", "-o", "value", "-s", "TYPE", f"{node.settings.provisioning_mount_point}/xen01.img"], capture_output=True, text=True)
        assert told.stdout.strip() == filesystem
        assert node.leftovers() == []


def test_a_pre_hook_vetoes_before_anything_is_touched(tmp_path: Path) -> None:
    with made(tmp_path) as node:
        assert install(node).state == "done"
        image = Path(node.settings.provisioning_mount_point) / "xen01.img"
        before = image.stat()
        hook(node, "pre", "echo not on a Friday; exit 3")
        record = install_again(node)
        assert record.state == "failed" and "10-told" in record.reason and "not on a Friday" in node.job_log(record.id)
        assert image.stat().st_mtime_ns == before.st_mtime_ns


def install_again(node: Node) -> Any:
    return node.wait(node.client().reinstallOS(**INSTALL).job)


def test_post_and_error_hooks_hear_what_happened(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with made(tmp_path) as node:
        hook(node, "post", f'cat >"{told}.post"; echo "$DTCXEN_OPERATION $DTCXEN_VPS_NAME" >>"{told}.post"; exit 9')
        hook(node, "error", f'echo "$DTCXEN_FAILED_STEP|$DTCXEN_REASON" >"{told}.error"')
        record = install(node)
        assert record.state == "done", "a post hook's failure is told, and no more"
        text = Path(f"{told}.post").read_text()
        assert "reinstallOS xen01" in text and '"os_type": "old-style-2010"' in text and "hunter2" not in text
        script = Path(node.settings.os_dir) / "old-style-2010/custom_os"
        script.write_text("#!/bin/sh\nexit 4\n")
        assert install_again(node).state == "failed"
        assert "custom_os" in Path(f"{told}.error").read_text().partition("|")[0]


def test_hooks_of_calls_that_answer_at_once(tmp_path: Path) -> None:
    with made(tmp_path) as node:
        hook(node, "pre", "exit 1", "setupVPSDisk")
        with pytest.raises(zeep.exceptions.Fault, match="10-told"):
            node.client().setupVPSDisk(vps="01", diskSizeMib=128, swapSizeMib=0, imageType="vbd")
        assert not list(Path(node.settings.provisioning_mount_point).glob("xen01*"))
        hook_file = Path(node.settings.hooks_dir) / "setupVPSDisk-pre.d/10-told"
        hook_file.chmod(0o777)
        with pytest.raises(zeep.exceptions.Fault, match="others may write"):
            node.client().setupVPSDisk(vps="01", diskSizeMib=128, swapSizeMib=0, imageType="vbd")


def test_the_nodes_own_postinstall_script_gets_the_originals_flags(tmp_path: Path) -> None:
    script = tmp_path / "post"
    script.write_text('#!/bin/sh\n[ "$1" = --disk-type ] || exit 5\nfor word; do [ "$before" = -path ] && echo "$*" >"$word/etc/postinstalled"; before=$word; done\n')
    script.chmod(0o755)
    with made(tmp_path, custom_postinstall_script=str(script)) as node:
        record = install(node)
        assert record.state == "done", record.reason + node.job_log(record.id)
        dumped = subprocess.run(
            ["debugfs", "-R", "cat /etc/postinstalled", f"{node.settings.provisioning_mount_point}/xen01.img"], capture_output=True, text=True).stdout
        assert "-vpsid 01" in dumped and "-nic 192.0.2.10,255.255.255.0,192.0.2.255" in dumped
        script.chmod(0o777)
        with pytest.raises(zeep.exceptions.Fault, match="others may write .*/post"):
            node.client().reinstallOS(**INSTALL)


def test_in_place_when_there_is_no_room_for_two(tmp_path: Path) -> None:
    """A small file system of its own holds one disk, not two; reserved, not overcommitted."""
    image, at = tmp_path / "space.img", tmp_path / "node/var/lib/dtc-xen/mnt"
    node = made(tmp_path, overcommit="no")
    subprocess.run(["truncate", "-s", "400M", str(image)], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(at)], check=True)
    try:
        with node:
            assert install(node, 200).state == "done"
            record = install_again(node)
            assert record.state == "done" and "DESTROYS the system on" in node.job_log(record.id)
            with pytest.raises(zeep.exceptions.Fault, match="more than .* has free"):
                node.client().setupVPSDisk(vps="02", diskSizeMib=300, swapSizeMib=0, imageType="vbd")
    finally:
        subprocess.run(["umount", str(at)], check=True)
