"""`dtcxen pack` and `dtcxen import-ovm` on real images, and what reinstallOS makes of the bundles: the same files, owners, modes and attributes."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import re
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap import packing
from dtcxen_soap.errors import Failed
from tests import hostile
from tests.bundles import write_system
from tests.integration.test_hostile_corpus import held
from tests.node import Node

pytestmark = [pytest.mark.root, pytest.mark.slow]
CHANGED = {
    "etc/fstab", "etc/hostname", "etc/hosts", "etc/inittab", "etc/securetty", "etc/shadow", "etc/network/interfaces", "boot/grub/menu.lst",
    "etc/machine-id", "etc/ssh/ssh_host_rsa_key", "etc/udev/rules.d/70-persistent-net.rules", "var/lib/systemd/random-seed"}
"""What pack takes out, and what every installation writes anew."""
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""cap_net_raw=ep."""
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in ((1, 6, 0xFFFFFFFF), (2, 4, 1234), (4, 4, 0xFFFFFFFF), (0x10, 4, 0xFFFFFFFF), (0x20, 4, 0xFFFFFFFF)))
"""user::rw-, user:1234:r--, group::r--, mask::r--, other::r--."""


def dtcxen(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((sys.executable, "-m", "dtcxen_soap", *words), capture_output=True, text=True, timeout=240)


def packed(source: Path, name: str, output: Path, *more: str) -> dict[str, Any]:
    """Pack it; the manifest, as it was printed and as it is in the bundle."""
    done = dtcxen("pack", str(source), "--name", name, "--output", str(output), *more)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads((output / name / "manifest.json").read_text())
    assert done.stdout.startswith(f"made   {output}/{name}\n") and json.loads(done.stdout.partition("\n")[2]) == told
    return told


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small system with all that a file system can say of a file."""
    top = tmp_path_factory.mktemp("tree")
    with tarfile.open(top / "system.tar", "w") as archive:
        write_system(archive)
    root = top / "root"
    root.mkdir()
    subprocess.run(("tar", "-C", str(root), "-xpf", str(top / "system.tar")), check=True)
    for path, text in (("etc/machine-id", "0123456789abcdef\n"), ("etc/ssh/ssh_host_rsa_key", "key"), ("etc/ssh/sshd_config", "Port 22\n"),
                       ("var/lib/systemd/random-seed", "x" * 512), ("home/it's \"quoted\" $(id); ü", "names"), ("usr/bin/su", "su"), ("usr/bin/ping", "ping"),
                       ("srv/acl", "acl"), ("srv/attribute", "attribute")):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    os.chown(root / "srv/attribute", 1234, 5678)
    os.chmod(root / "usr/bin/su", 0o4755)
    os.mkdir(root / "srv/shared")
    os.chown(root / "srv/shared", 0, 4242)
    os.chmod(root / "srv/shared", 0o3770)
    os.setxattr(root / "srv/attribute", "user.color", b"blue\0green")
    os.setxattr(root / "usr/bin/ping", "security.capability", CAPABILITY)
    os.setxattr(root / "srv/acl", "system.posix_acl_access", ACL)
    os.link(root / "srv/attribute", root / "srv/second-name")
    os.mkfifo(root / "srv/fifo", 0o620)
    with (root / "srv/holes").open("wb") as file:
        file.seek(20 << 20)
        file.write(b"end")
    os.utime(root / "srv/holes", (1, 86400))
    return root


@pytest.fixture(scope="module")
def disk(tree: Path) -> Path:
    """A disk with a GPT, a small partition, and the system in ext4."""
    fs, image = tree.parent / "fs.img", tree.parent / "disk.img"
    subprocess.run(("mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(fs), "40M"), check=True)
    subprocess.run(("truncate", "-s", "64M", str(image)), check=True)
    table = "label: gpt\nstart=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\nstart=8192, name=root\n"
    subprocess.run(("sfdisk", "-q", str(image)), input=table, text=True, check=True)
    subprocess.run(("dd", f"if={fs}", f"of={image}", "bs=1M", "seek=4", "conv=notrunc,sparse", "status=none"), check=True)
    return image


def facts(root: Path) -> dict[str, Any]:
    """What each file is: kind, mode, owner, size, time, attributes, content; how many names it has."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest() if kind == stat.S_IFREG else ""
        attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}
        regular = (status.st_size, int(status.st_mtime), status.st_nlink) if kind == stat.S_IFREG else ()
        found[str(path.relative_to(root))] = (oct(status.st_mode), status.st_uid, status.st_gid, status.st_rdev, attributes, content, regular)
    return found


