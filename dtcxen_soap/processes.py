"""Starting, watching and ending commands; with confine.py the only place that does.

Every command leads a session of its own, so that its whole group can be ended. Contained ones also
get a PID namespace: when its first process (confine.py) ends, the kernel ends all others, whatever
they did to get away. A command that is not contained can still escape by starting a session.

Sources: setsid(2), pid_namespaces(7), unshare(1), proc_pid_stat(5).
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.output import Lines, Redactor
from dtcxen_soap.planprint import paste
from dtcxen_soap.plans import Run
from dtcxen_soap.vps import Secret

TIMED_OUT, NOT_EXECUTABLE, NOT_FOUND = 124, 126, 127
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MARK = "DTCXEN_STEP"
"""In the environment of all that we start: tells our session from a stranger's that got the same number."""
CLEAN_ENVIRONMENT = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root", MARK: "1"}
SYSTEMD = "/run/systemd/system"
"""There while systemd is the node's init (sd_booted(3))."""
POLL_SECONDS = 0.1
TERM_SECONDS, KILL_SECONDS = 1.0, 2.5
_CONFINE = str(Path(__file__).with_name("confine.py"))
_NAMESPACES = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--")


@dataclass(frozen=True)
class Ran:
    """How a command ended. `code` is a shell's: 124 timed out, 126 not executable, 127 not found, 128+n ended by signal n.

    `output` is the last 64 KiB of what it said, secrets redacted; of `capture` it is all of standard output.
    """

    code: int
    output: str


class Watch(Protocol):
    """Who follows a command while it runs; called from the thread that runs it.

    `started` and `ended` get the leader of the command's session and its start time as /proc tells it.
    """

    def started(self, pid: int, start_time: int) -> None: ...

    def ended(self, pid: int) -> None: ...

    def cancelled(self) -> bool: ...


class Unwatched:
    """A Watch for what nobody follows."""

    def started(self, pid: int, start_time: int) -> None:
        """Nobody asks."""

    def ended(self, pid: int) -> None:
        """Nobody asks."""

    def cancelled(self) -> bool:
        return False


def unheard(line: str) -> None:
    """A listener for what nobody wants to hear."""


def command_of(step: Run) -> tuple[str, ...]:
    """What is really started for a step. A chroot or a confinement is always contained as well.

    A command with a scope runs in a cgroup of its own, with all that it leaves behind: what stops
    this service, by whatever means, does not stop that (systemd-run(1); the scope goes with its last process).
    """
    if step.scope and os.path.isdir(SYSTEMD):
        return ("systemd-run", "--scope", "--quiet", "--collect", f"--unit={step.scope}", "--", *step.argv)
    if not (step.contained or step.chroot or step.confinement):
        return step.argv
    order = {"chroot": step.chroot, "cwd": step.cwd}
    if step.confinement:
        order |= {"writable": step.confinement.writable, "overlays": step.confinement.overlays}  # type: ignore[dict-item]
        order |= {"furnished": step.confinement.furnished} if step.confinement.furnished else {}
    return (*_NAMESPACES, sys.executable, "-I", _CONFINE, json.dumps(order), *step.argv)


def run(step: Run, say: Callable[[str], None], watch: Watch) -> Ran:
    """Run a step's command; `say` gets each line of its output, secrets redacted, as it comes.

    Raises Cancelled, after its whole session has ended, when the watch says so; never for a code.
    Whatever else goes wrong on the way (a log that cannot be written) ends the command as well.
    """
    if watch.cancelled():
        raise Cancelled("cancelled before it started")
    given = _reveal(step.stdin).encode()
    lines = Lines(Redactor([step.stdin, *(value for _, value in step.env)]), say)
    try:
        process = _start(command_of(step), step, with_input=bool(given))
    except OSError as error:
        lines.feed(f"{step.argv[0]}: {error.strerror}: {error.filename}\n".encode())
        return Ran(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE, lines.end())
    with _Conversation(process, given, lines) as conversation:
        try:
            watch.started(process.pid, _start_time(process.pid))
            return _follow(conversation, step, watch)
        except BaseException:
            end_session(process.pid, conversation.turn)
            raise
        finally:
            watch.ended(process.pid)


def _follow(conversation: _Conversation, step: Run, watch: Watch) -> Ran:
    """Wait for the end of a command: its own, or the one that a caller or the clock brings about."""
    deadline = time.monotonic() + step.timeout_seconds
    while conversation.turn(POLL_SECONDS):
        if watch.cancelled():
            end_session(conversation.process.pid, conversation.turn)
            raise Cancelled(f"ended on request: {paste(step.argv[:1])}")
        if time.monotonic() > deadline:
            end_session(conversation.process.pid, conversation.turn)
            conversation.lines.flush()
            conversation.lines.feed(f"ended: it took longer than {step.timeout_seconds} s\n".encode())
            return Ran(TIMED_OUT, conversation.lines.end())
    return Ran(_shell_code(conversation.process.wait()), conversation.lines.end())


