"""Renaming disks token by token: what must change, what must not, and twice is once."""

from __future__ import annotations

import pytest

from dtcxen_soap.install import devices


@pytest.mark.parametrize(("old", "new"), [
    ("/dev/sda1", "/dev/xvda"), ("/dev/sda", "/dev/xvda"), ("/dev/hda1", "/dev/xvda"), ("/dev/vda2", "/dev/xvdb"), ("/dev/xvda1", "/dev/xvda"),
    ("/dev/sdb", "/dev/xvdb"), ("root=/dev/sda1", "root=/dev/xvda"), ("/dev/sdaa", "/dev/sdaa"), ("/dev/sda3", "/dev/sda3"), ("/dev/sda11", "/dev/sda11"),
    ("usbdev/sda1x", "usbdev/sda1x"), ("/dev/sdc1", "/dev/sdc1")])
def test_tokens(old, new):
    assert devices.rename(old) == new


def test_fstab_has_our_disks_once_and_keeps_the_rest():
    old = (
        "# made by hand\n/dev/sda1 / ext3 defaults 0 1\nUUID=1-2 none swap sw 0 0\nproc /proc proc defaults 0 0\n"
        "/dev/sda3 /home ext3 defaults 0 2\nnas:/x /x nfs ro 0 0\n/a /b none bind 0 0\n")
    new = devices.fstab(old, "ext4", True)
    assert new.splitlines() == [
        "/dev/xvda / ext4 errors=remount-ro 0 1", "/dev/xvdb none swap sw 0 0", "# made by hand", "proc /proc proc defaults 0 0",
        "# no such disk here: /dev/sda3 /home ext3 defaults 0 2", "nas:/x /x nfs ro 0 0", "/a /b none bind 0 0"]
    assert devices.fstab(new, "ext4", True) == new


def test_no_swap_no_line():
    assert "swap" not in devices.fstab("", "xfs", False)


def test_boot_files():
    old = 'kernel /boot/vmlinuz root=/dev/sda1 ro quiet\nroot (hd0,0)\n# kopt=root=UUID=0a-1 ro\nGRUB_CMDLINE_LINUX="root=LABEL=x resume=UUID=9"\n# see sda1\n'
    new = devices.boot_text(old)
    assert new == (
        'kernel /boot/vmlinuz root=/dev/xvda ro quiet\nroot (hd0)\n# kopt=root=/dev/xvda ro\nGRUB_CMDLINE_LINUX="root=/dev/xvda resume=/dev/xvdb"\n# see sda1\n')
    assert devices.boot_text(new) == new
