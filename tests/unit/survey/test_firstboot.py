"""The admin's first-boot snippets on a real file system: which count, which are refused by their names, and which are never read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap.firstbootfacts import AppFact, FirstbootFact, SeedFact, Snippet
from dtcxen_soap.settings import load
from dtcxen_soap.survey import firstboot as survey
from dtcxen_soap.vps import Secret, VpsId


@pytest.fixture(autouse=True)
def plain_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "firstboot.d"
    made.mkdir()
    return made


def put(home: Path, name: str, content: bytes = b"#!/bin/sh\n", mode: int = 0o700) -> Path:
    file = home / name
    file.write_bytes(content)
    file.chmod(mode)
    return file


def found(home: Path) -> FirstbootFact:
    return survey.firstboot(load(f"config_dir={home.parent}").settings)


def test_a_node_without_any(tmp_path: Path) -> None:
    assert found(tmp_path / "firstboot.d") == FirstbootFact()


def test_executable_files_count_in_the_order_of_their_names_byte_for_byte(home: Path) -> None:
    put(home, "20-b", b"#!/bin/sh\n\xff\x00\n")
    put(home, "10-a", b"\x7fELF\x80")
    put(home, "README", mode=0o644)
    for name in ("10-a.bak", "10-a~", ".hidden", "a b"):
        put(home, name)
    (home / "30-folder").mkdir()
    fact = found(home)
    assert [each.name for each in fact.snippets] == ["10-a", "20-b"] and not fact.unsafe and not fact.problems
    assert fact.snippets[1] == Snippet("20-b", Secret(b"#!/bin/sh\n\xff\x00\n".decode(errors="surrogateescape"))) and "sh" not in repr(fact)


def test_one_that_others_may_write_keeps_all_from_being_used(home: Path, tmp_path: Path) -> None:
    put(home, "10-a")
    bad = put(home, "20-b", mode=0o722)
    assert found(home) == FirstbootFact(unsafe=(str(bad),))
    bad.unlink()
    elsewhere = tmp_path / "public"
    elsewhere.mkdir()
    elsewhere.chmod(0o777)
    put(elsewhere, "c")
    (home / "30-c").symlink_to(elsewhere / "c")
    assert str(elsewhere) in found(home).unsafe
    (home / "30-c").unlink()
    home.chmod(0o775)
    assert found(home).unsafe == (str(home),)


@pytest.mark.root
def test_one_that_is_not_roots_is_named(home: Path) -> None:
    bad = put(home, "20-b")
    os.chown(bad, 65534, 0)
    assert found(home).unsafe == (str(bad),)


def test_bounds_are_told(home: Path) -> None:
    put(home, "10-a", b"#!" + b"x" * survey.MOST_BYTES)
    put(home, "20-b", b"echo no interpreter\n")
    fact = found(home)
    assert fact.problems == (f"{home}/10-a has more than 256 KiB", f"{home}/20-b begins with neither #! nor as a program does: no system would run it")
    for number in range(survey.MOST_SNIPPETS):
        put(home, f"n{number}")
    assert found(home).problems == (f"{home} has 66 snippets, more than 64",)


def test_what_a_seed_disk_told_is_read_back_and_rubbish_tells_nothing(tmp_path: Path) -> None:
    settings, vps = load(f"config_dir={tmp_path}\nstate_dir={tmp_path}").settings, VpsId(50)
    assert survey.firstboot(settings, vps).seed == SeedFact()
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds/xen50.iso").touch()
    told = tmp_path / "seeds/xen50.told"
    told.write_text(json.dumps({"instance": "xen50-0-1", "keys": ["k"], "user_data": "#!/bin/sh\n"}))
    assert survey.firstboot(settings, vps).seed == SeedFact(True, True, "xen50-0-1", ("k",), Secret("#!/bin/sh\n"))
    for rubbish in ("", "[]", "{}", '{"instance": 1, "keys": 7, "user_data": null}', "[" * 100_000):
        told.write_text(rubbish)
        assert survey.firstboot(settings, vps).seed == SeedFact(True, True)
    assert survey.firstboot(settings).seed == SeedFact()


# -- appliances -----------------------------------------------------------------------------------


@pytest.fixture
def app(tmp_path: Path) -> Path:
    made = tmp_path / "wiki"
    (made / "setup-folder").mkdir(parents=True)
    (made / "depends").write_text("debian\n")
    (made / "setup-script").write_text("#!/bin/sh\n")
    return made


def appliance(app: Path, name: str = "wiki") -> AppFact | None:
    return survey.firstboot(load(f"app_dir={app.parent}\nconfig_dir={app.parent}/none").settings, os_type=name).app


def test_an_appliance_is_a_directory_that_says_what_it_depends_on(app: Path) -> None:
    assert appliance(app) == AppFact("wiki", str(app), "debian", True)
    (app / "setup-folder").rmdir()
    assert appliance(app) == AppFact("wiki", str(app), "debian", False)
    (app / "depends").unlink()
    assert appliance(app) is None
    assert appliance(app, "..") is None and appliance(app, "") is None and appliance(app, "other") is None


@pytest.mark.parametrize(("depends", "problem"), [("", "the name of one"), ("debian lenny", "the name of one"), ("../x", "the name of one"), ("x" * 5000, "cannot be read")])
def test_what_it_depends_on_is_one_name(app: Path, depends: str, problem: str) -> None:
    (app / "depends").write_text(depends)
    (app / "setup-script").unlink()
    found = appliance(app)
    assert found and len(found.problems) == 2 and problem in found.problems[0] and found.problems[1] == f"{app}/setup-script is not there"


def test_an_appliance_that_others_may_write_or_that_leads_out_is_unsafe(app: Path, tmp_path: Path) -> None:
    (app / "setup-folder/part").write_text("x")
    (app / "setup-folder/part").chmod(0o666)
    found = appliance(app)
    assert found and found.unsafe == (f"{app}/setup-folder/part can be written by others than root",) and found.depends == ""
    (app / "setup-folder/part").unlink()
    (app / "setup-script").unlink()
    (app / "setup-script").symlink_to("/etc/passwd")
    found = appliance(app)
    assert found and f"{app}/setup-script leads out of {tmp_path}" in found.unsafe
