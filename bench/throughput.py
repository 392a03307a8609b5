"""Requests per second over TLS keep-alive, with schema and authentication, against a bare HTTPS resource of Twisted.

Both servers are processes of their own, called in turn by the same client over 1 and 4
connections: the ratio is what SOAP, checks, admission and the engine cost beside TLS and HTTP.
"""

from __future__ import annotations

import base64
import http.client
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.node import Node  # noqa: E402

ROUNDS, SECONDS = 3, 2.0
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


def measure(port: int, trust: str, connections: int, password: str) -> float:
    """Requests per second of `connections` clients that call for SECONDS."""
    counts = [0] * connections
    until = time.perf_counter() + SECONDS
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""', "Authorization": "Basic " + base64.b64encode(f"dtc-xen:{password}".encode()).decode()}

    def call(place: int) -> None:
        link = http.client.HTTPSConnection("127.0.0.1", port, context=ssl.create_default_context(cafile=trust), timeout=10)
        while time.perf_counter() < until:
            link.request("POST", "/", BODY, headers)
            answer = link.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            counts[place] += 1
        link.close()

    threads = [threading.Thread(target=call, args=(place,)) for place in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def main() -> None:
    """Start both, call them in turn."""
    with tempfile.TemporaryDirectory() as directory, Node(Path(directory) / "node") as node:
        settings = node.settings
        bare = subprocess.Popen(
            [sys.executable, "-c", BARE, settings.tls_key, settings.tls_certificate], stdout=subprocess.PIPE, text=True)
        assert bare.stdout is not None
        ports = {"daemon": urlsplit(node.url).port or 0, "bare": int(bare.stdout.readline())}
        try:
            for connections in (1, 4):
                rates: dict[str, list[float]] = {"daemon": [], "bare": []}
                for _ in range(ROUNDS):
                    for name, port in ports.items():
                        rates[name].append(measure(port, settings.tls_certificate, connections, node.password))
                ours, theirs = (statistics.median(rates[name]) for name in ("daemon", "bare"))
                print(f"{connections} connection(s): getVPSState {ours:.0f}/s, bare HTTPS resource {theirs:.0f}/s; ratio {ours / theirs:.2f}")
        finally:
            bare.kill()
            bare.wait()


if __name__ == "__main__":
    main()
