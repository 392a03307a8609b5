"""Names of XML: the namespaces that SOAP 1.1 clients use, and the characters that XML can hold."""

from __future__ import annotations

import re

TNS = "urn:dtc-xen"
ENV = "http://schemas.xmlsoap.org/soap/envelope/"
ENV_12 = "http://www.w3.org/2003/05/soap-envelope"
ENC = "http://schemas.xmlsoap.org/soap/encoding/"
XSD = "http://www.w3.org/2001/XMLSchema"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
XSI_OF_ALL_TIMES = (XSI, "http://www.w3.org/1999/XMLSchema-instance", "http://www.w3.org/2000/10/XMLSchema-instance")

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def local(tag: object) -> str:
    """The tag without its namespace."""
    return str(tag).rpartition("}")[2]


def namespace(tag: object) -> str:
    """The tag's namespace, or ""."""
    return str(tag)[1:].partition("}")[0] if str(tag).startswith("{") else ""


def legal(text: str) -> bool:
    """Whether XML 1.0 can hold every character of `text`."""
    return not _ILLEGAL.search(text)


def scrub(text: str) -> str:
    """`text` with blanks for what XML cannot hold: terminal codes of an installer's log."""
    return _ILLEGAL.sub(" ", text)


def camel(name: str) -> str:
    """A field's name as the wire writes it: size_bytes is sizeBytes."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
