"""`dtcxen rescue-system` from a ready tree; only what compresses is scripted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap import rescuesystem
from dtcxen_soap.cli import main as cli
from dtcxen_soap.cli import rescue as cli_rescue
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.facts import NodeFact
from dtcxen_soap.plans import Run
from dtcxen_soap.processes import Ran
from dtcxen_soap.survey import node as survey_node
from tests.unit.test_ramdisk import unpacked


class Zstd(Dom0):
    """This machine, but what is run is zstd by name only."""

    def run(self, step: Run, say: Any, watch: Any) -> Ran:
        assert step.argv[0] == "zstd"
        Path(f"{step.argv[-1]}.zst").write_bytes(Path(step.argv[-1]).read_bytes())
        return Ran(0, "")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node with a kernel and two modules, and a ready tree."""
    monkeypatch.setattr(cli_rescue, "Dom0", Zstd)
    monkeypatch.setattr(survey_node, "node", lambda dom0, settings: NodeFact("node", "id", "", "6.1.0", commands=frozenset({"zstd"})))
    (tmp_path / "vmlinuz").write_bytes(b"kernel")
    (tmp_path / "config").write_text("CONFIG_PVH=y\nCONFIG_RD_ZSTD=y\n")
    (tmp_path / "6.1.0/kernel").mkdir(parents=True)
    for name in ("xen-blkfront.ko", "i915.ko", "../modules.builtin"):
        (tmp_path / "6.1.0/kernel" / name).write_bytes(b"\0depends=\0")
    (tmp_path / "tree/usr/bin").mkdir(parents=True)
    (tmp_path / "tree/usr/bin/busybox").write_bytes(b"box")
    (tmp_path / "tree/bin").symlink_to("usr/bin")
    (tmp_path / "conf").write_text(
        f"KERNELPATH={tmp_path}/vmlinuz\nKMOD_PATH={tmp_path}/6.1.0\nrescue_kernel={tmp_path}/out/vmlinuz\nrescue_initrd={tmp_path}/out/initrd.img\n")
    return tmp_path


def make(node: Path) -> int:
    return cli.main(["rescue-system", "--config", str(node / "conf"), "--from-tree", str(node / "tree")])


def test_a_ready_tree_becomes_kernel_and_ram_disk(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make(node) == make(node) == 0
    assert sorted(path.name for path in (node / "out").iterdir()) == ["config", "initrd.img", "vmlinuz"]
    assert (node / "out/config").read_text() == (node / "config").read_text() == "CONFIG_PVH=y\nCONFIG_RD_ZSTD=y\n"
    assert (node / "out/vmlinuz").read_bytes() == b"kernel" and (node / "out").stat().st_mode & 0o777 == 0o700
    made = unpacked((node / "out/initrd.img").read_bytes())
    assert made["usr/bin/busybox"][1] == b"box" and made["usr/sbin/reboot"][1] == b"/bin/busybox" and made["init"][1].startswith(b"#!/bin/sh")
    at = "usr/lib/modules/6.1.0"
    assert {f"{at}/kernel/xen_blkfront.ko", f"{at}/modules.builtin"} < set(made) and f"{at}/kernel/i915.ko" not in made
    assert "initrd.img, 1 MiB" in capsys.readouterr().out


def linux(release: str) -> bytes:
    """As much of a bzImage as says its release."""
    head = bytearray(0x800)
    head[0x1FE:0x200], head[0x202:0x206], head[0x20E:0x210] = b"\x55\xaa", b"HdrS", (0x200).to_bytes(2, "little")
    head[0x400:0x400 + len(release) + 1] = release.encode() + b" "
    return bytes(head)


def test_modules_lie_where_the_kernel_looks_for_them_whatever_their_directory_is_called(node: Path) -> None:
    (node / "vmlinuz").write_bytes(linux("6.1.0-50-amd64"))
    for name in ("xen-blkfront.ko", "i915.ko"):
        (node / "6.1.0/kernel" / name).write_bytes(b"\0depends=\0vermagic=6.1.0-50-amd64 SMP \0")
    assert make(node) == 0
    assert "usr/lib/modules/6.1.0-50-amd64/kernel/xen_blkfront.ko" in unpacked((node / "out/initrd.img").read_bytes())


def test_modules_of_another_kernel_are_refused(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (node / "vmlinuz").write_bytes(linux("6.1.0-50-amd64"))
    (node / "6.1.0/kernel/xen-blkfront.ko").write_bytes(b"\0depends=\0vermagic=6.1.0-48-amd64 SMP \0")
    assert make(node) != 0
    assert "module of 6.1.0-48-amd64, the kernel is 6.1.0-50-amd64" in capsys.readouterr().err and not (node / "out/vmlinuz").exists()


@pytest.mark.parametrize(("gone", "words"), [("vmlinuz", "KERNELPATH"), ("tree/bin", "--packages"), ("tree/usr/bin/busybox", "--packages")])
def test_what_is_lacking_is_named(node: Path, capsys: pytest.CaptureFixture[str], gone: str, words: str) -> None:
    (node / gone).unlink()
    assert make(node) == 1
    assert words in capsys.readouterr().err and not (node / "out/vmlinuz").exists()


def test_one_that_would_not_fit_is_not_put_into_place(node: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert make(node) == 0
    before = (node / "out/initrd.img").stat().st_ino
    monkeypatch.setattr(cli_rescue, "WORKING_ROOM", 512)
    assert make(node) == 1
    assert "MiB of memory" in capsys.readouterr().err and (node / "out/initrd.img").stat().st_ino == before


def test_the_packages_of_such_a_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rescue-system", "--packages"]) == 0
    assert capsys.readouterr().out == ",".join(rescuesystem.PACKAGES) + "\n"
