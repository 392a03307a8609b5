"""What the toolstack could not do: words for the panel, a fault for everybody else, and refusals are faults for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from passlib.hash import des_crypt

from dtcxen_soap import answers
from dtcxen_soap.errors import Busy, Cancelled, Failed, Missing, NotAllowed
from tests.unit.wire.test_replies import decoded
from tests.wirekit import Wire

EXISTS = 'Domain 4:Domain with name "xen01" already exists.'
XL = Failed("Start xen01.", EXISTS, "xl create --quiet --defconfig=/etc/xen/xen01", "libxl: error: ...")
POWER = ("startVPS", "shutdownVPS", "destroyVPS")


def failing(folder: Path, error: Exception) -> Wire:
    wire = Wire(folder)

    def fail(call: Any) -> Any:
        raise error

    wire.engine.outcome = fail
    return wire


@pytest.mark.parametrize("operation", POWER)
def test_the_panel_reads_the_words_of_xl(operation: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reply = failing(tmp_path, XL).call(operation, ("vpsname", "xen01"))
    assert reply.status == 200 and decoded(reply.result) == f"NOTOK - {EXISTS}"
    assert "xl create" in caplog.text, "the node's log has the command"


@pytest.mark.parametrize("operation", [*POWER, "rebootVPS"])
def test_a_wsdl_client_gets_a_fault_with_the_same_words(operation: str, tmp_path: Path) -> None:
    reply = failing(tmp_path, XL).call(operation, ("vps", "xen01"), rpc=False)
    assert reply.status == 500 and reply.fault == f"SOAP-ENV:Server.Failed: Start xen01: {EXISTS}" and reply.text("problem") == EXISTS


def test_a_planners_words_come_alone(tmp_path: Path) -> None:
    wire = failing(tmp_path, Failed("", "xen01 is running already"))
    assert decoded(wire.call("startVPS", ("vpsname", "01")).result) == "NOTOK - xen01 is running already"
    assert wire.call("startVPS", ("vps", "01"), rpc=False).fault == "SOAP-ENV:Server.Failed: xen01 is running already"


def test_a_new_name_is_a_fault_in_both_dialects(tmp_path: Path) -> None:
    assert "Server.Failed" in failing(tmp_path, XL).call("rebootVPS", ("vps", "01")).fault


@pytest.mark.parametrize(("error", "code"), [
    (Busy("held by job 7", 7), "Client.Busy"), (Missing("no configuration"), "Client.Missing"), (NotAllowed("no"), "Client.NotAllowed"),
    (Cancelled("ended"), "Client.Cancelled"), (RuntimeError("a defect"), "Server")])
@pytest.mark.parametrize("rpc", [True, False])
def test_everything_else_is_a_fault_for_everybody(error: Exception, code: str, rpc: bool, tmp_path: Path) -> None:
    reply = failing(tmp_path, error).call("startVPS", ("vpsname" if rpc else "vps", "01"), rpc=rpc)
    assert reply.status == 500 and reply.fault.startswith(f"SOAP-ENV:{code}")


def test_a_bad_call_is_refused_for_the_panel_too(tmp_path: Path) -> None:
    reply = Wire(tmp_path).call("startVPS", ("vpsname", "xenxen01"))
    assert reply.status == 500 and "Client.InvalidParameter: startVPS: vpsname" in reply.fault


def test_failures_of_other_operations_stay_faults(tmp_path: Path) -> None:
    assert "Server.Failed" in failing(tmp_path, XL).call("killVPS", ("vpsname", "01")).fault


def test_what_runs_is_told_in_rows_of_six_or_in_records(tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    row = answers.Started("xen01", 3, 128, 1, "blocked", "-b----", 51.5)
    wire.engine.outcome = lambda call: answers.StartedList((row, answers.Started("xen02", 4, 128, 1, "running", "r-----", 1.5)))
    assert decoded(wire.call("listStartedVPS").result) == [["xen01", "3", "128", "1", "-b----", "51.5"], ["xen02", "4", "128", "1", "r-----", "1.5"]]
    told = wire.call("listStartedVPS", rpc=False)
    assert (told.text("name"), told.text("memoryMib"), told.text("state"), told.text("cpuSeconds")) == ("xen01", "128", "blocked", "51.5")


def test_an_owner_runs_its_own_vps_and_sees_no_list(tmp_path: Path) -> None:
    wire = Wire(tmp_path, f"xen02:{des_crypt.hash('s3cret')}\n")
    for operation in POWER:
        assert wire.call(operation, ("vpsname", "xen02"), user="xen02").status == 200
        assert "Client.NotAllowed" in wire.call(operation, ("vpsname", "xen01"), user="xen02").fault
    assert "Client.NotAllowed" in wire.call("listStartedVPS", user="xen02").fault
