"""What of a checkout goes into the Debian source package, by tar itself with dpkg-source's options: never the node of `make run`, with its keys and disks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.machine

OPTIONS = Path(__file__).resolve().parents[2] / "debian/source/options"
SOURCE = {"dtcxen_soap/vps.py", ".ci/run", "tests/data/a.txt", "Makefile"}
WORK = {"run/etc/dtc-xen/privkey.pem", "run/var/lib/dtc-xen/mnt/xen01.img", "run/vps01.root-password", ".venv/bin/python", ".venv-3.13/x", ".cache/xenlab/dom0.ext4", ".git/config",
        "dtcxen_soap/__pycache__/vps.pyc", "dtcxen_soap.egg-info/x", ".hypothesis/x"}


def test_a_working_node_is_no_source(tmp_path: Path) -> None:
    checkout = tmp_path / "any name"
    for name in SOURCE | WORK:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("x")
    ignored = [line.partition("=")[2] for line in OPTIONS.read_text().splitlines() if line.startswith("tar-ignore=")]
    packed = subprocess.run(["tar", "-c", *(f"--exclude={pattern}" for pattern in ignored), checkout.name], cwd=tmp_path, stdout=subprocess.PIPE, check=True).stdout
    listed = subprocess.run(["tar", "-t"], input=packed, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    assert {name.removeprefix("any name/") for name in listed if not name.endswith("/")} == SOURCE
