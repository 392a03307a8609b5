"""The rescue system for real: made with mmdebstrap, told who it is by the planner's own steps, booted, signed in to on its console and over SSH."""

from __future__ import annotations

import dataclasses
import ipaddress
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dtcxen_soap import rescue
from dtcxen_soap.answers import RescueStarted
from dtcxen_soap.cli import main as cli
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.execute import execute
from dtcxen_soap.facts import DiskFact, DomuFact, Facts, MemoryFact, NodeFact
from dtcxen_soap.journal import Journal
from dtcxen_soap.plans import MustBeFree, Plan, Run
from dtcxen_soap.requests import OneVps
from dtcxen_soap.settings import Settings, load
from dtcxen_soap.survey import rescue as survey_rescue
from dtcxen_soap.vps import BootMode, DiskRole, MacAddress, Mib, VpsId
from dtcxen_soap.xen import config
from tests import boot

pytestmark = [pytest.mark.root, pytest.mark.slow]

VPS = VpsId(1)
MAC = MacAddress("00:16:3e:10:10:01")
LARGEST_MIB = 80
COMMAND_LINE = "console=hvc0 net.ifnames=0 root=/dev/xvda ro mitigations=off panic=-1"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A node whose rescue system was just made."""
    top = tmp_path_factory.mktemp("rescue")
    image, modules = boot.kernel()
    text = "".join(f"{name}={value}\n" for name, value in {
        "KERNELPATH": image, "KMOD_PATH": modules, "rescue_kernel": top / "r/vmlinuz", "rescue_initrd": top / "r/initrd.img", "state_dir": top / "state",
        "provisioning_mount_point": top / "mnt", "xen_config_dir": top / "xen", "ttyssh_home": top / "home",
        "GATEWAY": "10.0.2.2", "NETMASK": "255.255.255.0", "DNS": "10.0.2.3"}.items())
    (top / "dtc-xen.conf").write_text(text)
    (top / "xen").mkdir()
    assert cli.main(["rescue-system", "--config", str(top / "dtc-xen.conf")]) == 0
    return load(text).settings


@pytest.fixture
def vps(settings: Settings, tmp_path: Path) -> Facts:
    """A VPS that is down, with a file on its root disk, and its owner's key in its home."""
    root, swap = tmp_path / "root.img", tmp_path / "swap.img"
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/marker").write_text("the customer's\n")
    subprocess.run(["mkfs.ext4", "-q", "-d", str(tmp_path / "tree"), str(root), "64M"], check=True)
    swap.write_bytes(bytes(1 << 20))
    subprocess.run(["mkswap", "-q", str(swap)], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    home = Path(settings.ttyssh_home) / VPS.name / ".ssh"
    home.mkdir(parents=True, exist_ok=True)
    (home / "authorized_keys").write_text((tmp_path / "key.pub").read_text())
    domu = DomuFact(True, toolstack=True, boot=BootMode.DIRECT, config_memory=Mib(128), config_mac=MAC, config_addresses=(ipaddress.ip_address("10.0.2.15"),))
    disks = tuple(DiskFact(role, str(path), path.stat().st_size, False) for role, path in ((DiskRole.ROOT, root), (DiskRole.SWAP, swap)))
    return Facts(
        now=datetime.now(UTC), disks=disks, domu=domu, rescue=survey_rescue.rescue(Dom0(), settings, VPS), memory=MemoryFact(Mib(4096), Mib(4096)),
        node=NodeFact("node", "id", "", "", commands=frozenset({"mkfs.ext4"})))


@pytest.fixture
def entered(settings: Settings, vps: Facts, tmp_path: Path) -> RescueStarted:
    """enterRescue carried out but for Xen's part."""
    plan = rescue.plan_enter(OneVps(vps=VPS), settings, vps)
    own = tuple(step for step in plan.steps if not isinstance(step, MustBeFree) and not (isinstance(step, Run) and step.argv[0] == "xl"))
    journal = Journal(str(tmp_path / "journal.sqlite"))
    execute(journal.begin("enterRescue", VPS, "dtc-xen", "now", (), 1), dataclasses.replace(plan, steps=own), Dom0(), journal, lambda: False)
    journal.close()
    assert isinstance(plan, Plan) and isinstance(plan.answer, RescueStarted)
    kept = [path for path in (*tmp_path.rglob("*"), *Path(settings.state_dir).rglob("*"), *Path(settings.xen_config_dir).rglob("*")) if path.is_file()]
    assert len(kept) > 5 and not [path for path in kept if plan.answer.password.encode() in path.read_bytes()]
    return plan.answer


@pytest.fixture
def port() -> Iterator[int]:
    """A free port of this machine."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        free = listening.getsockname()[1]
    yield free


def ssh(port: int, key: Path, command: str) -> str:
    """What a command over SSH says."""
    done = subprocess.run(
        ["ssh", "-p", str(port), "-i", str(key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
         "root@127.0.0.1", command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_small_and_private(settings: Settings) -> None:
    initrd, place = Path(settings.rescue_initrd), Path(settings.rescue_initrd).parent
    assert initrd.stat().st_size < LARGEST_MIB << 20 and place.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in place.iterdir()) == ["config", "initrd.img", "vmlinuz"]


def test_it_lets_its_customer_in_shows_the_disks_and_ends(settings: Settings, vps: Facts, entered: RescueStarted, tmp_path: Path, port: int) -> None:
    said = config.parse(Path(settings.xen_config_dir, "xen01.rescue").read_text())
    assert (said.kernel, said.ramdisk) == (settings.rescue_kernel, settings.rescue_initrd)
    seed = Path(settings.state_dir, "rescue/xen01.seed")
    assert seed.stat().st_mode & 0o777 == 0o600
    network = f"user,hostfwd=tcp:127.0.0.1:{port}-:22"
    disks = (*(disk.path for disk in vps.disks), str(seed))
    with boot.started(said.kernel, said.ramdisk, disks, MAC, network, COMMAND_LINE) as console:
        console.log_in(entered.password, 400)
        assert "rescue system of xen01" in console.text and "/dev/xvda  the root disk of xen01, 64 MiB" in console.text
        assert console.run("mount -o ro /dev/xvda /mnt && cat /mnt/marker; umount /mnt") == "the customer's"
        assert "10.0.2.15/24" in console.run("ip -4 -o address show dev eth0")
        assert "default via 10.0.2.2" in console.run("ip route")
        assert console.run("cat /etc/resolv.conf; hostname") == "nameserver 10.0.2.3\nxen01-rescue"
        assert console.run("ss -Hltn 'sport = :22' | wc -l") != "0"
        for program in ("e2fsck -V", "xfs_repair -V", "btrfs --version", "vgs", "rsync --version", "fdisk --version", "mdadm --version", "cryptsetup --version"):
            assert console.run(f"{program} >/dev/null 2>&1; echo $?") == "0", program
        assert console.run("swapon /dev/xvdb && modprobe -a xfs btrfs dm_mod dm_crypt vfat && echo fine") == "fine"
        assert console.run("ps -eo stat= | grep -c Z") == "0"
        print(console.run("free -m; cut -d' ' -f1 /proc/uptime"))
        assert ssh(port, tmp_path / "key", "mkdir -p /mnt && mount /dev/xvda /mnt && echo repaired > /mnt/marker && hostname") == "xen01-rescue\n"
        assert console.power_off(command="reboot") == 0
