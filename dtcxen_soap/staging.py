"""A system's tree on its way into a bundle: judged where it is, copied, and freed of what makes one machine itself.

The source is never changed. It is walked without following a link and judged as the members of its
tarball would be, before a byte is copied. cp(1) and tar(1) run where only their target can be
written; what is removed is removed by tree.py, which no link leads out. Sources: cp(1), tar(1).
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Iterator

from dtcxen_soap import pack, tarballs
from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.facts import Member, TreeFact
from dtcxen_soap.install import contract
from dtcxen_soap.planprint import paste
from dtcxen_soap.plans import Confinement, Run
from dtcxen_soap.processes import Unwatched, run, unheard
from dtcxen_soap.sparsefiles import Room
from dtcxen_soap.tree import Tree

COMMAND_SECONDS = 4 * 3600
_BLOCK = 4096
_INODE = 256
_MOST_KERNELS = 32
_TAIL_LINES = 10


class Walk:
    """The members that a tree's tarball will have; on the way are found what its files need on a disk in bytes, and the newest change in seconds."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._device = os.lstat(root).st_dev
        self._names: dict[int, str] = {}
        self.need_bytes = 0
        self.newest = 0

    def members(self) -> Iterator[Member]:
        """Every entry of the tree's own file system, parents first; a second name of a file as a hard link."""
        waiting = [""]
        while waiting:
            directory = waiting.pop()
            with os.scandir(os.path.join(self._root, directory)) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            for entry in found:
                path, status = os.path.join(directory, entry.name), entry.stat(follow_symlinks=False)
                yield self._member(path, status)
                if stat.S_ISDIR(status.st_mode) and status.st_dev == self._device:
                    waiting.append(path)

    def _member(self, path: str, status: os.stat_result) -> Member:
        mode = stat.S_IMODE(status.st_mode)
        self.newest = max(self.newest, int(status.st_mtime))
        if not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1 and (first := self._names.setdefault(status.st_ino, path)) != path:
            return Member(path, "hardlink", first, 0, mode)
        self.need_bytes += _INODE + (-(-status.st_blocks * 512 // _BLOCK) * _BLOCK if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) else 0)
        if stat.S_ISLNK(status.st_mode):
            return Member(path, "symlink", os.readlink(os.path.join(self._root, path)), 0, mode)
        if stat.S_ISREG(status.st_mode):
            return Member(path, "file", "", status.st_size, mode)
        kind = "directory" if stat.S_ISDIR(status.st_mode) else "device" if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode) else "fifo"
        return Member(path, kind, "", 0, mode)


def judge(root: str, what: str, most_bytes: int) -> Walk:
    """The walk through a tree, ended; Failed when the tree could not be installed as a bundle. `what` names it."""
    walk = Walk(root)
    try:
        verdict = contract.judge(walk.members(), most_bytes=most_bytes)
    except OSError as error:
        raise Failed("", f"{what} cannot be read: {ascii(os.path.relpath(str(error.filename), root)) if error.filename else 'it'}: {error.strerror}") from error
    if verdict:
        raise Failed("", f"{what}: {verdict}")
    return walk


def copy(root: str, stage: str, room: Room) -> None:
    """Copy a mounted tree with owners, modes, times, attributes, hard links and holes into the new directory `stage`.

    The mount is named among what may be written so that it is seen at all: it is read-only, and stays so.
    """
    os.mkdir(stage, 0o700)
    command(Run(
        why="Copy the system.", argv=("cp", "--archive", "--one-file-system", "--sparse=auto", "--", f"{root}/.", stage), contained=True,
        confinement=Confinement(writable=(root, stage)), timeout_seconds=COMMAND_SECONDS), room)
    _refuse_lost(root, stage)


def _refuse_lost(root: str, stage: str) -> None:
    """cp(1) says nothing of attributes that the target's file system has no room for, or none at all of."""
    try:
        for member in Walk(root).members():
            if member.kind in ("file", "directory"):
                _refuse_lost_of(member.name, _attributes(os.path.join(root, member.name)), _attributes(os.path.join(stage, member.name)))
    except OSError as error:
        raise Failed("", f"what is packed changed while it was copied: {error.strerror}: {ascii(error.filename)}") from error


def _refuse_lost_of(name: str, here: dict[str, bytes], there: dict[str, bytes]) -> None:
    if lost := sorted(each for each, value in here.items() if there.get(each) != value):
        raise Failed("", f"{ascii(name)} has attributes that the file system of the output directory does not keep: {', '.join(map(ascii, lost))}")


def _attributes(path: str) -> dict[str, bytes]:
    """Those that a bundle holds."""
    names = (name for name in os.listxattr(path, follow_symlinks=False) if name.startswith("user.") or name == "security.capability")
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def forget(stage: str) -> tuple[str, ...]:
    """Take out of a copied tree what no two machines may share; the paths that went or were emptied."""
    tree = Tree(stage)
    gone = [path for path in sorted(tree.look((), pack.FORGOTTEN).paths) if not _is_directory(tree, path)]
    for path in gone:
        tree.remove(path)
    if (status := tree.status(pack.EMPTIED)) and stat.S_ISREG(status.st_mode) and status.st_size:
        tree.write(pack.EMPTIED, b"", stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid))
        gone.append(pack.EMPTIED)
    return tuple(gone)


