"""Bundles and hooks on a real file system: what there is, and who else could have written it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap.facts import HookFact
from dtcxen_soap.settings import Settings, load
from dtcxen_soap.survey import programs as survey
from dtcxen_soap.vps import BootMode


@pytest.fixture(autouse=True)
def plain_umask() -> Iterator[None]:
    """Files of these tests are writable by their owner alone, however the tests are started."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("os", "conf/hooks"):
        (tmp_path / name).mkdir(parents=True)
    return load(f"os_dir={tmp_path}/os\nconfig_dir={tmp_path}/conf").settings


def put(path: str, mode: int = 0o755, text: str = "#!/bin/sh\n") -> Path:
    """A file with its parents, all of them ours alone but for `mode`."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


# -- bundles --------------------------------------------------------------------------------------


@pytest.fixture
def bundle(settings: Settings) -> Path:
    """A bundle as they come: scripts, tarballs, and files that its scripts read."""
    home = Path(settings.os_dir) / "centos6"
    for name, mode in (("install_os", 0o755), ("custom_os", 0o644), ("base.tar.gz", 0o644), ("more.tar.zst", 0o644), ("repos/a.repo", 0o644), ("README", 0o644)):
        put(f"{home}/{name}", mode)
    return home


def unsafe(settings: Settings, name: str = "centos6") -> tuple[str, ...]:
    fact = survey.bundle(settings, name)
    assert fact is not None
    return fact.unsafe


def test_what_a_bundle_holds(settings: Settings, bundle: Path) -> None:
    (bundle / "setup_network").mkdir()
    (bundle / "last.tar").mkdir()
    fact = survey.bundle(settings, "centos6")
    assert fact is not None
    assert (fact.name, fact.path, fact.unsafe) == ("centos6", str(bundle), ())
    assert (fact.scripts, fact.tarballs) == ({"install_os", "custom_os"}, ("base.tar.gz", "more.tar.zst"))


def test_its_manifest_may_name_a_boot_mode(settings: Settings, bundle: Path) -> None:
    put(f"{bundle}/manifest.json", 0o644, '{"boot_mode": "pygrub", "sha256": {}, "boot_modes": 7}')
    fact = survey.bundle(settings, "centos6")
    assert fact and (fact.boot_mode, fact.problems, fact.unsafe) == (BootMode.PYGRUB, (), ())
    put(f"{bundle}/manifest.json", 0o644, "{}")
    fact = survey.bundle(settings, "centos6")
    assert fact and (fact.boot_mode, fact.problems) == (None, ())


@pytest.mark.parametrize(("text", "problem"), [
    ('{"boot_mode": "grub"}', 'manifest.json: boot_mode "grub" is none of pvh-grub, pv-grub, direct, pygrub'), ('{"boot_mode": "hvm"}', '"hvm" is none of'),
    ('{"boot_mode": ["pv-grub"]}', '["pv-grub"] is none of'), ('{"boot_mode": ""}', "is none of"), ("[]", "is no JSON object"), ("{", "cannot be read"),
    ("[" * 100_000, "cannot be read"),
    ('"' + "x" * (1 << 20) + '"', "cannot be read")])
def test_a_manifest_that_is_none_is_told(settings: Settings, bundle: Path, text: str, problem: str) -> None:
    put(f"{bundle}/manifest.json", 0o644, text)
    fact = survey.bundle(settings, "centos6")
    assert fact and fact.boot_mode is None and problem in fact.problems[0] and str(bundle) in fact.problems[0]


def test_its_manifest_may_promise_a_digest(settings: Settings, bundle: Path) -> None:
    digest = "0123456789abcdef" * 4
    for text, digests, problems in (
            (f'{{"tarball": "base.tar.gz", "sha256": "{digest}"}}', (("base.tar.gz", digest),), 0), (f'{{"sha256": "{digest}"}}', (), 0),
            (f'{{"tarball": "other.tar.gz", "sha256": "{digest}"}}', (), 1), (f'{{"tarball": "../base.tar.gz", "sha256": "{digest}"}}', (), 1),
            ('{"tarball": "base.tar.gz", "sha256": "abc"}', (), 1)):
        put(f"{bundle}/manifest.json", 0o644, text)
        fact = survey.bundle(settings, "centos6")
        assert fact and (fact.digests, len(fact.problems)) == (digests, problems), text


def test_a_manifest_that_leads_out_of_the_bundles_is_not_trusted(settings: Settings, bundle: Path, tmp_path: Path) -> None:
    put(f"{tmp_path}/elsewhere.json", 0o644, "{}")
    (bundle / "manifest.json").symlink_to(tmp_path / "elsewhere.json")
    assert any("manifest.json leads out of" in each for each in unsafe(settings))


@pytest.mark.parametrize("name", ["centos7", "..", ".", "../os/centos6", ""])
def test_no_such_bundle(settings: Settings, bundle: Path, name: str) -> None:
    assert survey.bundle(settings, name) is None


@pytest.mark.parametrize("part", [".", "..", "install_os", "custom_os", "base.tar.gz", "repos", "repos/a.repo", "README"])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_a_part_that_others_may_write(settings: Settings, bundle: Path, part: str, mode: int) -> None:
    path = (bundle / part).resolve()
    path.chmod(path.stat().st_mode | mode)
    assert unsafe(settings) == (f"{path} can be written by others than root",)


@pytest.mark.parametrize("part", ["centos6/empty", "empty"])
def test_an_empty_directory_that_others_may_fill(settings: Settings, bundle: Path, part: str) -> None:
    path = Path(settings.os_dir) / part
    path.mkdir()
    path.chmod(0o777)
    assert unsafe(settings, part.partition("/")[0]) == (f"{path} can be written by others than root",)


@pytest.mark.root
@pytest.mark.parametrize("part", [".", "..", "install_os", "base.tar.gz", "repos/a.repo"])
def test_a_part_that_belongs_to_somebody(settings: Settings, bundle: Path, part: str) -> None:
    path = (bundle / part).resolve()
    os.chown(path, 4242, 0)
    assert unsafe(settings) == (f"{path} can be written by others than root",)


def test_a_bundle_that_is_no_directory(settings: Settings) -> None:
    put(f"{settings.os_dir}/file")
    os.symlink("/nowhere", f"{settings.os_dir}/gone")
    for name in ("file", "gone"):
        fact = survey.bundle(settings, name)
        assert fact is not None and fact.unsafe == (f"{settings.os_dir}/{name} is not a directory",)


def test_links_may_stay_within_os_dir_only(settings: Settings, bundle: Path, tmp_path: Path) -> None:
    os.symlink("centos6", f"{settings.os_dir}/centos")
    os.symlink("../centos6/custom_os", bundle / "last_stage_custom")
    assert unsafe(settings) == unsafe(settings, "centos") == ()
    elsewhere = put(f"{tmp_path}/elsewhere/install_os")
    os.symlink(elsewhere.parent, f"{settings.os_dir}/out")
    assert f"{settings.os_dir}/out leads out of {settings.os_dir}" in unsafe(settings, "out")
    os.symlink(elsewhere, bundle / "setup_network")
    assert f"{bundle}/setup_network leads out of {settings.os_dir}" in unsafe(settings)


def test_a_linked_script_is_judged_where_it_lies(settings: Settings, bundle: Path) -> None:
    other = put(f"{settings.os_dir}/shared/install", 0o775)
    (bundle / "install_os").unlink()
    os.symlink(other, bundle / "install_os")
    assert unsafe(settings) == (f"{other} can be written by others than root",)


def test_the_way_to_os_dir_is_not_judged(settings: Settings, bundle: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert unsafe(settings) == ()


def test_names_of_bundles(settings: Settings, bundle: Path) -> None:
    put(f"{settings.os_dir}/debian-12/rootfs.tar.xz", 0o644)
    put(f"{settings.os_dir}/empty/README", 0o644)
    put(f"{settings.os_dir}/.hidden/install_os")
    put(f"{settings.os_dir}/with blank/install_os")
    put(f"{settings.os_dir}/file")
    os.symlink("centos6", f"{settings.os_dir}/Centos")
    assert survey.bundle_names(settings) == ("Centos", "centos6", "debian-12")


def test_an_empty_directory_offers_what_is_not_installed_and_a_full_one_does_not(settings: Settings, bundle: Path) -> None:
    os.mkdir(f"{settings.os_dir}/manual")
    put(f"{settings.os_dir}/netbsd/install_os")
    put(f"{settings.os_dir}/xenhvm")
    assert survey.bundle_names(settings) == ("centos6", "manual")


def test_no_os_dir_no_bundles(tmp_path: Path) -> None:
    assert survey.bundle_names(load(f"os_dir={tmp_path}/none").settings) == ()


# -- hooks ----------------------------------------------------------------------------------------


def test_hooks_in_the_order_and_with_the_names_of_run_parts(settings: Settings) -> None:
    pre = f"{settings.hooks_dir}/reinstallOS-pre.d"
    for name in ("20-billing", "10-check", "a_b", "30-backup.dpkg-old", ".hidden", "README~"):
        put(f"{pre}/{name}")
    put(f"{pre}/README", 0o644)
    Path(f"{pre}/40-directory").mkdir()
    os.symlink("/nowhere", f"{pre}/50-gone")
    put(f"{settings.hooks_dir}/reinstallOS-error.d/10-mail", 0o700)
    put(f"{settings.hooks_dir}/killVPSDisk-post.d/10-other")
    assert survey.hooks(settings, "reinstallOS") == HookFact(
        {"pre": (f"{pre}/10-check", f"{pre}/20-billing", f"{pre}/a_b"), "error": (f"{settings.hooks_dir}/reinstallOS-error.d/10-mail",)})


@pytest.mark.parametrize("part", ["setup-pre.d/10-a", "setup-pre.d", "."])
def test_a_hook_that_others_could_have_written(settings: Settings, part: str) -> None:
    put(f"{settings.hooks_dir}/setup-pre.d/10-a")
    path = os.path.normpath(f"{settings.hooks_dir}/{part}")
    os.chmod(path, 0o777)
    assert survey.hooks(settings, "setup") == HookFact({}, (path,))


def test_one_bad_hook_leaves_the_good_one_known(settings: Settings) -> None:
    good, bad = put(f"{settings.hooks_dir}/setup-post.d/10-a"), put(f"{settings.hooks_dir}/setup-post.d/20-b", 0o757)
    assert survey.hooks(settings, "setup") == HookFact({"post": (str(good),)}, (str(bad),))


def test_a_linked_hook_is_judged_with_the_whole_way_to_it(settings: Settings, tmp_path: Path) -> None:
    program = put(f"{tmp_path}/sbin/hook")
    hook = Path(f"{settings.hooks_dir}/setup-pre.d/10-a")
    hook.parent.mkdir()
    hook.symlink_to(program)
    tmp_path.chmod(0o777)
    assert str(tmp_path) in survey.hooks(settings, "setup").unsafe


def test_a_link_that_others_could_have_set_is_judged_where_it_stands(settings: Settings) -> None:
    program = put(f"{settings.hooks_dir}/shared/hook")
    hook = Path(f"{settings.hooks_dir}/setup-pre.d/10-a")
    hook.parent.mkdir()
    hook.symlink_to(program)
    assert survey.hooks(settings, "setup") == HookFact({"pre": (str(hook),)})
    hook.parent.chmod(0o777)
    assert survey.hooks(settings, "setup") == HookFact({}, (str(hook.parent),))


def test_no_hooks(settings: Settings) -> None:
    assert survey.hooks(settings, "setup") == HookFact()
