"""Two nodes below one directory, each with a daemon's programs of its own: a toolstack of files, and an `ssh` that leads to the other's receiver.

The daemon, the receiver, disks and journals are real; tests/integration/test_migrate_ssh.py has real ssh between them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.node import Node

ROOT = Path(__file__).parents[1]
PROGRAMS = Path(__file__).with_name("integration") / "twonodes"
CONFIG = """\
# made by an admin, with care
name = "{name}"
type = "pv"
kernel = "{kernel}"
memory = 128   # MiB
vif = [ "mac=00:16:3e:10:10:01,ip=192.0.2.10" ]
disk = [
    "format=raw,vdev=xvda,access=w,target={root}",
    "format=raw,vdev=xvdb,access=w,target={swap}",
]
on_reboot = "restart"
"""


class MovingNode(Node):
    """A node with VPSes that run, if only as files say."""

    def __init__(self, directory: Path, **changed: str) -> None:
        directory.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(directory, toolstack="xl", overcommit="yes", migrate_key=str(directory / "key"), migrate_known_hosts=str(directory / "hosts"),
                         boot_watch_seconds="10", KERNELPATH=str(directory.parent / "vmlinuz"), **changed)
        for path in (directory / "key", directory / "hosts", directory.parent / "vmlinuz"):
            path.write_text("")
            path.chmod(0o600)
        self.bin = directory / "bin"
        self.bin.mkdir()
        for source, name in (("xl", "xl"), ("xl", "xenstore-read"), ("ssh", "ssh"), ("sitecustomize.py", "sitecustomize.py")):
            shutil.copy(PROGRAMS / source, self.bin / name)
            (self.bin / name).chmod(0o755)

    def leads_to(self, other: MovingNode) -> None:
        (self.bin / "peer").write_text("\n".join((sys.executable, str(ROOT), str(other.bin), str(other.config))))

    def start(self, wait_seconds: float = 30, environment: dict[str, str] | None = None) -> None:
        super().start(wait_seconds, {"PYTHONPATH": f"{self.bin}:{ROOT}", "NODE_BIN": str(self.bin), **(environment or {})})

    @property
    def mnt(self) -> Path:
        return Path(self.settings.provisioning_mount_point)

    @property
    def xen(self) -> Path:
        return Path(self.settings.xen_config_dir)

    def new_vps(self, mib: int = 24, *, auto: bool = True) -> None:
        """VPS 01 with a real file system, data and holes, as an admin would have it."""
        root, swap, name = self.mnt / "xen01.img", self.mnt / "xen01.swap.img", "xen01"
        self.mnt.mkdir(parents=True, exist_ok=True)
        for path, size in ((root, mib), (swap, 4)):
            with path.open("wb") as file:
                file.truncate(size << 20)
            path.chmod(0o600)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(root)], check=True)
        subprocess.run(["mkswap", str(swap)], check=True, capture_output=True)
        with root.open("r+b") as file:
            file.seek(9 << 20)
            file.write(os.urandom(5 << 20))
        self.xen.mkdir(parents=True, exist_ok=True)
        (self.xen / name).write_text(CONFIG.format(name=name, kernel=self.directory.parent / "vmlinuz", root=root, swap=swap))
        if auto:
            (self.xen / "auto").mkdir(exist_ok=True)
            (self.xen / "auto" / name).symlink_to(f"../{name}")

    def boot(self, name: str = "xen01") -> None:
        subprocess.run([str(self.bin / "xl"), "create", f"--defconfig={self.xen / name}"], check=True)

    def running(self) -> list[str]:
        return sorted(path.name for path in (self.bin / "domains").glob("*"))

    def halt(self) -> None:
        for path in (self.bin / "domains").glob("*"):
            os.kill(json.loads(path.read_text())["guest"], signal.SIGKILL)
            path.unlink()

    def startable(self) -> bool:
        """Whether something would start the VPS here: a configuration of its name."""
        return (self.xen / "xen01").exists()

    def digests(self, where: str = "", name: str = "xen01") -> tuple[str, ...]:
        """Of root and swap disk; `where` "kept": of those set aside."""
        names = sorted(self.mnt.glob(f"{where}/{name}*.img*" if where else f"{name}*.img"))
        return tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in names)

    def left_of_arrival(self) -> list[str]:
        """What an arrival that was dropped may not leave."""
        found = [*self.mnt.glob("xen*"), *self.xen.glob("xen*"), *(self.directory.rglob("*.arriving"))]
        return [str(path) for path in found] + self.running()

    def migrate(self, **more: Any) -> Any:
        """Move VPS 01; the job's record."""
        job = self.client().migrateVPS(vps="01", toHost="other.example.org", **more).job
        return self.wait(job)


def pair(tmp_path: Path, **changed: str) -> tuple[MovingNode, MovingNode]:
    """Two nodes that lead to each other; VPS 01 is at the first."""
    old, new = (MovingNode(tmp_path / name, **changed) for name in ("old", "new"))
    old.leads_to(new)
    new.leads_to(old)
    old.new_vps()
    return old, new
