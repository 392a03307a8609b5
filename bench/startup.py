"""Start-up time and memory of the daemon, against a Python that only imports what it is built on; in turn, medians."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.node import Node  # noqa: E402

IMPORTS = """
from dtcxen_soap.wire import spynefix
import spyne.application, spyne.protocol.soap, lxml.etree, twisted.web.server, twisted.internet.ssl, sqlite3
print(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")), flush=True)
"""


def resident_mib(status: str) -> float:
    """MiB of a VmRSS line of /proc/PID/status."""
    return int(status.split()[1]) / 1024


def main(rounds: int = 7) -> None:
    """Start each in turn; the daemon counts until it listens."""
    times: dict[str, list[float]] = {"daemon": [], "imports": []}
    memory: dict[str, list[float]] = {"daemon": [], "imports": []}
    with tempfile.TemporaryDirectory() as directory:
        node = Node(Path(directory) / "node")
        for _ in range(rounds):
            begun = time.perf_counter()
            with node:
                times["daemon"].append(time.perf_counter() - begun)
                assert node.daemon is not None
                status = Path(f"/proc/{node.daemon.pid}/status").read_text().splitlines()
                memory["daemon"].append(resident_mib(next(line for line in status if line.startswith("VmRSS"))))
            begun = time.perf_counter()
            told = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True).stdout
            times["imports"].append(time.perf_counter() - begun)
            memory["imports"].append(resident_mib(told))
    for what, figures, unit in (("start to listening", times, "s"), ("resident memory", memory, "MiB")):
        ours, theirs = statistics.median(figures["daemon"]), statistics.median(figures["imports"])
        print(f"{what}: daemon {ours:.2f} {unit}, imports alone {theirs:.2f} {unit}; ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
