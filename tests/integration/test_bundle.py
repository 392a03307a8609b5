"""The bundle of 2010 and a lone tarball, really installed into a mounted image by the engine; and an archive judged fine, unpacked by real tars."""

from __future__ import annotations

import io
import os
import random
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Failed
from dtcxen_soap.execute import execute
from dtcxen_soap.facts import Member
from dtcxen_soap.install import bundle
from dtcxen_soap.install.contract import SCRIPTS, judge
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.journal import Journal
from dtcxen_soap.osfacts import BundleFact
from dtcxen_soap.plans import Mounted, Plan
from dtcxen_soap.settings import Settings, load
from tests.bundles import TARBALL, make_bundle
from tests.unit.install.guests import guest

pytestmark = [pytest.mark.root, pytest.mark.machine]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    config = tmp_path / "etc"
    config.mkdir()
    (config / "motd").write_text("Welcome to VPS_HOSTNAME\n")
    return load(f"os_dir={tmp_path}/os\nconfig_dir={config}").settings


@pytest.fixture
def install(settings: Settings, tmp_path: Path) -> Iterator[object]:
    """Install a bundle into a fresh ext4 image; the tree stays mounted for the test to look at."""
    image, at = tmp_path / "root.img", tmp_path / "tree"
    at.mkdir()
    subprocess.run(["truncate", "--size=64M", str(image)], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)

    def call(fact: BundleFact, made: Guest) -> str:
        inner = (*bundle.fill(fact, made, settings), *bundle.steps(fact, made, settings))
        steps = (*bundle.checks(fact), Mounted(why="Mount.", source=str(image), at=str(at), fstype="ext4", steps=inner))
        journal = Journal(str(tmp_path / "journal.sqlite"))
        job = journal.begin("reinstallOS", made.vps.id, "admin", "job", (), len(steps))
        journal.started(job)
        try:
            execute(job, Plan("install", steps), Dom0(), journal, lambda: False)
        finally:
            log = "\n".join(path.read_text() for path in (tmp_path / "jobs").iterdir())
            subprocess.run(["mount", "-o", "loop,ro", str(image), str(at)], check=True)
        return log
    yield call
    subprocess.run(["umount", str(at)], check=True)


def old_style(tmp_path: Path) -> BundleFact:
    directory = make_bundle(tmp_path / "os/old-style-2010")
    return BundleFact(directory.name, str(directory), frozenset(SCRIPTS), (TARBALL,))


def test_a_bundle_of_2010_runs_unmodified(install, tmp_path: Path) -> None:
    root = tmp_path / "tree"
    before = {path: path.stat().st_mtime_ns for path in (Path("/usr/share"), Path("/usr/sbin"), Path("/etc"))}
    log = install(old_style(tmp_path), guest(tree=str(root), os_type="old-style-2010", modules=""))
    assert (root / "etc/fstab").read_text().splitlines()[-2:] == ["/dev/xvda\t/\text4\terrors=remount-ro\t0 1", "/dev/xvdb\tnone\tswap\tsw\t0 0"]
    assert (root / "etc/hostname").read_text() == "mail\n" and "192.0.2.10\tmail.example.org mail" in (root / "etc/hosts").read_text()
    assert (root / "etc/motd").read_text() == "Welcome to xen01\n", "custom_os wrote it, and no motd was given to us"
    assert "\taddress 192.0.2.10\n" in (root / "etc/network/interfaces").read_text() and "auto eth0:1" in (root / "etc/network/interfaces").read_text()
    assert (root / "etc/resolv.conf").read_text() == "nameserver 192.0.2.53\nnameserver 192.0.2.54\n"
    assert (root / "root/install.txt").read_text() == "old-style-2010 01 192.0.2.10 192.0.2.11 192.0.2.1 192.0.2.53,192.0.2.54 6.1 \n", "all addresses, and an empty FSTAB_LVMNAME"
    assert "busybox" not in (root / "root/files.txt").read_text() and "etc" in (root / "root/files.txt").read_text(), "last_stage_custom ran its chroot"
    assert "2 NIC, first 192.0.2.10, RAM 512" in (root / "etc/dtc-xen-installed").read_text()
    assert "hvc0" in (root / "etc/inittab").read_text() and "hvc0" in (root / "etc/securetty").read_text()
    assert (root / "etc/shadow").read_text().startswith("root:$6$") and "root=/dev/xvda ro" in (root / "boot/grub/menu.lst").read_text()
    assert not (root / "etc/udev/rules.d/70-persistent-net.rules").exists() and not (root / "usr/sbin/policy-rc.d").exists()
    assert (root / "var/log/nobody").stat().st_uid == 65534 and stat.S_ISCHR((root / "dev/null").stat().st_mode)
    assert "geheim" not in log and "Uncompressing" in log
    assert before == {path: path.stat().st_mtime_ns for path in before}, "nothing was made on the node's own disk"


