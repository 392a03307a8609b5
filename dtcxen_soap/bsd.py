"""changeBSDkernel: a configuration with which the node's NetBSD kernel boots the VPS's disk, or the one that installs NetBSD.

Both kernels are the node's (bsd_kernel_path, bsd_install_kernel_path); the installing one holds its
whole system in memory, so that it needs nothing on the disk.
"""

from __future__ import annotations

from dtcxen_soap import configfile, disks
from dtcxen_soap.answers import ConfigWritten
from dtcxen_soap.errors import Missing, ParameterFault, Refused
from dtcxen_soap.facts import Facts, Need, NeedDisks, NeedDomu, NeedInstall, NeedTenancy
from dtcxen_soap.plans import Plan
from dtcxen_soap.requests import BsdKernel
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import BootMode, DiskRole, Nic, Vps

_OPERATION = "changeBSDkernel"


def needs(request: BsdKernel, settings: Settings) -> tuple[Need, ...]:
    """The disks, what runs, and which kernels the node has."""
    vps = request.vps
    return NeedDisks(vps), NeedDomu(vps), NeedInstall(vps), NeedTenancy(vps)


def plan(request: BsdKernel, settings: Settings, facts: Facts) -> Plan:
    """Write the configuration. Raises Refused, Missing, Busy or Failed before anything is planned."""
    disks.refuse_in_use(facts, request.vps, _OPERATION)
    if facts.tenancy.blocked:
        raise Refused(ParameterFault(_OPERATION, "vps", "InvalidParameter", f"VPS {request.vps} is blocked: {facts.tenancy.blocked}", "killVPSDisk first"))
    if facts.disk(DiskRole.ROOT) is None:
        raise Missing(f"{_OPERATION}: VPS {request.vps} has no root disk: call setupVPSDisk first")
    vps = Vps(
        request.vps, request.ram, tuple(disks.disk(found) for found in facts.disks),
        Nic(configfile.mac(request.vps, settings, facts), request.addresses, settings.xen_bridge), BootMode.NETBSD, _kernel(request, settings, facts),
        vcpus=facts.domu.config_vcpus)
    steps = (
        configfile.must_be_down(vps.id, facts), *configfile.steps(vps, settings, facts), *configfile.keep_previous(vps.id, settings, facts))
    return Plan(f"configure VPS {vps.id} for NetBSD, {request.kernel} kernel", steps, ConfigWritten(disks.config_path(vps.id, settings)))


def _kernel(request: BsdKernel, settings: Settings, facts: Facts) -> str:
    """The kernel's path. Refused by the setting that should name it, where that is empty or names nothing."""
    setting = "bsd_install_kernel_path" if request.kernel == "install" else "bsd_kernel_path"
    path: str | None = getattr(settings, setting)
    if path and path in facts.node.kernels:
        return path
    problem = f"{request.kernel}: {setting} of this node names {path}, which is not there" if path else f"{request.kernel}: {setting} of this node is not set"
    raise Refused(ParameterFault(_OPERATION, "kernel", "InvalidParameter", problem, "a NetBSD kernel on the node, named there"))
