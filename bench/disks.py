"""setupVPSDisk for 1 GB and for 1 TB through the real daemon: calls in turn, medians and their ratio."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.node import Node  # noqa: E402


def main(rounds: int = 15) -> None:
    """Time each call from the client's side, TLS and SOAP included."""
    with tempfile.TemporaryDirectory() as directory, Node(Path(directory) / "node") as node:
        client = node.client()
        times: dict[int, list[float]] = {1024: [], 1 << 20: []}
        for _ in range(rounds):
            for size, taken in times.items():
                begun = time.perf_counter()
                client.setupVPSDisk(vps="01", diskSizeMib=size, swapSizeMib=256, imageType="vbd")
                taken.append(time.perf_counter() - begun)
                client.killVPSDisk(vps="01")
    small, large = (statistics.median(taken) * 1000 for taken in times.values())
    print(f"setupVPSDisk 1 GB: median {small:.1f} ms; 1 TB: median {large:.1f} ms (worst {max(times[1 << 20]) * 1000:.1f} ms); ratio {large / small:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
