"""SOAP::Lite over TLS: RPC/encoded, credentials only after a challenge, texts beyond ASCII as base64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dtcxen_soap.operations import Form, forms
from tests.interop.clients import as_text, encoded, meant, outcomes, through
from tests.interop.served import Served
from tests.wirekit import ADMIN, PASSWORD

pytestmark = [pytest.mark.machine, pytest.mark.debian13]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"), auth_failure_delay_ms=10)
    yield made
    made.close()


def called(served: Served, *calls: tuple[str, dict[str, Any]], sign_in: str = PASSWORD) -> list[dict[str, Any]]:
    return outcomes("soaplite.pl", calls, url=served.url, certificate=str(served.certificate), user=ADMIN, password=sign_in)


@pytest.fixture(scope="module")
def replies(served: Served) -> dict[str, Any]:
    """What SOAP::Lite makes of every operation's reply, and what we made of its request."""
    return through(served, forms(rpc=True), lambda calls: called(served, *calls))


@pytest.mark.parametrize("form", forms(rpc=True), ids=lambda form: form.name)
def test_every_operation_is_answered_in_a_shape_that_it_reads(form: Form, served: Served, replies: dict[str, Any]) -> None:
    told, request = replies[form.name]
    assert as_text(told) == {"result": as_text(encoded(form))}
    assert request == meant(served, form, rpc=True)


def test_texts_beyond_ascii_arrive(served: Served) -> None:
    install = {"vpsname": "01", "ostype": "debian", "ramsize": "128", "password": "p\u00e4\u20ac&<", "nics": "192.0.2.10,255.255.255.0"}
    assert called(served, ("reinstallVPSos", install)) == [{"result": "OK, started mkos."}]


def test_faults_and_null_are_read(served: Served) -> None:
    null, shifted = called(
        served, ("setupLVMDisks", {"vpsname": None, "hddsize": "1024", "swapsize": "1"}), ("setupLVMDisks", {"vpsname": "", "hddsize": "30000", "swapsize": "512"}))
    assert null["code"] == "SOAP-ENV:Client.NilParameter" and null["text"].startswith("setupLVMDisks: vpsname: null")
    assert shifted["code"] == "SOAP-ENV:Client.InvalidParameter" and shifted["detail"]["faults"]["fault"]["parameter"] == "vpsname"
    assert called(served, ("testVPSServer", {}), sign_in="wrong")[0]["text"] == "Authorization failed."
