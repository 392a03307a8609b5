"""reinstallOS on real disks: a whole Debian, what the guest gets, and an old system that survives a failure."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from passlib.hash import sha512_crypt

from tests.boot import booted
from tests.bundles import make_bundle
from tests.node import Node

pytestmark = [pytest.mark.root, pytest.mark.slow]
PASSWORD = "p4ss $(touch /tmp/x);'\"` word"
INSTALL = {
    "vps": "01", "ramSizeMib": 256, "password": PASSWORD, "nics": "192.0.2.10,255.255.255.0,192.0.2.255+192.0.2.11/24", "gateway": "192.0.2.1",
    "dns": "192.0.2.53 192.0.2.54", "hostname": "mail.example.org"}


@contextmanager
def inside(node: Node, vps: str = "01") -> Iterator[Path]:
    """The VPS's root disk, mounted read-only."""
    at = node.directory / "look"
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop,ro,noload", f"{node.settings.provisioning_mount_point}/xen{vps}.img", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def digest(path: str) -> str:
    return hashlib.file_digest(open(path, "rb"), "sha256").hexdigest()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = Node(tmp_path_factory.mktemp("install") / "node")
    make_bundle(Path(made.settings.os_dir) / "old-style-2010")
    with made:
        yield made


@pytest.fixture(scope="module")
def debian(node: Node) -> Node:
    """A node whose VPS 01 has just got a Debian."""
    client = node.client()
    client.setupVPSDisk(vps="01", diskSizeMib=2048, swapSizeMib=256, imageType="vbd")
    record = node.wait(client.reinstallOS(osType="debian", **INSTALL).job)
    assert (record.state, record.percent) == ("done", 100), record.reason + node.job_log(record.id)
    return node


def test_debian_gets_its_own_identity(debian: Node) -> None:
    with inside(debian) as tree:
        fstab = (tree / "etc/fstab").read_text().split("\n")
        assert [line.split()[:3] for line in fstab if line.startswith("/dev/")] == [["/dev/xvda", "/", "ext4"], ["/dev/xvdb", "none", "swap"]]
        assert (tree / "etc/hostname").read_text() == "mail\n" and "mail.example.org" in (tree / "etc/hosts").read_text()
        resolv = (tree / "etc/resolv.conf").read_text()
        assert "nameserver 192.0.2.53\nnameserver 192.0.2.54\n" in resolv
        interfaces = (tree / "etc/network/interfaces").read_text()
        assert "192.0.2.10" in interfaces and "192.0.2.11" in interfaces and "gateway 192.0.2.1" in interfaces
        assert not (tree / "etc/machine-id").read_text().strip()
        keys = list((tree / "etc/ssh").glob("ssh_host_*_key"))
        assert keys and all(key.stat().st_mode & 0o777 == 0o600 for key in keys)
        assert not (tree / "usr/sbin/policy-rc.d").exists()


def test_the_root_password_is_the_one_that_was_set_and_stands_nowhere_else(debian: Node) -> None:
    with inside(debian) as tree:
        shadow = (tree / "etc/shadow").read_text()
        assert sha512_crypt.verify(PASSWORD, shadow.split("\n")[0].split(":")[1])
    assert not Path("/tmp/x").exists()
    for path in debian.directory.rglob("*"):
        if path.is_file() and path.suffix not in (".img", ".password"):
            assert PASSWORD.encode() not in path.read_bytes(), path


def test_the_installed_disk_boots_to_a_login_with_that_password(debian: Node) -> None:
    """Under software emulation, with a kernel that the test gives it; no step of the boot may have failed."""
    mnt = debian.settings.provisioning_mount_point
    with booted(f"{mnt}/xen01.img", f"{mnt}/xen01.swap.img", "00:16:3e:10:10:01") as console:
        console.log_in(PASSWORD, 400)
        assert console.run("systemctl is-system-running --wait") == "running", console.run("systemctl --failed --no-legend --plain")
        assert console.run("hostname -f") == "mail.example.org"
        assert re.fullmatch("[0-9a-f]{32}", console.run("cat /etc/machine-id"))
        addresses = console.run("ip -o addr show dev eth0")
        assert "192.0.2.10/24 brd 192.0.2.255" in addresses and "192.0.2.11/24" in addresses
        assert "default via 192.0.2.1 dev eth0" in console.run("ip route")
        assert re.match(r"/dev/vda +ext4 +rw,", console.run("findmnt -no SOURCE,FSTYPE,OPTIONS /"))
        assert console.run("readlink -f $(swapon --show=NAME --noheadings) /dev/xvdb").split() == ["/dev/vdb", "/dev/vdb"]
        assert console.run("systemctl is-active ssh") == "active"
        assert console.power_off() == 0


