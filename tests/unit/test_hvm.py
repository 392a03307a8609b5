"""writeXenHVMconf: an HVM guest that boots its disk or one of its own ISOs, with a screen that has a password or is not there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap import hvm
from dtcxen_soap.access import Caller, Role
from dtcxen_soap.answers import ConfigWritten
from dtcxen_soap.errors import Busy, Failed, Missing, NotAllowed, Refused
from dtcxen_soap.execute import execute
from dtcxen_soap.facts import DiskFact, DomuFact, Facts, IsoFact, NodeFact, QemuFact, TenancyFact
from dtcxen_soap.journal import Journal
from dtcxen_soap.operations import prepare
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import ExchangeFile, MakeDirectory, MustBeFree, PinFile, Plan, RemoveFile, RenameFile, Symlink, WriteFile
from dtcxen_soap.requests import HvmConfig, parse
from dtcxen_soap.settings import load
from dtcxen_soap.vps import DiskRole, ImageType, MacAddress, Secret, VpsId
from dtcxen_soap.xen import config
from tests.fakes import ScriptedDom0

VPS, MIB = VpsId(50), 1 << 20
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SETTINGS = load("state_dir=/s\nxen_config_dir=/x\nttyssh_home=/homes\nprovisioning_mount_point=/m\nxen_bridge=xenbr0\nvps_mac_prefix=00:16:3e:10:10").settings
ADMIN = Caller("dtc-xen", Role.ADMIN)
ISO, HOSTILE = IsoFact("debian.iso", 5 * MIB, NOW, "/homes/xen50/iso/debian.iso"), IsoFact('a",b" ]\ndisk=[.iso'.replace("\n", " "), MIB, NOW, '/homes/xen50/a",b" ] disk=[.iso')
NODE = NodeFact("node", "id", "bookworm", "6.1.0", hvm=True)
ABLE = QemuFact("/usr/libexec/xen-qemu-system-i386", True, True)
DISKS = (DiskFact(DiskRole.ROOT, "/dev/vg0/xen50", 512 * MIB, False, image_type=ImageType.LVM),
         DiskFact(DiskRole.SWAP, "/dev/vg0/xen50swap", 64 * MIB, True, image_type=ImageType.LVM))
FACTS = Facts(now=NOW, disks=DISKS, isos=(HOSTILE, ISO), node=NODE, qemu=ABLE, domu=DomuFact(False, toolstack=True))
AGAIN = dataclasses.replace(FACTS, domu=DomuFact(
    True, toolstack=True, config_mac=MacAddress("00:16:3e:aa:bb:cc"), config_vcpus=2, config_addresses=(ip_address("192.0.2.9"),)))
OLD = {"vpsname": "50", "ramsize": "256", "allipaddrs": "192.0.2.10 192.0.2.11", "vncpassword": "vncPass1", "howtoboot": "debian.iso"}
NEW = {"vps": "50", "ramSizeMib": "256", "addresses": "192.0.2.10 2001:db8::10", "boot": "hdd"}


def asked(words: dict[str, str] = OLD, **changed: str) -> HvmConfig:
    return parse(HvmConfig, "writeXenHVMconf", tuple((words | changed).items()), SETTINGS, old="vpsname" in words, rpc=True)


def written(plan: Plan) -> str:
    """The configuration that the plan writes."""
    content = next(step for step in plan.steps if isinstance(step, WriteFile)).content
    return content if isinstance(content, str) else content.reveal()


def refused(words: dict[str, str] = OLD, facts: Facts = FACTS, **changed: str) -> str:
    with pytest.raises(Refused) as error:
        hvm.plan(asked(words, **changed), SETTINGS, facts)
    return str(error.value)


@pytest.mark.parametrize(("name", "request_", "facts"), [
    ("iso-first", asked(), FACTS), ("hdd-again", asked(NEW), AGAIN), ("uefi-iso-again", asked(OLD | {"vncpassword": "no_vnc"}), AGAIN)])
def test_plans(golden: Any, name: str, request_: HvmConfig, facts: Facts) -> None:
    request_ = dataclasses.replace(request_, firmware="uefi") if "uefi" in name else request_
    plan = hvm.plan(request_, SETTINGS, facts)
    text = "\n".join(render(plan)) + "\n"
    assert "vncPass1" not in text
    golden(f"plans/hvm-{name}.txt", text)
    golden(f"xen/hvm-{name}.cfg", written(plan))


def test_the_panels_words() -> None:
    request = asked()
    assert (request.vps, request.ram, request.vnc_password, request.boot, request.boots_disk) == (VPS, 256, Secret("vncPass1"), "debian.iso", False)
    assert [str(address.interface) for address in request.addresses] == ["192.0.2.10/32", "192.0.2.11/32"]
    assert asked(vncpassword="no_vnc").vnc_password is None and asked(howtoboot="hdd").boots_disk


def test_the_new_words() -> None:
    request = asked(NEW, vncPassword="s3cret", firmware="uefi")
    assert (request.vnc_password, request.firmware) == (Secret("s3cret"), "uefi")
    assert [str(address.ip) for address in request.addresses] == ["192.0.2.10", "2001:db8::10"]


@pytest.mark.parametrize(("parameter", "value", "problem"), [
    ("vncpassword", "nine78901", "9 characters are too many, expected 1 to 8"), ("vncpassword", "tab\tx", "not of the form"), ("vncpassword", "caf\xe9", "not of the form"),
    ("vncpassword", "a b", "not of the form"), ("howtoboot", "../x.iso", "not of the form"), ("howtoboot", "x\n.iso", "not of the form"), ("howtoboot", "", "empty"),
    ("allipaddrs", "192.0.2.10/24", "not of the form"), ("allipaddrs", "127.0.0.1", "cannot be the address of a guest"), ("allipaddrs", "192.0.2.1 192.0.2.1", "given twice"),
    ("allipaddrs", "192.0.2.10,mac=0", "not of the form"), ("allipaddrs", " ", "no address"), ("ramsize", "3", "too small"), ("firmware", "uefi", "unknown parameter"),
])
def test_what_is_no_request(parameter: str, value: str, problem: str) -> None:
    with pytest.raises(Refused) as error:
        asked(**{parameter: value})
    assert f"writeXenHVMconf: {parameter}: " in str(error.value) and problem in str(error.value)
    assert parameter != "vncpassword" or value not in str(error.value), "a secret"


@pytest.mark.parametrize("empty", ["", " ", "no_vnc"])
def test_a_screen_without_a_password_is_roots_alone(empty: str) -> None:
    request = asked(vncpassword=empty)
    assert request.vnc_password is None
    plan = hvm.plan(request, SETTINGS, FACTS)
    assert 'vnclisten = "unix:/s/screens/xen50.vnc"\nvncunused = 0' in written(plan) and "vncpasswd" not in written(plan)
    assert plan.answer == ConfigWritten("/x/xen50", "/s/screens/xen50.vnc")
    assert any(isinstance(step, MakeDirectory) and (step.path, step.mode) == ("/s/screens", 0o700) for step in plan.steps)


@pytest.mark.parametrize("state", ["/srv/my node", "/a,b", "/" + "x" * 100])
def test_where_no_socket_can_be_there_is_no_screen(state: str) -> None:
    settings = load(f"state_dir='{state}'").settings
    plan = hvm.plan(asked(vncpassword="no_vnc"), settings, FACTS)
    assert "vnc = 0" in written(plan) and isinstance(plan.answer, ConfigWritten) and plan.answer.screen == ""


def test_a_qemu_that_cannot_compare_passwords_is_told_before_a_guest_cannot_start() -> None:
    """Debian's qemu-system-xen 7.2 and 10.0 ends with "Cipher backend does not support DES algorithm"."""
    unable = dataclasses.replace(FACTS, qemu=dataclasses.replace(ABLE, vnc_passwords=False))
    told = refused(facts=unable)
    assert "writeXenHVMconf: vncPassword: /usr/libexec/xen-qemu-system-i386 of this node was built without" in told and "/s/screens/xen50.vnc" in told
    assert "vncPass1" not in told
    assert isinstance(hvm.plan(asked(vncpassword="no_vnc"), SETTINGS, unable).answer, ConfigWritten)


