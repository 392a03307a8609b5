"""manual, netbsd, xenhvm: a configuration, an untouched disk, and a job that says that nothing was installed."""

from __future__ import annotations

import dataclasses

import pytest

from dtcxen_soap.errors import Busy, Failed, Missing, Refused
from dtcxen_soap.facts import DomuFact, Facts, MemoryFact, QemuFact
from dtcxen_soap.install import byhand, ostypes, reinstall
from dtcxen_soap.osfacts import BundleFact
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import Plan, Run, WatchBoot, WriteFile, walk
from dtcxen_soap.requests import Reinstall, parse
from dtcxen_soap.settings import load
from dtcxen_soap.vps import Mib
from tests.unit.install.test_reinstall import AGAIN, CONFIG, FIRST, NODE, ROOT, SWAP

SETTINGS = load(CONFIG + "state_dir=/s\nbsd_kernel_path=/k/netbsd\nbsd_install_kernel_path=/k/netbsd-install").settings
ABLE = dataclasses.replace(NODE, hvm=True, kernels=NODE.kernels | {"/k/netbsd", "/k/netbsd-install"})
USED = dataclasses.replace(AGAIN, node=ABLE, qemu=QemuFact("/usr/bin/qemu-system-i386"), memory=MemoryFact(Mib(1024), Mib(4096)))
FRESH = dataclasses.replace(FIRST, node=ABLE, qemu=QemuFact("/usr/bin/qemu-system-i386"), memory=MemoryFact(Mib(1024), Mib(4096)))
OLD = {"vpsname": "01", "ostype": "", "ramsize": "128", "password": "hunter2", "nics": "192.0.2.10/24"}
NEW = {"vps": "01", "osType": "", "ramSizeMib": "128", "password": "hunter2", "nics": "192.0.2.10/24"}


def planned(os_type: str, facts: Facts, old: bool = False, **changed: str) -> Plan:
    words = (OLD if old else NEW) | {"ostype" if old else "osType": os_type} | changed
    request = parse(Reinstall, "reinstallVPSos" if old else "reinstallOS", list(words.items()), SETTINGS, old=old, rpc=old)
    assert set(byhand.needs(request, SETTINGS)) <= set(reinstall.needs(request, SETTINGS))
    return reinstall.plan(request, SETTINGS, facts)


@pytest.mark.parametrize("old", [False, True], ids=["new form", "the panel's"])
@pytest.mark.parametrize("os_type", byhand.KINDS)
def test_plans(golden, os_type: str, old: bool) -> None:
    plan = planned(os_type, USED, old)
    golden(f"plans/reinstall-{os_type}.txt", "\n".join((*render(plan), f"outcome: {plan.outcome}")) + "\n")


@pytest.mark.parametrize("facts", [FRESH, USED], ids=["fresh", "used"])
@pytest.mark.parametrize("os_type", byhand.KINDS)
def test_no_disk_is_touched_and_the_job_says_that_nothing_was_installed(os_type: str, facts: Facts) -> None:
    plan = planned(os_type, facts)
    assert not [step for step in walk(plan.whole) if step.destroys or (isinstance(step, Run) and {ROOT.path, SWAP.path} & set(step.argv))]
    assert plan.outcome.startswith("nothing was installed: ") and not plan.proof
    (config,) = [str(step.content) for step in walk(plan.steps) if isinstance(step, WriteFile)]
    assert {"manual": "/boot/vmlinuz-6.1.0", "netbsd": "/k/netbsd-install", "xenhvm": "hvm"}[os_type] in config and "192.0.2.10" in config and "hunter2" not in config
    assert ("what is on it stays" in plan.notes[1]) is (facts is USED)


@pytest.mark.parametrize("os_type", byhand.KINDS)
def test_a_start_is_no_proof_of_a_system(os_type: str) -> None:
    ready = dataclasses.replace(USED, domu=DomuFact(True, toolstack=True))
    plan = planned(os_type, ready, start="true")
    assert [step.argv[:2] for step in plan.proof if isinstance(step, Run)] == [("xl", "create")] and not [step for step in plan.proof if isinstance(step, WatchBoot)]
    with pytest.raises(Busy):
        planned(os_type, dataclasses.replace(USED, domu=DomuFact(True, toolstack=True, state="running")), start="true")
    with pytest.raises(Refused, match="ramSizeMib: not enough memory"):
        planned(os_type, dataclasses.replace(ready, memory=MemoryFact(Mib(100), Mib(4096))), start="true")


def test_an_empty_disk_is_not_started() -> None:
    with pytest.raises(Refused, match="start: /m/xen01.img holds nothing that could start"):
        planned("manual", dataclasses.replace(FRESH, domu=DomuFact(False, toolstack=True)), start="true")


@pytest.mark.parametrize(("os_type", "parameter", "value"), [
    *((os_type, "hostname", "a.example") for os_type in byhand.KINDS), ("netbsd", "bootMode", "direct"), ("xenhvm", "bootMode", "direct"),
    ("manual", "sshKeys", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me"), ("netbsd", "userData", "#!/bin/sh")])
def test_what_nothing_could_use_is_refused_by_its_name(os_type: str, parameter: str, value: str) -> None:
    with pytest.raises(Refused, match=f"reinstallOS: {parameter}: {os_type} installs nothing"):
        planned(os_type, USED, **{parameter: value})


@pytest.mark.parametrize(("os_type", "facts", "error", "text"), [
    ("netbsd", dataclasses.replace(USED, node=NODE), Refused, "bsd_install_kernel_path"), ("xenhvm", dataclasses.replace(USED, node=NODE), Refused, "cannot run HVM"),
    ("manual", dataclasses.replace(USED, disks=(SWAP,)), Missing, "setupVPSDisk first"),
    ("manual", dataclasses.replace(USED, bundle=BundleFact("manual", "/o/manual", frozenset(), ())), Failed, "/o/manual has the name of a built-in")])
def test_what_speaks_against_it_is_told_before_anything_is_written(os_type: str, facts: Facts, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        planned(os_type, facts)


def test_they_are_named_among_the_types_there_are() -> None:
    with pytest.raises(Refused, match="debian, manual, netbsd, xenhvm"):
        ostypes.refuse_unready("nothing", SETTINGS, USED)
