"""RPM systems really installed: from a signed repository of our own, by the dnf of Debian 13, onto real disks.

What is shown is a small busybox system that chroots, not that a distribution boots: no mirror of one is at hand.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from passlib.hash import sha512_crypt

from tests.node import Node
from tests.rpms import EXTRA, SYSTEM, Workshop

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.debian13]
PASSWORD = "p4ss $(id) word"
INSTALL = {"vps": "01", "ramSizeMib": 256, "password": PASSWORD, "nics": "192.0.2.10/24", "gateway": "192.0.2.1", "dns": "192.0.2.53", "hostname": "mail.example.org"}
HOST = ("/root/.rpmdb", "/var/lib/rpm", "/var/lib/dnf", "/var/cache/dnf", "/var/log/dnf.log", "/var/log/hawkey.log", "/etc/pki")
"""Where dnf and rpm leave their traces on a node, if one lets them."""


def traces() -> dict[str, Any]:
    """What is at those places: every file with its time."""
    return {place: sorted((str(path), path.lstat().st_mtime_ns) for path in (Path(place), *Path(place).rglob("*")) if path.exists()) for place in HOST}


@pytest.fixture(scope="module")
def devices() -> Iterator[None]:
    """Loop devices, which the chroot's own /dev has not; the mount is private to this run of the tests."""
    subprocess.run(["mount", "-t", "devtmpfs", "dev", "/dev"], check=True)
    yield
    subprocess.run(["umount", "--lazy", "/dev"], check=True)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    made = Workshop(tmp_path_factory.mktemp("rpms"))
    made.repository("good", SYSTEM, EXTRA, metadata_signed="mine")
    made.repository("unsigned", SYSTEM, signed="")
    made.repository("others", SYSTEM, signed="others")
    made.repository("half", SYSTEM)
    yield made
    made.end()


