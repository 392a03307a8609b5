"""Disks of a VPS: the plans that make, set aside and remove them, on whatever they live (stores.py).

A disk that was never used (blank) holds nobody's data; every other may be somebody's business and
is never overwritten here. A VPS has the disks that bear its name, of both kinds.
"""

from __future__ import annotations

from datetime import timedelta

from dtcxen_soap import accounts, stores, volumes
from dtcxen_soap.answers import DisksReady, DisksRemoved
from dtcxen_soap.errors import Busy, Failed, ParameterFault, Refused
from dtcxen_soap.facts import DiskFact, Facts, KeptDisk, Leftover, Need, NeedAccounts, NeedDisks, NeedDomu, NeedTenancy, plainly
from dtcxen_soap.plans import BlockVps, MustBeFree, NextTenancy, Plan, RemoveBelow, RemoveFile, RenameVolume, Step, WaitGone
from dtcxen_soap.requests import KillDisk, SetupDisk
from dtcxen_soap.settings import Settings
from dtcxen_soap.stores import Store
from dtcxen_soap.vps import Disk, DiskRole, Mib, VpsId

_NAME = {DiskRole.ROOT: "root", DiskRole.SWAP: "swap"}
_LEAVING = ("dying", "shutdown")
"""States of a domU that will be gone in a moment."""


def disk(fact: DiskFact) -> Disk:
    """A surveyed disk as the domU's configuration names it."""
    return Disk(fact.role, fact.image_type, fact.path)


def config_path(vps: VpsId, settings: Settings) -> str:
    """The domU's configuration."""
    return f"{settings.xen_config_dir}/{vps.name}"


def previous_config_path(vps: VpsId, settings: Settings) -> str:
    """The configuration that the last change of it replaced, kept for the admin's hand edits."""
    return f"{config_path(vps, settings)}.previous"


def kept_config_path(vps: VpsId, settings: Settings) -> str:
    """The configuration of the earlier system that is kept for rollbackVPS."""
    return f"{config_path(vps, settings)}.kept"


def moved_config_path(vps: VpsId, settings: Settings) -> str:
    """The configuration of a VPS that has moved to another node."""
    return f"{config_path(vps, settings)}.moved"


def move_note_path(vps: VpsId, settings: Settings) -> str:
    """Where it moves to, until that has a known end."""
    return f"{settings.state_dir}/moves/{vps.name}.leaving"


def auto_path(vps: VpsId, settings: Settings) -> str:
    """The link that starts the domU with the node."""
    return f"{settings.xen_config_dir}/auto/{vps.name}"


def pinned_iso_path(vps: VpsId, settings: Settings) -> str:
    """The ISO that the domU's CD drive holds, under a name that only root can change; in the file system of the homes (PinFile)."""
    return f"{settings.ttyssh_home}/.isos/{vps.name}.iso"


def rescue_config_path(vps: VpsId, settings: Settings) -> str:
    """The one-shot configuration of its rescue system."""
    return f"{config_path(vps, settings)}.rescue"


def single_config_path(vps: VpsId, settings: Settings) -> str:
    """The one-shot configuration of its single-user mode."""
    return f"{config_path(vps, settings)}.single"


def seed_path(vps: VpsId, settings: Settings) -> str:
    """The small disk that tells the rescue system of this VPS who it is."""
    return f"{settings.state_dir}/rescue/{vps.name}.seed"


def cloud_seed_path(vps: VpsId, settings: Settings) -> str:
    """The small disk that tells an HVM guest its keys, network and first boot."""
    return f"{settings.state_dir}/seeds/{vps.name}.iso"


def cloud_told_path(vps: VpsId, settings: Settings) -> str:
    """What was told there, for the next such disk of the same tenancy."""
    return f"{settings.state_dir}/seeds/{vps.name}.told"


def cloud_work_path(vps: VpsId, settings: Settings) -> str:
    """Where the next such disk is made."""
    return f"{settings.state_dir}/seeds/{vps.name}.work"


def forget_seed(vps: VpsId, settings: Settings) -> tuple[Step, ...]:
    """Remove what an HVM guest was told, which may be its owner's secrets."""
    work = cloud_work_path(vps, settings)
    return (
        RemoveFile(why="Remove the disk that told the guest its first boot.", path=cloud_seed_path(vps, settings)),
        RemoveFile(why="Remove what was told there.", path=cloud_told_path(vps, settings)),
        RemoveBelow(why="Remove what an interrupted change of it left.", top=settings.state_dir, path=work.removeprefix(f"{settings.state_dir}/")))


