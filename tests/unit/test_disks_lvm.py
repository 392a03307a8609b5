"""Setup, set-aside, removal and housekeeping on volumes and on both kinds at once: golden plans, and each rule by itself."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dtcxen_soap import disks
from dtcxen_soap.answers import DisksReady, DisksRemoved
from dtcxen_soap.errors import Busy, Failed, Refused
from dtcxen_soap.facts import DiskFact, DomuFact, Facts, KeptDisk, Leftover, LvmFact, Room, TenancyFact, ThinPool, VolumeGroup
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import (
    AllocateFile,
    BlockVps,
    MakeVolume,
    MustBeFree,
    Plan,
    RemoveFile,
    RemoveVolume,
    RenameFile,
    RenameVolume,
    Run,
    Step,
    TagVolume,
    WaitGone,
    walk,
)
from dtcxen_soap.requests import KillDisk, SetupDisk
from dtcxen_soap.settings import load
from dtcxen_soap.vps import Disk, DiskRole, ImageType, Mib, VpsId

GIB, MIB = 1 << 30, 1 << 20
SETTINGS = load("provisioning_mount_point=/m\nxen_config_dir=/x").settings
VPS = VpsId(1)
REQUEST, KILL = SetupDisk(vps=VPS, disk_size=Mib(2048), swap_size=Mib(255)), KillDisk(vps=VPS)
FILES = dataclasses.replace(REQUEST, image_type=ImageType.VBD)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
GROUP = VolumeGroup("vg0", 100 * GIB, 4 * MIB)
THIN = dataclasses.replace(GROUP, pools=(ThinPool("pool", 50 * GIB, 50 * GIB, 0, True),))
PLANNERS = pytest.mark.parametrize("planner", [disks.plan_setup, disks.plan_setup_replacing])


def volume(role: DiskRole = DiskRole.ROOT, blank: bool = True, size: int = 2 * GIB, path: str = "", **more: Any) -> DiskFact:
    return DiskFact(role, path or ("/dev/vg0/xen01" if role is DiskRole.ROOT else "/dev/vg0/xen01swap"), size, blank, image_type=ImageType.LVM, **more)


def swap(**more: Any) -> DiskFact:
    return volume(DiskRole.SWAP, size=256 * MIB, **more)


def facts(*found: DiskFact, group: VolumeGroup = GROUP, **more: Any) -> Facts:
    return Facts(now=NOW, disks=found, room=Room(100 * GIB), lvm=LvmFact((group,)), **{"tenancy": TenancyFact(4), **more})


def planned(made: Plan | DisksReady | DisksRemoved | None) -> Plan:
    assert isinstance(made, Plan)
    return made


def kinds(steps: tuple[Step, ...]) -> list[type]:
    return [type(step) for step in steps]


def told(plan: Plan) -> str:
    return "\n".join(render(plan)) + "\n"


KEPT = KeptDisk("/dev/vg0/xen01.kept.4.20260101T030405Z", GIB, NOW - timedelta(hours=24), image_type=ImageType.LVM)
OLD_TENANT = facts(volume(blank=False), swap(blank=False))
EVERYTHING = facts(
    volume(blank=False), swap(), DiskFact(DiskRole.ROOT, "/m/xen01.img", GIB, False), kept=(KEPT,), domu=DomuFact(True, toolstack=True),
    leftovers=(Leftover("/dev/vg0/xen01.new", ImageType.LVM), Leftover("/m/xen01.img.old")))


@pytest.mark.parametrize(("name", "plan"), [
    ("setup-lvm-thick", lambda: disks.plan_setup(REQUEST, SETTINGS, facts())),
    ("setup-lvm-thin", lambda: disks.plan_setup(REQUEST, SETTINGS, facts(group=THIN))),
    ("setup-lvm-resumed", lambda: disks.plan_setup(REQUEST, SETTINGS, facts(volume(), swap(unzeroed=True)))),
    ("setup-replacing-lvm", lambda: disks.plan_setup_replacing(REQUEST, SETTINGS, OLD_TENANT)),
    ("kill-lvm", lambda: disks.plan_kill(KILL, SETTINGS, EVERYTHING)),
    ("purge-lvm", lambda: disks.plan_purge(SETTINGS, facts(kept=(KEPT, KeptDisk("/m/kept/a", GIB, KEPT.kept_since)), doomed=("/dev/vg0/xen05.doomed.20260101T000000000000Z",)))),
])
def test_plans(golden: Any, name: str, plan: Any) -> None:
    golden(f"plans/{name}.txt", told(planned(plan())))


# -- setup ----------------------------------------------------------------------------------------


@PLANNERS
def test_setup_answers_before_anything_is_overwritten(planner: Any) -> None:
    plan = planned(planner(REQUEST, SETTINGS, facts()))
    assert kinds(plan.steps) == [MakeVolume, MakeVolume] and plan.answer == DisksReady(True, ("/dev/vg0/xen01", "/dev/vg0/xen01swap"))
    assert plan.later and kinds(plan.later.steps) == [MustBeFree, Run, TagVolume, Run, TagVolume]


@PLANNERS
def test_a_pool_that_zeroes_leaves_nothing_for_later(planner: Any) -> None:
    plan = planned(planner(REQUEST, SETTINGS, facts(group=THIN)))
    assert [step.pool for step in plan.steps if isinstance(step, MakeVolume)] == ["pool", "pool"] and plan.later is None


@PLANNERS
def test_setup_again_is_success_once_the_disks_are_clean_and_goes_on_with_it_before(planner: Any) -> None:
    there = (volume(), swap())
    assert planner(REQUEST, SETTINGS, facts(*there)) == DisksReady(False, ("/dev/vg0/xen01", "/dev/vg0/xen01swap"))
    plan = planned(planner(REQUEST, SETTINGS, facts(volume(unzeroed=True), swap())))
    assert plan.steps == () and plan.answer == DisksReady(False, ("/dev/vg0/xen01", "/dev/vg0/xen01swap"))
    assert plan.later and [step.argv[-1] for step in plan.later.steps if isinstance(step, Run)] == ["/dev/vg0/xen01"]


def test_what_is_missing_is_made_and_what_is_unclean_overwritten() -> None:
    plan = planned(disks.plan_setup(REQUEST, SETTINGS, facts(volume(unzeroed=True))))
    assert [step.lv for step in plan.steps if isinstance(step, MakeVolume)] == ["xen01swap"]
    assert plan.later and [step.argv[-1] for step in plan.later.steps if isinstance(step, Run)] == ["/dev/vg0/xen01swap", "/dev/vg0/xen01"]


@pytest.mark.parametrize(("request_", "found"), [
    (REQUEST, volume(blank=False)), (REQUEST, volume(size=4 * GIB)), (REQUEST, DiskFact(DiskRole.ROOT, "/m/xen01.img", 2 * GIB, True)),
    (REQUEST, volume(path="/dev/backup/xen01")), (FILES, volume())], ids=["used", "other size", "a file", "other group", "a volume"])
def test_any_other_disk_of_either_kind_is_refused_or_set_aside(request_: SetupDisk, found: DiskFact) -> None:
    both = facts(found)
    both = dataclasses.replace(both, lvm=LvmFact((GROUP, VolumeGroup("backup", GIB, 4 * MIB))))
    settings = load("provisioning_mount_point=/m\nprovisioning_volgroup=vg0").settings
    with pytest.raises(Refused, match="has a root disk of .*killVPSDisk"):
        disks.plan_setup(request_, settings, both)
    plan = planned(disks.plan_setup_replacing(request_, settings, both))
    aside = [step for step in plan.steps if isinstance(step, RenameVolume | RenameFile)]
    assert len(aside) == 1 and ".4.20260102T030405Z" in aside[0].target and aside[0].undo
    free = next(place for place, step in enumerate(plan.steps) if isinstance(step, MustBeFree))
    assert free < plan.steps.index(aside[0]) and isinstance(plan.steps[free], MustBeFree) and plan.steps[free].paths == (found.path,)  # type: ignore[union-attr]
    assert len([step for step in plan.steps if isinstance(step, MakeVolume | AllocateFile)]) == 2


@PLANNERS
def test_room_is_counted_in_whole_extents_with_what_others_take(planner: Any) -> None:
    exactly = dataclasses.replace(GROUP, free_bytes=(2048 + 256) * MIB)
    assert planned(planner(REQUEST, SETTINGS, facts(group=exactly)))
    with pytest.raises(Refused, match="4 MiB more than volume group vg0 has free"):
        planner(REQUEST, SETTINGS, facts(group=exactly, reserved={"vg0": 4 * MIB}))


def test_no_room_to_set_aside_blocks_the_number() -> None:
    full = dataclasses.replace(OLD_TENANT, lvm=LvmFact((dataclasses.replace(GROUP, free_bytes=GIB),)))
    plan = planned(disks.plan_setup_replacing(REQUEST, SETTINGS, full))
    assert kinds(plan.steps) == [BlockVps] and isinstance(plan.answer, Refused) and "1280 MiB are lacking" in str(plan.answer)


@PLANNERS
@pytest.mark.parametrize("request_", [REQUEST, FILES])
def test_without_lvms_word_nothing_is_absent(planner: Any, request_: SetupDisk) -> None:
    dumb = dataclasses.replace(facts(), lvm=LvmFact(trouble="lvs ended with code 5"))
    with pytest.raises(Failed, match="lvs ended with code 5"):
        planner(request_, SETTINGS, dumb)
    with pytest.raises(Failed, match="lvs ended with code 5"):
        disks.plan_kill(KILL, SETTINGS, dumb)


def test_a_disk_as_the_configuration_names_it() -> None:
    assert disks.disk(swap()) == Disk(DiskRole.SWAP, ImageType.LVM, "/dev/vg0/xen01swap")


# -- kill -----------------------------------------------------------------------------------------


def test_kill_ends_whatever_holds_the_tenants_data_and_names_nothing_else() -> None:
    plan = planned(disks.plan_kill(KILL, SETTINGS, EVERYTHING))
    doomed = [step.source for step in plan.steps if isinstance(step, RenameVolume)]
    assert doomed == ["xen01", "xen01swap", "xen01.kept.4.20260101T030405Z", "xen01.new"] and plan.leaves_work
    files = [step.path for step in plan.steps if isinstance(step, RemoveFile)]
    assert {"/x/auto/xen01", "/x/xen01", "/x/xen01.previous", "/x/xen01.rescue", "/x/xen01.single"} < set(files)
    assert files[-2:] == ["/m/xen01.img", "/m/xen01.img.old"]
    assert len(planned(plan).answer.removed) == 6 and all("doomed" not in path for path in plan.answer.removed)


def test_nothing_is_touched_before_the_last_look() -> None:
    plan = planned(disks.plan_kill(KILL, SETTINGS, EVERYTHING))
    look = plan.steps[0]
    assert isinstance(look, MustBeFree) and look.toolstack and set(look.paths) == set(plan.answer.removed)


@pytest.mark.parametrize(("config", "thin"), [("wipe_disks=no", ""), ("", "pool")])
def test_what_needs_no_wiping_goes_at_once(config: str, thin: str) -> None:
    plan = planned(disks.plan_kill(KILL, load(config).settings, facts(volume(blank=False, pool=thin), group=THIN)))
    assert [step for step in plan.steps if isinstance(step, RemoveVolume)] and not plan.leaves_work


@pytest.mark.parametrize("state", ["dying", "shutdown"])
def test_a_domu_that_is_going_is_waited_for_though_it_still_has_its_disk_open(state: str) -> None:
    found = facts(volume(blank=False, in_use="open, as the disk of a running domU is"), domu=DomuFact(True, state, toolstack=True))
    plan = planned(disks.plan_kill(KILL, SETTINGS, found))
    assert kinds(plan.steps)[:2] == [WaitGone, MustBeFree] and isinstance(plan.steps[0], WaitGone) and plan.steps[0].seconds == 20
    for state in ("running", "crashed", "paused"):
        with pytest.raises(Busy, match=f"xen01 is {state}"):
            disks.plan_kill(KILL, SETTINGS, dataclasses.replace(found, domu=DomuFact(True, state, toolstack=True)))
    for planner in (disks.plan_setup, disks.plan_setup_replacing):
        with pytest.raises(Busy):
            planner(REQUEST, SETTINGS, found)


def test_an_open_disk_of_a_vps_that_does_not_run_is_busy() -> None:
    with pytest.raises(Busy, match="/dev/vg0/xen01 is in use: open in pid 9"):
        disks.plan_kill(KILL, SETTINGS, facts(volume(blank=False, in_use="open in pid 9 (dd)")))


# -- housekeeping ---------------------------------------------------------------------------------


def test_each_disk_of_the_housekeeping_is_for_itself() -> None:
    file = KeptDisk("/m/kept/a", GIB, KEPT.kept_since)
    thin = dataclasses.replace(KEPT, path="/dev/vg0/xen02.kept.1.20260101T030405Z", pool="pool")
    plan = planned(disks.plan_purge(SETTINGS, facts(group=THIN, kept=(KEPT, file, thin), doomed=("/dev/vg0/xen05.doomed.20260101T000000000000Z",))))
    assert all(step.may_fail for step in walk(plan.steps))
    renamed, wiped, removed, gone, doomed = plan.steps
    assert isinstance(renamed, RenameVolume) and isinstance(wiped, RemoveVolume) and wiped.lv == renamed.target and wiped.wipe
    assert isinstance(removed, RemoveFile) and isinstance(gone, RemoveVolume) and not gone.wipe and gone.destroys
    assert isinstance(doomed, RemoveVolume) and doomed.wipe and doomed.lv.startswith("xen05.doomed")


def test_fresh_ones_stay() -> None:
    assert disks.plan_purge(SETTINGS, facts(kept=(dataclasses.replace(KEPT, kept_since=NOW),))) is None
