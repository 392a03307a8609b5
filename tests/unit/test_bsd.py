"""changeBSDkernel: the node's NetBSD kernels by their settings, and a clear word where there is none."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from dtcxen_soap import bsd
from dtcxen_soap.access import Caller, Role
from dtcxen_soap.answers import ConfigWritten
from dtcxen_soap.errors import Busy, Missing, NotAllowed, Refused
from dtcxen_soap.facts import DiskFact, DomuFact, Facts, NodeFact, TenancyFact
from dtcxen_soap.operations import prepare
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import MustBeFree, Plan, Symlink, WriteFile
from dtcxen_soap.requests import BsdKernel, parse
from dtcxen_soap.settings import Settings, load
from dtcxen_soap.vps import DiskRole, VpsId
from dtcxen_soap.xen import config

KERNELS = "bsd_kernel_path=/boot/netbsd-XEN3_DOMU.gz\nbsd_install_kernel_path=/boot/netbsd-INSTALL_XEN3_DOMU.gz\n"
BASE = "xen_config_dir=/x\nprovisioning_mount_point=/m\n"
SETTINGS = load(BASE + KERNELS).settings
NODE = NodeFact("node", "id", "bookworm", "6.1.0", kernels=frozenset({"/boot/netbsd-XEN3_DOMU.gz", "/boot/netbsd-INSTALL_XEN3_DOMU.gz"}))
ROOT = DiskFact(DiskRole.ROOT, "/m/xen51.img", 1 << 30, False)
FACTS = Facts(now=datetime(2026, 11, 23, tzinfo=UTC), disks=(ROOT,), node=NODE, domu=DomuFact(False, toolstack=True))
AGAIN = dataclasses.replace(FACTS, domu=DomuFact(True, toolstack=True))
WORDS = {"vpsname": "51", "ramsize": "128", "kerneltype": "normal", "allipaddrs": "192.0.2.10 192.0.2.11"}


def asked(**changed: str) -> BsdKernel:
    return parse(BsdKernel, "changeBSDkernel", tuple((WORDS | changed).items()), SETTINGS, old=True, rpc=True)


def written(plan: Plan) -> config.DomuConfig:
    content = next(step for step in plan.steps if isinstance(step, WriteFile)).content
    assert isinstance(content, str)
    return config.parse(content)


def refused(settings: Settings, facts: Facts = FACTS, **changed: str) -> str:
    with pytest.raises(Refused) as error:
        bsd.plan(asked(**changed), settings, facts)
    return str(error.value)


@pytest.mark.parametrize(("name", "facts"), [("first", FACTS), ("again", AGAIN)])
def test_plans(golden: Any, name: str, facts: Facts) -> None:
    golden(f"plans/bsd-{name}.txt", "\n".join(render(bsd.plan(asked(), SETTINGS, facts))) + "\n")


@pytest.mark.parametrize(("kernel", "path"), [("normal", "/boot/netbsd-XEN3_DOMU.gz"), ("install", "/boot/netbsd-INSTALL_XEN3_DOMU.gz")])
def test_each_kernel_is_the_nodes_own(golden: Any, kernel: str, path: str) -> None:
    plan = bsd.plan(asked(kerneltype=kernel), SETTINGS, FACTS)
    found = written(plan)
    assert (found.kernel, found.ramdisk, found.memory, found.name) == (path, "", 128, "xen51")
    assert [str(address) for address in found.addresses] == ["192.0.2.10", "192.0.2.11"] and found.paths == ("/m/xen51.img",)
    assert plan.answer == ConfigWritten("/x/xen51")
    content = next(step for step in plan.steps if isinstance(step, WriteFile)).content
    golden(f"xen/netbsd-{kernel}.cfg", str(content))


def test_it_starts_with_the_node_as_the_originals_did() -> None:
    assert [(step.path, step.target) for step in bsd.plan(asked(), SETTINGS, AGAIN).steps if isinstance(step, Symlink)] == [("/x/auto/xen51", "../xen51")]


@pytest.mark.parametrize(("kernel", "setting"), [("normal", "bsd_kernel_path"), ("install", "bsd_install_kernel_path")])
def test_a_kernel_that_is_not_named_or_not_there_is_told_with_its_setting(kernel: str, setting: str) -> None:
    told = refused(load(BASE).settings, kerneltype=kernel)
    assert f"changeBSDkernel: kernel: {kernel}: {setting} of this node is not set, expected a NetBSD kernel on the node" in told
    absent = dataclasses.replace(FACTS, node=dataclasses.replace(NODE, kernels=frozenset()))
    assert f"{setting} of this node names /boot/netbsd-" in refused(SETTINGS, absent, kerneltype=kernel)


@pytest.mark.parametrize(("parameter", "value", "problem"), [
    ("kerneltype", "other", "expected normal or install"), ("kerneltype", "", "empty"), ("ramsize", "1; reboot", "not a whole number"),
    ("allipaddrs", "192.0.2.10\" ]\ndisk=[", "not of the form")])
def test_what_is_no_request(parameter: str, value: str, problem: str) -> None:
    with pytest.raises(Refused, match=problem):
        asked(**{parameter: value})


def test_what_speaks_against_it() -> None:
    with pytest.raises(Busy, match="xen51 is running"):
        bsd.plan(asked(), SETTINGS, dataclasses.replace(FACTS, domu=DomuFact(True, "running", toolstack=True)))
    with pytest.raises(Missing, match="no root disk"):
        bsd.plan(asked(), SETTINGS, dataclasses.replace(FACTS, disks=()))
    assert "VPS 51 is blocked: x" in refused(SETTINGS, dataclasses.replace(FACTS, tenancy=TenancyFact(1, "x")))
    assert isinstance(bsd.plan(asked(), SETTINGS, FACTS).steps[0], MustBeFree)


def test_only_the_admin_configures() -> None:
    assert prepare("changeBSDkernel", tuple(WORDS.items()), SETTINGS, Caller("dtc-xen", Role.ADMIN), rpc=True).vps == VpsId(51)
    with pytest.raises(NotAllowed):
        prepare("changeBSDkernel", tuple(WORDS.items()), SETTINGS, Caller("xen51", Role.OWNER, vps=VpsId(51)), rpc=True)
