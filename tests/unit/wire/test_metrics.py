"""GET /metrics: who may, what is counted, and that what cannot be told is not there."""

from __future__ import annotations

import base64
import gc
import re
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from passlib.hash import des_crypt
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.error import ConnectionDone
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from dtcxen_soap import errors
from dtcxen_soap.answers import FreeSpace, Ping, PingList, Space
from dtcxen_soap.calls import Call
from dtcxen_soap.lookfacts import JOB_STATES, VPS_STATES, StateFact
from dtcxen_soap.operations import OPERATIONS
from dtcxen_soap.vps import VpsId
from dtcxen_soap.wire import metrics
from dtcxen_soap.wire.faults import OUTCOMES
from tests.wirekit import ADMIN, NOON, PASSWORD, Reply, Wire, request, xml

Samples = dict[tuple[str, ...], float]


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    users = "".join(f"{user}:{des_crypt.hash(PASSWORD)}\n" for user in (ADMIN, "watch", "xen01"))
    return Wire(tmp_path, users, monitor_user="watch", toolstack="none")


def scrape(wire: Wire, user: str = "watch", password: str = PASSWORD, path: str = "/metrics") -> Reply:
    return wire.get(path, Authorization="Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())


def samples(reply: Reply) -> Samples:
    """Name and label values, in the order of the labels' names, to value; read by Prometheus's own parser."""
    assert reply.status == 200, reply.body
    found = (sample for family in text_string_to_metric_families(reply.body.decode()) for sample in family.samples)
    return {(sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value for sample in found}


def figures(wire: Wire) -> Samples:
    return samples(scrape(wire))


# -- who may ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", [ADMIN, "watch"])
def test_the_admin_and_the_monitor_may(wire: Wire, user: str) -> None:
    reply = scrape(wire, user)
    assert reply.status == 200 and reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_an_owner_may_not(wire: Wire) -> None:
    assert scrape(wire, "xen01").status == 403 and not wire.engine.calls


def test_nobody_and_who_guesses_are_challenged(wire: Wire) -> None:
    reply = wire.get("/metrics")
    assert reply.status == 401 and reply.headers["www-authenticate"].startswith("Basic ")
    protocol, transport = wire.connect()
    protocol.dataReceived(b"GET /metrics HTTP/1.1\r\nAuthorization: Basic " + base64.b64encode(b"watch:wrong") + b"\r\n\r\n")
    assert transport.value() == b"", "late, as every wrong password"
    wire.clock.advance(2)
    assert transport.value().startswith(b"HTTP/1.1 401 ") and not wire.engine.calls
    assert figures(wire)["dtcxen_rejected_requests_total", "unsigned"] == figures(wire)["dtcxen_rejected_requests_total", "credentials"] == 1


def test_it_is_got_and_nothing_else(wire: Wire) -> None:
    reply = wire.raw(b"POST /metrics HTTP/1.1\r\nContent-Type: text/xml\r\nContent-Length: 0\r\n\r\n")
    assert reply is not None and reply.status == 405 and reply.headers["allow"] == "GET, HEAD"
    assert scrape(wire, path="/metrics/more").status == 404
    assert scrape(wire, path="/metrics?name[]=x").status == 200, "Prometheus may be told to add parameters"


# -- requests ---------------------------------------------------------------------------------------------


def test_every_operation_and_outcome_is_there_from_the_start(wire: Wire) -> None:
    calls = {key[1:]: value for key, value in figures(wire).items() if key[0] == "dtcxen_requests_total"}
    assert calls == {(row.name, outcome): 0 for row in OPERATIONS for outcome in ("done", *OUTCOMES, "left")}


@pytest.mark.parametrize(("error", "outcome"), [
    (errors.Missing("x"), "missing"), (errors.Busy("x"), "busy"), (errors.NotAllowed("x"), "not_allowed"), (errors.Failed("", "x"), "failed"),
    (errors.Cancelled("x"), "cancelled"), (errors.Refused(errors.ParameterFault("x", "y", "InvalidParameter", "z")), "refused"), (ZeroDivisionError(), "defect")])
@pytest.mark.parametrize("rpc", [True, False])
def test_calls_are_counted_by_how_they_ended(wire: Wire, error: Exception, outcome: str, rpc: bool) -> None:
    def fail(call: Call) -> Any:
        raise error
    wire.engine.outcome = fail
    assert wire.call("startVPS", ("vpsname" if rpc else "vps", "01"), rpc=rpc)
    wire.engine.outcome = wire.engine._from_table
    assert {key[1:]: value for key, value in figures(wire).items() if key[0] == "dtcxen_requests_total" and value} == {("startVPS", outcome): 1}


def test_an_old_name_counts_for_its_operation(wire: Wire) -> None:
    wire.call("testVPSServer")
    wire.call("reportInstalledIso", ("vpsname", "01"))
    wire.call("reportInstalledIso", ("vpsname", "1x"))
    found = figures(wire)
    assert found["dtcxen_requests_total", "listISOs", "done"] == found["dtcxen_requests_total", "listISOs", "refused"] == 1
    assert found["dtcxen_request_duration_seconds_count", "listISOs"] == 2
    assert not any("reportInstalledIso" in key for key in found)


def test_what_callers_make_up_is_no_label(wire: Wire) -> None:
    wire.call("makeCoffee")
    wire.post(b"<not xml")
    wire.post(xml("testVPSServer"), Content_Type="text/plain")
    found = figures(wire)
    assert found["dtcxen_rejected_requests_total", "operation"] == 2 and found["dtcxen_rejected_requests_total", "media"] == 1
    assert not any("makeCoffee" in key for key in found)


def test_time_is_counted_until_the_reply(wire: Wire) -> None:
    wire.engine.held = []
    protocol, transport = wire.connect()
    protocol.dataReceived(request(xml("destroyVPS", ("vpsname", "01"))))
    wire.clock.advance(7)
    wire.engine.held.pop().set_result(wire.engine._from_table(wire.engine.calls[-1]))
    wire.engine.held = None
    found = figures(wire)
    assert transport.value() and found["dtcxen_request_duration_seconds_sum", "destroyVPS"] == 7
    assert [found["dtcxen_request_duration_seconds_bucket", most, "destroyVPS"] for most in ("5.0", "10.0", "+Inf")] == [0, 1, 1]


def test_a_caller_that_leaves_is_counted_as_one(wire: Wire) -> None:
    wire.engine.held = []
    protocol, _ = wire.connect()
    protocol.dataReceived(request(xml("destroyVPS", ("vpsname", "01"))))
    protocol.connectionLost(Failure(ConnectionDone()))
    wire.engine.held = None
    assert figures(wire)["dtcxen_requests_total", "destroyVPS", "left"] == 1


# -- the node ---------------------------------------------------------------------------------------------


def test_the_nodes_figures(wire: Wire) -> None:
    found = figures(wire)
    assert {key[1]: found[key] for key in found if key[0] == "dtcxen_jobs"} == dict.fromkeys(JOB_STATES, 0) | {"done": 3, "failed": 1}
    assert {key[1]: found[key] for key in found if key[0] == "dtcxen_vpses"} == dict.fromkeys(VPS_STATES, 0) | {"running": 1, "stopped": 1}
    assert found["dtcxen_disk_free_bytes", "/srv", "vbd"] == 4 << 30 and found["dtcxen_disk_free_bytes", "vg0", "lvm"] == 0
    assert found["dtcxen_memory_free_bytes",] == 512 << 20
    assert (found["dtcxen_vps_addresses", "01"], found["dtcxen_vps_addresses_answering", "01"], found["dtcxen_vps_ping_rtt_seconds", "01"]) == (2, 1, 0.0004)
    assert found["dtcxen_certificate_expiry_timestamp_seconds",] == NOON.timestamp()
    assert {key[1]: found[key] for key in found if key[0] == "dtcxen_look_success"} == dict.fromkeys(("space", "vpses", "jobs", "pings"), 1)
    assert any(key[0] == "dtcxen_build_info" for key in found) and found["process_start_time_seconds",] > 0


def test_what_cannot_be_told_is_absent(wire: Wire) -> None:
    assert ("dtcxen_memory_total_bytes",) not in figures(wire), "Xen did not tell it"

    def fail(call: Call) -> Any:
        raise errors.Failed("Ask Xen.", "no answer")
    wire.engine.outcome = fail
    wire.clock.advance(60)
    found = figures(wire)
    assert {key[1]: found[key] for key in found if key[0] == "dtcxen_look_success"} == dict.fromkeys(("space", "vpses", "jobs", "pings"), 0)
    assert not [key for key in found if key[0].startswith(("dtcxen_jobs", "dtcxen_vps", "dtcxen_disk", "dtcxen_memory"))]


def test_states_that_xen_does_not_tell_are_no_states(wire: Wire) -> None:
    table = wire.engine.outcome
    wire.engine.outcome = lambda call: (StateFact(VpsId(1), "mkos"), StateFact(VpsId(2), trouble="no answer")) if call.operation == "vpsStates" else table(call)
    found = figures(wire)
    assert found["dtcxen_look_success", "vpses"] == 0 and not [key for key in found if key[0] == "dtcxen_vpses"]


def test_a_vps_that_does_not_answer_has_no_round_trip(wire: Wire) -> None:
    table, silent = wire.engine.outcome, PingList((Ping("02", "192.0.2.2", False, None, 100),))
    wire.engine.outcome = lambda call: silent if call.operation == "pingAllIPs" else table(call)
    found = figures(wire)
    assert found["dtcxen_vps_addresses_answering", "02"] == 0 and ("dtcxen_vps_ping_rtt_seconds", "02") not in found


def test_the_node_is_asked_every_ten_seconds_and_pinged_once_a_minute(wire: Wire) -> None:
    for _ in range(25):
        figures(wire)
        wire.clock.advance(5)
    asked = [call.operation for call in wire.engine.calls]
    assert {name: asked.count(name) for name in asked} == {"getFreeSpace": 13, "vpsStates": 13, "jobCounts": 13, "pingAllIPs": 3}
    assert {call.caller.name for call in wire.engine.calls} == {"node"}


def test_the_nodes_own_questions_are_no_requests(wire: Wire) -> None:
    figures(wire)
    assert not any(value for key, value in figures(wire).items() if key[0] == "dtcxen_requests_total")


def test_a_scrape_does_not_wait_for_a_node_that_hangs_and_asks_it_once(wire: Wire) -> None:
    wire.engine.held = []
    scrapes = [wire.connect() for _ in range(3)]
    for protocol, _ in scrapes:
        protocol.dataReceived(b"GET /metrics HTTP/1.1\r\nAuthorization: Basic " + base64.b64encode(f"watch:{PASSWORD}".encode()) + b"\r\n\r\n")
    wire.clock.advance(metrics.PATIENCE_SECONDS - 0.1)
    assert not any(transport.value() for _, transport in scrapes)
    wire.clock.advance(0.2)
    replies = [transport.value().decode() for _, transport in scrapes]
    assert all('dtcxen_look_success{look="vpses"} 0.0' in reply and "dtcxen_requests_total" in reply and "dtcxen_vpses" not in reply for reply in replies)
    assert len(wire.engine.held) == 4
    held: list[Future[Any]] = wire.engine.held
    wire.engine.held = None
    for future, call in zip(held, list(wire.engine.calls), strict=True):
        future.set_result(wire.engine.outcome(call))
    assert figures(wire)["dtcxen_vpses", "running"] == 1 and len(wire.engine.calls) == 4, "what came late is there for the next"


def test_a_scraper_that_leaves_takes_nothing_from_the_others(wire: Wire) -> None:
    wire.engine.held = []
    line = b"GET /metrics HTTP/1.1\r\nAuthorization: Basic " + base64.b64encode(f"watch:{PASSWORD}".encode()) + b"\r\n\r\n"
    (first, _), (second, transport) = wire.connect(), wire.connect()
    for protocol in (first, second):
        protocol.dataReceived(line)
    told: list[Any] = []
    globalLogPublisher.addObserver(told.append)
    try:
        first.connectionLost(Failure(ConnectionDone()))
        gc.collect()
        for future, call in zip(list(wire.engine.held), list(wire.engine.calls), strict=True):
            future.set_result(wire.engine._from_table(call))
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(told.append)
    assert b'dtcxen_vpses{state="running"} 1.0' in transport.value()
    assert not [event for event in told if event.get("log_failure")], "and nobody is told of what is no error"


def test_daemons_do_not_share_figures(tmp_path: Path, wire: Wire) -> None:
    wire.call("testVPSServer")
    (tmp_path / "other").mkdir()
    other = Wire(tmp_path / "other")
    assert samples(scrape(other, ADMIN))["dtcxen_requests_total", "testVPSServer", "done"] == 0


def test_names_and_places_survive_the_format(wire: Wire) -> None:
    table, odd = wire.engine.outcome, FreeSpace((Space("vbd", '/a "b"\\c\nd', 1),), None, None)
    wire.engine.outcome = lambda call: odd if call.operation == "getFreeSpace" else table(call)
    assert figures(wire)["dtcxen_disk_free_bytes", '/a "b"\\c\nd', "vbd"] == 1 << 20
    assert all(re.fullmatch(r"#.*|\S+(\{.*\})? \S+", line) for line in scrape(wire).body.decode().splitlines())
