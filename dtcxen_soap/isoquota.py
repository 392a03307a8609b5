"""How much an owner may upload, kept by the file system: a project quota on the directory iso/, else a quota of the uploading user.

Where the file system of the homes keeps neither, writeXenHVMconf refuses to boot an ISO of an owner who
has more than allowed (hvm.py). A limit of 0 takes it off. Sources: setquota(8), chattr(1), ext4(5) on
prjquota, xfs(5) on pquota; both file systems take both commands.
"""

from __future__ import annotations

from dtcxen_soap.accountfacts import QuotaFact
from dtcxen_soap.plans import Run, Step
from dtcxen_soap.vps import Mib, VpsId

COMMANDS = ("setquota", "chattr")
PROJECTS = {"prjquota", "pquota"}
USERS = {"usrquota", "uquota", "quota", "usrjquota"}
"""Mount options by which ext4 and XFS keep quotas."""
FIRST_PROJECT = 800_000
"""Project numbers of ours are this and the VPS's number."""


def found(options: frozenset[str], mount_point: str, commands: frozenset[str]) -> QuotaFact:
    """What the options of a mount mean for us, with the commands that this node has."""
    names = {option.partition("=")[0] for option in options}
    if names & PROJECTS and commands >= set(COMMANDS):
        return QuotaFact("project", mount_point)
    return QuotaFact("user", mount_point) if names & USERS and "setquota" in commands else QuotaFact()


def project(vps: VpsId) -> int:
    """The project of a VPS's ISOs."""
    return FIRST_PROJECT + vps.number


def limit_steps(vps: VpsId, user: str, directory: str, limit: Mib, fact: QuotaFact) -> tuple[Step, ...]:
    """Have the limit kept from now on. A file system that refuses is told in the log: what is booted is judged in any case."""
    if fact.kind == "project":
        mark = Run(why="Make the place for ISOs a project of its own.", argv=("chattr", "-p", str(project(vps)), "+P", "--", directory), may_fail=True)
        return mark, _set(("-P", str(project(vps))), limit, fact)
    return (_set(("-u", user), limit, fact),) if fact.kind == "user" else ()


def free_steps(vps: VpsId, fact: QuotaFact) -> tuple[Step, ...]:
    """Forget the limit of a VPS that goes; a user's goes with the user's files, and is set anew for the next one of its number."""
    return (_set(("-P", str(project(vps))), Mib(0), fact),) if fact.kind == "project" else ()


def _set(whose: tuple[str, str], limit: Mib, fact: QuotaFact) -> Step:
    """Blocks of 1024 bytes; no limit for inodes."""
    why = f"Let its ISOs use {limit} MiB at most." if limit else "Set no limit for its ISOs."
    return Run(why=why, argv=("setquota", *whose, "0", str(limit * 1024), "0", "0", fact.mount_point), may_fail=True)
