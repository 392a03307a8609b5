"""The first process of a contained command. dom0 starts it, inside new namespaces, as

    unshare --mount --propagation private --pid --fork --kill-child --mount-proc -- python3 -I confine.py ORDER COMMAND...

ORDER is JSON: `chroot` and `cwd` (where the command runs), and for a confinement `writable`,
`overlays` and perhaps `furnished`. It makes the mounts, starts the command, adopts orphans, and leaves with the command's
code; the kernel then ends whatever is left in the PID namespace, and drops every mount made here.

A confinement makes every mount read-only but the `writable` trees, which keep the flags they had,
and /tmp, where everything can be read but what is written stays private and is dropped. An overlay
(ours, over) shows our files in `over` beside the node's own, ours winning: a read-only overlayfs.
Where the node has no directory `over`, nothing is made on its disk: the nearest parent that exists
gets a read-only overlay that adds the empty directories, and ours is bound onto the last of them.

It guards against mistakes and leftovers of scripts that the admin trusts; root that means harm can
mount and remount. A command in a chroot means harm: it gets /proc and a small /dev of its own, and
loses every capability that packages do not need, so also chroot itself, the way out.

Only the standard library and Linux 5.12: unshare(2), mount(2), open_tree(2), move_mount(2),
mount_setattr(2), kernel documentation of overlayfs, capabilities(7). Codes: 125 this program
failed, 126 and 127 as a shell's.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import stat
import sys
from typing import Any

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_MOUNT_SETATTR = 428, 429, 442
AT_FDCWD, AT_RECURSIVE, OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH = -100, 0x8000, 1, 4
MOUNT_ATTR_RDONLY = 1
MNT_DETACH = 2
_OCTAL = re.compile(r"\\([0-7]{3})")
"""How mountinfo writes blanks and the like."""
PR_CAPBSET_DROP, LAST_CAP = 24, 63
KEPT_CAPS = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 27, 29, 31})
"""chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw, mknod, audit_write, setfcap."""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEVICE_LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx"))
OWN_FAILURE, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _MountAttr(ctypes.Structure):
    _fields_ = [("attr_set", ctypes.c_uint64), ("attr_clr", ctypes.c_uint64), ("propagation", ctypes.c_uint64), ("userns_fd", ctypes.c_uint64)]


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _mount(source: str, at: str, fstype: str, flags: int = 0, data: str = "") -> None:
    result = _libc.mount(source.encode(), at.encode(), fstype.encode(), ctypes.c_ulong(flags), data.encode())
    _checked(result, f"mount {fstype} at {at}")


def _set_read_only(path: str, on: bool, flags: int) -> None:
    attributes = _MountAttr(attr_set=MOUNT_ATTR_RDONLY if on else 0, attr_clr=0 if on else MOUNT_ATTR_RDONLY)
    result = _libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)))
    _checked(result, f"mount_setattr {path}")


def _clone(path: str) -> int:
    """A detached copy of the mounts at and below `path`, as they are now."""
    return _checked(_libc.syscall(SYS_OPEN_TREE, AT_FDCWD, path.encode(), OPEN_TREE_CLONE | os.O_CLOEXEC | AT_RECURSIVE), f"open_tree {path}")


def _place(clone: int, path: str) -> None:
    _checked(_libc.syscall(SYS_MOVE_MOUNT, clone, b"", AT_FDCWD, path.encode(), MOVE_MOUNT_F_EMPTY_PATH), f"move_mount {path}")


def _directory(path: str, parent: int | None = None) -> int:
    """A handle that stays good when something is mounted over the directory; never through a last link."""
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def _named(handle: int) -> str:
    """A name of what `handle` holds that needs no quoting in mount options."""
    return f"/proc/self/fd/{handle}"


def confine(writable: list[str], overlays: list[list[str]]) -> None:
    """Make the world read-only but for `writable` and a private /tmp, our directories laid over the node's."""
    clones = [(path, _clone(path)) for path in sorted(writable)]
    sources = [(_directory(os.path.realpath(ours)), os.path.realpath(over)) for ours, over in overlays]
    _overlay_all(sources, _private_tmp())
    _set_read_only("/", True, AT_RECURSIVE)
    _set_read_only("/tmp", False, 0)
    for path, clone in clones:
        os.makedirs(path, exist_ok=True)  # in the private /tmp only: a mount below the node's /tmp is covered by now
        _place(clone, path)


def let_go(own: set[str]) -> None:
    """Drop our copies of other trees' mounts: while we hold one, dom0 could unmount it but not free its disk.

    Other trees are what is mounted beside `own` ones, in the same directory, which is never the root.
    """
    beside = {os.path.dirname(path) for path in own} - {"/"}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        points = [_OCTAL.sub(lambda match: chr(int(match[1], 8)), line.split()[4]) for line in mounts]
    for point in points:
        if os.path.dirname(point) in beside and point not in own:
            _checked(_libc.umount2(os.fsencode(point), MNT_DETACH), f"umount {point}")


def _own_trees(order: dict[str, Any], command: list[str]) -> set[str]:
    """The trees that this command works on: its chroot, what it may write, and mount points that it is told."""
    told = [word for word in command if word.startswith("/") and os.path.ismount(word)]
    return {os.path.realpath(path) for path in (order["chroot"], *order.get("writable", ()), *told) if path}


