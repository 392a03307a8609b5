"""What must not be lost on a real node: the old system while a new one fails, the truth after a crash, guests while the daemon restarts."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.xenlab.calls import Fault
from tests.xenlab.lab import Lab

pytestmark = pytest.mark.xenlab("full")

VPS, NAME = 10, "xen10"
PASSWORD, NEWER = "the first one", "the newer one"
UNPACK = 'tar -xzpf /usr/share/dtc-xen-os/debian-small/debian.tar.gz -C "$VPS_PATH"'


@pytest.fixture(scope="module")
def system(lab: Lab) -> Iterator[int]:
    """VPS 10 with a system that booted once and is shut down; each test leaves it so."""
    lab.setup(VPS)
    with lab.timed("installation and start to login, direct"):
        lab.booted(VPS, PASSWORD, bootMode="direct")
    shut_down(lab)
    yield VPS
    lab.client().destroyVPS(vps="10")
    lab.client().killVPSDisk(vps="10")
    lab.until("nothing is left", lambda: not lab.leftovers(VPS), 300, tell=lambda: "\n".join(lab.leftovers(VPS)))


def shut_down(lab: Lab) -> None:
    lab.client().shutdownVPS(vps="10")
    lab.until(f"{NAME} is gone", lambda: not lab.runs(VPS), 180)


def boots(lab: Lab, password: str) -> None:
    """Start it, sign in with that password, and shut it down."""
    lab.client().startVPS(vps="10")
    lab.ping(VPS, 400)
    lab.wait_for_login(VPS)
    with lab.signed_in(VPS, password) as root:
        assert root.run("id -u") == "0"
    shut_down(lab)


def mounts(lab: Lab) -> str:
    return lab.ssh("grep -E 'dtc-xen|vg0' /proc/mounts; losetup -a; true")


def test_a_failing_installation_leaves_the_old_system_bootable(lab: Lab, system: int) -> None:
    lab.bundle("fails", f"{UNPACK}\necho the image is bad\nexit 3")
    record = lab.wait(lab.reinstall(system, NEWER, "fails"))
    assert record.state == "failed" and "3" in record.reason, record.reason
    assert "the image is bad" in lab.client().getVPSInstallLog(vps="10")
    assert mounts(lab) == ""
    assert not [line for line in lab.leftovers(system) if ".new" in line]
    boots(lab, PASSWORD)


def test_a_daemon_killed_in_the_middle_of_an_installation_tells_the_truth_and_holds_nothing(lab: Lab, system: int) -> None:
    lab.bundle("slow", f"{UNPACK}\necho it waits now\nsleep 999")
    job = lab.reinstall(system, NEWER, "slow")
    lab.until("the bundle waits", lambda: "it waits now" in lab.job_log(job), 300, tell=lambda: lab.job_log(job))
    assert lab.rpc("getVPSState", vpsname="10") == "mkos"
    before = lab.daemon_pid()
    lab.ssh(f"kill -9 {before}")
    lab.until("systemd starts it again", lambda: lab.daemon_pid() not in (0, before), 60)
    lab.wait_for_daemon()
    record = lab.client().getJob(job=job)
    assert record.state == "interrupted", f"{record.state}: {record.reason}"
    assert mounts(lab) == ""
    assert "sleep 999" not in lab.ssh("ps axww -o args")
    assert not [line for line in lab.leftovers(system) if ".new" in line]
    assert lab.state(system) == "Not running"
    boots(lab, PASSWORD)


def test_a_system_that_does_not_boot_is_told_so_with_its_last_words(lab: Lab, system: int) -> None:
    lab.bundle("unbootable", f'{UNPACK}\nrm -f "$VPS_PATH/sbin/init" "$VPS_PATH/bin/sh"')
    with lab.timed("an installation that does not boot"):
        record = lab.wait(lab.reinstall(system, NEWER, "unbootable", bootMode="direct", start=True), 1500)
    assert record.state == "failed" and "does not boot" in record.reason, f"{record.state}: {record.reason}"
    assert "init" in lab.job_log(record.id)
    lab.client().destroyVPS(vps="10")


def test_rollback_brings_the_system_before_back(lab: Lab, system: int) -> None:
    """Of the installation before, which does not boot."""
    answer = lab.client().rollbackVPS(vps="10")
    assert answer.vps == "10" and answer.keptSince
    boots(lab, PASSWORD)


def test_guests_outlive_the_daemon_and_are_ruled_by_the_next_one(lab: Lab, system: int) -> None:
    lab.client().startVPS(vps="10")
    lab.wait_for_login(system)
    was = lab.ssh(f"xl domid {NAME}")
    lab.ssh("systemctl restart dtcxen-soap", 120)
    lab.wait_for_daemon()
    assert lab.ssh(f"xl domid {NAME}") == was and lab.state(system) == "running"
    lab.ping(system)
    lab.client().rebootVPS(vps="10")
    lab.until("it has a new domid", lambda: lab.ssh(f"xl domid {NAME}", check=False) not in (was, "") and lab.runs(system), 240)
    lab.ping(system, 300)
    lab.ssh(f"kill -9 {lab.daemon_pid()}")
    time.sleep(5)
    lab.wait_for_daemon()
    assert lab.state(system) == "running"
    lab.wait_for_login(system)
    shut_down(lab)


def test_fsck_says_what_it_found(lab: Lab, system: int) -> None:
    record = lab.done(lab.client().fsckVPSpartition(vps="10").job, 300)
    assert "clean" in record.reason or "corrected" in record.reason, record.reason


def test_more_memory_than_there_is_is_refused_before_anything_is_done(lab: Lab, system: int) -> None:
    """By the installation's own words, and as xl's outcome when the admin wrote it into the configuration."""
    assert "memory" in lab.refusal("reinstallOS", vps="10", osType="debian-small", ramSizeMib=8000, password="x", nics=f"{lab.address(system)}/24", start=True)
    lab.ssh(f"sed -i 's/^memory = .*/memory = 8000/' /etc/xen/{NAME}")
    told = lab.rpc("startVPS", vpsname="10")
    assert told.startswith("NOTOK - ") and "memory" in told
    lab.ssh(f"sed -i 's/^memory = .*/memory = 256/' /etc/xen/{NAME}")


def test_what_xl_says_is_told(lab: Lab, system: int) -> None:
    """The admin's hand edit names a bridge that is not there."""
    lab.ssh(f"cp /etc/xen/{NAME} /root/kept && sed -i 's/bridge=xenbr0/bridge=nobridge/' /etc/xen/{NAME}")
    told = lab.rpc("startVPS", vpsname="10")
    assert told.startswith("NOTOK - "), told
    assert not lab.runs(system)
    lab.ssh(f"cp /root/kept /etc/xen/{NAME}")


