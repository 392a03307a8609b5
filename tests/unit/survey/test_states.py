"""All VPSes at once: which there are, what runs, and what is not known."""

from __future__ import annotations

from pathlib import Path

from dtcxen_soap import reports
from dtcxen_soap import requests as req
from dtcxen_soap.facts import Facts
from dtcxen_soap.lookfacts import VPS_STATES, StateFact
from dtcxen_soap.processes import Ran
from dtcxen_soap.settings import load
from dtcxen_soap.survey import states as survey_states
from dtcxen_soap.vps import Mib, VpsId
from dtcxen_soap.xen import xl
from tests.fakes import FakeVolume, ScriptedDom0

DATA = Path(__file__).parents[2] / "data"
TABLE = (DATA / "xl-list-4.17-pv-pvh-hvm.txt").read_text().replace("test-pvh", "xen0012 ").replace("test-pv", "xen01  ").replace("test-hvm", "xen120  ")
LONG = (DATA / "xl-list-l-4.17-pv-pvh-hvm.json").read_text()
SETTINGS = load("provisioning_mount_point=/m\nxen_config_dir=/x\ntoolstack=xl\n").settings
FILES = {"/x/xen07": 'name = "xen07"\n', "/m/xen08.img": "", "/m/xen009.img": "", "/m/xen08.swap.img": "", "/m/xen10.img.new": "", "/x/xen00": "", "/x/xl.conf": ""}


def states(dom0: ScriptedDom0, settings=SETTINGS, busy=lambda vps: ""):
    facts = Facts(states=survey_states.states(dom0, settings, busy))
    return {row.vps: row for row in reports.vpses(req.NoParameters(), settings, facts).vpses}


def test_configured_with_a_disk_or_running_each_counts_once_in_order():
    found = states(ScriptedDom0({xl.LIST: TABLE, xl.DETAILS: LONG}, files=FILES))
    assert list(found) == ["01", "07", "08", "120"]
    assert found["01"].state == found["120"].state == "running" and (found["01"].domid, found["01"].domu_state) == (1, "-b----")
    assert found["07"].state == found["08"].state == "Not running" and found["07"].domid is None


def test_a_job_comes_first_and_no_answer_is_never_taken_for_stopped():
    dom0 = ScriptedDom0({xl.LIST: Ran(1, "xl: no")}, files=FILES)
    found = states(dom0, busy=lambda vps: "mkos" if vps == VpsId(8) else "")
    assert found["08"].state == "mkos" and found["07"].state.startswith("NOTOK - ")


def test_without_a_toolstack_nothing_runs_and_xl_is_not_asked():
    settings = load("provisioning_mount_point=/m\nxen_config_dir=/x\ntoolstack=none\n").settings
    dom0 = ScriptedDom0(files=FILES)
    assert [row.state for row in states(dom0, settings).values()] == ["Not running", "Not running"]
    assert not [call for call in dom0.calls if call[0] == "capture" and call[1] == xl.LIST]


def test_the_rescue_system_is_told_as_such():
    settings = load("provisioning_mount_point=/m\nxen_config_dir=/x\ntoolstack=xl\nrescue_kernel=/boot/vmlinuz-6.1.0-56-amd64\n").settings
    dom0 = ScriptedDom0({xl.LIST: TABLE, xl.DETAILS: LONG})
    assert {vps: row.state for vps, row in states(dom0, settings).items()} == {"01": "rescue", "120": "running"}


def test_details_that_cannot_be_read_are_no_reason_to_say_nothing():
    assert states(ScriptedDom0({xl.LIST: TABLE, xl.DETAILS: "no JSON"}))["01"].state == "running"


def test_a_volume_counts_in_the_nodes_group_only():
    settings = load("provisioning_mount_point=/m\nxen_config_dir=/x\ntoolstack=none\nprovisioning_volgroup=vg0\n").settings
    dom0 = ScriptedDom0()
    dom0.vgs = {"vg0": 1 << 30, "vg1": 1 << 30}
    dom0.volumes = {("vg0", "xen03"): FakeVolume(Mib(1)), ("vg0", "xen03swap"): FakeVolume(Mib(1)), ("vg1", "xen04"): FakeVolume(Mib(1))}
    assert list(states(dom0, settings)) == ["03"]


def test_each_is_one_word_for_those_who_count():
    """A job first, then Xen's; a domU that waits for work runs; what is not known is no word."""
    words = [StateFact(VpsId(1), busy, trouble, state).word for busy, trouble, state in (
        ("mkos", "no answer", ""), ("fsck", "", "running"), ("", "", "blocked"), ("", "", ""), ("", "", "crashed"), ("", "no answer", ""))]
    assert words == ["mkos", "fsck", "running", "stopped", "crashed", ""] and set(words[:-1]) <= set(VPS_STATES)
    found = survey_states.states(ScriptedDom0({xl.LIST: TABLE, xl.DETAILS: LONG}, files=FILES), SETTINGS, lambda vps: "")
    assert [state.word for state in found] == ["running", "stopped", "stopped", "running"]