def _private_tmp() -> int:
    """Cover /tmp by itself plus a private upper layer; a handle of an empty hidden directory is returned."""
    below = _directory(os.path.realpath("/tmp"))
    _mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700")
    for name in ("upper", "work", "stage"):
        os.mkdir(f"/tmp/{name}")
    os.chmod("/tmp/upper", 0o1777)
    stage = _directory("/tmp/stage")
    _mount("overlay", "/tmp", "overlay", MS_NOSUID | MS_NODEV, f"lowerdir={_named(below)},upperdir=/tmp/upper,workdir=/tmp/work")
    return stage


def _lay(layers: list[int], at: str) -> None:
    _mount("overlay", at, "overlay", MS_RDONLY, "lowerdir=" + ":".join(map(_named, layers)))


def _overlay_all(sources: list[tuple[int, str]], stage: int) -> None:
    """Lay each of ours over the node's directory; those that the node lacks share one layer of each parent.

    Parents first, since a mount hides what is mounted below it already.
    """
    lacking: dict[str, list[tuple[int, str]]] = {}
    for ours, over in sources:
        lacking.setdefault(_existing(over), []).append((ours, over))
    for parent, entries in sorted(lacking.items()):
        for ours, over in entries:
            if over == parent:
                _lay([ours, _directory(over)], over)
        if new := [(ours, over) for ours, over in entries if over != parent]:
            _bind_where_nothing_is(new, parent, stage)


def _existing(path: str) -> str:
    """The path, or its nearest parent that is a directory."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _bind_where_nothing_is(entries: list[tuple[int, str]], parent: str, stage: int) -> None:
    """Show ours at paths that do not exist below `parent`, without making them on its disk."""
    if parent == "/":
        raise OSError(0, "the node lacks even its parent directory", entries[0][1])
    layer = os.path.join(_named(stage), str(len(os.listdir(_named(stage)))))
    for _, over in entries:
        os.makedirs(os.path.join(layer, os.path.relpath(over, parent)), exist_ok=True)
    status = os.stat(parent)
    os.chown(layer, status.st_uid, status.st_gid)
    os.chmod(layer, stat.S_IMODE(status.st_mode))
    _lay([_directory(layer), _directory(parent)], parent)
    for ours, over in entries:
        _mount(_named(ours), over, "none", MS_BIND)


def furnish(root: str) -> None:
    """Give a tree that becomes a root, of this command or of one that it starts, /proc and a small /dev; not where the tree has links or nothing there."""
    handle = _directory(root)
    try:
        _mount("proc", _named(_directory("proc", handle)), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        _explain("the tree has no directory /proc: the command runs without")
    try:
        _mount("tmpfs", _named(_directory("dev", handle)), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    except (FileNotFoundError, NotADirectoryError):
        _explain("the tree has no directory /dev: the command runs without")
    else:
        _fill_dev(_named(_directory("dev", handle)))


def _fill_dev(dev: str) -> None:
    """`dev` is a file system of ours by now, so no link of the tree is in it."""
    for name in DEVICES:
        os.close(os.open(f"{dev}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        _mount(f"/dev/{name}", f"{dev}/{name}", "none", MS_BIND)
    for name, target in DEVICE_LINKS:
        os.symlink(target, f"{dev}/{name}")
    os.mkdir(f"{dev}/shm", 0o1777)
    os.chmod(f"{dev}/shm", 0o1777)
    os.mkdir(f"{dev}/pts")
    _mount("devpts", f"{dev}/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5")


def _enter(root: str) -> None:
    """chroot, and give up the capabilities that could undo it; an execve as root then cannot regain them."""
    os.chroot(root)
    for capability in range(LAST_CAP + 1):
        if capability not in KEPT_CAPS:
            _libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)


def _become(command: list[str], root: str, cwd: str) -> None:
    """Turn this child into the command; only a failure returns, as an exit code."""
    code = OWN_FAILURE
    try:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        if root:
            _enter(root)
        os.chdir(cwd)
        code = NOT_FOUND
        os.execvp(command[0], command)
    except PermissionError as error:
        code = NOT_EXECUTABLE
        _explain(f"{command[0]}: {error.strerror}")
    except OSError as error:
        _explain(f"{command[0]}: {error.strerror}")
    finally:
        os._exit(code)


def follow(child: int) -> int:
    """Adopt and reap orphans until the command ends; its code as a shell tells it."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code


def _explain(text: str) -> None:
    os.write(2, f"confine: {text}\n".encode(errors="replace"))


def main(arguments: list[str]) -> int:
    """Do what the module says."""
    if os.getpid() != 1 or len(arguments) < 2:
        _explain("dom0 starts this, as the first process of a PID namespace")
        return OWN_FAILURE
    order, command = json.loads(arguments[0]), arguments[1:]
    try:
        let_go(_own_trees(order, command))  # first: the unshare(1) that started us stays in the namespace that it made
        _checked(_libc.unshare(CLONE_NEWNS), "unshare")
        _mount("none", "/", "none", MS_REC | MS_PRIVATE)
        if "writable" in order:
            confine(order["writable"], order["overlays"])
        if tree := order["chroot"] or order.get("furnished"):
            furnish(tree)
    except OSError as error:
        _explain(f"{error.filename}: {error.strerror}")
        return OWN_FAILURE
    child = os.fork()
    if child == 0:
        _become(command, order["chroot"], order["cwd"])
    return follow(child)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
