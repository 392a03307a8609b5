"""Starting and ending a VPS's domU through xl: what is refused beforehand, and the steps.

What the toolstack would answer (runs already, does not run, no memory) is Failed, so that the
panel reads it as xl's outcome; everything that the caller or the admin must settle first is Refused
or Missing. `xl create` leaves a process behind that restarts the domU when the guest reboots: it gets
a scope of its own, and is never ended half-way.
"""

from __future__ import annotations

from dtcxen_soap import stores
from dtcxen_soap.answers import PowerDone
from dtcxen_soap.disks import config_path, refuse_unknown
from dtcxen_soap.errors import Failed, Missing, ParameterFault, Refused
from dtcxen_soap.facts import DomuFact, Facts, Need, NeedDisks, NeedDomu, NeedMemory, NeedTenancy
from dtcxen_soap.plans import MEMORY, EndDomu, Plan, Run, Step
from dtcxen_soap.requests import OneVps
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import BootMode, DiskRole, Mib, VpsId
from dtcxen_soap.xen import xl

CREATE_SECONDS = 300
DESTROY_SECONDS = 20


def needs(request: OneVps, settings: Settings) -> tuple[Need, ...]:
    """What ending a domU looks at."""
    return (NeedDomu(request.vps),)


def start_needs(request: OneVps, settings: Settings) -> tuple[Need, ...]:
    """What starting looks at."""
    return NeedDomu(request.vps), NeedDisks(request.vps), NeedTenancy(request.vps), NeedMemory()


# -- start ----------------------------------------------------------------------------------------


def plan_start(request: OneVps, settings: Settings, facts: Facts) -> Plan:
    """startVPS: the VPS's own configuration, never a rescue one that was left over."""
    vps, domu = request.vps, facts.domu
    refuse_running("startVPS", vps, domu)
    refuse_unready("startVPS", vps, facts)
    memory = domu.config_memory or Mib(0)
    refuse_memory("startVPS", memory, facts, vcpus=domu.config_vcpus or 1)
    steps = (*first_use(settings, facts), *start_steps(vps, memory, domu.boot, settings, facts, vcpus=domu.config_vcpus or 1))
    return Plan(f"start {vps.name}", steps, PowerDone(str(vps), f"Started {vps.name}"))


def refuse_running(operation: str, vps: VpsId, domu: DomuFact) -> None:
    """Raise unless a domU of the VPS could be started now: Missing without a toolstack, Failed when one is there or Xen does not tell."""
    _know(operation, vps, domu)
    if domu.state in ("dying", "shutdown", "crashed"):
        raise Failed("", f"{vps.name} is not gone yet ({domu.state}): destroyVPS ends it")
    if domu.state:
        raise Failed("", f"{vps.name} is running already")


def refuse_memory(operation: str, ram: Mib, facts: Facts, *, vcpus: int = 1, parameter: str = "") -> None:
    """Raise when Xen has no room for a domU of this RAM, counting what other plans will still take: Refused by `parameter`, or Failed without one.

    Where xl may shrink dom0 (autoballoon) it is xl's to say.
    """
    memory = facts.memory
    assert memory is not None
    if memory.trouble:
        raise Failed(f"{operation}: see how much memory is left.", memory.trouble)
    free = memory.free.bytes - facts.reserved.get(MEMORY, 0)
    if memory.ballooning or _needed(ram, vcpus) <= free:
        return
    problem = f"not enough memory: {_needed(ram, vcpus) >> 20} MiB are needed for {int(ram)} MiB of RAM, {max(0, free) >> 20} MiB are free"
    raise Refused(ParameterFault(operation, parameter, "InvalidParameter", problem, "less RAM, or fewer running VPSes")) if parameter else Failed("", problem)


def _needed(ram: Mib, vcpus: int) -> int:
    return ram.bytes + xl.overhead(ram, vcpus).bytes


def refuse_unready(operation: str, vps: VpsId, facts: Facts, *, as_configured: bool = True) -> None:
    """Raise Refused, Missing or Failed for what must be settled before a guest may see the VPS's disks.

    `as_configured`: with all disks that its own configuration names, an ISO too; the rescue system takes what is there.
    """
    domu = facts.domu
    refuse_unknown(facts, vps, operation)
    if facts.tenancy.blocked:
        raise Refused(ParameterFault(operation, "vps", "InvalidParameter", f"VPS {vps} is blocked: {facts.tenancy.blocked}", "killVPSDisk first"))
    if not domu.configured:
        raise Missing(f"{operation}: VPS {vps} has no configuration: reinstallOS makes it")
    if domu.lacking and as_configured:
        raise Missing(f"{operation}: {vps.name} is configured with {', '.join(domu.lacking)}, which is not there")
    for disk in facts.disks:
        if disk.unzeroed:
            raise Refused(ParameterFault(
                operation, "vps", "InvalidParameter", f"{disk.path} may still show what an earlier owner wrote", "reinstallOS, or setupVPSDisk again, which zero it"))


