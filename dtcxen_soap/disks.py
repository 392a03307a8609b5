"""Disks of a VPS: their names, and the plans that make and remove them.

File-backed (vbd) disks are image files in provisioning_mount_point under the original's names,
xenNN.img and xenNN.swap.img. A disk that no block was ever written to is blank and holds nobody's
data; every other disk may be somebody's business and is never overwritten here.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from dtcxen_soap.answers import DisksReady, DisksRemoved
from dtcxen_soap.errors import Busy, Failed, ParameterFault, Refused
from dtcxen_soap.facts import DiskFact, Facts, Need, NeedDisks, NeedDomu, NeedTenancy
from dtcxen_soap.plans import IMAGE_FILES, AllocateFile, BlockVps, MakeDirectory, NextTenancy, Plan, RemoveFile, RenameFile, Step
from dtcxen_soap.requests import KillDisk, SetupDisk
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import Disk, DiskRole, ImageType, Mib, VpsId

_SUFFIX = {DiskRole.ROOT: ".img", DiskRole.SWAP: ".swap.img"}
_NAME = {DiskRole.ROOT: "root", DiskRole.SWAP: "swap"}


def image_path(vps: VpsId, role: DiskRole, settings: Settings) -> str:
    """The image file of a file-backed disk."""
    return f"{settings.provisioning_mount_point}/{vps.name}{_SUFFIX[role]}"


def kept_path(vps: VpsId, role: DiskRole, tenancy: int, now: datetime, settings: Settings) -> str:
    """Where a disk is set aside: a name that no domU configuration uses, with its tenancy and UTC time."""
    return f"{settings.provisioning_mount_point}/kept/{vps.name}{_SUFFIX[role]}.{tenancy}.{now:%Y%m%dT%H%M%SZ}"


def file_disk(fact: DiskFact) -> Disk:
    """A surveyed image file as the domU's configuration names it."""
    return Disk(fact.role, ImageType.VBD, fact.path)


def config_path(vps: VpsId, settings: Settings) -> str:
    """The domU's configuration."""
    return f"{settings.xen_config_dir}/{vps.name}"


def previous_config_path(vps: VpsId, settings: Settings) -> str:
    """The configuration that the last installation replaced, kept for the admin's hand edits."""
    return f"{config_path(vps, settings)}.previous"


def auto_path(vps: VpsId, settings: Settings) -> str:
    """The link that starts the domU with the node."""
    return f"{settings.xen_config_dir}/auto/{vps.name}"


def refuse_in_use(facts: Facts, vps: VpsId, doing: str) -> None:
    """Raise Busy while a domU of the VPS lives or anything holds one of its disks; Failed when that cannot be known."""
    if facts.domu.trouble:
        raise Failed(f"{doing}: see whether {vps.name} runs.", facts.domu.trouble)
    if facts.domu.state:
        raise Busy(f"{doing}: {vps.name} is {facts.domu.state}: shut it down first")
    for disk in facts.disks:
        if disk.in_use:
            raise Busy(f"{doing}: {disk.path} is in use: {disk.in_use}")


def lacking_bytes(facts: Facts, wanted: Mib, settings: Settings) -> int:
    """How many bytes are lacking for `wanted` more MiB; 0 when they fit, or when the node may overcommit."""
    if settings.overcommit:
        return 0
    return max(0, wanted.bytes - (facts.room.free_bytes - facts.room.promised_bytes - facts.reserved.get(IMAGE_FILES, 0)))


# -- setupVPSDisk ---------------------------------------------------------------------------------


def setup_needs(request: SetupDisk | KillDisk, settings: Settings) -> tuple[Need, ...]:
    """What setup and kill look at."""
    return NeedDisks(request.vps), NeedDomu(request.vps), NeedTenancy(request.vps)


kill_needs = setup_needs


def _wanted(request: SetupDisk) -> dict[DiskRole, Mib]:
    swap = {DiskRole.SWAP: request.swap_size} if request.swap_size else {}
    return {DiskRole.ROOT: request.disk_size, **swap}


def _as_wanted(disk: DiskFact, wanted: dict[DiskRole, Mib]) -> bool:
    return disk.blank and disk.role in wanted and disk.size_bytes == wanted[disk.role].bytes


def _refuse_lvm(operation: str, request: SetupDisk, settings: Settings) -> None:
    kind = request.image_type or settings.default_image_type
    if kind is ImageType.LVM:
        name = "imagetype" if operation == "setupLVMDisks" else "imageType"
        raise Refused(ParameterFault(operation, name, "InvalidParameter", "lvm: this node has no volume group", "vbd"))


def _describe(disk: DiskFact) -> str:
    state = "never used" if disk.blank else "used"
    return f"a {_NAME[disk.role]} disk of {disk.size_bytes >> 20} MiB ({disk.path}, {state})"


def plan_setup(request: SetupDisk, settings: Settings, facts: Facts) -> Plan | DisksReady:
    """Make what is missing; refuse a disk that is not exactly what was asked for and never used."""
    _refuse_lvm("setupVPSDisk", request, settings)
    refuse_in_use(facts, request.vps, "setupVPSDisk")
    wanted = _wanted(request)
    for disk in facts.disks:
        if not _as_wanted(disk, wanted):
            raise Refused(ParameterFault(
                "setupVPSDisk", "vps", "InvalidParameter", f"VPS {request.vps} has {_describe(disk)} already",
                "a VPS without disks: killVPSDisk removes them, for ever"))
    return _make(request, settings, facts, (), "setupVPSDisk")


