"""check_dtcxen as typed, its daemon elsewhere (integration): what is asked, what each answer and error becomes."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap.cli import monitoring as cli_monitoring
from dtcxen_soap.cli import monitoring_modes as cli_monitoring_modes
from dtcxen_soap.cli import soap as cli_soap
from dtcxen_soap.cli.console import Unreachable
from dtcxen_soap.upgradefacts import FoundCertificate

NOW = datetime.now(UTC)
LINE = re.compile(r"DTCXEN ([A-Z]+) (OK|WARNING|CRITICAL|UNKNOWN): [^|\n]+( \| [^|\n]+)?\n")


class Check:
    """The plugin, with answers in the place of a daemon's; `asked` holds the calls."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        self.doors: list[Any] = []
        self.capsys, self.password = capsys, folder / "password"
        self.password.write_text("s3cret\n")
        monkeypatch.setattr(cli_soap, "Node", self.node)

    def node(self, door: Any) -> Any:
        self.doors.append(door)
        return self

    def call(self, operation: str, values: Any) -> Any:
        self.asked.append((operation, tuple(values)))
        answer = self.answers[operation]
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else answer

    def __call__(self, mode: str, *words: str, signs_in: bool = True) -> tuple[int, str]:
        who = ("-u", "monitor", "--password-file", str(self.password)) if signs_in else ()
        code = cli_monitoring.main(("-H", "192.0.2.1", "--mode", mode, *who, *words))
        captured = self.capsys.readouterr()
        match = LINE.fullmatch(captured.out)
        assert match and not captured.err, captured
        assert ("OK", "WARNING", "CRITICAL", "UNKNOWN").index(match[2]) == code and match[1] in (mode.upper(), "CHECK")
        return code, captured.out.partition(": ")[2].rstrip("\n")


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    return Check(tmp_path, monkeypatch, capsys)


# -- modes ------------------------------------------------------------------------------------------------


def pings(*rows: tuple[str, str, float | None]) -> dict[str, Any]:
    return {"pings": [{"vps": vps, "address": address, "answered": rtt is not None, "rttMs": rtt, "lossPercent": 0 if rtt else 100} for vps, address, rtt in rows]}


def test_ping(check: Check) -> None:
    check.answers["pingAllIPs"] = pings(("01", "192.0.2.10", 2.0), ("01", "2001:db8::1", 4.0))
    assert check("ping") == (0, "2 of 2 addresses answer | unanswered=0;0;;0;2 rtt=0.003s;;;0")
    check.answers["pingAllIPs"] = pings(("01", "192.0.2.10", 2.0), *(("02", f"192.0.2.{number}", None) for number in range(20, 25)))
    silent = "1 of 6 addresses answer; silent: 192.0.2.20 (VPS 02), 192.0.2.21 (VPS 02), 192.0.2.22 (VPS 02) and 2 more"
    assert check("ping") == (1, f"{silent} | unanswered=5;0;;0;6 rtt=0.002s;;;0")
    assert check("ping", "-c", "4")[0] == 2 and check("ping", "-w", "5")[0] == 0 and check("ping", "-w", "@5", "-c", "@6:")[0] == 1
    assert check("ping", "--vps", "xen01") == (0, "1 of 1 addresses answer | unanswered=0;0;;0;1 rtt=0.002s;;;0")
    assert check("ping", "--vps", "2") == (1, "0 of 5 addresses answer; silent: 192.0.2.20 (VPS 02), 192.0.2.21 (VPS 02), 192.0.2.22 (VPS 02) and 2 more"
                                           " | unanswered=5;0;;0;5"), "no round trip where nothing came back"
    code, text = check("ping", "--vps", "07")
    assert code == 3 and "no address of VPS 07" in text


def job(number: int, state: str, hours: float | None = 1, reason: str = "", vps: str | None = "01") -> dict[str, Any]:
    return {"id": number, "vps": vps, "operation": "reinstallOS", "state": state, "ended": None if hours is None else NOW - timedelta(hours=hours), "reason": reason}


