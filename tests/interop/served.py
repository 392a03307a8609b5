"""The wire on a real TLS port of the loopback device, with the engine of tests/wirekit.py behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from passlib.hash import bcrypt
from twisted.internet import reactor
from twisted.internet.threads import blockingCallFromThread, deferToThread

from dtcxen_soap import settings
from dtcxen_soap.calls import Call
from dtcxen_soap.wire.auth import Authenticator
from dtcxen_soap.wire.health import Health
from dtcxen_soap.wire.http import site
from dtcxen_soap.wire.looks import of_the_node
from dtcxen_soap.wire.metrics import Metrics
from dtcxen_soap.wire.status import Status
from dtcxen_soap.wire.tls import Connections
from tests.certificates import make_pair
from tests.wirekit import ADMIN, PASSWORD, AnsweringEngine


class ThreadedEngine(AnsweringEngine):
    """Runs each call in a thread, as the engine does."""

    def __init__(self) -> None:
        super().__init__()
        self._threads = ThreadPoolExecutor(8)

    def submit(self, call: Call) -> Future[Any]:
        self.calls.append(call)
        return self._threads.submit(self.outcome, call)


class Served:
    """A service of its own; the process's one event loop is started with the first of them."""

    def __init__(self, folder: Path, **changed: Any) -> None:
        certificate, key = make_pair(folder)
        self.certificate = certificate
        htpasswd = folder / "htpasswd"
        htpasswd.write_text(f"{ADMIN}:{bcrypt.using(rounds=10).hash(PASSWORD)}\nxen02:{bcrypt.using(rounds=4).hash(PASSWORD)}\n")
        node = {"tls_certificate": certificate, "tls_key": key, "htpasswd_file": htpasswd, "GATEWAY": "192.0.2.1", "NETMASK": "255.255.255.0", "DNS": "192.0.2.53"}
        self.settings = settings.load("\n".join(f"{name}={value}" for name, value in {**node, **changed}.items())).settings
        self.engine = ThreadedEngine()
        _loop()
        self.port = self._in_loop(self._listen)
        self.url = f"https://localhost:{self.port.getHost().port}/"

    def _listen(self) -> Any:
        auth = Authenticator(lambda: self.settings, deferToThread, reactor)
        health = Health(lambda: self.engine.alive(), deferToThread, reactor)
        tls = Connections(self.settings)
        looks = of_the_node(lambda: self.settings, reactor)
        metrics, pages = Metrics(looks, tls.certificate_ends, deferToThread), Status(lambda: self.settings, looks, tls.certificate_ends, reactor)
        return reactor.listenSSL(0, site(lambda: self.settings, self.engine, auth, health, metrics, pages, reactor), tls, interface="127.0.0.1")

    def close(self) -> None:
        self._in_loop(self.port.stopListening)

    @staticmethod
    def _in_loop(work: Callable[[], Any]) -> Any:
        return blockingCallFromThread(reactor, work)


def _loop() -> None:
    if not reactor.running:
        started = threading.Event()
        reactor.callWhenRunning(started.set)
        threading.Thread(target=reactor.run, kwargs={"installSignalHandlers": False}, daemon=True).start()
        started.wait(10)
