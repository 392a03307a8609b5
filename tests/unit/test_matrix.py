"""The authorisation matrix, through the wire: who signs in x operation x VPS, under every name and in both dialects.

The tables below are the rule; a row of the catalogue that opens an operation to somebody else
must be written down here too, or this fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from passlib.hash import sha256_crypt

from dtcxen_soap.access import Role
from dtcxen_soap.calls import Call
from dtcxen_soap.facts import NeedJobs
from dtcxen_soap.operations import Form, forms
from dtcxen_soap.vps import VpsId
from tests.wirekit import ADMIN, PASSWORD, SAMPLES, Wire, parse, request, xml

OWNER_CHANGES = {
    "startVPS", "shutdownVPS", "rebootVPS", "destroyVPS", "fsckVPSpartition", "setConsolePassword", "setSshKey", "setSoapPassword"}
"""What an owner may do to the own VPS. Whatever sets its disk, RAM, address or configuration is the admin's."""
OWNER_READS = {"getVPSState", "infoVPS", "getVPSInstallLog", "listISOs", "listJobs"}
"""What an owner may read of the own VPS."""
OF_THE_NODE = {"listStartedVPS", "listVPS", "pingAllIPs", "getFreeSpace"}
"""What tells of all VPSes: the admin's and the monitor's."""
ANYONES = {"testVPSServer", "listInstallableOS", "listInstallableApps", "getJob", "getJobLog"}
"""What names no VPS. An owner's getJob and getJobLog find the jobs of its own VPS only."""

MAY: dict[str, dict[str, set[str]]] = {
    "admin": {"own": set(), "other": set(), "none": set()},
    "monitor": {target: OWNER_READS | OF_THE_NODE | ANYONES for target in ("own", "other", "none")},
    "xen01": {"own": OWNER_CHANGES | OWNER_READS | ANYONES, "other": ANYONES, "none": ANYONES | {"listJobs"}},
    "xen10": {"own": ANYONES, "other": ANYONES, "none": ANYONES | {"listJobs"}},
}
"""Who may call what on VPS 01 ("own": xen01's), on VPS 02 ("other"), or where no VPS is named. The admin may all."""
STRANGERS = {"bob": PASSWORD, "xen01": "wrong", "xen99": PASSWORD, "root": PASSWORD, "xen1": PASSWORD, "xen001": PASSWORD}
"""A name of the file that is nothing here, a wrong password, names that are not in the file, and names that a number would make of xen01."""
SIGN_IN = {"admin": ADMIN, "monitor": "nagios", "xen01": "xen01", "xen10": "xen10"}
WRITTEN = {"own": ("01", "xen01", "1", "xen1"), "other": ("02", "xen02"), "none": ("",)}
EVERY = [(form, rpc) for rpc in (True, False) for form in forms(rpc)]
IDS = [f"{form.name}-{'rpc' if rpc else 'literal'}" for form, rpc in EVERY]


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Wire:
    hashed = sha256_crypt.using(rounds=1000).hash(PASSWORD)
    users = "".join(f"{user}:{hashed}\n" for user in (*SIGN_IN.values(), "bob", "xen1", "xen001"))
    return Wire(tmp_path_factory.mktemp("node"), users, monitor_user="nagios", auth_failure_delay_ms=10)


def calls(form: Form, rpc: bool) -> Iterator[tuple[str, bytes]]:
    """Whom each call is about, as in WRITTEN, and its message: the VPS in every spelling, other parameters as ever."""
    items = [item for item in form.parameters if rpc or not item.rpc_only]
    named = [item for item in items if item.field == "vps"]
    others = [item for item in items if not (item.rpc_only and item.optional) and item not in named]
    rest = [(item.name(form.old), SAMPLES[item.type.name].replace("&", "&amp;")) for item in others]
    for target, spellings in WRITTEN.items():
        if named and (target != "none" or named[0].optional):
            for text in spellings:
                yield target, xml(form.name, *([(named[0].name(form.old), text)] if text else []), *rest, rpc=rpc)
        elif target == "none" and not named:
            yield target, xml(form.name, *rest, rpc=rpc)


