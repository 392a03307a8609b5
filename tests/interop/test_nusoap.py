"""The panel's own client library, unmodified (Debian 13's runs on PHP 8), over TLS."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap import answers
from tests.interop.served import Served
from tests.wirekit import ADMIN, ANSWERS, PASSWORD

SCRIPT = Path(__file__).with_name("nusoap.php")
pytestmark = [pytest.mark.machine, pytest.mark.debian13]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"), auth_failure_delay_ms=10)
    yield made
    made.close()


def call(served: Served, operation: str, /, sign_in: str = PASSWORD, **parameters: Any) -> tuple[Any, Any]:
    """The panel's two results: the reply, and getError()."""
    done = subprocess.run(["php", "-d", f"openssl.cafile={served.certificate}", str(SCRIPT), served.url, ADMIN, sign_in, operation, json.dumps(parameters)],
                          capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    made = json.loads(done.stdout)
    return made["result"], made["error"]


def test_menus_are_plain_lists_of_any_length(served: Served) -> None:
    assert call(served, "getInstallableOS") == (["centos", "netbsd"], False)
    assert call(served, "reportInstalledIso", vpsname="xen01") == (["a.iso", "b.ISO"], False)
    usual = served.engine.outcome
    for names in ((), ("one",)):
        served.engine.outcome = lambda call, names=names: answers.InstallableOs(names)
        assert call(served, "getInstallableOS") == (list(names), False)
    served.engine.outcome = usual


def test_the_state_fills_the_panels_screen(served: Served) -> None:
    (*state, cpu), error = call(served, "getVPSState", vpsname="xen01")
    assert not error and state == ["domain", ["id", "xen01"], ["domid", 3], ["maxmem", 128], ["vcpus", 1], ["state", "-b----"]]
    assert cpu[0] == "cpuseconds" and float(cpu[1]) == 51.5


def test_words_are_words(served: Served) -> None:
    assert call(served, "testVPSServer") == ("OK", False)
    assert call(served, "setupLVMDisks", vpsname="01", hddsize="1024", swapsize="128", imagetype="vbd") == ("OK", False)
    assert call(served, "killVPS", vpsname="01") == (None, False)
    log, error = call(served, "getVPSInstallLog", vpsname="01", numlines="20")
    assert (log, error) == ("line 1\n\nline 2 <x> & y   [0m\n", False)


def test_both_forms_of_an_installation_start_a_job(served: Served) -> None:
    form = {"vpsname": "01", "ostype": "debian", "ramsize": "128", "password": "r00tPass"}
    nics = "192.0.2.10,255.255.255.0,192.0.2.255+192.0.2.11,255.255.255.0,192.0.2.255"
    assert call(served, "reinstallVPSos", **form, nics=nics, gateway="192.0.2.1", dns="192.0.2.53")[0] == "OK, started mkos."
    assert call(served, "reinstallVPSos", **form, hddsize="1024", ipaddr="192.0.2.10")[0] == "OK, started mkos."
    assert call(served, "reinstallVPSos", **form, nics=nics, gateway=None, dns=None)[0] == "OK, started mkos."


def test_errors_are_read(served: Served) -> None:
    assert call(served, "setupLVMDisks", vpsname=None, hddsize="1024", swapsize="1")[1].startswith("SOAP-ENV:Client.NilParameter: setupLVMDisks: vpsname: null")
    assert call(served, "noSuchOperation")[1].startswith("SOAP-ENV:Client.UnknownOperation: noSuchOperation: unknown operation")
    assert call(served, "testVPSServer", "wrong")[1] == "SOAP-ENV:Client.Authentication: Authorization failed."


def test_new_names_are_arrays_of_structs(served: Served) -> None:
    rows, error = call(served, "listJobs")
    assert not error and [row["id"] for row in rows] == [7, 6] and rows[0]["stepName"] == ANSWERS[answers.Job].step_name
    rows, error = call(served, "pingAllIPs", timeoutMs="1000")
    assert not error and rows[0]["address"] == "192.0.2.10" and rows[0]["answered"] is True and rows[1]["rttMs"] is None
