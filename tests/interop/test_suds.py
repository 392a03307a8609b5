"""suds over TLS: a client that builds its requests from the WSDL, and its own way of leaving arguments out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dtcxen_soap.operations import Form, forms
from tests.interop.clients import meant, outcomes, shape, through, without_absent
from tests.interop.served import Served
from tests.wirekit import ADMIN, ANSWERS, PASSWORD

pytestmark = [pytest.mark.machine, pytest.mark.debian13]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"), auth_failure_delay_ms=10)
    yield made
    made.close()


def called(served: Served, *calls: tuple[str, dict[str, Any]], sign_in: str = PASSWORD) -> list[dict[str, Any]]:
    return outcomes("sudsclient.py", calls, url=served.url, certificate=str(served.certificate), user=ADMIN, password=sign_in)


@pytest.fixture(scope="module")
def replies(served: Served) -> dict[str, Any]:
    """What suds makes of every operation's reply, and what we made of its request."""
    return through(served, forms(rpc=False), lambda calls: called(served, *calls))


def without_empty(value: Any) -> Any:
    """suds reads an empty text as none."""
    if isinstance(value, dict):
        return {name: without_empty(item) for name, item in value.items() if item not in ("", None)}
    return [without_empty(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("form", forms(rpc=False), ids=lambda form: form.name)
def test_every_operation_through_the_wsdl(form: Form, served: Served, replies: dict[str, Any]) -> None:
    told, request = replies[form.name]
    assert without_empty(told) == {"result": without_empty(without_absent(shape(ANSWERS[form.operation.answer])))}
    assert request == meant(served, form, rpc=False)


def test_what_is_optional_may_be_left_out(served: Served) -> None:
    disks, jobs = called(served, ("setupVPSDisk", {"vps": "01", "diskSizeMib": 1024, "swapSizeMib": 0}), ("listJobs", {}))
    assert disks["result"]["created"] is True and len(jobs["result"]["jobs"]) == 2


def test_faults_are_read_with_their_detail(served: Served) -> None:
    (told,) = called(served, ("setupVPSDisk", {"vps": "30000", "diskSizeMib": 3, "swapSizeMib": 9}))
    assert told["code"] == "SOAP-ENV:Client.InvalidParameter" and told["text"].startswith("setupVPSDisk: vps: '30000'")
    assert [item["parameter"] for item in told["detail"]["faults"]["fault"]] == ["vps", "diskSizeMib"]


def test_wrong_credentials_are_a_fault(served: Served) -> None:
    assert called(served, ("testVPSServer", {}), sign_in="wrong")[0]["text"] == "Authorization failed."
