"""An upgrade in place: this daemon starts on what the original left, takes over what doctor says it does, and rewrites nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.integration.test_daemon import Process
from tests.oldnode import CERTIFICATE, CONF, HASHES, HOMES, HTPASSWD, KEY, MNT, PASSWORD, STATE, OldTree
from tests.unit.upgrade.test_findings import CASES
from tests.wirekit import xml

pytestmark = pytest.mark.machine
OURS = (f"{STATE}/journal.sqlite", f"{STATE}/jobs", f"{STATE}/screens", f"{STATE}/rescue")
"""What the daemon makes for itself."""


class Upgraded(Process):
    """The daemon on an old node's files; its settings name where these really are."""

    def __init__(self, old: OldTree, folder: Path) -> None:
        self.folder, self.config, self.log, self.running, self.url = folder, folder / "served.conf", folder / "log", None, ""
        paths = {"htpasswd_file": HTPASSWD, "tls_certificate": CERTIFICATE, "tls_key": KEY, "state_dir": STATE, "soap_server_mount_point": MNT, "ttyssh_home": HOMES,
                 "xen_config_dir": "/etc/xen", "config_dir": "/etc/dtc-xen", "os_dir": "/usr/share/dtc-xen-os"}
        more = {"soap_server_port": "0", "toolstack": "none", "auth_failure_delay_ms": "0", **{name: str(old.at(path)) for name, path in paths.items()}}
        self.config.write_text(old.at(CONF).read_text() + "".join(f"{name}={value}\n" for name, value in more.items()))

    def ask(self, operation: str, *parameters: tuple[str, str], user: str = "dtc-xen", password: str = PASSWORD, rpc: bool = True) -> str:
        """A call as the panel makes it: it never looks at the certificate."""
        reply = requests.post(self.url, xml(operation, *parameters, rpc=rpc), headers={"Content-Type": "text/xml"}, auth=(user, password), verify=False, timeout=30)
        return reply.text


@pytest.fixture
def old(tmp_path: Path) -> OldTree:
    """A node of 2010: passwords of all kinds, a certificate that nobody would make today, and all that the original noted."""
    (tmp_path / "node").mkdir()
    old = OldTree(tmp_path / "node")
    _weak_pair(old, tmp_path)
    old.put(HTPASSWD, f"dtc-xen:{HASHES['des']}\nxen01:{HASHES['apr1']}\n# by hand\nxen07:{HASHES['des']}\n")
    old.put(f"{STATE}/states/xen01", "mkos\n999999")
    old.put(f"{STATE}/perfdata/sample-1262304000.pickle", b"cos\nsystem\n(S'false'\ntR.")
    old.put(f"{MNT}/01.log", "installed by the original\n", 0o644)
    old.put(f"{HOMES}/xen01/net.iso", b"\0" * 32769 + b"CD001", 0o644)
    old.add("/etc/fstab", f"{MNT}/xen01.img {MNT}/01 ext3 defaults,noauto,loop 0 0\n")
    return old


def _weak_pair(old: OldTree, folder: Path) -> None:
    """RSA of 1024 bits, signed with MD5, expired, the key under a passphrase."""
    key, request, certificate = (str(folder / name) for name in ("key", "request", "certificate"))
    for argv in (("openssl", "genrsa", "-traditional", "-aes128", "-passout", "pass:sesame", "-out", key, "1024"),
                 ("openssl", "req", "-new", "-key", key, "-passin", "pass:sesame", "-subj", "/CN=node.example.com", "-out", request)):
        subprocess.run(argv, check=True, capture_output=True)
    sign = ("openssl", "x509", "-req", "-in", request, "-signkey", key, "-passin", "pass:sesame", "-md5", "-out", certificate)
    past = (("-not_before", "20200101000000Z", "-not_after", "20210101000000Z"), ("-days", "-1"))
    assert any(subprocess.run((*sign, *dates), capture_output=True).returncode == 0 for dates in past), "one for OpenSSL 3.4 and newer, one for older"
    old.put(CERTIFICATE, Path(certificate).read_bytes(), 0o644)
    old.put(KEY, Path(key).read_bytes())
    old.add(CONF, "soap_server_pass_phrase=sesame\nauth_failure_delay_ms=0\n")


@pytest.fixture
def node(old: OldTree, tmp_path: Path) -> Iterator[Upgraded]:
    made = Upgraded(old, tmp_path)
    yield made
    if made.running is not None and made.running.poll() is None:
        made.running.kill()
        made.running.wait()


def doctor(old: OldTree) -> tuple[int, dict[str, dict[str, object]]]:
    """What the command says of the node's files, by check."""
    done = subprocess.run([sys.executable, "-m", "dtcxen_soap", "doctor", "--json", "--root", str(old.directory)], capture_output=True, text=True, timeout=60)
    assert not done.stderr, done.stderr
    return done.returncode, {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}


