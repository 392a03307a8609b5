"""The runner itself, inside a tree as its first boot would start it, by three shells.

The tree has this machine's programs, read-only, and a terminal for its console; it was told by the real finishing steps.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.firstbootfacts import Snippet
from dtcxen_soap.install import firstboot as room
from dtcxen_soap.vps import Secret
from tests.integration.test_guestkernel import do
from tests.unit.install.guests import guest

pytestmark = [pytest.mark.machine, pytest.mark.root, pytest.mark.slow]
SHELLS = ("dash", "bash", "busybox sh")
HOME = "var/lib/dtcxen-firstboot"
BOOT = """set -e
for dir in usr dev/pts; do mkdir -p {tree}/$dir; done
mount --rbind /usr {tree}/usr
mount --bind {tty} {tree}/dev/console
mount --bind /dev/null {tree}/dev/null
exec chroot {tree} {command}
"""


class Machine:
    """A tree that can be booted as far as its runner."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        for path in ("root", "dev", "tmp", "etc/init.d", "etc/rc2.d", "etc/rc3.d", "var/log", "usr"):
            (tree / path).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (tree / name).symlink_to(f"usr/{name}")
        for name in ("console", "null"):
            (tree / "dev" / name).touch()
        (tree / "etc/inittab").touch()
        self.console = ""

    def told(self, seconds: int = 30, **snippets: str) -> None:
        """Finish the tree with these snippets."""
        made = tuple(Snippet(name.replace("_", "-"), Secret(f"#!/bin/sh\n{text}\n")) for name, text in snippets.items())
        asked = guest(tree=str(self.tree), snippets=made, snippet_seconds=seconds)
        look = Dom0().tree(str(self.tree)).look(room.TEXTS, room.GLOBS, ())
        do(room.steps(asked, look), str(self.tree))

    def boot(self, command: str, kill_after: float = 0.0) -> int:
        """Run a command in the tree; what it wrote to the console is kept."""
        master, slave = os.openpty()
        script = BOOT.format(tree=self.tree, tty=os.ttyname(slave), command=command)
        argv = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--", "sh", "-c", script]
        started = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"], "SECRET": "inherited"})
        if kill_after:
            time.sleep(kill_after)
            started.kill()
        code = started.wait(timeout=120)
        os.set_blocking(master, False)
        try:
            self.console = os.read(master, 65536).decode().replace("\r\n", "\n")
        except BlockingIOError:
            self.console = ""
        os.close(slave)
        os.close(master)
        return code

    @property
    def log(self) -> str:
        return (self.tree / "var/log/dtcxen-firstboot.log").read_text()

    def left(self) -> list[str]:
        """What is still there of us."""
        return sorted(str(path.relative_to(self.tree)) for top in ("etc", "var") for path in (self.tree / top).rglob("*firstboot*"))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if not shutil.which("busybox"):
        pytest.skip("busybox is not installed")
    before = os.umask(0o022)
    yield Machine(tmp_path / "tree")
    os.umask(before)


@pytest.mark.parametrize("shell", SHELLS)
def test_each_runs_once_in_order_and_all_of_it_goes(machine: Machine, shell: str) -> None:
    machine.told(**{
        "2_second": 'echo "second of $DTCXEN_VPS_NAME $DTCXEN_HOSTNAME ${SECRET-none} `pwd` `umask`"; echo 2 >>/tmp/order; exit 3',
        "1_first": "echo first; echo 1 >>/tmp/order; cat >/tmp/stdin"})
    assert machine.boot(f"{shell} /{HOME}/run") == 1
    assert (machine.tree / "tmp/order").read_text().split()[:2] == ["1", "2"]
    assert (machine.tree / "tmp/stdin").read_text() == ""
    assert [line.partition("dtcxen-firstboot: ")[2] for line in machine.console.splitlines()] == [
        "1-first: begins", "1-first: done", "2-second: begins", "2-second: failed with code 3", "done, but for 1: see /var/log/dtcxen-firstboot.log"]
    assert "\nfirst\n" in machine.log and "\nsecond of xen01 mail.example.org inherited /root 0022\n" in machine.log
    assert machine.left() == ["var/log/dtcxen-firstboot.log"] and (machine.tree / machine.left()[0]).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("shell", SHELLS)
def test_one_that_hangs_is_ended_with_all_that_it_started(machine: Machine, shell: str) -> None:
    machine.told(2, **{"1_hangs": "trap '' TERM; sleep 1000 & echo $! >/tmp/pids; wait; sleep 1000",
                         "2_next": "for i in 1 2 3 4 5; do kill -0 `cat /tmp/pids` || exit 0; sleep 1; done; exit 9"})
    began = time.monotonic()
    assert machine.boot(f"{shell} /{HOME}/run") == 1
    assert time.monotonic() - began < 40
    assert "1-hangs: took longer than 2 seconds, and was ended" in machine.console and "2-next: done" in machine.console
    assert machine.left() == ["var/log/dtcxen-firstboot.log"]


@pytest.mark.parametrize("shell", SHELLS)
def test_one_that_the_power_took_is_told_and_not_run_again(machine: Machine, shell: str) -> None:
    machine.told(**{"1_slow": "echo ran >>/tmp/ran; sleep 1000", "2_next": "echo next >>/tmp/ran"})
    machine.boot(f"{shell} /{HOME}/run", kill_after=3)
    assert (machine.tree / "tmp/ran").read_text() == "ran\n" and f"{HOME}/run" in {str(path.relative_to(machine.tree)) for path in (machine.tree / HOME).iterdir()}
    assert machine.boot(f"{shell} /{HOME}/run") == 1
    assert (machine.tree / "tmp/ran").read_text() == "ran\nnext\n"
    assert "1-slow: was interrupted, and is not run again" in machine.console and machine.left() == ["var/log/dtcxen-firstboot.log"]


def test_the_init_script_starts_it_beside_the_boot_and_only_once(machine: Machine) -> None:
    machine.told(**{"1_first": "sleep 2; echo 1 >>/tmp/order"})
    assert (machine.tree / "etc/rc2.d/S99dtcxen-firstboot").is_symlink() and os.access(machine.tree / "etc/init.d/dtcxen-firstboot", os.X_OK)
    # The links' names are the guest's to follow; the boot goes on at once, and waits here for its end only to see it.
    wait = f"s=`date +%s`; sh /etc/rc2.d/S99dtcxen-firstboot start; e=`date +%s`; echo $((e - s)) >/tmp/took; while [ -d /{HOME} ]; do sleep 1; done; sleep 1"
    assert machine.boot(f"sh -c '{wait}'") == 0
    assert int((machine.tree / "tmp/took").read_text()) < 2 and (machine.tree / "tmp/order").read_text() == "1\n"
    assert machine.left() == ["var/log/dtcxen-firstboot.log"] and "all done" in machine.console
    assert machine.boot("sh -c 'test ! -e /etc/init.d/dtcxen-firstboot'") == 0
