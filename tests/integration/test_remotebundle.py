"""Bundles fetched by the real curl from a real server that answers rightly, wrongly, too much, too slowly or not at all."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Failed
from dtcxen_soap.execute import execute
from dtcxen_soap.install import remotebundle
from dtcxen_soap.journal import Journal
from dtcxen_soap.osfacts import RemoteBundle
from dtcxen_soap.plans import Plan
from dtcxen_soap.settings import Settings, load
from dtcxen_soap.survey import ostypes as survey_ostypes
from tests.bundles import make_bundle, write_system
from tests.node import Node

pytestmark = [pytest.mark.root, pytest.mark.machine]
MIB = 1 << 20


def packed(**extra: bytes) -> bytes:
    """The small system as a tarball, with further files."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        write_system(archive)
        for name, data in extra.items():
            item = tarfile.TarInfo(name)
            item.size = len(data)
            archive.addfile(item, io.BytesIO(data))
    return target.getvalue()


GOOD = packed()


class Answers(http.server.BaseHTTPRequestHandler):
    """One way to answer per path."""

    protocol_version = "HTTP/1.1"
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        name = self.path.rpartition("/")[2].partition(".")[0].replace("-", "_")
        getattr(self, f"_{name}")()
        self.close_connection = True

    def _head(self, code: int = 200, **fields: object) -> None:
        self.send_response(code)
        for field, value in {"Connection": "close", **fields}.items():
            self.send_header(field.replace("_", "-"), str(value))
        self.end_headers()

    def _good(self) -> None:
        self._head(Content_Length=len(GOOD))
        self.wfile.write(GOOD)

    def _cut(self) -> None:
        self._head(Content_Length=len(GOOD))
        self.wfile.write(GOOD[:len(GOOD) // 2])

    def _cut_untold(self) -> None:
        self._head()
        self.wfile.write(GOOD[:len(GOOD) // 2])

    def _flipped(self) -> None:
        self._head(Content_Length=len(GOOD))
        self.wfile.write(GOOD[:-1] + bytes((GOOD[-1] ^ 1,)))

    def _oversized(self) -> None:
        self._head(Content_Length=9 * MIB)
        self.wfile.write(bytes(9 * MIB))

    def _oversized_untold(self) -> None:
        self._head()
        for _ in range(9):
            self.wfile.write(bytes(MIB))

    def _gone(self) -> None:
        self._head(404, Content_Length=4)
        self.wfile.write(b"gone")

    def _drip(self) -> None:
        self._head(Content_Length=len(GOOD))
        for sign in GOOD[:100]:
            self.wfile.write(bytes((sign,)))
            self.wfile.flush()
            time.sleep(0.2)

    def _silent(self) -> None:
        time.sleep(20)

    def _moved(self) -> None:
        self._head(302, Location="/good.tar.gz", Content_Length=0)

    def _moved_to_a_file(self) -> None:
        self._head(302, Location="file:///etc/passwd", Content_Length=0)

    def _round(self) -> None:
        self._head(302, Location="/round.tar.gz", Content_Length=0)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Said by `asked`."""


@pytest.fixture
def served() -> Iterator[str]:
    Answers.asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "etc/os.d").mkdir(parents=True)
    return load(f"config_dir={tmp_path}/etc\nstate_dir={tmp_path}/state").settings


def describe(settings: Settings, url: str, sha256: str = "", most_mib: int = 8) -> None:
    file = Path(settings.os_types_dir) / "small.toml"
    file.parent.mkdir(mode=0o755, exist_ok=True)
    file.write_text(f'installer = "bundle"\nurl = "{url}"\nsha256 = "{sha256 or hashlib.sha256(GOOD).hexdigest()}"\nmost_mib = {most_mib}\n')
    file.chmod(0o644)


def fetch(settings: Settings, tmp_path: Path) -> str:
    """Everything that comes before any disk is touched, by the real engine; the job's log."""
    fact = survey_ostypes.os_type(settings, "small")
    assert fact is not None and isinstance(fact.description, RemoteBundle), fact
    steps = remotebundle.checks(fact, fact.description, settings)
    journal = Journal(str(tmp_path / "journal.sqlite"))
    job = journal.begin("reinstallOS", None, "admin", "job", (), len(steps))
    journal.started(job)
    execute(job, Plan("fetch", steps), Dom0(), journal, lambda: False)
    return "\n".join(path.read_text() for path in (tmp_path / "jobs").iterdir())


def stored(settings: Settings) -> list[str]:
    """Names in the store, and what is left in the quarantine as `quarantine/name`."""
    store = Path(settings.os_store_dir)
    names = [path.name for path in (store / "bundles/small").glob("*")] + [f"quarantine/{path.name}" for path in (store / "quarantine").glob("*")]
    return sorted(names)


KEPT = f"{hashlib.sha256(GOOD).hexdigest()}.tar.gz"


def test_a_good_one_is_kept_under_its_hash_and_not_fetched_again(settings: Settings, served: str, tmp_path: Path) -> None:
    describe(settings, f"{served}/good.tar.gz")
    fetch(settings, tmp_path)
    assert stored(settings) == [KEPT] and Answers.asked == ["/good.tar.gz"]
    store = Path(settings.os_store_dir) / "bundles/small"
    assert (store / KEPT).read_bytes() == GOOD and (store / KEPT).stat().st_mode & 0o777 == 0o600
    assert [path.stat().st_mode & 0o777 for path in (store, Path(settings.os_store_dir) / "quarantine")] == [0o700, 0o700]
    fetch(settings, tmp_path)
    assert stored(settings) == [KEPT] and Answers.asked == ["/good.tar.gz"]


@pytest.mark.parametrize(("path", "why"), [
    ("cut", r"curl: \(18\)"), ("cut-untold", "its SHA-256 is "), ("flipped", "its SHA-256 is "), ("oversized", r"curl: \(63\)"),
    ("oversized-untold", r"longer than 8 MiB|curl: \(63\)"), ("gone", r"curl: \(22\).*404"), ("moved-to-a-file", r"curl: \(1\).*file"), ("round", r"curl: \(47\)")])
def test_what_is_not_the_one_is_never_kept(settings: Settings, served: str, tmp_path: Path, path: str, why: str) -> None:
    describe(settings, f"{served}/{path}.tar.gz")
    with pytest.raises(Failed, match=why):
        fetch(settings, tmp_path)
    assert stored(settings) == [] and Answers.asked[0] == f"/{path}.tar.gz"


@pytest.mark.parametrize("path", ["drip", "silent"])
def test_a_server_that_drips_is_given_up(settings: Settings, served: str, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remotebundle, "SLOW_SECONDS", 3)
    describe(settings, f"{served}/{path}.tar.gz")
    begun = time.monotonic()
    with pytest.raises(Failed, match=r"curl: \(28\)"):
        fetch(settings, tmp_path)
    assert time.monotonic() - begun < 15 and stored(settings) == []


def test_no_server(settings: Settings, tmp_path: Path) -> None:
    describe(settings, "http://127.0.0.1:1/x.tar.gz")
    with pytest.raises(Failed, match=r"curl: \(7\)"):
        fetch(settings, tmp_path)
    assert stored(settings) == []


def test_another_place_of_the_same_server_is_followed(settings: Settings, served: str, tmp_path: Path) -> None:
    describe(settings, f"{served}/moved.tar.gz")
    fetch(settings, tmp_path)
    assert stored(settings) == [KEPT] and Answers.asked == ["/moved.tar.gz", "/good.tar.gz"]


def test_one_of_this_node(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(GOOD)
    describe(settings, f"file://{tmp_path}/a.tar.gz")
    fetch(settings, tmp_path)
    assert stored(settings) == [KEPT] and (tmp_path / "a.tar.gz").exists()


def test_a_device_never_ends_and_is_ended(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.tar").symlink_to("/dev/zero")
    describe(settings, f"file://{tmp_path}/a.tar")
    with pytest.raises(Failed, match="longer than 8 MiB"):
        fetch(settings, tmp_path)
    assert stored(settings) == []


def test_what_is_rightly_hashed_but_leads_out_is_not_kept_either(settings: Settings, tmp_path: Path) -> None:
    data = packed(**{"../escaped": b"x"})
    (tmp_path / "a.tar.gz").write_bytes(data)
    describe(settings, f"file://{tmp_path}/a.tar.gz", hashlib.sha256(data).hexdigest())
    with pytest.raises(Failed, match=r"has \.\. in its name"):
        fetch(settings, tmp_path)
    assert stored(settings) == []


def test_one_that_was_altered_meanwhile_is_never_used_and_fetched_anew(settings: Settings, served: str, tmp_path: Path) -> None:
    describe(settings, f"{served}/good.tar.gz")
    fetch(settings, tmp_path)
    kept = Path(settings.os_store_dir) / "bundles/small" / KEPT
    data = bytearray(kept.read_bytes())
    data[100] ^= 1
    kept.write_bytes(data)
    with pytest.raises(Failed, match="its SHA-256 is .* removed, and not used"):
        fetch(settings, tmp_path)
    assert stored(settings) == []
    fetch(settings, tmp_path)
    assert stored(settings) == [KEPT]


def test_the_one_before_goes_when_the_description_means_another(settings: Settings, served: str, tmp_path: Path) -> None:
    describe(settings, f"{served}/good.tar.gz")
    fetch(settings, tmp_path)
    data = packed(more=b"more")
    (tmp_path / "b.tar.gz").write_bytes(data)
    describe(settings, f"file://{tmp_path}/b.tar.gz", hashlib.sha256(data).hexdigest())
    fetch(settings, tmp_path)
    assert stored(settings) == [f"{hashlib.sha256(data).hexdigest()}.tar.gz"]


@pytest.mark.slow
def test_a_vps_gets_it_and_a_bad_one_leaves_the_old_system(served: str, tmp_path: Path) -> None:
    words = {"vps": "01", "ramSizeMib": 256, "password": "geheim", "nics": "192.0.2.10/24", "gateway": "192.0.2.1", "dns": "192.0.2.53", "hostname": "mail.example.org"}
    with Node(tmp_path / "node") as node:
        describe(node.settings, f"{served}/good.tar.gz")
        client = node.client()
        client.setupVPSDisk(vps="01", diskSizeMib=128, swapSizeMib=64, imageType="vbd")
        record = node.wait(client.reinstallOS(osType="small", **words).job)
        assert record.state == "done", record.reason + node.job_log(record.id)
        root = Path(node.settings.provisioning_mount_point) / "xen01.img"
        before = hashlib.sha256(root.read_bytes()).hexdigest()
        describe(node.settings, f"{served}/flipped.tar.gz", "0" * 64)
        record = node.wait(client.reinstallOS(osType="small", **words).job)
        assert record.state == "failed" and "its SHA-256 is" in record.reason
        assert hashlib.sha256(root.read_bytes()).hexdigest() == before and node.leftovers() == [] and stored(node.settings) == [KEPT]
        make_bundle(Path(node.settings.os_dir) / "small")
        with pytest.raises(Exception, match="both called small"):
            client.reinstallOS(osType="small", **words)
        os.rename(Path(node.settings.os_dir) / "small", Path(node.settings.os_dir) / "large")
        assert list(client.listInstallableOS()) == ["large", "small"]