class Installed(Node):
    """A node whose VPSes are installed from bundles, and looked into."""

    def install(self, vps: str, bundle: str) -> str:
        self.client().setupVPSDisk(vps=vps, diskSizeMib=64, swapSizeMib=16, imageType="vbd")
        record = self.wait(int(self.client().reinstallOS(
            vps=vps, osType=bundle, ramSizeMib=64, password="r00t", nics=f"192.0.2.{int(vps)}/24", gateway="192.0.2.254", dns="192.0.2.53").job))
        assert record.state == "done", f"{record.reason}\n{self.job_log(record.id)}"
        return self.job_log(record.id)

    def files(self, vps: str) -> dict[str, Any]:
        image, at = Path(self.settings.provisioning_mount_point) / f"xen{vps}.img", self.directory / "at"
        at.mkdir(exist_ok=True)
        subprocess.run(("mount", "-o", "loop,ro", str(image), str(at)), check=True)
        try:
            return facts(at)
        finally:
            subprocess.run(("umount", str(at)), check=True)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    with Installed(tmp_path_factory.mktemp("node") / "node", image_build_mib="256") as made:
        yield made


def test_from_a_disk_to_a_vps(tree: Path, disk: Path, node: Installed, tmp_path: Path) -> None:
    """Partitioned, qcow2, compressed twice over: the VPS has what the image had, by both roads."""
    image = tmp_path / "disk.qcow2"
    subprocess.run(("qemu-img", "convert", "-c", "-O", "qcow2", str(disk), str(image)), check=True)
    squeezed = tmp_path / "disk.qcow2.xz"
    squeezed.write_bytes(lzma.compress(image.read_bytes(), preset=0))
    os_dir = Path(node.settings.os_dir)
    told = packed(squeezed, "small-amd64-1", os_dir)
    assert told["cache"] is True and "boot_mode" not in told and told["architecture"] == "amd64" and told["kernel"] is None
    assert told["made_from"] == {"source": "disk.qcow2.xz", "sha256": hashlib.sha256(squeezed.read_bytes()).hexdigest()}
    tarball = os_dir / "small-amd64-1" / told["tarball"]
    assert hashlib.sha256(tarball.read_bytes()).hexdigest() == told["sha256"] and 33 < told["smallest_disk_mib"] < 64
    names = node.client().listInstallableOS()
    assert "small-amd64-1" in str(names)
    log = node.install("01", "small-amd64-1")
    assert "Unpack small-amd64-1.tar.gz into the tree" in log
    (os_dir / "small-amd64-1").rename(os_dir / "by-script")
    manifest = os_dir / "by-script/manifest.json"
    manifest.write_text(json.dumps({key: value for key, value in told.items() if key != "cache"}))
    log = node.install("02", "by-script")
    assert "Uncompressing small-amd64-1.tar.gz in" in log, "install_os did it"
    before = facts(tree)
    for vps in ("01", "02"):
        after = node.files(vps)
        different = {path for path in before if before[path] != after.get(path)}
        assert different <= CHANGED, {path: (before[path], after.get(path)) for path in different - CHANGED}
        assert "etc/ssh/ssh_host_rsa_key" not in after and "var/lib/systemd/random-seed" not in after and "etc/udev/rules.d/70-persistent-net.rules" not in after
        assert after["srv/attribute"][4] == {"user.color": b"blue\0green"} and after["usr/bin/ping"][4] == {"security.capability": CAPABILITY}
        assert after["srv/acl"][4] == {"system.posix_acl_access": ACL} and after["srv/attribute"][6][2] == 2
    assert node.leftovers() == [] and held(tmp_path) == []


