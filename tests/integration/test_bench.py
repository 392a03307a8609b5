"""Every benchmark still runs, started as `make bench` starts it, with one round; no figure is judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.slow]
BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.parametrize("file", sorted(BENCH.glob("*.py")), ids=lambda file: file.stem)
def test_a_benchmark_prints_its_ratio(file: Path) -> None:
    done = subprocess.run([sys.executable, str(file), "1"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "ratio" in done.stdout, done.stdout + done.stderr


def test_make_bench_runs_them_all() -> None:
    told = subprocess.run(["make", "-n", "-C", str(BENCH.parent), "bench"], capture_output=True, text=True, check=True).stdout
    assert sorted(file.stem for file in BENCH.glob("*.py")) == sorted(told.partition("for file in ")[2].partition(";")[0].split())
