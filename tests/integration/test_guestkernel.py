"""A real Debian that boots by a kernel of its own: what the steps leave there, and what its owner's update-grub makes of it later."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from dtcxen_soap import actions, plans
from dtcxen_soap.dom0 import Dom0, Unwatched
from dtcxen_soap.errors import Failed
from dtcxen_soap.install import debootstrap, grubmenu, guestkernel
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.install.kernelimage import parse
from dtcxen_soap.journal import Journal
from dtcxen_soap.plans import Look, Step
from dtcxen_soap.settings import load
from dtcxen_soap.survey import node as survey_node
from dtcxen_soap.vps import BootMode
from tests import boot
from tests.unit.install.guests import guest

pytestmark = [pytest.mark.root, pytest.mark.slow]
UPDATE_GRUB = """set -e
umount {tree}
mount -t tmpfs dev /dev
mknod -m 666 /dev/null c 1 3
mknod /dev/xvda b {major} {minor}
mount /dev/xvda {tree}
mount -t proc proc {tree}/proc
mount --bind /dev {tree}/dev
chroot {tree} update-grub
"""
"""In a mount namespace of its own, where the disk is called as in a VPS: update-grub finds the root disk by its device."""


def do(steps: tuple[Step, ...], tree: str) -> None:
    """Every step on a real tree; a Look plans on."""
    dom0 = Dom0()
    for step in steps:
        if isinstance(step, Look):
            do(step.decide(dom0.tree(tree).look(step.texts, step.globs, step.heads)), tree)
        else:
            assert not isinstance(step, plans.Run | plans.Mounted | plans.ServicesOff)
            actions.perform(step, dom0, cast(Journal, None), Unwatched())


def owner(tree: Path, kernel: Path, mode: BootMode) -> Guest:
    made = guest(tree=str(tree), kernel_release=kernel.name.removeprefix("vmlinuz-"), modules="", node_kernel=str(kernel))
    return dataclasses.replace(made, vps=dataclasses.replace(made.vps, boot=mode))


def finished(tree: Path, kernel: Path, mode: BootMode) -> None:
    """What guestkernel plans for the tree as it is, done."""
    look = Dom0().tree(str(tree)).look(guestkernel.TEXTS, guestkernel.GLOBS, guestkernel.HEADS)
    do(guestkernel.steps(owner(tree, kernel, mode), look), str(tree))


@pytest.fixture(scope="module")
def kernel() -> Path:
    """Debian's cloud kernel, as the node's."""
    return boot.kernel()[0]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A loop device with a small Debian that has update-grub; its mount point, where it is mounted."""
    directory = tmp_path_factory.mktemp("guestkernel")
    image, tree = directory / "disk.img", directory / "tree"
    tree.mkdir()
    node = survey_node.node(Dom0(), load("").settings)
    sources = [str(source) for source in debootstrap.sources(load("").settings, node)]
    with image.open("wb") as file:
        file.truncate(1 << 30)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    device = subprocess.run(["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True).stdout.strip()
    try:
        subprocess.run(["mount", device, str(tree)], check=True)
        try:
            made = subprocess.run(["mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase", f"--include={debootstrap.KERNEL_PACKAGES[1]}",
                                   node.release, str(tree), *sources], capture_output=True, text=True)
            assert made.returncode == 0, made.stderr
            yield device, tree
        finally:
            subprocess.run(["umount", str(tree)], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_a_real_kernel_tells_its_release_and_compression(kernel: Path) -> None:
    image = parse(kernel.read_bytes()[:1 << 16])
    assert image.bzimage and kernel.name == f"vmlinuz-{image.version}" and image.compression


def test_the_nodes_kernel_comes_in_is_judged_and_is_found_by_update_grub(disk: tuple[str, Path], kernel: Path) -> None:
    device, tree = disk
    compression = parse(kernel.read_bytes()[:1 << 16]).compression
    if compression not in ("gzip", "xz", "lzo"):
        with pytest.raises(Failed, match=f"{compression}, which the loader of pv-grub cannot read"):
            finished(tree, kernel, BootMode.PV_GRUB)
    shutil.rmtree(tree / "boot")
    finished(tree, kernel, BootMode.PVH_GRUB)
    menu, line = tree / "boot/grub/grub.cfg", f"/boot/{kernel.name} root=/dev/xvda ro console=hvc0 net.ifnames=0"
    assert f"linux {line}\n" in menu.read_text() and menu.stat().st_mode & 0o777 == 0o600
    assert (tree / f"boot/{kernel.name}").read_bytes() == kernel.read_bytes()
    subprocess.run(["chroot", str(tree), "grub-script-check", f"/{guestkernel.MENU}"], check=True)

    major, minor = subprocess.run(["stat", "-c", "0x%t 0x%T", device], check=True, capture_output=True, text=True).stdout.split()
    script = UPDATE_GRUB.format(major=major, minor=minor, tree=tree)
    made = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    text = menu.read_text()
    assert f"linux\t{line}" in text and "set root=" not in text and grubmenu.for_pygrub(text)
    assert grubmenu.entry(text) == grubmenu.Entry(f"boot/{kernel.name}")
    subprocess.run(["chroot", str(tree), "grub-script-check", f"/{guestkernel.MENU}"], check=True)
    finished(tree, kernel, BootMode.PYGRUB)
    assert menu.read_text() == text, "update-grub's menu has all that its kernels must be told"