def test_jobs(check: Check) -> None:
    check.answers["listJobs"] = {"jobs": [job(9, "running", None), job(8, "queued", None), job(7, "done"), job(6, "cancelled"), job(5, "failed", 25, "old")]}
    assert check("jobs") == (0, "0 failed within 24 h, 1 running, 1 queued | failed=0;0;;0 running=1;;;0 queued=1;;;0")
    assert check.asked == [("listJobs", (("limit", "1000"),))]
    assert check("jobs", "--since", "26")[0] == 1
    check.answers["listJobs"]["jobs"] += [job(4, "failed", 1, "Make the disk: no | room\ncommand: x"), job(3, "interrupted", 2, vps=None)]
    code, text = check("jobs", "-c", "1")
    assert code == 2 and text == ("2 failed within 24 h, 1 running, 1 queued; job 4 (reinstallOS of VPS 01): Make the disk: no / room, job 3 (reinstallOS): no reason told"
                                  " | failed=2;0;1;0 running=1;;;0 queued=1;;;0")
    assert check("jobs", "--vps", "02")[0] == 0
    check.answers["listJobs"] = {"jobs": []}
    assert check("jobs")[0] == 0


def spaces(*rows: tuple[str, str, int], memory: tuple[int | None, int | None] = (512, 4096)) -> dict[str, Any]:
    return {"spaces": [{"imageType": kind, "place": place, "freeMib": mib} for kind, place, mib in rows], "freeMemoryMib": memory[0], "totalMemoryMib": memory[1]}


def test_space(check: Check) -> None:
    check.answers["getFreeSpace"] = spaces(("vbd", "/srv", 20000), ("lvm", "vg0", 30000))
    assert check("space") == (0, "free: /srv 20000 MiB, vg0 30000 MiB, memory 512 MiB"
                              " | '/srv'=20000MB;10240:;2048:;0 vg0=30000MB;10240:;2048:;0 memory=512MB;;;0;4096"), "memory is judged when it is asked for"
    assert check("space", "-w", "25000:")[0] == 1 and check("space", "-c", "25000:")[0] == 2
    assert check("space", "-c", "25000:", "--place", "vg0")[0] == 0
    assert check("space", "-c", "1024:", "--place", "vg0", "--place", "memory")[0] == 2
    assert check("space", "--place", "vg1") == (3, "the node tells nothing of vg1, only of /srv, vg0, memory")


def test_what_is_beside_a_thin_pool_is_no_disks_room(check: Check) -> None:
    check.answers["getFreeSpace"] = spaces(("vbd", "/srv/x", 20000), ("lvm", "vg0", 0), ("lvm", "vg0/thin", 30000), memory=(None, None))
    assert check("space") == (0, "free: /srv/x 20000 MiB, vg0 0 MiB, vg0/thin 30000 MiB"
                              " | '/srv/x'=20000MB;10240:;2048:;0 vg0=0MB;;;0 'vg0/thin'=30000MB;10240:;2048:;0")
    assert check("space", "--place", "vg0")[0] == 2
    check.answers["getFreeSpace"] = spaces(memory=(None, None))
    assert check("space")[0] == 3, "nothing is told of any place"


