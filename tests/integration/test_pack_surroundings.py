"""`dtcxen pack` and what is around it: other people's directories, file systems that cannot keep everything, sources that change, systems on two disks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap import packing, sparsefiles
from tests.bundles import write_system
from tests.diskbytes import table

pytestmark = [pytest.mark.root, pytest.mark.slow]
MIB = 1 << 20


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of a small system."""
    top = tmp_path_factory.mktemp("system")
    with tarfile.open(top / "system.tar", "w") as archive:
        write_system(archive)
    (top / "tree").mkdir()
    subprocess.run(("tar", "-C", str(top / "tree"), "-xpf", str(top / "system.tar")), check=True)
    return top / "tree"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def ext4(tree: Path, image: Path, mib: int = 16) -> Path:
    subprocess.run(("mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(image), f"{mib}M"), check=True)
    return image


def copied(tree: Path, to: Path) -> Path:
    subprocess.run(("cp", "-a", str(tree), str(to)), check=True)
    return to


def pack(source: Path, out: Path, *more: str, name: str = "small") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "dtcxen_soap", "pack", str(source), "--name", name, "--output", str(out), "--largest", "64", *more), capture_output=True, text=True, timeout=120)


def names(bundle: Path) -> list[str]:
    with tarfile.open(next(bundle.glob("*.tar.gz"))) as archive:
        return archive.getnames()


# -- other people's directories -----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "mode"), [(".pack-notes", 0o700), (".pack-old-0123abcd", 0o755), (".pack-small-0123abcd.bak", 0o700)])
def test_directories_that_only_look_like_ours_stay(system: Path, out: Path, name: str, mode: int) -> None:
    (out / name).mkdir(mode)
    (out / name).chmod(mode)
    (out / name / "precious").write_text("x")
    assert pack(system, out).returncode == 0
    assert sorted(os.listdir(out)) == sorted((name, "small")) and (out / name / "precious").read_text() == "x"


def test_the_directory_of_a_run_that_was_killed_goes(system: Path, out: Path) -> None:
    (out / ".pack-small-0123abcd/stage").mkdir(parents=True)
    (out / ".pack-small-0123abcd").chmod(0o700)
    assert pack(system, out).returncode == 0
    assert os.listdir(out) == ["small"]


