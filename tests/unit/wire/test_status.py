"""The status page: who gets what, what others' pages get, what is unknown, and that no text becomes markup."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from passlib.hash import des_crypt
from twisted.internet import defer

from dtcxen_soap.answers import FreeSpace, Job, JobList, JobLogPart, Ping, PingList, Space, VpsState
from dtcxen_soap.calls import Call
from dtcxen_soap.errors import Failed, Missing
from dtcxen_soap.facts import NeedJobs
from dtcxen_soap.lookfacts import StateFact
from dtcxen_soap.vps import Mib, VpsId
from dtcxen_soap.wire import statuspage, statusview
from dtcxen_soap.wire.statusview import Cell, Page, Table, harmless
from tests.wirekit import ADMIN, NOON, PASSWORD, Reply, Wire, xml

PAGES = ("/", "/status.json", "/status.css", "/status.js", "/jobs/7")
JOB = Job(7, "01", "reinstallOS", "failed", ADMIN, 2, 9, "Make the file system.", 12, NOON, NOON, NOON, "no space", 10)


@pytest.fixture
def wire(tmp_path: Path) -> Wire:
    users = "".join(f"{user}:{des_crypt.hash(PASSWORD)}\n" for user in (ADMIN, "watch", "xen01", "xen02"))
    return Wire(tmp_path, users, monitor_user="watch", toolstack="none")


def signed(user: str, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def get(wire: Wire, path: str = "/", user: str = ADMIN, **headers: str) -> Reply:
    return wire.get(path, Authorization=signed(user), **headers)


def tables(wire: Wire, user: str = ADMIN) -> dict[str, list[list[dict[str, Any]]]]:
    reply = get(wire, "/status.json", user)
    assert reply.status == 200 and reply.headers["content-type"] == "application/json"
    return {name: table["rows"] for name, table in json.loads(reply.body)["tables"].items()}


def pairs(rows: list[list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    return {name["text"]: cell for name, cell in rows}


class Drawn(HTMLParser):
    """What a parser of HTML sees: tags, and the text of each cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in ("th", "td"):
            self.inside = True
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("th", "td")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.cells[-1] += data


def drawn(page: Page, log: str | None = None) -> str:
    made: list[bytes] = []
    defer.Deferred.fromCoroutine(statuspage.html(page, log=log)).addCallback(made.append)
    return made[0].decode()


# -- who may ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_nobody_and_who_guesses_are_challenged_as_browsers_understand(wire: Wire, path: str) -> None:
    reply = wire.get(path)
    assert reply.status == 401 and reply.headers["www-authenticate"].startswith("Basic realm=") and not wire.engine.calls
    protocol, transport = wire.connect()
    protocol.dataReceived(f"GET {path} HTTP/1.1\r\nAuthorization: {signed(ADMIN, 'wrong')}\r\n\r\n".encode())
    assert not transport.value(), "the answer to a guess did not wait"
    wire.clock.advance(wire.settings.auth_failure_delay_ms / 1000 + 0.1)
    assert transport.value().startswith(b"HTTP/1.1 401 ") and not wire.engine.calls


@pytest.mark.parametrize("user", [ADMIN, "watch"])
def test_the_admin_and_the_monitor_see_the_node(wire: Wire, user: str) -> None:
    reply = get(wire, user=user)
    assert reply.status == 200 and reply.headers["content-type"] == "text/html; charset=utf-8"
    assert {call.operation for call in wire.engine.calls} == {"getFreeSpace", "vpsStates", "pingAllIPs", "listJobs"}
    assert list(tables(wire, user)) == ["node", "capacity", "live", "failures", "vpses"]


