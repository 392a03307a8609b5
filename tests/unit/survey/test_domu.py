"""What is configured and what runs, and never a stopped domU for want of an answer."""

from __future__ import annotations

import dataclasses
import json
from ipaddress import ip_address
from pathlib import Path

import pytest

from dtcxen_soap.facts import DomuFact
from dtcxen_soap.processes import Ran
from dtcxen_soap.settings import load
from dtcxen_soap.survey import domu as survey
from dtcxen_soap.vps import BootMode, MacAddress, Mib, VpsId
from dtcxen_soap.xen import xl
from tests.fakes import ScriptedDom0

VPS = VpsId(1)
NONE = load("xen_config_dir=/x\ntoolstack=none").settings
XL = load("xen_config_dir=/x\ntoolstack=xl").settings
AUTO = load("xen_config_dir=/x").settings
DATA = Path(__file__).parents[2] / "data"
TABLE = (DATA / "xl-list-4.17-pv-pvh-hvm.txt").read_text()
HEADER, DOM0_ROW, REAL = (line + "\n" for line in TABLE.splitlines()[:3])
ROW = REAL.replace("test-pv", "xen01  ").replace("  1   256     1 ", "  3   512     2 ").replace("37.8", "12.5")
CONFIG = 'name = "xen01"\nmemory = 512\nvif = [ "mac=00:16:3e:10:10:01,ip=192.0.2.1 2001:db8::1" ]\ndisk = [ "format=raw,vdev=xvda,access=w,target=/m/xen01.img" ]\n'
LISTING = json.dumps([{"domid": 3, "config": {"b_info": {"max_memkb": 1 << 20, "kernel": "/boot/vmlinuz"}}}])
MAC, ADDRESSES = MacAddress("00:16:3e:10:10:01"), (ip_address("192.0.2.1"), ip_address("2001:db8::1"))
CONFIGURED = DomuFact(
    True, paths=("/m/xen01.img",), toolstack=True, config_memory=Mib(512), config_mac=MAC, config_addresses=ADDRESSES, lacking=("/m/xen01.img",))


def node(rows: str = DOM0_ROW, **files: str) -> ScriptedDom0:
    """A dom0 with Xen: `xl list` shows these rows, /x holds these configurations."""
    answers = {xl.LIST: HEADER + rows, xl.details("xen01"): LISTING}
    return ScriptedDom0(answers, {"/proc/xen/capabilities": "control_d\n", **{f"/x/{name}": text for name, text in files.items()}})


def test_a_running_domu() -> None:
    expected = dataclasses.replace(CONFIGURED, state="blocked", flags="-b----", domid=3, max_memory=Mib(1024), vcpus=2, cpu_seconds=12.5)
    assert survey.domu(node(DOM0_ROW + ROW, xen01=CONFIG), XL, VPS) == expected


def test_a_configured_domu_that_does_not_run() -> None:
    dom0 = node(DOM0_ROW + ROW.replace("xen01 ", "xen010"), xen01=CONFIG)
    assert survey.domu(dom0, XL, VPS) == CONFIGURED
    assert ("capture", xl.details("xen01")) not in dom0.calls, "nothing more is asked of what does not run"


def test_a_domu_between_two_lives_is_not_stopped() -> None:
    dom0 = node(xen01=CONFIG)
    dom0.held_open[xl.monitor_log("xen01")] = ("pid 12 (xl)",)
    assert survey.domu(dom0, XL, VPS).state == "dying"


def test_a_domu_that_runs_without_a_configuration() -> None:
    fact = survey.domu(node(ROW), XL, VPS)
    assert (fact.configured, fact.state, fact.paths) == (False, "blocked", ())


@pytest.mark.parametrize("answer", [Ran(1, ""), "", "[]", "libxl: error", json.dumps([{"domid": 4, "config": {"b_info": {"max_memkb": 1}}}])])
def test_without_its_details_the_table_must_do(answer: Ran | str) -> None:
    dom0 = node(ROW)
    dom0.answers[xl.details("xen01")] = answer
    assert survey.domu(dom0, XL, VPS).max_memory == Mib(512)


@pytest.mark.parametrize(("answer", "reason"), [
    (Ran(127, ""), "not installed"), (Ran(1, ""), "ended with code 1"), ("", "not the table"), (HEADER + "xen01 lives", "cannot be read"), (Ran(124, ""), "in time")])
