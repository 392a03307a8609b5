"""The command line as typed: what it prints, what it refuses, and its exit codes. The daemon is elsewhere (integration)."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap import settings
from dtcxen_soap.cli import answer as cli_answer
from dtcxen_soap.cli import console as cli_console
from dtcxen_soap.cli import door as cli_door
from dtcxen_soap.cli import follow as cli_follow
from dtcxen_soap.cli import main as cli
from dtcxen_soap.cli import soap as cli_soap
from dtcxen_soap.cli.console import Unreachable
from dtcxen_soap.errors import DtcxenError, Failed
from dtcxen_soap.operations import OPERATIONS, forms

GOOD = ("vps=01", "diskSizeMib=2048", "swapSizeMib=256")


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert help_of(capsys, "--help").count("dtcxen ") > 3
    for command in ("init", "setup-host", "serve", "check", "doctor", "wsdl", "plan", "call", "states", "jobs", "log", "cancel", "audit", "completion"):
        assert f"\n  dtcxen {command} " in help_of(capsys, command, "--help"), command


def help_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    try:
        assert cli.main(words) == 0
    except SystemExit as ended:
        assert ended.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", ["plan", "call"])
def test_help_names_every_operation_and_each_has_its_own(capsys: pytest.CaptureFixture[str], command: str) -> None:
    text = help_of(capsys, command, "--help")
    assert all(row.name in text and row.old_name in text and row.help in text for row in OPERATIONS)
    for form in forms(rpc=False):
        text = help_of(capsys, command, form.name, "--help")
        for item in form.parameters:
            assert (f"  {item.name(form.old)}=" in text) != item.rpc_only, (form.name, item)


@pytest.mark.parametrize(("words", "text"), [
    ((), "COMMAND"), (("nonesuch",), "nonesuch"), (("init",), "DIR"), (("call",), "OPERATION is missing"), (("plan",), "OPERATION is missing"),
    (("call", "nonesuch"), "unknown operation 'nonesuch', expected one of setupVPSDisk"), (("init", "d", "--port", "65536"), "is not a port"),
    (("init", "d", "--port", "x"), "is not a port"), (("init", "d", "e"), "unrecognized arguments: e"), (("call", "getVPSState", "--nonesuch"), "--nonesuch"),
    (("call", "getVPSState", "01", "--url", "https://x/"), "'01' is not name=value"), (("init", "/a\nb"), "absolute path"),
    (("call", "testVPSServer", "--url", "x"), "is not an address")])
def test_a_wrong_command_line_is_2(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str, tmp_path: Path) -> None:
    (tmp_path / "p").write_text("x\n")
    assert cli.main((*words, "--password-file", str(tmp_path / "p")) if "--url" in words else words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("dtcxen: ") and text in captured.err and not captured.out


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(("check", "--config", "/nonesuch")) == 1
    assert capsys.readouterr().err == "dtcxen: /nonesuch: No such file or directory\n"


def test_a_failure_is_told_in_full(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(options: Any) -> int:
        raise Failed("Make it.", "no space", "mkfs x", "last words", ("unmade",))
    monkeypatch.setattr("dtcxen_soap.cli.node.run_check", fail)
    assert cli.main(("check",)) == 1
    said = capsys.readouterr().err
    assert all(part in said for part in ("Make it: no space", "command: mkfs x", "last words", "undone: unmade"))


def test_who_interrupts_gets_the_shells_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(options: Any) -> int:
        raise KeyboardInterrupt
    monkeypatch.setattr("dtcxen_soap.cli.node.run_check", interrupt)
    assert cli.main(("check",)) == 130


# -- check ----------------------------------------------------------------------------------------


def check(capsys: pytest.CaptureFixture[str], directory: Path, text: str) -> tuple[int, list[str], list[str]]:
    config = directory / "f"
    config.write_text(text)
    code = cli.main(("check", "--config", str(config)))
    captured = capsys.readouterr()
    return code, captured.out.replace(str(config), "f").splitlines(), captured.err.replace(str(config), "f").splitlines()


def test_check_shows_every_setting_with_its_source(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = check(capsys, tmp_path, "\nsoap_server_port=99\ncert_passphrase='very secret'\n")
    assert (code, err) == (0, [])
    assert [line.split()[0] for line in out] == [row.name for row in settings.TABLE]
    assert next(line for line in out if line.startswith("listen_port")).split() == ["listen_port", "99", "[f:2]"]
    assert next(line for line in out if line.startswith("monitor_user")).split() == ["monitor_user", "(empty)", "[default]"]
    assert "very secret" not in "".join(out) and next(line for line in out if "cert_pass" in line).split()[1:] == ["(redacted)", "[f:3]"]


def test_check_lists_every_problem_at_once_beside_the_settings(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = check(capsys, tmp_path, "listen_prt=1\nlisten_port=x\njust words\nDNS='unfinished\nvps_ram_max_mib=1\novercommit=perhaps\n")
    assert code == 1 and len(out) == len(settings.TABLE)
    assert [line.split(":")[:4] for line in err] == [
        ["dtcxen", " warning", " f", "1"], ["dtcxen", " problem", " f", "3"], ["dtcxen", " problem", " f", "4"],
        ["dtcxen", " problem", " f", "2"], ["dtcxen", " problem", " f", "6"]]


def test_check_shows_contradictions_too_and_a_warning_alone_is_fine(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert check(capsys, tmp_path, "vps_ram_min_mib=64\nvps_ram_max_mib=32\n")[0] == 1
    assert check(capsys, tmp_path, "listen_prt=1\n")[0] == 0


# -- name=value -----------------------------------------------------------------------------------


def values(operation: str, *words: str) -> list[tuple[str, str]]:
    return cli_console.given(cli_console.form_of(operation), list(words))


def test_parameters_come_in_any_order_and_leave_in_the_schemas() -> None:
    assert [name for name, _ in values("setupVPSDisk", "nonesuch=1", "swapSizeMib=1", "vps=01")] == ["vps", "swapSizeMib", "nonesuch"]
    assert values("getVPSState", "vps=a=b") == [("vps", "a=b")]


def test_values_from_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    secret = tmp_path / "secret"
    secret.write_text(" gehe=im \n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("typed\nmore\n"))
    assert values("reinstallOS", f"password=@{secret}") == [("password", " gehe=im ")]
    assert values("reinstallOS", "password=-") == [("password", "typed")]
    assert not capsys.readouterr().err
    assert values("reinstallOS", "password=@@at") == [("password", "@at")]


def test_a_secret_on_the_command_line_is_warned_of_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    values("reinstallOS", "password=geheim")
    said = capsys.readouterr().err
    assert "password=@FILE" in said and "geheim" not in said


def test_words_may_stand_before_and_after_options(monkeypatch: pytest.MonkeyPatch) -> None:
    options = cli._parse(("call", "--json", "setupVPSDisk", "vps=01", "--user", "me", "diskSizeMib=1", "--no-follow", "swapSizeMib=2"))
    assert (options.operation, options.values, options.user, options.json, options.no_follow) == ("setupVPSDisk", ["vps=01", "diskSizeMib=1", "swapSizeMib=2"], "me", True, True)


# -- call -----------------------------------------------------------------------------------------


class FakeNode:
    """Answers calls from a list, and keeps what was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.calls, self.doors = list(answers), [], []  # type: ignore[var-annotated]

    def __call__(self, door: Any) -> FakeNode:
        self.doors.append(door)
        return self

    def call(self, operation: str, given: list[tuple[str, str]]) -> Any:
        self.calls.append((operation, given))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def record(state: str = "done", step: int = 3, **changed: Any) -> dict[str, Any]:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return {"id": 7, "operation": "reinstallOS", "state": state, "step": step, "steps": 3, "stepName": f"Step {step}.", "percent": 33 * step,
            "started": start, "ended": start + timedelta(seconds=42), "reason": ""} | changed


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "dtc-xen.conf"
    path.write_text(f"config_dir={tmp_path}\ntls_certificate={tmp_path}/cert.pem\nlisten_port=99\nmax_vps_id=50\n")
    (tmp_path / "cert.pem").write_text("PEM")
    (tmp_path / "admin.password").write_text("geheim\n")
    return path


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, config: Path) -> Callable[..., tuple[int, FakeNode]]:
    def run(*words: str, answers: tuple[Any, ...] = ({},), own: bool = True) -> tuple[int, FakeNode]:
        node = FakeNode(*answers)
        monkeypatch.setattr(cli_soap, "Node", node)
        monkeypatch.setattr(cli_follow, "POLL_SECONDS", 0)
        return cli.main(("call", *words, *(("--config", str(config)) if own else ()))), node
    return run