def test_an_owner_sees_the_own_vps_by_the_operations_that_are_an_owners(wire: Wire) -> None:
    assert list(tables(wire, "xen02")) == ["own", "live", "failures"]
    assert {call.operation for call in wire.engine.calls} == {"getVPSState", "infoVPS", "listJobs"}
    for call in wire.engine.calls:
        assert call.vps == VpsId(2) == call.caller.vps
        assert all(need.owner == VpsId(2) == need.vps for need in call.needs if isinstance(need, NeedJobs))
    body = get(wire, user="xen02").body
    assert b"192.0.2.10" in body and b"vg0" not in body.replace(b"/dev/vg0", b"")


def test_two_owners_share_no_look(wire: Wire) -> None:
    for user in ("xen01", "xen02", "xen01"):
        get(wire, user=user)
    assert [str(call.vps) for call in wire.engine.calls] == ["01"] * 4 + ["02"] * 4


def test_a_job_is_asked_for_as_its_reader(wire: Wire) -> None:
    assert get(wire, "/jobs/7", "xen02").status == 200
    owners = [need.owner for call in wire.engine.calls for need in call.needs if isinstance(need, NeedJobs)]
    assert owners == [VpsId(2)] * 2 and [call.operation for call in wire.engine.calls] == ["getJob", "getJobLog"]


def test_a_job_that_is_not_there_or_not_for_the_reader(wire: Wire) -> None:
    wire.engine.outcome = _raiser(Missing("getJob: there is no job 7"))
    reply = get(wire, "/jobs/7", "xen02")
    assert (reply.status, reply.body) == (404, b"There is no job 7.\n")
    assert get(wire, "/jobs/999999999999999999").status == 404
    assert get(wire, "/jobs/x").status == 404 == get(wire, "/jobs/7/").status == get(wire, "/jobs/").status


def _raiser(error: Exception) -> Any:
    def outcome(call: Call) -> Any:
        raise error
    return outcome


def test_a_journal_that_cannot_be_read_is_told_as_text(wire: Wire) -> None:
    wire.engine.outcome = _raiser(Failed("Read the journal.", "disk \u202e error"))
    reply = get(wire, "/jobs/7")
    assert reply.status == 503 and reply.headers["content-type"].startswith("text/plain") and "\\u202e" in reply.body.decode()


