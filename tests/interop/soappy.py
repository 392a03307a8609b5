"""Calls through SOAPpy, which is what the original daemon was made of; RPC/encoded, parameters by name, no WSDL.

Standard input, JSON: url, user, password, calls (each an operation and its parameters). Prints JSON: of each call the result, or
the fault's code and text. The certificate to trust is Python's own SSL_CERT_FILE. SOAPpy's transport still asks for what Python 3
has not (http.client.HTTPS, base64.encodestring), so it is given another, as its `transport` argument is there for; it sends the same headers.
"""

from __future__ import annotations

import base64
import http.client
import json
import sys
from datetime import UTC, datetime
from typing import Any

import SOAPpy

given = json.load(sys.stdin)
place = given["url"].removeprefix("https://").rstrip("/")


class Https:
    """One connection for each call."""

    def call(self, address: Any, data: str, namespace: Any, soapaction: str = "", encoding: str = "UTF-8", **rest: Any) -> tuple[str, Any]:
        """Send a message; the reply's body, of a fault too."""
        connection = http.client.HTTPSConnection(place, timeout=30)
        credentials = base64.b64encode(f"{given['user']}:{given['password']}".encode()).decode()
        body = data if isinstance(data, bytes) else data.encode(encoding)
        connection.request("POST", "/", body, {
            "User-agent": SOAPpy.Client.SOAPUserAgent(), "Content-type": f"text/xml; charset={encoding}", "Authorization": f"Basic {credentials}",
            "SOAPAction": f'"{soapaction}"'})
        reply = connection.getresponse()
        if reply.status not in (200, 500):
            raise SOAPpy.Errors.HTTPError(reply.status, reply.reason)
        return reply.read().decode(), namespace


def plain(value: Any) -> Any:
    """A reply without SOAPpy's own types; it makes bytes of some texts and names, and tuples of times."""
    if isinstance(value, SOAPpy.Types.arrayType | list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return datetime(*map(int, value), tzinfo=UTC).isoformat()  # type: ignore[misc,arg-type]
    if isinstance(value, SOAPpy.Types.structType):
        value = value._asdict()
    if isinstance(value, dict):
        return {plain(name): plain(item) for name, item in value.items()}
    value = SOAPpy.simplify(value)
    if isinstance(value, bytes):
        return value.decode()
    return value if value is None or isinstance(value, str | int | float) else str(value)


def told(operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """One call's outcome."""
    try:
        return {"result": plain(getattr(node, operation)(**parameters))}
    except SOAPpy.Types.faultType as fault:
        return {"code": str(fault.faultcode), "text": str(fault.faultstring)}


node = SOAPpy.SOAPProxy(f"http://{place}/", transport=Https)
print(json.dumps([told(operation, parameters or {}) for operation, parameters in given["calls"]]))
