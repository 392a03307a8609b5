"""Golden images through the real daemon: made once, cloned and verified, never used when cut or altered.

The system is a small tarball, so that a round takes seconds; Debian itself is cloned in test_install.py's way, and measured by bench/images.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import zeep.exceptions

from dtcxen_soap import goldenimages, nodefiles
from dtcxen_soap.imagesteps import CloneImage, KeepImage
from tests.bundles import TARBALL, make_bundle
from tests.node import Node

pytestmark = [pytest.mark.root, pytest.mark.slow]
HERE = Path(__file__).parent
SYSTEM = "plain"
DISK_MIB = 96


class ImageNode(Node):
    """A node with one bundle of a tarball alone, and VPSes that are installed from it."""

    def __init__(self, directory: Path, **changed: str) -> None:
        super().__init__(directory, **{"image_build_mib": "256", **changed})
        self.bundle = make_bundle(Path(self.settings.os_dir) / SYSTEM)
        for script in self.bundle.iterdir():
            if script.name != TARBALL:
                script.unlink()
        self.cache = Path(self.settings.image_cache)

    def disk(self, vps: str) -> Path:
        return Path(self.settings.provisioning_mount_point) / f"xen{vps}.img"

    def setup(self, vps: str, size: int = DISK_MIB) -> None:
        self.client().setupVPSDisk(vps=vps, diskSizeMib=size, swapSizeMib=16, imageType="vbd")

    def begin(self, vps: str, system: str = SYSTEM) -> int:
        return int(self.client().reinstallOS(
            vps=vps, osType=system, ramSizeMib=64, password="r00t", nics=f"192.0.2.{int(vps)}/24", gateway="192.0.2.254", dns="192.0.2.53").job)

    def install(self, vps: str) -> Any:
        return self.wait(self.begin(vps))

    def done(self, vps: str) -> str:
        """Install; the job's log."""
        record = self.install(vps)
        assert record.state == "done", f"{record.reason}\n{self.job_log(record.id)}"
        return self.job_log(record.id)

    def image(self) -> tuple[Path, dict[str, Any]]:
        """The only image and its manifest."""
        (manifest,) = self.cache.glob("*.json")
        told = json.loads(manifest.read_text())
        (image,) = self.cache.glob("*.img")
        assert image.name == f"{told['sha256']}.img"
        return image, told


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ImageNode]:
    with ImageNode(tmp_path / "node") as made:
        yield made


@contextlib.contextmanager
def mounted(image: Path, tmp_path: Path) -> Iterator[Path]:
    at = tmp_path / "at"
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop,ro", str(image), str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def uuid(image: Path) -> str:
    return subprocess.run(["blkid", "-p", "-o", "value", "-s", "UUID", str(image)], capture_output=True, text=True, check=True).stdout.strip()


def flip(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))


def test_the_second_is_cloned_and_a_system_of_its_own(node: ImageNode, tmp_path: Path) -> None:
    for vps, size in (("01", DISK_MIB), ("02", 3 * DISK_MIB)):
        node.setup(vps, size)
    first, second = node.done("01"), node.done("02")
    assert "Unpack" in first and "Unpack" not in second and "note: cloned from the image of" in second
    image, told = node.image()
    assert subprocess.run(["sha256sum", str(image)], capture_output=True, text=True, check=True).stdout.split()[0] == told["sha256"]
    assert image.stat().st_size == told["size_bytes"] < DISK_MIB << 20 and image.stat().st_mode & 0o777 == 0o400
    assert told["os_type"] == SYSTEM and "tar (GNU tar)" in told["made_with"]["tar"] and told["made_from"]["bundle"] == SYSTEM
    assert len({uuid(image), uuid(node.disk("01")), uuid(node.disk("02"))}) == 3
    for vps, size in (("01", DISK_MIB), ("02", 3 * DISK_MIB)):
        subprocess.run(["e2fsck", "-f", "-n", str(node.disk(vps))], check=True, capture_output=True)
        with mounted(node.disk(vps), tmp_path) as root:
            assert os.statvfs(root).f_blocks * os.statvfs(root).f_frsize > (size << 20) * 0.8
            assert (root / "etc/hostname").read_text() == f"xen{vps}\n" and f"192.0.2.{int(vps)}" in (root / "etc/network/interfaces").read_text()
            assert (root / "var/log/nobody").stat().st_uid == 65534
    with mounted(image, tmp_path) as root:
        assert (root / "etc/hostname").read_text() == "stacklet\n" and (root / "etc/shadow").read_text().startswith("root:*:"), "nothing of a VPS is in it"
    assert {path.suffix for path in node.cache.iterdir() if path.is_file()} == {".img", ".json", ".lock"} and node.leftovers() == []


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0], ids=["first byte", "in the middle", "last byte"])
def test_an_image_with_one_bit_altered_is_never_used(node: ImageNode, place: float) -> None:
    node.setup("01")
    node.done("01")
    image, _ = node.image()
    old = node.disk("01").read_bytes()
    flip(image, int((image.stat().st_size - 1) * place))
    record = node.install("01")
    assert record.state == "failed" and "SHA-256" in record.reason and f"rm {image}" in record.reason, record.reason
    assert node.disk("01").read_bytes() == old, "the old system is as it was"
    assert node.leftovers() == []
    image.unlink()
    assert "Unpack" in node.done("01"), "what was told helps"