# -- what a browser is told, and others' pages ------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_forbids_what_is_not_ours(wire: Wire, path: str) -> None:
    for reply in (get(wire, path), wire.get(path)):
        policy = reply.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "http" not in policy
        assert {"frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "script-src 'self'"} <= set(policy.split("; "))
        assert (reply.headers["cache-control"], reply.headers["x-content-type-options"], reply.headers["referrer-policy"]) == ("no-store", "nosniff", "no-referrer")
        assert not any(name.startswith("access-control") for name in reply.headers)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("site", ["cross-site", "same-site", "made-up"])
def test_pages_of_others_get_nothing(wire: Wire, path: str, site: str) -> None:
    for mode, dest in (("cors", "empty"), ("no-cors", "script"), ("navigate", "iframe"), ("no-cors", "document")):
        assert get(wire, path, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode, Sec_Fetch_Dest=dest).status == 403
    assert get(wire, path, Origin="https://node.example").status == 403 and not wire.engine.calls


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/jobs/7", 200), ("/status.json", 403), ("/status.js", 403)])
def test_a_link_may_lead_to_a_page(wire: Wire, path: str, status: int) -> None:
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert get(wire, path, **link).status == status
    assert get(wire, path, **link, Origin="null").status == 403
    for own in ("none", "same-origin"):
        assert get(wire, path, Sec_Fetch_Site=own).status == 200


def test_what_was_at_this_address_before_is_there_still(wire: Wire) -> None:
    assert wire.get("/?wsdl").status == 200 == wire.get("/?WSDL").status and b"definitions" in wire.get("/?wsdl", Origin="https://a.example", Sec_Fetch_Site="cross-site").body
    assert wire.post(xml("testVPSServer")).text("Result") == "OK"
    other = get(wire, "/?other")
    assert (other.status, other.body) == (405, b"POST SOAP 1.1 here, or GET /?wsdl.\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_sent_to_it(wire: Wire, method: str) -> None:
    for path in PAGES[1:]:
        reply = wire.raw(f"{method} {path} HTTP/1.1\r\nAuthorization: {signed(ADMIN)}\r\nContent-Length: 0\r\n\r\n".encode())
        assert reply is not None and reply.status in (404, 405)
    assert not wire.engine.calls


def test_head_has_no_body(wire: Wire) -> None:
    reply = wire.raw(f"HEAD / HTTP/1.1\r\nAuthorization: {signed(ADMIN)}\r\n\r\n".encode())
    assert reply is not None and reply.status == 200 and not reply.body and int(reply.headers["content-length"]) > 1000


# -- work -------------------------------------------------------------------------------------------------


def test_many_browsers_and_prometheus_are_one_look(wire: Wire) -> None:
    for _ in range(20):
        assert get(wire).status == get(wire, "/status.json", "watch").status == get(wire, "/metrics", "watch").status == 200
    asked = [call.operation for call in wire.engine.calls]
    assert {name: asked.count(name) for name in set(asked)} == {"getFreeSpace": 1, "vpsStates": 1, "pingAllIPs": 1, "listJobs": 2, "jobCounts": 1}
    wire.clock.advance(2.1)
    get(wire)
    assert [call.operation for call in wire.engine.calls][6:] == ["listJobs", "listJobs"]
    wire.clock.advance(58)
    get(wire)
    assert sorted(call.operation for call in wire.engine.calls[8:]) == ["getFreeSpace", "listJobs", "listJobs", "pingAllIPs", "vpsStates"]


def test_jobs_are_asked_for_by_state(wire: Wire) -> None:
    get(wire)
    needs = [need for call in wire.engine.calls for need in call.needs if isinstance(need, NeedJobs)]
    assert [(need.states, need.limit) for need in needs] == [(("queued", "running"), 50), (("failed", "interrupted"), 10)]


def test_a_node_that_does_not_answer_delays_nobody_long(wire: Wire) -> None:
    wire.engine.held = []
    protocol, transport = wire.connect()
    protocol.dataReceived(f"GET / HTTP/1.1\r\nAuthorization: {signed(ADMIN)}\r\n\r\n".encode())
    assert not transport.value()
    wire.clock.advance(3.1)
    assert transport.value().startswith(b"HTTP/1.1 200 ") and transport.value().count(b"unknown: the node has not answered") == 4
    assert b'class="good"' not in transport.value().replace(b"ends 20", b"").partition(b"capacity")[2]


# -- what is said -----------------------------------------------------------------------------------------


def scene(wire: Wire, answers: Mapping[str, Any]) -> None:
    def outcome(call: Call) -> Any:
        found = answers.get(call.operation, Failed("Look.", "nothing is known"))
        if isinstance(found, Exception):
            raise found
        return found
    wire.engine.outcome = outcome


def test_what_failed_is_unknown_and_never_zero_or_green(wire: Wire) -> None:
    scene(wire, {})
    found = tables(wire)
    for name in ("capacity", "live", "failures", "vpses"):
        assert found[name] == [[{"text": "unknown: the node has not answered", "tone": "unknown"}]]
    assert pairs(found["node"])["VPSes"] == {"text": "unknown", "tone": "unknown"}
    own = pairs(tables(wire, "xen01")["own"])
    assert own == {"State": {"text": "unknown", "tone": "unknown"}, "Configuration": {"text": "unknown", "tone": "unknown"}}


def test_a_vps_whose_state_is_not_known(wire: Wire) -> None:
    scene(wire, {"vpsStates": (StateFact(VpsId(1), trouble="xl: no answer"), StateFact(VpsId(2)))})
    found = tables(wire)
    assert [cell["text"] for cell in found["vpses"][0]] == ["xen01", "unknown: xl: no answer", "unknown", "unknown", "unknown", "unknown"]
    assert [cell["text"] for cell in found["vpses"][1]] == ["xen02", "stopped", "–", "–", "unknown", "unknown"]
    assert {cell.get("tone") for row in found["vpses"] for cell in row} == {None, "unknown"}
    assert pairs(found["node"])["VPSes"] == {"text": "1 unknown, 1 stopped", "tone": "unknown"}


@pytest.mark.parametrize(("word", "answered", "expected"), [
    ("blocked", (True, True), ("2 of 2", "good")), ("blocked", (True, False), ("1 of 2", "warn")), ("blocked", (False,), ("0 of 1", "bad")),
    ("", (False,), ("0 of 1", "")), ("", (True,), ("1 of 1", "good")), ("blocked", (), ("not pinged", ""))])
def test_how_many_answered(wire: Wire, word: str, answered: tuple[bool, ...], expected: tuple[str, str]) -> None:
    pings = PingList(tuple(Ping("01", f"192.0.2.{n}", ok, None, 0) for n, ok in enumerate(answered)))
    scene(wire, {"vpsStates": (StateFact(VpsId(1), state=word, domid=3 if word else None, memory=Mib(64)),), "pingAllIPs": pings})
    (row,) = tables(wire)["vpses"]
    assert (row[5]["text"], row[5].get("tone", "")) == expected


def test_capacity_names_each_place_and_memory_that_is_not_known(wire: Wire) -> None:
    scene(wire, {"getFreeSpace": FreeSpace((Space("vbd", "/srv", 4096), Space("lvm", "vg0", 0)), None, None)})
    assert tables(wire)["capacity"] == [
        [{"text": "Memory"}, {"text": "unknown", "tone": "unknown"}], [{"text": "Disk images in /srv"}, {"text": "4.0 GiB"}],
        [{"text": "Volumes in vg0"}, {"text": "0 MiB", "tone": "warn"}]]


def test_jobs_and_failures_lead_to_their_logs(wire: Wire) -> None:
    scene(wire, {"listJobs": JobList((JOB, dataclasses.replace(JOB, id=8, vps=None, reason="", ended=None)))})
    first, second = tables(wire)["failures"]
    assert first == [{"text": "Job 7", "link": "/jobs/7"}, {"text": "reinstallOS"}, {"text": "xen01"}, {"text": "2026-11-22 12:00:00 UTC"},
                     {"text": "failed", "tone": "bad"}, {"text": "no space"}]
    assert [cell["text"] for cell in second[2:]] == ["–", "unknown", "failed", "unknown"]
    live = tables(wire)["live"][0]
    assert live[3:] == [{"text": "2 of 9: Make the file system."}, {"text": "12 %", "percent": 12}]


def test_when_it_was_looked_at_is_said(wire: Wire) -> None:
    get(wire)
    wire.clock.advance(1.5)
    told = json.loads(get(wire, "/status.json").body)
    assert told["made"] == "2026-11-22 12:00:00 UTC" and told["tables"]["capacity"]["seen"] == "seen at 11:59:58 UTC"
    assert told["tables"]["vpses"]["seen"] == "seen at 11:59:58 UTC (states), 11:59:58 UTC (pings)"


@pytest.mark.parametrize(("state", "expected"), [
    ("running", {"text": "running", "tone": "good"}), ("Not running", {"text": "Not running"}), ("mkos", {"text": "mkos", "tone": "busy"}),
    ("rescue", {"text": "running, rescue system", "tone": "warn"}), ("NOTOK - xl is ill", {"text": "unknown: xl is ill", "tone": "unknown"})])
def test_an_owners_state(wire: Wire, state: str, expected: dict[str, str]) -> None:
    scene(wire, {"getVPSState": VpsState("01", state), "infoVPS": Missing("it is not here")})
    own = pairs(tables(wire, "xen01")["own"])
    assert own == {"State": expected, "Configuration": {"text": "neither a disk nor a configuration on this node"}}


@pytest.mark.parametrize(("days", "text", "tone"), [
    (-1, "ended 2026-11-21", "bad"), (3, "ends 2026-11-25, in 3 days", "bad"), (20, "ends 2026-12-12, in 20 days", "warn"), (90, "ends 2027-02-20, in 90 days", "good")])
def test_the_certificate(days: int, text: str, tone: str) -> None:
    assert statusview.certificate(NOON + timedelta(days=days), NOON) == Cell(text, tone)


def test_sizes_and_durations() -> None:
    assert [statusview.mebibytes(mib) for mib in (0, 1023, 1536, 3 << 20)] == ["0 MiB", "1023 MiB", "1.5 GiB", "3.0 TiB"]
    assert [statusview.duration(seconds) for seconds in (59, 3661, 90061)] == ["0 min", "1 h 1 min", "1 d 1 h"]


def test_the_end_of_a_long_log_is_shown_in_whole_lines(wire: Wire) -> None:
    asked: list[Call] = []
    record = dataclasses.replace(JOB, log_bytes=100_000)

    def outcome(call: Call) -> Any:
        asked.append(call)
        return record if call.operation == "getJob" else JobLogPart(7, "failed", "half a line\n<b>\u202e\n", 100_000)
    wire.engine.outcome = outcome
    body = get(wire, "/jobs/7").body.decode()
    assert getattr(asked[1].needs[1], "start") == 100_000 - (64 << 10)  # noqa: B009  (of whatever kind)
    assert "half" not in body and '<pre id="log">&lt;b&gt;\\u202e\n</pre>' in body and "all of it by: dtcxen log 7" in body
    assert "refresh" not in body, "nothing will change"
    record = dataclasses.replace(record, state="running")
    assert 'http-equiv="refresh"' in get(wire, "/jobs/7").body.decode()


# -- hostile text -----------------------------------------------------------------------------------------


@given(st.text())
def test_no_character_that_moves_others_is_left(text: str) -> None:
    made = harmless(text)
    assert made.encode() is not None and harmless(made) == made
    steering = (*range(32), *range(127, 160), 0x61C, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF, *range(0xD800, 0xE000))
    assert not set(made) & set(map(chr, steering))


@given(st.text() | st.sampled_from(("<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "</title></pre><!--", "&lt;", "]]>", "\ud800\x00\x1b[2J")))
def test_text_is_text_wherever_it_stands(text: str) -> None:
    cell = Cell(text, link="/jobs/7")
    page = Page(harmless(text), harmless(text), "now", (Table("t", "T", ("A", "B"), ((cell, Cell(text, percent=3)),)),), True)
    plain = Page("x", "x", "now", (Table("t", "T", ("A", "B"), ((Cell("x", link="/jobs/7"), Cell("x", percent=3)),)),), True)
    for log in (None, harmless(text, "\n\t")):
        found, expected = Drawn(drawn(page, log)), Drawn(drawn(plain, log and "x"))
        assert found.tags == expected.tags and found.cells == ["A", "B", cell.text, cell.text]
    assert json.loads(statuspage.as_json(page))["tables"]["t"]["rows"][0][0]["text"] == cell.text


def test_a_very_long_text_ends() -> None:
    assert len(Cell("x" * 10_000).text) == statusview.LONGEST_TEXT + 1


def test_a_reader_who_leaves_is_no_error(wire: Wire) -> None:
    from twisted.internet.error import ConnectionDone
    from twisted.python.failure import Failure
    held: list[Future[Any]] = []
    wire.engine.held = held
    protocol, transport = wire.connect()
    protocol.dataReceived(f"GET / HTTP/1.1\r\nAuthorization: {signed(ADMIN)}\r\n\r\n".encode())
    protocol.connectionLost(Failure(ConnectionDone()))
    for future, call in zip(list(held), list(wire.engine.calls), strict=True):
        future.set_result(wire.engine._from_table(call))
    assert not transport.value() and len(wire.engine.calls) == 5
    assert len(tables(wire)["vpses"]) == 2 and len(wire.engine.calls) == 5, "what was found for one who left is known"
