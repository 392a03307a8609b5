"""Bundles, images and templates made to harm: each is refused in clear words, nothing is written outside, nothing stays mounted.

The corpus is tests/hostile.py. Bundles go through reinstallOS of a real daemon, images and templates
through `dtcxen pack` and `dtcxen import-ovm`.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zeep.exceptions

from tests import hostile
from tests.bundles import write_system
from tests.hostile import ARCHIVES, IMAGES, TEMPLATES, Ground
from tests.node import Node

pytestmark = [pytest.mark.root, pytest.mark.slow]
PLACES = ("/", "/etc", "/tmp", "/root", "/var/tmp", "/bin")
"""Where a way out by .. or an absolute name would end; nothing there may be called as the corpus calls its files."""
LARGEST = "64"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    top = tmp_path_factory.mktemp("ground")
    made = Ground(top / "canary", top / "system", top / "system.img", top / "work")
    for directory in (made.canary, made.system, made.work, made.work / "source", made.work / "out/older"):
        directory.mkdir(parents=True)
    (made.work / "out/older/install_os").write_text("#!/bin/sh\n")
    (made.canary / "precious").write_text("precious\n")
    (made.canary / "secret").write_bytes(os.urandom(1 << 16))
    (made.canary / "ssh_host_rsa_key").write_text("a key of the node\n")
    with tarfile.open(top / "system.tar", "w") as archive:
        write_system(archive)
    subprocess.run(("tar", "-C", str(made.system), "-xpf", str(top / "system.tar")), check=True)
    subprocess.run(("mke2fs", "-q", "-t", "ext4", "-d", str(made.system), str(made.image), "16M"), check=True)
    return made


def listing(ground: Ground) -> dict[str, Any]:
    """Everything around: kind, mode, owner, time, and a digest of what is in it. Where bundles are made only the names, and what was there before."""
    out = ground.work / "out"
    found: dict[str, Any] = {"out": sorted(os.listdir(out)), "strays": strays()}
    tops = (ground.canary, ground.system, ground.work / "source", out / "older")
    for top in tops:
        for path in (top, *top.rglob("*")):
            status = path.lstat()
            readable = stat.S_ISREG(status.st_mode) and status.st_size <= 1 << 26
            content = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest() if readable else ""
            found[str(path)] = (status.st_mode, status.st_uid, status.st_ino, status.st_size, status.st_mtime_ns, content)
    return found


def strays() -> list[str]:
    return [f"{place}/{name}" for place in PLACES for name in os.listdir(place) if name == "owned" or "touch " in name]


def held(by: Path) -> list[str]:
    """Mounts and loop devices of anything below a directory, after a moment for the kernel to let go."""
    for _ in range(20):
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(by) in line]
        loops = [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file") if str(by) in path.read_text()]
        if not mounts + loops:
            break
        time.sleep(0.1)
    return mounts + loops


def dtcxen(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((sys.executable, "-m", "dtcxen_soap", *words), capture_output=True, text=True, timeout=120)


def refused(ground: Ground, command: str, source: Path, said: str, *more: str) -> None:
    """Run it, expect a clear failure, and the world as it was."""
    out = ground.work / "out"
    before = listing(ground)
    done = dtcxen(command, str(source), "--name", "x-amd64-1", "--output", str(out), "--largest", LARGEST, *more)
    assert done.returncode == 1 and done.stdout == "", done.stdout + done.stderr
    assert re.search(said, done.stderr), done.stderr
    assert "Traceback" not in done.stderr and not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", done.stderr), repr(done.stderr)
    assert listing(ground) == before and strays() == []
    assert held(ground.work.parent) == []


def placed(ground: Ground, made: Path) -> Path:
    """A source alone in a directory, so that its surroundings can be listed."""
    target = ground.work / "source" / made.name
    made.rename(target)
    return target


def test_what_is_harmless_is_packed(ground: Ground) -> None:
    """The same ground, nothing wrong: so that the corpus is not refused for something else. Links that lead out are only text."""
    def links(tree: Path) -> None:
        (tree / "etc/ssh").symlink_to(ground.canary)
        (tree / "etc/machine-id").symlink_to(ground.canary / "precious")
        (tree / "var/lib").mkdir()
        (tree / "var/lib/systemd").symlink_to(ground.up)
        (tree / "etc/it's \"quoted\" $(id); x").write_text("x")
    before = listing(ground)
    for command, source in (("pack", hostile.ext4(ground, "x.img", links)), ("import-ovm", hostile.written(ground, "x.tgz", hostile.template(ground)))):
        done = dtcxen(command, str(source), "--name", "fine", "--output", str(ground.work / "out"), "--largest", LARGEST)
        assert done.returncode == 0, done.stderr
        assert sorted(path.name for path in (ground.work / "out/fine").iterdir()) == ["fine.tar.gz", "install_os", "manifest.json"]
        subprocess.run(("rm", "-r", str(ground.work / "out/fine")), check=True)
        source.unlink()
        assert listing(ground) == before and held(ground.work.parent) == []


@pytest.mark.parametrize("case", IMAGES)
def test_images(ground: Ground, case: str) -> None:
    make, said = IMAGES[case]
    source = placed(ground, make(ground))
    try:
        refused(ground, "pack", source, said)
    finally:
        source.unlink()
        (ground.work / "data.raw").unlink(missing_ok=True)


@pytest.mark.parametrize("case", TEMPLATES)
def test_templates(ground: Ground, case: str) -> None:
    make, said = TEMPLATES[case]
    source = placed(ground, hostile.written(ground, "x.tgz", make(ground)))
    try:
        refused(ground, "import-ovm", source, said)
    finally:
        source.unlink()


# -- bundles, through reinstallOS -----------------------------------------------------------------------


class Target(Node):
    """A node with one VPS that has a system, and bundles to be refused."""

    def __init__(self, directory: Path, ground: Ground) -> None:
        super().__init__(directory, image_build_mib="256", image_cache_mib="512")
        self.ground, self.bundles = ground, Path(self.settings.os_dir)

    def begin(self, bundle: str) -> int:
        return int(self.client().reinstallOS(
            vps="01", osType=bundle, ramSizeMib=64, password="r00t", nics="192.0.2.1/24", gateway="192.0.2.254", dns="192.0.2.53").job)

    def bundle(self, name: str, **files: bytes) -> Path:
        """A bundle of these files; scripts can be run."""
        directory = self.bundles / name
        directory.mkdir()
        for file, data in files.items():
            path = directory / file.replace("__", ".")
            path.write_bytes(data)
            path.chmod(0o644 if "." in path.name else 0o755)
        return directory

    def around(self) -> dict[str, Any]:
        """What no bundle may change: the canary, the VPS's disks, and which there are."""
        disks = Path(self.settings.provisioning_mount_point)
        found = listing(self.ground) | {"disks": sorted(path.name for path in disks.iterdir())}
        return found | {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in disks.glob("*.img")}

    def refuses(self, name: str, said: str) -> None:
        """Install it: a fault or a failed job in these words, and the old system as it was."""
        before = self.around()
        try:
            record = self.wait(self.begin(name))
        except zeep.exceptions.Fault as fault:
            told = str(fault)
        else:
            assert record.state == "failed", record
            told = f"{record.reason}"
        assert re.search(said, told), told
        assert self.around() == before and self.leftovers() == []


