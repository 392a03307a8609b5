"""Every request that a real client was recorded to send is answered as the client can read it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from passlib.hash import sha512_crypt

from dtcxen_soap.operations import find
from dtcxen_soap.vps import VpsId
from dtcxen_soap.wire import encoding, legacy
from tests.wirekit import ADMIN, ANSWERS, PASSWORD, RECORDED, Reply, Wire, parse, recorded

FILES = sorted(path.relative_to(RECORDED).as_posix() for path in RECORDED.glob("*/*.http"))
SIGNED_IN = "Basic " + base64.b64encode(f"{ADMIN}:{PASSWORD}".encode()).decode()
NO_SOAP_11 = {
    "gsoap/startVPS.http": "SOAP-ENV:VersionMismatch: SOAP 1.2 is not spoken here",
    "soaplite/startVPS.ns-empty-illegal.http": "SOAP-ENV:Client.XMLSyntaxError: not well-formed XML at line 1",
}
REFUSED = {
    "nusoap/getCollectedPerformanceData.bool.http": ("ParameterType: getCollectedPerformanceData: count: a boolean", "count"),
    "nusoap/reinstallVPSos.nullgw.http": ("MissingParameter: reinstallVPSos: nics: missing parameter", "nics"),
    "nusoap/changeVPSxmPassword.utf8.http": ("InvalidParameter: changeVPSxmPassword: password: not of the form allowed", "password"),
    **{f"{client}/changeVPSxmPassword.empty.http": ("InvalidParameter: changeVPSxmPassword: password: empty", "password") for client in ("nusoap", "soaplite", "soappy")},
    **{f"{client}/changeVPSxmPassword.null.http": ("NilParameter: changeVPSxmPassword: password: null", "password")
       for client in ("nusoap", "phpsoap", "soaplite", "soappy")},
    "nusoap/startVPS.positional.http": ("InvalidParameter: startVPS: __numeric_0: unknown parameter", "__numeric_0"),
    "nusoap/setupLVMDisks.nullvps.http": ("NilParameter: setupLVMDisks: vpsname: null", "vpsname"),
    "phpsoap/reinstallVPSos.positional.http": ("InvalidParameter: reinstallVPSos: param0: unknown parameter", "param0"),
    "soappy/reinstallVPSos.positional.http": ("InvalidParameter: reinstallVPSos: v1: unknown parameter", "v1"),
}


def operation(file: str) -> str:
    return file.rpartition("/")[2].split(".")[0]


def ask(wire: Wire, file: str) -> Reply:
    reply = wire.raw(recorded(RECORDED / file, SIGNED_IN))
    assert reply is not None
    return reply


@pytest.mark.parametrize("file", [file for file in FILES if file not in {*REFUSED, *NO_SOAP_11}])
def test_is_answered_in_the_old_shape(file: str, tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    reply = ask(wire, file)
    assert reply.status == 200, reply.fault
    form = find(operation(file), rpc=True)
    assert form is not None
    expected = encoding.message(form.name, "", legacy.old_reply_of(form.name, ANSWERS[form.operation.answer]))
    assert _plain(reply.result) == _plain(expected[0][0][0])
    assert reply.headers["content-type"].startswith("text/xml")
    assert [call.operation for call in wire.engine.calls] == [form.name]
    assert wire.engine.calls[0].vps in (None, VpsId(1))


def _plain(element: object) -> object:
    return [_plain(child) for child in element] or element.text, dict(element.attrib)  # type: ignore[attr-defined]


@pytest.mark.parametrize("file", sorted(REFUSED))
def test_is_refused_by_name(file: str, tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    reply = ask(wire, file)
    assert reply.status == 500 and REFUSED[file][0] in reply.fault
    assert reply.text("parameter") == REFUSED[file][1]
    assert not wire.engine.calls


def test_every_recorded_operation_is_in_the_catalogue() -> None:
    assert {operation(file) for file in FILES if find(operation(file), rpc=True) is None} == set()


@pytest.mark.parametrize("file", sorted(NO_SOAP_11))
def test_is_no_soap_11(file: str, tmp_path: Path) -> None:
    reply = ask(Wire(tmp_path), file)
    assert reply.status == 500 and reply.fault.startswith(NO_SOAP_11[file])


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("soaplite/")])
def test_a_client_without_credentials_is_challenged(file: str, tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    protocol, transport = wire.connect()
    protocol.dataReceived(recorded(RECORDED / file))
    reply = parse(transport.value())
    assert reply.status == 401 and reply.headers["www-authenticate"].startswith("Basic realm=")


def test_credentials_beyond_ascii_are_bytes(tmp_path: Path) -> None:
    path = RECORDED / "nusoap/startVPS.nonascii-credentials.http"
    header = next(line for line in path.read_text().splitlines() if line.startswith("Authorization"))
    user, _, password = base64.b64decode(header.rpartition(" ")[2]).partition(b":")
    wire = Wire(tmp_path, f"{user.decode()}:{sha512_crypt.using(rounds=1000).hash(password)}\n")
    reply = wire.raw(recorded(path))
    assert not password.isascii() and reply is not None and reply.status == 200, "signed in, and served"
