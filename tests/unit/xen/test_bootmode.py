"""How a new system boots: who has a say, what the node can, and what dom0 loads."""

from __future__ import annotations

import dataclasses

import pytest

from dtcxen_soap.errors import Refused
from dtcxen_soap.facts import NodeFact
from dtcxen_soap.settings import load
from dtcxen_soap.vps import BootMode
from dtcxen_soap.xen import bootmode

PVH, PV, DIRECT, PYGRUB = BootMode.PVH_GRUB, BootMode.PV_GRUB, BootMode.DIRECT, BootMode.PYGRUB
KERNEL, RAMDISK = "/boot/vmlinuz-6.1.0-9-amd64", "/boot/initrd.img-6.1.0-9-amd64"
ALL = NodeFact(
    "node", "id", "bookworm", "6.1.0-9-amd64", kernels=frozenset({KERNEL, RAMDISK}), commands=frozenset({"setfacl"}),
    loaders=frozenset({*bootmode.GRUB.values(), "/usr/lib/xen-4.17/bin/pygrub"}), hvm=True)
NONE = dataclasses.replace(ALL, kernels=frozenset(), loaders=frozenset(), hvm=False)
DEFAULTS = load("").settings


def without(node: NodeFact, *paths: str) -> NodeFact:
    return dataclasses.replace(node, loaders=node.loaders - set(paths), kernels=node.kernels - set(paths))


@pytest.mark.parametrize(("node", "mode"), [
    (ALL, PVH), (dataclasses.replace(ALL, hvm=False), PV), (without(ALL, bootmode.GRUB[PVH]), PV), (without(ALL, *bootmode.GRUB.values()), DIRECT), (NONE, DIRECT)])
def test_where_nobody_chose_it_is_the_first_that_the_node_can_and_never_pygrub(node: NodeFact, mode: BootMode) -> None:
    assert bootmode.choose(None, None, DEFAULTS, node) is mode


def test_the_caller_goes_before_the_bundle_and_the_bundle_before_the_node() -> None:
    direct = load("boot_mode=direct").settings
    assert bootmode.choose(PV, PYGRUB, direct, ALL) is PV
    assert bootmode.choose(None, PYGRUB, direct, ALL) is PYGRUB
    assert bootmode.choose(None, None, direct, ALL) is DIRECT


@pytest.mark.parametrize(("mode", "node", "problem"), [
    (PVH, dataclasses.replace(ALL, hvm=False), "cannot run PVH guests"),
    (PVH, without(ALL, bootmode.GRUB[PVH]), "grub-i386-xen_pvh.bin is not there: install the package grub-xen-host"),
    (PV, without(ALL, bootmode.GRUB[PV]), "grub-x86_64-xen.bin is not there"),
    (PYGRUB, without(ALL, "/usr/lib/xen-4.17/bin/pygrub"), "has no pygrub"),
    (PYGRUB, dataclasses.replace(ALL, commands=frozenset()), "no setfacl, which lets pygrub's user read a VPS's disk: install the package acl"),
    (DIRECT, without(ALL, KERNEL), f"{KERNEL} is not there: KERNELPATH"),
])
def test_what_the_node_cannot_is_refused_by_the_parameter(mode: BootMode, node: NodeFact, problem: str) -> None:
    with pytest.raises(Refused) as error:
        bootmode.choose(mode, None, DEFAULTS, node)
    told = str(error.value)
    assert told.startswith(f"reinstallOS: bootMode: {mode.value}: ") and problem in told
    assert mode.value not in told.rpartition("expected ")[2] and "pv" in told.rpartition("expected ")[2]
    with pytest.raises(Refused, match="which its OS type wants"):
        bootmode.choose(None, mode, DEFAULTS, node)
    with pytest.raises(Refused, match="which boot_mode of this node says"):
        bootmode.choose(None, None, load(f"boot_mode={mode.value}").settings, node)


def test_a_node_that_can_nothing_says_so() -> None:
    with pytest.raises(Refused, match="expected a node that can start VPSes"):
        bootmode.choose(PV, None, DEFAULTS, NONE)


def test_what_dom0_loads() -> None:
    kernels = {mode: bootmode.domu_kernel(mode, DEFAULTS, ALL) for mode in BootMode}
    assert kernels == {PVH: (bootmode.GRUB[PVH], ""), PV: (bootmode.GRUB[PV], ""), DIRECT: (KERNEL, RAMDISK), PYGRUB: ("", ""), BootMode.HVM: ("", ""), BootMode.NETBSD: ("", "")}
    assert bootmode.domu_kernel(BootMode.NETBSD, load("bsd_kernel_path=/boot/netbsd").settings, ALL) == ("/boot/netbsd", "")


def test_the_nodes_kernel_is_what_the_settings_name() -> None:
    named = load("KERNELPATH=/srv/k\nINITRDPATH=/srv/i").settings
    assert bootmode.domu_kernel(DIRECT, named, ALL) == ("/srv/k", "/srv/i")
    assert bootmode.node_kernel(named, ALL) == ("", ""), "not there"
    assert bootmode.node_kernel(named, dataclasses.replace(ALL, kernels=frozenset({"/srv/k"}))) == ("/srv/k", "")
    assert bootmode.domu_kernel(DIRECT, load("KERNEL_RELEASE=5.10").settings, ALL) == ("/boot/vmlinuz-5.10", "")
    assert bootmode.node_kernel(DEFAULTS, ALL) == (KERNEL, RAMDISK)


def test_pygrub_is_warned_about_and_nothing_else_is() -> None:
    told = {mode: bootmode.notes(mode, load("pygrub_user=grubby").settings) for mode in BootMode}
    assert "as user grubby" in told.pop(PYGRUB)[0] and set(told.values()) == {()}


@pytest.mark.parametrize(("virt_caps", "able"), [("pv hvm hap gnttab-v1", True), ("hvm hvm_directio", True), ("pv", False), ("pv hvm_directio", False), ("", False)])
def test_virt_caps(virt_caps: str, able: bool) -> None:
    assert bootmode.runs_hvm(virt_caps) is able
