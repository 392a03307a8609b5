"""Errors as SOAP faults: what the caller must do is told, everything else stays here.

The fault code's first word says who must act (Client or Server), the second what it is. A defect
of ours is logged in full under a reference number, and the number is all that the caller learns.
"""

from __future__ import annotations

import logging
import secrets
from typing import Any

from lxml import etree

from dtcxen_soap.errors import Busy, Cancelled, DtcxenError, Failed, Missing, NotAllowed, Refused
from dtcxen_soap.wire import spynefix  # noqa: F401  (before Spyne)
from dtcxen_soap.wire.xmlnames import ENV, TNS, scrub

from spyne.model.fault import Fault  # isort: skip

log = logging.getLogger(__name__)

MEDIA_TYPE = "text/xml; charset=utf-8"
OUTCOMES = ("refused", "not_allowed", "missing", "busy", "cancelled", "failed", "defect")
"""What faults are to whoever counts them; all but the last two are for the caller to mend."""
_OUTCOMES = {"Client.NotAllowed": "not_allowed", "Client.Missing": "missing", "Client.Busy": "busy", "Client.Cancelled": "cancelled", "Server.Failed": "failed"}
Entry = dict[str, str]


def fault(code: str, text: str, *entries: Entry) -> Fault:
    """A fault with one structured entry per thing that is wrong."""
    made = Fault(code, text)
    made.detail = _detail(entries) if entries else None
    return made


def _detail(entries: tuple[Entry, ...]) -> etree._Element:
    """`faults` holds a `fault` per entry, its words as elements in our namespace."""
    prefixes: Any = {None: TNS}
    faults = etree.Element(f"{{{TNS}}}faults", nsmap=prefixes)
    for entry in entries:
        item = etree.SubElement(faults, f"{{{TNS}}}fault")
        for name, text in entry.items():
            etree.SubElement(item, f"{{{TNS}}}{name}").text = scrub(text)
    return faults


def of(error: BaseException, operation: str = "") -> Fault:
    """The fault that tells a caller of `error`."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, Refused):
        return _refused(error)
    for kind, code in ((NotAllowed, "Client.NotAllowed"), (Missing, "Client.Missing"), (Cancelled, "Client.Cancelled")):
        if isinstance(error, kind):
            return fault(code, str(error), {"operation": operation, "kind": kind.__name__, "problem": str(error)})
    if isinstance(error, Busy):
        job = {} if error.job is None else {"job": str(error.job)}
        return fault("Client.Busy", str(error), {"operation": operation, "kind": "Busy", "problem": str(error), **job})
    if isinstance(error, Failed):
        return _failed(error, operation)
    return _defect(error, operation)


def _refused(error: Refused) -> Fault:
    entries = [
        {"operation": item.operation, "parameter": item.parameter, "kind": item.kind, "problem": item.problem, "expected": item.expected}
        for item in error.faults
    ]
    kinds = {item.kind for item in error.faults}
    return fault("Client." + (kinds.pop() if len(kinds) == 1 else "InvalidParameter"), str(error), *entries)


def _failed(error: Failed, operation: str) -> Fault:
    log.error("%s: %s; command: %s; it said: %s; undone: %s", operation, error, error.command, error.tail, ", ".join(error.undone))
    undone = {"undone": "; ".join(error.undone)} if error.undone else {}
    return fault("Server.Failed", str(error), {"operation": operation, "kind": "Failed", "step": error.why, "problem": error.reason, **undone})


def _defect(error: BaseException, operation: str) -> Fault:
    reference = secrets.token_hex(4)
    kind = "unexpected error" if isinstance(error, DtcxenError) else "defect"
    log.error("%s %s in %s", kind, reference, operation or "a request", exc_info=error)
    return fault("Server", f"internal error, reference {reference}: the node's log has more", {"operation": operation, "kind": "Internal", "reference": reference})


def outcome(problem: Fault) -> str:
    """The word of OUTCOMES for a fault."""
    return _OUTCOMES.get(problem.faultcode, "refused" if problem.faultcode.startswith("Client") else "defect")


def envelope(problem: Fault) -> etree._Element:
    """A fault as a whole message; both dialects read it, since its parts carry no namespace."""
    root = etree.Element(f"{{{ENV}}}Envelope", nsmap={"SOAP-ENV": ENV})
    item = etree.SubElement(etree.SubElement(root, f"{{{ENV}}}Body"), f"{{{ENV}}}Fault")
    etree.SubElement(item, "faultcode").text = "SOAP-ENV:" + problem.faultcode
    etree.SubElement(item, "faultstring").text = scrub(problem.faultstring)
    if problem.detail is not None:
        etree.SubElement(item, "detail").append(problem.detail)
    return root


def message(problem: Fault) -> bytes:
    """The bytes of a fault's message."""
    return etree.tostring(envelope(problem), xml_declaration=True, encoding="UTF-8")
