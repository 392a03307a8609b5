"""enterRescue, leaveRescue, bootSingle: a VPS started from a one-shot configuration, its own left as it is.

The rescue system is the node's (rescue_kernel, rescue_initrd; `dtcxen rescue-system` makes it) and
lives in memory; the VPS's disks are there to be repaired. What it must know lies on a small read-only
disk. Its password is new each time, is told in the answer and is kept nowhere but as a hash on that
disk. A one-shot domU is not started anew when it reboots: that is how to leave it.
"""

from __future__ import annotations

from dtcxen_soap import configfile, disks, power, rescueseed
from dtcxen_soap.answers import PowerDone, RescueStarted
from dtcxen_soap.errors import Failed, Missing, ParameterFault, Refused
from dtcxen_soap.facts import Facts, Need, NeedDisks, NeedDomu, NeedInstall, NeedMemory, NeedRescue, NeedTenancy
from dtcxen_soap.plans import AllocateFile, EndDomu, MakeDirectory, Mounted, Plan, RemoveFile, Run, Step, TreePassword, TreeWrite, WriteFile
from dtcxen_soap.requests import OneVps
from dtcxen_soap.rescueseed import Seed
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import Address, BootMode, Disk, DiskRole, Mib, Nic, Vps, VpsId
from dtcxen_soap.xen import config, singleuser

MEMORY = Mib(512)
"""RAM that the rescue system needs: itself, unpacked, and room to check a file system."""
SEED_SIZE = Mib(1)
USER = "root"
_PRIVATE = 0o600
_MKFS = ("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=0,root_owner=0:0", "-L", rescueseed.LABEL, "--")
_DESTROY_SECONDS = 20


def needs(request: OneVps, settings: Settings) -> tuple[Need, ...]:
    """What entering looks at."""
    vps = request.vps
    return NeedDisks(vps), NeedDomu(vps), NeedTenancy(vps), NeedRescue(vps), NeedMemory(), NeedInstall(vps)


def leave_needs(request: OneVps, settings: Settings) -> tuple[Need, ...]:
    """What leaving looks at."""
    return NeedDomu(request.vps), NeedRescue(request.vps)


def single_needs(request: OneVps, settings: Settings) -> tuple[Need, ...]:
    """What single-user mode looks at."""
    return NeedDisks(request.vps), NeedDomu(request.vps), NeedTenancy(request.vps), NeedRescue(request.vps), NeedMemory()


# -- enterRescue ------------------------------------------------------------------------------------


def plan_enter(request: OneVps, settings: Settings, facts: Facts) -> Plan:
    """Start the node's rescue system on the VPS's disks. Raises Refused, Missing, Busy or Failed before anything is planned."""
    vps = request.vps
    _refuse("enterRescue", vps, facts, as_configured=False)
    if not facts.rescue.kernel or not facts.rescue.ramdisk:
        absent = settings.rescue_initrd if facts.rescue.kernel else settings.rescue_kernel
        raise Missing(f"enterRescue: this node has no rescue system, {absent} is not there: `dtcxen rescue-system` makes it")
    if _MKFS[0] not in facts.node.commands:
        raise Failed("enterRescue: make the disk that tells the rescue system who it is.", f"the node lacks {_MKFS[0]}: install its package")
    seed = _seed(vps, settings, facts)
    guest = _guest(seed, settings, facts)
    power.refuse_memory("enterRescue", guest.ram, facts, vcpus=guest.vcpus or 1)
    path = disks.rescue_config_path(vps, settings)
    steps = (
        disks.must_be_free(vps, tuple(disk.path for disk in guest.disks), facts),
        *_seed_steps(seed, settings, facts),
        WriteFile(why="Write the configuration of the rescue system.", path=path, content=config.render(guest), mode=_PRIVATE,
                  undo=(RemoveFile(why="Remove the configuration of the rescue system.", path=path),)),
        *power.first_use(settings, facts),
        *power.start_steps(vps, guest.ram, BootMode.DIRECT, settings, facts, vcpus=guest.vcpus or 1, config=path))
    told = RescueStarted(str(vps), USER, facts.rescue.password.reveal(), seed.network.told(), _told(vps, seed))
    return Plan(f"start the rescue system on VPS {vps}", steps, told)


def _refuse(operation: str, vps: VpsId, facts: Facts, *, as_configured: bool = True) -> None:
    """Raise unless a guest could be started on the VPS's disks now."""
    disks.refuse_in_use(facts, vps, operation)
    power.refuse_running(operation, vps, facts.domu)
    power.refuse_unready(operation, vps, facts, as_configured=as_configured)
    if facts.disk(DiskRole.ROOT) is None:
        raise Missing(f"{operation}: VPS {vps} has no root disk")


def _told(vps: VpsId, seed: Seed) -> str:
    keys = f", or with one of {len(seed.keys)} keys" if seed.keys else ""
    return f"Started the rescue system of {vps.name}: sign in as {USER} with this password{keys}; a reboot there, or leaveRescue, ends it"


def _guest(seed: Seed, settings: Settings, facts: Facts) -> Vps:
    """The domU: the node's kernel, the VPS's disks, card and addresses; PVH where node and kernel can, since that is the faster and the safer guest."""
    domu = facts.domu
    card = Nic(seed.mac, tuple(Address(interface) for interface in seed.network.addresses), settings.xen_bridge)
    return Vps(
        seed.vps, max(domu.config_memory or MEMORY, MEMORY), _disks(facts), card, BootMode.DIRECT, settings.rescue_kernel, settings.rescue_initrd,
        extra=rescueseed.command_line(seed), vcpus=domu.config_vcpus, on_reboot="destroy", seed=disks.seed_path(seed.vps, settings),
        pvh=facts.rescue.pvh and facts.node.hvm)