def test_the_iso_must_be_one_of_the_vps_by_its_exact_name() -> None:
    told = refused(howtoboot="Debian.iso")
    assert "writeXenHVMconf: boot: 'Debian.iso' is no ISO of VPS 50, expected hdd, or one of its ISOs: " in told and "debian.iso" in told
    assert "it has none" in refused(facts=dataclasses.replace(FACTS, isos=()))
    many = tuple(dataclasses.replace(ISO, name=f"{number}.iso") for number in range(1000))
    assert len(refused(facts=dataclasses.replace(FACTS, isos=many), howtoboot="x.iso")) < 500


def test_no_name_of_an_iso_gets_into_a_configuration() -> None:
    text = written(hvm.plan(asked(howtoboot=HOSTILE.name), SETTINGS, FACTS))
    assert config.parse(text).paths == ("/dev/vg0/xen50", "/dev/vg0/xen50swap", "/homes/.isos/xen50.iso")
    assert "a\"" not in text and "debian" not in text


def test_the_iso_is_pinned_after_everything_that_may_fail() -> None:
    plan = hvm.plan(asked(), SETTINGS, AGAIN)
    counts = [step for step in plan.steps if not step.may_fail]
    last = counts[-1]
    assert isinstance(last, PinFile) and (last.top, last.path, last.target) == ("/homes", ISO.path, "/homes/.isos/xen50.iso")
    assert any(isinstance(step, ExchangeFile) and isinstance(step.undo[0], ExchangeFile) for step in counts)