@pytest.mark.parametrize("harm", ["cut", "remove", "cut the manifest"])
def test_an_image_that_is_not_whole_is_made_anew(node: ImageNode, harm: str) -> None:
    node.setup("01")
    node.done("01")
    image, _ = node.image()
    (manifest,) = node.cache.glob("*.json")
    if harm == "remove":
        image.unlink()
    else:
        os.truncate(image if harm == "cut" else manifest, 4000 if harm == "cut" else 40)
    assert "Unpack" in node.done("01")
    node.image()


def test_in_place_nothing_is_erased_for_an_altered_image(tmp_path: Path) -> None:
    """A file system that has no room for a second disk."""
    small, at = tmp_path / "small.img", tmp_path / "node/var/lib/dtc-xen/mnt"
    node = ImageNode(tmp_path / "node", overcommit="no", keep_old_disk_hours="0")
    subprocess.run(["truncate", "-s", "200M", str(small)], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(small)], check=True)
    subprocess.run(["mount", "-o", "loop", str(small), str(at)], check=True)
    try:
        with node:
            node.setup("01")
            node.done("01")
            image, _ = node.image()
            assert "DESTROYED" in node.done("01"), "there must be no room, or this test shows nothing"
            flip(image, 4096)
            old = node.disk("01").read_bytes()
            record = node.install("01")
            assert record.state == "failed" and "SHA-256" in record.reason and node.disk("01").read_bytes() == old
    finally:
        subprocess.run(["umount", str(at)], check=True)


def test_two_at_once_make_it_once(node: ImageNode) -> None:
    for vps in ("01", "02", "03"):
        node.setup(vps)
    jobs = [node.begin(vps) for vps in ("01", "02", "03")]
    assert [node.wait(job).state for job in jobs] == ["done"] * 3
    logs = [node.job_log(job) for job in jobs]
    assert sum("Unpack" in log for log in logs) == 1
    assert sum("left out" in log or "cloned from the image" in log for log in logs) == 2
    node.image()


def test_what_changed_is_made_anew_and_the_old_image_goes(node: ImageNode) -> None:
    node.setup("01")
    node.done("01")
    before, _ = node.image()
    with tarfile.open(node.bundle / TARBALL) as archive:
        archive.extractall(node.directory / "tree", filter="fully_trusted")
    (node.directory / "tree/etc/new").write_text("new\n")
    subprocess.run(["tar", "-C", str(node.directory / "tree"), "-czf", str(node.bundle / TARBALL), "."], check=True)
    assert "Unpack" in node.done("01")
    assert len(list(node.cache.glob("*.img"))) == 2, "another recipe: the old image stays while there is room"
    assert before.exists()


def test_an_old_image_is_made_anew_in_its_place(node: ImageNode) -> None:
    node.setup("01")
    node.done("01")
    (manifest,) = node.cache.glob("*.json")
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(told | {"made": "2020-01-01T00:00:00+00:00"}))
    assert "Unpack" in node.done("01")
    assert json.loads(manifest.read_text())["made"] > told["made"]
    node.image()


def test_only_so_much_is_kept(tmp_path: Path) -> None:
    with ImageNode(tmp_path / "node", image_cache_mib="1") as node:
        node.setup("01")
        node.done("01")
        first, _ = node.image()
        other = Path(node.settings.os_dir) / "other"
        shutil.copytree(node.bundle, other)
        record = node.wait(node.begin("01", "other"))
        assert record.state == "done", record.reason
        _, told = node.image()
        assert told["os_type"] == "other"


def test_a_disk_that_is_too_small_says_so_before_anything_is_touched(node: ImageNode) -> None:
    node.setup("01")
    node.done("01")
    (manifest,) = node.cache.glob("*.json")
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(told | {"size_bytes": 200 << 20}))
    os.truncate(node.image()[0], 200 << 20)
    with pytest.raises(zeep.exceptions.Fault, match="osType: plain needs a root disk of 200 MiB, and this one has 96"):
        node.begin("01")


