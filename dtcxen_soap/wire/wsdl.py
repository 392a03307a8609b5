"""The WSDL, always the same text for the same settings; `python -m dtcxen_soap.wire.wsdl` writes it.

Spyne orders types by chance, so they are sorted here, and the committed wsdl/dtcxen.wsdl differs
only when the interface does.
"""

from __future__ import annotations

import sys
from typing import Any

from lxml import etree

from dtcxen_soap import settings
from dtcxen_soap.wire import soap
from dtcxen_soap.wire import spynefix as _  # noqa: F401  (before Spyne)
from dtcxen_soap.wire.xmlnames import XSD, local

from spyne.interface.wsdl import Wsdl11  # isort: skip
from spyne.server.http import HttpBase  # isort: skip

ANYWHERE = "https://localhost:8089/"
_KINDS = ("simpleType", "complexType", "element")


def build(transport: Any, address: str) -> bytes:
    """The WSDL of a Spyne transport, its service at `address`."""
    document = Wsdl11(transport.app.interface)
    document.build_interface_document(address)
    root = etree.fromstring(document.get_interface_document(), etree.XMLParser(remove_blank_text=True))
    for schema in root.iter(f"{{{XSD}}}schema"):
        for pattern in schema.iter(f"{{{XSD}}}pattern"):
            pattern.set("value", schema_pattern(pattern.get("value", "")))
        schema[:] = sorted(schema, key=lambda item: (_KINDS.index(local(item.tag)), item.get("name", "")))
    etree.cleanup_namespaces(root, keep_ns_prefixes=["xs", "tns"])
    return etree.tostring(root, pretty_print=True, xml_declaration=True, encoding="UTF-8")


def schema_pattern(pattern: str) -> str:
    """A Python pattern as XML Schema writes it: schema patterns know no \\xNN, but have a name for control characters."""
    written = pattern.replace("\\x00-\\x1f\\x7f-\\x9f", "\\p{Cc}")
    if "\\x" in written:
        raise ValueError(f"{pattern} has characters that XML Schema writes otherwise")
    return written


def of(chosen: settings.Settings, address: str) -> bytes:
    """The WSDL of a node with these settings, its service at `address`."""
    return build(HttpBase(soap.application(chosen, lambda call: None)), address)


def default() -> bytes:
    """The WSDL of a node with default settings: the text of wsdl/dtcxen.wsdl."""
    return of(settings.defaults(), ANYWHERE)


if __name__ == "__main__":
    sys.stdout.buffer.write(default())
