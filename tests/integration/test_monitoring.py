"""Watching a real daemon: check_dtcxen in every mode and outcome, /metrics over TLS, and Debian's own Prometheus and promtool."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from passlib.hash import bcrypt
from prometheus_client.parser import text_string_to_metric_families

from dtcxen_soap.wire.health import CACHED_SECONDS
from tests.certificates import make_pair
from tests.node import Node

WATCH, PASSWORD = "watch", "s3cret of the monitor"
CONFIG = 'name = "xen{0}"\nmemory = 128\nvif = [ "ip={1}" ]\n'
LOOPBACK, REFUSED = "127.0.0.1", "255.255.255.255"
"""An address that answers, and one that the kernel refuses to send to: nothing leaves this machine."""


class Watched(Node):
    """A node with a monitor user and two VPSes, one of which answers."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, monitor_user=WATCH)
        with Path(self.settings.htpasswd_file).open("a") as file:
            file.writelines(f"{user}:{bcrypt.using(rounds=4).hash(PASSWORD)}\n" for user in (WATCH, "xen01"))
        for vps, address in (("01", LOOPBACK), ("02", REFUSED)):
            (Path(self.settings.xen_config_dir) / f"xen{vps}").write_text(CONFIG.format(vps, address))
        self.password_file = directory / "watch.password"
        self.password_file.write_text(f"{PASSWORD}\n")

    @property
    def port(self) -> str:
        return self.url.rstrip("/").rpartition(":")[2]

    def check(self, mode: str, *words: str, ca: str = "") -> tuple[int, str]:
        """Exit code and line of the plugin, as a monitoring server runs it."""
        argv = [sys.executable, "-m", "dtcxen_soap.cli.monitoring", "-H", "127.0.0.1", "-p", self.port, "--mode", mode, "-u", WATCH,
                "--password-file", str(self.password_file), *(() if "--insecure" in words else ("--ca", ca or self.settings.tls_certificate)), *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        assert not done.stderr and done.stdout.count("\n") == 1, done
        assert done.stdout.split(" ")[2] == ("OK:", "WARNING:", "CRITICAL:", "UNKNOWN:")[done.returncode], done
        return done.returncode, done.stdout.rstrip("\n")

    def metrics(self, user: str = WATCH, password: str = PASSWORD) -> requests.Response:
        session = requests.Session()
        session.trust_env = False
        return session.get(f"{self.url}metrics", auth=(user, password) if user else None, verify=self.settings.tls_certificate, timeout=20)

    def figures(self) -> dict[tuple[str, ...], float]:
        families = text_string_to_metric_families(self.metrics().text)
        return {(sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value for family in families for sample in family.samples}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with Watched(tmp_path_factory.mktemp("watched")) as made:
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Watched]:
    """For what harms the daemon."""
    with Watched(tmp_path / "node") as made:
        yield made


# -- check_dtcxen -----------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize(("mode", "words", "code", "expected"), [
    ("health", (), 0, "the daemon is well"), ("health", ("-w", "60"), 0, "time="),
    ("health", ("-w", "60:"), 1, ";60:;;0;10"), ("health", ("-c", "@0:60"), 2, "time="),
    ("health", ("-w", "60:10"), 3, "begins after its end"),
    ("ping", ("--vps", "01"), 0, "1 of 1 addresses answer | unanswered=0;0;;0;1 rtt=0.00"), ("ping", (), 1, f"silent: {REFUSED} (VPS 02)"),
    ("ping", ("-c", "0"), 2, "unanswered=1;0;0;0;2"),
    ("ping", ("--vps", "09"), 3, "no address of VPS 09"),
    ("space", ("-w", "1:", "-c", "1:"), 0, "MB;1:;1:;0"), ("space", ("-w", "999999999:", "-c", "1:"), 1, "free: "), ("space", ("-c", "999999999:"), 2, "free: "),
    ("space", ("--place", "vg9"), 3, "nothing of vg9"),
    ("certificate", (), 0, "days="), ("certificate", ("-w", "9999:"), 1, ";9999:;7:"), ("certificate", ("-c", "9999:"), 2, ";30:;9999:"),
    ("certificate", ("--ca", "/nonesuch"), 3, "/nonesuch"),
])
def test_a_mode_and_an_outcome(node: Watched, mode: str, words: tuple[str, ...], code: int, expected: str) -> None:
    found = node.check(mode, *words)
    assert found[0] == code and expected in found[1], found


