"""A pinned file is that very file for ever after, whatever its owner does; nothing that is no plain file is ever pinned."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dtcxen_soap import nodefiles


@pytest.fixture
def homes(tmp_path: Path) -> Path:
    """A directory of homes with one ISO, a place for pinned ones, and somebody else's secret outside."""
    top = tmp_path / "homes"
    (top / "xen50" / "iso").mkdir(parents=True)
    (top / ".isos").mkdir(mode=0o700)
    (top / "xen50/iso/a.iso").write_text("cd")
    (tmp_path / "secret").write_text("another's disk")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.iso").write_text("another's disk")
    return top


def pin(homes: Path, name: str = "a.iso", folder: str = "xen50/iso") -> Path:
    target = homes / ".isos/xen50.iso"
    nodefiles.pin(str(homes), str(homes / folder / name), str(target))
    return target


def test_whoever_opens_it_opens_that_very_file(homes: Path) -> None:
    target = pin(homes)
    (homes / "xen50/iso/a.iso").unlink()
    (homes / "xen50/iso/a.iso").symlink_to(homes.parent / "secret")
    assert target.read_text() == "cd" and not target.is_symlink()
    assert os.listdir(homes / ".isos") == ["xen50.iso"], "nothing temporary is left"


def test_it_replaces_the_earlier_one_in_one_move(homes: Path) -> None:
    pin(homes)
    (homes / "xen50/b.iso").write_text("another cd")
    assert pin(homes, "b.iso", "xen50").read_text() == "another cd"


def linked(homes: Path) -> None:
    (homes / "xen50/iso/a.iso").unlink()
    (homes / "xen50/iso/a.iso").symlink_to(homes.parent / "secret")


def linked_folder(homes: Path) -> None:
    (homes / "xen50/iso").rename(homes / "xen50/was")
    (homes / "xen50/iso").symlink_to(homes.parent / "elsewhere")


def linked_home(homes: Path) -> None:
    (homes / "xen50").rename(homes / "was")
    (homes / "xen50").symlink_to(homes.parent / "elsewhere")
    (homes.parent / "elsewhere/iso").mkdir()
    (homes.parent / "elsewhere/iso/a.iso").write_text("another's disk")


def pipe(homes: Path) -> None:
    (homes / "xen50/iso/a.iso").unlink()
    os.mkfifo(homes / "xen50/iso/a.iso")


def gone(homes: Path) -> None:
    (homes / "xen50/iso/a.iso").unlink()


def open_top(homes: Path) -> None:
    homes.chmod(0o757)


def open_place(homes: Path) -> None:
    (homes / ".isos").chmod(0o755)


@pytest.mark.parametrize("spoil", [linked, linked_folder, linked_home, pipe, gone, open_top, open_place])
def test_nothing_else_is_ever_pinned(spoil: Callable[[Path], None], homes: Path) -> None:
    before = pin(homes).stat().st_ino
    spoil(homes)
    with pytest.raises(OSError):
        pin(homes)
    assert (homes / ".isos/xen50.iso").stat().st_ino == before, "the earlier one stays"
    assert os.listdir(homes / ".isos") == ["xen50.iso"]


def test_nothing_outside_is_pinned(homes: Path) -> None:
    with pytest.raises(OSError, match="lies outside"):
        pin(homes, "secret", "..")


def test_who_may_change_what_is_told(homes: Path) -> None:
    open_top(homes)
    with pytest.raises(PermissionError, match="others than root may change what is there"):
        pin(homes)
