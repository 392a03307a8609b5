"""System users, their homes and keys, and htpasswd: whatever of accounts is on the machine.

shadow's own programs change users. Homes were their owners' on nodes of the original, so they are
walked on handles and no link is followed; what stands in a directory's place is removed. Passwords
come here hashed, and go to chpasswd by standard input. Whoever changes a file of all users holds
the node's lock. Sources: useradd(8), usermod(8), userdel(8), chpasswd(8), sshd(8).
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import secrets
import shutil
import stat
import time
from collections.abc import Iterator

from dtcxen_soap import mounts, nodefiles, nodelock, processes
from dtcxen_soap.errors import Failed
from dtcxen_soap.planprint import paste
from dtcxen_soap.plans import MakeAccount, Run
from dtcxen_soap.vps import Secret

_SECONDS = 60
_BUSY = 8
"""userdel's code for a user that still runs something."""
_REMOVE_SECONDS = 10.0
_OURS = ("--key", "SUB_UID_COUNT=0", "--key", "SUB_GID_COUNT=0", "--key", "PASS_MAX_DAYS=99999")
"""No subordinate ids for users that never run anything, and no password that expires in front of a console."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KEYS = "authorized_keys"


# -- users ----------------------------------------------------------------------------------------


def make(step: MakeAccount) -> None:
    """Make the user and its group, or give the user that is there what the step says."""
    with nodelock.held(step.lock):
        _run(("groupadd", "--system", "--force", "--", step.group))
        found = _user(step.user)
        if found is None:
            _run(("useradd", "--no-log-init", "--no-create-home", "--no-user-group", "--gid", step.group, "--home-dir", step.home, "--shell", step.login,
                  "--comment", step.comment, "--password", "*", "--expiredate", "", "--inactive", "-1", *_OURS, "--", step.user))
        else:
            moved = ("--home", step.home) if found.pw_dir != step.home else ()
            _run(("usermod", "--gid", step.group, "--shell", step.login, "--expiredate", "", *moved, "--", step.user))


def remove(user: str, lock: str) -> None:
    """Close the account, then end what it runs until it can be removed; Failed when something of it outlives ten seconds.

    The hash goes first, since userdel keeps a copy of /etc/shadow as it was before.
    """
    with nodelock.held(lock):
        if (found := _user(user)) is None:
            return
        _run(("usermod", "--expiredate", "1", "--password", "!", "--", user))
        deadline = time.monotonic() + _REMOVE_SECONDS
        while True:
            processes.end_user(found.pw_uid)
            code, said = processes.report(("userdel", "--", user), _SECONDS)
            if code != _BUSY or time.monotonic() > deadline:
                break
        if code:
            raise Failed("", f"userdel ended with code {code}: {said}", paste(("userdel", "--", user)), said)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"/run/sudo/ts/{user}")


def set_password(users: tuple[str, ...], hashed: str, lock: str) -> None:
    """Give the users this hash, as crypt(5) writes it."""
    lines = Secret("".join(f"{user}:{hashed}\n" for user in users))
    step = Run(why="", argv=("chpasswd", "--encrypted"), stdin=lines, timeout_seconds=_SECONDS)
    with nodelock.held(lock):
        ran = processes.run(step, processes.unheard, processes.Unwatched())
    if ran.code:
        raise Failed("", f"chpasswd ended with code {ran.code}", paste(step.argv), ran.output)


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _run(argv: tuple[str, ...]) -> None:
    code, said = processes.report(argv, _SECONDS)
    if code:
        raise Failed("", f"{argv[0]} ended with code {code}: {said}", paste(argv), said)


# -- htpasswd -------------------------------------------------------------------------------------


def set_htpasswd(path: str, user: str, hashed: str | None, lock: str) -> None:
    """Give the user this hash, or take the user out; every other line, mode and owner stay. A file that is not there is made for root alone."""
    path = os.path.realpath(path)
    with nodelock.held(lock):
        try:
            status, old = os.stat(path), nodefiles.read_bytes(path, 1 << 24)
        except FileNotFoundError:
            status, old = None, b""
        new = with_line(old, user, hashed)
        if new == old:
            return
        mode, owner = (stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)) if status else (0o600, None)
        nodefiles.write(path, new, mode, owner)


def with_line(text: bytes, user: str, hashed: str | None) -> bytes:
    """The file's text with one line of the user, where the first was; without `hashed` with none."""
    name, lines, placed = user.encode(), [], hashed is None
    for line in text.splitlines(keepends=True):
        if line.strip().partition(b":")[0] != name:
            lines.append(line if line.endswith(b"\n") else line + b"\n")
        elif not placed:
            lines.append(f"{user}:{hashed}\n".encode())
            placed = True
    if not placed:
        lines.append(f"{user}:{hashed}\n".encode())
    return b"".join(lines)


