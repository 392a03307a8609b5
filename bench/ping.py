"""pingAllIPs' engine against fping on loopback addresses, as root: the two in turn, medians and their ratio.

fping gets the shortest interval that it takes (-i 0) and the same timeout and count; both must find
every address alive, or the figure is not printed.
"""

from __future__ import annotations

import ipaddress
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dtcxen_soap.ping import ping_all  # noqa: E402

TIMEOUT_MS = 2000


def addresses(number: int) -> list[ipaddress.IPv4Address]:
    """So many different loopback addresses."""
    return [ipaddress.IPv4Address((127 << 24) + (1 << 16) + index) for index in range(1, number + 1)]


def ours(targets: Sequence[ipaddress.IPv4Address]) -> int:
    """How many answered ping_all."""
    return sum(each.received for each in ping_all(targets, TIMEOUT_MS).values())


def fping(listed: str) -> int:
    """How many answered fping."""
    done = subprocess.run(("fping", "-4", "-q", "-c1", "-i", "0", f"-t{TIMEOUT_MS}", "-f", listed), capture_output=True, text=True)
    return done.stderr.count("1/1/0%")


def timed(work: Callable[[], int], expected: int) -> float:
    """Seconds that it took to find all of them alive."""
    begun = time.perf_counter()
    alive = work()
    taken = time.perf_counter() - begun
    if alive != expected:
        raise SystemExit(f"{alive} of {expected} live addresses were found alive: no figure")
    return taken


def measure(number: int, rounds: int) -> str:
    """One line: medians of both, and their ratio."""
    targets = addresses(number)
    mine, theirs = [], []
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.writelines(f"{target}\n" for target in targets)
        listed.flush()
        for _ in range(rounds):
            mine.append(timed(lambda: ours(targets), number))
            theirs.append(timed(lambda: fping(listed.name), number))
    ratio = statistics.median(mine) / statistics.median(theirs)
    return (f"{number} addresses: ping_all median {statistics.median(mine) * 1000:.1f} ms (worst {max(mine) * 1000:.1f}), "
            f"fping -i 0 median {statistics.median(theirs) * 1000:.1f} ms; ratio {ratio:.2f}")


def main(rounds: int = 9) -> None:
    """Measure at 1,000 and at 10,000 addresses."""
    for number in (1000, 10_000):
        print(measure(number, rounds))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