def plan_setup_replacing(request: SetupDisk, settings: Settings, facts: Facts) -> Plan | DisksReady:
    """The panel's setupLVMDisks: it reads no reply and reuses numbers, so an old disk is set aside, never lost at once.

    Without room for both the call is refused, and the VPS is blocked until killVPS: whoever comes
    next under this number must not be given the earlier tenant's system.
    """
    _refuse_lvm("setupLVMDisks", request, settings)
    refuse_in_use(facts, request.vps, "setupLVMDisks")
    wanted = _wanted(request)
    if all(_as_wanted(disk, wanted) for disk in facts.disks):
        return _make(request, settings, facts, (), "setupLVMDisks")
    assert facts.now is not None
    lacking = lacking_bytes(facts, Mib(sum(wanted.values())), settings)
    if lacking:
        reason = f"setupLVMDisks found {', '.join(_describe(disk) for disk in facts.disks)} and no room to set it aside ({lacking >> 20} MiB are lacking)"
        block = BlockVps(why="Keep the next tenant away from the earlier tenant's disk.", vps=request.vps, reason=reason)
        refusal = Refused(ParameterFault("setupLVMDisks", "vpsname", "InvalidParameter", reason, "killVPS first, or more space"))
        return Plan(f"refuse setupLVMDisks of VPS {request.vps}, and block it", (block,), refusal)
    aside = tuple(_set_aside(disk, request.vps, settings, facts) for disk in facts.disks)
    tenancy = NextTenancy(why="Hide the earlier tenant's jobs, logs and disks from the next one.", vps=request.vps)
    return _make(request, settings, facts, (*aside, tenancy), "setupLVMDisks")


def _set_aside(disk: DiskFact, vps: VpsId, settings: Settings, facts: Facts) -> Step:
    assert facts.now is not None
    target = kept_path(vps, disk.role, facts.tenancy.number, facts.now, settings)
    back = RenameFile(why="Put the old disk back.", source=target, target=disk.path)
    return RenameFile(why=f"Set the old {_NAME[disk.role]} disk aside for {settings.keep_old_disk_hours} hours.", source=disk.path, target=target, undo=(back,))


def _make(request: SetupDisk, settings: Settings, facts: Facts, before: tuple[Step, ...], operation: str) -> Plan | DisksReady:
    """Steps that make the disks which are not there as wanted; an answer alone when all are."""
    wanted = _wanted(request)
    paths = tuple(image_path(request.vps, role, settings) for role in wanted)
    missing = [role for role in wanted if before or not facts.disk(role)]
    if not missing:
        return DisksReady(False, paths)
    lacking = lacking_bytes(facts, Mib(sum(wanted[role] for role in missing)), settings)
    if lacking:
        raise Refused(ParameterFault(
            operation, "hddsize" if operation == "setupLVMDisks" else "diskSizeMib", "InvalidParameter",
            f"{lacking >> 20} MiB more than {settings.provisioning_mount_point} has free", "a size that fits, or overcommit=yes on the node"))
    steps: list[Step] = [MakeDirectory(why="Have a directory for image files.", path=settings.provisioning_mount_point), *before]
    for role in missing:
        path = image_path(request.vps, role, settings)
        steps.append(AllocateFile(
            why=f"Make the {_NAME[role]} disk of {wanted[role]} MiB.", path=path, size=wanted[role], sparse=settings.overcommit,
            undo=(RemoveFile(why=f"Remove the {_NAME[role]} disk again.", path=path),)))
    return Plan(f"make the disks of VPS {request.vps}", tuple(steps), DisksReady(True, paths))


# -- killVPSDisk ----------------------------------------------------------------------------------


def plan_kill(request: KillDisk, settings: Settings, facts: Facts) -> Plan | DisksRemoved:
    """Remove the VPS's disks, what was kept for this tenancy, and its configuration; nothing left is fine."""
    vps = request.vps
    refuse_in_use(facts, vps, "killVPSDisk")
    doomed = [(disk.path, f"the {_NAME[disk.role]} disk of VPS {vps}, {disk.size_bytes >> 20} MiB") for disk in facts.disks]
    doomed += [(kept.path, f"an old disk of VPS {vps}, {kept.size_bytes >> 20} MiB") for kept in facts.kept]
    doomed += [(path, f"an unfinished disk of VPS {vps}") for path in facts.leftovers]
    if not doomed and not facts.domu.configured and not facts.tenancy.blocked:
        return DisksRemoved(())
    steps: list[Step] = [
        RemoveFile(why="Stop starting the VPS with the node.", path=auto_path(vps, settings)),
        RemoveFile(why="Remove the domU's configuration.", path=config_path(vps, settings), destroys=f"the configuration of {vps.name}"),
        RemoveFile(why="Remove the configuration before it.", path=previous_config_path(vps, settings)),
        NextTenancy(why="Hide this tenant's jobs, logs and disks from the next one.", vps=vps),
    ]
    steps += [RemoveFile(why=f"Remove {what}.", path=path, destroys=what) for path, what in doomed]
    steps.append(BlockVps(why="Let the number be used again.", vps=vps, reason=""))
    return Plan(f"remove the disks of VPS {vps}", tuple(steps), DisksRemoved(tuple(path for path, _ in doomed)))


# -- housekeeping ---------------------------------------------------------------------------------


def plan_purge(settings: Settings, facts: Facts) -> Plan | None:
    """Remove disks that were set aside longer than keep_old_disk_hours ago; None when there are none."""
    assert facts.now is not None
    until = facts.now - timedelta(hours=settings.keep_old_disk_hours)
    steps = tuple(
        RemoveFile(why=f"Remove a disk that was kept since {kept.kept_since:%Y-%m-%d %H:%M}Z.", path=kept.path, destroys=f"the old disk {kept.path}")
        for kept in facts.kept if kept.kept_since <= until)
    return Plan(f"remove disks kept for more than {settings.keep_old_disk_hours} hours", steps) if steps else None
