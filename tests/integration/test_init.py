"""init, serve, check, plan, wsdl and call as a user types them: real files, a real daemon, real TLS on loopback."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap.settings import load
from tests.node import Node

pytestmark = pytest.mark.machine


def dtcxen(*words: object, code: int = 0, given: str = "") -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "dtcxen_soap", *map(str, words)], capture_output=True, text=True, input=given, timeout=120)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def contents(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and bytes of everything below a directory."""
    return {str(path.relative_to(directory)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"") for path in sorted(directory.rglob("*"))}


# -- init -----------------------------------------------------------------------------------------


def test_init_makes_a_private_node_and_nothing_beside_it(tmp_path: Path) -> None:
    home = tmp_path / "a" / "node"
    said = dtcxen("init", home, "--port", 8090).stdout
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and [path.name for path in (tmp_path / "a").iterdir()] == ["node"]
    assert all(mode & 0o077 == 0 for mode, _ in contents(home).values()) and home.stat().st_mode & 0o777 == 0o700
    settings = load((home / "etc/dtc-xen/dtc-xen.conf").read_text()).settings
    assert settings.listen_port == 8090 and settings.toolstack == "none"
    assert str(home / "etc/dtc-xen/admin.password") in said and f"dtcxen serve --config {home}/etc/dtc-xen/dtc-xen.conf" in said


def test_init_twice_changes_nothing_and_says_so(tmp_path: Path) -> None:
    home = tmp_path / "node"
    dtcxen("init", home)
    before = contents(home)
    other = tmp_path / "password"
    other.write_text("another\n")
    said = dtcxen("init", home, "--port", 9, "--admin-password-file", other)
    assert contents(home) == before
    assert "made" not in said.stdout and "the port stays 8089" in said.stderr and "password stays" in said.stderr


def test_init_takes_the_admins_password_and_shows_it_nowhere(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("pass wörd\n")
    done = dtcxen("init", tmp_path / "node", "--admin-password-file", tmp_path / "p")
    assert "wörd" not in done.stdout + done.stderr
    assert (tmp_path / "node/etc/dtc-xen/admin.password").read_text() == "pass wörd\n"
    assert (tmp_path / "node/etc/dtc-xen/htpasswd").read_text().startswith("dtc-xen:$2b$12$")


@pytest.mark.parametrize(("password", "text"), [("", "empty"), ("x" * 73, "72 bytes")])
def test_a_password_that_bcrypt_would_cut_is_refused_before_anything_is_made(tmp_path: Path, password: str, text: str) -> None:
    (tmp_path / "p").write_text(password + "\n")
    assert text in dtcxen("init", tmp_path / "node", "--admin-password-file", tmp_path / "p", code=1).stderr
    assert not (tmp_path / "node").exists()


def test_what_was_lost_is_made_again_to_fit_what_is_left(tmp_path: Path) -> None:
    home = tmp_path / "node"
    dtcxen("init", home)
    etc = home / "etc/dtc-xen"
    key, password = (etc / "privkey.pem").read_bytes(), (etc / "admin.password").read_bytes()
    (etc / "dtc-xen.cert.cert").unlink()
    (etc / "htpasswd").unlink()
    dtcxen("init", home)
    assert ((etc / "privkey.pem").read_bytes(), (etc / "admin.password").read_bytes()) == (key, password)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(etc / "dtc-xen.cert.cert", etc / "privkey.pem")
    (etc / "privkey.pem").unlink()
    assert "without its key" in dtcxen("init", home, code=1).stderr


@pytest.mark.parametrize("where", ["", "etc"])
def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / "node" / where).mkdir(parents=True)
    (tmp_path / "node" / where).chmod(0o770)
    assert "others own it or may write" in dtcxen("init", tmp_path / "node", code=1).stderr
    assert not (tmp_path / "node/etc/dtc-xen").exists()


# -- check, wsdl, plan ----------------------------------------------------------------------------


def test_check_finds_nothing_wrong_with_what_init_made(tmp_path: Path) -> None:
    dtcxen("init", tmp_path / "node")
    done = dtcxen("check", "--config", tmp_path / "node/etc/dtc-xen/dtc-xen.conf")
    assert not done.stderr and "default_image_type" in done.stdout


def test_wsdl_has_the_nodes_own_limits_and_address(tmp_path: Path) -> None:
    node = Node(tmp_path / "node", listen_port="8123", vps_ram_max_mib="4321")
    assert dtcxen("wsdl").stdout == (Path(__file__).parents[2] / "wsdl/dtcxen.wsdl").read_text()
    own = dtcxen("wsdl", "--config", node.config).stdout
    assert 'location="https://127.0.0.1:8123/"' in own and 'value="4321"' in own


