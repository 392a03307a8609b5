"""Values as RPC/encoded XML, in the shapes that nusoap makes plain PHP arrays of.

Every simple value has its xsi:type, every list is a SOAP-ENC:Array of `item`s, a struct has
neither type nor id: found by running the panel's client against them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lxml import etree

from dtcxen_soap.wire.xmlnames import ENC, ENV, XSD, XSI, camel, scrub

_TYPE = f"{{{XSI}}}type"
_INT_BITS = 31


def message(operation: str, namespace: str, value: Any) -> etree._Element:
    """The reply to an RPC call: `value` as Result, the response in the client's own namespace."""
    root = etree.Element(f"{{{ENV}}}Envelope", nsmap={"SOAP-ENV": ENV, "SOAP-ENC": ENC, "xsd": XSD, "xsi": XSI})
    root.set(f"{{{ENV}}}encodingStyle", ENC)
    body = etree.SubElement(root, f"{{{ENV}}}Body")
    tag = operation + "Response"
    response = etree.SubElement(body, f"{{{namespace}}}{tag}", nsmap={"ns1": namespace}) if namespace else etree.SubElement(body, tag)
    encode(response, "Result", value)
    return root


def encode(parent: etree._Element, tag: str, value: Any) -> None:
    """Append `value` to `parent`: a simple value, None, a list, a mapping or a dataclass."""
    element = etree.SubElement(parent, tag)
    if value is None:
        element.set(f"{{{XSI}}}nil", "true")
    elif dataclasses.is_dataclass(value):
        for item in dataclasses.fields(value):
            encode(element, camel(item.name), getattr(value, item.name))
    elif isinstance(value, Mapping):
        for name, item in value.items():
            encode(element, name, item)
    elif isinstance(value, list | tuple):
        _array(element, value)
    else:
        kind, element.text = _simple(value)
        element.set(_TYPE, kind)


def _array(element: etree._Element, values: Sequence[Any]) -> None:
    kind = "xsd:string" if all(isinstance(item, str) for item in values) else "xsd:anyType"
    element.set(_TYPE, "SOAP-ENC:Array")
    element.set(f"{{{ENC}}}arrayType", f"{kind}[{len(values)}]")
    for item in values:
        encode(element, "item", item)


def _simple(value: object) -> tuple[str, str]:
    """The schema type and the text; a number beyond 32 bits is an integer without bounds: nusoap makes a number of it, and text of a long."""
    if isinstance(value, bool):
        return "xsd:boolean", "true" if value else "false"
    if isinstance(value, int):
        return "xsd:int" if -1 << _INT_BITS <= value < 1 << _INT_BITS else "xsd:integer", str(int(value))
    if isinstance(value, float):
        return "xsd:double", repr(value)
    if isinstance(value, datetime):
        return "xsd:dateTime", value.isoformat()
    if isinstance(value, str):
        return "xsd:string", scrub(value)
    raise TypeError(f"{type(value).__name__} has no RPC encoding")
