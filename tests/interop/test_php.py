"""PHP's SoapClient over TLS: through the WSDL, and as the panel's kind of client without one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap.operations import forms
from tests.interop.served import Served
from tests.wirekit import ADMIN, PASSWORD, SAMPLES

SCRIPT = Path(__file__).with_name("soapclient.php")


pytestmark = [pytest.mark.machine, pytest.mark.debian13]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"), auth_failure_delay_ms=10)
    yield made
    made.close()


def call(served: Served, mode: str, operation: str, /, sign_in: str = PASSWORD, **parameters: Any) -> Any:
    done = subprocess.run(["php", str(SCRIPT), served.url, str(served.certificate), ADMIN, sign_in, mode, operation, json.dumps(parameters or {}, default=str)],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith("{"), done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("form", forms(rpc=False), ids=lambda form: form.name)
def test_every_operation_through_the_wsdl(form: Any, served: Served) -> None:
    answer = call(served, "wsdl", form.name, **{item.name(form.old): SAMPLES[item.type.name] for item in form.parameters if not item.rpc_only})
    assert "result" in answer, answer


def test_values_are_typed_through_the_wsdl(served: Served) -> None:
    state = call(served, "wsdl", "getVPSState", vps="01")["result"]
    assert state == {"vps": "01", "state": "running", "domid": 3, "maxMemoryMib": 128, "vcpus": 1, "domuState": "-b----", "cpuSeconds": 51.5}
    assert [iso["sizeBytes"] for iso in call(served, "wsdl", "listISOs", vps="01")["result"]["isos"]] == [5 << 30, 4096]


def test_old_names_without_a_wsdl_get_the_old_shapes(served: Served) -> None:
    assert call(served, "plain", "getInstallableOS")["result"] == ["centos", "netbsd"]
    assert call(served, "plain", "getVPSState", vpsname="xen01")["result"][:3] == ["domain", ["id", "xen01"], ["domid", 3]]
    assert call(served, "plain", "killVPS", vpsname="01")["result"] is None
    install = {"vpsname": "01", "ostype": "debian", "ramsize": "128", "password": "pä€ß&<", "nics": ["192.0.2.10,255.255.255.0", "192.0.2.11,255.255.255.0"]}
    assert call(served, "plain", "reinstallVPSos", **install)["result"] == "OK, started mkos."


@pytest.mark.parametrize("mode", ["wsdl", "plain"])
def test_faults_are_read_in_both(served: Served, mode: str) -> None:
    fault = call(served, mode, "setupLVMDisks", vpsname="01", hddsize="3", swapsize="x" if mode == "plain" else "0")
    assert fault["code"] == "SOAP-ENV:Client.InvalidParameter" and fault["text"].startswith("setupLVMDisks: hddsize: '3': too small")
    told = fault["detail"]["faults"]["fault"]
    assert [item["parameter"] for item in (told if isinstance(told, list) else [told])][0] == "hddsize"
    assert call(served, mode, "testVPSServer", sign_in="wrong")["text"] == "Authorization failed."


def test_phps_false_is_no_number(served: Served) -> None:
    fault = call(served, "plain", "setupLVMDisks", vpsname="01", hddsize=False, swapsize=0)
    assert "hddsize: a boolean where a text or number is expected" in fault["text"]
    assert "NilParameter" in call(served, "plain", "setupLVMDisks", vpsname=None, hddsize=1024, swapsize=0)["code"]
