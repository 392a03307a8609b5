"""What hands type on a node: the original's commands and dtcxen's own, on a real daemon, beside it, and after it was killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import make_bundle
from tests.node import Node

pytestmark = [pytest.mark.root, pytest.mark.machine]

_AS = "import sys; from dtcxen_soap.cli.legacy import main; sys.argv = sys.argv[1:]; sys.exit(main())"
REINSTALL = ("-vpsid", "01", "-ram", "64", "-nic", "192.0.2.10,255.255.255.0,192.0.2.255", "-os", "old-style-2010", "-gw", "192.0.2.1", "-dns", "192.0.2.53")
SLOW = "reinstallOS vps=02 osType=slow ramSizeMib=64 password=@@p nics=192.0.2.11/24"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    made = Node(tmp_path_factory.mktemp("node") / "n")
    made.start()
    port = re.search(r":([0-9]+)/", made.url)
    assert port
    made.config.write_text(made.config.read_text() + f"listen_port={port[1]}\n")
    for name in ("old-style-2010", "slow"):
        make_bundle(Path(made.settings.os_dir) / name)
    script = Path(made.settings.os_dir) / "slow/install_os"
    script.write_text("#!/bin/sh\necho begun\nsleep 60\n")
    yield made
    if made.daemon is not None:
        made.stop()


def dtcxen(node: Node, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    return _run((sys.executable, "-m", "dtcxen_soap", *map(str, words), "--config", str(node.config)), code)


def legacy(node: Node, name: str, *words: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    return _run((sys.executable, "-c", _AS, name, "--config", str(node.config), *words), code, environment)


def _run(argv: tuple[str, ...], code: int, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env={**os.environ, **(environment or {})})
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def tree(node: Node) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in node.directory.rglob("*") if path.suffix not in (".sqlite-wal", ".sqlite-shm")}


def test_a_vps_from_its_disks_to_its_end_by_the_originals_commands(node: Node) -> None:
    before = tree(node)
    planned = legacy(node, "dtc_setup_vps_disk", "--plan", "01", "128", "16").stdout
    assert "xen01.img" in planned and tree(node) == before, "--plan prints and stops"
    assert legacy(node, "dtc_setup_vps_disk", "30000", "512", "lvm", code=1).stderr.count("dtc_setup_vps_disk: ") == 2
    assert tree(node) == before
    legacy(node, "dtc_setup_vps_disk", "01", "128", "16", "vbd")
    image = Path(node.settings.provisioning_mount_point) / "xen01.img"
    assert image.stat().st_size == 128 << 20
    assert "vbd" in legacy(node, "dtc_reinstall_os", *REINSTALL, "--disk-type", "lvm", code=1, PASSWORD="x").stderr
    done = legacy(node, "dtc_reinstall_os", "-v", *REINSTALL, "--disk-type", "vbd", PASSWORD="s3cr3t &$(x)")
    assert "is done" in done.stderr and "mkfs" in done.stdout and "s3cr3t" not in done.stdout + done.stderr
    assert Path(node.settings.xen_config_dir, "xen01").is_file()
    legacy(node, "dtc_kill_vps_disk", "01")
    assert not image.exists()


def test_what_cannot_be_done_is_1_and_says_why(node: Node) -> None:
    assert "no root disk" in legacy(node, "dtc_reinstall_os", *[word.replace("01", "09") for word in REINSTALL], code=1, PASSWORD="x").stderr
    assert legacy(node, "dtc_write_xenhvm_conf", "09", "64", "192.0.2.9", "no_vnc", "hdd", code=1).stderr
    assert "volume group" in legacy(node, "dtc-xen-volgroup", code=1).stderr
    assert legacy(node, "dtc-xen-ping-all-ips").stderr == "no VPS of this node has an address\n"
    assert legacy(node, "dtc-xen-client", f"https://dtc-xen:{node.password}@127.0.0.1:{node.settings.listen_port}/", "testVPSServer").stdout == "OK\n"
    legacy(node, "dtc-xen-client", f"https://dtc-xen:wrong@127.0.0.1:{node.settings.listen_port}/", "testVPSServer", code=1)


def test_a_job_is_seen_followed_and_cancelled_beside_the_daemon(node: Node) -> None:
    dtcxen(node, "call", "setupVPSDisk", "vps=02", "diskSizeMib=128", "swapSizeMib=16", "imageType=vbd")
    job = dtcxen(node, "call", *SLOW.split(), "--no-follow").stdout.strip()
    follower = subprocess.Popen((sys.executable, "-m", "dtcxen_soap", "log", "-f", "xen02", "--config", str(node.config)), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while "begun" not in dtcxen(node, "log", job).stdout:
        assert time.monotonic() < deadline
    states = {row["vps"]: row["state"] for row in json.loads(dtcxen(node, "states", "--json").stdout)["vpses"]}
    assert states == {"02": "mkos"}
    far = ("--user", "dtc-xen", "--password-file", str(node.config.parent / "admin.password"))
    here, there = (json.loads(dtcxen(node, "jobs", "02", "--json", *more).stdout)["jobs"][0] for more in ((), far))
    assert (here["id"], here["state"], here["operation"]) == (there["id"], there["state"], there["operation"]) == (int(job), "running", "reinstallOS")
    assert set(here) == set(there)
    assert "begun" in dtcxen(node, "log", job, *far).stdout and "mkos" in dtcxen(node, "states", *far).stdout
    dtcxen(node, "cancel", job)
    out, err = follower.communicate(timeout=30)
    assert follower.returncode == 1 and "begun" in out and "was cancelled" in err
    assert "had ended already" in dtcxen(node, "cancel", job, code=1).stderr
    assert dtcxen(node, "states").stdout.split()[-3:] == ["02", "Not", "running"]


def test_after_the_daemon_was_killed_nothing_is_told_as_running_and_changes_are_3(node: Node) -> None:
    job = dtcxen(node, "call", *SLOW.split(), "--no-follow").stdout.strip()
    deadline = time.monotonic() + 60
    while "begun" not in dtcxen(node, "log", job).stdout:
        assert time.monotonic() < deadline
    node.stop(signal.SIGKILL)
    rows = dtcxen(node, "jobs").stdout.splitlines()
    assert "interrupted" in rows[1] and not any("running" in row for row in rows)
    assert "mkos" not in dtcxen(node, "states").stdout and "begun" in dtcxen(node, "log", "02").stdout
    assert "cannot be reached" in legacy(node, "dtc_kill_vps_disk", "02", code=3).stderr
    assert dtcxen(node, "cancel", job, code=3)
    node.start()
    legacy(node, "dtc_kill_vps_disk", "02")
    node.stop()
    assert not node.leftovers()