def test_plan_prints_the_steps_and_leaves_no_trace(tmp_path: Path) -> None:
    node = Node(tmp_path / "node")
    before = contents(node.directory)
    done = dtcxen("plan", "--config", node.config, "setupVPSDisk", "vps=01", "diskSizeMib=100", "swapSizeMib=10")
    assert "Make the root disk of 100 MiB." in done.stdout and f"undo: RemoveFile path={node.directory}" in done.stdout
    assert "changes nothing" in dtcxen("plan", "--config", node.config, "getVPSState", "vps=01").stdout
    assert "nothing to do" in dtcxen("plan", "--config", node.config, "killVPSDisk", "vps=01").stdout
    assert contents(node.directory) == before


def test_plan_refuses_a_line_per_fault(tmp_path: Path) -> None:
    node = Node(tmp_path / "node")
    done = dtcxen("plan", "--config", node.config, "setupVPSDisk", "vps=30000", "diskSizeMib=3", "swapSizeMib=x", code=1)
    assert [line.split(":")[2] for line in done.stderr.splitlines()] == [" vps", " diskSizeMib", " swapSizeMib"]
    assert "no root disk" in dtcxen(
        "plan", "--config", node.config, "reinstallOS", "vps=01", "osType=debian", "ramSizeMib=64", "nics=192.0.2.10", "password=-", code=1, given="p\n").stderr


# -- call -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("served") / "node", os_dir=str(tmp_path_factory.mktemp("os"))) as served:
        yield served


def call(node: Node, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    return dtcxen("call", "--config", node.config, "--url", node.url, *words, code=code)


def test_a_call_by_the_nodes_own_settings(node: Node) -> None:
    assert call(node, "testVPSServer").stdout == "OK\n"
    assert call(node, "getVPSState", "vps=xen01").stdout == "vps: 01\nstate: Not running\n"


def test_the_wsdl_is_public_and_the_certificate_proves_the_node(node: Node) -> None:
    context = ssl.create_default_context(cafile=node.settings.tls_certificate)
    for host in ("localhost", "127.0.0.1"):
        with urllib.request.urlopen(node.url.replace("127.0.0.1", host) + "?wsdl", context=context, timeout=20) as answer:
            assert b"wsdl:definitions" in answer.read()


def test_disks_are_made_seen_and_removed(node: Node) -> None:
    made = call(node, "setupVPSDisk", "vps=02", "diskSizeMib=100", "swapSizeMib=10", "imageType=vbd", "--json")
    disks = json.loads(made.stdout)["disks"]
    assert [os.stat(path).st_size for path in disks] == [100 << 20, 10 << 20]
    assert "created: no" in call(node, "setupVPSDisk", "vps=02", "diskSizeMib=100", "swapSizeMib=10").stdout
    assert "already" in call(node, "setupVPSDisk", "vps=02", "diskSizeMib=200", "swapSizeMib=10", code=1).stderr
    assert call(node, "killVPSDisk", "vps=02").stdout.splitlines() == disks
    assert not any(os.path.exists(path) for path in disks)


def test_every_fault_of_the_daemon_is_a_line(node: Node) -> None:
    done = call(node, "setupVPSDisk", "vps=30000", "diskSizeMib=3", "swapSizeMib=x", "imageType=zfs", code=1)
    lines = done.stderr.splitlines()
    assert [line.split(": ")[:3] for line in lines] == [["dtcxen", "setupVPSDisk", name] for name in ("vps", "diskSizeMib", "swapSizeMib", "imageType")]
    assert all("expected" in line for line in lines) and not done.stdout


def test_other_faults_are_told_as_text(node: Node) -> None:
    assert call(node, "getJob", "job=999", code=1).stderr == "dtcxen: getJob: there is no job 999\n"
    password = node.directory / "wrong"
    password.write_text("wrong\n")
    assert "Authorization failed" in call(node, "testVPSServer", "--password-file", password, code=1).stderr


def test_a_daemon_that_is_not_there_or_not_trusted_is_3(node: Node) -> None:
    (node.directory / "p").write_text(node.password + "\n")
    with_password = ("--password-file", node.directory / "p")
    assert "not to be trusted" in dtcxen("call", "--url", node.url, *with_password, "testVPSServer", code=3).stderr
    closed = dtcxen("call", "--url", "https://127.0.0.1:1/", *with_password, "testVPSServer", code=3).stderr
    assert closed == "dtcxen: https://127.0.0.1:1/ cannot be reached: Connection refused; is the daemon running?\n"
    assert "cannot be reached" in dtcxen("call", "--url", "https://no-such-host.invalid/", *with_password, "testVPSServer", code=3).stderr


def test_an_answer_as_json_holds_what_the_wsdl_promises(node: Node) -> None:
    assert json.loads(call(node, "listJobs", "limit=1", "--json").stdout)["jobs"][:1] != []
    assert json.loads(call(node, "listInstallableOS", "--json").stdout) == {"names": []}
