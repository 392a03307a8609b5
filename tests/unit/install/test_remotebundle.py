"""Bundles from somewhere else: what runs to fetch one, and what is verified before any disk is touched."""

from __future__ import annotations

import dataclasses

import pytest

from dtcxen_soap.errors import Failed
from dtcxen_soap.install import ostypes, reinstall, remotebundle
from dtcxen_soap.osfacts import OsTypeFact, RemoteBundle
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import AllocateFile, CheckDigest, CheckTarball, RemoveFile, Run, WriteFile, walk
from dtcxen_soap.settings import load
from dtcxen_soap.vps import Mib
from tests.unit.install.test_ostypes import READY
from tests.unit.install.test_reinstall import CONFIG, FIRST, request

SHA, OTHER = "ab" * 32, "cd" * 32
SETTINGS = load(CONFIG + "state_dir=/s\ninstall_timeout_minutes=7").settings
SMALL = RemoteBundle(name="small", url="https://m.example/small.tar.xz?x=1", sha256=SHA, most_mib=Mib(512))
STORE = "/s/os/bundles/small"
COMMANDS = READY.commands | {"unshare", "sh", "xz"}


def fact(description=SMALL, *kept: str) -> OsTypeFact:
    return OsTypeFact(name="small", path="/e/os.d/small.toml", description=description, kept=kept, token="t0ken")


def facts(*kept: str, commands=COMMANDS):
    return dataclasses.replace(FIRST, node=dataclasses.replace(READY, commands=frozenset(commands)), os_type=fact(SMALL, *kept))


def checks(*kept: str, description=SMALL):
    return remotebundle.checks(fact(description, *kept), description, SETTINGS)


@pytest.mark.parametrize(("name", "kept"), [("first", ()), ("again", (f"{SHA}.tar.xz",))])
def test_plans(golden, name, kept):
    golden(f"plans/reinstall-remote-{name}.txt", "\n".join(render(reinstall.plan(request(ostype="small"), SETTINGS, facts(*kept)))) + "\n")


def test_nothing_is_touched_before_it_was_fetched_verified_and_judged():
    steps = list(walk(reinstall.plan(request(ostype="small"), SETTINGS, facts()).steps))
    kinds = [type(step) for step in steps]
    fetch = next(place for place, step in enumerate(steps) if isinstance(step, Run) and "curl" in step.argv)
    keep = next(place for place, step in enumerate(steps) if isinstance(step, Run) and step.argv[0] == "mv")
    unpack = next(place for place, step in enumerate(steps) if isinstance(step, Run) and step.argv[0] == "tar")
    assert fetch < kinds.index(CheckDigest) < kinds.index(CheckTarball) < keep < kinds.index(AllocateFile) < unpack
    assert f"{STORE}/{SHA}.tar.xz" in steps[unpack].argv


def test_the_command_that_fetches():
    (run,) = [step for step in checks() if isinstance(step, Run) and "curl" in step.argv]
    assert run.contained and run.confinement.writable == ("/s/os/quarantine",) and run.timeout_seconds == 430
    assert run.argv == (
        "prlimit", "--fsize=536870912", "--", "curl", "--disable", "--globoff", "--fail", "--silent", "--show-error", "--proto", "=https", "--proto-redir", "=https",
        "--location", "--max-redirs", "5", "--connect-timeout", "30", "--max-time", "420", "--speed-limit", "1000", "--speed-time", "60",
        "--max-filesize", "536870912", "--output", "/s/os/quarantine/t0ken.tar.xz", "--url", "https://m.example/small.tar.xz?x=1")


@pytest.mark.parametrize(("url", "first", "then"), [
    ("http://m.example/a.tar", "=http", "=http,https"), ("file:///srv/a.tar", "=file", "=http,https"), ("https://m.example/a.tar", "=https", "=https")])
def test_no_scheme_but_the_described_one_and_never_a_file_by_redirection(url, first, then):
    (run,) = [step for step in checks(description=dataclasses.replace(SMALL, url=url)) if isinstance(step, Run) and "curl" in step.argv]
    words = list(run.argv)
    assert (words[words.index("--proto") + 1], words[words.index("--proto-redir") + 1]) == (first, then)


def test_what_is_fetched_is_a_new_file_that_goes_if_anything_fails():
    (made,) = [step for step in checks() if isinstance(step, WriteFile)]
    (undo,) = made.undo
    assert (made.path, made.mode, made.content) == ("/s/os/quarantine/t0ken.tar.xz", 0o600, "") and isinstance(undo, RemoveFile) and undo.path == made.path


def test_a_kept_one_is_verified_again_and_not_fetched():
    digest, judge = checks(f"{SHA}.tar.xz", f"{OTHER}.tar.xz")
    assert isinstance(digest, CheckDigest) and (digest.path, digest.sha256) == (f"{STORE}/{SHA}.tar.xz", SHA)
    assert isinstance(judge, CheckTarball) and judge.path == digest.path


def test_what_the_description_meant_before_goes_once_the_new_one_is_kept():
    *_, keep, drop = checks(f"{OTHER}.tar.xz")
    assert keep.argv == ("mv", "--force", "--no-target-directory", "--", "/s/os/quarantine/t0ken.tar.xz", f"{STORE}/{SHA}.tar.xz")
    assert isinstance(drop, RemoveFile) and drop.path == f"{STORE}/{OTHER}.tar.xz" and drop.may_fail


@pytest.mark.parametrize("lacking", ["curl", "prlimit", "mv", "tar", "xz", "unshare"])
def test_what_the_node_lacks(lacking):
    with pytest.raises(Failed, match=f"the node lacks {lacking}"):
        reinstall.plan(request(ostype="small"), SETTINGS, facts(commands=COMMANDS - {lacking}))


def test_its_tree_has_neither_devices_nor_setuid_for_the_node():
    assert ostypes.mount_options(facts()) == "nodev,nosuid"


@pytest.mark.parametrize(("output", "said"), [("curl: (22) The requested URL returned error: 404\n", "curl: (22) The requested URL returned error: 404"), ("what?\n", "")])
def test_curls_own_word(output, said):
    assert remotebundle._reason(output) == said
