"""Real volumes: what planners, engine and edge make of LVM in dom0, a daemon killed within an exchange included."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.xenlab.lab import Lab

pytestmark = pytest.mark.xenlab("full")

SCRIPT = Path(__file__).with_name("volumes_in_dom0.py")
CASES = re.findall(r"^def case_(\w+)", SCRIPT.read_text(), re.MULTILINE)


@pytest.mark.parametrize("case", CASES)
def test_volumes(lab: Lab, case: str) -> None:
    with lab.timed(f"volumes: {case}"):
        assert "done in" in lab.ssh(f"python3 - {case}", 600, SCRIPT.read_bytes())
