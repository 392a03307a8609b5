"""What is configured and what runs, and never a stopped domU for want of an answer."""

from __future__ import annotations

import json

import pytest

from dtcxen_soap import survey_domu as survey
from dtcxen_soap.facts import DomuFact
from dtcxen_soap.processes import Ran
from dtcxen_soap.settings import load
from dtcxen_soap.vps import MacAddress, Mib, VpsId
from dtcxen_soap.xen import xl
from tests.fakes import ScriptedDom0

VPS = VpsId(1)
NONE = load("xen_config_dir=/x\ntoolstack=none").settings
XL = load("xen_config_dir=/x\ntoolstack=xl").settings
AUTO = load("xen_config_dir=/x").settings
HEADER = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n"
DOM0_ROW = "Domain-0                                     0  2048     2     r-----      99.0\n"
ROW = "xen01                                        3   512     2     -b----      12.5\n"
CONFIG = 'name = "xen01"\nmemory = 512\nvif = [ "mac=00:16:3e:10:10:01,ip=192.0.2.1 2001:db8::1" ]\ndisk = [ "format=raw,vdev=xvda,access=w,target=/m/xen01.img" ]\n'
LISTING = json.dumps([{"domid": 3, "config": {"b_info": {"max_memkb": 1 << 20}}}])


def node(rows: str = DOM0_ROW, **files: str) -> ScriptedDom0:
    """A dom0 with Xen: `xl list` shows these rows, /x holds these configurations."""
    answers = {xl.LIST: HEADER + rows, xl.details("xen01"): LISTING}
    return ScriptedDom0(answers, {"/proc/xen/capabilities": "control_d\n", **{f"/x/{name}": text for name, text in files.items()}})


def test_a_running_domu() -> None:
    assert survey.domu(node(DOM0_ROW + ROW, xen01=CONFIG), XL, VPS) == DomuFact(True, "blocked", 3, Mib(1024), 2, 12.5, ("/m/xen01.img",))


def test_a_configured_domu_that_does_not_run() -> None:
    dom0 = node(DOM0_ROW + ROW.replace("xen01 ", "xen010"), xen01=CONFIG)
    assert survey.domu(dom0, XL, VPS) == DomuFact(True, paths=("/m/xen01.img",))
    assert ("capture", xl.details("xen01")) not in dom0.calls, "nothing more is asked of what does not run"


def test_a_domu_that_runs_without_a_configuration() -> None:
    fact = survey.domu(node(ROW), XL, VPS)
    assert (fact.configured, fact.state, fact.paths) == (False, "blocked", ())


@pytest.mark.parametrize("answer", [Ran(1, ""), "", "[]", "libxl: error", json.dumps([{"domid": 4, "config": {"b_info": {"max_memkb": 1}}}])])
def test_without_its_details_the_table_must_do(answer: Ran | str) -> None:
    dom0 = node(ROW)
    dom0.answers[xl.details("xen01")] = answer
    assert survey.domu(dom0, XL, VPS).max_memory == Mib(512)


@pytest.mark.parametrize(("answer", "reason"), [
    (Ran(127, ""), "not installed"), (Ran(1, ""), "ended with code 1"), ("", "not the table"), (HEADER + "xen01 lives", "cannot be read")])
def test_no_answer_of_xen_is_not_taken_for_stopped(answer: Ran | str, reason: str) -> None:
    dom0 = node()
    dom0.answers[xl.LIST] = answer
    assert reason in survey.domu(dom0, XL, VPS).trouble


def test_the_toolstack_is_asked_where_there_is_one() -> None:
    assert survey.domu(node(ROW), AUTO, VPS).state == "blocked"
    assert survey.domu(ScriptedDom0(), AUTO, VPS) == DomuFact(False), "no /proc/xen: no command is run"
    assert survey.domu(ScriptedDom0(files={"/proc/xen/capabilities": "\n"}), AUTO, VPS).state == "", "a domU is no dom0"
    assert survey.domu(node(ROW), NONE, VPS).state == ""
    with pytest.raises(AssertionError, match="no answer"):
        survey.domu(ScriptedDom0(), XL, VPS)


def test_a_configuration_that_cannot_be_read_is_one_still() -> None:
    assert survey.domu(node(xen01="#" * (1 << 20 | 1)), NONE, VPS) == DomuFact(True)
    dom0 = ScriptedDom0()
    dom0.memory.links["/x/xen01"] = "/gone"
    assert survey.domu(dom0, NONE, VPS).configured


def test_configurations_in_order_and_nothing_else() -> None:
    dom0 = node(xen02=CONFIG, xen1000=CONFIG, xen01=CONFIG, xen101=CONFIG, xen10=CONFIG, xen010=CONFIG, xen00=CONFIG, xen3=CONFIG, xen04="#" * (1 << 20 | 1), **{
        "xen01.previous": CONFIG, "xl.conf": "", "auto/xen01": CONFIG})
    assert [(vps.name, len(config.addresses)) for vps, config in survey.configured(dom0, NONE)] == [
        ("xen01", 2), ("xen02", 2), ("xen10", 2), ("xen101", 2), ("xen1000", 2)]


def test_taken_macs_name_their_vps() -> None:
    dom0 = node(xen01=CONFIG, xen02=CONFIG, xen03=CONFIG.replace("10:01", "10:03"), xen04="name = 'xen04'")
    assert survey.taken_macs(dom0, NONE) == {MacAddress("00:16:3e:10:10:01"): "xen01", MacAddress("00:16:3e:10:10:03"): "xen03"}
