"""reinstallOS of manual, netbsd and xenhvm: nothing is installed; the VPS is made ready for whoever installs it.

netbsd boots the node's kernel that installs NetBSD, xenhvm boots the disk by firmware, each by the
planner of the operation that the panel has for it. manual gives a disk that was never used an empty
file system, as the original did, but does not leave it mounted; whatever else the VPS has stays. A
disk that was used is never written. What the job says at its end is that nothing was installed, and
what comes next.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from dtcxen_soap import accounts, bsd, configfile, disks, hvm, power, stores
from dtcxen_soap.answers import ConfigWritten
from dtcxen_soap.errors import Failed, ParameterFault, Refused
from dtcxen_soap.facts import DiskFact, Facts, Need, NeedAccounts, NeedDisks, NeedDomu, NeedInstall, NeedMemory, NeedQemu, NeedTenancy
from dtcxen_soap.install import rootdisk
from dtcxen_soap.plans import Plan, Step
from dtcxen_soap.requests import BsdKernel, HvmConfig, Reinstall
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import BootMode, DiskRole, Nic, Vps
from dtcxen_soap.xen import bootmode

_OPERATION = rootdisk.OPERATION
_MANUAL, _NETBSD, _XENHVM = "manual", "netbsd", "xenhvm"
_MODES = {_NETBSD: BootMode.NETBSD, _XENHVM: BootMode.HVM}
_IGNORED = "password, gateway, dns and the node's first-boot snippets have no effect: nothing is written into the VPS"


def needs(request: Reinstall, settings: Settings) -> tuple[Need, ...]:
    """What the VPS has, what this node can, and what bears the type's name although it must not."""
    vps = request.vps
    qemu = (NeedQemu(),) if request.os_type == _XENHVM else ()
    memory = (NeedMemory(),) if request.start else ()
    return NeedDisks(vps), NeedDomu(vps), NeedTenancy(vps), NeedInstall(vps, request.os_type), NeedAccounts(vps), *qemu, *memory


@dataclass(frozen=True)
class _Ready:
    """How a VPS is made ready: what is done to its disks, how its configuration gets into its place, and how both are told."""

    on_disks: tuple[Step, ...]
    configuration: tuple[Step, ...]
    notes: tuple[str, ...]
    outcome: str


def plan(request: Reinstall, settings: Settings, facts: Facts) -> Plan:
    """Make the VPS ready. Raises Refused, Missing, Busy or Failed before anything is planned."""
    root = _refuse(request, settings, facts)
    ready = _manual(request, root, settings, facts) if request.os_type == _MANUAL else _configured(request, root, settings, facts)
    steps = (*ready.on_disks, *accounts.ensure_steps(request.vps, settings, facts), *ready.configuration)
    proof = power.start_steps(request.vps, request.ram, _MODES[request.os_type], settings, facts, vcpus=facts.domu.config_vcpus or 1) if request.start else ()
    started = "; it was started, which tells nothing of what is on its disk" if request.start else ""
    return Plan(
        f"make VPS {request.vps} ready for {request.os_type}: nothing is installed", steps,
        notes=(*ready.notes, _IGNORED, *accounts.notes(request.vps, settings, facts)), proof=proof, unproven="configured, does not start",
        outcome=f"nothing was installed: {ready.outcome}{started}")


# -- before anything is touched -------------------------------------------------------------------


def _refuse(request: Reinstall, settings: Settings, facts: Facts) -> DiskFact:
    """Raise whatever speaks against it; the root disk."""
    root = rootdisk.chosen(request, settings, facts)
    _refuse_namesakes(request, facts)
    if faults := tuple(_without_effect(request)):
        raise Refused(*faults)
    if request.start:
        power.refuse_running(_OPERATION, request.vps, facts.domu)
        power.refuse_memory(_OPERATION, request.ram, facts, vcpus=facts.domu.config_vcpus or 1, parameter="ramSizeMib")
    return root


def _refuse_namesakes(request: Reinstall, facts: Facts) -> None:
    """A bundle or a description of this name would never be installed, and whoever put it there must know."""
    bundle, described = facts.bundle, facts.os_type
    there = ([bundle.path] if bundle and (bundle.scripts or bundle.tarballs) else []) + ([described.path] if described else [])
    if there:
        raise Failed(f"Make the VPS ready for {request.os_type}.", f"{' and '.join(there)}: {request.os_type} is built in, and installs nothing: choose another name")


def _without_effect(request: Reinstall) -> Iterator[ParameterFault]:
    """What was asked for and could not be done; the panel sends none of these."""
    if request.hostname is not None:
        yield _fault(request, "hostname", "nothing is written into the VPS")
    if request.boot_mode is not None and request.os_type in _MODES:
        yield _fault(request, "bootMode", f"it boots by {_MODES[request.os_type].value}")
    if request.ssh_keys:
        yield _fault(request, "sshKeys", "nothing is written into the VPS")
    if request.user_data is not None:
        yield _fault(request, "userData", "nothing is written into the VPS")
    if request.start and request.os_type == _MANUAL:
        yield _fault(request, "start", "nobody knows of a system on its disk; startVPS starts it once there is one")


def _fault(request: Reinstall, parameter: str, problem: str) -> ParameterFault:
    return ParameterFault(_OPERATION, parameter, "InvalidParameter", f"it has no effect with {request.os_type}: {problem}", "it not to be given")


# -- netbsd and xenhvm ----------------------------------------------------------------------------


