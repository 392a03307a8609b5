"""reinstallOS of manual, netbsd and xenhvm: what each makes ready, what none of them touches, and a refusal by name for all that could have no effect."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dtcxen_soap import answers, reports
from dtcxen_soap import requests as req
from dtcxen_soap.access import Caller, Role
from dtcxen_soap.errors import Busy, Failed, Missing, Refused
from dtcxen_soap.facts import DomuFact, Facts, HookFact, MemoryFact, NeedInstall, NeedMemory, NeedQemu, QemuFact, TenancyFact
from dtcxen_soap.install import byhand, osdescription, reinstall
from dtcxen_soap.operations import prepare
from dtcxen_soap.osfacts import BY_HAND, BundleFact, OsTypeFact
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import MEMORY, MakeAccount, Plan, Run, Symlink, TagVolume, WatchBoot, WriteFile, walk
from dtcxen_soap.settings import load
from dtcxen_soap.vps import BootMode, MacAddress, Mib
from dtcxen_soap.xen import config
from tests.unit.install.test_reinstall import AGAIN, CONFIG, FIRST, LVM_FIRST, LVM_ROOT, NODE, ROOMY, ROOT, SWAP

INSTALLER = "/boot/netbsd-INSTALL_XEN3_DOMU.gz"
SETTINGS = load(CONFIG + f"state_dir=/s\nttyssh_home=/homes\nbsd_install_kernel_path={INSTALLER}\n").settings
READY = dataclasses.replace(NODE, kernels=NODE.kernels | {INSTALLER}, hvm=True)
QEMU = QemuFact("/usr/libexec/xen-qemu-system-i386", True, True)
ADMIN = Caller("dtc-xen", Role.ADMIN)
WORDS = {"vps": "01", "osType": "xenhvm", "ramSizeMib": "128", "password": "hunter2", "nics": "192.0.2.10/24"}


def able(facts: Facts) -> Facts:
    return dataclasses.replace(facts, node=READY, qemu=QEMU)


ON_XEN = able(dataclasses.replace(ROOMY, domu=DomuFact(False, toolstack=True)))


def asked(os_type: str, **changed: str) -> req.Reinstall:
    return req.parse(req.Reinstall, "reinstallOS", list((WORDS | {"osType": os_type} | changed).items()), SETTINGS, old=False, rpc=True)


def planned(os_type: str, facts: Facts, **changed: str) -> Plan:
    return reinstall.plan(asked(os_type, **changed), SETTINGS, facts)


def written(plan: Plan) -> str:
    """The configuration that the plan writes; "" for none."""
    return next((str(step.content) for step in plan.steps if isinstance(step, WriteFile) and step.path == "/x/xen01.new"), "")


@pytest.mark.parametrize("os_type", BY_HAND)
@pytest.mark.parametrize(("name", "facts"), [("first", FIRST), ("again", AGAIN), ("lvm-first", LVM_FIRST)])
def test_plans(golden: Any, os_type: str, name: str, facts: Facts) -> None:
    plan = planned(os_type, able(facts))
    text = "\n".join((*render(plan), f"outcome: {plan.outcome}")) + "\n"
    assert "hunter2" not in text
    golden(f"plans/byhand-{os_type}-{name}.txt", text)


@pytest.mark.parametrize("os_type", BY_HAND)
def test_a_disk_that_was_used_is_never_written(os_type: str) -> None:
    used = dataclasses.replace(AGAIN, disks=(dataclasses.replace(ROOT, blank=False), dataclasses.replace(SWAP, blank=False)))
    for facts in (used, dataclasses.replace(used, domu=DomuFact(False))):
        steps = list(walk(planned(os_type, able(facts)).whole))
        assert not [step for step in steps if isinstance(step, Run | TagVolume) or step.destroys]


@pytest.mark.parametrize("os_type", BY_HAND)
def test_no_room_no_image_and_no_tools_are_needed(os_type: str) -> None:
    """What an installation would be refused for; a file system needs its program and no more."""
    bare = dataclasses.replace(able(AGAIN), room=dataclasses.replace(AGAIN.room, free_bytes=0), node=dataclasses.replace(READY, commands=frozenset(), apt_sources=()))
    assert planned(os_type, bare).outcome.startswith("nothing was installed: ")
    assert reinstall.needs(asked(os_type), SETTINGS).count(NeedInstall(asked(os_type).vps, os_type)) == 1
    assert (NeedQemu() in reinstall.needs(asked(os_type), SETTINGS)) is (os_type == "xenhvm")


def test_netbsd_boots_the_kernel_that_installs_it() -> None:
    plan = planned("netbsd", able(dataclasses.replace(AGAIN, domu=DomuFact(True, config_mac=MacAddress("00:16:3e:aa:bb:cc"), config_vcpus=2))))
    found = config.parse(written(plan))
    assert (found.kernel, found.ramdisk, found.memory, found.vcpus, found.boot) == (INSTALLER, "", 128, 2, BootMode.NETBSD)
    assert "00:16:3e:aa:bb:cc" in written(plan) and "192.0.2.10" in written(plan)
    assert f"xen01 boots {INSTALLER}" in plan.outcome and "changeBSDkernel kernel=normal" in plan.outcome
    assert [step.path for step in plan.steps if isinstance(step, Symlink)] == ["/x/auto/xen01"]


def test_xenhvm_boots_the_disk_and_keeps_its_screen_to_root() -> None:
    plan = planned("xenhvm", able(AGAIN))
    assert config.parse(written(plan)).boot is BootMode.HVM and 'boot = "c"' in written(plan) and "format=empty,vdev=hdc" in written(plan)
    assert 'vnclisten = "unix:/s/screens/xen01.vnc"' in written(plan) and "vncpasswd" not in written(plan)
    assert "its screen at /s/screens/xen01.vnc; writeXenHVMconf boots one of its ISOs" in plan.outcome


def test_manual_makes_empty_file_systems_on_new_disks_and_leaves_them_unmounted() -> None:
    plan = planned("manual", able(FIRST))
    assert [step.argv for step in walk(plan.steps) if isinstance(step, Run)] == [
        ("mkfs.ext4", "-q", "-F", "-E", "nodiscard", "--", "/m/xen01.img"), ("mkswap", "--", "/m/xen01.swap.img")]
    assert config.parse(written(plan)).boot is BootMode.DIRECT and not [step for step in plan.steps if isinstance(step, Symlink)]
    assert plan.outcome == ("nothing was installed: /m/xen01.img has an empty ext4 file system, not mounted: put a system on it, then startVPS; "
                            "it will boot by direct once there is a system on its disk")
    used = planned("manual", able(dataclasses.replace(FIRST, disks=(ROOT, dataclasses.replace(SWAP, blank=False)))))
    assert [step.argv[-1] for step in used.steps if isinstance(step, Run)] == ["/m/xen01.img"], "a swap disk that was used stays, too"
    with pytest.raises(Failed, match=r"the node lacks mkfs\.ext4, mkswap"):
        planned("manual", dataclasses.replace(FIRST, node=dataclasses.replace(NODE, commands=frozenset())))


def test_manual_leaves_a_configuration_alone_that_a_used_disk_has_and_makes_one_that_is_lacking() -> None:
    plan = planned("manual", able(AGAIN))
    assert plan.steps == () and "/m/xen01.img was used, so it is not touched, and /x/xen01 stays as it is" in plan.outcome
    lacking = planned("manual", able(dataclasses.replace(AGAIN, domu=DomuFact(False))))
    assert config.parse(written(lacking)).memory == 128 and "is not touched" in lacking.outcome
    stale = planned("manual", able(dataclasses.replace(FIRST, domu=DomuFact(True))))
    assert written(stale) and any(getattr(step, "target", "") == "/x/xen01.previous" for step in stale.steps), "a new disk gets a new configuration"


def test_the_caller_chooses_how_manual_boots() -> None:
    assert 'kernel = "/boot/vmlinuz-6.1.0"' in written(planned("manual", able(FIRST), bootMode="direct"))
    with pytest.raises(Refused, match="reinstallOS: bootMode: pv-grub: .* is not there"):
        planned("manual", able(FIRST), bootMode="pv-grub")
    with pytest.raises(Refused, match="bootMode: it has no effect with manual: /m/xen01.img was used"):
        planned("manual", able(AGAIN), bootMode="direct")


@pytest.mark.parametrize("os_type", BY_HAND)
def test_what_could_have_no_effect_is_refused_by_name_and_all_at_once(os_type: str) -> None:
    words = {"hostname": "a.example.net", "bootMode": "direct", "sshKeys": "ssh-ed25519 AAAA", "userData": "#!/bin/sh\n", "start": "true"}
    expected = {"hostname", "sshKeys", "userData", "start" if os_type == "manual" else "bootMode"}
    request = dataclasses.replace(asked(os_type, **{name: words[name] for name in ("hostname", "bootMode", "userData", "start")}), ssh_keys=("ssh-ed25519 AAAA",))
    with pytest.raises(Refused) as error:
        reinstall.plan(request, SETTINGS, ON_XEN)
    assert {fault.parameter for fault in error.value.faults} == expected
    assert all(fault.operation == "reinstallOS" and f"has no effect with {os_type}" in fault.problem for fault in error.value.faults)
    assert "#!/bin/sh" not in str(error.value)


@pytest.mark.parametrize(("os_type", "facts", "problem"), [
    ("netbsd", dataclasses.replace(AGAIN, qemu=QEMU), f"osType: netbsd: install: bsd_install_kernel_path of this node names {INSTALLER}, which is not there"),
    ("xenhvm", dataclasses.replace(AGAIN, qemu=QEMU), "osType: xenhvm: this node cannot run HVM guests"),
    ("xenhvm", dataclasses.replace(AGAIN, node=READY), "osType: xenhvm: this node has no QEMU for HVM guests")])
def test_what_this_node_cannot_do(os_type: str, facts: Facts, problem: str) -> None:
    with pytest.raises(Refused) as error:
        planned(os_type, facts)
    assert f"reinstallOS: {problem}" in str(error.value)
    with pytest.raises(Refused, match=r"bsd_install_kernel_path of this node is not set"):
        reinstall.plan(asked("netbsd"), load(CONFIG).settings, able(AGAIN))


@pytest.mark.parametrize("os_type", BY_HAND)
def test_what_speaks_against_every_installation(os_type: str) -> None:
    running = dataclasses.replace(able(AGAIN), domu=DomuFact(True, "running", toolstack=True))
    with pytest.raises(Busy, match="reinstallOS: xen01 is running"):
        planned(os_type, running)
    with pytest.raises(Refused, match="VPS 01 is blocked: x"):
        planned(os_type, dataclasses.replace(able(AGAIN), tenancy=TenancyFact(1, "x")))
    with pytest.raises(Missing, match="no root disk"):
        planned(os_type, dataclasses.replace(able(AGAIN), disks=()))
    with pytest.raises(Refused, match="two root disks"):
        planned(os_type, dataclasses.replace(able(FIRST), disks=(ROOT, LVM_ROOT)))
    signup = req.parse(req.Reinstall, "reinstallVPSos", list({
        "vpsname": "01", "ostype": os_type, "hddsize": "1024", "ramsize": "128", "ipaddr": "192.0.2.10", "password": "hunter2"}.items()),
        load(CONFIG + "NETMASK=255.255.255.0\nBROADCAST=192.0.2.255\n").settings, old=True, rpc=True)
    with pytest.raises(Refused, match="hddsize: the root disk has 2048 MiB"):
        reinstall.plan(signup, SETTINGS, able(FIRST))


@pytest.mark.parametrize("os_type", BY_HAND)
@pytest.mark.parametrize("there", [
    {"bundle": BundleFact("x", "/os/x", frozenset({"install_os"}), ())}, {"bundle": BundleFact("x", "/os/x", frozenset(), ("a.tar",))},
    {"os_type": OsTypeFact(name="x", path="/os/x", description=None, problems=("bad",))}])
def test_a_bundle_or_a_description_of_such_a_name_is_refused(os_type: str, there: dict[str, Any]) -> None:
    with pytest.raises(Failed, match=f"/os/x: {os_type} is built in, and installs nothing: choose another name"):
        planned(os_type, dataclasses.replace(able(FIRST), **there))
    assert planned(os_type, dataclasses.replace(able(FIRST), bundle=BundleFact("x", "/os/x", frozenset(), ()))).outcome, "an empty directory is an entry of the menu"
    parsed = osdescription.parse(b'installer="bundle"', os_type, "/d/x.toml")
    assert parsed.problems[0] == f"/d/x.toml: {os_type} is built in, and installs nothing: choose another name"


@pytest.mark.parametrize("os_type", ["netbsd", "xenhvm"])
def test_a_start_is_tried_and_no_login_is_claimed(os_type: str) -> None:
    plan = planned(os_type, ON_XEN, start="true")
    (create,) = plan.proof
    assert isinstance(create, Run) and create.argv[:2] == ("xl", "create") and create.argv[-1].endswith("/x/xen01")
    assert not any(isinstance(step, WatchBoot) for step in plan.proof) and plan.unproven == "configured, does not start"
    assert plan.outcome.endswith("; it was started, which tells nothing of what is on its disk")
    assert NeedMemory() in reinstall.needs(asked(os_type, start="true"), SETTINGS) and not planned(os_type, ON_XEN, start="false").proof
    for facts, error, text in (
            (dataclasses.replace(ON_XEN, domu=DomuFact(True)), Missing, "runs no domUs"),
            (dataclasses.replace(ON_XEN, memory=MemoryFact(Mib(129), Mib(4096))), Refused, "ramSizeMib: not enough memory"),
            (dataclasses.replace(ON_XEN, reserved={MEMORY: 1000 << 20}), Refused, "ramSizeMib: not enough memory")):
        with pytest.raises(error, match=text):
            planned(os_type, facts, start="true")


@pytest.mark.parametrize("os_type", ["netbsd", "xenhvm"])
def test_no_guest_sees_an_earlier_owners_blocks(os_type: str) -> None:
    """The call may have ended the job that was overwriting the new volumes; startVPS would refuse them for ever."""
    facts = dataclasses.replace(able(LVM_FIRST), domu=DomuFact(False, toolstack=True), memory=MemoryFact(Mib(1024), Mib(4096)))
    still, started = planned(os_type, facts), planned(os_type, facts, start="true")
    for plan in (still, started):
        assert [step.argv[-1] for step in plan.steps if isinstance(step, Run) and step.argv[0] == "blkdiscard"] == ["/dev/vg0/xen01", "/dev/vg0/xen01swap"]
    tags = [tag for step in started.steps if isinstance(step, TagVolume) for tag in step.remove]
    assert len(tags) == 4 and set(tags) == {"dtcxen.unzeroed", "dtcxen.unused"}, "and what a guest sees counts as used"
    assert {tag for step in still.steps if isinstance(step, TagVolume) for tag in step.remove} == {"dtcxen.unzeroed"}


@pytest.mark.parametrize("os_type", BY_HAND)
def test_the_panels_call_is_taken_with_all_that_it_always_sends(os_type: str) -> None:
    words = {"vpsname": "01", "ostype": os_type, "ramsize": "128", "password": "r00tPass", "nics": "192.0.2.10,255.255.255.0,192.0.2.255+192.0.2.11,255.255.255.0,192.0.2.255",
             "gateway": "192.0.2.1", "dns": "192.0.2.53"}
    call = prepare("reinstallVPSos", tuple(words.items()), SETTINGS, ADMIN, rpc=True)
    made = call.decide(dataclasses.replace(able(FIRST), hooks=HookFact({}, ())))
    assert isinstance(made, Plan) and "192.0.2.10 192.0.2.11" in written(made)
    assert any("password, gateway, dns" in note for note in made.notes) and "r00tPass" not in repr(made)
    with pytest.raises(Refused, match="reinstallVPSos: ostype: xenhvm: this node cannot run HVM guests"):
        prepare("reinstallVPSos", tuple((words | {"ostype": "xenhvm"}).items()), SETTINGS, ADMIN, rpc=True).decide(FIRST)


def test_the_owners_users_are_made_as_by_any_installation() -> None:
    """An ISO for xenhvm comes by them."""
    settings = load(CONFIG + "manage_accounts=yes\nttyssh_home=/homes\n").settings
    steps = reinstall.plan(asked("xenhvm"), settings, able(dataclasses.replace(AGAIN, domu=DomuFact(True, toolstack=True)))).steps
    kinds = [type(step) for step in steps]
    assert MakeAccount in kinds and kinds.index(MakeAccount) < kinds.index(WriteFile)
    assert not any(step.may_fail for step in steps[:kinds.index(WriteFile)]), "what may fail comes last, so that a failure is undone"


def test_the_menu_gets_what_the_node_has_and_the_panel_adds_its_own() -> None:
    found = reports.installable_os(req.NoParameters(), SETTINGS, dataclasses.replace(FIRST, bundles=("lenny",), os_types=("noble",)))
    assert found == answers.InstallableOs(("lenny", "noble"))


def test_every_type_by_hand_is_planned_by_this_module() -> None:
    assert {os_type: byhand.plan(asked(os_type), SETTINGS, able(FIRST)) for os_type in BY_HAND} == {
        os_type: planned(os_type, able(FIRST)) for os_type in BY_HAND}
