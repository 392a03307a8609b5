"""Starting and ending domUs: what is refused and how, and plans that can be read aloud."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from dtcxen_soap import power
from dtcxen_soap.errors import Failed, Missing, Refused
from dtcxen_soap.facts import DiskFact, DomuFact, Facts, LvmFact, MemoryFact, NeedDisks, NeedDomu, NeedMemory, NeedTenancy, TenancyFact, VolumeGroup
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import MEMORY, EndDomu, Plan, Run, TagVolume, taking
from dtcxen_soap.requests import OneVps
from dtcxen_soap.settings import load
from dtcxen_soap.vps import BootMode, DiskRole, ImageType, Mib, VpsId
from dtcxen_soap.xen import xl

VPS = VpsId(1)
ASKED = OneVps(vps=VPS)
SETTINGS = load("xen_config_dir=/x\nprovisioning_mount_point=/m").settings
STOPPED = DomuFact(True, toolstack=True, paths=("/m/xen01.img",), config_memory=Mib(256), config_vcpus=1, boot=BootMode.PVH_GRUB)
RUNNING = dataclasses.replace(STOPPED, state="blocked", domid=3)
DISK = DiskFact(DiskRole.ROOT, "/m/xen01.img", 1 << 30, blank=False)
NODE = Facts(datetime(2026, 11, 23, 5, tzinfo=UTC), disks=(DISK,), domu=STOPPED, memory=MemoryFact(Mib(1000), Mib(4095)), tenancy=TenancyFact(1))
PLANNERS = {"startVPS": power.plan_start, "shutdownVPS": power.plan_shutdown, "rebootVPS": power.plan_reboot, "destroyVPS": power.plan_destroy}


def node(**changed: Any) -> Facts:
    """A node that could start the VPS, but for what is said."""
    return dataclasses.replace(NODE, **changed)


def domu(**changed: Any) -> Facts:
    return node(domu=dataclasses.replace(STOPPED, **changed))


@pytest.mark.parametrize(("operation", "facts"), [
    ("startVPS", NODE), ("shutdownVPS", node(domu=RUNNING)), ("rebootVPS", node(domu=RUNNING)), ("destroyVPS", node(domu=RUNNING))])
def test_plans(operation: str, facts: Facts, golden: Any) -> None:
    plan = PLANNERS[operation](ASKED, SETTINGS, facts)
    assert isinstance(plan, Plan)
    golden(f"plans/{operation}.txt", "\n".join(render(plan)) + "\n")


@pytest.mark.parametrize(("operation", "message"), [
    ("startVPS", "Started xen01"), ("shutdownVPS", "Shutdown xen01"), ("rebootVPS", "Rebooting xen01"), ("destroyVPS", "Destroyed xen01")])
def test_answers(operation: str, message: str) -> None:
    plan = PLANNERS[operation](ASKED, SETTINGS, NODE if operation == "startVPS" else node(domu=RUNNING))
    assert (plan.answer.vps, plan.answer.message) == ("01", message)


def test_what_they_look_at() -> None:
    assert power.needs(ASKED, SETTINGS) == (NeedDomu(VPS),)
    assert set(power.start_needs(ASKED, SETTINGS)) == {NeedDomu(VPS), NeedDisks(VPS), NeedTenancy(VPS), NeedMemory()}


@pytest.mark.parametrize("operation", PLANNERS)
def test_without_a_toolstack_it_is_missing(operation: str) -> None:
    with pytest.raises(Missing, match=f"{operation}: this node runs no domUs"):
        PLANNERS[operation](ASKED, SETTINGS, domu(toolstack=False))


@pytest.mark.parametrize("operation", PLANNERS)
def test_without_an_answer_of_xen_nothing_is_done(operation: str) -> None:
    with pytest.raises(Failed, match="xl ended with code 1"):
        PLANNERS[operation](ASKED, SETTINGS, domu(trouble="xl ended with code 1"))


@pytest.mark.parametrize(("state", "reason"), [
    ("running", "xen01 is running already"), ("blocked", "xen01 is running already"), ("paused", "xen01 is running already"),
    ("dying", "xen01 is not gone yet (dying): destroyVPS ends it"), ("shutdown", "xen01 is not gone yet (shutdown): destroyVPS ends it"),
    ("crashed", "xen01 is not gone yet (crashed): destroyVPS ends it")])
def test_what_is_there_is_not_started_again(state: str, reason: str) -> None:
    with pytest.raises(Failed) as caught:
        power.plan_start(ASKED, SETTINGS, domu(state=state))
    assert caught.value.reason == str(caught.value) == reason


@pytest.mark.parametrize("operation", ["shutdownVPS", "rebootVPS"])
@pytest.mark.parametrize(("state", "reason"), [
    ("", "xen01 is not running"), ("shutdown", "xen01 is not running: it is shutdown"), ("crashed", "xen01 is not running: it is crashed")])
def test_what_does_not_run_cannot_be_asked(operation: str, state: str, reason: str) -> None:
    with pytest.raises(Failed) as caught:
        PLANNERS[operation](ASKED, SETTINGS, domu(state=state))
    assert caught.value.reason == reason


def test_destroy_is_done_when_there_is_nothing_to_destroy() -> None:
    assert power.plan_destroy(ASKED, SETTINGS, domu(configured=False)).message == "Destroyed xen01"  # type: ignore[union-attr]


@pytest.mark.parametrize("state", ["running", "paused", "shutdown", "crashed", "dying"])
def test_destroy_ends_whatever_is_there_and_waits(state: str) -> None:
    plan = power.plan_destroy(ASKED, SETTINGS, domu(state=state))
    assert isinstance(plan, Plan) and isinstance(plan.steps[0], EndDomu) and plan.steps[0].seconds == 20


@pytest.mark.parametrize(("facts", "error", "text"), [
    (domu(configured=False), Missing, "VPS 01 has no configuration"),
    (node(tenancy=TenancyFact(1, "no room")), Refused, "VPS 01 is blocked: no room, expected killVPSDisk first"),
    (domu(lacking=("/m/xen01.img",)), Missing, "configured with /m/xen01.img, which is not there"),
    (node(disks=(dataclasses.replace(DISK, unzeroed=True),)), Refused, "/m/xen01.img may still show what an earlier owner wrote"),
    (node(memory=MemoryFact(Mib(0), Mib(0), trouble="xl ended with code 1")), Failed, "how much memory is left: xl ended with code 1"),
    (node(lvm=LvmFact(trouble="lvs ended with code 5")), Failed, "which volumes VPS 01 has: lvs ended with code 5"),
])
def test_what_must_be_settled_first(facts: Facts, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text.replace("/", "\\/")):
        power.plan_start(ASKED, SETTINGS, facts)


@pytest.mark.parametrize(("free", "reserved", "vcpus", "fits"), [
    (263, 0, 1, True), (262, 0, 1, False), (263, 1, 1, False), (300, 37, 1, True), (263, 0, 2, False), (0, 0, 1, False)])
def test_memory_is_counted_with_what_xen_needs_and_what_others_will_take(free: int, reserved: int, vcpus: int, fits: bool) -> None:
    facts = node(memory=MemoryFact(Mib(free), Mib(4095)), reserved={MEMORY: reserved << 20}, domu=dataclasses.replace(STOPPED, config_vcpus=vcpus))
    if fits:
        assert isinstance(power.plan_start(ASKED, SETTINGS, facts), Plan)
    else:
        with pytest.raises(Failed, match=rf"^not enough memory: {256 + 6 + vcpus} MiB are needed for 256 MiB of RAM, {free - reserved} MiB are free$"):
            power.plan_start(ASKED, SETTINGS, facts)


def test_where_dom0_gives_way_it_is_xls_to_say() -> None:
    assert isinstance(power.plan_start(ASKED, SETTINGS, node(memory=MemoryFact(Mib(0), Mib(4095), ballooning=True))), Plan)


def test_memory_refused_by_the_name_of_a_parameter() -> None:
    with pytest.raises(Refused, match="reinstallOS: ramSizeMib: not enough memory: .*, expected less RAM"):
        power.refuse_memory("reinstallOS", Mib(2048), NODE, parameter="ramSizeMib")


def test_a_disk_is_no_longer_new_once_a_guest_sees_it() -> None:
    blank = DiskFact(DiskRole.ROOT, "/dev/vg0/xen01", 1 << 30, blank=True, image_type=ImageType.LVM)
    facts = node(disks=(blank, DISK), lvm=LvmFact((VolumeGroup("vg0", 0, 4 << 20),)))
    mark, start = power.plan_start(ASKED, SETTINGS, facts).steps
    assert isinstance(mark, TagVolume) and (mark.lv, mark.add) == ("xen01", ()) and mark.remove and isinstance(start, Run)


def create(facts: Facts, **more: Any) -> Run:
    (step,) = power.start_steps(VPS, Mib(256), facts.domu.boot, SETTINGS, facts, **more)
    assert isinstance(step, Run)
    return step


def test_xl_create_in_a_scope_of_its_own_uncut_and_with_its_memory_reserved() -> None:
    step = create(NODE)
    assert step.scope == "dtcxen-xen01-20261123T050000Z" and step.patient and step.words is xl.words
    assert taking(step) == {MEMORY: 263 << 20} and step.env == () and not step.undo


def test_another_configuration_only_when_it_is_named() -> None:
    assert create(NODE).argv[-1] == "--defconfig=/x/xen01" and create(NODE, config="/x/xen01.rescue").argv[-1] == "--defconfig=/x/xen01.rescue"


def test_pygrub_is_not_root_and_may_read_the_root_disk_at_each_start() -> None:
    lend, step = power.start_steps(VPS, Mib(256), BootMode.PYGRUB, SETTINGS, domu(boot=BootMode.PYGRUB))
    assert isinstance(lend, Run) and lend.argv == ("setfacl", "--modify", "user:nobody:r", "--", "/m/xen01.img") and not lend.undo and not lend.may_fail
    assert isinstance(step, Run) and dict(step.env) == {"LIBXL_BOOTLOADER_RESTRICT": "1", "LIBXL_BOOTLOADER_USER": "nobody"}
    volume = DiskFact(DiskRole.ROOT, "/dev/vg0/xen01", 1 << 30, blank=False, image_type=ImageType.LVM)
    lend, _ = power.start_steps(VPS, Mib(256), BootMode.PYGRUB, SETTINGS, node(disks=(volume,)))
    assert isinstance(lend, Run) and lend.argv[-1] == "/dev/vg0/xen01"


def test_what_is_not_known_to_be_pygrub_is_not_root_either() -> None:
    assert dict(create(domu(boot=None)).env) == {"LIBXL_BOOTLOADER_RESTRICT": "1", "LIBXL_BOOTLOADER_USER": "nobody"}
