"""Projects of quotas on a real XFS, whose files have one whether the kernel counts for it or not; whose writes it refuses is proven in the lab.

This kernel may have no quotas: what is shown here is which files count for whom, by chattr's own reading of them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap import isoquota, projectquota
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.vps import VpsId

pytestmark = pytest.mark.root
PROJECT = isoquota.project(VpsId(1))


@pytest.fixture(scope="module")
def filesystem(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty XFS, mounted."""
    top = tmp_path_factory.mktemp("xfs")
    with (top / "image").open("wb") as image:
        image.truncate(512 << 20)
    subprocess.run(["mkfs.xfs", "-q", str(top / "image")], check=True)
    (top / "homes").mkdir()
    Dom0().mount(str(top / "image"), str(top / "homes"), "xfs", "nodev,nosuid")
    yield top / "homes"
    Dom0().unmount(str(top / "homes"))


@pytest.fixture
def homes(filesystem: Path) -> Iterator[Path]:
    (filesystem / "xen01/iso").mkdir(parents=True)
    yield filesystem
    subprocess.run(["rm", "-rf", *map(str, filesystem.iterdir())], check=True)


def project(path: Path) -> int:
    """As lsattr reads it."""
    return int(subprocess.run(["lsattr", "-d", "-p", "--", str(path)], check=True, capture_output=True, text=True).stdout.split()[0])


def mark(homes: Path) -> None:
    Dom0().mark_project(str(homes), "xen01/iso", PROJECT)


def test_what_is_there_and_what_comes_counts(homes: Path) -> None:
    iso = homes / "xen01/iso"
    (iso / "sub/deep").mkdir(parents=True)
    for path in ("old.iso", "sub/old.iso", "sub/deep/old.iso"):
        (iso / path).write_text("x")
    (homes / "xen01/home.iso").write_text("x")
    mark(homes)
    (iso / "new.iso").write_text("x")
    (iso / "sub/deep/later").mkdir()
    (iso / "sub/deep/later/new.iso").write_text("x")
    assert {project(path) for path in (iso, *iso.rglob("*"))} == {PROJECT}
    assert {project(path) for path in (homes, homes / "xen01", homes / "xen01/home.iso")} == {0}
    handle = os.open(iso, os.O_RDONLY)
    assert projectquota.project_of(handle) == (PROJECT, True)
    os.close(handle)
    before = (iso / "old.iso").stat().st_ctime_ns
    mark(homes)
    assert (iso / "old.iso").stat().st_ctime_ns == before, "again: nothing is changed"


def test_a_file_of_another_project_does_not_get_in_by_a_rename_or_a_link(homes: Path) -> None:
    mark(homes)
    outside = homes / "xen01/outside.iso"
    outside.write_text("x")
    for way in (os.rename, os.link):
        with pytest.raises(OSError, match="Invalid cross-device link"):
            way(outside, homes / "xen01/iso/inside.iso")


def test_an_uploaded_iso_can_still_be_pinned(homes: Path) -> None:
    """The place of pinned ISOs inherits no project, so a second name there is allowed."""
    mark(homes)
    (homes / "xen01/iso/a.iso").write_text("x")
    (homes / ".isos").mkdir(mode=0o700)
    Dom0().pin_file(str(homes), f"{homes}/xen01/iso/a.iso", f"{homes}/.isos/xen01.iso")
    assert project(homes / ".isos/xen01.iso") == PROJECT


def test_nothing_is_marked_through_a_link(homes: Path) -> None:
    others = homes / "xen02/iso"
    others.mkdir(parents=True)
    (others / "a.iso").write_text("x")
    iso = homes / "xen01/iso"
    (iso / "a.iso").symlink_to(others / "a.iso")
    (iso / "folder").symlink_to(others)
    os.mkfifo(iso / "pipe.iso")
    os.mknod(iso / "device.iso", 0o600 | 0o020000, os.makedev(1, 3))
    mark(homes)
    assert project(iso) == PROJECT and project(others) == project(others / "a.iso") == 0
    subprocess.run(["rm", "-rf", str(iso)], check=True)
    iso.symlink_to(others)
    with pytest.raises(OSError, match="Not a directory|Too many levels"):
        mark(homes)
    assert project(others) == 0


def test_another_file_system_below_is_left_alone(homes: Path) -> None:
    """A tmpfs knows no projects: to mark it would fail."""
    inner = homes / "xen01/iso/inner"
    inner.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(inner)], check=True)
    try:
        mark(homes)
    finally:
        subprocess.run(["umount", str(inner)], check=True)
    assert project(homes / "xen01/iso") == PROJECT


def test_a_tree_without_end_costs_no_more_than_its_beginning(homes: Path) -> None:
    deep = homes / "xen01/iso"
    for _ in range(projectquota.DEEPEST + 20):
        deep = deep / "d"
        deep.mkdir()
    mark(homes)
    levels = [path for path in (homes / "xen01/iso").rglob("d") if project(path) == PROJECT]
    assert len(levels) == projectquota.DEEPEST


def test_where_there_are_no_projects_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "xen01/iso").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "xen01")], check=True)
    try:
        (tmp_path / "xen01/iso").mkdir()
        with pytest.raises(OSError, match="Operation not supported|Inappropriate ioctl|Invalid argument"):
            mark(tmp_path)
    finally:
        subprocess.run(["umount", str(tmp_path / "xen01")], check=True)
