"""Volumes as surveyed: whose they are by name and group, never used or not, open or not; LVM absent, or dumb."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dtcxen_soap.facts import DiskFact, KeptDisk, Leftover, LvmFact, NeedDisks, NeedKept, ThinPool, VolumeGroup
from dtcxen_soap.journal import Journal
from dtcxen_soap.processes import Ran
from dtcxen_soap.settings import load
from dtcxen_soap.survey import volumes as survey
from dtcxen_soap.survey.survey import Survey
from dtcxen_soap.vps import DiskRole, ImageType, Mib, VpsId
from tests.fakes import FakeVolume, ScriptedDom0

GIB = 1 << 30
VPS, LVM = VpsId(1), ImageType.LVM
SETTINGS = load("provisioning_volgroup=vg0").settings
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STAMP = "20260102T030405Z"
BLANK, EXT4 = Ran(2, ""), "TYPE=ext4\n"


@pytest.fixture
def dom0() -> ScriptedDom0:
    made = ScriptedDom0({"blkid": BLANK})
    made.vgs = {"vg0": 100 * GIB}
    return made


def have(dom0: ScriptedDom0, *names: str, vg: str = "vg0", size: int = 1024, **more: object) -> None:
    for name in names:
        dom0.volumes[vg, name] = FakeVolume(Mib(size), **more)  # type: ignore[arg-type]


def disks(dom0: ScriptedDom0, *named: str, vps: VpsId = VPS, config: str = "provisioning_volgroup=vg0") -> tuple[DiskFact, ...]:
    return survey.disks(dom0, survey.volumes(dom0), load(config).settings, vps, named)


def test_a_node_without_lvm_has_no_groups_and_no_trouble() -> None:
    assert survey.volumes(ScriptedDom0()) == survey.Volumes(LvmFact())


def test_who_is_not_root_has_no_volumes_and_asks_nobody(dom0: ScriptedDom0) -> None:
    """LVM answers nobody else: an unprivileged node has image files only, and they must not suffer from that."""
    dom0.root, dom0.answers["vgs"] = False, Ran(5, "")
    assert survey.volumes(dom0) == survey.Volumes(LvmFact()) and dom0.calls == []


@pytest.mark.parametrize(("command", "answer", "said"), [
    ("vgs", Ran(5, ""), "vgs ended with code 5"), ("lvs", Ran(5, ""), "lvs ended with code 5"), ("lvs", Ran(127, ""), "lvs ended with code 127"),
    ("lvs", Ran(124, ""), "lvs ended with code 124"), ("vgs", "", "Expecting value"), ("lvs", '{"report":[{}]}', "not a report of lvs")])
def test_no_answer_is_trouble_and_never_no_volumes(dom0: ScriptedDom0, command: str, answer: Ran | str, said: str) -> None:
    dom0.answers[command] = answer
    assert said in survey.volumes(dom0).fact.trouble


def test_groups_and_pools(dom0: ScriptedDom0) -> None:
    have(dom0, "pool", size=20 << 10, kind="thin-pool", percent="50.00")
    have(dom0, "xen01", size=12 << 10, pool="pool", percent="25.00")
    assert survey.volumes(dom0).fact == LvmFact((VolumeGroup("vg0", 100 * GIB, 4 << 20, (ThinPool("pool", 20 * GIB, 10 * GIB, 9 * GIB, True),)),))


def test_xen1_is_not_xen10(dom0: ScriptedDom0) -> None:
    have(dom0, "xen10", "xen10swap", "xen1", "xen010", "xen01-copy", "xen011", "xen01swap2", "axen01", "xen01.kept.1", f"xen10.kept.1.{STAMP}", "xen10.new")
    found = survey.volumes(dom0)
    assert disks(dom0) == () and survey.leftovers(found, SETTINGS, VPS, ()) == () and survey.kept(found, VPS, 1) == ()
    assert [disk.path for disk in disks(dom0, vps=VpsId(10))] == ["/dev/vg0/xen10", "/dev/vg0/xen10swap"]


def test_an_ordinary_volume_is_blank_by_our_mark_and_by_having_no_signature(dom0: ScriptedDom0) -> None:
    have(dom0, "xen01", tags={"dtcxen.unused"})
    have(dom0, "xen01swap")
    assert disks(dom0) == (DiskFact(DiskRole.ROOT, "/dev/vg0/xen01", GIB, True, image_type=LVM), DiskFact(DiskRole.SWAP, "/dev/vg0/xen01swap", GIB, False, image_type=LVM))
    dom0.answers["blkid"] = EXT4
    assert [disk.blank for disk in disks(dom0)] == [False, False], "used without our knowing"


def test_what_is_not_overwritten_yet_nobody_has_seen(dom0: ScriptedDom0) -> None:
    have(dom0, "xen01", tags={"dtcxen.unused", "dtcxen.unzeroed"})
    dom0.answers["blkid"] = EXT4
    (disk,) = disks(dom0)
    assert (disk.blank, disk.unzeroed) == (True, True)


@pytest.mark.parametrize(("percent", "blank"), [("0.00", True), ("0.01", False), ("100.00", False)])
def test_a_thin_volume_is_blank_while_it_has_no_data(dom0: ScriptedDom0, percent: str, blank: bool) -> None:
    have(dom0, "xen01", pool="pool", percent=percent, tags={"dtcxen.unused"} if not blank else set())
    (disk,) = disks(dom0)
    assert (disk.blank, disk.pool, disk.unzeroed) == (blank, "pool", False)
    assert ("capture", "blkid") not in [(call[0], call[1][0]) for call in dom0.calls if isinstance(call[1], tuple)], "it tells by itself"


def test_content_is_looked_at_only_where_our_mark_is(dom0: ScriptedDom0) -> None:
    have(dom0, "xen01", "xen01swap")
    have(dom0, "xen02", tags={"dtcxen.unused"})
    disks(dom0)
    assert not [call for call in dom0.calls if "blkid" in str(call)]


def test_who_has_it_open_is_told(dom0: ScriptedDom0, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "PATIENCE_SECONDS", 0)
    have(dom0, "xen01", "xen01swap", is_open=True)
    dom0.claimed = {"/dev/vg0/xen01": ("mounted on /mnt",), "/dev/vg0/xen01swap": ("open, as the disk of a running domU is",)}
    assert [disk.in_use for disk in disks(dom0)] == ["mounted on /mnt", "open, as the disk of a running domU is"]


def test_what_only_looks_into_it_does_not_use_it(dom0: ScriptedDom0, monkeypatch: pytest.MonkeyPatch) -> None:
    have(dom0, "xen01", is_open=True)
    looks: list[Callable[[], tuple[str, ...]]] = [lambda: ("open in pid 9 (blkid)",), lambda: ()]
    monkeypatch.setattr(dom0, "claims", lambda path: looks.pop(0)())
    assert [disk.in_use for disk in disks(dom0)] == [""] and not looks


def test_a_volume_that_is_not_open_costs_no_look(dom0: ScriptedDom0, monkeypatch: pytest.MonkeyPatch) -> None:
    have(dom0, "xen01")
    monkeypatch.delattr(ScriptedDom0, "claims")
    monkeypatch.setattr("dtcxen_soap.dom0.Dom0.claims", lambda self, path: pytest.fail("asked"))
    assert disks(dom0)


# -- the right group ------------------------------------------------------------------------------


def test_an_admins_copy_in_another_group_is_nobodys(dom0: ScriptedDom0) -> None:
    dom0.vgs["backup"] = GIB
    have(dom0, "xen01", "xen01.old", vg="backup")
    found = survey.volumes(dom0)
    assert disks(dom0) == () and survey.leftovers(found, SETTINGS, VPS, ()) == ()
    for config in ("", "provisioning_volgroup=nosuch"):
        assert disks(dom0, config=config) == (), "nobody says which group is ours"


@pytest.mark.parametrize("named", ["/dev/my-vg/xen01", "/dev/mapper/my--vg-xen01"])
def test_unless_the_domus_configuration_names_it(dom0: ScriptedDom0, named: str) -> None:
    dom0.vgs["my-vg"] = GIB
    have(dom0, "xen01", "xen01.new", vg="my-vg")
    assert [disk.path for disk in disks(dom0, named)] == ["/dev/my-vg/xen01"]
    assert survey.leftovers(survey.volumes(dom0), SETTINGS, VPS, (named,)) == (Leftover("/dev/my-vg/xen01.new", LVM),)


def test_a_foreign_volume_in_a_configuration_makes_its_group_nobodys_home(dom0: ScriptedDom0) -> None:
    dom0.vgs["data"] = GIB
    have(dom0, "shop", "xen01", vg="data")
    assert disks(dom0, "/dev/data/shop") == ()


# -- kept, doomed, left ---------------------------------------------------------------------------


def test_kept_volumes_belong_to_a_tenancy(dom0: ScriptedDom0) -> None:
    have(dom0, f"xen01.kept.2.{STAMP}", f"xen01swap.kept.2.{STAMP}", f"xen01.kept.3.{STAMP}", f"xen02.kept.2.{STAMP}", f"xen01.kept.2.{STAMP}.bak")
    have(dom0, f"xen07.kept.1.{STAMP}", pool="pool")
    found = survey.volumes(dom0)
    mine = (KeptDisk(f"/dev/vg0/xen01.kept.2.{STAMP}", GIB, NOW, image_type=LVM), KeptDisk(f"/dev/vg0/xen01swap.kept.2.{STAMP}", GIB, NOW, DiskRole.SWAP, LVM))
    assert survey.kept(found, VPS, 2) == mine
    assert len(survey.all_kept(found)) == 5 and survey.all_kept(found)[-1].pool == "pool"


def test_the_doomed_are_ours(dom0: ScriptedDom0) -> None:
    have(dom0, "xen01.doomed.20260102T030405000001Z", f"xen01.kept.1.{STAMP}.doomed.20260102T030405000001Z", "data.doomed.20260102T030405000001Z", "xen01")
    assert survey.doomed(survey.volumes(dom0)) == (
        "/dev/vg0/xen01.doomed.20260102T030405000001Z", f"/dev/vg0/xen01.kept.1.{STAMP}.doomed.20260102T030405000001Z")


def test_leftovers(dom0: ScriptedDom0) -> None:
    have(dom0, "xen01", "xen01.new", "xen01.old", "xen01swap.failed", "xen01.newer", "xen02.new")
    assert survey.leftovers(survey.volumes(dom0), SETTINGS, VPS, ()) == tuple(Leftover(f"/dev/vg0/{name}", LVM) for name in ("xen01.new", "xen01.old", "xen01swap.failed"))


# -- both kinds together --------------------------------------------------------------------------


def scene(tmp_path: Path, dom0: ScriptedDom0, config: str = "") -> Survey:
    settings = load(f"provisioning_mount_point=/m\nxen_config_dir=/x\ntoolstack=none\n{config}").settings
    return Survey(settings, dom0, Journal(str(tmp_path / "journal.sqlite")), lambda vps: "", lambda: NOW)


@pytest.mark.parametrize(("config", "domu", "first"), [
    ("", "", "/dev/vg0/xen01"), ("default_image_type=vbd", "", "/m/xen01.img"),
    ("default_image_type=vbd", 'disk = ["phy:/dev/vg0/xen01,xvda,w"]', "/dev/vg0/xen01"), ("", 'disk = ["file:/m/xen01.img,xvda,w"]', "/m/xen01.img")])
def test_the_disk_that_counts_is_the_one_that_the_configuration_names(tmp_path: Path, dom0: ScriptedDom0, config: str, domu: str, first: str) -> None:
    have(dom0, "xen01")
    dom0.allocate_file("/m/xen01.img", GIB, False)
    if domu:
        dom0.memory.put("/x/xen01", domu.encode(), 0o600)
    found = scene(tmp_path, dom0, config).fill((NeedDisks(VPS),))
    assert len(found.disks) == 2 and found.disk(DiskRole.ROOT) == found.disks[0] and found.disks[0].path == first
    assert [group.name for group in found.lvm.groups] == ["vg0"]


def test_kept_and_doomed_of_the_node(tmp_path: Path, dom0: ScriptedDom0) -> None:
    have(dom0, f"xen01.kept.2.{STAMP}", "xen05.doomed.20260102T030405000001Z")
    dom0.allocate_file(f"/m/kept/xen02.img.1.{STAMP}", GIB, False)
    found = scene(tmp_path, dom0).fill((NeedKept(),))
    assert [kept.path for kept in found.kept] == [f"/m/kept/xen02.img.1.{STAMP}", f"/dev/vg0/xen01.kept.2.{STAMP}"]
    assert found.doomed == ("/dev/vg0/xen05.doomed.20260102T030405000001Z",) and found.lvm.groups
