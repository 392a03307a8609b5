"""Who is let in, in which order, and what each answer looks like."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from dtcxen_soap import errors
from dtcxen_soap.answers import ServerAlive
from dtcxen_soap.wire import http
from tests.wirekit import ANSWERS, Wire, parse, request, xml

ALIVE = xml("testVPSServer")


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    return Wire(tmp_path)


@pytest.mark.parametrize("media", ["text/xml", "application/xml; charset=utf-8", "Text/XML"])
def test_xml_is_taken(wire: Wire, media: str) -> None:
    assert wire.post(ALIVE, Content_Type=media).status == 200


@pytest.mark.parametrize(("headers", "status"), [
    ({"Content_Type": "text/plain"}, 415), ({"Content_Type": "multipart/form-data; boundary=x"}, 415), ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
    ({"Content_Type": ""}, 415), ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403),
])
def test_what_a_browser_can_be_made_to_send_is_refused_before_authentication(wire: Wire, headers: dict[str, str], status: int) -> None:
    assert wire.post(ALIVE, password=None, **headers).status == status
    assert wire.post(ALIVE, **headers).status == status
    assert not wire.engine.calls


def test_without_credentials_there_is_a_challenge(wire: Wire) -> None:
    reply = wire.post(ALIVE, password=None)
    assert reply.status == 401 and reply.headers["www-authenticate"].startswith('Basic realm="dtc-xen"')


@pytest.mark.parametrize("authorization", ["Basic !!!", "Basic bm9jb2xvbg==", "Basic"])
def test_credentials_that_cannot_be_read_are_wrong(wire: Wire, authorization: str) -> None:
    reply = wire.post(ALIVE, password=None, Authorization=authorization)
    assert reply.status == 500 and reply.text("faultstring") == "Authorization failed."


def test_wrong_credentials_are_a_fault_that_comes_late(wire: Wire) -> None:
    protocol, transport = wire.connect()
    protocol.dataReceived(request(b"<not xml", password="wrong"))
    assert transport.value() == b""
    wire.clock.advance(1.1)
    reply = parse(transport.value())
    assert reply.status == 500 and reply.fault == "SOAP-ENV:Client.Authentication: Authorization failed."


def test_no_body_is_parsed_before_authentication(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    monkeypatch.setattr(http.soap.envelope, "parse", lambda data, charset: parsed.append(data))
    wire.post(ALIVE, password=None)
    protocol, _ = wire.connect()
    protocol.dataReceived(request(ALIVE, password="wrong"))
    wire.clock.advance(60)
    assert parsed == []


@pytest.mark.parametrize("password", [None, "s3cret"])
def test_a_long_body_is_refused_at_its_header(wire: Wire, password: str | None) -> None:
    protocol, transport = wire.connect()
    head, _, _ = request(b"", password=password, Content_Length=str(5 << 20)).partition(b"\r\n\r\n")
    protocol.dataReceived(head + b"\r\n\r\n")
    assert parse(transport.value()).status == 413 and transport.disconnecting


def test_a_chunked_body_is_refused_when_it_goes_too_far(wire: Wire) -> None:
    protocol, transport = wire.connect()
    protocol.dataReceived(b"POST / HTTP/1.1\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n")
    kept = protocol._channel.requests[0].content if hasattr(protocol, "_channel") else protocol.requests[0].content
    for _ in range(40):
        protocol.dataReceived(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
    assert parse(transport.value()).status == 413
    assert kept.tell() <= 1 << 20
    protocol.dataReceived(b"0\r\n\r\n")
    assert transport.value().count(b"HTTP/1.1") == 1


def test_a_body_of_the_longest_length_is_taken(tmp_path: Path) -> None:
    wire = Wire(tmp_path, max_body_kib=16)
    assert wire.post(ALIVE.ljust(16 << 10)).status == 200
    assert wire.post(ALIVE.ljust((16 << 10) + 1)).status == 413


def test_forms_in_bodies_are_never_parsed(wire: Wire) -> None:
    reply = wire.post(b"--x\r\nnot a part", password=None, Content_Type="multipart/form-data; boundary=x")
    assert reply.status == 415


def test_wsdl_is_public_and_names_the_host_that_was_asked(wire: Wire) -> None:
    reply = wire.get("/?wsdl", Host="node.example:8089")
    assert reply.status == 200 and b'location="http://node.example:8089/"' in reply.body
    assert b'location="http://localhost:8089/"' in wire.get("/?WSDL", Host='"><x').body
    assert b'location="http://[2001:db8::1]:8089/"' in wire.get("/?wsdl", Host="[2001:db8::1]:8089").body


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/", 401), ("GET", "/?other", 405), ("GET", "/other", 404), ("POST", "/other", 404), ("PUT", "/", 405), ("DELETE", "/healthz", 404)])
def test_everything_else_is_text(wire: Wire, method: str, path: str, status: int) -> None:
    reply = wire.raw(f"{method} {path} HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode())
    assert reply is not None and reply.status == status and reply.headers["content-type"].startswith("text/plain")
    assert b"<html" not in reply.body


def test_head_has_no_body(wire: Wire) -> None:
    reply = wire.raw(b"HEAD /?wsdl HTTP/1.1\r\n\r\n")
    assert reply is not None and reply.status == 200 and reply.body == b"" and int(reply.headers["content-length"]) > 1000


def test_health_is_public_and_remembered_for_a_second(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    well = [True]
    monkeypatch.setattr(wire.engine, "alive", lambda: asked.append(1) or well[0])
    assert (wire.get("/healthz").status, wire.get("/healthz").body) == (200, b"ok\n")
    assert len(asked) == 1
    well[0] = False
    wire.clock.advance(1.5)
    assert wire.get("/healthz").status == 503


def test_health_that_cannot_be_told_is_none(wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> bool:
        raise OSError("no space")
    monkeypatch.setattr(wire.engine, "alive", broken)
    assert wire.get("/healthz").status == 503 and "no space" in caplog.text


@pytest.mark.parametrize(("error", "code", "text"), [
    (errors.NotAllowed("x: not you"), "Client.NotAllowed", "x: not you"),
    (errors.Missing("no such job"), "Client.Missing", "no such job"),
    (errors.Busy("job 7 has it", 7), "Client.Busy", "job 7 has it"),
    (errors.Cancelled("ended"), "Client.Cancelled", "ended"),
    (errors.Failed("Make it.", "no space", "mkfs x", "secret tail", ("lvremove",)), "Server.Failed", "Make it: no space"),
])
def test_errors_of_the_engine_are_faults(wire: Wire, error: Exception, code: str, text: str) -> None:
    wire.engine.outcome = lambda call: _raise(error)
    reply = wire.call("testVPSServer")
    assert reply.status == 500 and reply.fault == f"SOAP-ENV:{code}: {text}"
    assert b"secret tail" not in reply.body
    if isinstance(error, errors.Busy):
        assert reply.text("job") == "7"


def _raise(error: Exception) -> Any:
    raise error


def test_a_defect_is_logged_in_full_and_told_as_a_number(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.engine.outcome = lambda call: _raise(KeyError("hunter2"))
    reply = wire.call("testVPSServer")
    reference = reply.text("reference")
    assert reply.status == 500 and b"hunter2" not in reply.body and b"KeyError" not in reply.body
    assert len(reference) == 8 and reference in reply.text("faultstring") and reference in caplog.text and "hunter2" in caplog.text
    assert any(record.exc_info for record in caplog.records)


def test_a_submission_that_fails_is_a_fault_too(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire.engine, "submit", lambda call: _raise(errors.Busy("stopping")))
    assert wire.call("testVPSServer").fault == "SOAP-ENV:Client.Busy: stopping"


def test_an_answer_that_cannot_be_written_is_a_defect(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.engine.outcome = lambda call: object()
    reply = wire.call("testVPSServer")
    assert reply.status == 500 and "internal error, reference" in reply.fault


def test_a_slow_call_delays_nobody(wire: Wire) -> None:
    wire.engine.held = []
    protocol, transport = wire.connect()
    protocol.dataReceived(request(ALIVE))
    assert transport.value() == b""
    held, wire.engine.held = wire.engine.held, None
    assert wire.call("testVPSServer").status == 200
    held[0].set_result(ANSWERS[ServerAlive])
    assert parse(transport.value()).status == 200


@pytest.mark.parametrize("outcome", ["answer", "error"])
def test_a_client_that_left_is_no_trouble(wire: Wire, outcome: str, caplog: pytest.LogCaptureFixture) -> None:
    wire.engine.held = []
    protocol, transport = wire.connect()
    protocol.dataReceived(request(ALIVE))
    protocol.connectionLost(Failure(ConnectionDone()))
    with caplog.at_level(logging.ERROR):
        if outcome == "answer":
            wire.engine.held[0].set_result("anything")
            assert caplog.text == ""
        else:
            wire.engine.held[0].set_exception(KeyError("lost"))
            assert "lost" in caplog.text
    assert transport.value() == b""


def test_one_connection_carries_many_calls(wire: Wire) -> None:
    protocol, transport = wire.connect()
    for _ in range(3):
        protocol.dataReceived(request(ALIVE))
    assert transport.value().count(b"HTTP/1.1 200 OK") == 3


def test_an_idle_connection_is_closed(wire: Wire) -> None:
    protocol, transport = wire.connect()
    protocol.dataReceived(b"POST / HTTP/1.1\r\n")
    wire.clock.advance(59)
    assert not transport.disconnecting
    wire.clock.advance(2)
    assert transport.disconnecting


def test_a_call_may_take_longer_than_an_idle_connection(wire: Wire) -> None:
    wire.engine.held = []
    protocol, transport = wire.connect()
    protocol.dataReceived(request(ALIVE))
    wire.clock.advance(600)
    wire.engine.held[0].set_result(ANSWERS[ServerAlive])
    assert parse(transport.value()).status == 200


def test_new_settings_are_used_for_the_next_call(wire: Wire, tmp_path: Path) -> None:
    disk = (("vpsname", "01"), ("hddsize", "30"), ("swapsize", "1"))
    assert wire.call("setupLVMDisks", *disk).status == 500
    wire.settings = Wire(tmp_path, vps_disk_min_mib=16).settings
    assert wire.call("setupLVMDisks", *disk).status == 200
    assert b'minInclusive value="16"' in wire.get("/?wsdl").body