def only_theirs(snapshot: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    """Without what is the daemon's own; the directory that this lies in has another time."""
    kept = {path: facts for path, facts in snapshot.items() if not f"/{path}".startswith(OURS)}
    return kept | {STATE.lstrip("/"): ("the directory",)}


def test_it_starts_on_what_the_original_left_answers_from_it_and_changes_nothing(old: OldTree, node: Upgraded) -> None:
    before, (code, told) = old.snapshot(), doctor(old)
    assert old.snapshot() == before
    assert code == 0 and {"certificate-weak", "certificate-expired", "htpasswd-des", "state-mkos", "fstab", "samples", "old-install-logs"} <= set(told)
    assert told["certificate-weak"]["what"] == "weak (an RSA key of 1024 bits, signed by MD5), and used all the same"
    assert node.start() == f"listening on {node.url}\n", node.log.read_text()
    assert "WEAK KEY OR CERTIFICATE" in node.log.read_text()
    assert "OK</Result>" in node.ask("testVPSServer") and "OK</Result>" in node.ask("testVPSServer", password=PASSWORD[:8]), "8 characters of DES"
    assert "Not running</Result>" in node.ask("getVPSState", ("vpsname", "xen01"), user="xen01"), "the state of the original says mkos"
    assert "net.iso" in node.ask("reportInstalledIso", ("vpsname", "xen01"), user="xen01")
    assert "has no installation log" in node.ask("getVPSInstallLog", ("vpsname", "01"), ("numlines", "20"))
    assert "has a root disk of" in node.ask("setupVPSDisk", ("vps", "01"), ("diskSizeMib", "64"), ("swapSizeMib", "0"), ("imageType", "vbd"), rpc=False)
    assert node.stop() == 0
    assert only_theirs(old.snapshot()) == only_theirs(before)
    assert doctor(old) == (code, told)


def test_what_a_call_changes_is_what_it_names_and_nothing_beside_it(old: OldTree, node: Upgraded) -> None:
    before = old.snapshot()
    node.start()
    assert "OK</Result>" in node.ask("changeVPSsoapPassword", ("vpsname", "xen01"), ("password", "a new password"))
    lines = old.at(HTPASSWD).read_text().splitlines()
    assert [lines[0], *lines[2:]] == [f"dtc-xen:{HASHES['des']}", "# by hand", f"xen07:{HASHES['des']}"] and lines[1].startswith("xen01:$2b$")
    assert "OK</Result>" in node.ask("testVPSServer", user="xen01", password="a new password")
    answer = node.ask("setupVPSDisk", ("vps", "07"), ("diskSizeMib", "64"), ("swapSizeMib", "0"), ("imageType", "vbd"), rpc=False)
    assert "Fault" not in answer, answer
    assert "xen07:" not in old.at(HTPASSWD).read_text(), "an earlier tenant's password goes when the number is used again, as doctor says"
    assert node.stop() == 0
    changed = {path for path, facts in only_theirs(old.snapshot()).items() if facts != before.get(path) and not path.endswith(STATE.lstrip("/"))}
    assert changed == {path.lstrip("/") for path in (HTPASSWD, "/etc/dtc-xen", MNT, f"{MNT}/xen07.img", f"{STATE}/accounts.lock")}


MENDED = (
    "no-settings", "settings-open", "settings-older", "settings-volgroup", "settings-file", "htpasswd-open", "htpasswd-writable", "certificate-missing", "certificate-unusable",
    "certificate-expired", "certificate-expires", "certificate-weak", "key-open", "old-log", "old-install-logs", "config-name", "config-open", "autostart-lacking", "state-mkos",
    "state-fsck", "state-unreadable", "fstab-auto", "fstab-stale", "fstab", "samples", "homes-open", "home-gone")
"""Checks whose commands only touch files, so that they can be run on a copy."""


@pytest.mark.root
@pytest.mark.parametrize("check", MENDED)
def test_the_command_that_doctor_gives_mends_it(tmp_path: Path, check: str) -> None:
    old = OldTree(tmp_path)
    CASES[check].spoil(old)
    (finding,) = (finding for finding in old.findings() if finding.check == check)
    for line in finding.mend:
        there = re.sub(r"(?<![\w.=])/(etc|var)/", rf"{tmp_path}/\1/", line.removesuffix(" && systemctl daemon-reload"))
        done = subprocess.run(["bash", "-euc", there], capture_output=True, text=True, cwd="/", timeout=60)
        assert done.returncode == 0, f"{there}\n{done.stderr}"
    after = {left.check for left in old.findings() if (left.check, left.severity) == (check, finding.severity) or left.check != check}
    assert check not in after and not after & {"certificate-unusable", "key-open", "settings-wrong", "settings-unknown"}, after
    assert (old.at("/etc/fstab.before-dtcxen").exists() == check.startswith("fstab")) and old.at("/etc/fstab").read_text() == "UUID=1234 / ext4 defaults 0 1\n" + (
        "#\n" if check == "fstab" else "")
