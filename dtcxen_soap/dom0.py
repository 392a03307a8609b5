"""The machine, behind one object: everything that reads or changes dom0 goes through Dom0.

Who owns what, at the edge: processes.py starts and ends commands (the only importer of
`subprocess` and `signal`), output.py turns what they say into lines, confine.py is the first
process of a contained one (ctypes, namespaces), mounts.py owns mounts and loop devices, logicalvolumes.py LVM's volumes,
nodefiles.py the node's own files, goldenimages.py the images that installations clone, accountfiles.py system users and their homes,
tree.py (treecopy.py, shadow.py) guest trees and chown,
tarballs.py reads archives, passwords.py hashes.

Errors: OSError of the system call as it came, Failed where a tool said why (its `why` is left to
whoever knows the step), Cancelled when a Watch asked for the end.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dtcxen_soap import accountfiles, claims, goldenimages, hostkeys, logicalvolumes, mounts, nodefiles, nodelock, processes, projectquota, qmp, tarballs
from dtcxen_soap.errors import Failed
from dtcxen_soap.imagefacts import GoldenImage
from dtcxen_soap.imagesteps import CloneImage, KeepImage, MakingImage, VerifyImage
from dtcxen_soap.plans import MakeAccount, Run
from dtcxen_soap.processes import Ran, Unwatched, Watch, unheard
from dtcxen_soap.terminals import Terminal
from dtcxen_soap.tree import Tree
from dtcxen_soap.vps import Mib, Secret

__all__ = ["Dom0", "Ran", "Tree", "Unwatched", "Watch"]


class Dom0:
    """This machine. It keeps no state but the locks it holds and a key that waits, so threads may share one."""

    def __init__(self) -> None:
        self._locks = nodelock.Locks()
        self._keys = hostkeys.SpareKeys()

    # -- commands

    def command_of(self, step: Run) -> tuple[str, ...]:
        """What is really started for `step`, containment included. No secret is ever in it."""
        return processes.command_of(step)

    def run(self, step: Run, say: Callable[[str], None], watch: Watch) -> Ran:
        """Run a step's command in a clean environment; whoever asked judges the code.

        `say` gets each line as it comes, secrets redacted. Cancelled when the watch says so, asked
        every 0.1 s: then the whole session has ended (TERM, a second, KILL). A timeout gives code 124.
        """
        return processes.run(step, say, watch)

    def capture(self, argv: tuple[str, ...], timeout_seconds: int = 30) -> Ran:
        """Run a command that only reads; standard output alone, all of it. Code 127 when it is not installed."""
        return processes.capture(argv, timeout_seconds)

    def end_group(self, pid: int, start_time: int) -> bool:
        """End what an earlier daemon started, its leader alive or not; whether there was anything."""
        return processes.end_group(pid, start_time)

    # -- the node's files

    def read_bytes(self, path: str, limit: int = 1 << 20) -> bytes:
        """A whole file; OSError EFBIG beyond `limit` bytes."""
        return nodefiles.read_bytes(path, limit)

    def read_text(self, path: str, limit: int = 1 << 20) -> str:
        """A whole text file; OSError EFBIG beyond `limit` bytes. Bytes that are not UTF-8 become surrogates."""
        return nodefiles.read_bytes(path, limit).decode(errors="surrogateescape")

    def read_from(self, path: str, offset: int, limit: int) -> bytes:
        """A part of a file that may be growing: at most `limit` bytes from `offset` on."""
        return nodefiles.read_from(path, offset, limit)

    def exists(self, path: str) -> bool:
        """Whether something has this name, be it a link that leads nowhere."""
        return os.path.lexists(path)

    def listdir(self, path: str) -> tuple[str, ...]:
        """Names in a directory, sorted; none when it is absent."""
        return nodefiles.listdir(path)

    def stat(self, path: str) -> os.stat_result:
        """os.stat, links followed."""
        return os.stat(path)

    def is_regular(self, path: str) -> bool:
        """Whether the name itself, no link, is a regular file."""
        try:
            return stat.S_ISREG(os.lstat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def blank(self, path: str) -> bool:
        """Whether no block of an image file was ever written; False when the kernel cannot tell."""
        return nodefiles.blank(path)

    def free_bytes(self, path: str) -> int:
        """Free space of the file system that holds, or would hold, `path`."""
        return nodefiles.free_bytes(path)

    def write_file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file whole or not at all, fsynced, and so its directory."""
        nodefiles.write(path, data, mode)

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        """Make a directory and its parents; one that is there keeps its mode."""
        nodefiles.make_directory(path, mode)

    def allocate_file(self, path: str, size_bytes: int, sparse: bool, mode: int = 0o600) -> None:
        """Make a file that reads as zeros, blocks reserved unless `sparse`; FileExistsError when `path` is there."""
        nodefiles.allocate(path, size_bytes, sparse, mode)

    def remove_file(self, path: str) -> None:
        """Remove a file or link; fine when it is gone."""
        nodefiles.remove(path)

    def remove_directory(self, path: str) -> bool:
        """Whether it is gone: one that is not empty stays."""
        return nodefiles.remove_directory(path)

    def rename_file(self, source: str, target: str) -> None:
        """Rename a file, parents of the target made; FileExistsError when `target` is there."""
        nodefiles.rename(source, target)

    def exchange_file(self, source: str, target: str, keep: str) -> None:
        """Put `source` in the place of `target`, which lives on as `keep`; there is a `target` at every moment."""
        nodefiles.exchange(source, target, keep)

    def pin_file(self, top: str, path: str, target: str) -> None:
        """Give a regular file below `top` a second name that only root can change, replacing what had it; no link is followed."""
        nodefiles.pin(top, path, target)

    def symlink(self, path: str, target: str) -> None:
        """Make or replace a link in one move."""
        nodefiles.symlink(path, target)

    # -- accounts

    def make_account(self, step: MakeAccount) -> None:
        """Make a system user and its group, or give the user that is there what the step says."""
        accountfiles.make(step)

    def remove_account(self, user: str, lock: str) -> None:
        """Close a system user's account, end what it runs, remove it; fine when it is gone."""
        accountfiles.remove(user, lock)

    def set_account_password(self, users: tuple[str, ...], hashed: str, lock: str) -> None:
        """Give system users this hash of a password."""
        accountfiles.set_password(users, hashed, lock)

    def set_htpasswd(self, path: str, user: str, hashed: str | None, lock: str) -> None:
        """Give a user of htpasswd this hash, or take the user out."""
        accountfiles.set_htpasswd(path, user, hashed, lock)

    def make_home(self, top: str, name: str, uploader: str = "") -> None:
        """Make a home that only root changes, and in it iso/ for `uploader`; no link is followed."""
        accountfiles.make_home(top, name, uploader)

    def mark_project(self, top: str, path: str, project: int) -> None:
        """Count a directory below `top` and all that is in it for a project of quotas; no link is followed."""
        projectquota.mark(top, path, project)

    def write_keys(self, top: str, name: str, keys: tuple[str, ...]) -> None:
        """Make these all the SSH keys of a home; no link is followed."""
        accountfiles.write_keys(top, name, keys)

    def remove_below(self, top: str, path: str) -> None:
        """Remove what is at `path` below `top`, with all that is in it; no link is followed."""
        accountfiles.remove_below(top, path)

    # -- mounts and loop devices

    def mount(self, source: str, at: str, fstype: str, options: str = "") -> None:
        """Mount a device or an image file at a directory, which is made when absent; Failed when something is mounted there."""
        mounts.mount(source, at, fstype, options)

    def unmount(self, at: str, say: Callable[[str], None] = unheard) -> None:
        """Unmount `at` and all below it, patiently; fine when nothing is mounted there. `say` hears who holds it up."""
        mounts.unmount(at, say)

    def mounts_below(self, prefix: str) -> tuple[str, ...]:
        """Mount points at or below `prefix`, the last mounted first."""
        return mounts.below(prefix)

    def mounted_at(self, path: str) -> bool:
        """Whether `path` is a mount point."""
        return mounts.mounted_at(path)

    def mount_of(self, path: str) -> tuple[str, frozenset[str]]:
        """Where the file system of `path` is mounted, and its options."""
        found = mounts.mount_of(path)
        return found.at, found.options

    def loop_devices_of(self, path: str) -> tuple[str, ...]:
        """Loop devices that this very file backs."""
        return mounts.loop_devices_of(path)

    def detach_loop(self, device: str) -> None:
        """Free a loop device; fine when it is free."""
        mounts.detach_loop(device)

    # -- logical volumes

    def volume_exists(self, vg: str, lv: str) -> bool:
        """Whether LVM knows a volume of exactly this name; Failed when it cannot tell."""
        return logicalvolumes.find(vg, lv) is not None

    def make_volume(self, vg: str, lv: str, size: Mib, pool: str = "", tags: tuple[str, ...] = ()) -> None:
        """Make a volume, thin when `pool` names its pool; Failed when the name is taken."""
        logicalvolumes.make(vg, lv, size, pool, tags)

    def remove_volume(self, vg: str, lv: str, wipe: bool = False, watch: Watch | None = None) -> None:
        """Remove a volume, overwritten before if so asked; fine when it is gone, Failed while anything has it open."""
        logicalvolumes.remove(vg, lv, wipe, watch or Unwatched())

    def rename_volume(self, vg: str, source: str, target: str) -> None:
        """Rename a volume; fine when it was renamed already, Failed when the target's name is taken."""
        logicalvolumes.rename(vg, source, target)

    def exchange_volume(self, vg: str, source: str, target: str, keep: str) -> None:
        """Put `source` in the place of `target`, which lives on as `keep`; after a crash within, calling it again goes on."""
        logicalvolumes.exchange(vg, source, target, keep)

    def tag_volume(self, vg: str, lv: str, add: tuple[str, ...] = (), remove: tuple[str, ...] = ()) -> None:
        """Add tags to a volume and take tags off it."""
        logicalvolumes.tag(vg, lv, add, remove)

    # -- golden images, and what a clone needs of its own

    def images(self, directory: str) -> tuple[GoldenImage, ...]:
        """The images that a cache holds, as their manifests tell."""
        return goldenimages.images(directory)

    def begin_image(self, hold: MakingImage, watch: Watch) -> bool:
        """Be the only one who makes this image; whether it is still to be made. Cancelled while others make it, when the watch says so."""
        nodefiles.make_directory(hold.directory, 0o700)
        self._locks.take(hold.unfinished, f"{hold.directory}/{hold.key}.lock", watch.cancelled)
        return not goldenimages.is_fresh(hold.directory, hold.key, hold.max_age)

    def end_image(self, unfinished: str) -> None:
        """Let others make the image whose unfinished file this was; the file goes, if it is still there."""
        nodefiles.remove(unfinished)
        self._locks.let_go(unfinished)

    def keep_image(self, step: KeepImage, made_with: Mapping[str, str], watch: Watch) -> None:
        """Put a finished image into the cache, and let others go for its room."""
        goldenimages.keep(step, made_with, watch.cancelled)

    def verify_image(self, step: VerifyImage, watch: Watch) -> None:
        """Failed when an image of the cache is not what was made, or too large."""
        goldenimages.verify(step, watch.cancelled)

    def clone_image(self, step: CloneImage, watch: Watch) -> None:
        """Copy an image onto a disk; Failed when it is not what was made: the disk holds nothing of use then."""
        self._keys.begin()
        goldenimages.clone(step, watch.cancelled)

    def new_host_key(self, kind: str) -> tuple[Secret, str]:
        """A key for one new system's sshd, that nobody else gets: the private one, and the public one without a comment; rsa, ecdsa or ed25519."""
        return self._keys.take(kind)

    # -- who uses what

    def claims(self, path: str) -> tuple[str, ...]:
        """What holds a block device or image file, in clauses ("mounted on /x"); none when it is free or not there."""
        return claims.of(path)

    def holders(self, path: str, program: str = "") -> tuple[str, ...]:
        """Processes that have `path` open, or something below it: "pid 12 (sh)"; not this one, and only those of one name, if given."""
        mine = f"pid {os.getpid()} ("
        return tuple(holder for holder in mounts.holders(path, program) if not holder.startswith(mine))

    def terminal(self, path: str) -> Terminal:
        """The reading end of a pseudo terminal."""
        return Terminal(path)

    def ask_device_model(self, path: str, *questions: str) -> tuple[Any, ...]:
        """What a domU's device model answers at its socket (QMP); OSError when it does not, ValueError for nonsense."""
        return qmp.ask(path, *questions)

    # -- the machine and what is on it

    def commands(self, names: Iterable[str]) -> frozenset[str]:
        """Those of `names` that `run` and `capture` would find."""
        return frozenset(name for name in names if shutil.which(name, path=processes.PATH))

    def is_root(self) -> bool:
        """Whether this process may do what only root may."""
        return os.geteuid() == 0

    def uname_release(self) -> str:
        """Release of the running kernel."""
        return os.uname().release

    def hostname(self) -> str:
        """The node's host name."""
        return os.uname().nodename

    def tree(self, root: str) -> Tree:
        """A guest tree, whose links lead nobody out."""
        return Tree(root)

    def check_tarball(self, path: str, judge: Callable[[Iterable[Any]], str], watch: Watch | None = None) -> None:
        """Let `judge` see every member (facts.Member); Failed with its text when it says one, or when the archive is damaged."""
        tarballs.check(path, judge, watch or Unwatched())

    def digest(self, path: str) -> str:
        """The SHA-256 of a file, in hexadecimal digits."""
        return nodefiles.digest(path, Unwatched().cancelled)

    def check_digest(self, path: str, sha256: str, watch: Watch | None = None, keep: bool = False) -> None:
        """Failed, and the file is gone unless `keep`, when this is not the SHA-256 of all that is in it."""
        found = nodefiles.digest(path, (watch or Unwatched()).cancelled)
        if found != sha256:
            if not keep:
                nodefiles.remove(path)
            raise Failed("", f"its SHA-256 is {found}, expected {sha256}: it is {'' if keep else 'removed, and '}not used")