def first_use(settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """Take the mark "never used" off the disks that a guest is about to see."""
    return tuple(step for disk in facts.disks if disk.blank for step in stores.of(disk, settings, facts).used(disk.path))


def start_steps(
        vps: VpsId, memory: Mib, boot: BootMode | None, settings: Settings, facts: Facts, *, vcpus: int = 1, config: str = "") -> tuple[Step, ...]:
    """Start the domU from its configuration, or from another one of the VPS; nothing is checked here. `boot` None: not known."""
    assert facts.now is not None
    return (*_lent(boot, settings, facts), Run(
        why=f"Start {vps.name}.", argv=xl.create(config or config_path(vps, settings)), env=_restrained(boot, settings), timeout_seconds=CREATE_SECONDS,
        scope=f"dtcxen-{vps.name}-{facts.now:%Y%m%dT%H%M%SZ}", patient=True, words=xl.words, takes=((MEMORY, _needed(memory, vcpus)),)),)


def _restrained(boot: BootMode | None, settings: Settings) -> tuple[tuple[str, str], ...]:
    """What libxl needs to be told so that pygrub, which reads a disk that the guest has written, is not root.

    Source: the notes to XSA-443; xl.cfg has no key for it before Xen 4.19.
    """
    if boot not in (BootMode.PYGRUB, None):
        return ()
    return ("LIBXL_BOOTLOADER_RESTRICT", "1"), ("LIBXL_BOOTLOADER_USER", settings.pygrub_user)


def _lent(boot: BootMode | None, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """pygrub opens the root disk as its own user, also whenever the guest reboots, so it may read it from now on.

    Each time, since the device of a volume is made anew when its group is activated.
    """
    root = facts.disk(DiskRole.ROOT)
    path = root.path if root else next(iter(facts.domu.paths), "")
    if boot is not BootMode.PYGRUB or not path:
        return ()
    return (Run(why=f"Let pygrub read the root disk as user {settings.pygrub_user}.", argv=("setfacl", "--modify", f"user:{settings.pygrub_user}:r", "--", path)),)


# -- and end --------------------------------------------------------------------------------------


def plan_shutdown(request: OneVps, settings: Settings, facts: Facts) -> Plan:
    """shutdownVPS: the guest is asked, and takes its time."""
    vps = _running("shutdownVPS", request, facts)
    step = Run(why=f"Ask {vps.name} to shut down.", argv=xl.shutdown(vps.name), words=xl.words)
    return Plan(f"shut down {vps.name}", (step,), PowerDone(str(vps), f"Shutdown {vps.name}"))


def plan_reboot(request: OneVps, settings: Settings, facts: Facts) -> Plan:
    """rebootVPS: the guest is asked; xl starts it again as it was started, whatever its configuration says by now."""
    vps = _running("rebootVPS", request, facts)
    step = Run(why=f"Ask {vps.name} to reboot.", argv=xl.reboot(vps.name), words=xl.words)
    return Plan(f"reboot {vps.name}", (step,), PowerDone(str(vps), f"Rebooting {vps.name}"))


def plan_destroy(request: OneVps, settings: Settings, facts: Facts) -> Plan | PowerDone:
    """destroyVPS: answers when the domU is gone; one that does not run is gone already (the panel asks twice)."""
    vps = request.vps
    _know("destroyVPS", vps, facts.domu)
    done = PowerDone(str(vps), f"Destroyed {vps.name}")
    if not facts.domu.state:
        return done
    return Plan(f"destroy {vps.name}", (EndDomu(why=f"End {vps.name} at once.", vps=vps, seconds=DESTROY_SECONDS),), done)


def _running(operation: str, request: OneVps, facts: Facts) -> VpsId:
    """The VPS, if a guest runs there that can be asked for something."""
    vps, state = request.vps, facts.domu.state
    _know(operation, vps, facts.domu)
    if not state:
        raise Failed("", f"{vps.name} is not running")
    if state in ("dying", "shutdown", "crashed"):
        raise Failed("", f"{vps.name} is not running: it is {state}")
    return vps


def _know(operation: str, vps: VpsId, domu: DomuFact) -> None:
    """Raise unless it is known whether the domU runs."""
    if not domu.toolstack:
        raise Missing(f"{operation}: this node runs no domUs: it is no Xen dom0, or its toolstack is none")
    if domu.trouble:
        raise Failed(f"{operation}: see whether {vps.name} runs.", domu.trouble)
