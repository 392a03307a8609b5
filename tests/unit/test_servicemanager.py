"""What systemd is told: by real datagrams to a socket of ours, in its protocol."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap.servicemanager import ServiceManager


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(5)
        yield made


def said(systemd: socket.socket) -> list[str]:
    return systemd.recv(4096).decode().split("\n")


def test_its_life_is_told_in_lines(systemd: socket.socket) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": systemd.getsockname()})
    manager.status("settling")
    assert said(systemd) == ["STATUS=settling"]
    manager.ready("listening on https://127.0.0.1:8089/")
    assert said(systemd) == ["READY=1", "STATUS=listening on https://127.0.0.1:8089/"]
    manager.reloading()
    first, second, third = said(systemd)
    assert first == "RELOADING=1" and second.startswith("MONOTONIC_USEC=") and int(second.partition("=")[2]) > 0 and third.startswith("STATUS=")
    manager.stopping()
    assert said(systemd)[0] == "STOPPING=1"


def test_a_sign_of_life_is_given_only_where_one_is_waited_for(systemd: socket.socket) -> None:
    ServiceManager({"NOTIFY_SOCKET": systemd.getsockname()}).alive()
    watched = ServiceManager({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid())})
    watched.alive()
    assert watched.watchdog_seconds == 120.0 and said(systemd) == ["WATCHDOG=1"]


@pytest.mark.parametrize("wrong", [{"WATCHDOG_PID": str(os.getpid() + 1)}, {"WATCHDOG_USEC": ""}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "-5"}])
def test_a_watchdog_of_another_process_is_not_ours(wrong: dict[str, str]) -> None:
    assert ServiceManager({"NOTIFY_SOCKET": "/none", "WATCHDOG_USEC": "1000", **wrong}).watchdog_seconds == 0.0


def test_what_is_started_here_inherits_no_voice() -> None:
    environment = {"NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}
    ServiceManager(environment)
    assert environment == {"PATH": "/bin"}


def test_a_status_is_one_line(systemd: socket.socket) -> None:
    ServiceManager({"NOTIFY_SOCKET": systemd.getsockname()}).status("one\nMAINPID=1")
    assert said(systemd) == ["STATUS=one MAINPID=1"]


def test_an_abstract_socket_is_found_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0dtcxen-test-{os.getpid()}")
        systemd.settimeout(5)
        ServiceManager({"NOTIFY_SOCKET": f"@dtcxen-test-{os.getpid()}"}).ready("well")
        assert said(systemd)[0] == "READY=1"


def test_nobody_who_listens_is_no_trouble(tmp_path: Path) -> None:
    ServiceManager({}).ready("well")
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("well")