def test_killed_while_it_is_made(node: ImageNode) -> None:
    node.setup("01")
    steps = node.client().reinstallOS(
        vps="01", osType=SYSTEM, ramSizeMib=64, password="r00t", nics="192.0.2.1/24", gateway="192.0.2.254", dns="192.0.2.53", planOnly=True).plan
    names = [line for line in steps if line.strip()[:1].isdigit()]
    last = next(number for number, line in enumerate(names, 1) if "Keep the image" in line)
    node.stop()
    for step in range(1, last + 2):
        node.start(environment={"PYTHONPATH": str(HERE / "killat"), "KILL_AT": str(step)})
        with contextlib.suppress(requests.ConnectionError):
            node.begin("01")
        assert node.died() == -signal.SIGKILL, f"step {step} was never begun"
        node.start()
        (record,) = node.client().listJobs(vps="01", limit=1)
        assert record.state == "interrupted" and "cleaning up failed" not in record.reason, f"step {step}: {record.reason}"
        assert node.leftovers() == [] and not list(node.cache.glob(".making-*")), f"step {step}"
        node.stop()
    node.start()
    begun = time.monotonic()
    node.done("01")
    assert time.monotonic() - begun < 60, "no lock of the dead is waited for"


@pytest.mark.parametrize("share", [True, False])
def test_where_the_file_system_can_a_clone_shares_its_blocks_with_the_image(tmp_path: Path, share: bool) -> None:
    """XFS; only where the node overcommits, since what a guest writes later takes new blocks."""
    small, at = tmp_path / "small.img", tmp_path / "xfs"
    at.mkdir()
    subprocess.run(["truncate", "-s", "400M", str(small)], check=True)
    subprocess.run(["mkfs.xfs", "-q", str(small)], check=True)
    subprocess.run(["mount", "-o", "loop", str(small), str(at)], check=True)
    try:
        (at / "made.img").write_bytes(os.urandom(64 << 20))
        digest = hashlib.sha256((at / "made.img").read_bytes()).digest()
        step = KeepImage(why="Keep.", directory=str(at), key="a" * 64, os_type="x", source=str(at / "made.img"), made_from=(), tools=(), most_bytes=1 << 40)
        goldenimages.keep(step, {}, lambda: False)
        nodefiles.allocate(str(at / "disk.img"), 80 << 20, True, 0o600)
        os.sync()
        free = nodefiles.free_bytes(str(at))
        goldenimages.clone(CloneImage(why="Clone.", directory=str(at), key="a" * 64, target=str(at / "disk.img"), share=share), lambda: False)
        os.sync()
        assert (free - nodefiles.free_bytes(str(at)) < 1 << 20) is share
        assert hashlib.sha256((at / "disk.img").read_bytes()[:64 << 20]).digest() == digest
    finally:
        subprocess.run(["umount", str(at)], check=True)


def test_what_a_disk_held_before_does_not_shine_through(tmp_path: Path) -> None:
    """An image has holes; a disk that is not known to read as zeros has them overwritten."""
    with (tmp_path / "made.img").open("wb") as file:
        for place, text in ((0, b"begin"), (5 << 20, b"middle"), (9 << 20, b"end")):
            file.seek(place)
            file.write(text)
        file.truncate(10 << 20)
    made = (tmp_path / "made.img").read_bytes()
    step = KeepImage(why="Keep.", directory=str(tmp_path), key="b" * 64, os_type="x", source=str(tmp_path / "made.img"), made_from=(), tools=(), most_bytes=1 << 40)
    goldenimages.keep(step, {}, lambda: False)
    for zeroed in (False, True):
        (tmp_path / "disk").write_bytes(b"\xff" * (12 << 20))
        goldenimages.clone(CloneImage(why="Clone.", directory=str(tmp_path), key="b" * 64, target=str(tmp_path / "disk"), zeroed=zeroed), lambda: False)
        disk = (tmp_path / "disk").read_bytes()
        assert (disk[:10 << 20] == made) is not zeroed and disk[10 << 20:] == b"\xff" * (2 << 20)


def test_clones_of_a_real_debian_have_no_key_in_common(tmp_path: Path) -> None:
    """sshd's, and those that packages make when they are installed, which was in the image."""
    found: dict[str, dict[str, bytes]] = {}
    with Node(tmp_path / "node", debian_added_debs="openssh-server ssl-cert cfengine3") as node:
        for vps in ("01", "02"):
            node.client().setupVPSDisk(vps=vps, diskSizeMib=1500, swapSizeMib=0, imageType="vbd")
            record = node.wait(node.client().reinstallOS(
                vps=vps, osType="debian", ramSizeMib=256, password="r00t", nics=f"192.0.2.{int(vps)}/24", gateway="192.0.2.254", dns="192.0.2.53").job)
            assert record.state == "done", record.reason + node.job_log(record.id)
            with mounted(Path(node.settings.provisioning_mount_point) / f"xen{vps}.img", tmp_path) as root:
                private = [path for top in ("etc", "var", "root") for path in (root / top).rglob("*") if path.is_file() and not path.is_symlink()]
                found[vps] = {str(path.relative_to(root)): data for path in private if b"PRIVATE KEY-----" in (data := path.read_bytes()[:4096])}
    names = set(found["01"])
    assert {"etc/ssh/ssh_host_rsa_key", "etc/ssl/private/ssl-cert-snakeoil.key", "var/lib/cfengine3/ppkeys/localhost.priv"} <= names == set(found["02"])
    assert not [name for name in names if found["01"][name] == found["02"][name]]
