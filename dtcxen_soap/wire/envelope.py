"""SOAP bytes to the operation's name and its raw parameters, in either dialect.

Clients' habits are told in the tests' recorded requests. Nothing is guessed: what cannot be read
as a plain value becomes Malformed, and the parameter's parser refuses it under its name. Texts
of lxml are never passed on, since they quote what was sent, and that may be a password.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from lxml import etree

from dtcxen_soap.requests import Given, Malformed
from dtcxen_soap.wire.faults import fault
from dtcxen_soap.wire.xmlnames import ENC, ENV, ENV_12, TNS, XSI_OF_ALL_TIMES, legal, local, namespace

MOST_PARAMETERS = 100
"""Each unknown one is compared with those that are known: this bounds what one request may cost."""


@dataclass(frozen=True)
class Message:
    """A request as it was sent. `rpc`: in RPC/encoded, and so to be answered in it, with the client's own namespace."""

    operation: str
    namespace: str
    rpc: bool
    parameters: tuple[tuple[str, etree._Element], ...]

    def given(self, booleans: frozenset[str]) -> tuple[tuple[str, Given], ...]:
        """The parameters as plain values; only those named in `booleans` may be typed as one."""
        return tuple((name, given(element, name in booleans)) for name, element in self.parameters)


def parse(data: bytes, charset: str | None) -> etree._Element:
    """The document of a request; raise a Client fault when it is none, or holds a DTD.

    The HTTP header's charset wins over the XML declaration's: the panel declares Latin-1 in both
    and other clients contradict themselves.
    """
    if not data.strip():
        raise fault("Client.SoapError", "the request is empty")
    try:
        parser = etree.XMLParser(encoding=charset, resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True)
        root = etree.fromstring(data, parser)
    except LookupError:
        raise fault("Client.Encoding", "the charset of the Content-Type header is not known here") from None
    except etree.XMLSyntaxError as error:
        errors: Any = error.error_log
        last = errors.last_error
        what = f": {last.type_name}" if last else ""
        raise fault("Client.XMLSyntaxError", f"not well-formed XML at line {error.lineno}, column {error.offset}{what}") from None
    document: Any = root.getroottree()
    if document.docinfo.doctype:
        raise fault("Client.XMLSyntaxError", "a SOAP message must not hold a DTD")
    return root


def read(root: etree._Element) -> Message:
    """The one operation of an envelope; raise a Client fault for what is no SOAP 1.1 request."""
    body = _body(root)
    _check_headers(root)
    if len(body) == 0:
        raise fault("Client.SoapError", "the SOAP Body is empty")
    if len(body) > 1:
        raise fault("Client.SoapError", "more than one element in the SOAP Body; multi-reference values are not taken")
    operation = body[0]
    name, space = local(operation.tag), namespace(operation.tag)
    if operation.tag == f"{{{ENV}}}Fault":
        raise fault("Client.SoapError", "a Fault is no request")
    rpc = space == "" or _encoded(root, body, operation) or any(namespace(child.tag) == "" for child in operation)
    if not rpc and space != TNS:
        raise fault("Client.UnknownOperation", f"{name[:64]}: operation of another namespace, expected {TNS}")
    if "".join(text for text in (operation.text, *(child.tail for child in operation)) if text).strip():
        raise fault("Client.SoapError", f"{name[:64]}: text where parameters are expected")
    if len(operation) > MOST_PARAMETERS:
        raise fault("Client.SoapError", f"{name[:64]}: {len(operation)} parameters, expected at most {MOST_PARAMETERS}")
    spaces = ("", TNS, space) if rpc else (TNS,)
    parameters = tuple((local(child.tag) if namespace(child.tag) in spaces else str(child.tag), child) for child in operation)
    return Message(name, space, rpc, parameters)


def _body(root: etree._Element) -> etree._Element:
    if root.tag == f"{{{ENV_12}}}Envelope":
        raise fault("VersionMismatch", "SOAP 1.2 is not spoken here, expected SOAP 1.1")
    if root.tag != f"{{{ENV}}}Envelope":
        code = "VersionMismatch" if local(root.tag) == "Envelope" else "Client.SoapError"
        raise fault(code, "not a SOAP 1.1 Envelope")
    bodies = root.findall(f"{{{ENV}}}Body")
    if len(bodies) != 1:
        raise fault("Client.SoapError", "the Envelope needs one Body")
    return bodies[0]


def _check_headers(root: etree._Element) -> None:
    for header in root.iterfind(f"{{{ENV}}}Header/*"):
        if header.get(f"{{{ENV}}}mustUnderstand", "").strip() in ("1", "true"):
            raise fault("MustUnderstand", f"header {local(header.tag)[:64]} is not understood")


def _encoded(*elements: etree._Element) -> bool:
    return any(element.get(f"{{{ENV}}}encodingStyle") for element in elements)


def given(element: etree._Element, boolean: bool) -> Given:
    """One parameter's value as sent: text, None for nil, a tuple for a SOAP array, or Malformed."""
    if element.get("href") is not None:
        return Malformed("a multi-reference value")
    if _instance(element, "nil") in ("1", "true") or _instance(element, "null") in ("1", "true"):
        return None
    kind = _instance(element, "type").rpartition(":")[2]
    if kind == "Array" or element.get(f"{{{ENC}}}arrayType") is not None:
        return _array(element)
    if len(element):
        return Malformed("a structure where one value is expected")
    return _simple("".join(str(text) for text in element.itertext()), kind, boolean)


def _instance(element: etree._Element, name: str) -> str:
    """An attribute of XML Schema's instance namespace, in whichever year's spelling."""
    return next((value.strip() for space in XSI_OF_ALL_TIMES if (value := element.get(f"{{{space}}}{name}")) is not None), "")


def _array(element: etree._Element) -> Given:
    items = [given(child, False) for child in element]
    if all(isinstance(item, str) for item in items):
        return tuple(str(item) for item in items)
    return Malformed("a list of other things than texts")


def _simple(text: str, kind: str, boolean: bool) -> Given:
    """Text, or what it stands for. PHP's false comes as the boolean 0, which would pass for a number."""
    if kind == "boolean" and not boolean:
        return Malformed("a boolean where a text or number is expected")
    if kind in ("base64Binary", "base64"):
        try:
            text = base64.b64decode("".join(text.split()), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            return Malformed("base64 that holds no UTF-8 text")
        if not legal(text):
            return Malformed("base64 that holds control characters")
    return text