def test_a_certificate(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    days, trusted = [100.5], [True]

    def healthz(question: Any) -> bool:
        if not trusted[0]:
            raise Unreachable("https://192.0.2.1:8089/ is not to be trusted")
        return False
    monkeypatch.setattr("ssl.get_server_certificate", lambda address, timeout: f"{address} {timeout}")
    monkeypatch.setattr("dtcxen_soap.certificates.described", lambda pem: FoundCertificate("CN=node", datetime.now(UTC) + timedelta(days=days[0]), "ec-256", "sha256"))
    monkeypatch.setattr(cli_monitoring_modes, "_healthz", healthz)
    code, text = check("certificate", signs_in=False)
    assert code == 0 and re.fullmatch(r"CN=node ends on [0-9-]{10}, 100 days from now \| days=100.5;30:;7:", text), "and a daemon that is not well has one all the same"
    for left, expected in ((29.0, 1), (6.5, 2), (-0.01, 2), (-3.0, 2)):
        days[0] = left
        assert check("certificate", signs_in=False)[0] == expected
    code, text = check("certificate", "-w", "~:", "-c", "~:", signs_in=False)
    assert code == 2 and "3 days ago" in text, "an expired one is no matter of thresholds"
    days[0], trusted[0] = 100.0, False
    code, text = check("certificate", signs_in=False)
    assert code == 2 and "not to be trusted" in text and "days=100" in text


# -- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "code"), [
    (Unreachable("no route"), 2), (cli_soap.Faulted("Ask Xen: no answer", code="Server.Failed"), 2), (cli_soap.Faulted("internal error", code="Server"), 2),
    (cli_soap.Faulted("Authorization failed.", code="Client.Authentication"), 3), (cli_soap.Faulted("not allowed", code="Client.NotAllowed"), 3),
    (cli_soap.Faulted("wait", code="Client.Busy"), 3), (ZeroDivisionError("a | b\nc"), 3), (KeyError("pings"), 3)])
def test_whose_fault_it_is_decides(check: Check, error: Exception, code: int) -> None:
    check.answers["pingAllIPs"] = error
    assert check("ping")[0] == code


@pytest.mark.parametrize("words", [
    ("-w", ""), ("-w", "x"), ("-c", "2:1"), ("-t", "0"), ("-t", "601"), ("-t", "x"), ("-t", "5:BAD"), ("-p", "0"), ("-p", "65536"), ("-p", "1.5"), ("-H", "a b"), ("-H", "-x"),
    ("--vps", "0"), ("--vps", "x"), ("--since", "0"), ("--since", "1e9"), ("--mode", "all"), ("--ca", "/nonesuch"), ("--password-file", "/nonesuch"), ("--nonesuch",), ("more",),
    ("--ca", "/dev/null", "--insecure")])
def test_a_wrong_command_line_is_unknown(check: Check, words: tuple[str, ...]) -> None:
    assert check("ping", *words)[0] == 3 and not check.asked


def test_who_does_not_sign_in_is_told(check: Check) -> None:
    assert check("ping", signs_in=False) == (3, "--mode ping signs in: --user and --password-file are missing; --help says more")


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("--version",), ("-V",)])
def test_help_and_version_are_unknown(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert cli_monitoring.main(words) == 3 and "check_dtcxen" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "code"), [(("-t", "0.2"), 2), (("-t", "0.2:UNKNOWN"), 3), (("-t", "0.2:warning"), 1)])
def test_time_runs_out_whoever_waits(check: Check, words: tuple[str, ...], code: int) -> None:
    def hang() -> Any:
        try:
            time.sleep(30)
        except Exception:  # as libraries do
            time.sleep(30)
    before, begun = signal.getsignal(signal.SIGALRM), time.monotonic()
    check.answers["pingAllIPs"] = hang
    assert check("ping", *words) == (code, "no answer within 0.2 s") and time.monotonic() - begun < 5
    assert signal.getsignal(signal.SIGALRM) is before and signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_the_door(check: Check) -> None:
    check.answers["pingAllIPs"] = pings()
    doors: list[tuple[tuple[str, ...], Callable[[Any], bool]]] = [
        ((), lambda door: door.url == "https://192.0.2.1:8089/" and door.trust is True), (("-p", "1234"), lambda door: door.url == "https://192.0.2.1:1234/"),
        (("-H", "2001:db8::1"), lambda door: door.url == "https://[2001:db8::1]:8089/"), (("--insecure",), lambda door: door.trust is False),
        (("--ca", str(check.password)), lambda door: door.trust == str(check.password))]
    for words, right in doors:
        assert check("ping", *words)[0] == 0
        assert right(check.doors[-1]) and (check.doors[-1].user, check.doors[-1].password) == ("monitor", "s3cret")


def test_every_mode_has_its_name() -> None:
    assert tuple(cli_monitoring_modes.MODES) == cli_monitoring.MODE_NAMES
    assert all(re.search(rf"\b{name}\b", cli_monitoring.parser().format_help()) for name in cli_monitoring.MODE_NAMES)
