"""The survey of this very machine: real image files, loop devices, apt sources, and loopback addresses as VPSes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.facts import NeedDisks, NeedInstall, NeedPings
from dtcxen_soap.journal import Journal
from dtcxen_soap.settings import load
from dtcxen_soap.survey.survey import Survey
from dtcxen_soap.vps import DiskRole, VpsId

pytestmark = pytest.mark.root
VPS = VpsId(1)
MIB = 1 << 20
dom0 = Dom0()


@pytest.fixture
def survey(tmp_path: Path) -> Iterator[Survey]:
    for name in ("mnt", "xen", "os"):
        (tmp_path / name).mkdir()
    settings = load(f"provisioning_mount_point={tmp_path}/mnt\nxen_config_dir={tmp_path}/xen\nos_dir={tmp_path}/os\nconfig_dir={tmp_path}/conf").settings
    journal = Journal(str(tmp_path / "journal.sqlite"))
    yield Survey(settings, dom0, journal, lambda vps: "")
    journal.close()


def test_disks_blank_used_and_held(survey: Survey, tmp_path: Path) -> None:
    root, swap = str(tmp_path / "mnt/xen01.img"), str(tmp_path / "mnt/xen01.swap.img")
    dom0.allocate_file(root, 64 * MIB, sparse=True)
    dom0.allocate_file(swap, 16 * MIB, sparse=False)
    found = survey.fill((NeedDisks(VPS),))
    assert [(disk.role, disk.size_bytes, disk.blank, disk.in_use) for disk in found.disks] == [
        (DiskRole.ROOT, 64 * MIB, True, ""), (DiskRole.SWAP, 16 * MIB, True, "")]
    assert found.room.promised_bytes == 64 * MIB
    subprocess.run(("mkfs.ext4", "-q", "-F", "--", root), check=True)
    subprocess.run(("mkfs.ext4", "-q", "-F", "--", swap), check=True)
    device = subprocess.run(("losetup", "--find", "--show", "--", root), check=True, capture_output=True, text=True).stdout.strip()
    try:
        found = survey.fill((NeedDisks(VPS),))
        assert [(disk.blank, disk.in_use) for disk in found.disks] == [(False, f"attached to {device}"), (False, "")]
        assert 64 * MIB < found.room.promised_bytes < 80 * MIB, "mkfs discarded reserved blocks, which count again"
    finally:
        dom0.detach_loop(device)
    assert survey.fill((NeedDisks(VPS),)).disks[0].in_use == ""


def test_this_machine(survey: Survey) -> None:
    node = survey.fill((NeedInstall(VPS, "debian"),)).node
    assert node.hostname and node.release and node.kernel_release
    assert {"mount", "umount", "tar", "sh", "mkswap"} <= node.commands
    assert node.apt_sources and "/usr/share/keyrings/debian-archive-keyring.gpg" in node.keyrings


def test_a_node_full_of_vpses_is_pinged_in_no_time(survey: Survey, tmp_path: Path) -> None:
    """Reading the configurations is part of what the caller waits for."""
    for number in range(1, 201):
        addresses = " ".join(f"127.{number}.0.{host}" for host in range(1, 6))
        (tmp_path / f"xen/{VpsId(number).name}").write_text(f'name = "{VpsId(number).name}"\nvif = [ "mac=02:00:00:00:00:{number:02x},ip={addresses}" ]\n')
    begun = time.monotonic()
    pings = survey.fill((NeedPings(2000, 1),)).pings
    assert time.monotonic() - begun < 1.9
    assert len(pings) == 1000 and all(ping.received == 1 for ping in pings) and (pings[-1].vps, str(pings[-1].address)) == (VpsId(200), "127.200.0.5")
