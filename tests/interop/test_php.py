"""PHP's SoapClient over TLS: through the WSDL, and as the panel's kind of client without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dtcxen_soap.operations import Form, forms
from tests.interop.clients import encoded, meant, outcomes, shape, through, without_absent
from tests.interop.served import Served
from tests.wirekit import ADMIN, ANSWERS, PASSWORD

pytestmark = [pytest.mark.machine, pytest.mark.debian13]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"), auth_failure_delay_ms=10)
    yield made
    made.close()


def called(served: Served, mode: str, *calls: tuple[str, dict[str, Any]], sign_in: str = PASSWORD) -> list[dict[str, Any]]:
    return outcomes("soapclient.php", calls, url=served.url, certificate=str(served.certificate), user=ADMIN, password=sign_in, mode=mode)


def call(served: Served, mode: str, operation: str, /, sign_in: str = PASSWORD, **parameters: Any) -> Any:
    (told,) = called(served, mode, (operation, parameters), sign_in=sign_in)
    return told


@pytest.fixture(scope="module")
def literal(served: Served) -> dict[str, Any]:
    """What SoapClient makes of every operation's reply through the WSDL, and what we made of its request."""
    return through(served, forms(rpc=False), lambda calls: called(served, "wsdl", *calls))


@pytest.fixture(scope="module")
def plain(served: Served) -> dict[str, Any]:
    """The same without a WSDL."""
    return through(served, forms(rpc=True), lambda calls: called(served, "plain", *calls))


@pytest.mark.parametrize("form", forms(rpc=False), ids=lambda form: form.name)
def test_every_operation_through_the_wsdl(form: Form, served: Served, literal: dict[str, Any]) -> None:
    assert literal[form.name] == ({"result": without_absent(shape(ANSWERS[form.operation.answer]))}, meant(served, form, rpc=False))


@pytest.mark.parametrize("form", forms(rpc=True), ids=lambda form: form.name)
def test_every_operation_without_a_wsdl(form: Form, served: Served, plain: dict[str, Any]) -> None:
    assert plain[form.name] == ({"result": encoded(form)}, meant(served, form, rpc=True))


def test_several_nics_may_be_an_array(served: Served) -> None:
    install = {"vpsname": "01", "ostype": "debian", "ramsize": "128", "password": "pä€ß&<", "nics": ["192.0.2.10,255.255.255.0", "192.0.2.11,255.255.255.0"]}
    assert call(served, "plain", "reinstallVPSos", **install) == {"result": "OK, started mkos."}


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


def test_a_certificate_that_is_not_trusted_ends_the_call(served: Served) -> None:
    told = outcomes("soapclient.php", [("testVPSServer", {})], url=served.url, certificate="/etc/ssl/certs/ca-certificates.crt", user=ADMIN,
                    password=PASSWORD, mode="plain")
    assert told[0]["text"] == "Could not connect to host"
