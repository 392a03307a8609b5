"""rollbackVPS: the system that the last reinstallation replaced comes back, with its configuration; the newer one is kept instead.

Each move is undone by its own rename, so a failure or a crash between them leaves the newer system in place.
The swap disk stays as it is: it holds nothing.
"""

from __future__ import annotations

from datetime import timedelta

from dtcxen_soap import configfile, disks, stores
from dtcxen_soap.answers import RolledBack
from dtcxen_soap.errors import Missing, ParameterFault, Refused
from dtcxen_soap.facts import DiskFact, Facts, KeptDisk, Need, NeedDisks, NeedDomu, NeedTenancy
from dtcxen_soap.plans import Plan, Step
from dtcxen_soap.requests import Rollback
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import DiskRole, VpsId

_OPERATION = "rollbackVPS"


def needs(request: Rollback, settings: Settings) -> tuple[Need, ...]:
    """The disks, those that were kept, and whether the domU runs."""
    return NeedDisks(request.vps), NeedDomu(request.vps), NeedTenancy(request.vps)


def plan(request: Rollback, settings: Settings, facts: Facts) -> Plan:
    """Exchange the root disk and the configuration for the kept ones. Missing when none was kept, Busy while the domU runs."""
    vps = request.vps
    disks.refuse_in_use(facts, vps, _OPERATION)
    if facts.tenancy.blocked:
        raise Refused(ParameterFault(_OPERATION, "vps", "InvalidParameter", f"VPS {vps} is blocked: {facts.tenancy.blocked}", "killVPSDisk first"))
    root, kept = _both(vps, facts)
    down = disks.must_be_free(vps, (root.path, kept.path), facts)
    steps = (down, *_disks(root, kept, settings, facts), *configfile.bring_back(vps, settings, facts))
    return Plan(f"bring back the system that VPS {vps} had until {kept.kept_since:%Y-%m-%d %H:%M}Z", steps, RolledBack(str(vps), kept.kept_since))


def _both(vps: VpsId, facts: Facts) -> tuple[DiskFact, KeptDisk]:
    """The root disk, and the newest that was kept of its kind."""
    old = [kept for kept in facts.kept if kept.role is DiskRole.ROOT]
    if not old:
        raise Missing(f"{_OPERATION}: no earlier system of VPS {vps} is kept (keep_old_disk_hours)")
    kept = max(old, key=lambda each: each.kept_since)
    root = next((disk for disk in facts.disks if disk.role is DiskRole.ROOT and disk.image_type is kept.image_type), None)
    if root is None:
        raise Missing(f"{_OPERATION}: VPS {vps} has no {kept.image_type.value} root disk in whose place {kept.path} could go")
    return root, kept


def _disks(root: DiskFact, kept: KeptDisk, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    assert facts.now is not None
    store = stores.of(root, settings, facts)
    since = max(facts.now, kept.kept_since + timedelta(seconds=1))
    aside = store.kept(root.path, facts.tenancy.number, since)
    return (
        *store.rename(root.path, aside, f"Keep the present root disk for {settings.keep_old_disk_hours} hours.", "Put the present root disk back."),
        *store.rename(kept.path, root.path, "Put the earlier root disk in its place.", "Set the earlier root disk aside again."))
