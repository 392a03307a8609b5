"""Calls that are refused before they reach the engine: those that would have changed something are told to it, for the audit; no secret is."""

from __future__ import annotations

from pathlib import Path

import pytest
from passlib.hash import des_crypt

from dtcxen_soap.calls import Kind, NotAdmitted
from dtcxen_soap.operations import OPERATIONS, find
from dtcxen_soap.requests import has_secrets, parameters
from dtcxen_soap.vps import VpsId
from tests.wirekit import ADMIN, PASSWORD, Wire

SECRET = "geheim-geheim"
HTPASSWD = f"{ADMIN}:{des_crypt.hash(PASSWORD)}\nxen02:{des_crypt.hash(PASSWORD)}\n"


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    return Wire(tmp_path, HTPASSWD)


def only(wire: Wire) -> NotAdmitted:
    (told,) = wire.engine.refused
    assert wire.engine.calls == []
    return told


def test_the_volume_called_30000(wire: Wire) -> None:
    """An empty field in the panel: the audit says whose call it was, what it said, and which parameter was at fault."""
    reply = wire.call("setupLVMDisks", ("vpsname", "01"), ("hddsize", ""), ("swapsize", "512"), ("imagetype", "30000"))
    told = only(wire)
    assert (told.operation, told.caller.name, told.caller.peer, told.vps) == ("setupLVMDisks", ADMIN, "192.0.2.99", VpsId(1))
    assert told.arguments == "vpsname=01 hddsize='' swapsize=512 imagetype=30000"
    assert told.reason.startswith("Refused: setupLVMDisks: hddsize: ") and "'30000': not one of the words" in told.reason
    assert told.reason.removeprefix("Refused: ") == reply.text("faultstring")


@pytest.mark.parametrize("name", [operation.old_name or operation.name for operation in OPERATIONS if has_secrets(operation.request)])
@pytest.mark.parametrize("rpc", [True, False])
def test_a_secret_in_the_wrong_place_is_not_told(wire: Wire, name: str, rpc: bool) -> None:
    """Where values may have moved, each of them may be the password."""
    form = find(name, rpc)
    assert form
    names = [item.name(form.old) for item in parameters(form.operation.request, form.old, rpc)]
    assert wire.call(name, *((item, SECRET) for item in names), ("rest", SECRET), rpc=rpc).status == 500
    told = only(wire)
    assert SECRET not in str(told) and "geheim" not in str(told) and told.arguments == " ".join([*names, "rest"])
    assert f"{name}: {names[0]}: not valid, expected a VPS number" in told.reason and f"{name}: rest: unknown parameter" in told.reason


def test_what_the_caller_sees_of_its_own_value_stays(wire: Wire) -> None:
    assert "'many': not a whole number" in wire.call("reinstallVPSos", ("vpsname", "01"), ("ramsize", "many")).fault


@pytest.mark.parametrize(("operation", "vps", "told_of"), [("killVPS", "03", VpsId(3)), ("killVPSDisk", "03", VpsId(3)), ("startVPS", "03", VpsId(3))])
def test_who_may_not_is_told_too(wire: Wire, operation: str, vps: str, told_of: VpsId) -> None:
    assert "NotAllowed" in wire.call(operation, ("vps" if operation == "killVPSDisk" else "vpsname", vps), user="xen02").fault
    told = only(wire)
    assert told.reason.startswith(f"NotAllowed: {operation}: xen02 may ") and told.vps == told_of and told.arguments.endswith("=03") and told.caller.name == "xen02"


@pytest.mark.parametrize("given", ["", "0", "10000", "xen", "../01"])
def test_a_vps_that_is_none_is_nobodys_row(wire: Wire, given: str) -> None:
    wire.call("killVPS", ("vpsname", given))
    assert only(wire).vps is None


def test_each_operation_that_changes_something_and_no_other(wire: Wire) -> None:
    for operation in OPERATIONS:
        wire.engine.refused.clear()
        wire.call(operation.name, ("nobodys", "1"))
        assert [told.operation for told in wire.engine.refused] == ([] if operation.kind is Kind.READ else [operation.name])


def test_an_unknown_operation_is_a_line_of_the_log(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.call("formatVPS", ("vpsname", SECRET))
    assert wire.engine.refused == [] and "dtc-xen: unknown operation 'formatVPS', from 192.0.2.99" in caplog.text and SECRET not in caplog.text


def test_what_a_row_holds_is_bounded(wire: Wire) -> None:
    wire.call("killVPS", *((f"{'n' * 200}{number}", "v" * 5000) for number in range(100)))
    told = only(wire)
    assert len(told.reason) < 1100 and len(told.arguments) < 30 * 300 + 40 and told.arguments.endswith("... (100 parameters)") and told.reason.endswith("...")


def test_newlines_do_not_make_lines(wire: Wire) -> None:
    wire.call("killVPS", ("vpsname", "01\nroot: OK"))
    assert "\n" not in only(wire).arguments + only(wire).reason
