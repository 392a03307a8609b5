"""The OS types that install nothing: manual, netbsd, xenhvm. Each writes the domU's configuration, and says what is left to do by hand.

The original answered "manually install" and ended as if a system were there. Here the job's word says
that nothing was installed, and by whom it is to be: netbsd boots the node's installing kernel, xenhvm the
firmware, manual whatever the admin puts on the disk. The disk itself is not touched, so no old system is
lost either. What only a system could take (a host name, keys, data) is refused, but for the password, which the panel always sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dtcxen_soap import accounts, bsd, configfile, disks, hvm, power
from dtcxen_soap.errors import Failed, ParameterFault, Refused
from dtcxen_soap.facts import DiskFact, Facts, Need, NeedAccounts, NeedMemory
from dtcxen_soap.install.rootdisk import the_root
from dtcxen_soap.plans import Plan, Step
from dtcxen_soap.requests import BsdKernel, HvmConfig, Reinstall
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import BootMode, Nic, Vps
from dtcxen_soap.xen import bootmode

_OPERATION = "reinstallOS"
_UNCHOSEN = "nothing of it for an OS type that installs nothing"


@dataclass(frozen=True)
class _Kind:
    """One of the OS types: what of reinstallOS it has no use for, and how its configuration is planned."""

    useless: tuple[tuple[str, str], ...]
    configure: Callable[[Reinstall, DiskFact, Settings, Facts], tuple[tuple[Step, ...], BootMode, str]]


def needs(request: Reinstall, settings: Settings) -> tuple[Need, ...]:
    """What the three configurations look at."""
    memory = (NeedMemory(),) if request.start else ()
    every = (*hvm.needs(_hvm(request), settings), *bsd.needs(_bsd(request), settings), NeedAccounts(request.vps), *memory)
    return tuple(dict.fromkeys(every))


def plan(request: Reinstall, settings: Settings, facts: Facts) -> Plan:
    """Write the configuration; with `start` start what it boots, without a word on whether that comes up."""
    kind = KINDS[request.os_type]
    root = the_root(request, settings, facts)
    _refuse(request, kind, facts)
    steps, boot, told = kind.configure(request, root, settings, facts)
    steps += accounts.ensure_steps(request.vps, settings, facts)
    kept = f"the disk {root.path} is not touched" + ("" if root.blank else ": what is on it stays")
    return Plan(
        f"configure VPS {request.vps} for {request.os_type}", steps, notes=("nothing is installed", kept, *accounts.notes(request.vps, settings, facts)),
        proof=power.start_steps(request.vps, request.ram, boot, settings, facts) if request.start else (), unproven="configured, not started", outcome=told)


def _refuse(request: Reinstall, kind: _Kind, facts: Facts) -> None:
    """What was found under a built-in name, and what has no effect, each by its name."""
    twins = [path for path in (facts.bundle and facts.bundle.path, facts.os_type and facts.os_type.path, facts.firstboot.app and facts.firstboot.app.path) if path]
    if twins:
        raise Failed(f"Configure {request.os_type}.", f"{' and '.join(twins)} has the name of a built-in OS type: rename it")
    useless = [parameter for field, parameter in kind.useless if getattr(request, field) is not None]
    if useless:
        raise Refused(*(ParameterFault(_OPERATION, parameter, "InvalidParameter", f"{request.os_type} installs nothing that could use it", _UNCHOSEN) for parameter in useless))
    if request.start:
        power.refuse_running(_OPERATION, request.vps, facts.domu)
        power.refuse_memory(_OPERATION, request.ram, facts, parameter="ramSizeMib")


# -- netbsd ---------------------------------------------------------------------------------------


def _bsd(request: Reinstall) -> BsdKernel:
    return BsdKernel(vps=request.vps, ram=request.ram, kernel="install", addresses=request.addresses)


def _netbsd(request: Reinstall, root: DiskFact, settings: Settings, facts: Facts) -> tuple[tuple[Step, ...], BootMode, str]:
    made = bsd.plan(_bsd(request), settings, facts)
    return made.steps, BootMode.NETBSD, (
        f"nothing was installed: VPS {request.vps} boots NetBSD's installer, which waits on the console; then changeBSDkernel kernel=normal")


# -- xenhvm ---------------------------------------------------------------------------------------


def _hvm(request: Reinstall) -> HvmConfig:
    return HvmConfig(vps=request.vps, ram=request.ram, addresses=request.addresses, boot="hdd", ssh_keys=request.ssh_keys, user_data=request.user_data)


def _xenhvm(request: Reinstall, root: DiskFact, settings: Settings, facts: Facts) -> tuple[tuple[Step, ...], BootMode, str]:
    made = hvm.plan(_hvm(request), settings, facts)
    return made.steps, BootMode.HVM, f"nothing was installed: VPS {request.vps} boots its disk as a machine of its own; writeXenHVMconf boots an ISO that installs a system"


# -- manual ---------------------------------------------------------------------------------------


def _manual(request: Reinstall, root: DiskFact, settings: Settings, facts: Facts) -> tuple[tuple[Step, ...], BootMode, str]:
    if request.start and root.blank:
        raise Refused(ParameterFault(_OPERATION, "start", "InvalidParameter", f"{root.path} holds nothing that could start", "false, until a system is on it"))
    mode = bootmode.choose(request.boot_mode, None, settings, facts.node)
    kernel, ramdisk = bootmode.domu_kernel(mode, settings, facts.node)
    vps = Vps(
        request.vps, request.ram, tuple(disks.disk(found) for found in facts.disks),
        Nic(configfile.mac(request.vps, settings, facts), request.addresses, settings.xen_bridge), mode, kernel, ramdisk, settings.XENU_EXTRA_PARM)
    steps = (configfile.must_be_down(vps.id, facts), *configfile.steps(vps, settings, facts), *configfile.keep_previous(vps.id, settings, facts))
    return steps, mode, f"nothing was installed: put a system on {root.path}; VPS {request.vps} will boot it by {mode.value}"


def _useless(but: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    every = {"hostname": "hostname", "boot_mode": "bootMode", "ssh_keys": "sshKeys", "user_data": "userData"}
    return ((field, parameter) for field, parameter in every.items() if field not in but)


KINDS = {
    "manual": _Kind(tuple(_useless(("boot_mode",))), _manual),
    "netbsd": _Kind(tuple(_useless()), _netbsd),
    "xenhvm": _Kind(tuple(_useless(("ssh_keys", "user_data"))), _xenhvm),
}
"""By the name that the panel knows."""
