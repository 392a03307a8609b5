"""The panel's own client library over TLS: Debian 13's, unmodified, and Debian 12's with its constructors renamed, without which PHP 8 runs no copy of its age."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dtcxen_soap import answers
from dtcxen_soap.errors import Failed
from dtcxen_soap.operations import Form, forms
from tests.interop.clients import encoded, meant, outcomes, sample, through
from tests.interop.nusoap import DEBIANS, command_of
from tests.interop.served import Served
from tests.wirekit import ADMIN, PASSWORD

pytestmark = [pytest.mark.machine, pytest.mark.debian13]


@dataclasses.dataclass(frozen=True)
class Panel:
    """A service, and the command that runs a script with one of the libraries."""

    served: Served
    command: Callable[[str], list[str]]

    def told(self, *calls: tuple[str, dict[str, Any]], sign_in: str = PASSWORD) -> list[dict[str, Any]]:
        return outcomes("nusoap.php", calls, self.command, url=self.served.url, user=ADMIN, password=sign_in)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"), auth_failure_delay_ms=10)
    yield made
    made.close()


@pytest.fixture(scope="module", params=DEBIANS)
def panel(request: pytest.FixtureRequest, served: Served, tmp_path_factory: pytest.TempPathFactory) -> Panel:
    return Panel(served, command_of(request.param, tmp_path_factory.mktemp("library")))


def call(panel: Panel, operation: str, /, sign_in: str = PASSWORD, **parameters: Any) -> tuple[Any, Any]:
    """The panel's two results: the reply, and getError()."""
    (told,) = panel.told((operation, parameters), sign_in=sign_in)
    return told["result"], told["error"]


@pytest.fixture(scope="module")
def replies(panel: Panel) -> dict[str, Any]:
    """What nusoap makes of every operation's reply, and what we made of its request. It says Latin-1 whatever it sends, so the samples' Euro sign stays at home."""
    return through(panel.served, forms(rpc=True), lambda calls: panel.told(*((name, latin(parameters)) for name, parameters in calls)))


def latin(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: text.replace("\u20ac", "") for name, text in parameters.items()}


@pytest.mark.parametrize("form", forms(rpc=True), ids=lambda form: form.name)
def test_every_operation_is_answered_in_a_shape_that_nusoap_reads(form: Form, panel: Panel, replies: dict[str, Any]) -> None:
    told = {"result": encoded(form), "error": False}
    assert replies[form.name] == (told, meant(panel.served, form, True, latin(sample(form)[1])))


def test_menus_are_plain_lists_of_any_length(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    for names in ((), ("one",), ("one", "two")):
        monkeypatch.setattr(panel.served.engine, "outcome", lambda call, names=names: answers.InstallableOs(names))
        assert call(panel, "getInstallableOS") == (list(names), False)


def test_states_that_the_panel_compares_are_words(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("mkos", "fsck", "Not running"):
        monkeypatch.setattr(panel.served.engine, "outcome", lambda call, word=word: answers.VpsState("01", word))
        assert call(panel, "getVPSState", vpsname="xen01") == (word, False)


def test_what_xl_could_not_do_is_words_and_no_error(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(call: Any) -> Any:
        raise Failed("Start xen01.", 'Domain 4:Domain with name "xen01" already exists.')
    monkeypatch.setattr(panel.served.engine, "outcome", fail)
    for operation in ("startVPS", "shutdownVPS", "destroyVPS", "listStartedVPS"):
        parameters = {} if operation == "listStartedVPS" else {"vpsname": "xen01"}
        assert call(panel, operation, **parameters) == ('NOTOK - Domain 4:Domain with name "xen01" already exists.', False)


def test_all_forms_of_an_installation_start_a_job(panel: Panel) -> None:
    form = {"vpsname": "01", "ostype": "debian", "ramsize": "128", "password": "r00tPass"}
    nics = "192.0.2.10,255.255.255.0,192.0.2.255+192.0.2.11,255.255.255.0,192.0.2.255"
    many = "\n".join(f"192.0.2.{number},255.255.255.0,192.0.2.255" for number in range(10, 70))
    for more in ({"nics": nics, "gateway": "192.0.2.1", "dns": "192.0.2.53"}, {"nics": nics, "gateway": None, "dns": None},
                 {"hddsize": "1024", "ipaddr": "192.0.2.10"}, {"nics": many, "gateway": "192.0.2.1", "dns": "192.0.2.53"}):
        assert call(panel, "reinstallVPSos", **form, **more) == ("OK, started mkos.", False)


def test_errors_are_read(panel: Panel) -> None:
    assert call(panel, "setupLVMDisks", vpsname=None, hddsize="1024", swapsize="1")[1].startswith("SOAP-ENV:Client.NilParameter: setupLVMDisks: vpsname: null")
    assert call(panel, "setupLVMDisks", vpsname="", hddsize="30000", swapsize="512")[1].startswith("SOAP-ENV:Client.InvalidParameter: setupLVMDisks: vpsname: ''")
    assert call(panel, "noSuchOperation")[1].startswith("SOAP-ENV:Client.UnknownOperation: noSuchOperation: unknown operation")
    assert call(panel, "testVPSServer", "wrong")[1] == "SOAP-ENV:Client.Authentication: Authorization failed."


def test_a_body_beyond_the_limit_is_an_error_and_not_a_hanging_panel(panel: Panel) -> None:
    assert call(panel, "reinstallVPSos", vpsname="01", nics="1" * (2 << 20))[1]