def screen_path(vps: VpsId, settings: Settings) -> str:
    """The UNIX socket of an HVM guest's screen, in a directory that only root can enter."""
    return f"{settings.state_dir}/screens/{vps.name}.vnc"


def refuse_in_use(facts: Facts, vps: VpsId, doing: str) -> None:
    """Raise Busy while a domU of the VPS lives or anything holds one of its disks; Failed when that, or what disks it has, cannot be known."""
    refuse_unknown(facts, vps, doing)
    if facts.domu.state:
        raise Busy(f"{doing}: {vps.name} is {plainly(facts.domu.state)}: shut it down first")
    for each in facts.disks:
        if each.in_use:
            raise Busy(f"{doing}: {each.path} is in use: {each.in_use}")


def refuse_unknown(facts: Facts, vps: VpsId, doing: str) -> None:
    """Raise Failed when Xen does not tell what runs, or LVM which volumes there are: no answer is neither "stopped" nor "none"."""
    if facts.domu.trouble:
        raise Failed(f"{doing}: see whether {vps.name} runs.", facts.domu.trouble)
    if facts.lvm.trouble:
        raise Failed(f"{doing}: see which volumes VPS {vps} has.", facts.lvm.trouble)


def must_be_free(vps: VpsId, paths: tuple[str, ...], facts: Facts) -> MustBeFree:
    """The last look before something is touched: the plan may have waited since the survey."""
    return MustBeFree(why="Make sure that nobody uses the disks now.", vps=vps, paths=paths, toolstack=facts.domu.toolstack)


