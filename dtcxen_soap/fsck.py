"""fsckVPSpartition: check the root disk of a VPS with the program of the file system that is really on it.

What may be corrected without a person's decision is corrected; more never is. What the program's
exit code means becomes the job's outcome, or its reason: e2fsck(8), xfs_repair(8) with -e,
btrfs-check(8). A disk that holds anything but one of these file systems is refused by what it holds.
"""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap import disks
from dtcxen_soap.errors import Failed, Missing, ParameterFault, Refused
from dtcxen_soap.facts import DiskFact, Facts, Need, NeedDisks, NeedDomu, NeedInstall, NeedTenancy
from dtcxen_soap.plans import Plan, Run
from dtcxen_soap.requests import Fsck
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import DiskRole, ImageType

_OPERATION = "fsckVPSpartition"
_CLEAN, _CORRECTED = "the file system is clean", "errors were found and corrected"
_BY_HAND = "check it by hand in the rescue system"


@dataclass(frozen=True)
class _Checker:
    """How a file system is checked: words before the path, those for image files too, and what each code means; only `good` ones are success."""

    argv: tuple[str, ...]
    good: tuple[int, ...]
    meanings: tuple[tuple[int, str], ...]
    marks: tuple[str, ...] = ()
    for_files: tuple[str, ...] = ()


_LEFT = f"errors were left that need a person's decision: {_BY_HAND}"
_EXT = _Checker(
    ("e2fsck", "-p", "-f"), (0, 1, 2, 3),
    ((0, _CLEAN), *((code, _CORRECTED) for code in (1, 2, 3)), *((code, _LEFT) for code in (4, 5, 6, 7)),
     (8, "e2fsck could not do its work"), (12, "e2fsck could not end its work, and errors were left")))
_XFS = _Checker(
    ("xfs_repair", "-e"), (0, 4),
    ((0, _CLEAN), (4, _CORRECTED), (1, f"xfs_repair could not end its work: {_BY_HAND}"),
     (2, "its log was never replayed: start the VPS and shut it down, which does that, or zero the log by hand in the rescue system")),
    tuple(f"Phase {number} " for number in range(1, 8)), ("-f",))
_BTRFS = _Checker(
    ("btrfs", "check", "--readonly"), (0,),
    ((0, _CLEAN), (1, f"errors were found, and btrfs is only looked at here, never repaired: {_BY_HAND}")),
    tuple(f"[{number}/7]" for number in range(1, 8)))
_CHECKERS = {"ext2": _EXT, "ext3": _EXT, "ext4": _EXT, "xfs": _XFS, "btrfs": _BTRFS}


def needs(request: Fsck, settings: Settings) -> tuple[Need, ...]:
    """The disk with what is on it, whether anything uses it, and the node's programs."""
    return NeedDisks(request.vps, content=True), NeedDomu(request.vps), NeedTenancy(request.vps), NeedInstall(request.vps)


def plan(request: Fsck, settings: Settings, facts: Facts) -> Plan:
    """See that nobody has the disk, then check it. Raises Refused, Missing, Busy or Failed before anything is planned."""
    root = _root(request, facts)
    checker = _checker(request, root, facts)
    free = disks.must_be_free(request.vps, (root.path,), facts)
    extra = checker.for_files if root.image_type is ImageType.VBD else ()
    check = Run(
        why=f"Check the {root.content} file system of {root.path}.", argv=(*checker.argv, *extra, "--", root.path), ok_codes=checker.good,
        outcomes=checker.meanings, marks=checker.marks, timeout_seconds=settings.install_timeout_minutes * 60, weight=9)
    return Plan(f"check the file system of VPS {request.vps}", (free, check))


def _root(request: Fsck, facts: Facts) -> DiskFact:
    """The root disk, when it may be touched at all."""
    disks.refuse_in_use(facts, request.vps, _OPERATION)
    if facts.tenancy.blocked:
        raise Refused(ParameterFault(_OPERATION, "vps", "InvalidParameter", f"VPS {request.vps} is blocked: {facts.tenancy.blocked}", "killVPSDisk first"))
    root = facts.disk(DiskRole.ROOT)
    if root is None:
        raise Missing(f"{_OPERATION}: VPS {request.vps} has no root disk")
    return root


def _checker(request: Fsck, root: DiskFact, facts: Facts) -> _Checker:
    checker = _CHECKERS.get(root.content)
    if checker is None:
        raise Refused(ParameterFault(
            _OPERATION, "vps", "InvalidParameter", f"the root disk of VPS {request.vps} holds {_told(root)}",
            f"one file system without partitions: {', '.join(_CHECKERS)}"))
    program = checker.argv[0]
    if program not in facts.node.commands:
        raise Failed(f"Check the file system of VPS {request.vps}.", f"the node lacks {program}, which checks {root.content}: install its package")
    return checker


def _told(disk: DiskFact) -> str:
    """What a disk holds, in words for its owner."""
    if disk.content:
        return disk.content
    return "nothing: it was never used" if disk.blank else "nothing that is recognised: never installed, or its beginning is damaged"