def test_runs_that_begin_together_leave_each_other_alone(system: Path, out: Path) -> None:
    def begin(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (sys.executable, "-m", "dtcxen_soap", "pack", str(system), "--name", name, "--output", str(out), "--largest", "64"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    runs = {name: begin(name) for name in ("one", "two", "three", "four")}
    said = {name: run.communicate(timeout=120) for name, run in runs.items()}
    assert [run.returncode for run in runs.values()] == [0] * 4, said
    assert sorted(os.listdir(out)) == sorted(runs)


def test_a_second_run_waits_until_the_first_holds_its_directory(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between making a directory and holding it nobody may sweep: a sweep that begins then finds it held."""
    order = packing.Order("/nowhere", "small", str(out), None, MIB, None, "")
    monkeypatch.setattr("dtcxen_soap.mounts.keep_to_ourselves", lambda: None)
    made, mkdir = threading.Event(), os.mkdir
    swept: list[bool] = []

    def slow_mkdir(path: str, *more: int) -> None:
        mkdir(path, *more)
        if threading.current_thread() is threading.main_thread():
            made.set()
            other.join(1)

    def second() -> None:
        made.wait(10)
        with packing._workplace(order):
            swept.append(len(os.listdir(out)) == 1)

    other = threading.Thread(target=second)
    other.start()
    monkeypatch.setattr("os.mkdir", slow_mkdir)
    with packing._workplace(order) as work:
        other.join(10)
        assert os.path.isdir(work)
    assert swept == [False]


# -- file systems that cannot keep everything ---------------------------------------------------------


@pytest.fixture
def poor(tmp_path: Path) -> Iterator[Path]:
    """A place whose files have room for about 900 bytes of attributes."""
    image, at = tmp_path / "poor.img", tmp_path / "poor"
    at.mkdir()
    subprocess.run(("truncate", "-s", f"{sparsefiles.LEFT_FREE // MIB + 300}M", str(image)), check=True)
    subprocess.run(("mke2fs", "-q", "-t", "ext4", "-b", "1024", "-I", "128", str(image)), check=True, stderr=subprocess.DEVNULL)
    subprocess.run(("mount", "-o", "loop", str(image), str(at)), check=True)
    try:
        yield at
    finally:
        subprocess.run(("umount", str(at)), check=True)


def test_an_attribute_that_cannot_be_kept_is_told(system: Path, poor: Path, tmp_path: Path) -> None:
    tree = copied(system, tmp_path / "tree")
    os.setxattr(tree / "etc/passwd", "user.note", b"kept")
    os.setxattr(tree / "etc/passwd", "user.large", b"x" * 1500)
    done = pack(tree, poor)
    assert done.returncode == 1 and re.search(r"'etc/passwd' has attributes.*'user\.large'", done.stderr), done.stderr
    assert os.listdir(poor) == ["lost+found"]
    os.removexattr(tree / "etc/passwd", "user.large")
    done = pack(tree, poor)
    assert done.returncode == 0, done.stderr


# -- sources that change -----------------------------------------------------------------------------


def test_what_others_may_write_is_read_from_a_copy(system: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner's upload that was harmless when its header was judged names a backing file when qemu-img opens it."""
    secret = ext4(_with_secret(copied(system, tmp_path / "secret.tree")), tmp_path / "secret.img")
    harmless, evil, upload = tmp_path / "harmless.qcow2", tmp_path / "evil.qcow2", tmp_path / "upload.qcow2"
    subprocess.run(("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(ext4(system, tmp_path / "system.img")), str(harmless)), check=True)
    subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(secret), str(evil)), check=True)
    upload.write_bytes(harmless.read_bytes())
    os.chown(upload, 1000, 1000)
    judge = packing.diskimages.judge_format

    def judge_and_swap(head: bytes, size_bytes: int, most_bytes: int) -> str:
        kind = judge(head, size_bytes, most_bytes)
        upload.write_bytes(evil.read_bytes())
        return kind

    monkeypatch.setattr(packing.diskimages, "judge_format", judge_and_swap)
    monkeypatch.setattr("dtcxen_soap.mounts.keep_to_ourselves", lambda: None)
    manifest = packing.pack_image(packing.Order(str(upload), "small", str(out), None, 64 * MIB, None, ""), lambda line: None)
    assert "./srv/secret" not in names(out / "small")
    told = json.loads(manifest)["made_from"]
    assert told["source"] == "upload.qcow2" and told["sha256"] == _sha256(harmless)
    assert sorted(os.listdir(out)) == ["small"]


def _with_secret(tree: Path) -> Path:
    (tree / "srv").mkdir()
    (tree / "srv/secret").write_text("another tenant's")
    return tree


def _sha256(path: Path) -> str:
    return subprocess.run(("sha256sum", "--", str(path)), capture_output=True, text=True, check=True).stdout.split()[0]


# -- systems on two disks ----------------------------------------------------------------------------


def two_parts(tmp_path: Path, system: Path, at: str) -> Path:
    """A disk with the root on its second partition and what is mounted at `at` on its first."""
    root, other = copied(system, tmp_path / "root"), tmp_path / "other"
    (root / at).mkdir(parents=True, exist_ok=True)
    copied(root / at, other)
    (other / "vmlinuz-6.1.0").write_bytes(bytes(1000))
    subprocess.run(("rm", "-r", str(root / at)), check=True)
    (root / at).mkdir()
    with (root / "etc/fstab").open("a") as file:
        file.write(f"UUID=1234-5678 /{at} ext4 defaults 0 2\n")
    image = tmp_path / "two.img"
    with image.open("wb") as file:
        file.write(table((0, 0x83, 2048, 32768), (0, 0x83, 40960, 32768)))
        for place, part in ((MIB, ext4(other, tmp_path / "other.img")), (20 * MIB, ext4(root, tmp_path / "root.img"))):
            file.seek(place)
            file.write(part.read_bytes())
        file.truncate(40 * MIB)
    return image


def test_a_system_whose_boot_lies_elsewhere_is_refused(system: Path, out: Path, tmp_path: Path) -> None:
    image = two_parts(tmp_path, system, "boot")
    done = pack(image, out)
    assert done.returncode == 1 and re.search(r"etc/fstab keeps '/boot' on 'UUID=1234-5678'", done.stderr), done.stderr
    assert os.listdir(out) == []
    done = pack(image, out, "--boot-mode", "direct")
    assert done.returncode == 0 and "not packed: '/boot'" in done.stderr, done.stderr


def test_homes_that_lie_elsewhere_are_told(system: Path, out: Path, tmp_path: Path) -> None:
    done = pack(two_parts(tmp_path, system, "home"), out)
    assert done.returncode == 0 and "not packed: '/home', which etc/fstab keeps on 'UUID=1234-5678'" in done.stderr, done.stderr


def test_what_is_in_its_place_is_packed(system: Path, out: Path, tmp_path: Path) -> None:
    """The tree of a running system, copied together: fstab names disks whose content is there."""
    tree = copied(system, tmp_path / "tree")
    with (tree / "etc/fstab").open("a") as file:
        file.write("LABEL=boot /boot ext4 defaults 0 2\nUUID=12-34 /boot/efi vfat umask=0077 0 1\n")
    done = pack(tree, out)
    assert done.returncode == 0 and "not packed" not in done.stderr, done.stderr
