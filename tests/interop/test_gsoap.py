"""A client in C, compiled from our WSDL by gSOAP, over TLS: what it understood of the schema is what it sends and reads."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from dtcxen_soap.operations import Form, forms
from dtcxen_soap.wire import wsdl
from dtcxen_soap.wire.xmlnames import TNS, local
from tests.interop.clients import FOLDER, asked, meant, sample
from tests.interop.served import Served
from tests.wirekit import ADMIN, PASSWORD, request, xml

pytestmark = [pytest.mark.machine, pytest.mark.debian13]
SHARED = "/usr/share/gsoap"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"), auth_failure_delay_ms=10)
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled client of the WSDL of today."""
    folder = tmp_path_factory.mktemp("gsoap")
    (folder / "dtcxen.wsdl").write_bytes(wsdl.default())
    (folder / "operations.h").write_text("".join(f"OPERATION({form.name})\n" for form in forms(rpc=False)))
    flags = _run(folder, "pkg-config", "--cflags", "--libs", "--static", "gsoapssl").split()
    _run(folder, "wsdl2h", "-c", "-t", f"{SHARED}/WS/typemap.dat", "-o", "dtcxen.h", "dtcxen.wsdl")
    _run(folder, "soapcpp2", "-1", "-c", "-C", "-x", "-L", f"-I{SHARED}/import", "dtcxen.h")
    _run(folder, "gcc", "-O0", "-w", "-I.", "-o", "client", str(FOLDER / "gsoapclient.c"), "soapC.c", "soapClient.c", *flags)
    return folder / "client"


def _run(folder: Path, *argv: str) -> str:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{argv}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def call(client: Path, served: Served, operation: str, parameters: dict[str, Any], password: str = PASSWORD) -> subprocess.CompletedProcess[bytes]:
    """The parameters go in as a message's element, by way of gSOAP's struct."""
    element = etree.Element(f"{{{TNS}}}{operation}", nsmap={None: TNS})  # type: ignore[dict-item]
    for name, text in parameters.items():
        etree.SubElement(element, f"{{{TNS}}}{name}").text = str(text)
    argv = [str(client), served.url, str(served.certificate), ADMIN, password, operation]
    return subprocess.run(argv, input=etree.tostring(element, encoding="UTF-8", xml_declaration=True), capture_output=True, timeout=60)


def plain(element: etree._Element) -> Any:
    """An element as nested lists, its leaves as numbers and times where they are."""
    return [(local(child.tag), plain(child)) for child in element] or _leaf(element.text or "")


def _leaf(text: str) -> Any:
    for read in (float, datetime.fromisoformat):
        try:
            return read(text)  # type: ignore[operator]
        except ValueError:
            continue
    return text


def as_sent(served: Served, form: Form, parameters: dict[str, Any]) -> Any:
    """The reply as our wire writes it for the very call."""
    import http.client
    import ssl
    values = [(name, str(text).replace("&", "&amp;")) for name, text in parameters.items()]
    head, _, body = request(xml(form.name, *values, rpc=False)).partition(b"\r\n\r\n")
    connection = http.client.HTTPSConnection("localhost", served.port.getHost().port, timeout=10, context=ssl.create_default_context(cafile=str(served.certificate)))
    connection.request("POST", "/", body, dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:]))
    return plain(etree.fromstring(connection.getresponse().read())[0][0])


@pytest.mark.parametrize("form", forms(rpc=False), ids=lambda form: form.name)
def test_every_operation_is_called_and_its_reply_is_understood_whole(form: Form, client: Path, served: Served) -> None:
    name, parameters = sample(form)
    served.engine.calls.clear()
    done = call(client, served, name, parameters)
    assert done.returncode == 0, done.stderr.decode()
    assert [(each.operation, asked(each)) for each in served.engine.calls] == [(name, meant(served, form, rpc=False))]
    assert plain(etree.fromstring(done.stdout)) == as_sent(served, form, parameters)


def test_faults_are_read(client: Path, served: Served) -> None:
    done = call(client, served, "setupVPSDisk", {"vps": "30000", "diskSizeMib": 3, "swapSizeMib": 9})
    assert done.returncode == 1 and done.stderr.decode().startswith("SOAP-ENV:Client.InvalidParameter: setupVPSDisk: vps: '30000'")


def test_wrong_credentials_are_a_fault(client: Path, served: Served) -> None:
    done = call(client, served, "testVPSServer", {}, password="wrong")
    assert done.returncode == 1 and done.stderr.decode() == "SOAP-ENV:Client.Authentication: Authorization failed.\n"


def test_a_certificate_that_is_not_trusted_ends_the_call(client: Path, served: Served, tmp_path: Path) -> None:
    from tests.certificates import make_pair
    other, _ = make_pair(tmp_path)
    argv = [str(client), served.url, str(other), ADMIN, PASSWORD, "testVPSServer"]
    done = subprocess.run(argv, input=f'<testVPSServer xmlns="{TNS}"/>'.encode(), capture_output=True, timeout=60)
    assert done.returncode == 1 and not done.stdout
