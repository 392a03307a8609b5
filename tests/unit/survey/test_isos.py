"""ISOs in a home that its owner may fill with anything."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dtcxen_soap.facts import IsoFact
from dtcxen_soap.settings import Settings, load
from dtcxen_soap.survey import isos as survey_isos
from dtcxen_soap.survey.isos import SIGNATURE, SIGNATURE_AT, isos
from dtcxen_soap.vps import VpsId

VPS = VpsId(1)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "xen01/iso").mkdir(parents=True)
    return tmp_path / "xen01"


@pytest.fixture
def settings(home: Path) -> Settings:
    return load(f"ttyssh_home={home.parent}").settings


def put(path: Path, size: int = 65536, signature: bytes = SIGNATURE) -> Path:
    """An image of this size with this signature in its first volume descriptor."""
    path.write_bytes((bytes(SIGNATURE_AT) + signature).ljust(size, b"\0")[:size])
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def names(settings: Settings) -> list[str]:
    return [iso.name for iso in isos(settings, VPS)]


def test_both_places_any_case(settings: Settings, home: Path) -> None:
    put(home / "iso/b.ISO", 70000)
    put(home / "a.iso")
    put(home / "iso/c d-é.Iso")
    assert isos(settings, VPS)[1] == IsoFact("b.ISO", 70000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), str(home / "iso/b.ISO"))
    assert isos(settings, VPS)[0].path == str(home / "a.iso")
    assert names(settings) == ["a.iso", "b.ISO", "c d-é.Iso"]


def test_a_name_in_both_places_is_the_one_in_iso(settings: Settings, home: Path) -> None:
    put(home / "a.iso", 65536)
    put(home / "iso/a.iso", 80000)
    assert [iso.size_bytes for iso in isos(settings, VPS)] == [80000]


@pytest.mark.parametrize(("size", "signature"), [(65536, b"CD002"), (SIGNATURE_AT + 4, SIGNATURE), (0, SIGNATURE)])
def test_what_does_not_begin_as_iso_9660_is_none(settings: Settings, home: Path, size: int, signature: bytes) -> None:
    put(home / "iso/a.iso", size, signature)
    assert names(settings) == []


@pytest.mark.parametrize("name", ["a.iso.part", "iso", "a.img", "line\nend.iso", "bell\a.iso", "right\u202eto-left.iso", os.fsdecode(b"latin-\xe9.iso")])
def test_names_that_are_no_isos_or_no_text(settings: Settings, home: Path, name: str) -> None:
    put(home / "iso" / name)
    assert names(settings) == []


def test_no_link_is_followed(settings: Settings, home: Path, tmp_path: Path) -> None:
    real = put(tmp_path / "real.iso")
    os.symlink(real, home / "iso/link.iso")
    os.symlink(real, home / "link.iso")
    assert names(settings) == []


def test_no_directory_is_reached_through_a_link(settings: Settings, home: Path, tmp_path: Path) -> None:
    others = tmp_path / "xen02/iso"
    others.mkdir(parents=True)
    put(others / "secret.iso")
    (home / "iso").rmdir()
    os.symlink(others, home / "iso")
    assert names(settings) == []
    (home / "iso").unlink()
    home.rmdir()
    os.symlink(tmp_path / "xen02/iso", home)
    assert names(settings) == []


def test_pipes_sockets_and_directories_are_passed_by(settings: Settings, home: Path) -> None:
    os.mkfifo(home / "iso/pipe.iso")
    (home / "iso/folder.iso").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home / "iso/socket.iso"))
        put(home / "iso/z.iso")
        assert names(settings) == ["z.iso"]


def test_nothing_but_a_regular_file_is_opened_and_never_through_a_link(settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a device can have effects; between a look and an open a file can become a link."""
    os.mkfifo(home / "iso/pipe.iso")
    put(home / "iso/z.iso")
    opened: list[tuple[str, int]] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, **more: (opened.append((path, flags)), real(path, flags, **more))[1])
    assert names(settings) == ["z.iso"]
    below = [(path, flags) for path, flags in opened if path != settings.ttyssh_home]
    assert {path for path, _ in below} == {"xen01", "iso", "z.iso"} and all(flags & os.O_NOFOLLOW for _, flags in below)