def test_the_domu_configuration_and_its_start(debian: Node) -> None:
    text = (Path(debian.settings.xen_config_dir) / "xen01").read_text()
    assert "192.0.2.10 192.0.2.11" in text and "xen01.img" in text and "00:16:3e:10:10:01" in text
    assert os.readlink(Path(debian.settings.xen_config_dir) / "auto/xen01") == "../xen01"


def test_everything_was_released_and_the_old_disk_dropped(debian: Node) -> None:
    assert debian.leftovers() == []
    assert sorted(path.name for path in Path(debian.settings.provisioning_mount_point).glob("*.img*")) == ["xen01.img", "xen01.swap.img"]


def test_the_log_can_be_read_by_line_count(debian: Node) -> None:
    log = debian.client().getVPSInstallLog(vps="01", numLines=5)
    assert 1 <= len((log.text if hasattr(log, "text") else log).strip().split("\n")) <= 5
    assert "mmdebstrap" in debian.job_log(1) or "mmdebstrap" in debian.job_log(2)


def test_a_bundle_of_2010_installs_unmodified(node: Node) -> None:
    client = node.client()
    client.setupVPSDisk(vps="02", diskSizeMib=128, swapSizeMib=64, imageType="vbd")
    record = node.wait(client.reinstallOS(osType="old-style-2010", **INSTALL | {"vps": "02", "nics": "192.0.2.20/24"}).job)
    assert record.state == "done", record.reason + node.job_log(record.id)
    with inside(node, "02") as tree:
        assert (tree / "etc/fstab").read_text().count("/dev/xvda") == 1
        assert "192.0.2.20" in (tree / "etc/network/interfaces").read_text()
    assert node.leftovers() == []


def test_a_failed_installation_leaves_the_old_system_as_it_was(debian: Node) -> None:
    broken = Path(debian.settings.os_dir) / "broken"
    make_bundle(broken)
    script = broken / "custom_os"
    script.write_text("#!/bin/sh\necho going wrong\nexit 7\n")
    script.chmod(0o755)
    root = f"{debian.settings.provisioning_mount_point}/xen01.img"
    config = Path(debian.settings.xen_config_dir) / "xen01"
    before = digest(root), config.read_text()
    record = debian.wait(debian.client().reinstallOS(osType="broken", **INSTALL).job)
    assert record.state == "failed" and "7" in record.reason
    assert "going wrong" in debian.job_log(record.id)
    assert (digest(root), config.read_text()) == before
    assert debian.leftovers() == []
    assert sorted(path.name for path in Path(debian.settings.provisioning_mount_point).glob("xen01*")) == ["xen01.img", "xen01.swap.img"]


def test_cancel_ends_it_all_in_five_seconds(debian: Node) -> None:
    client = debian.client()
    root = f"{debian.settings.provisioning_mount_point}/xen01.img"
    before = digest(root)
    job = client.reinstallOS(osType="debian", **INSTALL).job
    while client.getJob(job=job).percent < 10:
        time.sleep(0.1)
    begun = time.monotonic()
    assert client.cancelJob(job=job).cancelled
    record = debian.wait(job, 10)
    assert record.state == "cancelled" and time.monotonic() - begun < 5
    assert debian.leftovers() == [] and digest(root) == before


def test_plan_only_changes_nothing(debian: Node) -> None:
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in debian.directory.rglob("*") if "/state" not in str(path))
    answer = debian.client().reinstallOS(osType="debian", planOnly=True, **INSTALL)
    assert answer.job is None and any("Clone the image of debian" in line for line in str(answer.plan).split("\n"))
    after = sorted((str(path), path.lstat().st_mtime_ns) for path in debian.directory.rglob("*") if "/state" not in str(path))
    assert [path for path, _ in before] == [path for path, _ in after]


def test_two_installations_side_by_side_release_their_disks(node: Node) -> None:
    """A command of one job copies the mounts of the other into its namespace, and must not keep the other's disk busy."""
    for name, seconds in (("slow", 12), ("quick", 3)):
        directory = Path(node.settings.os_dir) / name
        make_bundle(directory)
        script = directory / "custom_os"
        script.write_text(f"#!/bin/sh\nsleep {seconds}\n")
        script.chmod(0o755)
    client = node.client()
    jobs = []
    for vps, name in (("31", "quick"), ("32", "slow")):
        client.setupVPSDisk(vps=vps, diskSizeMib=128, swapSizeMib=64, imageType="vbd")
        jobs.append(client.reinstallOS(osType=name, **INSTALL | {"vps": vps, "nics": f"192.0.2.{vps}/24"}).job)
        time.sleep(1.5)
    quick = node.wait(jobs[0])
    assert client.getJob(job=jobs[1]).state == "running", "the slow one must still hold its namespace"
    assert quick.state == "done", quick.reason
    slow = node.wait(jobs[1])
    assert slow.state == "done", slow.reason
    assert node.leftovers() == []
