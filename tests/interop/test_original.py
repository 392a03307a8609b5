"""What the panel's client makes of the original daemon's recorded replies is what it makes of ours, value by value."""

from __future__ import annotations

import dataclasses
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap import answers
from dtcxen_soap.errors import Failed
from tests.certificates import make_pair
from tests.interop.clients import outcomes
from tests.interop.nusoap import DEBIANS, command_of
from tests.interop.served import Served
from tests.wirekit import ADMIN, NOON, PASSWORD, RECORDED

pytestmark = [pytest.mark.machine, pytest.mark.debian13]
Both = Callable[..., list[dict[str, Any]]]
ORIGINAL = RECORDED.parent / "original-replies"
XEN01 = {"vpsname": "xen01"}
XM = Failed("Start xen01.", "Error: Domain 'xen01' <already> exists & runs ")


def iso(name: str) -> answers.Iso:
    return answers.Iso(name, 1, NOON)


MEASURED = datetime.fromtimestamp(1237287382.45, UTC)
USED = answers.Performance("01", 251.5, 838375767, 324328402389, 5134, 0, 51.5, 838375767, 324328402389, 5134, 0)
REPLIES: tuple[tuple[str, str, dict[str, str], Any], ...] = (
    ("tuple_startVPS", "startVPS", XEN01, answers.PowerDone("01", "Started xen01")),
    ("string_NOTOK_startVPS", "startVPS", XEN01, XM),
    ("none_killVPS", "killVPS", {"vpsname": "01"}, answers.DisksRemoved(("/dev/vg/xen01",))),
    ("nested_getVPSState", "getVPSState", XEN01, answers.VpsState("01", "running", 3, 128, 1, "-b----", 51.5)),
    ("notrunning_getVPSState", "getVPSState", XEN01, answers.VpsState("01", "Not running")),
    ("fsck_getVPSState", "getVPSState", XEN01, answers.VpsState("01", "fsck")),
    ("list_of_lists_listStartedVPS", "listStartedVPS", {}, answers.StartedList((
        answers.Started("xen01", 3, 128, 1, "blocked", "-b----", 51.5), answers.Started("xen02", 4, 128, 1, "running", "r-----", 1.5)))),
    ("log_getVPSInstallLog", "getVPSInstallLog", {"vpsname": "01", "numlines": "2"}, answers.InstallLog("line 1\nline 2 <x> & y\n")),
    ("emptylog_getVPSInstallLog", "getVPSInstallLog", {"vpsname": "01", "numlines": "2"}, answers.InstallLog("")),
    ("list_strings_getInstallableOS", "getInstallableOS", {}, answers.InstallableOs(("debian", "centos", "netbsd"))),
    ("empty_reportInstalledIso", "reportInstalledIso", XEN01, answers.IsoList((), 0, 0)),
    ("list1_reportInstalledIso", "reportInstalledIso", XEN01, answers.IsoList((iso("one.iso"),), 1, 0)),
    ("list2_reportInstalledIso", "reportInstalledIso", XEN01, answers.IsoList((iso("debian-5.iso"), iso("freebsd-7.iso")), 2, 0)),
    ("reinstall_ok", "reinstallVPSos", {"vpsname": "01", "ostype": "debian", "ramsize": "128", "password": "x", "nics": "192.0.2.10,255.255.255.0,192.0.2.255"},
     answers.JobStarted(7)),
    ("perf_getCollectedPerformanceData", "getCollectedPerformanceData", {"count": "64"}, answers.PerformanceList(
        tuple(answers.PerformanceSample(MEASURED, vpses) for vpses in ((USED, dataclasses.replace(USED, vps="02")), (USED,), ())), 3)),
    ("perf_onesample_getCollectedPerformanceData", "getCollectedPerformanceData", {"count": "64"}, answers.PerformanceList((answers.PerformanceSample(MEASURED, (USED,)),), 1)),
    ("perf_emptylist_getCollectedPerformanceData", "getCollectedPerformanceData", {"count": "64"}, answers.PerformanceList((), 0)),
    ("perf_emptydict_getCollectedPerformanceData", "getCollectedPerformanceData", {"count": "64"}, answers.PerformanceList((answers.PerformanceSample(MEASURED, ()),), 1)),
    ("string_OK_changeVPSxmPassword", "changeVPSxmPassword", {**XEN01, "password": "x"}, answers.AccessChanged("01", ("xen01",))),
)
"""A recorded reply, the call that it answered, and what our engine answers where the original said that."""
FAULTS = (("fault_missing_param", "setupLVMDisks", {"vpsname": "01"}), ("fault_unknown_method", "noSuchOperation", {}), ("fault_badauth", "testVPSServer", {}))
"""A recorded fault, and a call that we refuse for the same reason; the texts differ, of course."""


class Replay:
    """A TLS server that gives the recorded reply whose name it was told, whatever it is asked."""

    def __init__(self, folder: Path) -> None:
        certificate, key = make_pair(folder)
        self.file = ""
        replay = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.wfile.write((ORIGINAL / f"{replay.file}.http").read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n", 5))

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    made = Replay(tmp_path_factory.mktemp("replay"))
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"), auth_failure_delay_ms=10)
    yield made
    made.close()


@pytest.fixture(scope="module", params=DEBIANS)
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    return command_of(request.param, tmp_path_factory.mktemp("library"))


@pytest.fixture
def both(replay: Replay, served: Served, command: Callable[[str], list[str]]) -> Both:
    """What nusoap makes of the recorded reply, and of ours."""
    def ask(file: str, operation: str, parameters: dict[str, str], password: str = PASSWORD) -> list[dict[str, Any]]:
        replay.file = file
        return [outcomes("nusoap.php", [(operation, parameters)], command, url=url, user=ADMIN, password=password)[0] for url in (replay.url, served.url)]
    return ask


def value(result: Any) -> Any:
    """A reply without the attributes that nusoap mixes in as "!name": SOAPpy's null of 1999, and its references between rows. Ours has neither, nor line ends in an empty item."""
    if isinstance(result, list):
        return [item if not isinstance(item, str) or item.strip() else "" for item in result]
    if not isinstance(result, dict) or not any(name.startswith("!") for name in result):
        return result
    rest = {name: item for name, item in result.items() if not name.startswith("!")}
    return rest.get("Result")


@pytest.mark.parametrize(("file", "operation", "parameters", "answer"), REPLIES, ids=[file for file, *_ in REPLIES])
def test_the_panel_reads_the_same(file: str, operation: str, parameters: dict[str, str], answer: Any, both: Both, served: Served) -> None:
    def outcome(call: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    served.engine.outcome = outcome
    theirs, ours = both(file, operation, parameters)
    assert theirs["error"] is False and ours["error"] is False
    assert ours["result"] == value(theirs["result"])


@pytest.mark.parametrize(("file", "operation", "parameters"), FAULTS, ids=[file for file, *_ in FAULTS])
def test_what_was_an_error_is_one(file: str, operation: str, parameters: dict[str, str], both: Both) -> None:
    theirs, ours = both(file, operation, parameters, password="wrong" if file == "fault_badauth" else PASSWORD)
    assert theirs["error"] and ours["error"]