def test_a_file_that_goes_meanwhile(settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_isos, "_names", lambda directory: iter(("gone.iso", "z.iso")))
    put(home / "iso/z.iso")
    assert names(settings) == ["z.iso"]


@pytest.mark.parametrize("seconds", [-(1 << 31), 1 << 33, 15_000_000_000])
def test_any_time_that_an_owner_may_set(settings: Settings, home: Path, seconds: int) -> None:
    os.utime(put(home / "iso/a.iso"), (seconds, seconds))
    assert names(settings) == ["a.iso"]
    assert survey_isos._time(seconds).year >= 1970
    assert survey_isos._time(1e18).year == 9999


def test_a_home_full_of_names_costs_no_more_than_that(settings: Settings, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_isos, "MOST", 3)
    monkeypatch.setattr(survey_isos, "MOST_ENTRIES", 5)
    for number in range(9):
        put(home / f"iso/{number}.iso")
        put(home / f"{number}-old.iso")
    assert len(names(settings)) == 3
    monkeypatch.setattr(survey_isos, "MOST", 30)
    assert len(names(settings)) <= 10


def test_no_home_no_isos(settings: Settings) -> None:
    assert isos(settings, VpsId(7)) == ()
    assert isos(load("ttyssh_home=/nonexistent").settings, VPS) == ()


# -- the node's library ---------------------------------------------------------------------------


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "library").mkdir(mode=0o755)
    return tmp_path / "library"


def both(home: Path, library: Path) -> Settings:
    return load(f"ttyssh_home={home.parent}\niso_library={library}").settings


def test_an_owners_isos_come_first_and_the_librarys_of_the_same_name_is_told_too(home: Path, library: Path) -> None:
    put(home / "iso/own.iso")
    put(home / "iso/same.iso", 70000)
    put(library / "same.iso", 90000)
    put(library / "aa.iso")
    told = isos(both(home, library), VPS)
    assert [(iso.name, iso.library, iso.size_bytes) for iso in told] == [
        ("own.iso", False, 65536), ("same.iso", False, 70000), ("aa.iso", True, 65536), ("same.iso", True, 90000)]
    assert told[2].path == str(library / "aa.iso")


def test_an_admin_may_keep_the_library_elsewhere(home: Path, library: Path, tmp_path: Path) -> None:
    put(library / "good.iso")
    (tmp_path / "link").symlink_to(library)
    told = isos(both(home, tmp_path / "link"), VPS)
    assert [iso.path for iso in told] == [str(library / "good.iso")], "by the path that no link leads elsewhere"
    library.chmod(0o777)
    assert isos(both(home, tmp_path / "link"), VPS) == ()


@pytest.mark.parametrize("harm", ["a name to quote", "writable by others", "a link", "no ISO", "directory open to others"])
def test_what_does_not_get_into_the_library(home: Path, library: Path, harm: str) -> None:
    put(library / "good.iso")
    bad = library / ("with blank.iso" if harm == "a name to quote" else "bad.iso")
    match harm:
        case "a link":
            bad.symlink_to(put(home / "iso/elsewhere.iso"))
            (home / "iso/elsewhere.iso").rename(home / "gone.img")
        case _:
            put(bad, signature=b"CD002" if harm == "no ISO" else SIGNATURE).chmod(0o666 if harm == "writable by others" else 0o644)
    if harm == "directory open to others":
        library.chmod(0o777)
    assert [iso.name for iso in isos(both(home, library), VPS)] == ([] if harm == "directory open to others" else ["good.iso"])