def _is_directory(tree: Tree, path: str) -> bool:
    status = tree.status(path, follow=False)
    return status is not None and stat.S_ISDIR(status.st_mode)


def look(stage: str) -> TreeFact:
    """The texts, and the beginnings of programs and kernels, that tell what a tree is."""
    tree = Tree(stage)
    kernels = sorted(name for name in tree.names("boot") if name.startswith(("vmlinuz", "vmlinux")))[-_MOST_KERNELS:]
    return tree.look(pack.TEXTS, (), (*pack.PROGRAMS, *(f"boot/{name}" for name in kernels)))


def elsewhere(stage: str, found: TreeFact) -> tuple[tuple[str, str], ...]:
    """Mount points whose content lies on another disk than the tree, and that disk."""
    tree = Tree(stage)
    return pack.elsewhere(found, lambda path: bool(set(tree.names(path)) - {"lost+found"}))


def tarball(stage: str, target: str, newest: int, room: Room) -> None:
    """Write a tree's tarball: numbers for owners, attributes, sorted names.

    What `forget` changed gets the time of the tree's newest entry: the same source gives the same bytes.
    """
    argv = ("tar", "--create", "--gzip", "--sparse", "--format=pax", "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime", "--numeric-owner",
            "--acls", "--xattrs", "--xattrs-include=user.*", "--xattrs-include=security.capability", "--sort=name", "--one-file-system",
            f"--mtime=@{newest + 1}", "--clamp-mtime",
            "--file", target, "--directory", stage, ".")
    confined = Confinement(writable=(os.path.dirname(target), stage))
    command(Run(why="Pack the system.", argv=argv, contained=True, confinement=confined, timeout_seconds=COMMAND_SECONDS), room)


def check(path: str, most_bytes: int) -> None:
    """Read the tarball as an installation will, and judge it as an installation will; Failed when that refuses it."""
    tarballs.check(path, functools.partial(contract.judge, most_bytes=most_bytes), Unwatched())


def command(step: Run, room: Room) -> None:
    """Run a command that writes; Failed when it fails, or would fill the disk."""
    room.refuse_full()
    try:
        ran = run(step, unheard, room)
    except Cancelled:
        room.refuse_full()
        raise
    if ran.code:
        raise Failed(step.why, f"{step.argv[0]} ended with code {ran.code}", paste(step.argv), "\n".join(ran.output.splitlines()[-_TAIL_LINES:]))
