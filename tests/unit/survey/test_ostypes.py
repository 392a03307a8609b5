"""Descriptions of os.d on a real file system: which there are, who could have written them, whether their keys are there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from dtcxen_soap.cli import main as cli
from dtcxen_soap.settings import Settings, load
from dtcxen_soap.survey import ostypes as survey_ostypes

SHA = "0" * 64


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("etc/os.d", "keys", "state"):
        (tmp_path / name).mkdir(parents=True, mode=0o755)
    (tmp_path / "keys/a.gpg").write_bytes(b"key")
    return load(f"config_dir={tmp_path}/etc\nstate_dir={tmp_path}/state").settings


def suite(settings: Settings, name: str = "noble", key: str = "a.gpg", more: str = "") -> Path:
    top = Path(settings.config_dir).parent
    file = Path(settings.os_types_dir) / f"{name}.toml"
    file.write_text(f'installer = "debootstrap"\nrelease = "noble"\nmirror = "http://m.example/ubuntu"\ncomponents = ["main"]\nkeyring = "{top}/keys/{key}"\n{more}')
    file.chmod(0o644)
    return file


def found(settings: Settings, name: str = "noble"):
    fact = survey_ostypes.os_type(settings, name)
    assert fact is not None
    return fact


def test_what_is_there(settings: Settings) -> None:
    assert survey_ostypes.names(settings) == () and survey_ostypes.os_type(settings, "noble") is None
    file = suite(settings)
    (file.parent / "readme.txt").write_text("x")
    (file.parent / "other.toml.example").write_text("x")
    (file.parent / ".hidden.toml").write_text("x")
    fact = found(settings)
    assert survey_ostypes.names(settings) == ("noble",) and fact.description is not None and (fact.problems, fact.lacking) == ((), ())
    assert fact.digest == hashlib.sha256(file.read_bytes()).hexdigest() and (fact.kept, fact.token) == ((), "")


def test_a_bad_one_is_not_offered_and_says_why(settings: Settings) -> None:
    suite(settings, more="lable = 'x'\n")
    fact = found(settings)
    assert survey_ostypes.names(settings) == () and fact.description is None
    assert fact.problems == (f"{fact.path}: lable: unknown; did you mean label?",)


@pytest.mark.parametrize(("part", "mode"), [("etc/os.d/noble.toml", 0o664), ("etc/os.d/noble.toml", 0o646), ("etc/os.d", 0o777), ("etc", 0o775)])
def test_one_that_others_could_have_written_is_not_believed(settings: Settings, part: str, mode: int) -> None:
    suite(settings)
    path = Path(settings.config_dir).parent / part
    path.chmod(mode)
    fact = found(settings)
    assert fact.description is None and fact.problems == (f"{fact.path}: {path} can be written by others than root",)


@pytest.mark.parametrize(("key", "text"), [("b.gpg", "No such file"), ("empty.gpg", "no file of keys"), ("folder", "no file of keys"), ("open.gpg", "can be written by others")])
def test_keys_that_cannot_be_relied_on(settings: Settings, key: str, text: str) -> None:
    keys = Path(settings.config_dir).parent / "keys"
    (keys / "empty.gpg").touch()
    (keys / "folder").mkdir()
    (keys / "open.gpg").write_bytes(b"key")
    (keys / "open.gpg").chmod(0o666)
    suite(settings, key=key)
    (told,) = found(settings).lacking
    assert text in told and str(keys / key) in told


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nonesuch"), lambda path: path.write_text("#" * (1 << 18))],
                         ids=["directory", "fifo", "dangling", "too long"])
def test_what_is_no_file_of_that_kind(settings: Settings, make) -> None:
    make(Path(settings.os_types_dir) / "noble.toml")
    fact = found(settings)
    assert fact.description is None and "cannot be read" in fact.problems[-1]


@pytest.mark.parametrize("name", ["a b", "-x", "x" * 65])
def test_a_name_that_no_caller_can_write(settings: Settings, name: str) -> None:
    suite(settings, name)
    assert survey_ostypes.os_type(settings, name) is None and survey_ostypes.names(settings) == ()
    (fact,) = survey_ostypes.every(settings)
    assert "not one that callers can write" in fact.problems[0]


@pytest.mark.parametrize("name", ["../noble", "noble/../noble", "nobl?", ""])
def test_no_name_leads_out(settings: Settings, name: str) -> None:
    suite(settings)
    assert survey_ostypes.os_type(settings, name) is None


def test_of_a_remote_bundle_also_what_is_kept(settings: Settings) -> None:
    (Path(settings.os_types_dir) / "small.toml").write_text(f'installer = "bundle"\nurl = "http://m.example/s.tar"\nsha256 = "{SHA}"\n')
    assert found(settings, "small").kept == ()
    store = Path(settings.os_store_dir) / "bundles/small"
    store.mkdir(parents=True)
    (store / f"{SHA}.tar").touch()
    first, second = found(settings, "small"), found(settings, "small")
    assert first.kept == (f"{SHA}.tar",) and len(first.token) == 16 and first.token != second.token


def test_check_judges_them(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "conf"
    config.write_text(f"config_dir={settings.config_dir}\nstate_dir={settings.state_dir}\n")
    suite(settings, key="b.gpg", more="label = 'Ubuntu 24.04'\n")
    assert cli.main(("check", "--config", str(config))) == 0
    told = capsys.readouterr()
    assert f"OS type noble  Ubuntu 24.04  [{settings.os_types_dir}/noble.toml]" in told.out and "b.gpg: No such file" in told.err
    suite(settings, "broken", more="lable = 'x'\n")
    assert cli.main(("check", "--config", str(config))) == 1
    told = capsys.readouterr()
    assert "OS type broken  cannot be installed" in told.out and f"{settings.os_types_dir}/broken.toml: lable: unknown; did you mean label?" in told.err