def _disks(facts: Facts) -> tuple[Disk, ...]:
    """One of each role: a VPS that has disks of both kinds shows those that its configuration names."""
    return tuple(disks.disk(found) for role in DiskRole if (found := facts.disk(role)) is not None)


def _seed(vps: VpsId, settings: Settings, facts: Facts) -> Seed:
    named = {DiskRole.ROOT: f"the root disk of {vps.name}", DiskRole.SWAP: f"its swap disk (swapon /dev/{DiskRole.SWAP.value} uses it here)"}
    shown = tuple((disk.role.value, f"{named[disk.role]}, {found.size_bytes >> 20} MiB") for disk in _disks(facts) if (found := facts.disk(disk.role)))
    keys = (*facts.rescue.owner_keys, *rescueseed.keys(facts.node.texts.get("authorized_keys2", "")))
    return Seed(vps, configfile.mac(vps, settings, facts), rescueseed.network(facts.domu.config_addresses, settings), tuple(dict.fromkeys(keys)), shown)


def _seed_steps(seed: Seed, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """The seed, made anew: mounted for a moment, so that the password is hashed as every guest's is, and goes nowhere else."""
    path, tree = disks.seed_path(seed.vps, settings), f"{settings.provisioning_mount_point}/{seed.vps}"
    written = tuple(
        TreeWrite(why=f"Tell the rescue system: {name}.", tree=tree, path=name, content=text, mode=_PRIVATE) for name, text in rescueseed.files(seed))
    password = TreePassword(why="Set the one-time password.", tree=tree, user=USER, password=facts.rescue.password)
    return (
        MakeDirectory(why="Have a place for what rescue systems are told.", path=f"{settings.state_dir}/rescue", mode=0o700),
        MakeDirectory(why="Have a mount point.", path=tree),
        RemoveFile(why="Remove what an earlier rescue system was told.", path=path),
        AllocateFile(why="Make the small disk that tells the rescue system who it is.", path=path, size=SEED_SIZE, sparse=True, mode=_PRIVATE,
                     undo=(RemoveFile(why="Remove the small disk.", path=path),)),
        Run(why="Make its file system.", argv=(*_MKFS, path)),
        Mounted(why="Mount it.", source=path, at=tree, fstype="ext4", options="nodev,nosuid,noexec", steps=(*written, password)))


# -- leaveRescue ------------------------------------------------------------------------------------


def plan_leave(request: OneVps, settings: Settings, facts: Facts) -> Plan | PowerDone:
    """End the rescue system if it runs, and forget its password; the VPS's own domU is never touched."""
    vps, found = request.vps, facts.rescue
    if facts.domu.trouble:
        raise Failed(f"leaveRescue: see what runs as {vps.name}.", facts.domu.trouble)
    done = PowerDone(str(vps), f"{vps.name} is out of its rescue system")
    end = (EndDomu(why=f"End the rescue system of {vps.name}.", vps=vps, seconds=_DESTROY_SECONDS),) if facts.domu.rescue else ()
    if not (end or found.rescue_config or found.seed):
        return done
    forget = (
        RemoveFile(why="Remove the configuration of the rescue system.", path=disks.rescue_config_path(vps, settings)),
        RemoveFile(why="Remove what it was told.", path=disks.seed_path(vps, settings)))
    return Plan(f"leave the rescue system of VPS {vps}", (*end, *forget), done)


# -- bootSingle -------------------------------------------------------------------------------------


def plan_single(request: OneVps, settings: Settings, facts: Facts) -> Plan:
    """Start the VPS once as its configuration says, but in single-user mode; only where the node's kernel boots it.

    Where a boot loader of the guest's reads its own disk, dom0 has no say in the kernel's command line.
    """
    vps, domu = request.vps, facts.domu
    _refuse("bootSingle", vps, facts)
    if domu.boot is not BootMode.DIRECT:
        mode = domu.boot.value if domu.boot else "a boot loader that is not known"
        raise Refused(ParameterFault(
            "bootSingle", "vps", "InvalidParameter", f"VPS {vps} boots by {mode}, which chooses the kernel's command line itself",
            f"a VPS with boot mode {BootMode.DIRECT.value}; enterRescue repairs every other"))
    memory = domu.config_memory or Mib(0)
    power.refuse_memory("bootSingle", memory, facts, vcpus=domu.config_vcpus or 1)
    path = disks.single_config_path(vps, settings)
    steps = (
        disks.must_be_free(vps, tuple(found.path for found in facts.disks), facts),
        WriteFile(why="Write the one-shot configuration: its own, and single-user mode.", path=path, content=singleuser.render(facts.rescue.config_text),
                  mode=_PRIVATE, undo=(RemoveFile(why="Remove the one-shot configuration.", path=path),)),
        *power.first_use(settings, facts),
        *power.start_steps(vps, memory, domu.boot, settings, facts, vcpus=domu.config_vcpus or 1, config=path))
    return Plan(f"start VPS {vps} in single-user mode", steps, PowerDone(str(vps), f"Started {vps.name} in single-user mode; a reboot there ends it"))
