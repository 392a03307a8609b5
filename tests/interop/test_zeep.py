"""zeep, a client that believes the WSDL, over TLS."""

from __future__ import annotations

import dataclasses
import http.client
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import zeep
from lxml import etree

from dtcxen_soap import answers
from dtcxen_soap.operations import forms
from dtcxen_soap.wire.xmlnames import camel, scrub
from tests.interop.clients import asked, meant
from tests.interop.served import Served
from tests.wirekit import ADMIN, ANSWERS, NOON, PASSWORD, SAMPLES, request, xml

pytestmark = pytest.mark.machine


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"), auth_failure_delay_ms=300, max_body_kib=64)
    yield made
    made.close()


def client(served: Served, user: str = ADMIN, password: str = PASSWORD) -> Any:
    session = requests.Session()
    session.verify, session.auth, session.trust_env = str(served.certificate), (user, password), False
    return zeep.Client(f"{served.url}?wsdl", transport=zeep.Transport(session=session))


@pytest.fixture(scope="module")
def admin(served: Served) -> Any:
    return client(served)


@pytest.mark.parametrize("form", forms(rpc=False), ids=lambda form: form.name)
def test_every_operation_is_called_and_answered(form: Any, served: Served, admin: Any) -> None:
    values = {item.name(form.old): SAMPLES[item.type.name] for item in form.parameters if not item.rpc_only}
    typed = {name: text == "true" if text == "true" else int(text) if text.strip().isdigit() else text for name, text in values.items()}
    answer = ANSWERS[form.operation.answer]
    names = [item.name for item in dataclasses.fields(answer)]
    served.engine.calls.clear()
    got = zeep.helpers.serialize_object(admin.service[form.name](**typed), dict)
    assert [asked(call) for call in served.engine.calls] == [meant(served, form, rpc=False)]
    shown = [got] if len(names) == 1 else [got[camel(name)] for name in names]
    for value, name in zip(shown, names, strict=True):
        expected = getattr(answer, name)
        if isinstance(expected, tuple):
            assert len(value) == len(expected)
        else:
            assert value == (scrub(expected) or None if isinstance(expected, str) else expected)


def test_dates_and_big_numbers_arrive_whole(admin: Any) -> None:
    iso = admin.service.listISOs(vps="01").isos[0]
    assert iso.changed == NOON and iso.sizeBytes == 5 << 30


def test_the_address_is_the_one_that_was_asked(served: Served, admin: Any) -> None:
    assert admin.service._binding_options["address"] == served.url


def test_faults_have_a_detail_that_programs_can_read(admin: Any) -> None:
    with pytest.raises(zeep.exceptions.Fault) as caught:
        admin.service.setupVPSDisk(vps="30000", diskSizeMib=3, swapSizeMib=9)
    assert caught.value.code == "SOAP-ENV:Client.InvalidParameter"
    told = [(item.findtext("{*}parameter"), item.findtext("{*}kind")) for item in caught.value.detail.iter("{urn:dtc-xen}fault")]
    assert told == [("vps", "InvalidParameter"), ("diskSizeMib", "InvalidParameter")]


def test_the_schema_tells_the_limits_before_the_call(admin: Any) -> None:
    with pytest.raises(zeep.exceptions.ValidationError):
        admin.service.setupVPSDisk(vps="01", diskSizeMib=1024)


def test_an_owner_is_held_to_its_own(served: Served) -> None:
    owner = client(served, "xen02")
    assert owner.service.getVPSState(vps="02").vps == "01"
    with pytest.raises(zeep.exceptions.Fault, match="own VPS only"):
        owner.service.getVPSState(vps="03")


def test_wrong_credentials_are_a_fault_that_is_late(served: Served) -> None:
    started = time.monotonic()
    with pytest.raises(zeep.exceptions.Fault, match="Authorization failed"):
        client(served, password="wrong").service.testVPSServer()
    assert time.monotonic() - started >= 0.3


def test_a_slow_call_and_wrong_passwords_delay_nobody(served: Served, admin: Any) -> None:
    release = threading.Event()
    usual = served.engine.outcome

    def outcome(call: Any) -> Any:
        if call.operation == "getVPSState":
            release.wait(20)
        return usual(call)

    served.engine.outcome = outcome
    slow = [threading.Thread(target=lambda: client(served).service.getVPSState(vps="01")) for _ in range(4)]
    wrong = [threading.Thread(target=lambda: pytest.raises(zeep.exceptions.Fault, client(served, "xen02", "wrong").service.testVPSServer)) for _ in range(3)]
    try:
        for thread in slow + wrong:
            thread.start()
        time.sleep(0.3)
        took = []
        for _ in range(20):
            started = time.monotonic()
            assert admin.service.testVPSServer() == "OK"
            took.append(time.monotonic() - started)
        assert sorted(took)[len(took) // 2] < 0.25 and any(thread.is_alive() for thread in slow)
    finally:
        release.set()
        for thread in slow + wrong:
            thread.join(20)
        served.engine.outcome = usual


def _connection(served: Served) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("localhost", served.port.getHost().port, timeout=10, context=ssl.create_default_context(cafile=str(served.certificate)))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_body_is_told_so_over_tls(served: Served, chunked: bool) -> None:
    connection = _connection(served)
    body: Any = (b"x" * 4096 for _ in range(64)) if chunked else b"x" * (256 << 10)
    headers = {"Content-Type": "text/xml"} | ({"Transfer-Encoding": "chunked"} if chunked else {})
    connection.request("POST", "/", body, headers, encode_chunked=chunked)
    assert connection.getresponse().status == 413


def test_a_connection_is_kept_for_the_next_call(served: Served) -> None:
    connection = _connection(served)
    for _ in range(3):
        head, _, body = request(xml("testVPSServer")).partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        connection.request("POST", "/", body, headers)
        reply = connection.getresponse()
        assert reply.status == 200 and etree.fromstring(reply.read())[0][0][0].text == "OK"
    local = connection.sock.getsockname()
    connection.request("GET", "/healthz")
    assert connection.getresponse().read() == b"ok\n" and connection.sock.getsockname() == local


def test_a_client_that_hangs_up_harms_nobody(served: Served, admin: Any) -> None:
    usual, release = served.engine.outcome, threading.Event()
    served.engine.outcome = lambda call: release.wait(10) and answers.ServerAlive()
    connection = _connection(served)
    connection.putrequest("POST", "/")
    for name, text in dict(line.split(": ", 1) for line in request(xml("testVPSServer")).partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]).items():
        connection.putheader(name, text)
    connection.endheaders(xml("testVPSServer"))
    time.sleep(0.2)
    connection.close()
    release.set()
    served.engine.outcome = usual
    assert admin.service.testVPSServer() == "OK"
