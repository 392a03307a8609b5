"""Plans of setup and kill: nothing of an earlier tenant is overwritten, shown or lost by luck."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dtcxen_soap import disks
from dtcxen_soap.answers import DisksReady, DisksRemoved
from dtcxen_soap.errors import Busy, Failed, Refused
from dtcxen_soap.facts import DiskFact, DomuFact, Facts, KeptDisk, Leftover, Room, TenancyFact
from dtcxen_soap.plans import AllocateFile, BlockVps, NextTenancy, Plan, RemoveFile, RenameFile, walk
from dtcxen_soap.requests import KillDisk, SetupDisk
from dtcxen_soap.settings import load
from dtcxen_soap.vps import DiskRole, ImageType, Mib, VpsId

GIB = 1 << 30
SETTINGS = load("provisioning_mount_point=/m\nxen_config_dir=/x\ndefault_image_type=vbd").settings
REQUEST = SetupDisk(vps=VpsId(1), disk_size=Mib(2048), swap_size=Mib(256))
KILL = KillDisk(vps=VpsId(1))
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def root(blank=True, size=2 * GIB, in_use=""):
    return DiskFact(DiskRole.ROOT, "/m/xen01.img", size, blank, in_use)


def swap(blank=True):
    return DiskFact(DiskRole.SWAP, "/m/xen01.swap.img", 256 << 20, blank)


def facts(*found, room=100 * GIB, **more):
    return Facts(now=NOW, disks=found, room=Room(room), **more)


def kinds(plan):
    assert isinstance(plan, Plan)
    return [type(step).__name__ for step in plan.steps]


def test_a_new_vps_gets_both_disks_and_each_can_be_undone():
    plan = disks.plan_setup(REQUEST, SETTINGS, facts())
    assert kinds(plan) == ["MakeDirectory", "AllocateFile", "AllocateFile"]
    made = [step for step in plan.steps if isinstance(step, AllocateFile)]
    assert [(step.path, step.size, step.sparse) for step in made] == [("/m/xen01.img", 2048, False), ("/m/xen01.swap.img", 256, False)]
    assert [step.undo[0].path for step in made if isinstance(step.undo[0], RemoveFile)] == [step.path for step in made]
    assert plan.answer == DisksReady(True, ("/m/xen01.img", "/m/xen01.swap.img"))


def test_no_swap_wanted_none_made():
    plan = disks.plan_setup(SetupDisk(vps=VpsId(1), disk_size=Mib(2048), swap_size=Mib(0)), SETTINGS, facts())
    assert kinds(plan) == ["MakeDirectory", "AllocateFile"]


@pytest.mark.parametrize("planner", [disks.plan_setup, disks.plan_setup_replacing])
def test_unused_disks_of_those_sizes_are_success_and_untouched(planner):
    assert planner(REQUEST, SETTINGS, facts(root(), swap())) == DisksReady(False, ("/m/xen01.img", "/m/xen01.swap.img"))


@pytest.mark.parametrize("found", [(root(blank=False), swap()), (root(size=GIB), swap()), (root(), swap(blank=False))], ids=["used", "other size", "used swap"])
def test_any_other_disk_is_refused_with_the_way_out(found):
    with pytest.raises(Refused, match=r"setupVPSDisk: vps: VPS 01 has a .* already, expected .*killVPSDisk"):
        disks.plan_setup(REQUEST, SETTINGS, facts(*found))


def test_a_swap_disk_that_is_not_wanted_is_refused():
    with pytest.raises(Refused):
        disks.plan_setup(SetupDisk(vps=VpsId(1), disk_size=Mib(2048), swap_size=Mib(0)), SETTINGS, facts(root(), swap()))


def test_what_is_missing_is_made():
    plan = disks.plan_setup(REQUEST, SETTINGS, facts(root()))
    assert [step.path for step in plan.steps if isinstance(step, AllocateFile)] == ["/m/xen01.swap.img"]


def test_the_panels_call_sets_a_foreign_disk_aside_under_a_name_that_nothing_starts():
    plan = disks.plan_setup_replacing(REQUEST, SETTINGS, facts(root(blank=False), swap(blank=False), tenancy=TenancyFact(4)))
    assert kinds(plan) == ["MakeDirectory", "MustBeFree", "RenameFile", "RenameFile", "NextTenancy", "AllocateFile", "AllocateFile", "RemoveFile", "RemoveFile", "RemoveBelow"]
    moved = [step for step in plan.steps if isinstance(step, RenameFile)]
    assert [step.target for step in moved] == ["/m/kept/xen01.img.4.20260102T030405Z", "/m/kept/xen01.swap.img.4.20260102T030405Z"]
    for step in moved:
        back = step.undo[0]
        assert isinstance(back, RenameFile) and (back.source, back.target) == (step.target, step.source)


def test_without_room_to_set_aside_the_vps_is_blocked():
    plan = disks.plan_setup_replacing(REQUEST, SETTINGS, facts(root(blank=False), room=GIB))
    assert kinds(plan) == ["BlockVps"] and isinstance(plan.answer, Refused)
    assert isinstance(plan.steps[0], BlockVps) and "no room" in plan.steps[0].reason


@pytest.mark.parametrize("planner", [disks.plan_setup, disks.plan_setup_replacing])
def test_more_than_is_free_is_refused_unless_overcommitted(planner):
    tight = facts(room=2 * GIB)
    with pytest.raises(Refused, match="256 MiB more than /m has free"):
        planner(REQUEST, SETTINGS, tight)
    generous = load("provisioning_mount_point=/m\ndefault_image_type=vbd\novercommit=yes").settings
    plan = planner(REQUEST, generous, tight)
    assert all(step.sparse for step in plan.steps if isinstance(step, AllocateFile))


def test_what_sparse_disks_may_still_grow_by_is_not_free():
    with pytest.raises(Refused):
        disks.plan_setup(REQUEST, SETTINGS, Facts(now=NOW, room=Room(10 * GIB, promised_bytes=9 * GIB)))


@pytest.mark.parametrize("planner", [disks.plan_setup, disks.plan_setup_replacing])
def test_lvm_is_refused_where_there_is_none(planner):
    with pytest.raises(Refused, match="lvm: this node has no volume group"):
        planner(SetupDisk(vps=VpsId(1), disk_size=Mib(2048), swap_size=Mib(0), image_type=ImageType.LVM), SETTINGS, facts())


@pytest.mark.parametrize(("planner", "request_"), [(disks.plan_setup, REQUEST), (disks.plan_setup_replacing, REQUEST), (disks.plan_kill, KILL)])
def test_nothing_while_it_runs_or_is_held(planner, request_):
    with pytest.raises(Busy, match="xen01 is running"):
        planner(request_, SETTINGS, facts(root(False), domu=DomuFact(True, "running")))
    with pytest.raises(Failed, match="xl ended with code 1"):
        planner(request_, SETTINGS, facts(root(False), domu=DomuFact(True, trouble="xl ended with code 1")))
    with pytest.raises(Busy, match="mounted on /mnt"):
        planner(request_, SETTINGS, facts(root(False, in_use="mounted on /mnt")))


def test_kill_removes_all_that_the_vps_has_and_no_other_vps():
    kept = KeptDisk("/m/kept/xen01.img.0.20260101T000000Z", GIB, NOW)
    plan = disks.plan_kill(KILL, SETTINGS, facts(root(False), swap(), kept=(kept,), leftovers=(Leftover("/m/xen01.img.new"),), domu=DomuFact(True)))
    assert isinstance(plan, Plan)
    removed = [step.path for step in walk(plan.steps) if isinstance(step, RemoveFile)]
    assert removed == ["/x/auto/xen01", "/x/xen01", "/x/xen01.previous", "/x/xen01.kept",
                       "/x/xen01.moved", f"{SETTINGS.state_dir}/moves/xen01.leaving", "/x/xen01.arriving", f"{SETTINGS.state_dir}/moves/xen01.arriving",
                       "/x/xen01.new", "/x/xen01.old", "/x/xen01.failed",
                       f"{SETTINGS.ttyssh_home}/.isos/xen01.iso", f"{SETTINGS.state_dir}/screens/xen01.vnc",
                       "/x/xen01.rescue",
                       f"{SETTINGS.state_dir}/rescue/xen01.seed", "/x/xen01.single",
                       f"{SETTINGS.state_dir}/seeds/xen01.iso", f"{SETTINGS.state_dir}/seeds/xen01.told", "/m/xen01.img", "/m/xen01.swap.img", kept.path, "/m/xen01.img.new"]
    assert all(step.destroys for step in plan.steps if isinstance(step, RemoveFile) and step.path.startswith("/m/"))
    assert any(isinstance(step, NextTenancy) for step in plan.steps)
    assert plan.answer == DisksRemoved(tuple(removed[18:]))


def test_kill_twice_is_fine():
    assert disks.plan_kill(KILL, SETTINGS, facts()) == DisksRemoved(())


def test_kill_lifts_the_block():
    plan = disks.plan_kill(KILL, SETTINGS, facts(root(False), tenancy=TenancyFact(1, "no room")))
    assert isinstance(plan, Plan) and isinstance(plan.steps[-1], BlockVps) and plan.steps[-1].reason == ""


def test_disks_kept_long_enough_are_removed_and_no_others():
    old, fresh = KeptDisk("/m/kept/a", GIB, NOW - timedelta(hours=24)), KeptDisk("/m/kept/b", GIB, NOW - timedelta(hours=23))
    plan = disks.plan_purge(SETTINGS, facts(kept=(old, fresh)))
    assert plan and [step.path for step in plan.steps if isinstance(step, RemoveFile)] == ["/m/kept/a"]
    assert disks.plan_purge(SETTINGS, facts(kept=(fresh,))) is None
