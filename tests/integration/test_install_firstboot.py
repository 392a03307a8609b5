"""Installations over SOAP with snippets, keys and data of the owner: what is on the disk, who may read it, and what is written of it elsewhere."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import zeep.exceptions

from tests.bundles import make_bundle
from tests.node import Node

pytestmark = [pytest.mark.root, pytest.mark.slow]
HOME = "/var/lib/dtcxen-firstboot"
RUNLEVELS = '#!/bin/sh\nwhile [ $# -gt 0 ]; do if [ "$1" = -path ]; then mkdir -p "$2/etc/rc2.d"; fi; shift; done\n'


def install(node: Node, **more: Any) -> Any:
    asked = {"vps": "01", "osType": "old-style-2010", "ramSizeMib": 64, "password": "hunter2hunter2", "nics": "192.0.2.10/24", "gateway": "192.0.2.1", "dns": "192.0.2.53"}
    return node.wait(node.client().reinstallOS(**asked | more).job)


def image(node: Node) -> Path:
    return Path(node.settings.provisioning_mount_point) / "xen01.img"


def debugfs(node: Node, request: str) -> str:
    return subprocess.run(["debugfs", "-R", request, str(image(node))], capture_output=True, text=True, check=True).stdout


def key(folder: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "owner", "-f", str(folder / "key")], check=True)
    return (folder / "key.pub").read_text().strip()


def test_keys_snippets_and_the_owners_script_reach_the_disk_and_nothing_else(tmp_path: Path) -> None:
    with Node(tmp_path / "node") as node:
        bundle = make_bundle(Path(node.settings.os_dir) / "old-style-2010")
        snippets = Path(node.settings.firstboot_dir)
        snippets.mkdir(mode=0o700)
        (snippets / "10-site").write_text("#!/bin/sh\n# geheim-site\n")
        (snippets / "10-site").chmod(0o700)
        node.client().setupVPSDisk(vps="01", diskSizeMib=128, swapSizeMib=0, imageType="vbd")
        (bundle / "custom_os").write_text(RUNLEVELS)
        record = install(node, sshKeys=key(tmp_path), userData="#!/bin/sh\necho geheim-owner\n")
        assert record.state == "done", record.reason + node.job_log(record.id)
        assert debugfs(node, f"cat {HOME}/waiting/1-10-site") == "#!/bin/sh\n# geheim-site\n" and "geheim-owner" in debugfs(node, f"cat {HOME}/waiting/3-owner")
        assert all("0700" in debugfs(node, f"stat {HOME}{path}").splitlines()[0] for path in ("", "/run", "/waiting", "/waiting/1-10-site", "/waiting/3-owner"))
        assert debugfs(node, "cat /root/.ssh/authorized_keys") == key_of(tmp_path) and "S99dtcxen-firstboot" in debugfs(node, "ls /etc/rc2.d")
        written = [path for path in (tmp_path / "node").rglob("*") if path.is_file() and path not in (image(node), snippets / "10-site")]
        assert [path for path in written if b"geheim" in path.read_bytes()] == []

        before = debugfs(node, f"stat {HOME}/run")
        (bundle / "custom_os").write_text("#!/bin/sh\n")
        record = install(node)
        assert record.state == "failed" and "neither systemd nor runlevels" in record.reason
        record = install(node, userData="#cloud-config\npackages: [geheim]\n")
        assert record.state == "failed" and "has no cloud-init" in record.reason and debugfs(node, f"stat {HOME}/run") == before, "the old system stands"

        (snippets / "10-site").chmod(0o722)
        with pytest.raises(zeep.exceptions.Fault, match="others than root could have changed them: .*10-site"):
            install(node)
        (snippets / "10-site").chmod(0o700)
        with pytest.raises(zeep.exceptions.Fault, match="sshKeys: key 1: ssh-keygen cannot read it"):
            install(node, sshKeys="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ bad")
        assert node.leftovers() == []


def key_of(folder: Path) -> str:
    return (folder / "key.pub").read_text()
