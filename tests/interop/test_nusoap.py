"""The panel's own client library, unmodified (Debian 13's runs on PHP 8), over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dtcxen_soap import answers
from dtcxen_soap.errors import Failed
from dtcxen_soap.operations import Form, forms
from tests.interop.clients import encoded, outcomes, sample
from tests.interop.served import Served
from tests.wirekit import ADMIN, PASSWORD

pytestmark = [pytest.mark.machine, pytest.mark.debian13]

@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"), auth_failure_delay_ms=10)
    yield made
    made.close()


def call(served: Served, operation: str, /, sign_in: str = PASSWORD, **parameters: Any) -> tuple[Any, Any]:
    """The panel's two results: the reply, and getError()."""
    (told,) = outcomes("nusoap.php", [(operation, parameters)], url=served.url, user=ADMIN, password=sign_in)
    return told["result"], told["error"]


@pytest.fixture(scope="module")
def replies(served: Served) -> dict[str, dict[str, Any]]:
    """What nusoap makes of every operation's reply. It says Latin-1 whatever it sends, so the samples' Euro sign stays at home."""
    every = forms(rpc=True)
    latin = [(name, {key: text.replace("\u20ac", "") for key, text in parameters.items()}) for name, parameters in map(sample, every)]
    told = outcomes("nusoap.php", latin, url=served.url, user=ADMIN, password=PASSWORD)
    return {form.name: outcome for form, outcome in zip(every, told, strict=True)}


def long_as_text(value: Any) -> Any:
    """nusoap leaves numbers beyond 32 bits as text."""
    if isinstance(value, dict):
        return {name: long_as_text(item) for name, item in value.items()}
    if isinstance(value, list):
        return [long_as_text(item) for item in value]
    return str(value) if isinstance(value, int) and value >= 1 << 31 else value


@pytest.mark.parametrize("form", forms(rpc=True), ids=lambda form: form.name)
def test_every_operation_is_answered_in_a_shape_that_nusoap_reads(form: Form, replies: dict[str, dict[str, Any]]) -> None:
    assert replies[form.name] == {"result": long_as_text(encoded(form)), "error": False}


def test_menus_are_plain_lists_of_any_length(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for names in ((), ("one",), ("one", "two")):
        monkeypatch.setattr(served.engine, "outcome", lambda call, names=names: answers.InstallableOs(names))
        assert call(served, "getInstallableOS") == (list(names), False)


def test_states_that_the_panel_compares_are_words(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("mkos", "fsck", "Not running"):
        monkeypatch.setattr(served.engine, "outcome", lambda call, word=word: answers.VpsState("01", word))
        assert call(served, "getVPSState", vpsname="xen01") == (word, False)


def test_what_xl_could_not_do_is_words_and_no_error(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(call: Any) -> Any:
        raise Failed("Start xen01.", 'Domain 4:Domain with name "xen01" already exists.')
    monkeypatch.setattr(served.engine, "outcome", fail)
    for operation in ("startVPS", "shutdownVPS", "destroyVPS", "listStartedVPS"):
        parameters = {} if operation == "listStartedVPS" else {"vpsname": "xen01"}
        assert call(served, operation, **parameters) == ('NOTOK - Domain 4:Domain with name "xen01" already exists.', False)


def test_all_forms_of_an_installation_start_a_job(served: Served) -> None:
    form = {"vpsname": "01", "ostype": "debian", "ramsize": "128", "password": "r00tPass"}
    nics = "192.0.2.10,255.255.255.0,192.0.2.255+192.0.2.11,255.255.255.0,192.0.2.255"
    many = "\n".join(f"192.0.2.{number},255.255.255.0,192.0.2.255" for number in range(10, 70))
    for more in ({"nics": nics, "gateway": "192.0.2.1", "dns": "192.0.2.53"}, {"nics": nics, "gateway": None, "dns": None},
                 {"hddsize": "1024", "ipaddr": "192.0.2.10"}, {"nics": many, "gateway": "192.0.2.1", "dns": "192.0.2.53"}):
        assert call(served, "reinstallVPSos", **form, **more) == ("OK, started mkos.", False)


def test_errors_are_read(served: Served) -> None:
    assert call(served, "setupLVMDisks", vpsname=None, hddsize="1024", swapsize="1")[1].startswith("SOAP-ENV:Client.NilParameter: setupLVMDisks: vpsname: null")
    assert call(served, "setupLVMDisks", vpsname="", hddsize="30000", swapsize="512")[1].startswith("SOAP-ENV:Client.InvalidParameter: setupLVMDisks: vpsname: ''")
    assert call(served, "noSuchOperation")[1].startswith("SOAP-ENV:Client.UnknownOperation: noSuchOperation: unknown operation")
    assert call(served, "testVPSServer", "wrong")[1] == "SOAP-ENV:Client.Authentication: Authorization failed."


def test_a_body_beyond_the_limit_is_an_error_and_not_a_hanging_panel(served: Served) -> None:
    assert call(served, "reinstallVPSos", vpsname="01", nics="1" * (2 << 20))[1]