def test_the_same_from_every_kind_of_source(tree: Path, disk: Path, tmp_path: Path) -> None:
    """A directory is not changed, and a file system alone, a partition and a compressed disk give the same bytes."""
    fs = tree.parent / "fs.img"
    sources = {"fs": fs, "gz": tmp_path / "fs.gz", "zst": tmp_path / "disk.zst", "disk": disk, "tree": tree}
    sources["gz"].write_bytes(gzip.compress(fs.read_bytes(), 1))
    subprocess.run(("zstd", "-q", str(disk), "-o", str(sources["zst"])), check=True)
    before = facts(tree)
    told = {name: packed(source, f"{name}-amd64-1", tmp_path, "--boot-mode", "direct") for name, source in sources.items()}
    assert facts(tree) == before
    assert all(each["boot_mode"] == "direct" for each in told.values())
    assert len({told[name]["sha256"] for name in ("fs", "gz", "zst", "disk")}) == 1
    with tarfile.open(tmp_path / "tree-amd64-1/tree-amd64-1.tar.gz") as archive:
        members = {item.name: item for item in archive}
    assert members["./etc/machine-id"].size == 0 and "./etc/ssh/ssh_host_rsa_key" not in members and "./etc/ssh/sshd_config" in members
    assert members["./srv/holes"].size == (20 << 20) + 3 and (tmp_path / "tree-amd64-1").stat().st_mode & 0o7777 == 0o755
    assert held(tmp_path) == [] == held(tree.parent) and not list(tmp_path.glob(".pack-*"))


@pytest.mark.parametrize("kind", ["xfs", "btrfs", "ext3", "ext2"])
def test_other_file_systems(tree: Path, tmp_path: Path, kind: str) -> None:
    image, at = tmp_path / "x.img", tmp_path / "at"
    at.mkdir()
    subprocess.run(("truncate", "-s", "400M", str(image)), check=True)
    subprocess.run((f"mkfs.{kind}", "-q", str(image)), check=True)
    subprocess.run(("mount", "-o", "loop", str(image), str(at)), check=True)
    try:
        subprocess.run(("cp", "-a", f"{tree}/.", str(at)), check=True)
    finally:
        subprocess.run(("umount", str(at)), check=True)
    os.sync()  # whoever else has the loop device open (losetup lists them all) delays its last writes
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    told = packed(image, "x", tmp_path)
    with tarfile.open(tmp_path / "x/x.tar.gz") as archive:
        item = archive.getmember("./srv/attribute")
        assert (item.uid, item.gid, item.pax_headers["SCHILY.xattr.user.color"]) == (1234, 5678, "blue\0green")
    assert told["made_from"]["sha256"] == digest == hashlib.sha256(image.read_bytes()).hexdigest() and held(tmp_path) == []


def test_a_file_system_that_was_cut_off_in_use(tree: Path, tmp_path: Path) -> None:
    """Its journal waits: it is read as it stands, not replayed, and that is told."""
    image, at = tmp_path / "x.img", tmp_path / "at"
    at.mkdir()
    subprocess.run(("cp", "--sparse=always", str(tree.parent / "fs.img"), str(image)), check=True)
    subprocess.run(("mount", "-o", "loop", str(image), str(at)), check=True)
    (at / "srv/late").write_text("late")
    os.sync()
    subprocess.run(("cp", "--sparse=always", str(image), str(tmp_path / "copy.img")), check=True)
    refused = dtcxen("pack", str(image), "--name", "x", "--output", str(tmp_path))
    subprocess.run(("umount", str(at)), check=True)
    assert refused.returncode == 1 and "is attached to /dev/loop" in refused.stderr and "makes no whole system" in refused.stderr
    done = dtcxen("pack", str(tmp_path / "copy.img"), "--name", "x", "--output", str(tmp_path))
    assert done.returncode == 0 and "was not unmounted cleanly" in done.stderr, done.stderr