def test_booting_the_disk_lets_the_iso_go_and_starts_with_the_node() -> None:
    plan = hvm.plan(asked(NEW), SETTINGS, AGAIN)
    assert isinstance(plan.steps[-1], RemoveFile) and plan.steps[-1].path == "/homes/.isos/xen50.iso" and plan.steps[-1].may_fail
    assert any(isinstance(step, Symlink) and step.path == "/x/auto/xen50" for step in plan.steps)
    assert not any(isinstance(step, Symlink) for step in hvm.plan(asked(), SETTINGS, AGAIN).steps), "an installer's CD does not"


def test_what_the_configuration_said_is_kept() -> None:
    text = written(hvm.plan(asked(), SETTINGS, AGAIN))
    found = config.parse(text)
    assert (found.mac, found.vcpus, found.memory) == ("00:16:3e:aa:bb:cc", 2, 256)
    assert [str(address) for address in found.addresses] == ["192.0.2.10", "192.0.2.11"]
    assert config.parse(written(hvm.plan(asked(), SETTINGS, FACTS))).mac == "00:16:3e:10:10:50"


def test_an_address_that_another_vps_has_is_told() -> None:
    with pytest.raises(Failed, match="Choose the MAC address of VPS 50.*configuration of xen07"):
        hvm.plan(asked(), SETTINGS, dataclasses.replace(FACTS, taken_macs={MacAddress("00:16:3e:10:10:50"): "xen07"}))


@pytest.mark.parametrize(("facts", "firmware", "problem"), [
    (dataclasses.replace(FACTS, node=dataclasses.replace(NODE, hvm=False)), "", "this node cannot run HVM guests"),
    (dataclasses.replace(FACTS, qemu=QemuFact()), "", "no QEMU for HVM guests, expected the package qemu-system-xen"),
    (dataclasses.replace(FACTS, qemu=QemuFact("/q", True)), "uefi", "writeXenHVMconf: firmware: uefi: this node has no such firmware, expected bios, or the package ovmf"),
])
def test_what_the_node_lacks_is_named(facts: Facts, firmware: str, problem: str) -> None:
    assert problem in refused(NEW, facts, **({"firmware": firmware} if firmware else {}))


def test_everything_that_the_node_lacks_comes_at_once() -> None:
    with pytest.raises(Refused) as error:
        hvm.plan(asked(howtoboot="x.iso"), SETTINGS, dataclasses.replace(FACTS, qemu=dataclasses.replace(ABLE, vnc_passwords=False)))
    assert [fault.parameter for fault in error.value.faults] == ["vncPassword", "boot"]


def test_the_bios_needs_no_other_firmware() -> None:
    assert hvm.plan(asked(), SETTINGS, dataclasses.replace(FACTS, qemu=QemuFact("/q", True))).answer == ConfigWritten("/x/xen50", "127.0.0.1")


def test_what_speaks_against_it() -> None:
    with pytest.raises(Busy, match="xen50 is running: shut it down first"):
        hvm.plan(asked(), SETTINGS, dataclasses.replace(FACTS, domu=DomuFact(True, "running", toolstack=True)))
    with pytest.raises(Missing, match="no root disk"):
        hvm.plan(asked(), SETTINGS, dataclasses.replace(FACTS, disks=()))
    assert "VPS 50 is blocked: x" in refused(facts=dataclasses.replace(FACTS, tenancy=TenancyFact(1, "x")))
    first = hvm.plan(asked(), SETTINGS, FACTS).steps[0]
    assert isinstance(first, MustBeFree) and first.vps == VPS and first.toolstack


@pytest.mark.parametrize("caller", [Caller("xen50", Role.OWNER, vps=VPS), Caller("watcher", Role.MONITOR)], ids=["owner", "monitor"])
def test_only_the_admin_configures(caller: Caller) -> None:
    with pytest.raises(NotAllowed):
        prepare("writeXenHVMconf", tuple(OLD.items()), SETTINGS, caller, rpc=True)
    assert prepare("writeXenHVMconf", tuple(OLD.items()), SETTINGS, ADMIN, rpc=True).vps == VPS