def test_no_answer_of_xen_is_not_taken_for_stopped(answer: Ran | str, reason: str) -> None:
    dom0 = node()
    dom0.answers[xl.LIST] = answer
    assert reason in survey.domu(dom0, XL, VPS).trouble


def test_the_toolstack_is_asked_where_there_is_one() -> None:
    assert survey.domu(node(ROW), AUTO, VPS).state == "blocked"
    assert survey.domu(ScriptedDom0(), AUTO, VPS) == DomuFact(False, toolstack=False), "no /proc/xen: no command is run"
    assert survey.domu(ScriptedDom0(files={"/proc/xen/capabilities": "\n"}), AUTO, VPS).state == "", "a domU is no dom0"
    assert survey.domu(node(ROW), NONE, VPS).state == ""
    with pytest.raises(AssertionError, match="no answer"):
        survey.domu(ScriptedDom0(), XL, VPS)


def test_a_configuration_that_cannot_be_read_is_one_still() -> None:
    assert survey.domu(node(xen01="#" * (1 << 20 | 1)), NONE, VPS) == DomuFact(True)
    dom0 = ScriptedDom0()
    dom0.memory.links["/x/xen01"] = "/gone"
    assert survey.domu(dom0, NONE, VPS).configured


def test_what_the_configuration_says_and_which_of_its_disks_are_there() -> None:
    dom0 = node(xen01=CONFIG.replace("xvda,access=w", "xvda,access=r") + "vcpus = 2\ndisk += [ 'phy:vg0/xen01swap,xvdb,w', 'script=block-iscsi,vdev=xvdc,target=iqn=x' ]\n")
    dom0.files["/m/xen01.img"] = b""
    fact = survey.domu(dom0, XL, VPS)
    assert (fact.lacking, fact.config_vcpus) == (("/dev/vg0/xen01swap",), 2), "a name that is no path is xl's business"


def test_how_it_boots_is_what_its_configuration_says() -> None:
    assert survey.domu(node(xen01=CONFIG), XL, VPS).boot is None
    assert survey.domu(node(xen01=CONFIG + 'bootloader = "pygrub"\n'), XL, VPS).boot is BootMode.PYGRUB
    assert survey.domu(node(xen01=CONFIG + 'type = "pvh"\nkernel = "/usr/lib/grub-xen/grub-i386-xen_pvh.bin"\n'), XL, VPS).boot is BootMode.PVH_GRUB


def test_a_configuration_that_is_kept_with_an_earlier_system_is_told() -> None:
    assert survey.domu(node(**{"xen01.kept": CONFIG}), XL, VPS).kept_config and not survey.domu(node(xen01=CONFIG), XL, VPS).kept_config


def test_the_rescue_system_is_known_by_its_kernel() -> None:
    dom0 = node(ROW, xen01=CONFIG)
    assert not survey.domu(dom0, XL, VPS).rescue
    dom0.answers[xl.details("xen01")] = LISTING.replace("/boot/vmlinuz", XL.rescue_kernel)
    assert survey.domu(dom0, XL, VPS).rescue


def test_configurations_in_order_and_nothing_else() -> None:
    dom0 = node(xen02=CONFIG, xen1000=CONFIG, xen01=CONFIG, xen101=CONFIG, xen10=CONFIG, xen010=CONFIG, xen00=CONFIG, xen3=CONFIG, xen04="#" * (1 << 20 | 1), **{
        "xen01.previous": CONFIG, "xl.conf": "", "auto/xen01": CONFIG})
    assert [(vps.name, len(config.addresses)) for vps, config in survey.configured(dom0, NONE)] == [
        ("xen01", 2), ("xen02", 2), ("xen10", 2), ("xen101", 2), ("xen1000", 2)]


def test_taken_macs_name_their_vps() -> None:
    dom0 = node(xen01=CONFIG, xen02=CONFIG, xen03=CONFIG.replace("10:01", "10:03"), xen04="name = 'xen04'")
    assert survey.taken_macs(dom0, NONE) == {MacAddress("00:16:3e:10:10:01"): "xen01", MacAddress("00:16:3e:10:10:03"): "xen03"}
