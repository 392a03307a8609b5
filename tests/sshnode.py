"""A node with sshd, sudo and real users, for tests in the Debian 13 chroot: /etc, /usr, /var and /run are private and thrown away.

The engine runs over them as on a dom0; `xl` is a script that says who called it, so that a test sees whose console was reached.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dtcxen_soap import accounts
from dtcxen_soap.access import Caller, Role
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.jobs import Jobs
from dtcxen_soap.journal import Journal
from dtcxen_soap.operations import prepare
from dtcxen_soap.settings import load
from dtcxen_soap.survey.survey import Survey
from dtcxen_soap.vps import VpsId

STATE = Path("/var/lib/dtc-xen")
SETTINGS = "toolstack=xl\ndefault_image_type=vbd\novercommit=yes\nkeep_old_disk_hours=0\n"
ADMIN = Caller("dtc-xen", Role.ADMIN)
XL = """\
#!/bin/sh
case "$1" in
    list) echo "Name                                        ID   Mem VCPUs\tState\tTime(s)"
          echo "Domain-0                                     0  1024     1     r-----      11.0" ;;
    console) echo "CONSOLE OF $2 FOR uid $(id -u) WITH $# WORDS"; head -n 1 | sed 's/^/IT SAYS /' ;;
    *) echo "xl $*" >&2; exit 1 ;;