def _start(argv: tuple[str, ...], step: Run, with_input: bool) -> subprocess.Popen[bytes]:
    environment = CLEAN_ENVIRONMENT | {name: _reveal(value) for name, value in step.env}
    return subprocess.Popen(
        argv, stdin=subprocess.PIPE if with_input else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment, cwd="/" if step.chroot else step.cwd, start_new_session=True, umask=0o022, bufsize=0)


def _reveal(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _shell_code(code: int) -> int:
    return 128 - code if code < 0 else code


class _Conversation:
    """The pipes of one running command."""

    def __init__(self, process: subprocess.Popen[bytes], given: bytes, lines: Lines) -> None:
        self.process, self.lines, self._given = process, lines, memoryview(given)
        self._selector = selectors.DefaultSelector()
        for pipe, event in ((process.stdout, selectors.EVENT_READ), (process.stdin, selectors.EVENT_WRITE)):
            if pipe:
                os.set_blocking(pipe.fileno(), False)
                self._selector.register(pipe, event)

    def __enter__(self) -> _Conversation:
        return self

    def __exit__(self, *error: object) -> None:
        self._selector.close()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def turn(self, seconds: float) -> bool:
        """Move what can be moved, for at most `seconds`; whether the command still runs.

        What a command's leftover children may yet say is not waited for.
        """
        if not self._selector.get_map():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
            return self.process.poll() is None
        ended = self.process.poll() is not None
        for key, event in self._selector.select(0 if ended else seconds):
            self._move(key.fileobj, event)  # type: ignore[arg-type]
        if ended:
            self._drain()
        return not ended

    def _drain(self) -> None:
        """Read what the pipe holds (64 KiB at most) and no more: a child left behind may write for ever."""
        for _ in range(2):
            if not any(key.fileobj is self.process.stdout for key in self._selector.get_map().values()) or not self._read():
                return

    def _move(self, pipe: IO[bytes], event: int) -> None:
        if event & selectors.EVENT_READ:
            self._read()
            return
        try:
            self._given = self._given[os.write(pipe.fileno(), self._given[:65536]):]
        except BrokenPipeError:
            self._given = self._given[:0]
        if not self._given:
            self._selector.unregister(pipe)
            pipe.close()

    def _read(self) -> bool:
        """Read once; whether there may be more at once."""
        assert self.process.stdout
        try:
            data = os.read(self.process.stdout.fileno(), 65536)
        except BlockingIOError:
            return False
        if data:
            self.lines.feed(data)
        else:
            self._selector.unregister(self.process.stdout)
        return bool(data)


def capture(argv: tuple[str, ...], timeout_seconds: int) -> Ran:
    """Run a command that only reads; standard output whole, standard error dropped."""
    return _short(argv, timeout_seconds, subprocess.DEVNULL)


def report(argv: tuple[str, ...], timeout_seconds: int) -> tuple[int, str]:
    """Run a command of the edge itself; its code and all that it said, in one line."""
    ran = _short(argv, timeout_seconds, subprocess.STDOUT)
    return ran.code, " ".join(ran.output.split()) or ("not found" if ran.code == NOT_FOUND else "")


def _short(argv: tuple[str, ...], timeout_seconds: int, errors: int) -> Ran:
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=CLEAN_ENVIRONMENT, cwd="/", start_new_session=True, umask=0o022)
    except OSError as error:
        return Ran(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE, "")
    with process:
        try:
            output, _ = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            end_session(process.pid, lambda seconds: _pause(process, seconds))
            return Ran(TIMED_OUT, "")
    return Ran(_shell_code(process.returncode), output.decode(errors="replace"))