def test_one_numbers_disks_are_never_anothers(lab: Lab, system: int) -> None:
    """xen10 is the beginning of xen100, and an admin's volume may begin with either."""
    lab.setup(100, disk=64, swap=64)
    lab.ssh("lvcreate -qq -y -L 64M -n xen1 vg0; lvcreate -qq -y -L 64M -n xen100-backup vg0")
    lab.client().killVPSDisk(vps="100")
    lab.until("the volumes are gone", lambda: not lab.leftovers(100), 120)
    left = lab.ssh("lvs --noheadings -o lv_name vg0").split()
    assert {"xen1", "xen100-backup", NAME, f"{NAME}swap"} <= set(left)
    lab.ssh("lvremove -qq -f vg0/xen1 vg0/xen100-backup")


def test_several_volume_groups_and_none_named_is_refused_naming_them(lab: Lab) -> None:
    lab.ssh("vgcreate -q vg1 /dev/vdc", 60)
    try:
        told = lab.refusal("setupVPSDisk", vps="12", diskSizeMib=64, swapSizeMib=64, imageType="lvm")
        assert "vg0" in told and "vg1" in told
        with pytest.raises(Fault, match="vg1"):
            lab.rpc("setupLVMDisks", vpsname="12", hddsize="64", swapsize="64", imagetype="lvm")
        with lab.settings(provisioning_volgroup="vg1"):
            assert lab.setup(12, disk=64, swap=64).disks == ["/dev/vg1/xen12", "/dev/vg1/xen12swap"]
        with lab.settings(provisioning_volgroup="vg0"):
            lab.client().killVPSDisk(vps="12")
            lab.until("nothing is left, in either group", lambda: not lab.leftovers(12), 120)
    finally:
        lab.ssh("vgremove -q -f -y vg1", 60)
