"""`make run` as a newcomer meets it: it installs a Debian, says how to go on, serves, ends at Ctrl-C; the second time it only serves."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.node import Node

pytestmark = [pytest.mark.root, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Demo:
    """tools/demo.py, watched until it serves and ended as a terminal would."""

    def __init__(self, node: Path, port: int) -> None:
        self.log = node.with_name("demo.log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen([sys.executable, ROOT / "tools/demo.py", "--node", node, "--port", str(port)], stdout=log, stderr=log, cwd=ROOT, start_new_session=True)

    def until_serving(self, seconds: float) -> str:
        deadline = time.monotonic() + seconds
        while "until Ctrl-C" not in (said := self.log.read_text()):
            assert self.process.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.1)
        return said

    def __enter__(self) -> Demo:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.process.poll() is None:
            self.interrupt()

    def interrupt(self) -> int:
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(60)


def test_it_installs_once_tells_and_serves_until_interrupted(tmp_path: Path) -> None:
    home, port = tmp_path / "node", free_port()
    with Demo(home, port) as demo:
        said = demo.until_serving(300)
        for part in ("  step ", "job 2 (reinstallOS) is done", f"https://127.0.0.1:{port}/?wsdl", f"{home}/etc/dtc-xen/admin.password"):
            assert part in said
        password = home / "vps01.root-password"
        assert password.stat().st_mode & 0o777 == 0o600 and password.read_text().strip() not in said
        sample = next(line for line in said.splitlines() if line.startswith("a call")).split(maxsplit=2)[2]
        assert "reinstallOS" in subprocess.run(shlex.split(sample), cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
        assert demo.interrupt() == 0
    assert "memory" in (home / "etc/xen/xen01").read_text()
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), 5):
        pass
    with Demo(home, port) as again:
        said = again.until_serving(60)
        assert again.interrupt() == 0 and "reinstallOS" not in said
    node = Node.__new__(Node)
    node.directory = home
    assert not node.leftovers()


def test_a_port_that_is_taken_ends_it_with_the_reason(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        demo = Demo(tmp_path / "node", taken.getsockname()[1])
        assert demo.process.wait(60) == 1
    said = demo.log.read_text()
    assert "did not start" in said and "ddress already in use" in said
