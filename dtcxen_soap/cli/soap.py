"""The CLI's SOAP client: zeep behind one class, its many errors as ours."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import requests
import zeep
from requests.auth import HTTPBasicAuth
from zeep.exceptions import Error as ZeepError
from zeep.exceptions import Fault, TransportError, XMLSyntaxError
from zeep.helpers import serialize_object
from zeep.transports import Transport

from dtcxen_soap.cli.console import Door, Unreachable, UsageError
from dtcxen_soap.errors import DtcxenError
from dtcxen_soap.operations import find
from dtcxen_soap.wire.xmlnames import camel

CONNECT_SECONDS, ANSWER_SECONDS = 20, 600


class Faulted(DtcxenError):
    """The daemon answered with a fault; `lines` holds one line per thing that is wrong, `code` the fault's own word (Client.Busy)."""

    def __init__(self, *lines: str, code: str = "") -> None:
        super().__init__("\n".join(lines))
        self.code = code


class Node:
    """A daemon as its WSDL describes it. Unreachable when there is none, or none to be trusted."""

    def __init__(self, door: Door) -> None:
        if urlsplit(door.url).scheme not in ("https", "http") or not urlsplit(door.url).hostname:
            raise UsageError(f"{door.url!r} is not an address, expected https://HOST:PORT/")
        self._door = door
        transport = Transport(session=session(door), timeout=CONNECT_SECONDS, operation_timeout=ANSWER_SECONDS)
        try:
            client = zeep.Client(f"{door.url}?wsdl", transport=transport)
            self._service = client.create_service(next(iter(client.wsdl.bindings)), door.url)
        except (requests.RequestException, TransportError) as error:
            raise unreachable(self._door.url, error) from None
        except (XMLSyntaxError, ZeepError, StopIteration, OSError) as error:
            raise Unreachable(f"{door.url} answers, but is no dtcxen daemon: {error}") from None

    def call(self, operation: str, values: Iterable[tuple[str, str]]) -> Any:
        """The answer as plain dicts, lists and values. Faulted for a fault, Unreachable when no answer comes."""
        try:
            return _whole(operation, serialize_object(self._service[operation](**dict(values)), dict))
        except Fault as error:
            raise Faulted(*fault_lines(error), code=str(error.code).rpartition(":")[2]) from None
        except (requests.RequestException, TransportError) as error:
            raise unreachable(self._door.url, error) from None
        except AttributeError:
            raise Faulted(f"{self._door.url} knows no {operation}: it is of another version", code="Client.UnknownOperation") from None



def session(door: Door) -> requests.Session:
    """An HTTP session that trusts whom the door says and signs in as it says; no proxy, no .netrc."""
    made = requests.Session()
    made.trust_env = False
    made.verify = door.trust
    made.auth = HTTPBasicAuth(door.user.encode(), door.password.encode())
    return made


def unreachable(where: str, error: Exception) -> Unreachable:
    """In the words of an admin: what to try, not which library noticed."""
    if isinstance(error, requests.exceptions.SSLError):
        return Unreachable(f"{where} is not to be trusted: its certificate is not known here; --ca FILE names the one to trust ({_innermost(error)})")
    if isinstance(error, requests.exceptions.Timeout):
        return Unreachable(f"{where} did not answer in time")
    if isinstance(error, TransportError):
        return Unreachable(f"{where} answered HTTP {error.status_code}: {str(error.message)[:200]}")
    return Unreachable(f"{where} cannot be reached: {_innermost(error)}; is the daemon running?")


def _whole(operation: str, answer: Any) -> Any:
    """The answer with its name where it has one member only: zeep takes that out of its record."""
    form = find(operation, rpc=False)
    members = dataclasses.fields(form.operation.answer) if form else ()
    if len(members) != 1:
        return answer
    return {camel(members[0].name): [] if answer is None and str(members[0].type).startswith("tuple") else answer}


def _innermost(error: BaseException) -> str:
    """The last cause: what the system said, below the libraries that passed it on."""
    seen: BaseException = error
    while inner := next((item for item in (*seen.args, getattr(seen, "reason", None)) if isinstance(item, BaseException)), None):
        seen = inner
    return re.sub(r"^.*\[Errno [^]]*\] ", "", getattr(seen, "strerror", None) or str(seen))


def fault_lines(fault: Fault) -> list[str]:
    """A line per entry of the fault's structured detail; the fault's text when there are none."""
    entries = [
        {str(item.tag).rpartition("}")[2]: item.text or "" for item in entry}
        for entry in (fault.detail.iter() if fault.detail is not None and hasattr(fault.detail, "iter") else ())
        if str(entry.tag).endswith("}fault")]
    lines = [_line(entry) for entry in entries if entry.get("parameter")]
    return lines or [str(fault.message)]


def _line(entry: dict[str, str]) -> str:
    expected = f", expected {entry['expected']}" if entry.get("expected") else ""
    return f"{entry.get('operation', '')}: {entry['parameter']}: {entry.get('problem', '')}{expected}"
