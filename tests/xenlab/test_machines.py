"""Every way in which a VPS finds its kernel, thin volumes, a CD, and the rescue system, on a real Xen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.xenlab.calls import Fault
from tests.xenlab.image import BUNDLE, ISO, rescue_tree
from tests.xenlab.lab import Lab

pytestmark = pytest.mark.xenlab("full")

PASSWORD = "machines"


@pytest.mark.parametrize(("mode", "loader"), [("pv-grub", "grub-x86_64-xen.bin"), ("pygrub", "pygrub")])
def test_a_guest_boots_the_kernel_in_its_own_tree(lab: Lab, mode: str, loader: str) -> None:
    lab.setup(30)
    with lab.timed(f"installation and start to login, {mode}"):
        lab.booted(30, PASSWORD, bootMode=mode)
    assert loader in lab.ssh("cat /etc/xen/xen30")
    lab.ping(30)
    with lab.signed_in(30, PASSWORD) as root:
        assert "root=" in root.run("cat /proc/cmdline")
    lab.remove(30)


@pytest.fixture
def thin(lab: Lab) -> Iterator[None]:
    """A second group with a thin pool, which the node uses."""
    lab.ssh("vgcreate -q vg1 /dev/vdc && lvcreate -qq -y --type thin-pool -Z y -L 6G -n pool vg1", 120)
    with lab.settings(provisioning_volgroup="vg1", thin_pool="pool"):
        yield
    lab.ssh("vgremove -q -f -y vg1", 60)


@pytest.mark.usefixtures("thin")
def test_a_thin_volume_is_installed_booted_and_removed(lab: Lab) -> None:
    assert lab.setup(31).disks == ["/dev/vg1/xen31", "/dev/vg1/xen31swap"]
    assert "pool" in lab.ssh("lvs --noheadings -o pool_lv vg1/xen31")
    lab.booted(31, PASSWORD, bootMode="direct")
    lab.remove(31)


def test_an_image_file_is_installed_booted_measured_and_removed(lab: Lab) -> None:
    assert lab.setup(32, disk=700, image_type="vbd").disks == ["/var/lib/dtc-xen/mnt/xen32.img", "/var/lib/dtc-xen/mnt/xen32.swap.img"]
    lab.booted(32, PASSWORD, bootMode="direct")
    lab.until_measured(32)
    lab.remove(32)


@pytest.fixture
def caching(lab: Lab) -> Iterator[None]:
    """The bundle's maker says that its install_os only unpacks."""
    directory = f"/usr/share/dtc-xen-os/{BUNDLE}"
    lab.push(directory, {"manifest.json": b'{"cache": true}'}, 0o644)
    with lab.settings(image_build_mib="1024"):
        yield
    lab.ssh(f"rm -rf {directory}/manifest.json /var/lib/dtc-xen/images")


@pytest.mark.usefixtures("caching")
def test_a_volume_gets_a_clone_of_the_image_and_boots(lab: Lab) -> None:
    lab.setup(33)
    with lab.timed("installation that makes the image"):
        lab.done(lab.reinstall(33, PASSWORD, bootMode="direct"), 900)
    with lab.timed("installation from the image, onto a volume"):
        job = lab.reinstall(33, PASSWORD, bootMode="direct")
        lab.done(job, 900)
    assert "note: cloned from the image" in lab.job_log(job, 200)
    assert lab.rpc("startVPS", vpsname="33") == ["OK", "Started xen33"]
    lab.ping(33, 400)
    with lab.signed_in(33, PASSWORD) as root:
        assert int(root.run("df --output=size -m / | tail -n 1")) > 800, "grown to its volume"
    lab.remove(33)


def test_an_iso_boots_an_hvm_guest_that_outlives_the_daemon(lab: Lab) -> None:
    lab.setup(50, disk=128)
    lab.zeroed(50)
    lab.upload_cd(50)
    assert [iso.name for iso in lab.client().listISOs(vps="50").isos] == ["lab.iso"]
    assert "vncPassword" in lab.refusal("writeXenHVMconf", vps="50", ramSizeMib=512, addresses=lab.address(50), vncPassword="screen12", boot="lab.iso")
    lab.client().writeXenHVMconf(vps="50", ramSizeMib=512, addresses=lab.address(50), vncPassword="no_vnc", boot="lab.iso")
    with lab.timed("start to the CD's words, hvm"):
        assert lab.rpc("startVPS", vpsname="50") == ["OK", "Started xen50"]
        lab.wait_for_cd(50, "firmware=bios")
    assert lab.ssh("ss -Hltn | awk '{print $4}' | grep ':59'; true") == ""
    assert lab.ssh("stat -c '%F %U' /var/lib/dtc-xen/screens/xen50.vnc; stat -c %a /var/lib/dtc-xen/screens").split() == ["socket", "root", "700"]
    was = lab.ssh("xl domid xen50; pgrep -f '[q]emu.*xen50'")
    lab.ssh("systemctl restart dtcxen-soap", 120)
    lab.wait_for_daemon()
    assert lab.ssh("xl domid xen50; pgrep -f '[q]emu.*xen50'") == was
    assert lab.rpc("destroyVPS", vpsname="50") == ["OK", "Destroyed xen50"]
    lab.remove(50)


