"""Who holds a disk, asked of a real kernel; volumes and domUs, which need device mapper and Xen, are shown in the lab."""

from __future__ import annotations

import os
import pty
import subprocess
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap.dom0 import Dom0

pytestmark = pytest.mark.root
dom0 = Dom0()


@pytest.fixture
def image(tmp_path: Path) -> Iterator[str]:
    """An ext4 image file; whatever a failed test leaves is let go."""
    path = str(tmp_path / "xen01.img")
    dom0.allocate_file(path, 32 << 20, True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "--", path], check=True)
    yield path
    for at in dom0.mounts_below(str(tmp_path)):
        subprocess.run(["umount", "--lazy", at], check=True)
    for device in dom0.loop_devices_of(path):
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.fixture
def device(image: str) -> str:
    """A loop device over it."""
    return subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True).stdout.strip()


def test_what_nobody_holds_and_what_is_not_there(image: str) -> None:
    assert dom0.claims(image) == () and dom0.claims(f"{image}.new") == ()


def test_an_image_file_that_a_program_has_open(image: str) -> None:
    with subprocess.Popen(["sleep", "60"], stdin=open(image)) as reader:
        try:
            assert dom0.claims(image) == (f"open in pid {reader.pid} (sleep)",)
        finally:
            reader.kill()


def test_an_image_file_and_its_loop_device(image: str, device: str, tmp_path: Path) -> None:
    assert dom0.claims(image) == (f"attached to {device}",) and dom0.claims(device) == ()
    dom0.mount(device, str(tmp_path / "mnt"), "ext4")
    assert dom0.claims(device) == (f"mounted on {tmp_path / 'mnt'}",)
    dom0.unmount(str(tmp_path / "mnt"))
    assert dom0.claims(device) == ()


def test_a_device_that_somebody_claims_without_a_mount_of_ours(device: str) -> None:
    claim = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        assert dom0.claims(device) == ("claimed by the kernel",)
    finally:
        os.close(claim)


def test_a_terminal_is_read_without_becoming_ours() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    try:
        terminal = dom0.terminal(path)
        assert terminal.read() == b""
        os.write(master, b"xen01 login: ")
        assert terminal.read() == b"xen01 login: " and dom0.holders(path) == (), "our own processes are not somebody else"
        os.close(master)
        assert terminal.read() == b""
        terminal.close()
    finally:
        os.close(slave)
