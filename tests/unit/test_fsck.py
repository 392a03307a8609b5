"""fsckVPSpartition: the right program for what is on the disk, everything else refused, and each exit code in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap import fsck
from dtcxen_soap.access import Caller, Role
from dtcxen_soap.errors import Busy, Failed, Missing, NotAllowed, Refused
from dtcxen_soap.execute import execute
from dtcxen_soap.facts import DiskFact, DomuFact, Facts, NeedDisks, NodeFact, TenancyFact
from dtcxen_soap.journal import Journal
from dtcxen_soap.operations import prepare
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import MustBeFree, Plan, Run
from dtcxen_soap.processes import Ran
from dtcxen_soap.requests import Fsck
from dtcxen_soap.settings import load
from dtcxen_soap.vps import DiskRole, ImageType, VpsId
from tests.fakes import ScriptedDom0

VPS = VpsId(1)
REQUEST = Fsck(vps=VPS)
SETTINGS = load("provisioning_mount_point=/m\nxen_config_dir=/x\ninstall_timeout_minutes=7").settings
NODE = NodeFact("node", "id", "bookworm", "6.1.0", commands=frozenset({"e2fsck", "xfs_repair", "btrfs"}))
VOLUME = DiskFact(DiskRole.ROOT, "/dev/vg0/xen01", 1 << 30, False, image_type=ImageType.LVM, content="ext4")
FILE = DiskFact(DiskRole.ROOT, "/m/xen01.img", 1 << 30, False, content="ext4")


def facts(disk: DiskFact | None = VOLUME, **more: Any) -> Facts:
    given: dict[str, Any] = {"node": NODE, "domu": DomuFact(True, toolstack=True)} | more
    return Facts(disks=(disk,) if disk else (), **given)


def holding(content: str, disk: DiskFact = FILE) -> Facts:
    return facts(dataclasses.replace(disk, content=content))


def check(found: Facts) -> Run:
    step = fsck.plan(REQUEST, SETTINGS, found).steps[-1]
    assert isinstance(step, Run)
    return step


@pytest.mark.parametrize(("name", "found"), [("ext4-volume", facts()), ("xfs-file", holding("xfs"))])
def test_plans(golden: Any, name: str, found: Facts) -> None:
    golden(f"plans/fsck-{name}.txt", "\n".join(render(fsck.plan(REQUEST, SETTINGS, found))) + "\n")


@pytest.mark.parametrize(("content", "argv"), [
    ("ext2", ("e2fsck", "-p", "-f", "--", "/m/xen01.img")), ("ext3", ("e2fsck", "-p", "-f", "--", "/m/xen01.img")),
    ("ext4", ("e2fsck", "-p", "-f", "--", "/m/xen01.img")), ("xfs", ("xfs_repair", "-e", "-f", "--", "/m/xen01.img")),
    ("btrfs", ("btrfs", "check", "--readonly", "--", "/m/xen01.img")),
])
def test_each_file_system_has_its_program(content: str, argv: tuple[str, ...]) -> None:
    assert check(holding(content)).argv == argv


def test_a_volume_is_no_file() -> None:
    assert check(holding("xfs", VOLUME)).argv == ("xfs_repair", "-e", "--", "/dev/vg0/xen01")


def test_the_disk_must_still_be_free_when_the_job_begins() -> None:
    first, second = fsck.plan(REQUEST, SETTINGS, facts()).steps
    assert isinstance(first, MustBeFree) and (first.vps, first.paths, first.toolstack) == (VPS, ("/dev/vg0/xen01",), True)
    assert isinstance(second, Run) and second.timeout_seconds == 7 * 60
    selfmade = fsck.plan(REQUEST, SETTINGS, facts(FILE, domu=DomuFact(False))).steps[0]
    assert isinstance(selfmade, MustBeFree) and not selfmade.toolstack


@pytest.mark.parametrize("content", ["partitions (dos)", "partitions (gpt)", "ext4 and partitions (dos)", "LVM2_member", "swap", "vfat", "several file systems at once"])
def test_anything_else_is_refused_by_what_it_is(content: str) -> None:
    with pytest.raises(Refused) as refused:
        fsck.plan(REQUEST, SETTINGS, holding(content))
    assert f"fsckVPSpartition: vps: the root disk of VPS 01 holds {content}, expected one file system without partitions" in str(refused.value)


def test_an_empty_disk_is_refused_with_why() -> None:
    with pytest.raises(Refused, match="holds nothing: it was never used"):
        fsck.plan(REQUEST, SETTINGS, facts(dataclasses.replace(FILE, content="", blank=True)))
    with pytest.raises(Refused, match="nothing that is recognised: never installed, or its beginning is damaged"):
        fsck.plan(REQUEST, SETTINGS, holding(""))


def test_what_speaks_against_it() -> None:
    with pytest.raises(Missing, match="has no root disk"):
        fsck.plan(REQUEST, SETTINGS, facts(None))
    with pytest.raises(Busy, match="xen01 is running"):
        fsck.plan(REQUEST, SETTINGS, facts(domu=DomuFact(True, "running")))
    with pytest.raises(Busy, match="mounted on /mnt"):
        fsck.plan(REQUEST, SETTINGS, facts(dataclasses.replace(VOLUME, in_use="mounted on /mnt")))
    with pytest.raises(Failed, match="xl ended with code 1"):
        fsck.plan(REQUEST, SETTINGS, facts(domu=DomuFact(True, trouble="xl ended with code 1")))
    with pytest.raises(Refused, match="VPS 01 is blocked: an earlier tenant's"):
        fsck.plan(REQUEST, SETTINGS, facts(tenancy=TenancyFact(1, "an earlier tenant's")))
    with pytest.raises(Failed, match="the node lacks xfs_repair"):
        fsck.plan(REQUEST, SETTINGS, facts(dataclasses.replace(VOLUME, content="xfs"), node=dataclasses.replace(NODE, commands=frozenset({"e2fsck"}))))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(str(tmp_path / "journal.sqlite"))
    yield made
    made.close()


def outcome(journal: Journal, content: str, code: int) -> str:
    """What the check alone comes to when its program ends so."""
    step = check(holding(content))
    dom0 = ScriptedDom0({step.argv[0]: Ran(code, "/m/xen01.img: it said this")})
    job = journal.begin("fsckVPSpartition", VPS, "dtc-xen", "job", (), 1)
    return execute(job, Plan("check", (step,)), dom0, journal, lambda: False)


@pytest.mark.parametrize(("content", "code", "words"), [
    ("ext4", 0, "the file system is clean"), ("ext4", 1, "errors were found and corrected"), ("ext3", 2, "errors were found and corrected"),
    ("ext2", 3, "errors were found and corrected"), ("xfs", 0, "the file system is clean"), ("xfs", 4, "errors were found and corrected"),
    ("btrfs", 0, "the file system is clean"),
])
def test_codes_of_success_become_the_outcome(journal: Journal, content: str, code: int, words: str) -> None:
    assert outcome(journal, content, code) == words


@pytest.mark.parametrize(("content", "code", "words"), [
    ("ext4", 4, "errors were left that need a person's decision"), ("ext4", 6, "errors were left"), ("ext4", 8, "could not do its work"),
    ("ext4", 12, "errors were left"), ("ext4", 16, "e2fsck ended with code 16"), ("ext4", 124, "e2fsck took longer than 420 seconds"),
    ("xfs", 1, "xfs_repair could not end its work"), ("xfs", 2, "its log was never replayed"), ("btrfs", 1, "never repaired"), ("btrfs", 127, "btrfs was not found"),
])
def test_codes_of_failure_become_the_reason(journal: Journal, content: str, code: int, words: str) -> None:
    with pytest.raises(Failed) as failed:
        outcome(journal, content, code)
    assert words in failed.value.reason and "it said this" in failed.value.tail


def test_an_owner_may_have_the_own_vps_checked_and_no_other() -> None:
    owner = Caller("xen01", Role.OWNER, vps=VPS)
    call = prepare("fsckVPSpartition", [("vpsname", "xen01")], SETTINGS, owner, rpc=True)
    assert call.vps == VPS and NeedDisks(VPS, content=True) in call.needs
    with pytest.raises(NotAllowed):
        prepare("fsckVPSpartition", [("vpsname", "02")], SETTINGS, owner, rpc=True)
    with pytest.raises(NotAllowed):
        prepare("fsckVPSpartition", [("vpsname", "01")], SETTINGS, Caller("watcher", Role.MONITOR), rpc=True)
