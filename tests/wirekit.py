"""The wire without a network: requests as bytes in, replies as bytes out, an engine that answers from a table."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lxml import etree
from passlib.hash import des_crypt
from twisted.internet import defer
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from dtcxen_soap import answers, settings
from dtcxen_soap.calls import Call, NotAdmitted
from dtcxen_soap.lookfacts import StateFact
from dtcxen_soap.vps import VpsId
from dtcxen_soap.wire.auth import Authenticator
from dtcxen_soap.wire.health import Health
from dtcxen_soap.wire.http import site
from dtcxen_soap.wire.looks import of_the_node
from dtcxen_soap.wire.metrics import Metrics
from dtcxen_soap.wire.status import Status
from dtcxen_soap.wire.xmlnames import ENV, local

RECORDED = Path(__file__).parent / "data" / "wire" / "requests"
ADMIN, PASSWORD = "dtc-xen", "s3cret"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

_JOB = answers.Job(7, "01", "reinstallOS", "running", ADMIN, 2, 9, "Make the file system.", 12, NOON, NOON, None, "", 4711)
_USED = answers.Performance("01", 251.5, 838375767, 324328402389, 5134, 0, 51.5, 10, 20, 8, 0)
ANSWERS: Mapping[type, Any] = {
    type(answer): answer for answer in (
        answers.DisksReady(True, ("/dev/vg/xen01", "/dev/vg/xen01swap")),
        answers.DisksRemoved(("/dev/vg/xen01",)),
        answers.JobStarted(7),
        answers.RolledBack("01", NOON),
        answers.AccessChanged("01", ("xen01", "xen01-iso"), ("SHA256:47DEQpj8HBSa-/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",)),
        answers.ConfigWritten("/etc/xen/xen01", "127.0.0.1", "its own ISO a.iso"),
        answers.IsoList((answers.Iso("a.iso", 5 << 30, NOON), answers.Iso("b.ISO", 4096, NOON)), 5 << 30, 0),
        answers.PingList((answers.Ping("01", "192.0.2.10", True, 0.4, 0), answers.Ping("01", "2001:db8::1", False, None, 100))),
        answers.VpsState("01", "running", 3, 128, 1, "-b----", 51.5),
        answers.VpsList((answers.VpsState("01", "running", 3, 128, 1, "-b----", 51.5), answers.VpsState("02", "mkos"))),
        answers.JobLogPart(7, "running", "line 1\nline 2 <x> & y\n", 23),
        answers.PowerDone("01", "Started xen01"),
        answers.RescueStarted("01", "root", "abcd-efgh-jkmn-pqrs", ("192.0.2.10/24 via 192.0.2.1",), "Started the rescue system of xen01"),
        answers.StartedList((answers.Started("xen01", 3, 256, 1, "blocked", "-b----", 37.8), answers.Started("xen02", 4, 128, 1, "running", "r-----", 0.4))),
        answers.InstallLog("line 1\nline 2 <x> & y \u00fc\x1b[0m\n"),
        answers.InstallableOs(("centos", "netbsd")),
        answers.InstallableApps(("wordpress",)),
        answers.PerformanceList((answers.PerformanceSample(NOON, (_USED, dataclasses.replace(_USED, vps="02"))),), 9),
        answers.FreeSpace((answers.Space("vbd", "/srv", 4096), answers.Space("lvm", "vg0", 0)), 512, None),
        answers.VpsDetails(
            "01", "running", True, "pvh-grub", 256, 1, "00:16:3e:10:10:01", ("192.0.2.10", "2001:db8::1"),
            (answers.VpsDisk("root", "lvm", "/dev/vg0/xen01", 1024, True),), None),
        answers.ServerAlive(),
        _JOB,
        answers.JobList((_JOB, dataclasses.replace(_JOB, id=6, vps=None, started=None, ended=NOON))),
        answers.CancelAsked(7, True),
    )
}
OF_THE_NODE: Mapping[str, Any] = {"vpsStates": (StateFact(VpsId(1), state="blocked"), StateFact(VpsId(2))), "jobCounts": {"done": 3, "failed": 1}}
SAMPLES = {
    "VpsName": "xen01", "OsType": "debian", "Password": "s3cr&t \u20ac", "HostName": "www.example.org", "Nics": "192.0.2.10/24 2001:db8::2/64",
    "Gateway": "192.0.2.1", "NameServers": "192.0.2.53,2001:db8::53", "ImageType": "vbd", "BootMode": "pvh-grub", "Flag": "true", "DiskSizeMib": "1024",
    "SwapSizeMib": "128", "RamSizeMib": " 256 ", "TimeoutMs": "1000", "EchoCount": "1", "LineCount": "20", "JobId": "7", "ByteOffset": "0", "RowLimit": "5",
    "Addresses": "192.0.2.10 2001:db8::2", "VncPassword": "s3cr&t", "BootFrom": "a.iso", "Firmware": "uefi", "BsdKernel": "install",
    "Node": "node2.example.org:2222", "StopSeconds": "60",
    "SoapPassword": "s3cr&t", "UserData": "#!/bin/sh\necho s3cr&t", "SshKeys": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ owner@example.org",
}


class AnsweringEngine:
    """Answers each call with the table's answer of its operation, at once or when told."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.refused: list[NotAdmitted] = []
        self.arrived: list[int] = []
        self.outcome: Callable[[Call], Any] = self._from_table
        self.held: list[Future[Any]] | None = None

    def submit(self, call: Call) -> Future[Any]:
        self.calls.append(call)
        future: Future[Any] = Future()
        if self.held is not None:
            self.held.append(future)
            return future
        try:
            future.set_result(self.outcome(call))
        except Exception as error:
            future.set_exception(error)
        return future

    def _from_table(self, call: Call) -> Any:
        if call.operation in OF_THE_NODE:
            return OF_THE_NODE[call.operation]
        from dtcxen_soap.operations import find
        form = find(call.operation, True)
        assert form is not None
        return ANSWERS[form.operation.answer]

    def not_admitted(self, refused: NotAdmitted) -> None:
        self.refused.append(refused)

    def delivered(self, newest: int) -> None:
        self.arrived.append(newest)

    def alive(self) -> bool:
        return True


