"""The root disk that an installation is about: which one it is, what speaks against touching it, and its new file system."""

from __future__ import annotations

from dtcxen_soap import disks, stores
from dtcxen_soap.errors import Missing, ParameterFault, Refused
from dtcxen_soap.facts import DiskFact, Facts
from dtcxen_soap.plans import Run
from dtcxen_soap.requests import Reinstall
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import DiskRole

OPERATION = "reinstallOS"
_MKFS = {
    "ext3": ("mkfs.ext3", "-q", "-F", "-E", "nodiscard"),
    "ext4": ("mkfs.ext4", "-q", "-F", "-E", "nodiscard"),
    "xfs": ("mkfs.xfs", "-q", "-f", "-K"),
    "btrfs": ("mkfs.btrfs", "-q", "-f", "-K"),
}
"""Without discarding: it would give back the space that a fallocated image has reserved."""


def chosen(request: Reinstall, settings: Settings, facts: Facts) -> DiskFact:
    """The one root disk of a VPS that nobody uses now. Raises Busy, Refused, Missing or Failed for every other VPS."""
    disks.refuse_in_use(facts, request.vps, OPERATION)
    if facts.tenancy.blocked:
        raise Refused(ParameterFault(OPERATION, "vps", "InvalidParameter", f"VPS {request.vps} is blocked: {facts.tenancy.blocked}", "killVPSDisk first"))
    roots = [disk for disk in facts.disks if disk.role is DiskRole.ROOT]
    if not roots:
        raise Missing(f"{OPERATION}: VPS {request.vps} has no root disk: call setupVPSDisk first")
    if len(roots) > 1:
        raise Refused(ParameterFault(
            OPERATION, "vps", "InvalidParameter", f"VPS {request.vps} has two root disks, {' and '.join(disk.path for disk in roots)}", "one of them: remove the other"))
    root = roots[0]
    if request.expected_disk is not None and root.size_bytes != stores.of(root, settings, facts).size_bytes(request.expected_disk):
        raise Refused(ParameterFault(
            "reinstallVPSos", "hddsize", "InvalidParameter", f"the root disk has {root.size_bytes >> 20} MiB", f"{root.size_bytes >> 20}, or killVPS first"))
    return root


def mkfs_program(settings: Settings) -> str:
    """The program that makes root file systems as the settings want them."""
    return _MKFS[settings.root_filesystem][0]


def mkfs(path: str, settings: Settings, destroys: str = "") -> Run:
    """An empty root file system; `destroys` says what was there before."""
    return Run(why=f"Make an {settings.root_filesystem} file system.", argv=(*_MKFS[settings.root_filesystem], "--", path), destroys=destroys, weight=2)


def mkswap(path: str) -> Run:
    """Empty swap space."""
    return Run(why="Make swap space.", argv=("mkswap", "--", path), weight=1)
