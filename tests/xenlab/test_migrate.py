"""A running VPS moves on a real Xen: volumes, shutdown, boot under watch, over real ssh.

One dom0 is both nodes: the other one is a set of directories with a receiver behind a forced command, and, as Xen and the volume group are
shared, another number for the VPS.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.xenlab.lab import CONFIG, Lab

pytestmark = pytest.mark.xenlab("full")

VPS, THERE = 30, 31
PASSWORD = "it goes along"
OTHER = "/srv/other"
PEER = f"""\
set -e
mkdir -p {OTHER}/mnt {OTHER}/homes {OTHER}/xen/auto /root/.ssh
rm -f /etc/dtc-xen/migrate_key /etc/dtc-xen/migrate_key.pub
ssh-keygen -q -t ed25519 -N '' -f /etc/dtc-xen/migrate_key </dev/null
printf '127.0.0.1 %s\\n' "$(cat /etc/ssh/ssh_host_ed25519_key.pub)" > /etc/dtc-xen/migrate_known_hosts
chmod 600 /etc/dtc-xen/migrate_key
sed -i '/receive-vps/d' /root/.ssh/authorized_keys
printf 'command="/usr/bin/dtcxen receive-vps --config {OTHER}/dtc-xen.conf",restrict %s\\n' "$(cat /etc/dtc-xen/migrate_key.pub)" >> /root/.ssh/authorized_keys
"""


@pytest.fixture(scope="module")
def other(lab: Lab) -> Iterator[str]:
    """The other node's directories, and the way to it."""
    own = {"state_dir": OTHER, "provisioning_mount_point": f"{OTHER}/mnt", "ttyssh_home": f"{OTHER}/homes", "xen_config_dir": f"{OTHER}/xen", "htpasswd_file": f"{OTHER}/htpasswd"}
    lab.ssh("bash -s", 60, PEER.encode())
    lab.push(OTHER, {"dtc-xen.conf": "".join(f"{name}={value}\n" for name, value in {**CONFIG, **own}.items()).encode()}, 0o600)
    yield "127.0.0.1"
    lab.ssh(f"xl destroy xen{THERE}; lvremove -qfy vg0/xen{THERE} vg0/xen{THERE}swap; sed -i '/receive-vps/d' /root/.ssh/authorized_keys; rm -rf {OTHER}", 120, check=False)
    lab.client().killVPSDisk(vps=str(VPS))


def test_a_running_vps_moves_and_boots_there(lab: Lab, other: str) -> None:
    lab.setup(VPS, disk=512)
    lab.booted(VPS, PASSWORD, bootMode="direct")
    with lab.timed("move of a running VPS to its login there"):
        record = lab.done(lab.client().migrateVPS(vps=str(VPS), toHost=other, toVps=str(THERE), copyFirst=True).job, 1800)
    assert "booted: " in record.reason
    assert lab.runs(THERE) and not lab.runs(VPS)
    with lab.signed_in(THERE, PASSWORD) as root:
        assert root.run("id -u") == "0"
    there = lab.ssh(f"cat {OTHER}/xen/xen{THERE}")
    assert f"/dev/vg0/xen{THERE}swap" in there and f"xen{VPS}" not in there
    assert f"xen{VPS}.kept." in lab.ssh("lvs --noheadings -o lv_name vg0") and "moved" in lab.ssh(f"ls /etc/xen/xen{VPS}.*")
    assert "no configuration" in lab.refusal("startVPS", vps=str(VPS))
