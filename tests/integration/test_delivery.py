"""Samples are dropped once the whole reply has arrived, over real TLS; a reader that vanishes gets them again."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from dtcxen_soap import answers
from dtcxen_soap.wire import delivery
from tests.interop.served import Served
from tests.wirekit import ADMIN, ANSWERS, NOON, PASSWORD, request, xml

pytestmark = pytest.mark.machine
FETCH = xml("getCollectedPerformanceData", ("count", "64"))
ROW = ANSWERS[answers.PerformanceList].samples[0].vpses[0]
MUCH = answers.PerformanceList(tuple(answers.PerformanceSample(NOON, (ROW,) * 20) for _ in range(1440)), 1440)
"""Megabytes: more than any socket buffers."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.close()


def arrived(served: Served, seconds: float = 3) -> list[int]:
    """What was told as delivered; nothing counts as nothing only after a while."""
    deadline = time.monotonic() + seconds
    while not served.engine.arrived and time.monotonic() < deadline:
        time.sleep(0.02)
    return served.engine.arrived


@contextlib.contextmanager
def connected(served: Served) -> Iterator[ssl.SSLSocket]:
    trusted = ssl.create_default_context(cafile=served.certificate)
    with socket.create_connection(("127.0.0.1", served.port.getHost().port)) as bare, trusted.wrap_socket(bare, server_hostname="localhost") as tls:
        yield tls


def post(served: Served, body: bytes = FETCH) -> requests.Response:
    return requests.post(served.url, data=body, headers={"Content-Type": "text/xml"}, auth=(ADMIN, PASSWORD), verify=str(served.certificate), timeout=30)


def test_whoever_reads_all_is_believed(served: Served) -> None:
    served.engine.outcome = lambda call: MUCH
    reply = post(served)
    assert reply.status_code == 200 and reply.headers["connection"] == "close" and reply.text.count("<timestamp") == 1440 == len(MUCH.samples)
    assert arrived(served) == [1440]


def test_other_replies_say_nothing_and_keep_the_connection(served: Served) -> None:
    assert "connection" not in post(served, xml("getInstallableAPP")).headers
    served.engine.outcome = lambda call: answers.PerformanceList((), 0)
    post(served)
    assert arrived(served, 1) == []


def test_a_reader_that_only_closes_its_socket_has_read_all_the_same(served: Served) -> None:
    """curl and PHP end TLS in their own ways."""
    with connected(served) as tls:
        tls.sendall(request(FETCH, ADMIN, PASSWORD))
        got = b""
        while b"</SOAP-ENV:Envelope>" not in got:
            got += tls.recv(65536)
    assert arrived(served) == [9]


def test_curl_is_believed(served: Served, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(FETCH)
    done = subprocess.run(
        ["curl", "-sS", "--cacert", str(served.certificate), "-u", f"{ADMIN}:{PASSWORD}", "-H", "Content-Type: text/xml", "--data-binary", f"@{body}", served.url],
        capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "xen01" in done.stdout, done.stderr
    assert arrived(served) == [9]


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
def test_whoever_leaves_in_the_middle_gets_them_again(served: Served, reset: bool) -> None:
    served.engine.outcome = lambda call: MUCH
    with connected(served) as tls:
        tls.sendall(request(FETCH, ADMIN, PASSWORD))
        assert b"200 OK" in tls.recv(4096)
        if reset:
            tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        tls.close()
    assert arrived(served, 2) == []


def test_whoever_leaves_before_the_reply_comes_gets_them_again(served: Served) -> None:
    def slow(call: object) -> answers.PerformanceList:
        time.sleep(0.5)
        return answers.PerformanceList(MUCH.samples[:1], 9)

    served.engine.outcome = slow
    with connected(served) as tls:
        tls.sendall(request(FETCH, ADMIN, PASSWORD))
    assert arrived(served, 2) == []


def test_whoever_is_cut_off_before_reading_a_small_reply_gets_it_again(served: Served) -> None:
    """The reply fits into the socket's buffers, so that all of it was written: the reset says that nobody read it."""
    with connected(served) as tls:
        tls.sendall(request(FETCH, ADMIN, PASSWORD))
        time.sleep(1)
        tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket.close(tls)
    assert arrived(served, 2) == []


def test_whoever_reads_until_the_end_is_let_go_and_believed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "CLOSING_SECONDS", 1)
    with connected(served) as tls:
        tls.sendall(request(FETCH, ADMIN, PASSWORD).replace(b"HTTP/1.1", b"HTTP/1.0"))
        got = b""
        while part := tls.recv(65536):
            got += part
    assert got.endswith(b"</SOAP-ENV:Envelope>") and arrived(served) == [9]