def test_an_iso_of_the_library_is_read_only_and_outlives_the_vps(lab: Lab) -> None:
    shelf = "/var/lib/dtc-xen/isos/shelf.iso"
    lab.ssh(f"install -D -m 644 {ISO} {shelf}")
    before = lab.ssh(f"sha256sum {shelf}; stat -c '%h %s' {shelf}")
    lab.setup(53, disk=64)
    lab.zeroed(53)
    assert [(iso.name, iso.library) for iso in lab.client().listISOs(vps="53").isos] == [("shelf.iso", True)]
    assert lab.rpc("reportInstalledIso", vpsname="xen53") == ["shelf.iso"]
    assert lab.rpc("writeXenHVMconf", vpsname="53", ramsize="256", allipaddrs=lab.address(53), vncpassword="no_vnc", howtoboot="shelf.iso") == "OK"
    assert lab.rpc("startVPS", vpsname="53") == ["OK", "Started xen53"]
    (drive,) = [word for word in lab.ssh("pgrep -af '[q]emu.*xen53'").split() if shelf in word]
    assert "readonly=on" in drive
    assert lab.rpc("destroyVPS", vpsname="53") == ["OK", "Destroyed xen53"]
    lab.remove(53)
    assert lab.ssh(f"sha256sum {shelf}; stat -c '%h %s' {shelf}") == before
    lab.ssh(f"rm {shelf}")


def test_what_installs_nothing_leaves_no_block_of_an_earlier_owner(lab: Lab) -> None:
    """reinstallOS ends the zeroing that setupVPSDisk left for later, and so does it itself: here of a volume as that leaves it half-way.

    The earlier owner's blocks lie where the empty file system has none of its own.
    """
    lab.setup(54, disk=256)
    lab.zeroed(54)
    lab.ssh("dd if=/dev/urandom of=/dev/vg0/xen54 bs=1M seek=201 count=6 oflag=direct status=none && lvchange -qq --addtag dtcxen.unzeroed vg0/xen54")
    record = lab.done(lab.reinstall(54, PASSWORD, os_type="manual"), 300)
    assert record.reason.startswith("nothing was installed: ")
    assert "unzeroed" not in lab.ssh("lvs --noheadings -o lv_tags vg0/xen54 vg0/xen54swap")
    lab.ssh("cmp -n 6291456 -i 0:210763776 /dev/zero /dev/vg0/xen54", 120)
    lab.remove(54)


def test_a_name_never_adds_a_disk(lab: Lab) -> None:
    lab.setup(51, disk=64)
    lab.zeroed(51)
    for name in ("x.iso,hdd,w'", "../xen50/iso/lab.iso", "/dev/vg0/xen10"):
        with pytest.raises(Fault, match="howtoboot"):
            lab.rpc("writeXenHVMconf", vpsname="51", ramsize="256", allipaddrs=lab.address(51), vncpassword="abcdefgh", howtoboot=name)
    assert "/etc/xen/xen51" not in lab.leftovers(51)
    lab.remove(51)


@pytest.fixture
def rescue_system(lab: Lab, tmp_path: Path) -> None:
    """Made here of a tree and dom0's kernel, as on a node without a network, and brought to where enterRescue looks for it."""
    boot, made = lab.image.boot, tmp_path / "rescue"
    config = tmp_path / "dtc-xen.conf"
    config.write_text(f"rescue_kernel={made}/vmlinuz\nrescue_initrd={made}/initrd.img\nKERNELPATH={boot}/vmlinuz\nKMOD_PATH={lab.image.modules}\n")
    with lab.timed("making the rescue system"):
        subprocess.run([sys.executable, "-m", "dtcxen_soap", "rescue-system", "--config", str(config), "--from-tree", str(rescue_tree(lab.image))], check=True)
        lab.push("/var/lib/dtc-xen/rescue", {name: (made / name).read_bytes() for name in ("vmlinuz", "initrd.img")}, 0o600)


@pytest.mark.usefixtures("rescue_system")
def test_into_the_rescue_system_and_back_and_single_user(lab: Lab) -> None:
    lab.setup(60)
    lab.done(lab.reinstall(60, PASSWORD, bootMode="direct"), 900)
    with lab.timed("rescue system to its prompt"):
        told = lab.client().enterRescue(vps="60")
        lab.wait_for_login(60)
    lab.ping(60)
    assert lab.state(60) == "rescue" and lab.rpc("getVPSState", vpsname="60")[0] == "domain"
    assert "rescue" in lab.refusal("startVPS", vps="60") or "running" in lab.refusal("startVPS", vps="60")
    with lab.signed_in(60, told.password) as root:
        assert root.run("mount /dev/xvda /mnt && cat /mnt/etc/hostname && umount /mnt") == "xen60"
    lab.client().leaveRescue(vps="60")
    assert not lab.runs(60) and told.password not in lab.ssh("cat /var/lib/dtc-xen/jobs/*.log")
    lab.client().bootSingle(vps="60")
    lab.until("a single user's prompt", lambda: "root password" in lab.console_log(60)[-400:], 400, every=3, tell=lambda: lab.console_log(60)[-2000:])
    lab.client().destroyVPS(vps="60")
    lab.client().startVPS(vps="60")
    lab.ping(60, 400)
    lab.remove(60)


def test_what_a_planner_says_runs_nothing(lab: Lab) -> None:
    lab.setup(61, disk=64)
    answer = lab.client().reinstallOS(vps="61", osType=BUNDLE, ramSizeMib=256, password="x", nics=f"{lab.address(61)}/24", planOnly=True)
    assert answer.job is None and answer.plan
    assert not [line for line in lab.leftovers(61) if "/etc/xen" in line]
    lab.remove(61)
