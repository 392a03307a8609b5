"""Calls through suds, which builds its requests from the WSDL.

Standard input, JSON: url, user, password, calls (each an operation and its parameters). Prints JSON: of each call the result, or
the fault's code, text and the parameters that its detail names. The certificate to trust is Python's own SSL_CERT_FILE.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import suds
import suds.client
import suds.sudsobject

given = json.load(sys.stdin)
node = suds.client.Client(f"{given['url']}?wsdl", username=given["user"], password=given["password"], cache=None)


def plain(value: Any) -> Any:
    """A reply without suds's own types."""
    if isinstance(value, suds.sudsobject.Object):
        return {name: plain(item) for name, item in suds.sudsobject.asdict(value).items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, str) else value


def told(operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """One call's outcome."""
    try:
        return {"result": plain(getattr(node.service, operation)(**parameters))}
    except suds.WebFault as error:
        return {"code": str(error.fault.faultcode), "text": str(error.fault.faultstring), "detail": plain(getattr(error.fault, "detail", None))}


print(json.dumps([told(operation, parameters or {}) for operation, parameters in given["calls"]]))