@pytest.mark.root
def test_jobs_that_fail_are_told(own: Watched) -> None:
    client = own.client()
    client.setupVPSDisk(vps="03", diskSizeMib=64, swapSizeMib=0)
    code, line = own.check("jobs")
    assert code == 0 and "0 failed within 24 h, 0 running, 0 queued | failed=0;0;;0 running=0;;;0 queued=0;;;0" in line
    hook = Path(own.settings.config_dir) / "hooks/setupVPSDisk-pre.d/10-no"
    hook.parent.mkdir(parents=True, exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'out of | order' >&2\nexit 1\n")
    hook.chmod(0o755)
    with contextlib.suppress(Exception):
        client.setupVPSDisk(vps="04", diskSizeMib=64, swapSizeMib=0)
    code, line = own.check("jobs")
    assert code == 1 and "1 failed within 24 h" in line and "(setupVPSDisk of VPS 04)" in line and line.count("|") == 1
    assert own.check("jobs", "-c", "0")[0] == 2 and own.check("jobs", "--vps", "03")[0] == 0
    assert own.check("jobs", "--since", "x")[0] == 3
    found = own.figures()
    assert found["dtcxen_jobs", "failed"] == 1 and found["dtcxen_requests_total", "setupVPSDisk", "failed"] == 1 == found["dtcxen_requests_total", "setupVPSDisk", "done"]


@pytest.mark.root
@pytest.mark.parametrize("mode", ["health", "ping", "jobs", "space", "certificate"])
def test_a_daemon_that_is_not_there_or_not_to_be_trusted_is_critical(node: Watched, mode: str, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        code, line = node.check(mode, "-p", str(unused.getsockname()[1]))
        assert code == 2 and "Connection refused" in line
    other, _ = make_pair(tmp_path)
    code, line = node.check(mode, ca=str(other))
    assert code == 2 and "not to be trusted" in line
    assert node.check(mode, "--insecure", "-w", "~:", "-c", "~:")[0] == 0


@pytest.mark.root
@pytest.mark.parametrize("mode", ["ping", "jobs", "space"])
def test_who_may_not_ask_learns_nothing(node: Watched, mode: str, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("wrong\n")
    code, line = node.check(mode, "--password-file", str(tmp_path / "wrong"))
    assert code == 3 and "Authorization failed" in line
    code, line = node.check(mode, "-u", "xen01")
    assert (code == 0 and "failed=0;" in line) if mode == "jobs" else (code == 3 and "xen01 may" in line), "an owner sees jobs of its own VPS"


@pytest.mark.root
def test_a_daemon_that_hangs_is_given_up(own: Watched) -> None:
    assert own.daemon is not None
    own.daemon.send_signal(signal.SIGSTOP)
    try:
        for mode in ("health", "ping", "certificate"):
            begun = time.monotonic()
            assert own.check(mode, "-t", "2")[0] == 2 and own.check(mode, "-t", "2:UNKNOWN")[0] in (2, 3)
            assert time.monotonic() - begun < 15
    finally:
        own.daemon.send_signal(signal.SIGCONT)


@pytest.mark.root
def test_a_daemon_that_is_not_well_says_so(own: Watched) -> None:
    with sqlite3.connect(own.settings.journal_path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        code, line = own.check("health", "-t", "20")
        assert code == 2 and "not well" in line, line
        other.execute("ROLLBACK")
    other.close()
    time.sleep(CACHED_SECONDS)
    assert own.check("health")[0] == 0


@pytest.mark.root
def test_an_expired_certificate(own: Watched, tmp_path: Path) -> None:
    certificate, key = make_pair(tmp_path, days=-3)
    for source, target in ((certificate, own.settings.tls_certificate), (key, own.settings.tls_key)):
        Path(target).write_bytes(source.read_bytes())
    assert own.daemon is not None
    assert own.check("certificate")[0] == 2, "another than it serves is no longer trusted"
    own.daemon.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while "were read again" not in own.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    code, line = own.check("certificate")
    assert code == 2 and "3 days ago" in line and "days=-3" in line


# -- /metrics ---------------------------------------------------------------------------------------------


@pytest.mark.root
def test_who_may_scrape(node: Watched) -> None:
    assert node.metrics().status_code == node.metrics("dtc-xen", node.password).status_code == 200
    assert node.metrics("").status_code == node.metrics(WATCH, "wrong").status_code == 401
    assert node.metrics("xen01").status_code == 403


@pytest.mark.root
def test_what_is_told_is_so(node: Watched) -> None:
    node.metrics()
    node.client().testVPSServer()
    found = node.figures()
    assert found["dtcxen_requests_total", "testVPSServer", "done"] >= 1 and found["dtcxen_request_duration_seconds_count", "testVPSServer"] >= 1
    assert found["dtcxen_vpses", "stopped"] == 2 and found["dtcxen_vpses", "running"] == 0
    assert found["dtcxen_vps_addresses_answering", "01"] == 1 and found["dtcxen_vps_addresses_answering", "02"] == 0
    assert 0 < found["dtcxen_vps_ping_rtt_seconds", "01"] < 1 and ("dtcxen_vps_ping_rtt_seconds", "02") not in found
    free = os.statvfs(node.settings.provisioning_mount_point)
    assert abs(found["dtcxen_disk_free_bytes", node.settings.provisioning_mount_point, "vbd"] - free.f_bavail * free.f_frsize) < 4 << 30
    assert not any(key[0].startswith("dtcxen_memory") for key in found), "no Xen tells of it here"
    days = (found["dtcxen_certificate_expiry_timestamp_seconds",] - time.time()) / 86400
    assert 3600 < days < 3700


@pytest.mark.root
def test_a_scrape_every_five_seconds_costs_little(own: Watched) -> None:
    """With the VPSes of a big node; what counts is the daemon's own processor time."""
    for number in range(1, 251):
        (Path(own.settings.xen_config_dir) / f"xen{number:02}").write_text(CONFIG.format(f"{number:02}", f"127.0.1.{number}"))
    first = time.monotonic()
    assert own.figures()["dtcxen_vps_addresses_answering", "250"] == 1
    first = time.monotonic() - first
    before = own.figures()["process_cpu_seconds_total",]
    for _ in range(20):
        own.metrics()
    each = (own.figures()["process_cpu_seconds_total",] - before) / 21
    print(f"first scrape {first:.2f} s, each of the next {each * 1000:.1f} ms of processor time")
    assert first < 5 and each < 0.25


@contextlib.contextmanager
def prometheus(node: Watched, folder: Path) -> Iterator[str]:
    """Debian's Prometheus, scraping the node each second with a password from a file and the node's certificate as its CA; its address."""
    (folder / "prometheus.json").write_text(json.dumps({"scrape_configs": [{
        "job_name": "dtcxen", "scheme": "https", "scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": [{"targets": [f"127.0.0.1:{node.port}"]}],
        "basic_auth": {"username": WATCH, "password_file": str(folder / "password")}, "tls_config": {"ca_file": node.settings.tls_certificate}}]}))
    (folder / "password").write_text(PASSWORD)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    argv = ["prometheus", f"--config.file={folder}/prometheus.json", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}", "--log.level=warn"]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        yield f"http://{address}"
    finally:
        running.terminate()
        running.wait(30)


def asked(address: str, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers; empty before it knows."""
    try:
        reply = requests.get(f"{address}/api/v1/query", params={"query": query}, timeout=10)
    except requests.ConnectionError:
        return []
    return list(reply.json()["data"]["result"]) if reply.status_code == 200 else []


@pytest.mark.root
@pytest.mark.debian13
def test_promtool_finds_nothing_to_say(node: Watched) -> None:
    node.client().testVPSServer()
    done = subprocess.run(["promtool", "check", "metrics"], input=node.metrics().text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stdout + done.stderr, done
    broken = subprocess.run(["promtool", "check", "metrics"], input="# TYPE a_count counter\na_count 1\n", capture_output=True, text=True, timeout=60)
    assert broken.returncode != 0, "it can say something"


@pytest.mark.root
@pytest.mark.debian13
@pytest.mark.slow
def test_prometheus_scrapes_it_over_tls(node: Watched, tmp_path: Path) -> None:
    node.client().testVPSServer()
    with prometheus(node, tmp_path) as address:
        deadline = time.monotonic() + 60
        while not (up := [row for row in asked(address, "up") if row["value"][1] == "1"]):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.5)
        assert up[0]["metric"]["job"] == "dtcxen"
        (answered,) = asked(address, 'dtcxen_requests_total{operation="testVPSServer",outcome="done"}')
        assert float(answered["value"][1]) >= 1
        assert {row["metric"]["vps"] for row in asked(address, "dtcxen_vps_addresses_answering == 1")} == {"01"}
        assert asked(address, "dtcxen_certificate_expiry_timestamp_seconds - time() > 86400 * 30")
        assert len(asked(address, "histogram_quantile(0.9, dtcxen_request_duration_seconds_bucket)")) >= 1