esac
"""
_OPTIONS = ("-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10",
            "-o", "IdentitiesOnly=yes", "-o", "NumberOfPasswordPrompts=1")


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


@contextmanager
def private(scratch: Path) -> Iterator[None]:
    """/etc, /usr and /var as they are, to be changed at will; empty /run; pseudo terminals."""
    mounted = []
    try:
        for name in ("etc", "usr", "var"):
            upper, work = scratch / f"{name}.upper", scratch / f"{name}.work"
            upper.mkdir(mode=0o755)
            work.mkdir()
            _mount("-t", "overlay", "overlay", "-o", f"lowerdir=/{name},upperdir={upper},workdir={work}", f"/{name}")
            mounted.append(f"/{name}")
        for words in (("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"), ("-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=0620,gid=5", "devpts", "/dev/pts"),
                      ("--bind", "/dev/pts/ptmx", "/dev/ptmx")):
            _mount(*words)
            mounted.append(words[-1])
        yield
    finally:
        for path in reversed(mounted):
            subprocess.run(["umount", "--lazy", path], check=True)


class SshNode:
    """The engine, sshd on a free port of the loopback, and clients of both."""

    def __init__(self, scratch: Path, **changed: str) -> None:
        self.scratch = scratch
        text = SETTINGS + "".join(f"{name}={value}\n" for name, value in changed.items())
        self.settings = load(text).settings
        for path in (STATE / "mnt", STATE / "ttyssh_home", Path("/etc/dtc-xen"), Path("/etc/xen/auto"), Path("/run/sshd")):
            path.mkdir(parents=True, exist_ok=True)
        Path(self.settings.htpasswd_file).write_text("dtc-xen:$2b$12$x\n# a comment\nxen100:$apr1$old\n")
        os.chmod(self.settings.htpasswd_file, 0o600)
        self._programs()
        self.journal = Journal(self.settings.journal_path, self.settings.job_log_dir)
        self.survey = Survey(self.settings, Dom0(), self.journal, lambda vps: "")
        self.jobs = Jobs(self.settings, Dom0(), self.journal, self.survey.fill)
        self.jobs.start()
        self.sshd: subprocess.Popen[bytes] | None = None
        self.port = 0

    def _programs(self) -> None:
        """What packages bring to a node."""
        shell = Path(self.settings.console_shell)
        shell.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/mnt/dtcxen_soap/data/console/console", shell)
        xl = Path(accounts.XL)
        xl.write_text(XL)
        for program in (shell, xl):
            program.chmod(0o755)
        Path("/etc/ssh/sshd_config.d/dtc-xen.conf").write_text(accounts.sshd_config(self.settings))

    def serve(self, *options: str) -> None:
        """Start sshd as Debian configures it, with our file. Failures of its clients are this test's own, and not to be penalised."""
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port = free.getsockname()[1]
        words = ("-o", "ListenAddress=127.0.0.1", "-o", f"Port={self.port}", "-o", "PerSourcePenalties=no", *options)
        subprocess.run(["/usr/sbin/sshd", "-t", *words], check=True)
        log = (self.scratch / "sshd.log").open("ab")
        self.sshd = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        for _ in range(100):
            with closing(socket.socket()) as knock:
                if knock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(f"sshd does not listen: {self.log}")

    @property
    def log(self) -> str:
        return (self.scratch / "sshd.log").read_text(errors="replace")

    def end(self) -> None:
        if self.sshd is not None:
            self.sshd.terminate()
            self.sshd.wait(10)
        self.jobs.stop(5)
        self.journal.close()

    # -- the service

    def call(self, operation: str, caller: Caller = ADMIN, **words: str) -> Any:
        return self.jobs.submit(prepare(operation, tuple(words.items()), self.settings, caller, rpc=False)).result(60)

    def at_once(self, operation: str, vpses: list[str], **words: str) -> None:
        """The same call for several VPSes, side by side."""
        calls = [prepare(operation, [("vps", vps), *words.items()], self.settings, ADMIN, rpc=False) for vps in vpses]
        for future in [self.jobs.submit(call) for call in calls]:
            future.result(60)

    @contextmanager
    def told(self, line: str) -> Iterator[None]:
        """Other settings for a while."""
        before, self.settings = self.settings, load(f"{SETTINGS}{line}\n").settings
        self.survey.replace_settings(self.settings)
        try:
            yield
        finally:
            self.settings = before
            self.survey.replace_settings(before)

    def new_vps(self, vps: str) -> None:
        """Its disks, and a configuration, as an installation leaves them."""
        self.call("setupVPSDisk", vps=vps, diskSizeMib="64", swapSizeMib="64")
        name = VpsId.parse(vps).name
        Path(f"/etc/xen/{name}").write_text(f'name = "{name}"\n')
        Path(f"/etc/xen/auto/{name}").symlink_to(f"../{name}")

    # -- clients

    def key(self, name: str, kind: str = "ed25519") -> str:
        """Make a key pair; the public key's line."""
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"{name} of the owner", "-f", str(self.scratch / name)], check=True)
        return (self.scratch / f"{name}.pub").read_text().strip()

    def _options(self, key: str, port: str) -> list[str]:
        how = ("-o", "BatchMode=yes", "-i", str(self.scratch / key)) if key else ("-o", "PubkeyAuthentication=no")
        return [*_OPTIONS, *how, port, str(self.port)]

    def _environment(self, password: str) -> dict[str, str]:
        """The password by a program that ssh asks, as it has no terminal."""
        ask = self.scratch / "askpass"
        ask.write_text('#!/bin/sh\nprintf "%s\\n" "$SAY"\n')
        ask.chmod(0o755)
        return {**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "SAY": password}

    def ssh(self, user: str, *words: str, key: str = "", password: str = "", given: str = "", options: tuple[str, ...] = (), seconds: float = 30) -> tuple[int, str]:
        """Sign in, with `key` or `password`; the code and all that was said."""
        argv = ["ssh", *self._options(key, "-p"), *options, f"{user}@127.0.0.1", *words]
        done = subprocess.run(argv, input=given.encode(), capture_output=True, env=self._environment(password), timeout=seconds)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace").replace("\r", "")

    def console(self, user: str, **how: Any) -> tuple[int, str]:
        """As an owner does it, with a terminal; a line is typed."""
        return self.ssh(user, options=("-tt",), given="hello\n", **how)

    def sftp(self, user: str, *commands: str, key: str = "", password: str = "") -> tuple[int, str]:
        """Run sftp's commands; the code of the first that failed."""
        argv = ["sftp", *self._options(key, "-P"), "-b", "-", f"{user}@127.0.0.1"]
        if not key:
            argv[1:1] = ["-o", "BatchMode=no"]
        done = subprocess.run(argv, input="\n".join(commands).encode() + b"\n", capture_output=True, env=self._environment(password), timeout=30)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def as_user(self, user: str, *argv: str) -> tuple[int, str]:
        """What the user could do if it got a shell by some leak."""
        done = subprocess.run(["setpriv", f"--reuid={user}", f"--regid={accounts.GROUP}", "--clear-groups", "--", *argv], capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout + done.stderr

    def naming(self, word: str, but: tuple[str, ...] = ()) -> list[str]:
        """Every place of the node that names `word` in a file's name, a link's target or a text; those below `but` left out."""
        found = []
        for top in ("/etc", "/var", "/run", "/home", "/root"):
            for directory, directories, files in os.walk(top):
                for name in (*directories, *files):
                    path = os.path.join(directory, name)
                    if not path.startswith(but) and (word in name or word in _content(path)):
                        found.append(path)
        return sorted(found)

    def holding(self, secret: str) -> list[str]:
        """Every file of the node, of whatever kind, that holds a secret."""
        every = (os.path.join(directory, name) for top in ("/etc", "/var", "/run") for directory, _, files in os.walk(top) for name in files)
        return [path for path in every if secret in _content(path)]


def _content(path: str) -> str:
    if os.path.islink(path):
        return os.readlink(path)
    return Path(path).read_bytes().decode(errors="replace") if os.path.isfile(path) else ""
