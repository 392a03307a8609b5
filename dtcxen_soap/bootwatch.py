"""Watches a domU that was just started until it is up, or plainly never will be.

Up is a login prompt on its console, or an echo reply from one of its addresses; either is enough,
since a guest may have no login on its console, or answer no echo. A prompt counts in lines that
this boot has written. An address that answers at the first look, before the guest can, is another machine's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby

from dtcxen_soap import domus, plans
from dtcxen_soap.consoles import TAIL_BYTES, Console, plain
from dtcxen_soap.dom0 import Dom0, Watch
from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.ping import Echoes, ping_all
from dtcxen_soap.vps import IpAddress
from dtcxen_soap.xen import xl

POLL_SECONDS = 0.5
ECHO_MS = 300
GONE_SECONDS = 5.0
"""How long there must be no domU, and nobody who would start it anew, before it is given up."""
RECENT_SECONDS = 15.0
"""What a console's log was written to this lately belongs to this boot, where nothing says when that began."""
MOST_RESTARTS = 2
TAIL_LINES = 20
Pinger = Callable[[Iterable[IpAddress], int, int], Mapping[IpAddress, Echoes]]

_LOGIN = re.compile(r"(?:^|\s)login: ?(?:\[ *\d+\.\d+\].*)?$", re.MULTILINE)
"""A prompt ends its line, unless the kernel still has something to say behind it."""
_DEAD_ENDS = re.compile(
    r"^.*Kernel panic - not syncing.*$|^\(initramfs\)\s*$|^grub(?: rescue)?>\s*$|^.*[Ee]mergency mode.*$", re.MULTILINE)


def watch_boot(step: plans.WatchBoot, dom0: Dom0, watch: Watch, pinger: Pinger = ping_all) -> str:
    """How and after how many seconds it came up. Failed with the console's last lines when it does not; Cancelled on request."""
    boot = _Boot(step, dom0, pinger)
    try:
        while not (outcome := boot.look()):
            if watch.cancelled():
                raise Cancelled("cancelled while watching")
            time.sleep(POLL_SECONDS)
        return outcome
    finally:
        boot.console.close()


class _Boot:
    """One boot under watch. Times are monotonic seconds; `_since` is when the domU was started."""

    def __init__(self, step: plans.WatchBoot, dom0: Dom0, pinger: Pinger) -> None:
        self._step, self._dom0, self._pinger = step, dom0, pinger
        self._begun = time.monotonic()
        self._dead_since: float | None = None
        self._domid: int | None = None
        self._restarts = 0
        running = self._running()
        self._domid = running.domid if running else None
        age = self._age()
        self._since = self._begun - (age or 0.0)
        self.console = Console(dom0, step.vps.name, self._domid)
        self._heard = ""
        self._before = self.console.before(time.time() - (RECENT_SECONDS if age is None else age))
        self._strangers = self._answering(step.addresses)

    def look(self) -> str:
        """The outcome, "" while it is open; Failed when the boot has."""
        if running := self._running():
            self._follow(running)
        self._heard = (self._heard + self.console.read())[-TAIL_BYTES:]
        if _LOGIN.search(plain(self._heard)) or (self._before and _LOGIN.search(self._last_line())):
            return f"booted: login prompt after {self._seconds()} s"
        if answering := self._answering([address for address in self._step.addresses if address not in self._strangers]):
            return f"booted: {answering[0]} answers after {self._seconds()} s"
        self._give_up(running)
        return ""

    def _give_up(self, running: xl.Domain | None) -> None:
        """Failed when nothing more can be hoped for."""
        name, now = self._step.vps.name, time.monotonic()
        if dead := _DEAD_ENDS.search(plain(self._heard)):
            self._fail(f"{name} stopped at: {dead[0].strip()}")
        if running and running.state == "crashed":
            self._fail(f"{name} crashed after {self._seconds()} s")
        if self._restarts > MOST_RESTARTS:
            self._fail(f"{name} starts over and over again")
        if self._dead_since is not None and now - self._dead_since > GONE_SECONDS:
            ended = f"{name} ended {round(self._dead_since - self._since)} s after its start" if self._domid else f"{name} is not running"
            said = domus.monitor_said(self._dom0, name)
            self._fail(ended + (f", and xl could not start it anew: {said}" if said else ""))
        if now - self._begun > self._step.seconds:
            answered = f", and no answer from {', '.join(map(str, self._step.addresses))}" if self._step.addresses else ""
            self._fail(f"{name} shows no login prompt after {self._seconds()} s{answered}")

    def _fail(self, reason: str) -> None:
        told = plain(self._heard) if self._heard.strip() else plain(self._before)
        lines = [line for line, _ in groupby(line.rstrip() for line in told.splitlines() if line.strip())]
        raise Failed("", reason, tail="\n".join(lines[-TAIL_LINES:]))

    def _running(self) -> xl.Domain | None:
        """The domU; one that Xen tells nothing of at this moment counts as it did before."""
        try:
            found = domus.domain(self._dom0, self._step.vps.name)
        except Failed:
            self._dead_since = None
            return None
        lives = found is not None and found.state not in ("shutdown", "dying")
        if lives or domus.monitor(self._dom0, self._step.vps.name):
            self._dead_since = None
        elif self._dead_since is None:
            self._dead_since = time.monotonic()
        return found

    def _follow(self, running: xl.Domain) -> None:
        """A new number is a new start: the guest rebooted, or crashed and was started by xl again."""
        if running.domid != self._domid:
            self._restarts += self._domid is not None
            self._domid = running.domid
            self.console.follow(running.domid)

    def _last_line(self) -> str:
        return plain(self._before + self._heard).rpartition("\n")[2]

    def _seconds(self) -> int:
        return round(time.monotonic() - self._since)

    def _age(self) -> float | None:
        """Seconds since the domU was started, as its toolstack wrote it down; None when that cannot be found."""
        where = self._dom0.capture(xl.store(f"/local/domain/{self._domid}/vm")).output.strip() if self._domid else ""
        if not where.startswith("/vm/"):
            return None
        try:
            return max(0.0, time.time() - float(self._dom0.capture(xl.store(f"{where}/start_time")).output))
        except ValueError:
            return None

    def _answering(self, addresses: Iterable[IpAddress]) -> list[IpAddress]:
        """Those of the addresses that answer an echo request; none where this node may not send any."""
        wanted = list(addresses)
        try:
            echoes = self._pinger(wanted, ECHO_MS, 1) if wanted else {}
        except Failed:
            return []
        return [address for address in wanted if echoes[address].received]
