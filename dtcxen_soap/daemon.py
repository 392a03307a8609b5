"""The daemon: what is started in which order, what a signal does, and how it ends.

Started: engine (which first settles what an earlier daemon left), then the door; then systemd is
told that the service is ready. Stopped: the door, then the engine, whose running steps get a moment
to end. SIGHUP reads configuration, certificate and htpasswd again; whatever is wrong with them is
logged, and the old ones stay.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from twisted.application import service
from twisted.application.internet import TimerService
from twisted.internet import defer
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from dtcxen_soap import daemonlog, operations, sampler
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Busy, Misconfigured
from dtcxen_soap.jobs import Jobs
from dtcxen_soap.journal import Journal
from dtcxen_soap.servicemanager import ServiceManager
from dtcxen_soap.settings import Loaded, Settings, load
from dtcxen_soap.survey.survey import Survey
from dtcxen_soap.wire.auth import Authenticator
from dtcxen_soap.wire.health import Health
from dtcxen_soap.wire.http import site
from dtcxen_soap.wire.looks import of_the_node
from dtcxen_soap.wire.metrics import Metrics
from dtcxen_soap.wire.status import Status
from dtcxen_soap.wire.tls import Connections

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 3600.0
BUSY_SECONDS = 10.0
STOP_GRACE_SECONDS = 5.0
PASSWORD_THREADS = 2
SIGNS_PER_WATCHDOG = 4
"""Signs of life within the time that systemd waits for one: some may be late."""
FIXED_WHILE_RUNNING = ("listen_address", "listen_port", "state_dir")


class Engine(service.Service):  # type: ignore[misc]
    """Journal, survey and jobs, as one thing that starts and stops."""

    def __init__(self, settings: Settings, reactor: Any, work_left: Callable[[], None]) -> None:
        self._reactor = reactor
        dom0 = Dom0()
        self._journal = Journal(settings.journal_path, settings.job_log_dir)
        self.jobs: Jobs
        self.survey = Survey(settings, dom0, self._journal, lambda vps: self.jobs.running(vps))
        self.jobs = Jobs(settings, dom0, self._journal, self.survey.fill, work_left)
        self.sample = lambda toolstack: sampler.sample(dom0, self._journal, toolstack)
        self.answers = self._journal.answers

    def startService(self) -> None:
        """Settle the past, then take calls."""
        self.jobs.start()
        super().startService()

    def stopService(self) -> defer.Deferred[None]:
        """End running jobs in a thread of its own, so that the reactor goes on meanwhile."""
        super().stopService()
        pool = _pool("stop", 1)
        stopped = deferToThreadPool(self._reactor, pool, self.jobs.stop, STOP_GRACE_SECONDS)

        def close(outcome: Any) -> Any:
            pool.stop()
            self._journal.close()
            return outcome

        return stopped.addBoth(close)

    def replace_settings(self, settings: Settings) -> None:
        """Use new settings from the next call on."""
        self.survey.replace_settings(settings)
        self.jobs.replace_settings(settings)


class Door(service.Service):  # type: ignore[misc]
    """The TLS port, and everything between it and the engine."""

    def __init__(self, daemon: Daemon, reactor: Any) -> None:
        self._reactor, self._settings = reactor, daemon.settings
        self.tls = Connections(daemon.settings)
        self._passwords, self._checks = _pool("passwords", PASSWORD_THREADS), _pool("health", 2)
        self.auth = Authenticator(lambda: daemon.settings, lambda work: deferToThreadPool(reactor, self._passwords, work), reactor)
        health = Health(daemon.engine.jobs.alive, lambda work: deferToThreadPool(reactor, self._checks, work), reactor)
        looks = of_the_node(lambda: daemon.settings, reactor)
        metrics = Metrics(looks, self.tls.certificate_ends, lambda work: deferToThreadPool(reactor, self._checks, work))
        pages = Status(lambda: daemon.settings, looks, self.tls.certificate_ends, reactor)
        self._site = site(lambda: daemon.settings, daemon.engine.jobs, self.auth, health, metrics, pages, reactor)
        self._site.noisy = False
        self._port: Any = None
        self.url = ""

    def startService(self) -> None:
        """Listen, and say so in one line on standard output: tests and scripts wait for it."""
        address = _numeric(self._settings.listen_address)
        self._port = self._reactor.listenSSL(self._settings.listen_port, self._site, self.tls, interface=address)
        super().startService()
        host = f"[{address}]" if ":" in address else address or "0.0.0.0"
        self.url = f"https://{host}:{self._port.getHost().port}/"
        sys.stdout.write(f"listening on {self.url}\n")
        sys.stdout.flush()

    async def close(self) -> None:
        """Take no more connections; those that wait for an answer are left to the engine's end."""
        if self.running:
            super().stopService()
            await defer.maybeDeferred(self._port.stopListening)
        for pool in (self._passwords, self._checks):
            pool.stop()


