"""Requests per second over TLS keep-alive, with schema and authentication, against a bare HTTPS resource of Twisted.

Both servers are processes of their own, called in turn by the same client over 1 and 4
connections: the ratio is what SOAP, checks, admission and the engine cost beside TLS and HTTP.
The bare one waits for the client some of the time, which flatters us; the processor time that
each server spends on a request does not, and minds other load less.
"""

from __future__ import annotations

import base64
import http.client
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.node import Node  # noqa: E402

SECONDS = 2.0
BODY = (
    b'<?xml version="1.0"?><e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><getVPSState xmlns="urn:dtc-xen"><vps>01</vps>'
    b"</getVPSState></e:Body></e:Envelope>")
BARE = """
import sys
from twisted.internet import reactor, ssl
from twisted.web import resource, server
class Bare(resource.Resource):
    isLeaf = True
    def render_POST(self, request):
        request.content.read()
        return b"x" * 600
port = reactor.listenSSL(0, server.Site(Bare()), ssl.DefaultOpenSSLContextFactory(sys.argv[1], sys.argv[2]), interface="127.0.0.1")
print(port.getHost().port, flush=True)
reactor.run()
"""


def measure(port: int, trust: str, connections: int, password: str) -> int:
    """How many requests `connections` clients got answered in SECONDS."""
    counts = [0] * connections
    until = time.perf_counter() + SECONDS
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""', "Authorization": "Basic " + base64.b64encode(f"dtc-xen:{password}".encode()).decode()}

    def call(place: int) -> None:
        answered = 0
        link = http.client.HTTPSConnection("127.0.0.1", port, context=ssl.create_default_context(cafile=trust), timeout=10)
        while time.perf_counter() < until:
            link.request("POST", "/", BODY, headers)
            answer = link.getresponse()
            answer.read()
            if answer.status != 200:
                return
            answered += 1
        link.close()
        counts[place] = answered

    threads = [threading.Thread(target=call, args=(place,)) for place in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not all(counts):
        raise SystemExit("a connection was not answered to the end: no figure")
    return sum(counts)


def processor_seconds(pid: int) -> float:
    """What a process has used of the processors so far, as /proc/PID/stat tells."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def bare(node: Node) -> Iterator[tuple[int, int]]:
    """A resource that answers without looking, with the node's certificate; its port and process."""
    process = subprocess.Popen([sys.executable, "-c", BARE, node.settings.tls_key, node.settings.tls_certificate], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.communicate()


def main(rounds: int = 3) -> None:
    """Start both, call them in turn."""
    with tempfile.TemporaryDirectory() as directory, Node(Path(directory) / "node") as node, bare(node) as resource:
        assert node.daemon is not None
        servers = {"daemon": (urlsplit(node.url).port or 0, node.daemon.pid), "bare": resource}
        for connections in (1, 4):
            rates: dict[str, list[float]] = {"daemon": [], "bare": []}
            costs: dict[str, list[float]] = {"daemon": [], "bare": []}
            for _ in range(rounds):
                for name, (port, pid) in servers.items():
                    before = processor_seconds(pid)
                    answered = measure(port, node.settings.tls_certificate, connections, node.password)
                    rates[name].append(answered / SECONDS)
                    costs[name].append((processor_seconds(pid) - before) / answered * 1000)
            ours, theirs = (statistics.median(rates[name]) for name in servers)
            our_cost, their_cost = (statistics.median(costs[name]) for name in servers)
            print(f"{connections} connection(s): getVPSState {ours:.0f}/s, bare HTTPS resource {theirs:.0f}/s, ratio {ours / theirs:.2f}; "
                  f"processor time per request {our_cost:.2f} ms and {their_cost:.2f} ms, ratio {our_cost / their_cost:.2f}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