@pytest.fixture(scope="module")
def served(workshop: Workshop) -> Iterator[str]:
    """The repositories over HTTP on the loopback; the address."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(workshop.directory / "repositories"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, devices: None) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("rpm") / "node", centos_added_rpms=EXTRA) as made:
        yield made


def describe(node: Node, workshop: Workshop, name: str, where: str, key: str = "mine", packages: str = SYSTEM, more: str = "", repository: str = "") -> None:
    folder = Path(node.settings.os_types_dir)
    folder.mkdir(exist_ok=True, mode=0o755)
    (folder / f"{name}.toml").write_text(
        f'installer = "dnf"\nreleasever = "9"\npackages = ["{packages}"]\n{more}\n[[repositories]]\nname = "base"\n'
        f'baseurl = "{where}"\ngpgkey = "{workshop.key(key)}"\n{repository}')
    (folder / f"{name}.toml").chmod(0o644)


def install(node: Node, name: str, **changed: Any) -> Any:
    return node.wait(node.client().reinstallOS(osType=name, **INSTALL | changed).job)


@contextmanager
def inside(node: Node) -> Iterator[Path]:
    """The root disk of VPS 01, mounted read-only."""
    at = node.directory / "look"
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop,ro,noload", f"{node.settings.provisioning_mount_point}/xen01.img", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def digest(node: Node) -> str:
    with open(f"{node.settings.provisioning_mount_point}/xen01.img", "rb") as disk:
        return hashlib.file_digest(disk, "sha256").hexdigest()


@pytest.fixture(scope="module")
def centos(node: Node, workshop: Workshop, served: str) -> tuple[Node, str, dict[str, Any]]:
    """The node with that system on VPS 01, the log of its installation, and the traces that were there before."""
    describe(node, workshop, "centos", f"{served}/good", repository="repo_gpgcheck = true\n")
    before = traces()
    client = node.client()
    client.setupVPSDisk(vps="01", diskSizeMib=128, swapSizeMib=64, imageType="vbd")
    record = install(node, "centos")
    assert record.state == "done", record.reason + node.job_log(record.id)
    return node, node.job_log(record.id), before


def test_it_is_offered(centos: Any) -> None:
    node, _, _ = centos
    assert "centos" in node.client().listInstallableOS()


def test_the_tree_is_that_system_finished_for_this_vps(centos: Any) -> None:
    node, log, _ = centos
    with inside(node) as tree:
        said = subprocess.run(["chroot", str(tree), "/bin/sh", "-c", "cat /etc/redhat-release"], capture_output=True, text=True)
        assert said.stdout == "CentOS release 9 (Test)\n", said
        assert (tree / "etc/small-extra").read_text() == "extra\n", "centos_added_rpms"
        assert sha512_crypt.verify(PASSWORD, (tree / "etc/shadow").read_text().split(":")[1])
        card = (tree / "etc/sysconfig/network-scripts/ifcfg-eth0").read_text()
        assert "192.0.2.10" in card and "/dev/xvda" in (tree / "etc/fstab").read_text() and "mail.example.org" in (tree / "etc/hosts").read_text()
        assert (tree / "etc/post-install").read_text() == "character special file\nproc\n", "scriptlets had /dev and /proc"
        assert not list((tree / "dev").iterdir()) and not list((tree / "proc").iterdir()), "and left nothing there"
    assert PASSWORD not in log and "Complete!" in log


def test_its_database_is_where_the_system_looks_and_holds_one_key(centos: Any) -> None:
    node, _, _ = centos
    with inside(node) as tree:
        asked = node.directory / "asked"
        subprocess.run(["cp", "-r", str(tree / "var/lib/rpm"), str(asked)], check=True)
        assert not (tree / "root/.rpmdb").exists()
        assert not list((tree / "var/cache/dnf").rglob("*.rpm")) and not list((tree / "var/cache/dnf").rglob("repomd.xml"))
    listed = subprocess.run(["rpm", "--dbpath", str(asked), "-qa"], capture_output=True, text=True, check=True).stdout.split()
    assert sorted(name.rpartition("-")[0].rpartition("-")[0] for name in listed) == ["gpg-pubkey", EXTRA, SYSTEM], listed


def test_the_node_has_no_trace_of_it(centos: Any) -> None:
    node, _, before = centos
    assert traces() == before and node.leftovers() == []
    dnf = Path(node.settings.os_store_dir) / "dnf"
    assert [sorted(path.name for path in home.iterdir()) for home in dnf.iterdir()] == [[".rpmmacros", "dnf.conf"]], "nor does its home grow"


@pytest.mark.parametrize(("name", "words"), [("unsigned", "is not signed"), ("others", "GPG"), ("altered", "rror")])
def test_what_is_not_rightly_signed_is_not_installed_and_the_old_system_stays(centos: Any, workshop: Workshop, name: str, words: str) -> None:
    node, _, _ = centos
    folder = workshop.directory / "repositories" / name
    if name == "altered":
        workshop.repository(name, SYSTEM)
        (package,) = folder.glob("*.rpm")
        data = bytearray(package.read_bytes())
        data[-2000] ^= 1
        package.write_bytes(data)
    describe(node, workshop, name, f"file://{folder}")
    before = digest(node)
    record = install(node, name)
    assert record.state == "failed" and words in record.reason, record.reason + node.job_log(record.id)
    assert digest(node) == before and node.leftovers() == []
    assert sorted(path.name for path in Path(node.settings.provisioning_mount_point).glob("xen01*")) == ["xen01.img", "xen01.swap.img"]


def test_unsigned_metadata_is_refused_where_the_description_wants_it_signed(centos: Any, workshop: Workshop) -> None:
    node, _, _ = centos
    describe(node, workshop, "half", f"file://{workshop.directory}/repositories/half", repository="repo_gpgcheck = true\n")
    before = digest(node)
    record = install(node, "half")
    assert record.state == "failed" and "repo" in record.reason, record.reason
    assert digest(node) == before and node.leftovers() == []


def test_no_repository_of_the_node_is_asked(centos: Any, workshop: Workshop) -> None:
    """The node has one with the package that the description's has not, trusted by the same key."""
    node, _, _ = centos
    describe(node, workshop, "lacking", f"file://{workshop.directory}/repositories/half", packages=EXTRA)
    repositories, file = Path("/etc/yum.repos.d"), Path("/etc/yum.repos.d/node.repo")
    repositories.mkdir(exist_ok=True)
    file.write_text(f"[node]\nname=node\nbaseurl=file://{workshop.directory}/repositories/good\ngpgkey=file://{workshop.key('mine')}\ngpgcheck=1\n")
    try:
        record = install(node, "lacking")
    finally:
        file.unlink()
        repositories.rmdir()
    assert record.state == "failed" and f"Unable to find a match: {EXTRA}" in record.reason, record.reason + node.job_log(record.id)


def test_a_key_that_is_not_there_is_told_before_anything_is_touched(centos: Any, workshop: Workshop, served: str) -> None:
    node, _, _ = centos
    describe(node, workshop, "keyless", f"{served}/good", key="nobodys")
    with pytest.raises(Exception, match=r"nobodys\.asc: No such file"):
        node.client().reinstallOS(osType="keyless", **INSTALL)


def test_a_server_that_says_nothing_more_ends_in_a_failure(centos: Any, workshop: Workshop) -> None:
    node, _, _ = centos
    describe(node, workshop, "gone", "http://127.0.0.1:1/")
    record = install(node, "gone")
    assert record.state == "failed" and "base" in record.reason, record.reason