def _pause(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Let time pass, and the child be reaped."""
    process.poll()
    time.sleep(seconds)


@contextlib.contextmanager
def reading(argv: tuple[str, ...]) -> Iterator[IO[bytes]]:
    """The standard output of a command as a file; Failed when it was read to its end and the command failed."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=CLEAN_ENVIRONMENT, start_new_session=True) as process:
        assert process.stdout
        try:
            yield process.stdout
            leftover = process.stdout.read(1)
        except BaseException:
            process.kill()
            raise
        if leftover:
            process.kill()
        elif code := process.wait():
            raise Failed("", f"ended with code {code}", paste(argv))


Conversed = subprocess.Popen[bytes]
"""A command that somebody talks with."""


@contextlib.contextmanager
def conversing(argv: tuple[str, ...], watch: Watch) -> Iterator[Conversed]:
    """A command with which somebody talks by its standard input and output; its session ends with the block. Failed when it cannot be started.

    What it says on standard error is kept in its pipe, and `last_words` reads it.
    """
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=CLEAN_ENVIRONMENT, cwd="/", start_new_session=True, umask=0o022, bufsize=0)
    except OSError as error:
        raise Failed("", f"{argv[0]}: {error.strerror}", paste(argv)) from error
    with process:
        watch.started(process.pid, _start_time(process.pid))
        try:
            yield process
        finally:
            assert process.stdin and process.stdout
            with contextlib.suppress(OSError):
                process.stdin.close()
            process.stdout.close()
            _leave(process)
            watch.ended(process.pid)


def _leave(process: Conversed) -> None:
    """A moment to end by itself, since its input has ended."""
    try:
        process.wait(TERM_SECONDS)
    except subprocess.TimeoutExpired:
        end_session(process.pid, lambda seconds: _pause(process, seconds))


def last_words(process: Conversed, seconds: float = 1.0) -> str:
    """What a command that is ending said on standard error, in one line; as much as its pipe holds."""
    assert process.stderr
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    os.set_blocking(process.stderr.fileno(), False)
    try:
        said = os.read(process.stderr.fileno(), 65536)
    except OSError:
        said = b""
    words = " ".join(said.decode(errors="replace").split())
    return "".join(character if character.isprintable() else "?" for character in words)[-500:]


# -- sessions -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Process:
    pid: int
    state: str
    group: int
    session: int
    start_time: int


def _process(pid: int) -> _Process | None:
    """What /proc says of a process; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    words = text.rpartition(")")[2].split()
    return _Process(pid, words[0], int(words[2]), int(words[3]), int(words[19]))


def _start_time(pid: int) -> int:
    """Of a child that was not waited for yet, so it is there, be it as a zombie."""
    process = _process(pid)
    return process.start_time if process else 0


def _session(number: int) -> list[_Process]:
    """The living members of a session, and of the group of that number."""
    every = (_process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in every if process and number in (process.session, process.group) and process.state not in "ZX"]


def _send(process: _Process, number: signal.Signals) -> None:
    """Signal this very process, not one that got its pid since."""
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(process.pid)
        try:
            now = _process(process.pid)
            if now and now.start_time == process.start_time:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def end_session(number: int, pause: Callable[[float], object] = time.sleep) -> tuple[int, ...]:
    """End a session: TERM, a second to obey, KILL, until none is left; pids that outlived even that (in a hung system call).

    `pause` is called between looks, for callers who must keep reading a pipe or reap a child.
    """
    for process in _session(number):
        _send(process, signal.SIGTERM)
    start = time.monotonic()
    while members := _session(number):
        waited = time.monotonic() - start
        if waited > TERM_SECONDS + KILL_SECONDS:
            break
        if waited > TERM_SECONDS:
            for process in members:
                _send(process, signal.SIGKILL)
        begun = time.monotonic()
        pause(0.05)
        time.sleep(max(0.0, 0.02 - (time.monotonic() - begun)))
    return tuple(process.pid for process in members)


def end_group(pid: int, start_time: int) -> bool:
    """End what an earlier daemon journalled as its own; whether there was anything to end.

    The leader is known by its start time. When it is gone, its session's number cannot be given
    away while a member lives; members are then known by that number and our mark. One that hangs in
    the kernel may outlive this; then what it holds cannot be released, which is told there.
    """
    leader = _process(pid)
    if leader and leader.start_time != start_time:
        return False
    members = _session(pid)
    if not leader:
        members = [member for member in members if member.start_time >= start_time and _marked(member.pid)]
    if not members:
        return False
    end_session(pid)
    return True


def end_user(uid: int) -> None:
    """End at once all that runs under a system user's number, be it as any of a process's four; root's never."""
    if uid == 0:
        raise ValueError("root's processes are not a tenant's")
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        process = _process(pid)
        if process and uid in _uids(pid):
            _send(process, signal.SIGKILL)


def _uids(pid: int) -> tuple[int, ...]:
    """Real, effective, saved and file system's user of a process; none when it is gone. /proc/PID itself is root's for some."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return ()
    return next((tuple(map(int, line.split()[1:])) for line in lines if line.startswith("Uid:")), ())


def _marked(pid: int) -> bool:
    """Whether a process was started, at whatever remove, by us."""
    try:
        return f"{MARK}=1".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
