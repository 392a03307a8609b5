"""What arrives: dialects, habits of clients, and what is no request at all."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from lxml import etree

from dtcxen_soap.requests import Malformed
from dtcxen_soap.wire import envelope
from dtcxen_soap.wire.faults import Fault
from dtcxen_soap.wire.xmlnames import ENC, ENV, XSD

SPACES = f'xmlns:e="{ENV}" xmlns:c="{ENC}" xmlns:xsd="{XSD}" xmlns:i="http://www.w3.org/2001/XMLSchema-instance" xmlns:o="http://www.w3.org/1999/XMLSchema-instance"'


def message(body: str, header: str = "", attributes: str = "") -> envelope.Message:
    text = f"<e:Envelope {SPACES} {attributes}>{header}<e:Body>{body}</e:Body></e:Envelope>"
    return envelope.read(envelope.parse(text.encode(), "utf-8"))


def value(element: str, boolean: bool = False) -> Any:
    return message(f"<op>{element}</op>").given(frozenset({"p"} if boolean else ()))[0][1]


def fault(data: bytes, charset: str | None = "utf-8") -> str:
    with pytest.raises(Fault) as caught:
        envelope.read(envelope.parse(data, charset))
    return f"{caught.value.faultcode}: {caught.value.faultstring}"


@pytest.mark.parametrize(("body", "attributes", "rpc", "space"), [
    ("<op><p>1</p></op>", "", True, ""),
    ('<x:op xmlns:x="urn:dtc-xen"><p>1</p></x:op>', "", True, "urn:dtc-xen"),
    ('<x:op xmlns:x="urn:mine"><p>1</p></x:op>', "", True, "urn:mine"),
    ('<op xmlns="urn:dtc-xen"><p>1</p></op>', "", False, "urn:dtc-xen"),
    ('<op xmlns="urn:dtc-xen"/>', "", False, "urn:dtc-xen"),
    ('<op xmlns="urn:dtc-xen"><p>1</p></op>', f'e:encodingStyle="{ENC}"', True, "urn:dtc-xen"),
    (f'<op xmlns="urn:mine" e:encodingStyle="{ENC}"><p>1</p></op>', "", True, "urn:mine"),
])
def test_the_dialect_is_seen(body: str, attributes: str, rpc: bool, space: str) -> None:
    read = message(body, attributes=attributes)
    assert (read.operation, read.rpc, read.namespace) == ("op", rpc, space)
    assert [name for name, _ in read.parameters] in (["p"], [])


def test_a_parameter_of_a_strange_namespace_keeps_it() -> None:
    assert message('<op><p xmlns="urn:strange">1</p></op>').parameters[0][0] == "{urn:strange}p"
    assert message('<op xmlns="urn:dtc-xen"><p xmlns="urn:strange">1</p></op>').parameters[0][0] == "{urn:strange}p"


@pytest.mark.parametrize(("element", "expected"), [
    ("<p>01</p>", "01"), ("<p/>", ""), ("<p> 1 </p>", " 1 "), ("<p>a<!-- c -->b<![CDATA[<c>]]></p>", "ab<c>"), ('<p i:type="xsd:int">64</p>', "64"),
    ('<p i:nil="true"/>', None), ('<p i:nil="1"/>', None), ('<p o:null="1"/>', None), ('<p i:nil="false">x</p>', "x"),
    ('<p i:type="c:Array" c:arrayType="xsd:string[2]"><item>a</item><item i:type="xsd:string">b</item></p>', ("a", "b")),
    ('<p c:arrayType="xsd:string[0]"/>', ()),
    (f'<p i:type="xsd:base64Binary">{base64.b64encode("pä€".encode()).decode()}</p>', "pä€"),
])
def test_values(element: str, expected: object) -> None:
    assert value(element) == expected


@pytest.mark.parametrize(("element", "problem"), [
    ('<p href="#id1"/>', "multi-reference"), ("<p><q>1</q></p>", "structure"), ('<p i:type="xsd:boolean">0</p>', "boolean"),
    ('<p c:arrayType="xsd:anyType[1]"><item><a>1</a></item></p>', "list"), ('<p c:arrayType="xsd:anyType[1]"><item i:nil="1"/></p>', "list"),
    ('<p c:arrayType="xsd:boolean[1]"><item i:type="xsd:boolean">1</item></p>', "list"),
    ('<p i:type="xsd:base64Binary">/w==</p>', "no UTF-8"), ('<p i:type="xsd:base64Binary">!</p>', "no UTF-8"), ('<p i:type="xsd:base64Binary">AA==</p>', "control"),
])
def test_what_is_no_value_is_malformed(element: str, problem: str) -> None:
    found = value(element)
    assert isinstance(found, Malformed) and problem in found.problem


def test_a_boolean_is_taken_where_one_is_expected() -> None:
    assert value('<p i:type="xsd:boolean">true</p>', boolean=True) == "true"


def test_the_http_charset_wins() -> None:
    data = f'<?xml version="1.0" encoding="UTF-8"?><e:Envelope {SPACES}><e:Body><op><p>\u00e4</p></op></e:Body></e:Envelope>'.encode("latin-1")
    assert envelope.read(envelope.parse(data, "ISO-8859-1")).given(frozenset())[0][1] == "ä"
    assert fault(data, None).startswith("Client.XMLSyntaxError")


def _in(body: str) -> bytes:
    return f"<e:Envelope {SPACES}>{body}</e:Envelope>".encode()


@pytest.mark.parametrize(("data", "expected"), [
    (b"", "Client.SoapError: the request is empty"),
    (b" \r\n", "Client.SoapError: the request is empty"),
    (b"<a", "Client.XMLSyntaxError"),
    (b"<a>\xff</a>", "Client.XMLSyntaxError"),
    (b"<a>\x00</a>", "Client.XMLSyntaxError"),
    (b"<a/>", "Client.SoapError: not a SOAP 1.1 Envelope"),
    (b"<Envelope/>", "VersionMismatch"),
    (b'<Envelope xmlns="http://www.w3.org/2003/05/soap-envelope"/>', "VersionMismatch: SOAP 1.2"),
    (_in(""), "Client.SoapError: the Envelope needs one Body"),
    (_in("<e:Body/><e:Body/>"), "Client.SoapError: the Envelope needs one Body"),
    (_in("<e:Body/>"), "Client.SoapError: the SOAP Body is empty"),
    (_in("<e:Body><a/><b/></e:Body>"), "Client.SoapError: more than one element"),
    (_in("<e:Body><e:Fault/></e:Body>"), "Client.SoapError: a Fault is no request"),
    (_in("<e:Body><op>text</op></e:Body>"), "Client.SoapError: op: text where parameters"),
    (_in("<e:Body><op><p/>text</op></e:Body>"), "Client.SoapError: op: text where parameters"),
    (_in('<e:Body><op xmlns="urn:other"><p/></op></e:Body>'), "Client.UnknownOperation: op: operation of another namespace"),
    (_in('<e:Header><h e:mustUnderstand="1"/></e:Header><e:Body><op/></e:Body>'), "MustUnderstand: header h"),
    (_in("<e:Body><op>" + "<p/>" * 101 + "</op></e:Body>"), "Client.SoapError: op: 101 parameters, expected at most 100"),
    (b"<!DOCTYPE a><a/>", "Client.XMLSyntaxError: a SOAP message must not hold a DTD"),
    (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "Client.XMLSyntaxError: a SOAP message must not hold a DTD"),
    (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "Client.XMLSyntaxError: a SOAP message must not hold a DTD"),
    (b'<!DOCTYPE a [<!ENTITY b "' + b"x" * 99 + b'"><!ENTITY c "' + b"&b;" * 99 + b'"><!ENTITY d "' + b"&c;" * 99 + b'">]><a>&d;</a>', "Client.XMLSyntaxError"),
    (b"<a>" * 5000 + b"</a>" * 5000, "Client.XMLSyntaxError"),
])
def test_what_is_no_request_is_a_clear_fault(data: bytes, expected: str) -> None:
    assert fault(data).startswith(expected)


def test_an_unknown_charset_is_a_clear_fault() -> None:
    assert fault(b"<a/>", "klingon") == "Client.Encoding: the charset of the Content-Type header is not known here"


@pytest.mark.parametrize("data", [b"<a>s3cret&b;</a>", b"<a>&s3cret;</a>", b"<a><s3cret></a>", b"<a>s3cret</a><s3cret", b'<a b="1" s3cret></a>'])
def test_faults_of_the_parser_quote_nothing(data: bytes) -> None:
    assert "s3cret" not in fault(data)


def test_an_optional_header_is_passed_over() -> None:
    assert message("<op/>", header='<e:Header><h e:mustUnderstand="0"/></e:Header>').operation == "op"


def test_reading_needs_no_network_and_expands_no_entity() -> None:
    root = envelope.parse(b"<a>&lt;&#228;</a>", None)
    assert isinstance(root, etree._Element) and root.text == "<ä"
