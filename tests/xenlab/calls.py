"""Calls to the lab's daemon from outside: in the old panel's dialect as bytes, without any SOAP library, and through the WSDL."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

import requests
from lxml import etree

_SOAP = "http://schemas.xmlsoap.org/soap/"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
ANSWER_SECONDS = 900


class Fault(Exception):
    """The daemon answered with a SOAP fault; `code` is its faultcode."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


def request(operation: str, parameters: dict[str, str]) -> bytes:
    """A call as the panel's client writes it (tests/data/wire/requests/nusoap): typed by position, named by nothing else."""
    inner = "".join(f'<{name} xsi:type="xsd:string">{escape(value)}</{name}>' for name, value in parameters.items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope SOAP-ENV:encodingStyle="{_SOAP}encoding/" xmlns:SOAP-ENV="{_SOAP}envelope/" '
        f'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="{_XSI}" xmlns:SOAP-ENC="{_SOAP}encoding/"><SOAP-ENV:Body>'
        f"<{operation}>{inner}</{operation}></SOAP-ENV:Body></SOAP-ENV:Envelope>").encode()


def reply(body: bytes) -> Any:
    """The value in an RPC reply: text, a list for an Array, a dict for a struct, None. Raises Fault."""
    root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True))
    fault = root.find(f".//{{{_SOAP}envelope/}}Fault")
    if fault is not None:
        raise Fault(fault.findtext("faultcode") or "", fault.findtext("faultstring") or "")
    (answered,) = root[-1]
    return _value(answered[0]) if len(answered) else None


def _value(element: etree._Element) -> Any:
    if element.get(f"{{{_XSI}}}nil") in ("1", "true"):
        return None
    if element.get(f"{{{_SOAP}encoding/}}arrayType") or (element.get(f"{{{_XSI}}}type") or "").endswith(":Array"):
        return [_value(child) for child in element]
    if len(element):
        return {etree.QName(child).localname: _value(child) for child in element}
    return element.text or ""


def rpc(session: requests.Session, url: str, operation: str, **parameters: str) -> Any:
    """One call in the old panel's dialect."""
    answer = session.post(url, request(operation, parameters), headers={"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": '""'}, timeout=ANSWER_SECONDS)
    return reply(answer.content)


def service(session: requests.Session, url: str) -> Any:
    """A zeep proxy made from the node's own WSDL."""
    import zeep
    from zeep.transports import Transport
    client = zeep.Client(f"{url}?wsdl", transport=Transport(session=session, timeout=120, operation_timeout=ANSWER_SECONDS))
    return client.create_service(next(iter(client.wsdl.bindings)), url)
