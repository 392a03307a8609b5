"""All VPSes of the node at once, for whoever wants an overview: two questions to Xen, however many there are."""

from __future__ import annotations

import re
from collections.abc import Callable

from dtcxen_soap import domus, stores
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Failed
from dtcxen_soap.lookfacts import StateFact
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey import domu as survey_domu
from dtcxen_soap.survey import volumes as survey_volumes
from dtcxen_soap.vps import VpsId
from dtcxen_soap.xen import xl

_IMAGE = re.compile(r"xen(?P<vps>[0-9]{2,4})\.img")
_NAME = re.compile(r"xen(?P<vps>[0-9]{2,4})")


def states(dom0: Dom0, settings: Settings, busy: Callable[[VpsId], str]) -> tuple[StateFact, ...]:
    """Every VPS that has a configuration, a root disk or a domU, in the order of their numbers."""
    running, trouble = _running(dom0, settings)
    known = sorted({*(vps for vps, _ in survey_domu.configured(dom0, settings)), *_with_image(dom0, settings), *_with_volume(dom0, settings), *running})
    details = _details(dom0) if running else {}
    return tuple(_state(vps, busy(vps), trouble, running.get(vps), details, settings) for vps in known)


def _state(
        vps: VpsId, busy: str, trouble: str, domain: xl.Domain | None, details: dict[int, xl.Details], settings: Settings) -> StateFact:
    if domain is None:
        return StateFact(vps, busy, trouble)
    told = details.get(domain.domid, xl.Details())
    return StateFact(
        vps, busy, trouble, domain.state, told.kernel == settings.rescue_kernel, domain.domid, told.max_memory or domain.memory, domain.vcpus, domain.flags, domain.cpu_seconds)


def _running(dom0: Dom0, settings: Settings) -> tuple[dict[VpsId, xl.Domain], str]:
    """The domains of VPSes; and why they are not known, where Xen gives no answer."""
    if not domus.has_xen(dom0, settings.toolstack):
        return {}, ""
    try:
        rows = domus.domains(dom0)
    except Failed as error:
        return {}, str(error)
    return {vps: row for row in rows if (vps := _vps(_NAME, row.name))}, ""


def _details(dom0: Dom0) -> dict[int, xl.Details]:
    """What all domains were configured with; nothing where Xen does not tell."""
    try:
        return dict(xl.parse_details(dom0.capture(xl.DETAILS).output))
    except ValueError:
        return {}


def _with_image(dom0: Dom0, settings: Settings) -> set[VpsId]:
    return {vps for name in dom0.listdir(settings.provisioning_mount_point) if (vps := _vps(_IMAGE, name))}


def _with_volume(dom0: Dom0, settings: Settings) -> set[VpsId]:
    """Only in the group where this node's volumes live: a copy in another one is nobody's."""
    found = survey_volumes.volumes(dom0)
    try:
        home = stores.chosen_group(settings, found.fact.groups).name
    except ValueError:
        return set()
    return {name.vps for volume, name in found.ours() if name.is_disk and volume.vg == home}


def _vps(pattern: re.Pattern[str], name: str) -> VpsId | None:
    """The VPS that a name means, if it is exactly one of ours: xen01, not xen001."""
    match = pattern.fullmatch(name)
    if not match or not int(match["vps"]):
        return None
    vps = VpsId(int(match["vps"]))
    return vps if vps.name == f"xen{match['vps']}" else None
