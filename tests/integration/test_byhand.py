"""manual, netbsd and xenhvm on a real node: real disks and files, the panel's own words, and what getVPSState and the job say afterwards."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zeep.exceptions

from dtcxen_soap.vps import BootMode
from dtcxen_soap.xen import config
from tests.bundles import make_bundle
from tests.integration.test_hvm import HvmNode
from tests.node import Node

pytestmark = [pytest.mark.root, pytest.mark.slow]
RECORDED = Path(__file__).parents[1] / "data/wire/requests/nusoap/reinstallVPSos.http"
WORDS = {"vps": "01", "ramSizeMib": 64, "password": "hunter2hunter2", "nics": "192.0.2.10/24", "gateway": "192.0.2.1", "dns": "192.0.2.53"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    top = tmp_path_factory.mktemp("byhand")
    kernel = top / "netbsd-INSTALL_XEN3_DOMU.gz"
    kernel.write_bytes(b"\x1f\x8b")
    with Node(top / "node", toolstack="none", bsd_install_kernel_path=str(kernel)) as made:
        (Path(made.settings.os_dir) / "manual").mkdir(parents=True)
        yield made


@pytest.fixture(autouse=True)
def disk(request: pytest.FixtureRequest) -> Iterator[None]:
    """A VPS 01 that was never used, for each test on the node."""
    if "node" in request.fixturenames:
        client = request.getfixturevalue("node").client()
        client.setupVPSDisk(vps="01", diskSizeMib=128, swapSizeMib=64, imageType="vbd")
        yield
        client.killVPSDisk(vps="01")
    else:
        yield


def image(node: Node, name: str = "xen01.img") -> Path:
    return Path(node.settings.provisioning_mount_point) / name


def kind(path: Path) -> str:
    """What blkid finds on a disk, "" for nothing."""
    return subprocess.run(["blkid", "-p", "-o", "value", "-s", "TYPE", str(path)], capture_output=True, text=True).stdout.strip()


def configured(node: Node) -> config.DomuConfig:
    return config.parse((Path(node.settings.xen_config_dir) / "xen01").read_text())


def install(node: Node, os_type: str, **changed: Any) -> Any:
    return node.wait(node.client().reinstallOS(**{**WORDS, "osType": os_type, **changed}).job)


def panel(node: Node, os_type: str) -> str:
    """reinstallVPSos byte for byte as the panel's client was recorded, but for the OS type and who signs in; the reply's text."""
    body = RECORDED.read_bytes().partition(b"\r\n\r\n")[2] or RECORDED.read_bytes().partition(b"\n\n")[2]
    changed = body.replace(b">debian</ostype>", f">{os_type}</ostype>".encode())
    assert changed != body
    headers = {"Content-Type": "text/xml; charset=ISO-8859-1", "SOAPAction": '""'}
    reply = node.session().post(node.url, data=changed, headers=headers, timeout=30)
    return str(reply.text)


def latest(node: Node) -> Any:
    return node.wait(node.client().listJobs(vps="01")[0].id)


def test_the_panels_netbsd_is_told_as_what_it_is(node: Node) -> None:
    before = image(node).stat()
    assert "OK, started mkos." in panel(node, "netbsd")
    record = latest(node)
    assert record.state == "done" and record.reason.startswith("nothing was installed: xen01 boots ") and "changeBSDkernel" in record.reason
    found = configured(node)
    assert (found.kernel, found.boot, found.memory) == (node.settings.bsd_install_kernel_path, BootMode.NETBSD, 128)
    assert [str(address) for address in found.addresses] == ["192.0.2.10", "192.0.2.11"] and found.paths == (str(image(node)), str(image(node, "xen01.swap.img")))
    assert node.client().getVPSState(vps="01").state == "Not running"
    assert "nothing was installed" in node.client().getVPSInstallLog(vps="01") and "r00tPass" not in node.job_log(record.id)
    assert image(node).stat() == before and kind(image(node)) == "" and node.leftovers() == []


def test_the_panels_manual_gets_empty_file_systems_and_no_mount(node: Node) -> None:
    assert "OK, started mkos." in panel(node, "manual")
    record = latest(node)
    assert record.state == "done" and "has an empty ext4 file system, not mounted" in record.reason, record.reason
    assert (kind(image(node)), kind(image(node, "xen01.swap.img"))) == ("ext4", "swap") and node.leftovers() == []
    listing = subprocess.run(["debugfs", "-R", "ls -p /", str(image(node))], capture_output=True, text=True).stdout
    assert set(re.findall(r"/([^/\s]+)/[^/]*/\n", listing)) == {".", "..", "lost+found"}, listing
    assert configured(node).memory == 128 and not (Path(node.settings.xen_config_dir) / "auto/xen01").exists()
    assert node.client().getVPSState(vps="01").state == "Not running"


def test_a_system_outlives_all_of_it(node: Node) -> None:
    make_bundle(Path(node.settings.os_dir) / "old-style-2010")
    assert install(node, "old-style-2010").state == "done"
    digest, text = image(node).read_bytes(), (Path(node.settings.xen_config_dir) / "xen01").read_text()
    record = install(node, "manual", ramSizeMib=96)
    assert record.state == "done" and "was used, so it is not touched" in record.reason
    assert image(node).read_bytes() == digest and (Path(node.settings.xen_config_dir) / "xen01").read_text() == text
    record = install(node, "netbsd")
    assert record.state == "done" and "is not touched: what is on it stays" in node.job_log(record.id)
    assert image(node).read_bytes() == digest and configured(node).boot is BootMode.NETBSD
    assert (Path(node.settings.xen_config_dir) / "xen01.previous").read_text() == text, "for the way back"


def test_refusals_name_the_parameter_before_anything_is_done(node: Node) -> None:
    for os_type, words, text in (
            ("xenhvm", {}, "osType: xenhvm: this node cannot run HVM guests"), ("netbsd", {"bootMode": "direct"}, "bootMode: it has no effect with netbsd"),
            ("manual", {"hostname": "a.example.net", "userData": "#!/bin/sh\ntrue\n"}, "hostname: it has no effect .*userData: it has no effect"),
            ("manual", {"start": True}, "start: it has no effect with manual"), ("netbsd", {"start": True}, "runs no domUs")):
        with pytest.raises(zeep.exceptions.Fault, match=text):
            node.client().reinstallOS(**{**WORDS, "osType": os_type, **words})
    assert "ostype: xenhvm: this node cannot run HVM guests" in panel(node, "xenhvm")
    assert not (Path(node.settings.xen_config_dir) / "xen01").exists() and kind(image(node)) == ""


def test_names_that_are_taken_and_the_menu(node: Node) -> None:
    bundle = make_bundle(Path(node.settings.os_dir) / "netbsd")
    described = Path(node.settings.os_types_dir) / "xenhvm.toml"
    described.parent.mkdir(exist_ok=True)
    described.write_text('installer = "bundle"\nurl = "file:///a.tar"\nsha256 = "' + "0" * 64 + '"\n')
    try:
        listed = node.client().listInstallableOS()
        assert "manual" in listed and "netbsd" not in listed and "xenhvm" not in listed
        for os_type in ("netbsd", "xenhvm"):
            with pytest.raises(zeep.exceptions.Fault, match=f"{os_type} is built in, and installs nothing: choose another name"):
                node.client().reinstallOS(**{**WORDS, "osType": os_type})
    finally:
        subprocess.run(["rm", "-r", str(bundle), str(described)], check=True)


def test_planned_only_nothing_is_done(node: Node) -> None:
    answer = node.client().reinstallOS(**{**WORDS, "osType": "manual", "planOnly": True})
    assert answer.job is None and any("mkfs.ext4" in line for line in answer.plan) and kind(image(node)) == ""


def test_an_hvm_guest_is_configured_where_the_node_can(tmp_path: Path) -> None:
    made = HvmNode(tmp_path)
    try:
        made.call("setupVPSDisk", vps="50", diskSizeMib="64", swapSizeMib="0")
        job = made.call("reinstallOS", vps="50", osType="xenhvm", ramSizeMib="256", password="hunter2hunter2", nics="192.0.2.10/24", gateway="192.0.2.1", dns="192.0.2.53").job
        made.wait(job)
        record = made.call("getJob", job=str(job))
        assert record.state == "done" and record.reason.startswith("nothing was installed: xen50 boots its disk as an HVM guest with an empty CD drive"), record.reason
        found = config.parse(made.configuration.read_text())
        assert (found.boot, found.paths, found.memory) == (BootMode.HVM, (f"{made.top}/mnt/xen50.img",), 256)
        assert made.call("getVPSState", vps="50").state == "Not running" and f"{made.top}/screens/xen50.vnc" in made.configuration.read_text()
    finally:
        made.end()