def carried_out(plan: Plan, dom0: ScriptedDom0, folder: Path) -> str:
    """Execute all but the look at a real toolstack; the job's log."""
    journal = Journal(str(folder / "journal.sqlite"))
    try:
        job = journal.begin("writeXenHVMconf", VPS, "dtc-xen", "now", (), 1)
        steps: Sequence[Any] = [step for step in plan.steps if not isinstance(step, MustBeFree)]
        try:
            execute(job, dataclasses.replace(plan, steps=tuple(steps)), dom0, journal, lambda: False)
        finally:
            with journal.log(job) as log:
                log.write("end")
        return "".join(path.read_text() for path in folder.rglob("*.log"))
    finally:
        journal.close()


def machine() -> ScriptedDom0:
    dom0 = ScriptedDom0(files={ISO.path: "cd", "/x/xen50": "old, edited by hand", "/x/xen50.previous": "older"})
    dom0.make_directory("/homes/.isos")
    return dom0


def test_done_the_old_one_is_kept_and_no_password_is_told(tmp_path: Path) -> None:
    dom0 = machine()
    log = carried_out(hvm.plan(asked(), SETTINGS, AGAIN), dom0, tmp_path)
    assert b"vncPass1" in dom0.files["/x/xen50"] and dom0.memory.modes["/x/xen50"] == 0o600
    assert dom0.files["/x/xen50.previous"] == b"old, edited by hand" and dom0.files["/homes/.isos/xen50.iso"] == b"cd"
    assert not {"/x/xen50.new", "/x/xen50.old"} & set(dom0.files)
    assert "vncPass1" not in log


@pytest.mark.parametrize("breaking", ["pin_file", "exchange_file", "symlink"])
def test_a_failure_brings_the_old_configuration_back(breaking: str, tmp_path: Path) -> None:
    dom0 = machine()
    dom0.breaks[breaking] = OSError(18, "Invalid cross-device link")
    plan = hvm.plan(asked(howtoboot="hdd") if breaking == "symlink" else asked(), SETTINGS, AGAIN)
    with pytest.raises(Failed, match="cross-device"):
        if breaking == "exchange_file":
            del dom0.breaks[breaking]
            dom0.breaks["exchange_file", "/x/xen50.new"] = OSError(18, "Invalid cross-device link")
        carried_out(plan, dom0, tmp_path)
    assert dom0.files["/x/xen50"] == b"old, edited by hand" and dom0.files["/x/xen50.previous"] == b"older"
    assert "/homes/.isos/xen50.iso" not in dom0.files and "/x/xen50.new" not in dom0.files


def test_the_first_configuration_is_removed_again_when_the_iso_cannot_be_had(tmp_path: Path) -> None:
    dom0 = ScriptedDom0()
    with pytest.raises(Failed, match="No such file"):
        carried_out(hvm.plan(asked(), SETTINGS, FACTS), dom0, tmp_path)
    assert not any(path.startswith("/x/xen50") for path in dom0.files)
    assert any(isinstance(step, RenameFile) for step in hvm.plan(asked(), SETTINGS, FACTS).steps)


# -- the library, and what an owner may have ------------------------------------------------------

SHELF = IsoFact("netinst.iso", 5 * MIB, NOW, "/s/isos/netinst.iso", library=True)


def test_an_iso_of_the_library_is_booted_where_it_lies() -> None:
    request = asked(howtoboot="netinst.iso", vncpassword="no_vnc")
    plan = hvm.plan(request, SETTINGS, dataclasses.replace(FACTS, isos=(ISO, SHELF)))
    assert "target=/s/isos/netinst.iso" in written(plan) and "access=r,target=/s/isos" in written(plan)
    assert not [step for step in plan.steps if isinstance(step, PinFile)]
    assert isinstance(plan.steps[-1], RemoveFile) and plan.steps[-1].path == "/homes/.isos/xen50.iso", "what was booted before is let go"


def test_an_owner_with_more_than_allowed_boots_none_of_it() -> None:
    settings = load("state_dir=/s\nxen_config_dir=/x\nttyssh_home=/homes\nprovisioning_mount_point=/m\niso_quota_mib=8").settings
    two = dataclasses.replace(FACTS, isos=(ISO, dataclasses.replace(ISO, name="more.iso"), SHELF))
    with pytest.raises(Refused, match="boot: the ISOs of VPS 50 use 10 MiB, and may use 8 MiB"):
        hvm.plan(asked(vncpassword="no_vnc"), settings, two)
    assert hvm.plan(asked(howtoboot="netinst.iso", vncpassword="no_vnc"), settings, two) and hvm.plan(asked(howtoboot="hdd", vncpassword="no_vnc"), settings, two)
    assert hvm.plan(asked(vncpassword="no_vnc"), settings, dataclasses.replace(FACTS, isos=(ISO, SHELF))), "the library does not count"