def test_a_nodes_settings_tell_where_it_is_and_whom_to_trust(call: Any, config: Path) -> None:
    code, node = call("setupVPSDisk", *GOOD)
    door = node.doors[0]
    assert (code, door.url, door.user, door.password, door.trust) == (0, "https://localhost:99/", "dtc-xen", "geheim", str(config.parent / "cert.pem"))
    assert node.calls == [("setupVPSDisk", [("vps", "01"), ("diskSizeMib", "2048"), ("swapSizeMib", "256")])]
    assert "geheim" not in repr(door)


def test_options_win_over_the_settings(call: Any, tmp_path: Path) -> None:
    for name in ("p", "c"):
        (tmp_path / name).write_text("other\n")
    code, node = call("testVPSServer", "--url", "https://n:1/", "--user", "xen01", "--password-file", str(tmp_path / "p"), "--cert", str(tmp_path / "c"), own=False)
    door = node.doors[0]
    assert (code, door.url, door.user, door.password, door.trust) == (0, "https://n:1/", "xen01", "other", str(tmp_path / "c"))


@pytest.mark.parametrize(("address", "url"), [("::", "https://localhost:99/"), ("0.0.0.0", "https://localhost:99/"), ("192.0.2.1", "https://192.0.2.1:99/"), ("2001:db8::1", "https://[2001:db8::1]:99/")])
def test_the_address_of_a_node(call: Any, config: Path, address: str, url: str) -> None:
    config.write_text(config.read_text() + f"listen_address={address}\n")
    assert call("testVPSServer")[1].doors[0].url == url