def _configured(request: Reinstall, root: DiskFact, settings: Settings, facts: Facts) -> _Ready:
    """The configuration as changeBSDkernel or writeXenHVMconf writes it, on the disks as they are."""
    boots, told = _netbsd(request, settings, facts) if request.os_type == _NETBSD else _xenhvm(request, settings, facts)
    clean = _clean(request, settings, facts)
    seen = power.first_use(settings, facts) if request.start else ()
    kept = f"{root.path} was never used, and stays empty" if root.blank else f"{root.path} is not touched: what is on it stays"
    return _Ready((*clean, *seen), boots.steps, (kept, told), told)


def _netbsd(request: Reinstall, settings: Settings, facts: Facts) -> tuple[Plan, str]:
    try:
        made = bsd.plan(BsdKernel(vps=request.vps, ram=request.ram, kernel="install", addresses=request.addresses), settings, facts)
    except Refused as error:
        raise _told(request, error) from error
    return made, (f"{request.vps.name} boots {settings.bsd_install_kernel_path}, which installs NetBSD from its console; "
                  "changeBSDkernel kernel=normal boots what was installed")


def _xenhvm(request: Reinstall, settings: Settings, facts: Facts) -> tuple[Plan, str]:
    try:
        made = hvm.plan(HvmConfig(vps=request.vps, ram=request.ram, addresses=request.addresses, boot="hdd"), settings, facts)
    except Refused as error:
        raise _told(request, error) from error
    assert isinstance(made.answer, ConfigWritten)
    screen = f", its screen at {made.answer.screen}" if made.answer.screen else ""
    return made, f"{request.vps.name} boots its disk as an HVM guest with an empty CD drive{screen}; writeXenHVMconf boots one of its ISOs"


def _told(request: Reinstall, error: Refused) -> Refused:
    """Another operation's refusal as this one's caller reads it: the OS type is what cannot be had."""
    return Refused(*(dataclasses.replace(fault, operation=_OPERATION, parameter="osType", problem=f"{request.os_type}: {fault.problem}") for fault in error.faults))


def _clean(request: Reinstall, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """New disks read as zeros before any guest sees them, also where this call ended the job that saw to it."""
    zero = tuple(step for disk in facts.disks if disk.blank for step in disks.overwrite(disk, settings, facts))
    return (disks.must_be_free(request.vps, tuple(disk.path for disk in facts.disks), facts), *zero) if zero else ()


# -- manual ---------------------------------------------------------------------------------------


def _manual(request: Reinstall, root: DiskFact, settings: Settings, facts: Facts) -> _Ready:
    """What is lacking, and nothing else: empty file systems on new disks, a configuration for them or where there is none."""
    if not root.blank and facts.domu.configured:
        return _left_alone(request, root, settings, facts)
    mode = bootmode.choose(request.boot_mode, None, settings, facts.node)
    boots = f"it will boot by {mode.value} once there is a system on its disk"
    configuration = (configfile.must_be_down(request.vps, facts), *_configuration(request, mode, settings, facts))
    if not root.blank:
        kept = f"{root.path} is not touched: what is on it stays"
        return _Ready(_clean(request, settings, facts), configuration, (kept, boots, *bootmode.notes(mode, settings)), f"{kept}; {boots}")
    _refuse_without_tools(settings, facts)
    made = f"{root.path} has an empty {settings.root_filesystem} file system, not mounted: put a system on it, then startVPS"
    return _Ready(_file_systems(request, settings, facts), configuration, (f"{root.path} was never used: it gets an empty file system", boots), f"{made}; {boots}")


def _left_alone(request: Reinstall, root: DiskFact, settings: Settings, facts: Facts) -> _Ready:
    path = disks.config_path(request.vps, settings)
    if request.boot_mode is not None:
        raise Refused(_fault(request, "bootMode", f"{root.path} was used, so {path} stays as it is"))
    kept = f"{root.path} was used, so it is not touched, and {path} stays as it is: RAM and addresses are edited there"
    return _Ready(_clean(request, settings, facts), (), (kept,), kept)


def _configuration(request: Reinstall, mode: BootMode, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    kernel, ramdisk = bootmode.domu_kernel(mode, settings, facts.node)
    nic = Nic(configfile.mac(request.vps, settings, facts), request.addresses, settings.xen_bridge)
    vps = Vps(
        request.vps, request.ram, tuple(disks.disk(found) for found in facts.disks), nic, mode, kernel, ramdisk, settings.XENU_EXTRA_PARM,
        vcpus=facts.domu.config_vcpus)
    return *configfile.steps(vps, settings, facts, autostart=False), *configfile.keep_previous(vps.id, settings, facts)


def _refuse_without_tools(settings: Settings, facts: Facts) -> None:
    if lacking := [command for command in (rootdisk.mkfs_program(settings), "mkswap") if command not in facts.node.commands]:
        raise Failed(f"Make the VPS ready for {_MANUAL}.", f"the node lacks {', '.join(lacking)}: install the packages")


def _file_systems(request: Reinstall, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """Empty ones, on disks that were never used."""
    steps: list[Step] = [disks.must_be_free(request.vps, tuple(disk.path for disk in facts.disks), facts)]
    for disk in facts.disks:
        if disk.blank:
            made = rootdisk.mkfs(disk.path, settings) if disk.role is DiskRole.ROOT else rootdisk.mkswap(disk.path)
            steps += (*disks.overwrite(disk, settings, facts), *stores.of(disk, settings, facts).used(disk.path), made)
    return tuple(steps)
