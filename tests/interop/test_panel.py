"""A VPS's life as the panel and as a PHP programmer lead it: real clients from Debian 13, the real daemon, a bundle really installed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap.survey.isos import SIGNATURE, SIGNATURE_AT
from tests.bundles import make_bundle
from tests.interop.clients import outcomes
from tests.node import Node

pytestmark = [pytest.mark.root, pytest.mark.slow]
NICS = "192.0.2.10,255.255.255.0,192.0.2.255+192.0.2.11,255.255.255.0,192.0.2.255"
SECRET = "Sesam0effneDich"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = Node(tmp_path_factory.mktemp("panel") / "node")
    bundle = make_bundle(Path(made.settings.os_dir) / "stacklet")
    script = bundle / "custom_os"
    script.write_text(script.read_text().replace("\nexit 0\n", "\nsleep 2\nexit 0\n"))
    with made:
        yield made


class Client:
    """One of the PHP scripts, in the chroot, against the node."""

    def __init__(self, node: Node, debian13: Any, script: str, **more: str) -> None:
        self._script, self._given = script, {"url": node.url, "user": "dtc-xen", "password": node.password, "certificate": node.settings.tls_certificate, **more}
        self._command = lambda name: debian13.command(["php", f"/mnt/tests/interop/{name}"], bind=node.directory)

    def told(self, operation: str, **parameters: Any) -> dict[str, Any]:
        (told,) = outcomes(self._script, [(operation, parameters)], self._command, **self._given)
        return told


class Panel(Client):
    """nusoap; an error fails the test."""

    def __call__(self, operation: str, **parameters: Any) -> Any:
        told = self.told(operation, **parameters)
        assert told["error"] is False, told
        return told["result"]


class Programmer(Client):
    """SoapClient with the WSDL; a fault fails the test."""

    def __call__(self, operation: str, **parameters: Any) -> Any:
        return self.told(operation, **parameters)["result"]


def until_installed(panel: Panel, vpsname: str, seconds: float = 60) -> list[Any]:
    """Poll as the panel does; every state that it saw."""
    seen = []
    deadline = time.monotonic() + seconds
    while not seen or seen[-1] == "mkos":
        assert time.monotonic() < deadline, seen
        seen.append(panel("getVPSState", vpsname=vpsname))
        assert isinstance(panel("getVPSInstallLog", vpsname=vpsname, numlines="20"), str)
    return seen


def test_the_panel_sells_reinstalls_and_deletes_a_vps(node: Node, debian13: Any) -> None:
    panel = Panel(node, debian13, "nusoap.php")
    assert panel("getInstallableOS") == ["stacklet"] and panel("reportInstalledIso", vpsname="xen01") == []
    disk = {"vpsname": "01", "hddsize": "128", "swapsize": "64", "imagetype": "vbd"}
    assert panel("setupLVMDisks", **disk) == "OK"
    assert "has no installation log" in panel.told("getVPSInstallLog", vpsname="01", numlines="20")["error"]
    form = {"vpsname": "01", "ostype": "stacklet", "ramsize": "128", "password": SECRET}
    for more in ({"hddsize": "128", "ipaddr": "192.0.2.10"}, {"nics": NICS, "gateway": "192.0.2.1", "dns": "192.0.2.53,192.0.2.54"}):
        assert panel("reinstallVPSos", **form, **more) == "OK, started mkos."
        assert panel("getVPSState", vpsname="xen01") == "mkos"
        refused = panel.told("reinstallVPSos", **form, **more)["error"]
        assert refused.startswith("SOAP-ENV:Client.Busy: reinstallVPSos: VPS 01 is held by job ")
        assert until_installed(panel, "xen01")[-1] == "Not running"
    log = panel("getVPSInstallLog", vpsname="01", numlines="0")
    assert "stacklet" in log and SECRET not in log
    home = Path(node.settings.ttyssh_home) / "xen01/iso"
    home.mkdir(parents=True, exist_ok=True)
    (home / "netinst.iso").write_bytes((bytes(SIGNATURE_AT) + SIGNATURE).ljust(65536, b"\0"))
    assert panel("reportInstalledIso", vpsname="xen01") == ["netinst.iso"]
    for _ in range(2):
        assert panel("killVPS", vpsname="01", imagetype="vbd") is None
    assert not list(Path(node.settings.provisioning_mount_point).glob("xen01*img")) and node.leftovers() == []


def test_the_shift_that_made_a_volume_called_30000_is_refused(node: Node, debian13: Any) -> None:
    """The panel's database had no name for the VPS: every parameter moved one place to the left."""
    images = Path(node.settings.provisioning_mount_point)
    before = sorted(images.iterdir())
    told = Panel(node, debian13, "nusoap.php").told("setupLVMDisks", vpsname="", hddsize="30000", swapsize="512", imagetype="lvm")
    assert told["error"].startswith("SOAP-ENV:Client.InvalidParameter: setupLVMDisks: vpsname: ''")
    told = Panel(node, debian13, "nusoap.php").told("setupLVMDisks", vpsname="30000", hddsize="512", swapsize="lvm")
    assert "setupLVMDisks: vpsname: '30000'" in told["error"] and "setupLVMDisks: swapsize: 'lvm'" in told["error"]
    assert sorted(images.iterdir()) == before


def test_a_php_programmer_follows_a_job_through_the_wsdl(node: Node, debian13: Any) -> None:
    call = Programmer(node, debian13, "soapclient.php", mode="wsdl")
    made = call("setupVPSDisk", vps="02", diskSizeMib=128, swapSizeMib=64, imageType="vbd")
    assert made["created"] is True and len(made["disks"]) == 2
    assert call("setupVPSDisk", vps="02", diskSizeMib=128, swapSizeMib=64, imageType="vbd") == {**made, "created": False}
    install = {"vps": "02", "osType": "stacklet", "ramSizeMib": 128, "password": "pä€ß&< 'x\"", "nics": "192.0.2.12/24", "gateway": "192.0.2.1", "dns": "192.0.2.53"}
    plan = call("reinstallOS", **install, planOnly=True)
    assert "job" not in plan and any("install_os" in line for line in plan["plan"])
    job = call("reinstallOS", **install)["job"]
    deadline = time.monotonic() + 60
    while (record := call("getJob", job=job))["state"] in ("queued", "running"):
        assert time.monotonic() < deadline
    assert record["state"] == "done" and record["percent"] == 100 and record["step"] == record["steps"], record
    assert [row["id"] for row in call("listJobs", vps="02")["jobs"]][0] == job
    assert call("getVPSState", vps="02") == {"vps": "02", "state": "Not running"}
    (ping,) = [row for row in call("pingAllIPs", timeoutMs=200)["pings"] if row["vps"] == "02"]
    assert ping == {"vps": "02", "address": "192.0.2.12", "answered": False, "lossPercent": 100}
    assert len(call("killVPSDisk", vps="02")["removed"]) == 2
    assert "removed" not in call("killVPSDisk", vps="02")
