"""The rules of conftest.py hold: what they forbid fails, what they lift runs. Each case is a pytest of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.machine

HEAD = "import os, socket, subprocess, threading, pytest\n"
CALLS = {
    "command": "subprocess.run(['true'])",
    "fork": "os._exit(0) if os.fork() == 0 else None",
    "tcp": "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "name": "socket.getaddrinfo('localhost', 80)",
    "swallowed": "\n    try:\n        subprocess.run(['true'])\n    except Exception:\n        pass",
    "thread": "t = threading.Thread(target=subprocess.run, args=(['true'],)); t.start(); t.join()",
}


def run(directory: Path, text: str, **env: str) -> tuple[int, str]:
    shutil.copy(Path(__file__).parents[1] / "conftest.py", directory)
    (directory / "pytest.ini").write_text("[pytest]\nmarkers =\n root\n machine\n slow\n debian13\n")
    (directory / "test_case.py").write_text(HEAD + text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(directory)], capture_output=True, text=True, cwd=directory,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env}, timeout=60)
    return done.returncode, done.stdout


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_unmarked_test_fails_when_it_touches_the_machine(tmp_path: Path, call: str) -> None:
    code, output = run(tmp_path, f"def test_it():\n    {call}\n")
    assert code == 1 and "TouchedTheMachine" in output and "tests/fakes.py" in output


def test_fixtures_are_watched_too(tmp_path: Path) -> None:
    code, output = run(tmp_path, "@pytest.fixture\ndef f():\n    subprocess.run(['true'])\ndef test_it(f): pass\n")
    assert code == 1 and "TouchedTheMachine" in output


def test_marks_lift_the_rule_and_local_sockets_need_no_mark(tmp_path: Path) -> None:
    text = "".join(f"@pytest.mark.{mark}\ndef test_{mark}():\n    {CALLS['command']}; {CALLS['tcp']}\n" for mark in ("machine", "slow"))
    code, output = run(tmp_path, text + "def test_pair():\n    socket.socketpair()\n")
    assert (code, "3 passed" in output) == (0, True), output


@pytest.mark.parametrize("text", [
    "def test_it():\n    pytest.skip('no tool')\n", "@pytest.mark.skip(reason='no tool')\ndef test_it(): pass\n",
    "pytest.importorskip('nonesuch', reason='no tool')\n", "pytest.skip('no tool', allow_module_level=True)\n"])
def test_a_skip_is_a_failure_on_ci_only(tmp_path: Path, text: str) -> None:
    code, _ = run(tmp_path, text)
    assert code in (0, 5)
    code, output = run(tmp_path, text, CI="true")
    assert code in (1, 2) and "CI does not accept" in output and "no tool" in output


def test_an_expected_failure_stays_one_on_ci(tmp_path: Path) -> None:
    code, output = run(tmp_path, "@pytest.mark.xfail\ndef test_it():\n    assert False\n", CI="true")
    assert (code, "1 xfailed" in output) == (0, True)


def test_without_root_a_root_test_is_left_out_and_counted(tmp_path: Path) -> None:
    text = "os.geteuid = lambda: 1000\n@pytest.mark.root\ndef test_it():\n    assert False\n"
    code, output = run(tmp_path, text)
    assert (code, "LEFT OUT: 1 tests that need root" in output) == (0, True), output
    code, output = run(tmp_path, text, CI="true")
    assert (code, "needs root" in output) == (1, True)


def test_what_is_for_debian_13_runs_there_only(tmp_path: Path) -> None:
    text = "@pytest.mark.debian13\ndef test_there(): pass\ndef test_here(): pass\n"
    assert "1 passed, 1 deselected" in run(tmp_path, text, CI="true")[1]
    assert "2 passed" in run(tmp_path, text, DTCXEN_DEBIAN13="1")[1]