class Housekeeping(TimerService):  # type: ignore[misc]
    """The node's own calls, made by the clock: they go through the engine like anybody's."""

    def __init__(self, daemon: Daemon, reactor: Any) -> None:
        super().__init__(HOUSEKEEPING_SECONDS, self._call)
        self._daemon, self._reactor = daemon, reactor
        self._again: Any = None

    def soon(self) -> None:
        """A call left work: ask at once, from whatever thread this is called in."""
        self._reactor.callFromThread(self._call)

    def stopService(self) -> Any:
        """Ask no more."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        return super().stopService()

    def _call(self) -> None:
        """Ask; how it went is in the audit, and a failure in the log as well."""
        if self.running:
            asked = self._daemon.engine.jobs.submit(operations.housekeeping(self._daemon.settings))
            asked.add_done_callback(lambda future: self._reactor.callFromThread(self._asked, future))

    def _asked(self, future: Future[Any]) -> None:
        """While an earlier round is under way, what came since must wait for its end."""
        error = future.exception()
        if isinstance(error, Busy) and self.running and self._again is None:
            self._again = self._reactor.callLater(BUSY_SECONDS, self._retry)
        elif error and not isinstance(error, Busy):
            log.error("housekeeping: %s", error)

    def _retry(self) -> None:
        self._again = None
        self._call()


class Sampling(TimerService):  # type: ignore[misc]
    """A look at the domUs each minute, in a thread of its own; a slow one makes the next ones wait, never two at once."""

    def __init__(self, daemon: Daemon, reactor: Any) -> None:
        super().__init__(sampler.SECONDS, self._look)
        self._daemon, self._reactor, self._pool = daemon, reactor, _pool("sample", 1)

    def _look(self) -> defer.Deferred[None]:
        return deferToThreadPool(self._reactor, self._pool, self._daemon.engine.sample, self._daemon.settings.toolstack)

    def stopService(self) -> Any:
        """Look no more; a look that is under way ends before the journal is closed."""
        self._pool.stop()
        return super().stopService()


class Watchdog(TimerService):  # type: ignore[misc]
    """Signs of life for systemd: from the event loop, and only after the journal answered in a thread. When either hangs there are none, and systemd restarts us."""

    def __init__(self, daemon: Daemon, reactor: Any) -> None:
        super().__init__(daemon.manager.watchdog_seconds / SIGNS_PER_WATCHDOG, self._look)
        self._daemon, self._reactor, self._pool = daemon, reactor, _pool("watchdog", 1)

    def _look(self) -> defer.Deferred[None]:
        return deferToThreadPool(self._reactor, self._pool, self._daemon.engine.answers).addCallback(self._tell)

    def _tell(self, answered: bool) -> None:
        if answered:
            self._daemon.manager.alive()
        else:
            log.error("the journal does not answer: systemd is given no sign of life")

    def stopService(self) -> Any:
        """No more signs; a look that is under way ends first."""
        self._pool.stop()
        return super().stopService()


class Daemon(service.MultiService):  # type: ignore[misc]
    """The tree: an engine and a door, under one configuration."""

    def __init__(self, config_path: str, loaded: Loaded, reactor: Any, manager: ServiceManager) -> None:
        super().__init__()
        self._config_path, self.settings, self.manager = config_path, loaded.settings, manager
        self.clock = Housekeeping(self, reactor)
        self.engine = Engine(loaded.settings, reactor, self.clock.soon)
        self.door = Door(self, reactor)
        self.sampling = Sampling(self, reactor)
        self._timers: list[TimerService] = [self.clock, self.sampling]
        if manager.watchdog_seconds:
            self._timers.append(Watchdog(self, reactor))
        for part in (self.engine, self.door, *self._timers):
            part.setServiceParent(self)

    def startService(self) -> None:
        """Start everything; ready is when the door is open."""
        self.manager.status("settling what an earlier daemon left")
        super().startService()
        self._ready()

    def _ready(self) -> None:
        self.manager.ready(f"listening on {self.door.url}")

    async def close(self) -> None:
        """Door first, then engine: nothing new comes in while jobs end."""
        self.manager.stopping()
        await self.door.close()
        for timer in self._timers:
            if timer.running:
                timer.stopService()
        if self.engine.running:
            await self.engine.stopService()

    def reload(self) -> None:
        """Read configuration, certificate and htpasswd again; what is wrong leaves the old in force."""
        self.manager.reloading()
        try:
            self._reload()
        finally:
            self._ready()

    def _reload(self) -> None:
        try:
            loaded = read_config(self._config_path)
            wanted, kept = loaded.settings, {name: getattr(self.settings, name) for name in FIXED_WHILE_RUNNING}
            self.door.tls.reload(wanted)
        except (Misconfigured, OSError) as error:
            for line in str(error).splitlines():
                log.error("reload: %s", line)
            log.error("reload: nothing was changed")
            return
        for name, value in kept.items():
            if getattr(wanted, name) != value:
                log.warning("reload: %s: %s takes effect at the next start", loaded.sources[name], name)
        self.settings = dataclasses.replace(wanted, **kept)
        self.engine.replace_settings(self.settings)
        self.door.auth.reload()
        daemonlog.set_level(self.settings.log_level)
        log.info("reload: configuration, certificate and htpasswd were read again")


def read_config(path: str) -> Loaded:
    """Load the configuration and log its warnings; Misconfigured lists every problem with file and line."""
    loaded = load(Path(path).read_text(encoding="utf-8", errors="surrogateescape"), path)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    return loaded


def serve(config_path: str) -> int:
    """Run the daemon in the foreground until SIGTERM or SIGINT; 0, or 1 when it could not start."""
    from twisted.internet import reactor  # importing it chooses the process's event loop

    faulthandler.enable()  # what every thread did, when the watchdog ends us by SIGABRT
    daemonlog.begin("info")
    try:
        loaded = read_config(config_path)
        daemonlog.set_level(loaded.settings.log_level)
        daemon = Daemon(config_path, loaded, reactor, ServiceManager(os.environ))
    except (Misconfigured, OSError) as error:
        return _cannot_start(error)
    outcome: list[int] = []

    def start() -> None:
        try:
            daemon.startService()
        except (Misconfigured, OSError, CannotListenError) as error:
            outcome.append(_cannot_start(error))
            reactor.stop()

    reactor.callWhenRunning(start)
    reactor.addSystemEventTrigger("before", "shutdown", lambda: defer.Deferred.fromCoroutine(daemon.close()))
    signal.signal(signal.SIGHUP, lambda number, frame: reactor.callFromThread(daemon.reload))
    reactor.run()
    log.info("stopped")
    return outcome[0] if outcome else 0


def _cannot_start(error: Exception) -> int:
    for line in str(error).splitlines():
        log.error("cannot start: %s", line)
    return 1


def _pool(name: str, size: int) -> ThreadPool:
    pool = ThreadPool(0, size, name)
    pool.start()
    return pool


def _numeric(host: str) -> str:
    """The address of a host name, since a port is bound to addresses; "" is every address."""
    try:
        return str(ipaddress.ip_address(host)) if host else ""
    except ValueError:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
