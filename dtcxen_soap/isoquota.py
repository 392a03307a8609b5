"""How much an owner may upload, kept by the file system: a project quota on the directory iso/, else a quota of the uploading user.

Where the file system of the homes keeps neither, writeXenHVMconf refuses to boot an ISO of an owner who
has more than allowed (hvm.py). A limit of 0 takes it off. Sources: setquota(8), ext4(5) on
prjquota, xfs(5) on pquota; both file systems take the command.
"""

from __future__ import annotations

from dtcxen_soap.accountfacts import QuotaFact
from dtcxen_soap.plans import Run, Step
from dtcxen_soap.quotasteps import MarkProject
from dtcxen_soap.vps import Mib, VpsId

COMMANDS = ("setquota",)
PROJECTS = {"prjquota", "pquota"}
USERS = {"usrquota", "uquota", "quota", "usrjquota"}
"""Mount options by which ext4 and XFS keep quotas."""
FIRST_PROJECT = 800_000
"""Project numbers of ours are this and the VPS's number."""
FILES = 2000
"""Most files, with a limit: twice what is ever listed, since files without content use up inodes too."""


def found(options: frozenset[str], mount_point: str, commands: frozenset[str]) -> QuotaFact:
    """What the options of a mount mean for us, with the commands that this node has."""
    names = {option.partition("=")[0] for option in options}
    if not commands >= set(COMMANDS):
        return QuotaFact()
    kind = "project" if names & PROJECTS else "user" if names & USERS else ""
    return QuotaFact(kind, mount_point) if kind else QuotaFact()


def project(vps: VpsId) -> int:
    """The project of a VPS's ISOs."""
    return FIRST_PROJECT + vps.number


def limit_steps(vps: VpsId, user: str, homes: str, limit: Mib, fact: QuotaFact, *, new: bool = False) -> tuple[Step, ...]:
    """Have the limit kept from now on; `new`: the user is made by the same plan, and goes with it if that fails.

    A file system that refuses is told in the log: what is booted is judged in any case.
    """
    if fact.kind == "project":
        mark = MarkProject(why="Count all that is in the place for ISOs, and all that comes.", top=homes, path=f"{vps.name}/iso", project=project(vps), may_fail=True)
        return mark, _set(("-P", str(project(vps))), limit, fact)
    return (_set(("-u", user), limit, fact, undo=free_user_steps(user, fact) if new else ()),) if fact.kind == "user" else ()


def free_steps(vps: VpsId, fact: QuotaFact) -> tuple[Step, ...]:
    """Forget the limit of a VPS that goes."""
    return (_set(("-P", str(project(vps))), Mib(0), fact),) if fact.kind == "project" else ()


def free_user_steps(user: str, fact: QuotaFact) -> tuple[Step, ...]:
    """Forget the limit of a user that goes, while its name is known: the kernel keeps it for the uid, which another user may get."""
    return (_set(("-u", user), Mib(0), fact),) if fact.kind == "user" else ()


def _set(whose: tuple[str, str], limit: Mib, fact: QuotaFact, undo: tuple[Step, ...] = ()) -> Step:
    """Hard limits of blocks of 1024 bytes, and of files; 0 is none."""
    why = f"Let its ISOs use {limit} MiB at most." if limit else "Set no limit for its ISOs."
    return Run(why=why, argv=("setquota", *whose, "0", str(limit * 1024), "0", str(FILES if limit else 0), fact.mount_point), may_fail=True, undo=undo)