def test_a_lone_tarball_is_enough(install, tmp_path: Path) -> None:
    root, directory = tmp_path / "tree", make_bundle(tmp_path / "os/plain")
    for script in SCRIPTS:
        (directory / script).unlink()
    packed = directory / "image.tar.zst"
    subprocess.run(["sh", "-c", f"zcat {directory}/{TARBALL} | zstd -q -o {packed}"], check=True)
    (directory / TARBALL).unlink()
    install(BundleFact("plain", str(directory), frozenset(), (packed.name,)), guest(tree=str(root), modules=""))
    assert "192.0.2.10" in (root / "etc/network/interfaces").read_text() and (root / "etc/hostname").read_text() == "mail\n"
    assert os.readlink(root / "sbin/init") == "/bin/busybox" and (root / "bin/sh").stat().st_ino == (root / "bin/busybox").stat().st_ino
    assert (root / "var/log/nobody").stat().st_uid == 65534


def test_a_script_that_reaches_for_the_node_fails_and_changes_nothing(install, tmp_path: Path) -> None:
    fact, root, outside = old_style(tmp_path), tmp_path / "tree", Path("/var/tmp") / f"dtcxen-test-{os.getpid()}"
    (Path(fact.path) / "custom_os").write_text(f"#!/bin/sh\nln -sf {outside} $VPS_PATH/etc/x\necho owned >{outside} || exit 3\n")
    with pytest.raises(Failed, match="3") as caught:
        install(fact, guest(tree=str(root), os_type="old-style-2010", modules=""))
    assert "custom_os" in caught.value.command and not outside.exists()


def test_a_bad_tarball_is_refused_before_anything_runs(install, tmp_path: Path) -> None:
    fact = old_style(tmp_path)
    with tarfile.open(Path(fact.path) / TARBALL, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../escaped"), io.BytesIO())
    with pytest.raises(Failed, match="has .. in its name"):
        install(fact, guest(tree=str(tmp_path / "tree"), os_type="old-style-2010"))
    assert [path.name for path in (tmp_path / "tree").iterdir()] == ["lost+found"]


# -- judge against real tars ----------------------------------------------------------------------

NAMES = ("a", "b", "a/b", "b/a", "a/c", "b/c", "./a", "a/b/c", "a/b/../c")
TARGETS = ("a", "b", ".", "..", "../..", "a/b", "b/..")
TARS = [("tar", "-P", "--keep-directory-symlink", "-xpf"), ("tar", "-xpf"), ("busybox", "tar", "-xpf")]
"""-P is tar without its own care for names and links: what the judge lets pass must be harmless even then."""


def random_members(chance: random.Random, outside: str) -> list[Member]:
    made = []
    for _ in range(chance.randint(2, 5)):
        kind = chance.choice(("file", "file", "directory", "symlink", "symlink", "hardlink"))
        made.append(Member(chance.choice(NAMES), kind, chance.choice((*TARGETS, outside)) if kind.endswith("link") else "", 4 if kind == "file" else 0, 0o755))
    return made


def through_a_link(members: list[Member]) -> bool:
    """Whether some member may be reached through an earlier link: only those archives are of interest."""
    return any(first.kind.endswith("link") and any(later.name.removeprefix("./").startswith(first.name.removeprefix("./") + "/") for later in members[place:])
               for place, first in enumerate(members))


def pack(members: list[Member], path: Path) -> None:
    kinds = {"file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE}
    with tarfile.open(path, "w") as archive:
        for member in members:
            item = tarfile.TarInfo(member.name)
            item.type, item.mode, item.linkname, item.size = kinds[member.kind], member.mode, member.linkname, member.size
            archive.addfile(item, io.BytesIO(b"data"))


def around(base: Path) -> list[tuple[str, int, int]]:
    """Everything beside the tree: names, links to it, sizes."""
    found = [path for path in base.rglob("*") if not path.is_relative_to(base / "x/y/tree")]
    return sorted((str(path), path.lstat().st_nlink if path.is_file() else 0, path.lstat().st_size if path.is_file() else 0) for path in found)


def test_what_is_judged_fine_stays_in_the_tree_under_every_tar(tmp_path: Path) -> None:
    chance, fine = random.Random(20100412), 0
    base, archive = tmp_path / "base", tmp_path / "archive.tar"
    for _ in range(20000):
        members = random_members(chance, str(base / "x"))
        if not through_a_link(members) or judge(members, whole_system=False):
            continue
        fine += 1
        pack(members, archive)
        for tar in TARS:
            tree = base / "x/y/tree"
            tree.mkdir(parents=True)
            before = around(base)
            subprocess.run([*tar, str(archive), "-C", str(tree)], capture_output=True)
            assert around(base) == before, (tar, members)
            shutil.rmtree(base)
    assert 100 < fine < 500