def test_what_cannot_be_known_is_asked_for(call: Any, config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert call("testVPSServer", "--user", "xen01")[0] == 2 and "--password-file" in capsys.readouterr().err
    config.write_text("listen_port=0\n")
    assert call("testVPSServer")[0] == 2 and "--url" in capsys.readouterr().err
    monkeypatch.setattr(cli_door, "CONFIG", "/nonesuch")
    assert call("testVPSServer", own=False)[0] == 2 and "--config" in capsys.readouterr().err
    assert call("testVPSServer", "--ca", "/nonesuch")[0] == 1 and "/nonesuch: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "lines"), [
    (("vps=01", "hddsize=1"), ["hddsize: unknown", "diskSizeMib: missing", "swapSizeMib: missing"]), ((*GOOD, "vps=02"), ["vps: given more than once"]),
    ((*GOOD, "nonesuch=1"), ["nonesuch: unknown"]),
    (("vps=51",), ["vps: '51': too large", "diskSizeMib: missing", "swapSizeMib: missing"]), ((*GOOD, "planOnly=perhaps"), ["planOnly: 'perhaps'"])])
def test_what_no_schema_holds_is_refused_a_line_each_and_not_sent(call: Any, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], lines: list[str]) -> None:
    code, node = call("setupVPSDisk", *words)
    said = capsys.readouterr().err.splitlines()
    assert (code, node.calls, len(said)) == (1, [], len(lines))
    assert all(line.startswith(f"dtcxen: setupVPSDisk: {start}") for line, start in zip(said, lines, strict=True))


def test_a_bad_value_is_sent_since_the_nodes_own_limits_count(call: Any) -> None:
    assert call("setupVPSDisk", "vps=9999", "diskSizeMib=x", "swapSizeMib=1")[1].calls


