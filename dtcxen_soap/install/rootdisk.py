"""The one root disk that an installation is about, and all that speaks against touching its VPS."""

from __future__ import annotations

from dtcxen_soap import disks, stores
from dtcxen_soap.errors import Missing, ParameterFault, Refused
from dtcxen_soap.facts import DiskFact, Facts
from dtcxen_soap.requests import Reinstall
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import DiskRole

_OPERATION = "reinstallOS"


def the_root(request: Reinstall, settings: Settings, facts: Facts) -> DiskFact:
    """The root disk. Busy while the VPS is in use, Refused when it is blocked, has two, or one of another size than the panel says; Missing without any."""
    disks.refuse_in_use(facts, request.vps, _OPERATION)
    if facts.tenancy.blocked:
        raise Refused(ParameterFault(_OPERATION, "vps", "InvalidParameter", f"VPS {request.vps} is blocked: {facts.tenancy.blocked}", "killVPSDisk first"))
    roots = [disk for disk in facts.disks if disk.role is DiskRole.ROOT]
    if not roots:
        raise Missing(f"{_OPERATION}: VPS {request.vps} has no root disk: call setupVPSDisk first")
    if len(roots) > 1:
        raise Refused(ParameterFault(
            _OPERATION, "vps", "InvalidParameter", f"VPS {request.vps} has two root disks, {' and '.join(disk.path for disk in roots)}", "one of them: remove the other"))
    root = roots[0]
    if request.expected_disk is not None and root.size_bytes != stores.of(root, settings, facts).size_bytes(request.expected_disk):
        raise Refused(ParameterFault(
            "reinstallVPSos", "hddsize", "InvalidParameter", f"the root disk has {root.size_bytes >> 20} MiB", f"{root.size_bytes >> 20}, or killVPS first"))
    return root