@pytest.fixture(scope="module")
def target(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with Target(tmp_path_factory.mktemp("node") / "node", ground) as node:
        node.client().setupVPSDisk(vps="01", diskSizeMib=64, swapSizeMib=16, imageType="vbd")
        node.bundle("good", x__tar=hostile.packed(lambda archive: None))
        record = node.wait(node.begin("good"))
        assert record.state == "done", record.reason
        yield node


@pytest.mark.parametrize("case", ARCHIVES)
def test_tarballs(target: Target, ground: Ground, case: str) -> None:
    fill, said = ARCHIVES[case]
    made = target.bundle("hostile", x__tar=hostile.packed(lambda archive: fill(ground, archive)))
    try:
        target.refuses("hostile", said)
    finally:
        subprocess.run(("rm", "-r", str(made)), check=True)


@pytest.mark.parametrize("case", hostile.STREAMS)
def test_streams(target: Target, ground: Ground, case: str) -> None:
    name, data, said = hostile.streams()[case]
    made = target.bundle("hostile", **{name: data})
    try:
        target.refuses("hostile", said)
    finally:
        subprocess.run(("rm", "-r", str(made)), check=True)


@pytest.mark.parametrize("case", hostile.HEADERS)
def test_headers(target: Target, ground: Ground, case: str) -> None:
    fill, said = hostile.HEADERS[case]
    made = target.bundle("hostile", **{"x.tar.gz": gzip.compress(hostile.packed(fill), 1)})
    try:
        target.refuses("hostile", said)
    finally:
        subprocess.run(("rm", "-r", str(made)), check=True)


def _script_of_others(target: Target, ground: Ground) -> None:
    (target.bundle("hostile", install_os=b"#!/bin/sh\n") / "install_os").chmod(0o777)


def _leads_out(target: Target, ground: Ground) -> None:
    (target.bundle("hostile") / "x.tar").symlink_to(ground.work / "elsewhere.tar")
    (ground.work / "elsewhere.tar").write_bytes(hostile.packed(lambda archive: None))


def _is_a_link(target: Target, ground: Ground) -> None:
    (target.bundles / "hostile").symlink_to(ground.canary)
    (ground.canary / "install_os").exists()


def _script_reaches_out(target: Target, ground: Ground) -> None:
    script = f"#!/bin/sh\n. /usr/share/dtc-xen/dtc-xen-parse-param\nln -s {ground.canary} $VPS_PATH/srv\necho owned >$VPS_PATH/srv/owned || exit 3\n"
    target.bundle("hostile", install_os=script.encode())


def _bomb(target: Target, ground: Ground) -> None:
    """100 MiB for a disk of 64, from 100 KiB."""
    data = hostile.packed(lambda archive: hostile.add(archive, "var/zeros", bytes(100 << 20)))
    target.bundle("hostile", x__tar__gz=gzip.compress(data, 1))


def _other_tarball(target: Target, ground: Ground) -> None:
    """It is a good one, and not the one that was packed."""
    target.bundle("hostile", x__tar=hostile.packed(lambda archive: None), manifest__json=b'{"cache": true, "tarball": "x.tar", "sha256": "' + b"0" * 64 + b'"}')


DIRECTORIES = {
    "a script that others may write": (_script_of_others, "can be written by others than root"),
    "a tarball elsewhere": (_leads_out, "leads out of"),
    "a link to elsewhere": (_is_a_link, "leads out of|hostile"),
    "a script that reaches out": (_script_reaches_out, "code 3|the tree has no /etc"),
    "a bomb": (_bomb, "No space left|ended with code|needs"),
    "another tarball than the manifest's": (_other_tarball, "its SHA-256 is [0-9a-f]{64}, expected 0{64}: it is not used"),
    "a manifest that promises a file elsewhere": (
        lambda t, g: t.bundle("hostile", x__tar=hostile.packed(lambda archive: None), manifest__json=b'{"tarball": "../x.tar", "sha256": "' + b"0" * 64 + b'"}'),
        "there is no such file or SHA-256"),
    "a manifest that is none": (lambda t, g: t.bundle("hostile", x__tar=hostile.packed(lambda archive: None), manifest__json=b"[" * 100000), "manifest.json"),
    "a manifest with another boot mode": (
        lambda t, g: t.bundle("hostile", x__tar=hostile.packed(lambda archive: None), manifest__json=b'{"boot_mode": "$(id)"}'), r"boot_mode .* is none of"),
}


@pytest.mark.parametrize("case", DIRECTORIES)
def test_bundles(target: Target, ground: Ground, case: str) -> None:
    make, said = DIRECTORIES[case]
    make(target, ground)
    made = target.bundles / "hostile"
    try:
        target.refuses("hostile", said)
    finally:
        subprocess.run(("rm", "-r", str(made)), check=True)
        (ground.work / "elsewhere.tar").unlink(missing_ok=True)


def test_the_corpus_is_large_enough() -> None:
    assert len(ARCHIVES) + len(hostile.STREAMS) + len(hostile.HEADERS) + len(DIRECTORIES) + len(IMAGES) + len(TEMPLATES) >= 100
