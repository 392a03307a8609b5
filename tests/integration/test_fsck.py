"""fsckVPSpartition on real file systems, really broken ones among them, through a node's own daemon."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zeep

from tests.node import Node

pytestmark = pytest.mark.root
SIZE = 320
MADE_BY = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f"), "btrfs": ("mkfs.btrfs", "-q", "-f", "-m", "single"), "swap": ("mkswap",)}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("fsck")) as running:
        yield running


@pytest.fixture
def image(node: Node) -> Iterator[Path]:
    """The root disk of VPS 01, never used; gone afterwards."""
    made = node.client().setupVPSDisk(vps="01", diskSizeMib=SIZE, swapSizeMib=0)
    yield Path(made.disks[0])
    node.client().killVPSDisk(vps="01")


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def filled(image: Path, kind: str) -> str:
    run(*MADE_BY[kind], str(image))
    return str(image)


def checked(node: Node) -> Any:
    """The job's record, once the check has ended."""
    return node.wait(node.client().fsckVPSpartition(vps="01").job, 60)


def break_xfs(path: str) -> None:
    run("xfs_db", "-x", "-c", "sb 0", "-c", "write fdblocks 5", path)


def break_btrfs(path: str) -> None:
    """Overwrite the root tree, which has no second copy with -m single."""
    (root,) = re.findall(r"^root\s+(\d+)$", run("btrfs", "inspect-internal", "dump-super", path), re.MULTILINE)
    (physical,) = re.findall(r"physical (\d+)", run("btrfs-map-logical", "-l", root, path))
    with open(path, "r+b") as disk:
        disk.seek(int(physical) + 200)
        disk.write(b"\xff" * 512)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_clean_one_stays_as_it_was(node: Node, image: Path, kind: str) -> None:
    filled(image, kind)
    record = checked(node)
    assert (record.state, record.reason) == ("done", "the file system is clean"), node.job_log(record.id)


def test_errors_of_ext4_are_corrected_once(node: Node, image: Path) -> None:
    run("debugfs", "-w", "-R", "set_inode_field / links_count 9", filled(image, "ext4"))
    record = checked(node)
    assert (record.state, record.reason) == ("done", "errors were found and corrected")
    assert "Inode 2 ref count is 9, should be 3.  FIXED." in node.job_log(record.id)
    assert checked(node).reason == "the file system is clean"


def test_what_needs_a_decision_is_left_and_told(node: Node, image: Path) -> None:
    run("debugfs", "-w", "-R", "set_inode_field <2> mode 0", filled(image, "ext4"))
    record = checked(node)
    assert record.state == "failed" and "errors were left that need a person's decision" in record.reason
    assert "Root inode is not a directory" in record.reason and f"e2fsck -p -f -- {image}" in record.reason


def test_errors_of_xfs_are_corrected_once(node: Node, image: Path) -> None:
    break_xfs(filled(image, "xfs"))
    assert (checked(node).reason, checked(node).reason) == ("errors were found and corrected", "the file system is clean")


def test_btrfs_is_never_changed(node: Node, image: Path) -> None:
    break_btrfs(filled(image, "btrfs"))
    before = image.read_bytes()
    record = checked(node)
    assert record.state == "failed" and "never repaired" in record.reason
    assert image.read_bytes() == before


def refusal(node: Node) -> str:
    with pytest.raises(zeep.exceptions.Fault) as fault:
        node.client().fsckVPSpartition(vps="01")
    return str(fault.value)


def test_a_disk_with_partitions_is_refused_also_over_an_old_file_system(node: Node, image: Path) -> None:
    assert "holds nothing: it was never used" in refusal(node)
    table = b"\0" * 446 + struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\xff\xff\xff", 2048, 20480) + b"\0" * 48 + b"\x55\xaa"
    for expected in ("holds partitions (dos)", "holds ext4 and partitions (dos)"):
        if "ext4" in expected:
            filled(image, "ext4")
        with image.open("r+b") as disk:
            disk.write(table)
        assert expected in refusal(node)


def test_swap_and_physical_volumes_are_refused(node: Node, image: Path) -> None:
    filled(image, "swap")
    assert "holds swap" in refusal(node)
    with image.open("r+b") as disk:
        disk.write(b"\0" * 8192)
        disk.seek(512)
        disk.write(_label())
    assert "holds LVM2_member" in refusal(node)


def _label() -> bytes:
    """The label sector of an LVM physical volume: its CRC begins at `offset` and takes the rest of the sector (LVM2's label.h)."""
    rest = struct.pack("<I8s", 32, b"LVM2 001") + b"0123456789abcdefghijklmnopqrstuv" + struct.pack("<Q", SIZE << 20)
    rest = rest.ljust(512 - 20, b"\0")
    return b"LABELONE" + struct.pack("<QI", 1, _crc(rest)) + rest


def _crc(data: bytes) -> int:
    """LVM2's own CRC: CRC-32 begun with 0xf597a6cf and not inverted at the end."""
    crc = 0xF597A6CF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc


def test_a_disk_that_somebody_holds_is_left_alone(node: Node, image: Path) -> None:
    filled(image, "ext4")
    device = run("losetup", "--find", "--show", "--", str(image)).strip()
    try:
        assert "in use" in refusal(node)
    finally:
        run("losetup", "--detach", device)
    assert checked(node).state == "done"
