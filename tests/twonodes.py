"""Two nodes below one directory, each with a daemon's programs of its own: a toolstack of files, and an `ssh` that leads to the other's receiver.

The daemon, the receiver, disks and journals are real; tests/integration/test_migrate_ssh.py has real ssh between them. A pair is made once for many tests,
and `as_new` makes it what it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dtcxen_soap.facts import NeedJobs
from tests.node import Node

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(__file__).with_name("integration") / "twonodes"
CONFIG = """\
# made by an admin, with care
name = "{name}"
type = "pv"
kernel = "{kernel}"
memory = 128   # MiB
vif = [ "mac=00:16:3e:10:10:01,ip=192.0.2.10" ]
disk = [
    "format=raw,vdev=xvda,access=w,target={root}",
    "format=raw,vdev=xvdb,access=w,target={swap}",
]
on_reboot = "restart"
"""


class MovingNode(Node):
    """A node with VPSes that run, if only as files say."""

    def __init__(self, directory: Path, **changed: str) -> None:
        directory.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(directory, toolstack="xl", overcommit="yes", migrate_key=str(directory / "key"), migrate_known_hosts=str(directory / "hosts"),
                         boot_watch_seconds="10", KERNELPATH=str(directory.parent / "vmlinuz"), **changed)
        for path in (directory / "key", directory / "hosts", directory.parent / "vmlinuz"):
            path.write_text("")
            path.chmod(0o600)
        self.bin = directory / "bin"
        self.bin.mkdir()
        for source, name in (("xl", "xl"), ("xl", "xenstore-read"), ("ssh", "ssh"), ("sitecustomize.py", "sitecustomize.py")):
            shutil.copy(PROGRAMS / source, self.bin / name)
            (self.bin / name).chmod(0o755)
        self._environment = {"PYTHONPATH": f"{self.bin}:{ROOT}", "NODE_BIN": str(self.bin)}
        self._sockets = tempfile.TemporaryDirectory(prefix="moves")
        self._receivers = self._receive()
        self._wsdl: Any = None

    # -- processes --------------------------------------------------------------------------------

    def _receive(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(PROGRAMS / "receivers"), self.door, str(self.config)]
        begun = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PATH": "/usr/bin:/bin", **self._environment})
        assert begun.stdout and begun.stdout.readline() == b"ready\n"
        return begun

    @property
    def door(self) -> str:
        """Where its receivers are asked for: a path that is short enough for a socket."""
        return f"{self._sockets.name}/door"

    def leads_to(self, other: MovingNode) -> None:
        (self.bin / "peer").write_text(other.door)

    def start(self, wait_seconds: float = 30, environment: dict[str, str] | None = None) -> None:
        super().start(wait_seconds, {**self._environment, **(environment or {})})

    def client(self) -> Any:
        """As the WSDL has it, which is read once: a daemon that starts again has another port, and nothing else."""
        if self._wsdl is None:
            import zeep
            from zeep.transports import Transport
            self._wsdl = zeep.Client(self.url + "?wsdl", transport=Transport(session=self.session(), timeout=60, operation_timeout=90))
        return self._wsdl.create_service(self._wsdl.service._binding.name.text, self.url)

    def job_log(self, job: int) -> str:
        return Path(self.settings.job_log_dir, f"job-{job}.log").read_text()

    def forked(self, work: Callable[[], object]) -> int:
        """Do it in a process of its own that has this node's programs; its exit code, negative for a signal."""
        if (child := os.fork()) == 0:
            code = 1
            try:
                from dtcxen_soap import movepeer, processes
                processes.PATH = f"{self.bin}:{processes.PATH}"
                processes.CLEAN_ENVIRONMENT["PATH"] = processes.PATH
                movepeer.FIRST_WAIT = movepeer.LONGEST_WAIT = 0.1
                work()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def dtcxen(self, *words: str) -> tuple[int, str]:
        """The command line here; its exit code and all that it says."""
        command = [sys.executable, "-m", "dtcxen_soap", *words, "--config", str(self.config)]
        done = subprocess.run(command, env={**os.environ, **self._environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout

    def serve(self, *wanted: str) -> str:
        """In this process: what a daemon does when it starts, and the one call that is `wanted`, if any; how its job ended, in words."""
        from dtcxen_soap import operations
        from dtcxen_soap.access import Caller, Role
        from dtcxen_soap.dom0 import Dom0
        from dtcxen_soap.jobs import Jobs
        from dtcxen_soap.journal import LIVE, Journal
        from dtcxen_soap.survey.survey import Survey
        settings, dom0 = self.settings, Dom0()
        journal = Journal(settings.journal_path, settings.job_log_dir)
        jobs = Jobs(settings, dom0, journal, Survey(settings, dom0, journal, lambda vps: "").fill)
        jobs.start()
        if wanted:
            given = [tuple(word.split("=", 1)) for word in wanted[1:]]
            call = operations.prepare(wanted[0], given, settings, Caller(settings.admin_user, Role.ADMIN, "tests"), rpc=False)  # type: ignore[arg-type]
            job = jobs.submit(call).result(60).job
            while (fact := journal.job(job)) and fact.state in LIVE:
                time.sleep(0.01)
        (last,) = journal.jobs(NeedJobs(limit=1))
        jobs.stop(5)
        journal.close()
        return f"{last.state}: {last.reason}"

    def close(self) -> None:
        """End all that runs."""
        if self.daemon is not None:
            self.stop()
        self.halt()
        self._receivers.communicate()
        self._sockets.cleanup()

    # -- what is there ----------------------------------------------------------------------------

    def as_new(self) -> None:
        """Without a VPS, and without a memory of moves; a daemon goes on running if none of its own is left."""
        self.halt()
        moves = Path(self.settings.state_dir) / "moves"
        if self.daemon is not None and list(moves.glob("xen*")):
            self.stop()
        names = ("down", "cut", "deaf", "no-boot", "kill-receiver", "kill-inside")
        for path in (*self.mnt.glob("xen*"), *self.mnt.glob("kept/*"), *self.xen.glob("xen*"), *self.xen.glob("auto/*"), *moves.glob("*"), *map(self.bin.joinpath, names)):
            path.unlink(missing_ok=True)
        htpasswd = Path(self.settings.htpasswd_file)
        htpasswd.write_text("".join(line for line in htpasswd.read_text().splitlines(True) if not line.startswith("xen")))
        if self.daemon is None:
            journal = Path(self.settings.journal_path)
            for path in (*journal.parent.glob(f"{journal.name}*"), *Path(self.settings.job_log_dir).glob("*")):
                path.unlink()

    @property
    def mnt(self) -> Path:
        return Path(self.settings.provisioning_mount_point)

    @property
    def xen(self) -> Path:
        return Path(self.settings.xen_config_dir)

    def new_vps(self, mib: int = 24, *, auto: bool = True) -> None:
        """VPS 01 with a real file system, data and holes, as an admin would have it."""
        root, swap, name = self.mnt / "xen01.img", self.mnt / "xen01.swap.img", "xen01"
        self.mnt.mkdir(parents=True, exist_ok=True)
        for path, size in ((root, mib), (swap, 4)):
            with path.open("wb") as file:
                file.truncate(size << 20)
            path.chmod(0o600)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(root)], check=True)
        subprocess.run(["mkswap", str(swap)], check=True, capture_output=True)
        with root.open("r+b") as file:
            file.seek(9 << 20)
            file.write(os.urandom(5 << 20))
        self.xen.mkdir(parents=True, exist_ok=True)
        (self.xen / name).write_text(CONFIG.format(name=name, kernel=self.directory.parent / "vmlinuz", root=root, swap=swap))
        if auto:
            (self.xen / "auto").mkdir(exist_ok=True)
            (self.xen / "auto" / name).symlink_to(f"../{name}")

    def boot(self, name: str = "xen01") -> None:
        subprocess.run([str(self.bin / "xl"), "create", f"--defconfig={self.xen / name}"], check=True)

    def running(self) -> list[str]:
        return sorted(path.name for path in (self.bin / "domains").glob("*"))

    def halt(self) -> None:
        for path in (self.bin / "domains").glob("*"):
            os.kill(json.loads(path.read_text())["guest"], signal.SIGKILL)
            path.unlink()

    def startable(self) -> bool:
        """Whether something would start the VPS here: a configuration of its name."""
        return (self.xen / "xen01").exists()

    def digests(self, where: str = "", name: str = "xen01") -> tuple[str, ...]:
        """Of root and swap disk; `where` "kept": of those set aside."""
        names = sorted(self.mnt.glob(f"{where}/{name}*.img*" if where else f"{name}*.img"))
        return tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in names)

    def left_of_arrival(self) -> list[str]:
        """What an arrival that was dropped may not leave."""
        found = [*self.mnt.glob("xen*"), *self.xen.glob("xen*"), *(self.directory.rglob("*.arriving"))]
        return [str(path) for path in found] + self.running()

    def migrate(self, **more: Any) -> Any:
        """Move VPS 01; the job's record."""
        job = self.client().migrateVPS(vps="01", toHost="other.example.org", **more).job
        return self.wait(job)


def pair(tmp_path: Path, **changed: str) -> tuple[MovingNode, MovingNode]:
    """Two nodes that lead to each other."""
    old, new = (MovingNode(tmp_path / name, **changed) for name in ("old", "new"))
    old.leads_to(new)
    new.leads_to(old)
    return old, new


def fresh(old: MovingNode, new: MovingNode) -> tuple[str, ...]:
    """As at the beginning, with VPS 01 at the first; the digests of its disks."""
    for node in (old, new):
        node.as_new()
    old.new_vps()
    return old.digests()
