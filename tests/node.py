"""A real node for tests and benchmarks: made by `dtcxen init`, served by `dtcxen serve`, called over TLS.

Everything lies below one directory; the daemon gets a free port. Nothing here is a stand-in.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from dtcxen_soap.settings import Settings, load


class Node:
    """A self-contained node below `directory`; use as a context manager to have its daemon run."""

    def __init__(self, directory: Path, **changed: str) -> None:
        self.directory = directory
        self.config = directory / "etc/dtc-xen/dtc-xen.conf"
        self._cli("init", str(directory), "--port", "0")
        if changed:
            with self.config.open("a") as config:
                config.writelines(f"{name}={value}\n" for name, value in changed.items())
        self.daemon: subprocess.Popen[str] | None = None
        self.url = ""
        self.log = directory / "daemon.log"

    def _cli(self, *words: str) -> str:
        done = subprocess.run([sys.executable, "-m", "dtcxen_soap", *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def settings(self) -> Settings:
        return load(self.config.read_text(), str(self.config)).settings

    @property
    def password(self) -> str:
        return (self.directory / "etc/dtc-xen/admin.password").read_text().strip()

    def start(self, wait_seconds: float = 30, environment: dict[str, str] | None = None) -> None:
        """Start the daemon and wait for the line that says it listens."""
        with self.log.open("a") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, "-m", "dtcxen_soap", "serve", "--config", str(self.config)],
                stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
                env={**os.environ, **(environment or {})})
        assert self.daemon.stdout is not None
        ready, _, _ = select.select([self.daemon.stdout], [], [], wait_seconds)
        line = self.daemon.stdout.readline() if ready else ""
        match = re.fullmatch(r"listening on (https://\S+/)\n", line)
        assert match, f"no listening line but {line!r}\n{self.log.read_text()}"
        self.url = match[1]

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End the daemon with a signal; its exit code."""
        assert self.daemon is not None
        self.daemon.send_signal(how)
        code = self.daemon.wait(60)
        assert self.daemon.stdout is not None
        self.daemon.stdout.close()
        self.daemon = None
        return code

    def died(self, wait_seconds: float = 60) -> int:
        """Wait until the daemon ends by itself; its exit code."""
        assert self.daemon is not None and self.daemon.stdout is not None
        try:
            code = self.daemon.wait(wait_seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            raise
        self.daemon.stdout.close()
        self.daemon = None
        return code

    def __enter__(self) -> Node:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.daemon is not None:
            self.stop()

    def session(self) -> Any:
        """A requests session that trusts this node's certificate and signs in as its admin."""
        import requests
        session = requests.Session()
        session.trust_env = False
        session.verify = self.settings.tls_certificate
        session.auth = ("dtc-xen", self.password)
        return session

    def client(self) -> Any:
        """A zeep service proxy made from the node's own WSDL."""
        import zeep
        from zeep.transports import Transport
        wsdl = zeep.Client(self.url + "?wsdl", transport=Transport(session=self.session(), timeout=60, operation_timeout=90))
        return wsdl.service

    def wait(self, job: int, seconds: float = 300) -> Any:
        """The job's record once it has ended."""
        client = self.client()
        deadline = time.monotonic() + seconds
        while (record := client.getJob(job=job)).state in ("queued", "running"):
            assert time.monotonic() < deadline, f"job {job} still {record.state} at {record.stepName}"
            time.sleep(0.2)
        return record

    def job_log(self, job: int) -> str:
        """Everything that the job's log holds."""
        return "\n".join(path.read_text() for path in Path(self.settings.job_log_dir).glob(f"*{job}*.log"))

    def leftovers(self) -> list[str]:
        """Mounts, loop devices and processes that still belong to this node; empty when all was released."""
        mine = str(self.directory)
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if mine in line]
        loops = [path.read_text().strip() for path in Path("/sys/block").glob("loop*/loop/backing_file") if mine in path.read_text()]
        return mounts + loops + [text for text in _command_lines() if mine in text and "serve" not in text]


def _command_lines() -> list[str]:
    lines = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            try:
                lines.append((directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return lines