def overwrite(found: DiskFact, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """What a new disk still needs before any guest may see it; nothing for one that shows nobody else's blocks."""
    return stores.of(found, settings, facts).zero(found.path, Mib(found.size_bytes >> 20)) if found.unzeroed else ()


# -- setupVPSDisk ---------------------------------------------------------------------------------


def setup_needs(request: SetupDisk | KillDisk, settings: Settings) -> tuple[Need, ...]:
    """What setup and kill look at."""
    return NeedDisks(request.vps), NeedDomu(request.vps), NeedTenancy(request.vps), NeedAccounts(request.vps)


kill_needs = setup_needs


def _wanted(request: SetupDisk) -> dict[DiskRole, Mib]:
    swap = {DiskRole.SWAP: request.swap_size} if request.swap_size else {}
    return {DiskRole.ROOT: request.disk_size, **swap}


def _as_wanted(found: DiskFact, request: SetupDisk, store: Store) -> bool:
    wanted = _wanted(request)
    return (found.blank and found.role in wanted and found.path == store.path(request.vps, found.role)
            and found.size_bytes == store.size_bytes(wanted[found.role]))


def _describe(found: DiskFact) -> str:
    state = "never used" if found.blank else "used"
    return f"a {_NAME[found.role]} disk of {found.size_bytes >> 20} MiB ({found.path}, {state})"


def plan_setup(request: SetupDisk, settings: Settings, facts: Facts) -> Plan | DisksReady:
    """Make what is missing; refuse a disk that is not exactly what was asked for and never used."""
    store = stores.chosen(request.image_type, "setupVPSDisk", "imageType", settings, facts)
    refuse_in_use(facts, request.vps, "setupVPSDisk")
    for found in facts.disks:
        if not _as_wanted(found, request, store):
            raise Refused(ParameterFault(
                "setupVPSDisk", "vps", "InvalidParameter", f"VPS {request.vps} has {_describe(found)} already",
                "a VPS without disks: killVPSDisk removes them, for ever"))
    lacking = _lacking(request, store, facts.disks)
    if lacking:
        raise _no_room("setupVPSDisk", "diskSizeMib", store, lacking)
    return _make(request, store, settings, facts, facts.disks, ())


def plan_setup_replacing(request: SetupDisk, settings: Settings, facts: Facts) -> Plan | DisksReady:
    """The panel's setupLVMDisks: it reads no reply and reuses numbers, so an old disk is set aside, never lost at once.

    Without room for both the call is refused, and the VPS is blocked until killVPS: whoever comes
    next under this number must not be given the earlier tenant's system.
    """
    store = stores.chosen(request.image_type, "setupLVMDisks", "imagetype", settings, facts)
    refuse_in_use(facts, request.vps, "setupLVMDisks")
    foreign = not all(_as_wanted(found, request, store) for found in facts.disks)
    lacking = _lacking(request, store, () if foreign else facts.disks)
    if lacking and foreign:
        return _block(request, facts, lacking)
    if lacking:
        raise _no_room("setupLVMDisks", "hddsize", store, lacking)
    if not foreign:
        return _make(request, store, settings, facts, facts.disks, ())
    aside = tuple(step for found in facts.disks for step in _set_aside(found, settings, facts))
    tenancy = NextTenancy(why="Hide the earlier tenant's jobs, logs and disks from the next one.", vps=request.vps)
    free = must_be_free(request.vps, tuple(found.path for found in facts.disks), facts)
    gone = (*accounts.remove_steps(request.vps, settings, facts), *forget_seed(request.vps, settings))
    return _make(request, store, settings, facts, (), (free, *aside, tenancy), gone)


def _lacking(request: SetupDisk, store: Store, there: tuple[DiskFact, ...]) -> int:
    """Bytes that are lacking for the disks which are not there yet."""
    roles = {found.role for found in there}
    return store.lacking(Mib(sum(-(-store.size_bytes(size) >> 20) for role, size in _wanted(request).items() if role not in roles)))


def _no_room(operation: str, parameter: str, store: Store, lacking: int) -> Refused:
    return Refused(ParameterFault(
        operation, parameter, "InvalidParameter", f"{-(-lacking >> 20)} MiB more than {store.place} has free", "a size that fits, or overcommit=yes on the node"))


def _block(request: SetupDisk, facts: Facts, lacking: int) -> Plan:
    reason = f"setupLVMDisks found {', '.join(_describe(found) for found in facts.disks)} and no room to set it aside ({-(-lacking >> 20)} MiB are lacking)"
    block = BlockVps(why="Keep the next tenant away from the earlier tenant's disk.", vps=request.vps, reason=reason)
    refusal = Refused(ParameterFault("setupLVMDisks", "vpsname", "InvalidParameter", reason, "killVPS first, or more space"))
    return Plan(f"refuse setupLVMDisks of VPS {request.vps}, and block it", (block,), refusal)


def _set_aside(found: DiskFact, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    assert facts.now is not None
    store = stores.of(found, settings, facts)
    target = store.kept(found.path, facts.tenancy.number, facts.now)
    return store.rename(found.path, target, f"Set the old {_NAME[found.role]} disk aside for {settings.keep_old_disk_hours} hours.", "Put the old disk back.")


def _make(
        request: SetupDisk, store: Store, settings: Settings, facts: Facts, there: tuple[DiskFact, ...], before: tuple[Step, ...],
        after: tuple[Step, ...] = ()) -> Plan | DisksReady:
    """Steps that make the disks which are not there; what must be overwritten before a guest may see it is left for after the answer.

    A VPS without a root disk is a new one: who still signs in under its number is an earlier tenant.
    """
    wanted = _wanted(request)
    paths = {role: store.path(request.vps, role) for role in wanted}
    missing = [role for role in wanted if role not in {found.role for found in there}]
    made = [step for role in missing for step in store.make(paths[role], wanted[role], f"Make the {_NAME[role]} disk of {wanted[role]} MiB.", zero=False)]
    zero = [step for role in missing for step in store.zero(paths[role], wanted[role])]
    zero += [step for found in there for step in overwrite(found, settings, facts)]
    if not made and not zero:
        return DisksReady(False, tuple(paths.values()))
    if not facts.disk(DiskRole.ROOT):
        after = accounts.shut_out_steps(request.vps, settings, facts)
    later = Plan(f"overwrite the new disks of VPS {request.vps} with zeros", (must_be_free(request.vps, tuple(paths.values()), facts), *zero)) if zero else None
    return Plan(
        f"make the disks of VPS {request.vps}", (*(store.prepare() if made else ()), *before, *made, *after), DisksReady(bool(made), tuple(paths.values())), later=later)


# -- killVPSDisk ----------------------------------------------------------------------------------


def plan_kill(request: KillDisk, settings: Settings, facts: Facts) -> Plan | DisksRemoved:
    """Remove the VPS's disks of both kinds, what was kept for this tenancy, its configuration, and its owner's ways in; nothing left is fine.

    The panel calls this right after destroyVPS: a domU that is just going is waited for.
    """
    vps = request.vps
    refuse_unknown(facts, vps, "killVPSDisk")
    leaving = facts.domu.state in _LEAVING
    if not leaving:
        refuse_in_use(facts, vps, "killVPSDisk")
    doomed = _everything(vps, facts)
    paths = tuple(each.path for each, _ in doomed)
    ways_in = accounts.remove_steps(vps, settings, facts)
    if not paths and not ways_in and not facts.domu.configured and not facts.domu.moved_config and not facts.domu.state and not facts.tenancy.blocked:
        return DisksRemoved(())
    removed = tuple(step for each, what in doomed for step in stores.of(each, settings, facts).remove(each.path, f"Remove {what}.", destroys=what))
    wait = (WaitGone(why="Wait until the domU is gone.", vps=vps),) if leaving else ()
    steps = (
        *wait, must_be_free(vps, paths, facts), *_forget(vps, settings), *ways_in,
        NextTenancy(why="Hide this tenant's jobs, logs and disks from the next one.", vps=vps),
        *removed, BlockVps(why="Let the number be used again.", vps=vps, reason=""))
    return Plan(f"remove the disks of VPS {vps}", steps, DisksRemoved(paths), leaves_work=volumes.leaves_work(removed))


def _everything(vps: VpsId, facts: Facts) -> tuple[tuple[DiskFact | KeptDisk | Leftover, str], ...]:
    """All that holds data of the VPS's present tenancy, and what to call it."""
    return (
        *((found, f"the {_NAME[found.role]} disk of VPS {vps}, {found.size_bytes >> 20} MiB") for found in facts.disks),
        *((kept, f"an old disk of VPS {vps}, {kept.size_bytes >> 20} MiB") for kept in facts.kept),
        *((left, f"an unfinished disk of VPS {vps}") for left in facts.leftovers))


def _forget(vps: VpsId, settings: Settings) -> tuple[Step, ...]:
    """No configuration under which the VPS could start again, the one-shot ones of rescue and single-user mode included."""
    path = config_path(vps, settings)
    return (
        RemoveFile(why="Stop starting the VPS with the node.", path=auto_path(vps, settings)),
        RemoveFile(why="Remove the domU's configuration.", path=path, destroys=f"the configuration of {vps.name}"),
        RemoveFile(why="Remove the configuration before it.", path=previous_config_path(vps, settings)),
        RemoveFile(why="Remove the configuration of an earlier system.", path=kept_config_path(vps, settings)),
        RemoveFile(why="Remove the configuration of before it moved.", path=moved_config_path(vps, settings)),
        RemoveFile(why="Forget where it was moving to.", path=move_note_path(vps, settings)),
        RemoveFile(why="Remove the configuration of one that was arriving.", path=f"{path}.arriving"),
        RemoveFile(why="Forget what was arriving.", path=f"{settings.state_dir}/moves/{vps.name}.arriving"),
        *(RemoveFile(why="Remove what an interrupted change of it left.", path=f"{path}.{end}") for end in ("new", "old", "failed")),
        RemoveFile(why="Let go of the ISO in its CD drive.", path=pinned_iso_path(vps, settings)),
        RemoveFile(why="Remove the socket of its screen.", path=screen_path(vps, settings)),
        RemoveFile(why="Remove the configuration of its rescue system.", path=rescue_config_path(vps, settings)),
        RemoveFile(why="Remove what its rescue system was told.", path=seed_path(vps, settings)),
        RemoveFile(why="Remove the configuration of its single-user mode.", path=single_config_path(vps, settings)),
        *forget_seed(vps, settings),
    )


# -- housekeeping ---------------------------------------------------------------------------------


def plan_purge(settings: Settings, facts: Facts) -> Plan | None:
    """Remove disks that were set aside longer than keep_old_disk_hours ago, and what was left doomed; None when there are none.

    Each disk is for itself: one that cannot be removed is tried again at the next round.
    """
    assert facts.now is not None
    until = facts.now - timedelta(hours=settings.keep_old_disk_hours)
    over = [kept for kept in facts.kept if kept.kept_since <= until]
    steps = (*(step for kept in over for step in _purge(kept, settings, facts)), *(volumes.wipe(path) for path in facts.doomed))
    return Plan(f"remove disks kept for more than {settings.keep_old_disk_hours} hours, and what removed VPSes left", steps) if steps else None


def _purge(kept: KeptDisk, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """A volume that must be overwritten loses its name first, so that nobody can bring it back meanwhile."""
    why = f"Remove a disk that was kept since {kept.kept_since:%Y-%m-%d %H:%M}Z."
    steps = stores.of(kept, settings, facts).remove(kept.path, why, f"the old disk {kept.path}", may_fail=True)
    return (*steps, *(volumes.wipe(f"/dev/{step.vg}/{step.target}") for step in steps if isinstance(step, RenameVolume)))