class TimeOfTests(Clock):
    """Time that stands until it is told to go on; work of threads is done at once."""

    def callFromThread(self, work: Callable[..., Any], *arguments: Any) -> None:
        work(*arguments)


def at_once(work: Callable[[], Any]) -> defer.Deferred[Any]:
    """Verify in the caller's thread."""
    return defer.maybeDeferred(work)


def xml(operation: str, *parameters: tuple[str, str], rpc: bool = True) -> bytes:
    """A request in either dialect; values are XML already."""
    space = "" if rpc else ' xmlns="urn:dtc-xen"'
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in parameters)
    return f'<e:Envelope xmlns:e="{ENV}"><e:Body><{operation}{space}>{inner}</{operation}></e:Body></e:Envelope>'.encode()


@dataclasses.dataclass
class Reply:
    """One HTTP reply."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def root(self) -> etree._Element:
        return etree.fromstring(self.body)

    def text(self, name: str) -> str:
        """The text of the first element of that name, wherever it stands."""
        found = next((item for item in self.root.iter() if local(item.tag) == name), None)
        return "" if found is None else (found.text or "")

    @property
    def fault(self) -> str:
        return f"{self.text('faultcode')}: {self.text('faultstring')}" if self.body.startswith(b"<?xml") else ""

    @property
    def result(self) -> etree._Element:
        return next(item for item in self.root.iter() if local(item.tag) == "Result")


class Wire:
    """The service in memory: one connection per request."""

    def __init__(self, folder: Path, htpasswd: str = "", **changed: Any) -> None:
        path = folder / "htpasswd"
        path.write_text(htpasswd or f"{ADMIN}:{des_crypt.hash(PASSWORD)}\n")
        node = {"GATEWAY": "192.0.2.1", "NETMASK": "255.255.255.0", "DNS": "192.0.2.53"}
        text = "\n".join(f"{name}={value}" for name, value in {**node, "htpasswd_file": path, **changed}.items())
        self.settings = settings.load(text).settings
        self.engine = AnsweringEngine()
        self.clock = TimeOfTests()
        self.auth = Authenticator(lambda: self.settings, at_once, self.clock)
        looks = of_the_node(lambda: self.settings, self.clock)
        self.metrics = Metrics(looks, lambda: NOON, at_once)
        self.pages = Status(lambda: self.settings, looks, lambda: NOON + timedelta(days=90), self.clock, lambda: NOON)
        health = Health(lambda: self.engine.alive(), at_once, self.clock)
        self.site = site(lambda: self.settings, self.engine, self.auth, health, self.metrics, self.pages, self.clock)
        self.site.reactor = self.clock

    def connect(self, peer: str = "192.0.2.99") -> tuple[Any, StringTransport]:
        protocol = self.site.buildProtocol(IPv4Address("TCP", peer, 40000))
        transport = StringTransport(IPv4Address("TCP", "192.0.2.2", 8089), IPv4Address("TCP", peer, 40000))
        transport.abortConnection = transport.loseConnection
        protocol.makeConnection(transport)
        return protocol, transport

    def raw(self, data: bytes, peer: str = "192.0.2.99") -> Reply | None:
        """Send bytes; the reply, or None when it is still to come."""
        protocol, transport = self.connect(peer)
        protocol.dataReceived(data)
        return parse(transport.value()) if transport.value() else None

    def post(self, body: bytes, *, user: str = ADMIN, password: str | None = PASSWORD, peer: str = "192.0.2.99", **headers: str) -> Reply:
        reply = self.raw(request(body, user, password, **headers), peer)
        assert reply is not None, "no reply yet"
        return reply

    def call(self, operation: str, *parameters: tuple[str, str], rpc: bool = True, user: str = ADMIN) -> Reply:
        return self.post(xml(operation, *parameters, rpc=rpc), user=user)

    def get(self, path: str, **headers: str) -> Reply:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        reply = self.raw(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        assert reply is not None, "no reply yet"
        return reply


def request(body: bytes, user: str = ADMIN, password: str | None = PASSWORD, **headers: str) -> bytes:
    """The bytes of a POST."""
    lines = {"Content-Type": "text/xml; charset=utf-8", "Content-Length": str(len(body))}
    if password is not None:
        lines["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return b"POST / HTTP/1.1\r\n" + head.encode() + b"\r\n" + body


def parse(data: bytes) -> Reply:
    """The last reply in `data`."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(int(first.split()[1]), headers, body)


def recorded(path: Path, authorization: str = "") -> bytes:
    """A recorded request as it was sent; with `authorization` in place of what it had."""
    head, _, body = path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
    lines = [line for line in head.split(b"\n") if not line.lower().startswith((b"authorization", b"content-length") if authorization else b"content-length")]
    if authorization:
        lines.append(b"Authorization: " + authorization.encode())
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body)]) + b"\r\n\r\n" + body
