"""Mounts and loop devices of the node, through mount(8), umount(8) and losetup(8), never twice and never half.

What is mounted is read from /proc/self/mountinfo, what backs a loop device from losetup, which
knows files by device and inode. Sources: proc_pid_mountinfo(5), loop(4), mount(8).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dtcxen_soap.errors import Failed
from dtcxen_soap.planprint import paste
from dtcxen_soap.processes import report

PATIENCE_SECONDS = 5.0
COMMAND_SECONDS = 60
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 1 << 18


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo: where, the device that is mounted, by name and by number ("253:0"), and the file system's options."""

    at: str
    source: str
    device: str
    options: frozenset[str]


def table() -> tuple[Mount, ...]:
    """What is mounted, in the order of mounting."""
    text = Path("/proc/self/mountinfo").read_bytes().decode(errors="surrogateescape")
    return tuple(_parse(line) for line in text.splitlines())


def _parse(line: str) -> Mount:
    words = line.split(" ")
    return Mount(_plain(words[4]), _plain(words[words.index("-") + 2]), words[2], frozenset(words[-1].split(",")))


def _plain(word: str) -> str:
    """Blanks, tabs, newlines and backslashes are written as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)


def below(prefix: str) -> tuple[str, ...]:
    """Mount points at or below `prefix`, the last mounted first: an order to unmount in."""
    return tuple(mount.at for mount in _below(prefix))


def _below(prefix: str) -> list[Mount]:
    real = os.path.realpath(prefix)
    return [mount for mount in reversed(table()) if mount.at == real or mount.at.startswith(real.rstrip("/") + "/")]


def mount_of(path: str) -> Mount:
    """The mount that `path` lies on, or would lie on: the last of those whose mount point is nearest above it."""
    real = os.path.realpath(path)
    above = [mount for mount in table() if mount.at == "/" or real == mount.at or real.startswith(f"{mount.at}/")]
    return max(reversed(above), key=lambda mount: len(mount.at))


def mounted_at(path: str) -> bool:
    """Whether `path` is a mount point."""
    real = os.path.realpath(path)
    return any(mount.at == real for mount in table())


def keep_to_ourselves() -> None:
    """From now on nobody else sees what this process mounts, and it ends with this process, however that ends. unshare(2).

    For a command line of one thread; OSError when the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for result, what in ((libc.unshare(_CLONE_NEWNS), "unshare"), (libc.mount(b"none", b"/", b"none", ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "mount /")):
        if result:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), what)


def mount(source: str, at: str, fstype: str, options: str) -> None:
    """Mount; a regular file through a loop device that goes away with the mount. Failed with what mount said.

    Refused where something is mounted already: two holds of one place would release each other's.
    """
    if mounted_at(at):
        raise Failed("", f"{at} is a mount point already")
    os.makedirs(at, mode=0o700, exist_ok=True)
    words = [word for word in options.split(",") if word]
    if os.path.isfile(source) and "loop" not in words:
        words.insert(0, "loop")
    _must(("mount", "-t", fstype, *(("-o", ",".join(words)) if words else ()), "--", source, os.path.realpath(at)))


def unmount(at: str, say: Callable[[str], None]) -> None:
    """Unmount what is mounted at and below `at`, the last first; fine when nothing is.

    Somebody may still be leaving, so it is tried for 5 s. Then holders are named to `say` and the
    mount is taken out of sight (umount -l); Failed when its device stays in use even so, since then
    nobody may touch the disk yet.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while mounts := _below(at):
        code, said = report(("umount", "--", mounts[0].at), COMMAND_SECONDS)
        if code == 0 or not mounted_at(mounts[0].at):
            continue
        if time.monotonic() > deadline:
            _detach(mounts[0], said, say)
            deadline = time.monotonic() + PATIENCE_SECONDS
        time.sleep(0.1)


def _detach(busy: Mount, said: str, say: Callable[[str], None]) -> None:
    found = holders(busy.at)
    say(f"{busy.at} cannot be unmounted: {said}")
    for holder in found:
        say(f"{busy.at} is held by {holder}")
    _must(("umount", "--lazy", "--", busy.at))
    for _ in range(10):
        if not _device_in_use(busy.source):
            return
        time.sleep(0.1)
    raise Failed("", f"{busy.source}, which was mounted at {busy.at}, stays in use" + (f" by {', '.join(found)}" if found else ""))


def _device_in_use(device: str) -> bool:
    """Whether a file system or another holder claims a block device: an exclusive open is refused then."""
    if not device.startswith("/dev/"):
        return False
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def holders(at: str, program: str = "") -> tuple[str, ...]:
    """Processes with their root, working directory, program or an open file at or below `at`: "pid 12 (sh)". Only those of one name, if given."""
    real = os.path.realpath(at)
    pids = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if program in ("", _name(pid))]
    found = [pid for pid in pids if any(_inside(target, real) for target in _links(pid))]
    return tuple(f"pid {pid} ({_name(pid)})" for pid in found)


def _links(pid: int) -> list[str]:
    names = [f"/proc/{pid}/{name}" for name in ("root", "cwd", "exe")]
    targets = []
    with contextlib.suppress(OSError):
        names += [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]
    for name in names:
        with contextlib.suppress(OSError):
            targets.append(os.readlink(name))
    return targets


def _inside(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "gone"


def loop_devices_of(path: str) -> tuple[str, ...]:
    """Loop devices that this very file backs, whatever name it had when they were made."""
    code, said = report(("losetup", "--noheadings", "--raw", "--output", "NAME", "--associated", path), COMMAND_SECONDS)
    if code:
        raise Failed("", f"losetup cannot tell what {path} backs: {said}")
    return tuple(sorted(said.split()))


def detach_loop(device: str) -> None:
    """Free a loop device; fine when it is free. Failed when somebody still uses it after 5 s."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    backing = Path("/sys/block") / os.path.basename(device) / "loop/backing_file"
    said = ""
    while backing.exists():
        code, said = report(("losetup", "--detach", device), COMMAND_SECONDS)
        if time.monotonic() > deadline:
            raise Failed("", f"{device} stays in use: {said or 'something still has it open'}")
        if code or backing.exists():
            time.sleep(0.1)


def _must(argv: tuple[str, ...]) -> None:
    code, said = report(argv, COMMAND_SECONDS)
    if code:
        raise Failed("", f"{argv[0]} ended with code {code}: {said}", paste(argv), said)
