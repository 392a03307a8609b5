"""The daemon as a process: ready line, signals, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from passlib.hash import bcrypt

from tests.certificates import make_pair
from tests.wirekit import ADMIN, PASSWORD, xml

pytestmark = pytest.mark.machine

SERVE = "import sys; from dtcxen_soap.daemon import serve; sys.exit(serve(sys.argv[1]))"


class Process:
    """A daemon of its own below a directory, toolstack none."""

    def __init__(self, folder: Path, **changed: Any) -> None:
        self.folder, self.config, self.log = folder, folder / "dtc-xen.conf", folder / "log"
        certificate, key = make_pair(folder, "first")
        (folder / "htpasswd").write_text(f"{ADMIN}:{bcrypt.using(rounds=4).hash(PASSWORD)}\n")
        for name in ("state", "xen", "mnt", "os", "home"):
            (folder / name).mkdir(exist_ok=True)
        self.values = {
            "listen_address": "127.0.0.1", "listen_port": 0, "toolstack": "none", "default_image_type": "vbd", "htpasswd_file": folder / "htpasswd",
            "tls_certificate": certificate, "tls_key": key, "state_dir": folder / "state", "xen_config_dir": folder / "xen", "config_dir": folder,
            "provisioning_mount_point": folder / "mnt", "os_dir": folder / "os", "ttyssh_home": folder / "home", **changed}
        self.write()
        self.running: subprocess.Popen[str] | None = None
        self.url = ""

    def write(self, **changed: Any) -> None:
        self.values.update(changed)
        self.config.write_text("".join(f"{name}={value}\n" for name, value in self.values.items()))

    def start(self) -> str:
        """Start it; the first line that it prints, or "" when it ended without one."""
        with self.log.open("w") as log:
            self.running = subprocess.Popen([sys.executable, "-c", SERVE, str(self.config)], stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.running.stdout is not None
        line = self.running.stdout.readline()
        self.url = line.rpartition(" ")[2].strip()
        return line

    def send(self, number: int, expected: str) -> None:
        """Send a signal, and wait until the log says what is expected."""
        assert self.running is not None
        self.running.send_signal(number)
        deadline = time.monotonic() + 10
        while expected not in self.log.read_text():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> int:
        assert self.running is not None
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(20)

    def subject(self) -> str:
        host, _, port = self.url.removeprefix("https://").rstrip("/").rpartition(":")
        pem = ssl.get_server_certificate((host, int(port)))
        return x509.load_pem_x509_certificate(pem.encode()).subject.rfc4514_string()

    def call(self, operation: str, *parameters: tuple[str, str], password: str = PASSWORD) -> str:
        reply = requests.post(self.url, xml(operation, *parameters), headers={"Content-Type": "text/xml"}, auth=(ADMIN, password), verify=False, timeout=20)
        return reply.text


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path)
    yield made
    if made.running is not None and made.running.poll() is None:
        made.running.kill()
        made.running.wait()


def test_it_says_where_it_listens_answers_and_stops_cleanly(process: Process) -> None:
    line = process.start()
    assert line == f"listening on {process.url}\n" and process.url.startswith("https://127.0.0.1:") and not process.url.endswith(":0/")
    assert requests.get(process.url + "healthz", verify=False, timeout=20).text == "ok\n"
    assert "OK</Result>" in process.call("testVPSServer")
    assert "Not running</Result>" in process.call("getVPSState", ("vpsname", "01"))
    started = time.monotonic()
    assert process.stop() == 0 and time.monotonic() - started < 5
    lines = process.log.read_text().splitlines()
    assert lines and all(line[0] == "<" and line[2] == ">" for line in lines) and lines[-1] == "<6>stopped"


def test_who_tried_what_is_in_the_audit_whatever_the_panel_shows_of_it(process: Process) -> None:
    """The daemon's own audit, read as an admin does: what was done, and what was refused before anything was done."""
    process.start()
    assert "hddsize: ''" in process.call("setupLVMDisks", ("vpsname", "01"), ("hddsize", ""), ("swapsize", "512"), ("imagetype", "30000"))
    assert "ramsize: " in process.call("reinstallVPSos", ("vpsname", "02"), ("ostype", "debian"), ("ramsize", "geheim-geheim"), ("password", "256"))
    words = [sys.executable, "-m", "dtcxen_soap", "audit", "--json", "--config", str(process.config)]
    deadline = time.monotonic() + 10
    while len(rows := [row for row in json.loads(subprocess.run(words, capture_output=True, check=True).stdout)["audit"] if row["caller"] == ADMIN]) < 2:
        assert time.monotonic() < deadline, rows
        time.sleep(0.1)
    second, first = rows
    assert (first["caller"], first["peer"], first["vps"], first["arguments"]) == (ADMIN, "127.0.0.1", "01", "vpsname=01 hddsize='' swapsize=512 imagetype=30000")
    assert first["outcome"].startswith("Refused: setupLVMDisks: hddsize: ") and "'30000'" in first["outcome"]
    assert second["vps"] == "02" and second["arguments"] == "vpsname ostype ramsize password" and "ramsize: not valid" in second["outcome"]
    log = process.log.read_text()
    assert first["outcome"] in log and second["outcome"] in log and "geheim" not in log + json.dumps(rows)