def test_a_job_is_followed_to_its_end(call: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, node = call(*REINSTALL, answers=({"job": 7, "plan": []}, record("queued", 0), record("running", 1), record("running", 1), record("running", 2), record()))
    assert code == 0 and node.calls[1:] == [("getJob", [("job", "7")])] * 5
    said = capsys.readouterr().err
    assert said.count("step 1/3") == 1 and "step 2/3   66 %  Step 2." in said and "job 7 (reinstallOS) is done in 42 s" in said


REINSTALL = ("reinstallOS", "vps=01", "osType=debian", "ramSizeMib=512", "password=@@p", "nics=192.0.2.10/24")


@pytest.mark.parametrize(("state", "words"), [("failed", "failed at step 2 of 3 (Step 2.): no space"), ("cancelled", "was cancelled"), ("interrupted", "was interrupted")])
def test_a_job_that_did_not_do_it_is_1(call: Any, capsys: pytest.CaptureFixture[str], state: str, words: str) -> None:
    assert call(*REINSTALL, answers=({"job": 7}, record(state, 2, reason="no space")))[0] == 1
    assert f"dtcxen: job 7 (reinstallOS) {words}" in capsys.readouterr().err


def test_no_follow_only_tells_the_number(call: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, node = call(*REINSTALL, "--no-follow", answers=({"job": 7, "plan": []},))
    assert (code, len(node.calls), capsys.readouterr().out) == (0, 1, "7\n")


def test_json_is_all_that_is_on_standard_output(call: Any, capsys: pytest.CaptureFixture[str]) -> None:
    call(*REINSTALL, "--json", answers=({"job": 7}, record()))
    assert json.loads(capsys.readouterr().out)["state"] == "done"
    call(*REINSTALL, "planOnly=true", "--json", answers=({"job": None, "plan": ["1. ä"]},))
    out = capsys.readouterr().out
    assert json.loads(out) == {"job": None, "plan": ["1. ä"]} and "ä" in out


def test_a_daemon_that_restarts_meanwhile_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    node = FakeNode(record("running"), Unreachable("x"), Unreachable("x"), record())
    assert cli_follow.follow(lambda: node.call("getJob", []), False, lambda seconds: None)["state"] == "done"
    node = FakeNode(record("running"), *[Unreachable("x")] * 1000)
    waited: list[float] = []
    with pytest.raises(Unreachable):
        cli_follow.follow(lambda: node.call("getJob", []), False, waited.append)
    assert sum(waited) == cli_follow.PATIENCE_SECONDS


def test_who_interrupts_is_told_that_the_job_goes_on(call: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*REINSTALL, answers=({"job": 7}, record("running"), KeyboardInterrupt()))[0] == 130
    assert "job 7 goes on; dtcxen call cancelJob job=7 ends it" in capsys.readouterr().err


def test_the_bar_on_a_terminal_shows_step_name_and_percent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(cli_follow, "WORTH_A_LINE_SECONDS", 0)
    node = FakeNode(record("queued", 0, stepName=""), record("running", 2), record(stepName="Install [bold] Debian."))
    assert cli_follow.follow(lambda: node.call("getJob", []), True, lambda seconds: None)["state"] == "done"
    said = capsys.readouterr().err
    assert "Install [bold] Debian." in said and "step 3/3" in said and "99%" in said
    assert "step 2/3  Step 2.  0 s" in said and "step 0" not in said


# -- faults and answers ---------------------------------------------------------------------------


def test_unreachable_is_3_and_a_fault_is_1(call: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("testVPSServer", answers=(Unreachable("no way"),))[0] == 3
    assert call("testVPSServer", answers=(cli_soap.Faulted("first", "second"),))[0] == 1
    assert capsys.readouterr().err == "dtcxen: no way\ndtcxen: first\ndtcxen: second\n"


@pytest.mark.parametrize(("answer", "lines"), [
    ({"text": "OK"}, ["OK"]), ({"names": ["a", "b"]}, ["a", "b"]), ("plain", ["plain"]), ({"created": True, "disks": ["/d"], "plan": []}, ["created: yes", "disks: /d"]),
    ({"isos": [], "usedBytes": 0, "quotaBytes": 0}, ["usedBytes: 0", "quotaBytes: 0"]), ({"names": []}, []),
    ({"jobs": [{"id": 1, "reason": "", "created": datetime(2026, 1, 2, 3, 4, 5, 6, UTC)}, {"id": 10, "reason": "", "created": None}]},
     ["id  created", "1   2026-01-02 03:04:05", "10"])])
def test_answers_print_plainly(capsys: pytest.CaptureFixture[str], answer: Any, lines: list[str]) -> None:
    cli_answer.show(answer)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == lines


def test_long_lines_and_markup_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    cli_answer.show({"text": "[red]" + "x " * 300})
    assert capsys.readouterr().out == "[red]" + "x " * 300 + "\n"


def test_every_error_of_ours_has_an_exit_code() -> None:
    assert issubclass(cli_soap.Faulted, DtcxenError) and not issubclass(Unreachable, DtcxenError)
