"""A boot under watch: what counts as up, what as never, and what is shown of the console."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dtcxen_soap import bootwatch
from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.ping import Echoes
from dtcxen_soap.plans import WatchBoot
from dtcxen_soap.processes import Ran, Unwatched
from dtcxen_soap.vps import VpsId
from dtcxen_soap.xen import xl
from tests.fakes import ScriptedDom0

DATA = Path(__file__).parents[1] / "data"
MONITOR = "/var/log/xen/xl-xen01.log"
LOG = "/var/log/xen/console/guest-xen01.log"
HEADER = "Name                                        ID   Mem VCPUs\tState\tTime(s)\nDomain-0                                     0  1536     2     r-----     444.6\n"
ROW = "xen01                                        1   256     1     -b----      37.8\n"
ADDRESS = ip_address("192.0.2.1")
STARTED = 50_000.0
NOW = 50_010.0


class Guest:
    """A domU whose console says a line at a time; `script` holds by the second what happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **script: Any) -> None:
        self.now, self.events = NOW, {int(second): event for second, event in script.pop("script", {}).items()}
        self.dom0 = ScriptedDom0({
            xl.LIST: HEADER + ROW, ("xenstore-read", "/local/domain/1/vm"): "/vm/uuid-1\n", ("xenstore-read", "/vm/uuid-1/start_time"): f"{STARTED}\n",
            ("xenstore-read", "/local/domain/1/console/tty"): "/dev/pts/3\n", ("xenstore-read", "/local/domain/1/serial/0/tty"): Ran(1, "")})
        self.answering: set[object] = set()
        self.pinged: list[object] = []
        monkeypatch.setattr(bootwatch, "time", SimpleNamespace(monotonic=lambda: self.now, time=lambda: self.now, sleep=self.sleep))

    def log(self, text: str = "", changed: float = 0.0) -> Guest:
        """xenconsoled keeps a log, which holds this from earlier."""
        self.dom0.files[LOG] = text.encode()
        self.dom0.changed[LOG] = changed
        self.dom0.held_open[LOG] = ("pid 340 (xenconsoled)",)
        return self

    def at(self, second: float, event: Callable[[], None]) -> Guest:
        self.events[int(second)] = event
        return self

    def says(self, second: float, text: str, where: str = LOG) -> Guest:
        def say() -> None:
            self.dom0.files[where] = self.dom0.files.get(where, b"") + text.encode()
        return self.at(second, say)

    def lists(self, second: float, rows: str | Ran) -> Guest:
        return self.at(second, lambda: self.dom0.answers.__setitem__(xl.LIST, rows if isinstance(rows, Ran) else HEADER + rows))

    def answers(self, second: float, address: object = ADDRESS) -> Guest:
        return self.at(second, lambda: self.answering.add(address))

    def sleep(self, seconds: float) -> None:
        before, self.now = self.now, self.now + seconds
        for second in list(self.events):
            if before - NOW < second <= self.now - NOW:
                self.events.pop(second)()

    def ping(self, addresses: Any, timeout_ms: int, count: int) -> dict[Any, Echoes]:
        wanted = list(addresses)
        self.pinged += wanted
        return {address: Echoes(1, int(address in self.answering), None) for address in wanted}

    def watched(self, seconds: int = 60, addresses: tuple[Any, ...] = (ADDRESS,), watch: Unwatched | None = None) -> str:
        step = WatchBoot(why="Watch it boot.", vps=VpsId(1), addresses=addresses, seconds=seconds)
        return bootwatch.watch_boot(step, self.dom0, watch or Unwatched(), self.ping)

    def fails(self, seconds: int = 60) -> Failed:
        with pytest.raises(Failed) as caught:
            self.watched(seconds)
        return caught.value


@pytest.fixture
def guest(monkeypatch: pytest.MonkeyPatch) -> Guest:
    return Guest(monkeypatch)


def test_a_login_prompt_in_the_log(guest: Guest) -> None:
    guest.log().says(20, "[    1.0] Linux\r\nDebian GNU/Linux 12 xen01 hvc0\r\n\r\n").says(31, "xen01 login: ")
    assert guest.watched() == "booted: login prompt after 41 s", "counted from the start that the toolstack wrote down"
    assert not any(call[0] == "terminal" for call in guest.dom0.calls), "the console itself is left alone"


@pytest.mark.parametrize("line", [
    "xen01 login: ", "login:", "\x1b[1mxen01\x1b[0m login: \x1b[K", "xen01 login: [   60.123456] random: crng init done\r\n", "\r\nxen01 login: \r\nxen01 login: "])
