"""What a tree gets so that its system runs things once: golden for systemd, for runlevels of three families, and for both at once."""

from __future__ import annotations

import pytest

from dtcxen_soap import firstboot as runner
from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import TreeFact
from dtcxen_soap.firstbootfacts import FirstbootFact, Snippet
from dtcxen_soap.install import adminfiles, clouddata, finish, firstboot
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import TreeDirectory, TreeSymlink, TreeWrite
from dtcxen_soap.vps import Secret
from tests.unit.install.guests import guest, told, tree

SNIPPETS = (Snippet("1-cfengine", Secret("#!/bin/sh\necho $TOKEN-geheim\n")), Snippet("3-owner", Secret("#!/bin/sh\n")))
SYSTEMD = tree({}, "usr/lib/systemd/systemd", "etc/init.d", "etc/rc2.d", "etc/rc3.d", "etc/rc4.d", "etc/rc5.d")
DEBIAN = tree({}, "etc/init.d", "etc/inittab", "etc/rc2.d", "etc/rc3.d", "etc/rc4.d", "etc/rc5.d")
RED_HAT = tree({}, "etc/init.d", "etc/rc.d/init.d", "etc/inittab", *(f"etc/{top}rc{level}.d" for top in ("", "rc.d/") for level in "2345"))
SUSE = tree({}, "etc/init.d", "etc/inittab", *(f"etc/{top}/rc{level}.d" for top in ("rc.d", "init.d") for level in "235"))
BOTH = tree({}, *DEBIAN.paths, "lib/systemd/systemd")
TREES = {"systemd": SYSTEMD, "debian": DEBIAN, "red-hat": RED_HAT, "both": BOTH}


def asked() -> Guest:
    return guest(snippets=SNIPPETS, snippet_seconds=600)


@pytest.mark.parametrize("name", TREES)
def test_what_each_init_gets(name: str, golden) -> None:
    text = told(firstboot.steps(asked(), TREES[name]))
    assert "geheim" not in text
    golden(f"firstboot/{name}.txt", text)


def test_the_links_of_a_suse_are_where_its_runlevels_are() -> None:
    links = {step.path: step.target for step in firstboot.steps(asked(), SUSE) if isinstance(step, TreeSymlink)}
    assert set(links) == {f"etc/rc.d/rc{level}.d/S99dtcxen-firstboot" for level in "235"} and set(links.values()) == {"/etc/init.d/dtcxen-firstboot"}


def test_what_may_hold_secrets_is_roots_alone() -> None:
    steps = firstboot.steps(asked(), SYSTEMD)
    assert {step.path: step.mode for step in steps if isinstance(step, TreeDirectory)} == dict.fromkeys(
        ("var/lib/dtcxen-firstboot", "var/lib/dtcxen-firstboot/waiting", "var/lib/dtcxen-firstboot/started"), 0o700)
    files = {step.path: step for step in steps if isinstance(step, TreeWrite)}
    assert all(step.mode == 0o700 for path, step in files.items() if path.startswith("var/lib/"))
    assert files["var/lib/dtcxen-firstboot/waiting/1-cfengine"].content == SNIPPETS[0].content


def test_without_snippets_nothing_is_added_and_an_images_own_goes() -> None:
    assert firstboot.steps(guest(), SYSTEMD) == ()
    image = tree({}, *SYSTEMD.paths, "var/lib/dtcxen-firstboot/run", "var/lib/dtcxen-firstboot/waiting/1-others")
    assert [line for line in told(firstboot.steps(guest(), image)).splitlines() if line.startswith("remove")] == [
        "remove var/lib/dtcxen-firstboot/run", "remove var/lib/dtcxen-firstboot/waiting/1-others"]


@pytest.mark.parametrize("there", [tree({}, "etc/inittab"), tree({}, "etc/init.d"), tree({}, "etc/rc3.d"), tree({}, "etc/runlevels/default")])
def test_a_system_that_cannot_be_told_is_refused(there: TreeFact) -> None:
    with pytest.raises(Failed, match="neither systemd nor runlevels"):
        firstboot.steps(asked(), there)


def test_finishing_sees_to_it() -> None:
    assert {"var/lib/dtcxen-firstboot/waiting/*", "etc/rc.d/rc3.d", "usr/lib/systemd/systemd"} <= set(finish.LOOK_PATHS)


def test_what_the_runner_is_told_cannot_break_out_of_its_quotes() -> None:
    text = runner.runner(5, (("DTCXEN_HOSTNAME", "a'; rm -rf / #"),))
    assert "DTCXEN_HOSTNAME='a'\"'\"'; rm -rf / #'\n" in text
    with pytest.raises(ValueError, match="no name of ours"):
        runner.runner(5, (("A;B", "x"),))


@pytest.mark.parametrize(("found", "problem"), [
    (FirstbootFact(unsafe=("/c/firstboot.d/a", "/c/firstboot.d")), "others than root could have changed them: /c/firstboot.d/a; /c/firstboot.d"),
    (FirstbootFact(problems=("/c/firstboot.d/b has more than 256 KiB",)), "/c/firstboot.d/b has more")])
def test_snippets_that_cannot_be_used_are_named(found: FirstbootFact, problem: str) -> None:
    with pytest.raises(Failed, match=problem):
        runner.refuse_unready("reinstallOS", found)
    runner.refuse_unready("reinstallOS", FirstbootFact(SNIPPETS))


# -- the owner's #cloud-config --------------------------------------------------------------------

CLOUD = Secret("#cloud-config\npackages: [geheim]\n")


def test_cloud_init_finds_a_seed_in_the_tree(golden) -> None:
    there = tree({}, *SYSTEMD.paths, "usr/bin/cloud-init")
    steps = clouddata.steps(guest(cloud_config=CLOUD, instance="xen01-3-20260102T030405Z"), there)
    assert "geheim" not in told(steps) and [step.content for step in steps if isinstance(step, TreeWrite) and step.path.endswith("user-data")] == [CLOUD]
    golden("firstboot/cloud-init.txt", told(steps))
    assert clouddata.steps(guest(), there) == ()


@pytest.mark.parametrize(("paths", "problem"), [((), "has no cloud-init"), (("usr/bin/cloud-init", "etc/cloud/cloud-init.disabled"), "switched off")])
def test_what_nothing_would_read_fails_while_the_old_system_stands(paths: tuple[str, ...], problem: str) -> None:
    with pytest.raises(Failed, match=problem):
        clouddata.steps(guest(cloud_config=CLOUD), tree({}, *paths))


def test_the_owners_keys_join_the_admins() -> None:
    old = tree({"root/.ssh/authorized_keys": "ssh-rsa OLD a@b\nssh-ed25519 MINE me\n"}, "root/.ssh")
    steps = adminfiles.steps(guest(authorized_keys="ssh-ed25519 ADMIN admin\n", owner_keys=("ssh-ed25519 MINE me", "ssh-rsa MORE me")), old)
    files = {step.path: step for step in steps if isinstance(step, TreeWrite)}
    assert str(files["root/.ssh/authorized_keys"].content).splitlines() == ["ssh-rsa OLD a@b", "ssh-ed25519 MINE me", "ssh-ed25519 ADMIN admin", "ssh-rsa MORE me"]
    assert files["root/.ssh/authorized_keys"].mode == 0o600 and "the node's admin and the owner" in files["root/.ssh/authorized_keys"].why
    alone = adminfiles.steps(guest(owner_keys=("ssh-rsa MORE me",)), tree({}))
    assert [step.path for step in alone] == ["root/.ssh", "root/.ssh/authorized_keys", "root/.ssh/authorized_keys2"] and "Let the owner" in alone[1].why