def outcome(wire: Wire, user: str, body: bytes) -> tuple[str, Call | None]:
    """What the caller is told ("served" or "refused"), and the call that went on from there."""
    wire.engine.calls.clear()
    reply = wire.post(body, user=user)
    assert reply.status == 200 or (reply.status == 500 and reply.fault.startswith("SOAP-ENV:Client.NotAllowed: ")), reply.fault
    return ("served" if reply.status == 200 else "refused"), (wire.engine.calls or [None])[0]


@pytest.mark.parametrize(("form", "rpc"), EVERY, ids=IDS)
@pytest.mark.parametrize("who", MAY)
def test_matrix(who: str, form: Form, rpc: bool, wire: Wire) -> None:
    name = form.operation.name
    for target, body in calls(form, rpc):
        told, call = outcome(wire, SIGN_IN[who], body)
        expected = who == "admin" or name in MAY[who][target]
        assert told == ("served" if expected else "refused"), (target, body)
        assert (call is not None) == expected, "what is refused never reaches the engine"
        if call is not None:
            _is_about(target, who, call)


def _is_about(target: str, who: str, call: Call) -> None:
    """The call acts on the VPS that was written, and on an owner's own where none was."""
    own = VpsId.parse(who) if who.startswith("xen") else None
    named = {"own": VpsId(1), "other": VpsId(2), "none": own}[target]
    assert call.vps == named and call.caller.vps == own
    assert all(need.owner == own for need in call.needs if isinstance(need, NeedJobs))


@pytest.mark.parametrize(("form", "rpc"), EVERY, ids=IDS)
def test_nobody_calls_anything_without_signing_in(form: Form, rpc: bool, wire: Wire) -> None:
    wire.engine.calls.clear()
    for _, body in calls(form, rpc):
        assert wire.post(body, password=None).status == 401
    assert not wire.engine.calls


@pytest.mark.parametrize(("form", "rpc"), EVERY, ids=IDS)
def test_nor_with_credentials_of_nobody(form: Form, rpc: bool, wire: Wire) -> None:
    wire.engine.calls.clear()
    body = next(body for _, body in calls(form, rpc))
    for user, password in STRANGERS.items():
        protocol, transport = wire.connect(f"192.0.2.{len(user)}")
        protocol.dataReceived(request(body, user, password))
        wire.clock.advance(3600)
        reply = parse(transport.value())
        assert reply.status == 500 and reply.fault == "SOAP-ENV:Client.Authentication: Authorization failed."
    assert not wire.engine.calls


@pytest.mark.parametrize("written", ["xenxen01", "Xen01", "xen01 ", " xen01", "xen 01", "xen01/../xen02", "01,02", "0", "00", "10000"])
@pytest.mark.parametrize("who", MAY)
def test_no_other_spelling_is_a_vps(who: str, written: str, wire: Wire) -> None:
    wire.engine.calls.clear()
    reply = wire.post(xml("startVPS", ("vpsname", written)), user=SIGN_IN[who])
    assert reply.status == 500 and "Client.InvalidParameter: startVPS: vpsname: " in reply.fault and not wire.engine.calls


def test_the_rule_names_no_operation_that_is_not_there() -> None:
    catalogue = {form.operation.name for form, _ in EVERY}
    assert catalogue >= OWNER_CHANGES | OWNER_READS | OF_THE_NODE | ANYONES


def test_roles_are_told_apart_by_name_alone(wire: Wire) -> None:
    seen: dict[str, Any] = {}
    for who, user in SIGN_IN.items():
        _, call = outcome(wire, user, xml("testVPSServer"))
        assert call is not None
        seen[who] = call.caller.role
    assert seen == {"admin": Role.ADMIN, "monitor": Role.MONITOR, "xen01": Role.OWNER, "xen10": Role.OWNER}
