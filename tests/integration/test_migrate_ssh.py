"""A VPS moves over a real sshd with a forced command, and its owner signs in on the new node as on the old one.

Both nodes are one machine here, whose users they share, so VPS 01 becomes VPS 02. Runs in the tests' Debian 13 (tools/debian13.py), whose /etc, /usr and /var are private here.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap.facts import NeedJobs
from tests.sshnode import STATE, SshNode, private

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.debian13]
OTHER, KERNEL, KEYS = Path("/var/lib/other"), Path("/usr/lib/vmlinuz-of-tests"), Path("/etc/ssh/keys-root")
PASSWORD = "s3cret: $(id)"
CONFIG = """\
name = "xen01"
kernel = "{kernel}"
memory = 64
disk = [ "format=raw,vdev=xvda,access=w,target={mnt}/xen01.img", "format=raw,vdev=xvdb,access=w,target={mnt}/xen01.swap.img" ]
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshNode]:
    """A node with VPS 01, and beside it, behind sshd, the other node's receiver."""
    scratch = tmp_path_factory.mktemp("node")
    with private(scratch):
        node = SshNode(scratch, migrate_key=str(scratch / "mover"), migrate_known_hosts=str(scratch / "hosts"))
        node.serve("-o", "AuthorizedKeysFile=.ssh/authorized_keys /etc/ssh/keys-%u")
        node.key("mover")
        (scratch / "hosts").write_text(f"[127.0.0.1]:{node.port} {Path('/etc/ssh/ssh_host_ed25519_key.pub').read_text()}")
        _other(node, scratch)
        yield node
        node.end()


def _other(node: SshNode, scratch: Path) -> None:
    KERNEL.write_text("")
    for name in ("mnt", "homes", "xen"):
        (OTHER / name).mkdir(parents=True)
    lines = {"state_dir": OTHER, "provisioning_mount_point": OTHER / "mnt", "ttyssh_home": OTHER / "homes", "xen_config_dir": OTHER / "xen", "htpasswd_file": OTHER / "htpasswd",
             "KERNELPATH": KERNEL, "toolstack": "xl", "default_image_type": "vbd", "overcommit": "yes"}
    (OTHER / "dtc-xen.conf").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    run = scratch / "receive"
    run.write_text(f"#!/bin/sh\nPYTHONPATH={os.environ.get('PYTHONPATH', '')}:/mnt exec {_python()} -m dtcxen_soap receive-vps --config {OTHER}/dtc-xen.conf\n")
    run.chmod(0o755)
    KEYS.write_text(f'command="{run}",restrict {(scratch / "mover.pub").read_text()}')
    KEYS.chmod(0o600)


def _python() -> str:
    return os.path.realpath("/usr/bin/python3")


def _vps(node: SshNode) -> None:
    node.new_vps("01")
    Path("/etc/xen/xen01").write_text(CONFIG.format(kernel=KERNEL, mnt=STATE / "mnt"))
    with (STATE / "mnt/xen01.img").open("r+b") as disk:
        disk.seek(3 << 20)
        disk.write(os.urandom(4 << 20))


def _move(node: SshNode, **words: str) -> Any:
    """The job's record once it has ended."""
    given = {"vps": "01", "toHost": f"127.0.0.1:{node.port}", "toVps": "02", **words}
    job = node.call("migrateVPS", **given).job
    for _ in range(600):
        (record,) = node.journal.jobs(NeedJobs(job=job))
        if record.state not in ("queued", "running"):
            return record
        time.sleep(0.1)
    raise AssertionError("it does not end")


def test_it_moves_with_its_owners_ways_in(old: SshNode) -> None:
    _vps(old)
    old.call("setSshKey", vps="01", keys=old.key("mine"))
    old.call("setConsolePassword", vps="01", password=PASSWORD)
    old.call("setSoapPassword", vps="01", password="soap-secret")
    before = hashlib.sha256((STATE / "mnt/xen01.img").read_bytes()).hexdigest()
    wrong = (old.scratch / "hosts").read_text()
    (old.scratch / "hosts").write_text(wrong.replace("127.0.0.1", "192.0.2.1"))
    record = _move(old)
    assert record.state == "failed" and "Host key verification failed" in record.reason, record.reason
    (old.scratch / "hosts").write_text(wrong)
    record = _move(old)
    assert record.state == "done", record.reason + old.log
    assert hashlib.sha256((OTHER / "mnt/xen02.img").read_bytes()).hexdigest() == before
    assert f"target={OTHER}/mnt/xen02.img" in (OTHER / "xen/xen02").read_text() and not Path("/etc/xen/xen01").exists()
    assert (OTHER / "htpasswd").read_text().startswith("xen02:$2")
    for how in ({"key": "mine"}, {"password": PASSWORD}):
        code, said = old.console("xen02", **how)
        assert code == 0 and "CONSOLE OF xen02" in said, said + old.log
    code, said = old.console("xen01", key="mine")
    assert code != 0 and "CONSOLE" not in said


def test_the_key_opens_the_receiver_and_nothing_else(old: SshNode) -> None:
    code, said = old.ssh("root", "id", key="mover", given='{"do":"hello","protocol":1}\n')
    assert "uid=" not in said and '{"protocol":1}' in said and code == 0
    code, said = old.ssh("root", "sh", "-c", "id", key="mover", given="id\n")
    assert "uid=" not in said and code != 0 and "failed" in said