def test_prompts(guest: Guest, line: str) -> None:
    assert guest.log().says(5, line).watched().startswith("booted: login prompt")


@pytest.mark.parametrize("line", ["Last login: Mon Nov 23 05:00:00 UTC 2026 on hvc0\r\n", "systemd-logind: started\r\n", "login: failed for root\r\n", "nologin:\r\n"])
def test_no_prompts(guest: Guest, line: str) -> None:
    assert "no login prompt after 70 s" in str(guest.log().says(5, line).fails())


def test_an_echo_will_do(guest: Guest) -> None:
    assert guest.log().answers(15).watched() == "booted: 192.0.2.1 answers after 25 s"


def test_an_address_that_answers_before_the_guest_can_is_anothers(guest: Guest) -> None:
    guest.answering.add(ADDRESS)
    failed = guest.log().says(3, "stuck\r\n").fails()
    assert str(failed) == "xen01 shows no login prompt after 70 s, and no answer from 192.0.2.1" and guest.pinged == [ADDRESS]


def test_without_an_address_nothing_is_pinged(guest: Guest) -> None:
    assert guest.log().says(5, "xen01 login: ").watched(addresses=()).startswith("booted") and not guest.pinged


def test_a_node_that_may_not_ping_still_sees_the_prompt(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> Any:
        raise Failed("Ping addresses.", "not permitted")
    monkeypatch.setattr(guest, "ping", refuse)
    assert guest.log().says(5, "xen01 login: ").watched() == "booted: login prompt after 15 s"


def test_the_prompt_of_an_earlier_boot_does_not_count(guest: Guest) -> None:
    failed = guest.log("old system\nxen01 login: ", changed=STARTED - 5).says(3, "[    0.0] Linux\r\n").fails()
    assert failed.tail == "[    0.0] Linux"


def test_a_prompt_that_came_before_the_watch_began(guest: Guest) -> None:
    assert guest.log("[    0.0] Linux\nxen01 login: ", changed=STARTED + 5).watched() == "booted: login prompt after 10 s"


def test_the_last_lines_without_control_characters(guest: Guest) -> None:
    guest.log().says(3, "".join(f"line {number}\r\n" for number in range(40)) + "\x1b[31mred\x1b[0m\x07 \x1b]0;title\x07end\x00\r\n\r\n")
    lines = guest.fails().tail.splitlines()
    assert len(lines) == 20 and lines[-2:] == ["line 39", "red end"]


def test_what_is_said_over_and_over_is_shown_once(guest: Guest) -> None:
    guest.log().says(3, "Gave up soon\r\n" + "Begin: Running /scripts/local-block ... done.\r\n" * 40 + "(initramfs) ")
    assert guest.fails().tail.splitlines() == ["Gave up soon", "Begin: Running /scripts/local-block ... done.", "(initramfs)"]


@pytest.mark.parametrize("end", [
    "Kernel panic - not syncing: VFS: Unable to mount root fs\r\n", "\r\n(initramfs) ", "grub rescue> ", "grub> ", "You are in emergency mode. After logging in...\r\n"])
def test_dead_ends_are_not_waited_out(guest: Guest, end: str) -> None:
    failed = guest.log().says(7, f"booting\r\n{end}").fails()
    assert str(failed) == f"xen01 stopped at: {end.strip()}" and guest.now < NOW + 9 and failed.tail.startswith("booting")


def test_a_crash(guest: Guest) -> None:
    failed = guest.log().says(2, "BUG: no memory\r\n").lists(4, ROW.replace("-b----", "---sc-")).fails()
    assert str(failed) == "xen01 crashed after 14 s" and failed.tail == "BUG: no memory"


@pytest.mark.parametrize("rows", ["", ROW.replace("-b----", "--ps--"), ROW.replace("xen01 ", "(null)")])
def test_a_domu_that_ends(guest: Guest, rows: str) -> None:
    failed = guest.log().says(2, "reboot: Power down\r\n").lists(4, rows).fails()
    assert str(failed) == "xen01 ended 14 s after its start" and 9 <= guest.now - NOW <= 10


def test_a_look_that_takes_long_is_no_end(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*arguments: Any) -> Any:
        guest.sleep(20)
        return Guest.ping(guest, *arguments)
    monkeypatch.setattr(guest, "ping", slow)
    assert guest.log().says(30, "xen01 login: ").watched().startswith("booted: login prompt")


def test_one_that_was_gone_before_the_watch_began_shows_what_it_said(guest: Guest) -> None:
    guest.dom0.answers[xl.LIST] = HEADER
    failed = guest.log("[    0.0] Linux\r\nxen: no root\r\n", changed=NOW - 3).fails()
    assert str(failed) == "xen01 is not running" and failed.tail.endswith("xen: no root")


def test_a_reboot_is_followed(guest: Guest) -> None:
    guest.dom0.answers["xenstore-read", "/local/domain/2/console/tty"] = "/dev/pts/4\n"
    guest.dom0.held_open[MONITOR] = ("pid 77 (xl)",)
    guest.lists(4, ROW.replace("-b----", "--psr-")).lists(10, "").lists(25, ROW.replace("  1   256", "  2   256")).says(35, "xen01 login: ", "/dev/pts/4")
    assert guest.watched() == "booted: login prompt after 45 s"
    assert ("close", "/dev/pts/3") in guest.dom0.calls


def test_a_restart_that_xl_could_not_make_is_told_in_its_words(guest: Guest) -> None:
    said = (DATA / "xl-monitor-4.17-restart-failed.txt").read_text()
    guest.lists(4, "").at(5, lambda: guest.dom0.files.__setitem__(MONITOR, said.encode()))
    assert str(guest.fails()) == (
        "xen01 ended 14 s after its start, and xl could not start it anew: killing execution of /etc/xen/scripts/block add because of timeout; "
        "Domain 14:unable to add disk devices; Domain 14:Non-existant domain")


def test_endless_restarts_are_a_failure(guest: Guest) -> None:
    guest.log()
    for number in (2, 3, 4):
        guest.lists(number * 4, ROW.replace("  1   256", f"  {number}   256"))
    assert str(guest.fails()) == "xen01 starts over and over again"


def test_silence_of_xl_for_a_while_is_no_end(guest: Guest) -> None:
    guest.log().lists(2, Ran(1, "")).lists(30, ROW).says(40, "xen01 login: ")
    assert guest.watched() == "booted: login prompt after 50 s"


def test_it_can_be_cancelled(guest: Guest) -> None:
    class Ended(Unwatched):
        def cancelled(self) -> bool:
            return guest.now > NOW + 3
    with pytest.raises(Cancelled):
        guest.says(1, "x", "/dev/pts/3").watched(watch=Ended())
    assert guest.dom0.calls[-1] == ("close", "/dev/pts/3") and guest.now < NOW + 5


# -- consoles without a log -------------------------------------------------------------------------


def test_without_a_log_the_console_is_read(guest: Guest) -> None:
    guest.dom0.held_open["/dev/pts/3"] = ("pid 340 (xenconsoled)",)
    assert guest.says(20, "xen01 login: ", "/dev/pts/3").watched() == "booted: login prompt after 30 s"


def test_a_log_that_nobody_writes_is_not_believed(guest: Guest) -> None:
    guest.log("xen01 login: ", changed=STARTED - 100)
    del guest.dom0.held_open[LOG]
    assert guest.says(20, "xen01 login: ", "/dev/pts/3").watched() == "booted: login prompt after 30 s"


def test_while_the_owner_reads_the_console_we_do_not(guest: Guest) -> None:
    guest.dom0.held_open["/dev/pts/3"] = ("pid 340 (xenconsoled)", "pid 77 (xenconsole)")
    guest.says(5, "xen01 login: ", "/dev/pts/3").answers(20)
    assert guest.watched() == "booted: 192.0.2.1 answers after 30 s"
    assert not any(call[0] == "terminal" for call in guest.dom0.calls) and guest.dom0.files["/dev/pts/3"]


def test_when_the_owner_comes_we_leave(guest: Guest) -> None:
    guest.at(5, lambda: guest.dom0.held_open.__setitem__("/dev/pts/3", ("pid 77 (xenconsole)",)))
    guest.says(8, "xen01 login: ", "/dev/pts/3").at(20, lambda: guest.dom0.held_open.clear())
    assert guest.watched() == "booted: login prompt after 30 s"
    assert [call[0] for call in guest.dom0.calls if call[0] in ("terminal", "close")] == ["terminal", "close", "terminal", "close"]


def test_an_hvm_guest_has_a_serial_line(guest: Guest) -> None:
    guest.dom0.answers["xenstore-read", "/local/domain/1/console/tty"] = Ran(1, "")
    guest.dom0.answers["xenstore-read", "/local/domain/1/serial/0/tty"] = "/dev/pts/9\n"
    assert guest.says(5, "xen01 login: ", "/dev/pts/9").watched() == "booted: login prompt after 15 s"


def test_a_domu_that_nobody_knows_the_start_of(guest: Guest) -> None:
    guest.dom0.answers["xenstore-read", "/local/domain/1/vm"] = Ran(127, "")
    assert guest.log().says(5, "xen01 login: ").watched() == "booted: login prompt after 5 s"