# -- homes ----------------------------------------------------------------------------------------


def make_home(top: str, name: str, uploader: str) -> None:
    """A home that is root's, .ssh in it too, whoever had them; iso/ is the uploader's, if there is one. PermissionError when others may change `top`."""
    nodefiles.make_directory(top, 0o755)
    with _home(top, name) as home:
        os.close(_root_directory(home, ".ssh"))
        if uploader:
            user = pwd.getpwnam(uploader)
            handle = _root_directory(home, "iso")
            try:
                os.fchown(handle, user.pw_uid, user.pw_gid)
                os.fchmod(handle, 0o700)
            finally:
                os.close(handle)


def write_keys(top: str, name: str, keys: tuple[str, ...]) -> None:
    """These keys and no others; whatever else is in .ssh (further keys, rc, environment) goes."""
    with _home(top, name) as home:
        handle = _root_directory(home, ".ssh")
        try:
            _write_in(handle, _KEYS, "".join(f"{key}\n" for key in keys).encode())
            for other in os.listdir(handle):
                if other != _KEYS:
                    _remove_in(handle, other)
            os.fsync(handle)
        finally:
            os.close(handle)


def remove_below(top: str, path: str) -> None:
    """Remove a file or a directory with all that is in it, never through a link, nor what is mounted there (EBUSY)."""
    whole = os.path.join(top, path)
    if mounted := mounts.below(whole):
        raise OSError(errno.EBUSY, "something is mounted there", mounted[0])
    *parents, last = path.split("/")
    if ".." in (*parents, last) or not last:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), whole)
    with contextlib.ExitStack() as handles:
        try:
            handle = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            handles.callback(os.close, handle)
            for parent in parents:
                handle = os.open(parent, _DIRECTORY, dir_fd=handle)
                handles.callback(os.close, handle)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return
        _remove_in(handle, last)
        os.fsync(handle)


@contextlib.contextmanager
def _home(top: str, name: str) -> Iterator[int]:
    """The home as a handle, made when absent, and made root's. PermissionError when others may change `top`."""
    status = os.stat(top)
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "others than root may change what is there", top)
    parent = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        home = _root_directory(parent, name)
        try:
            yield home
        finally:
            os.close(home)
    finally:
        os.close(parent)


def _root_directory(parent: int, name: str) -> int:
    """A directory of root's with mode 0755, as a handle; made, and what stands in its place removed, a link too."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    handle = os.open(name, _DIRECTORY, dir_fd=parent)
    os.fchown(handle, os.geteuid(), os.getegid())
    os.fchmod(handle, 0o755)
    return handle


def _write_in(directory: int, name: str, data: bytes) -> None:
    """A file of root's that all may read, whole or not at all; a directory in its place is removed."""
    temporary = f".dtcxen-{secrets.token_hex(8)}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(handle, 0o644)
            os.fsync(handle)
        if _is_directory(directory, name):
            _remove_in(directory, name)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        raise


def _is_directory(parent: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _remove_in(directory: int, name: str) -> None:
    """shutil.rmtree works on handles too, and follows no link."""
    with contextlib.suppress(FileNotFoundError):
        if _is_directory(directory, name):
            shutil.rmtree(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)