def test_a_reload_takes_certificate_htpasswd_and_settings(process: Process) -> None:
    process.start()
    assert process.subject() == "CN=first"
    certificate, key = make_pair(process.folder, "second")
    (process.folder / "users").write_text(f"{ADMIN}:{bcrypt.using(rounds=4).hash('new')}\n")
    process.write(tls_certificate=certificate, tls_key=key, htpasswd_file=process.folder / "users", vps_disk_min_mib=2048, listen_port=9, auth_failure_delay_ms=0)
    process.send(signal.SIGHUP, "were read again")
    assert process.subject() == "CN=second"
    assert "Authorization failed" in process.call("testVPSServer")
    disk = (("vpsname", "01"), ("hddsize", "1024"), ("swapsize", "0"))
    assert "from 2048 to" in process.call("setupLVMDisks", *disk, password="new")
    assert f"{process.config}:2: listen_port takes effect at the next start" in process.log.read_text()


def test_a_bad_reload_is_told_with_its_place_and_changes_nothing(process: Process) -> None:
    process.start()
    process.write(log_level="loud", vps_disk_min_mib=2048)
    process.send(signal.SIGHUP, "nothing was changed")
    assert f"<3>reload: {process.config}:14: log_level: 'loud' is not valid" in process.log.read_text()
    process.write(log_level="info", tls_key=process.folder / "none")
    process.send(signal.SIGHUP, "No such file")
    assert process.subject() == "CN=first"
    assert "OK</Result>" in process.call("testVPSServer")


@pytest.mark.parametrize(("changed", "expected"), [
    ({"listen_port": "http"}, "dtc-xen.conf:2: listen_port: 'http' is not valid"),
    ({"tls_key": "/nowhere/key"}, "/nowhere/key: No such file"),
    ({"state_dir": "/proc/nowhere"}, "cannot start"),
])
def test_what_hinders_a_start_is_told(process: Process, changed: dict[str, str], expected: str) -> None:
    process.write(**changed)
    assert process.start() == ""
    assert process.running is not None and process.running.wait(20) == 1
    assert expected in process.log.read_text() and "Traceback" not in process.log.read_text()


def test_a_port_in_use_and_a_second_daemon_are_refused(process: Process, tmp_path: Path) -> None:
    process.start()
    (tmp_path / "other").mkdir()
    for changed, expected in (({"listen_port": process.url.rpartition(":")[2].rstrip("/")}, "in use"), ({"state_dir": process.folder / "state"}, "another daemon")):
        other = Process(tmp_path / "other", **changed)
        assert other.start() == "" and other.running is not None and other.running.wait(20) == 1
        assert expected in other.log.read_text().lower() and "Traceback" not in other.log.read_text()
    assert "OK</Result>" in process.call("testVPSServer")


def test_interrupting_it_at_a_terminal_is_a_stop_too(process: Process) -> None:
    process.start()
    assert process.running is not None
    os.kill(process.running.pid, signal.SIGINT)
    assert process.running.wait(20) == 0