def test_one_of_two_systems(tree: Path, tmp_path: Path) -> None:
    fs, image = tree.parent / "fs.img", tmp_path / "two.img"
    subprocess.run(("truncate", "-s", "96M", str(image)), check=True)
    subprocess.run(("sfdisk", "-q", str(image)), input="label: dos\nstart=2048, size=83968\nstart=90112, size=83968\n", text=True, check=True)
    for place in (1, 44):
        subprocess.run(("dd", f"if={fs}", f"of={image}", "bs=1M", f"seek={place}", "conv=notrunc,sparse", "status=none"), check=True)
    done = dtcxen("pack", str(image), "--name", "x", "--output", str(tmp_path))
    assert done.returncode == 1 and "partition 1 (ext, 41 MiB), partition 2 (ext, 41 MiB); --partition chooses one" in done.stderr
    packed(image, "x", tmp_path, "--partition", "2")
    done = dtcxen("pack", str(image), "--name", "y", "--output", str(tmp_path), "--partition", "3")
    assert done.returncode == 1 and "holds no system, " not in done.stderr and "holds no system in partition 3" in done.stderr


def test_a_template_of_oracle_vm(tree: Path, disk: Path, tmp_path: Path) -> None:
    config = "name = 'EL'\nbootloader = '/usr/bin/pygrub'\nmemory = '1024'\nvcpus = 2\ndisk = ['file:/OVS/x/System.img,xvda,w', 'file:/OVS/x/data.img,xvdb,w']\n"
    archive = tmp_path / "EL.tgz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as out:
        hostile.add(out, "EL", kind=tarfile.DIRTYPE, mode=0o755)
        hostile.add(out, "EL/vm.cfg", config.encode())
        hostile.add(out, "EL/System.img", disk.read_bytes(), mode=0o4777)
        hostile.add(out, "EL/data.img", bytes(1 << 20))
    done = dtcxen("import-ovm", str(archive), "--name", "el-amd64-1", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    head, _, manifest = done.stdout.partition(f"made   {tmp_path}/el-amd64-1\n")
    assert head.splitlines() == [
        "memory 1024 MiB", "vcpus  2", "boots  pygrub", "disk   xvda: 'EL/System.img', 64 MiB, packed", "disk   xvdb: 'EL/data.img', 1 MiB"]
    told = json.loads(manifest)
    assert told["made_from"] == {"source": "EL.tgz", "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(), "image": "EL/System.img"}
    assert {path.name for path in (tmp_path / "el-amd64-1").iterdir()} == {"install_os", "manifest.json", "el-amd64-1.tar.gz"} and held(tmp_path) == []


# -- ends -----------------------------------------------------------------------------------------------


@pytest.fixture
def slow_image(tree: Path, tmp_path: Path) -> Path:
    """A system that takes seconds to pack. Its file system wants the machine to panic at an error."""
    subprocess.run(("cp", "-a", f"{tree}/.", str(tmp_path / "slow")), check=True)
    (tmp_path / "slow/noise").write_bytes(os.urandom(80 << 20))
    subprocess.run(("mke2fs", "-q", "-t", "ext4", "-d", str(tmp_path / "slow"), str(tmp_path / "slow.img"), "140M"), check=True)
    subprocess.run(("rm", "-r", str(tmp_path / "slow")), check=True)
    subprocess.run(("tune2fs", "-e", "panic", str(tmp_path / "slow.img")), check=True, capture_output=True)
    return tmp_path / "slow.img"


def test_nobody_else_sees_the_mount_and_nothing_in_it_counts(slow_image: Path, tmp_path: Path) -> None:
    """Looked at while it is there: /proc/PID/mountinfo of the process, and our own."""
    words = (sys.executable, "-m", "dtcxen_soap", "pack", str(slow_image), "--output", str(tmp_path), "--name", "x")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        seen = ""
        while not seen and process.poll() is None:
            mounts = Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()
            seen = next((line for line in mounts if "/image " in line and str(tmp_path) in line and "/dev/loop" in line), "")
        ours = Path("/proc/self/mountinfo").read_text()
        process.communicate(timeout=60)
    assert process.returncode == 0
    options, _, rest = seen.partition(" - ")
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(options.split()[5].split(",")), seen
    assert {"ro", "norecovery", "errors=remount-ro"} <= set(rest.split()[2].split(",")), "whatever the image asks for, which is to panic"
    assert str(tmp_path) not in ours and held(tmp_path) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
@pytest.mark.parametrize("when", ["the system is on", "packing"])
def test_interrupted(slow_image: Path, tmp_path: Path, how: signal.Signals, when: str) -> None:
    """Nothing is left but what SIGKILL leaves, which is no mount and no loop device, and goes with the next run."""
    out = tmp_path / "out"
    out.mkdir()
    words = (sys.executable, "-m", "dtcxen_soap", "pack", str(slow_image), "--output", str(out), "--name")
    with subprocess.Popen((*words, "x"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        while when not in (line := process.stderr.readline()):
            assert line
        time.sleep(0.2)
        process.send_signal(how)
        said = process.stderr.read()
        code = process.wait(30)
    assert "Traceback" not in said and held(tmp_path) == []
    assert code == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    left = os.listdir(out)
    assert all(name.startswith(".pack-x-") for name in left) if how == signal.SIGKILL else left == []
    if how == signal.SIGKILL and when == "packing":
        _until_nothing_runs_in(out)
        assert dtcxen("pack", str(slow_image), "--output", str(out), "--name", "y").returncode == 0
        assert os.listdir(out) == ["y"]


def _until_nothing_runs_in(directory: Path) -> None:
    """cp and tar of a killed run end soon after it; they are in a PID namespace whose first process nobody hears any more."""
    for _ in range(100):
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _readable(path)]
        if not any(str(directory).encode() in line for line in lines):
            return
        time.sleep(0.1)


def _readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


def test_a_disk_is_never_filled(tree: Path, tmp_path: Path) -> None:
    small, at = tmp_path / "small.img", tmp_path / "at"
    at.mkdir()
    subprocess.run(("truncate", "-s", "300M", str(small)), check=True)
    subprocess.run(("mkfs.ext4", "-q", str(small)), check=True)
    subprocess.run(("mount", "-o", "loop", str(small), str(at)), check=True)
    try:
        done = dtcxen("pack", str(tree), "--name", "x", "--output", str(at))
        assert done.returncode == 1 and re.search(rf"{at}/\.pack-x-\w+ would be filled: \d+ MiB are free and \d+ MiB are wanted, and 512 MiB stay so", done.stderr), done.stderr
        assert os.listdir(at) == ["lost+found"]
    finally:
        subprocess.run(("umount", str(at)), check=True)


@pytest.mark.parametrize("words, code, said", [
    (("--name", "../x"), 2, "--name: '../x' is no name"), (("--name", "a\nb"), 2, r"'a\nb' is no name"), (("--name", ""), 2, "is no name"), ((), 2, "--name"),
    (("--name", "debian"), 2, "a bundle would take its place"),
    (("--name", "x", "--largest", "0"), 2, "--largest: 0"), (("--name", "x", "--boot-mode", "hvm"), 2, "--boot-mode: 'hvm', expected one of"),
    (("--name", "x", "--partition", "-1"), 2, "--partition: -1"), (("--name", "x", "--output", "/nonexistent"), 1, "/nonexistent is not there"),
    (("--name", "x-arm64-1"), 1, "its name says arm64, and its programs are for amd64"), (("--name", "x", "--largest", "1"), 1, "its files need more than 1 MiB"),
    (("--name", "taken"), 1, "taken is there already"),
])
def test_what_cannot_be_asked_for(tree: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str) -> None:
    (tmp_path / "taken").mkdir()
    done = dtcxen("pack", str(tree), *words, *(() if "--output" in words else ("--output", str(tmp_path))))
    assert done.returncode == code and said in done.stderr, done.stderr
    assert os.listdir(tmp_path) == ["taken"]


@pytest.mark.parametrize("source, said", [("/nonexistent", "is not there"), ("/dev/null", "neither a directory nor a file"), ("/proc", "holds no system")])
def test_what_is_no_source(tmp_path: Path, source: str, said: str) -> None:
    for command in ("pack", "import-ovm"):
        done = dtcxen(command, source, "--name", "x", "--output", str(tmp_path))
        assert done.returncode == 1 and (said in done.stderr or "is no archive" in done.stderr) and os.listdir(tmp_path) == []


def test_without_qemu_img(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Bare:
        def commands(self, names: Any) -> frozenset[str]:
            return frozenset()
    monkeypatch.setattr(packing, "Dom0", Bare)
    with pytest.raises(Failed, match="a qcow2 image is read by qemu-img: this machine lacks qemu-img: install qemu-utils"):
        packing._converted("x", str(tmp_path), packing.Room(str(tmp_path)), print)
