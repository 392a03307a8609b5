"""The catalogue: names, forms, admission; nothing is decided before a call is checked and admitted."""

from __future__ import annotations

import pytest

from dtcxen_soap.access import Access, Caller, Role
from dtcxen_soap.calls import Kind
from dtcxen_soap.errors import NotAllowed, Refused
from dtcxen_soap.facts import DiskFact, Facts, NeedJobs, NeedPings
from dtcxen_soap.lookfacts import NeedJobCounts, NeedStates, StateFact
from dtcxen_soap.operations import OPERATIONS, find, forms, job_counts, latest_jobs, of_the_node, prepare, vps_states
from dtcxen_soap.settings import load
from dtcxen_soap.vps import DiskRole, VpsId

SETTINGS = load("default_image_type=vbd\novercommit=yes").settings
ADMIN, OWNER = Caller("dtc-xen", Role.ADMIN), Caller("xen01", Role.OWNER, vps=VpsId(1))


def test_names_mean_one_operation_each():
    for rpc in (False, True):
        names = [form.name for form in forms(rpc)]
        assert len(names) == len(set(names))
        assert {form.operation for form in forms(rpc)} == set(OPERATIONS)


@pytest.mark.parametrize(("name", "rpc", "parameters"), [
    ("getVPSState", True, ["vpsname"]), ("getVPSState", False, ["vps"]), ("killVPS", False, ["vpsname", "imagetype"]), ("killVPSDisk", True, ["vps", "planOnly"])])
def test_the_name_chooses_the_parameters_and_the_dialect_where_the_name_is_shared(name, rpc, parameters):
    form = find(name, rpc)
    assert form and [parameter.name(form.old) for parameter in form.parameters] == parameters


def test_an_unknown_operation_is_the_callers_fault():
    with pytest.raises(Refused, match="format: unknown operation"):
        prepare("format", [], SETTINGS, ADMIN, rpc=True)
    with pytest.raises(Refused):
        prepare("", [], SETTINGS, ADMIN, rpc=True)


@pytest.mark.parametrize("written", ["01", "xen01", "1"])
def test_an_owner_acts_on_its_own_vps_however_it_is_written(written):
    assert prepare("getVPSState", [("vpsname", written)], SETTINGS, OWNER, rpc=True).vps == VpsId(1)


@pytest.mark.parametrize("written", ["10", "xen10", "xenxen01"])
def test_and_on_no_other(written):
    with pytest.raises((NotAllowed, Refused)):
        prepare("getVPSState", [("vpsname", written)], SETTINGS, OWNER, rpc=True)


def test_an_owners_job_list_is_its_own():
    call = prepare("listJobs", [], SETTINGS, OWNER, rpc=False)
    assert call.vps == VpsId(1) and call.needs == (NeedJobs(owner=VpsId(1)),)
    assert prepare("listJobs", [], SETTINGS, ADMIN, rpc=False).needs == (NeedJobs(),)
    own = latest_jobs(SETTINGS, ("failed",), 5, OWNER)
    assert own.vps == VpsId(1) and own.needs == (NeedJobs(vps=VpsId(1), owner=VpsId(1), limit=5, states=("failed",)),)
    assert latest_jobs(SETTINGS, ("failed",), 5).needs == (NeedJobs(limit=5, states=("failed",)),)


OWNERS = {"startVPS", "shutdownVPS", "rebootVPS", "destroyVPS", "fsckVPSpartition", "setConsolePassword", "setSshKey", "setSoapPassword"}
"""What an owner may do to the own VPS, beside reading; whatever sets disk, RAM, address or configuration is the admin's."""


def test_changing_calls_are_the_admins():
    assert {operation.name for operation in OPERATIONS if operation.access is Access.OWNER} == OWNERS
    for operation in OPERATIONS:
        if operation.kind is not Kind.READ and operation.name not in OWNERS:
            with pytest.raises((NotAllowed, Refused)):
                prepare(operation.name, [("vps", "01")], SETTINGS, OWNER, rpc=False)


def test_a_refusal_names_what_the_caller_wrote():
    new = [("vps", "01"), ("ramSizeMib", "128"), ("kernel", "install"), ("addresses", "192.0.2.1")]
    old = [("vpsname", "01"), ("ramsize", "128"), ("kerneltype", "install"), ("allipaddrs", "192.0.2.1")]
    facts = Facts(disks=(DiskFact(DiskRole.ROOT, "/m/xen01.img", 1 << 30, True),))
    for rpc, given, told in ((False, new, "changeBSDkernel: kernel: "), (True, old, "changeBSDkernel: kerneltype: ")):
        with pytest.raises(Refused) as refused:
            prepare("changeBSDkernel", given, SETTINGS, ADMIN, rpc=rpc).decide(facts)
        assert str(refused.value).startswith(told)
    given = [("vpsname", "01"), ("hddsize", "2048"), ("swapsize", "0"), ("imagetype", "lvm")]
    with pytest.raises(Refused, match=r"^setupLVMDisks: imagetype: "):
        prepare("setupLVMDisks", given, SETTINGS, ADMIN, rpc=True).decide(facts)


def test_decide_is_pure_and_plan_only_is_seen():
    call = prepare("setupVPSDisk", [("vps", "01"), ("diskSizeMib", "2048"), ("swapSizeMib", "0"), ("planOnly", "true")], SETTINGS, ADMIN, rpc=False)
    assert call.plan_only and call.decide(Facts()) == call.decide(Facts())


def test_the_node_asks_itself_as_it_would_be_asked():
    assert of_the_node("pingAllIPs", SETTINGS).needs == (NeedPings(1000, 1),)
    for call, needed in ((vps_states(), NeedStates()), (job_counts(), NeedJobCounts())):
        assert (call.kind, call.needs, call.vps, call.caller.name) == (Kind.READ, (needed,), None, "node")
    facts = Facts(states=(StateFact(VpsId(1)),), job_counts={"done": 1})
    assert vps_states().decide(facts) is facts.states and job_counts().decide(facts) is facts.job_counts
