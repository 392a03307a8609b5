"""A VPS's owner on the node: ssh opens the console of the own VPS, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import boot
from tests.xenlab.lab import Lab

pytestmark = pytest.mark.xenlab("full")

PASSWORD = "the owner's guest"


@pytest.fixture
def ready_for_owners(lab: Lab) -> Iterator[None]:
    """The package brought console and sshd's file, and told sshd."""
    with lab.settings(manage_accounts="yes"):
        yield


@contextmanager
def signed_in(lab: Lab, user: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """ssh from outside as an owner, with the lab's key."""
    argv = [*lab.ssh_command("-tt", "-e", "none", "-S", "none")[:-1], f"{user}@127.0.0.1", *command]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.usefixtures("ready_for_owners")
def test_ssh_opens_the_console_of_the_own_vps(lab: Lab) -> None:
    lab.setup(8)
    lab.booted(8, PASSWORD, bootMode="direct")
    assert lab.ssh("id -nG xen08; id -nG xen08-iso").split() == ["xenusers", "xenisos"]
    lab.client().setSshKey(vps="08", keys=Path(f"{lab.image.key}.pub").read_text().strip())
    with signed_in(lab, "xen08") as process:
        console = boot.Console(process)
        console.type("")
        console.log_in(PASSWORD, 90)
        assert console.run("hostname; id -u").split() == ["xen08", "0"]
        console.type("exit")
    assert lab.ssh("sudo -u xen08 sudo -n /usr/sbin/xl console xen05 2>&1; sudo -u xen08 sudo -n /usr/sbin/xl list 2>&1; true").count("password is required") == 2
    lab.remove(8)
    assert lab.ssh("getent passwd xen08 xen08-iso; ls /etc/sudoers.d | grep xen08; ls -d /var/lib/dtc-xen/ttyssh_home/xen08; true 2>/dev/null", check=False).strip() in (
        "", "ls: cannot access '/var/lib/dtc-xen/ttyssh_home/xen08': No such file or directory")


@pytest.fixture
def homes_with_quota(lab: Lab) -> Iterator[None]:
    """The homes on a file system that keeps project quotas."""
    homes = "/var/lib/dtc-xen/ttyssh_home"
    lab.ssh("lvcreate -qq -y -L 128M -n homes vg0 && mkfs.ext4 -q -O quota,project /dev/vg0/homes"
            f" && mount -o prjquota /dev/vg0/homes {homes} && chmod 711 {homes} && rmdir {homes}/lost+found", 120)
    yield
    lab.ssh(f"umount {homes} && lvremove -qq -y vg0/homes", 60)


@pytest.mark.usefixtures("homes_with_quota", "ready_for_owners")
def test_the_kernel_keeps_what_an_owner_may_upload(lab: Lab) -> None:
    lab.setup(9, disk=64)
    with lab.settings(manage_accounts="yes", iso_quota_mib="8"):
        lab.client().setConsolePassword(vps="09", password="uploading")
        write = "sudo -u xen09-iso dd if=/dev/zero of=/var/lib/dtc-xen/ttyssh_home/xen09/iso/{} bs=1M count={} status=none 2>&1; true"
        assert lab.ssh(write.format("small.iso", 4)).strip() == ""
        assert "quota exceeded" in lab.ssh(write.format("large.iso", 8)).lower()
        used = int(lab.ssh("du -sm /var/lib/dtc-xen/ttyssh_home/xen09/iso | cut -f 1"))
        assert 4 <= used <= 8
        assert "quota exceeded" in lab.ssh("sudo -u xen09-iso sh -c 'for i in $(seq 2100); do : >/var/lib/dtc-xen/ttyssh_home/xen09/iso/$i || exit; done' 2>&1; true").lower()
        lab.remove(9)
        lab.setup(9, disk=64)
    with lab.settings(manage_accounts="yes", iso_quota_mib="0"):
        lab.client().setConsolePassword(vps="09", password="uploading")
        assert lab.ssh(write.format("large.iso", 16)).strip() == "", "the next of the number starts clean"
    with lab.settings(manage_accounts="yes", iso_quota_mib="18"):
        lab.client().setConsolePassword(vps="09", password="uploading")
        assert "quota exceeded" in lab.ssh(write.format("more.iso", 4)).lower(), "what was uploaded before there was a limit counts"
    lab.remove(9)
