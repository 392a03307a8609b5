"""Bundles: what is refused before anything is touched, and the steps between mounting the tree and unmounting it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import Member, NodeFact
from dtcxen_soap.install import bundle, golden
from dtcxen_soap.osfacts import BundleFact
from dtcxen_soap.plans import CheckTarball, Look, Run, ServicesOff, walk
from dtcxen_soap.settings import load
from tests.unit.install.guests import TREE, guest, tree, written

SETTINGS = load("install_timeout_minutes=7").settings
NODE = NodeFact("node.example", "id", "", "", commands=frozenset({"unshare", "tar", "sh", "gzip"}))
FULL = BundleFact("lenny", "/usr/share/dtc-xen-os/lenny", frozenset({"install_os", "custom_os", "setup_network", "last_stage_custom"}), ("lenny.tar.gz",))
ONLY_TARBALL = BundleFact("plain", "/usr/share/dtc-xen-os/plain", frozenset(), ("plain.tar.zst",))
POST = Run(why="Post.", argv=("/post",))


def changed(fact: BundleFact, **more) -> BundleFact:
    return dataclasses.replace(fact, **more)


@pytest.mark.parametrize("fact, text", [
    (changed(FULL, unsafe=("/b/lenny/install_os can be written by others than root",)), "others than root could have changed them: /b/lenny/install_os can be written"),
    (changed(FULL, scripts=frozenset({"custom_os"}), tarballs=()), "no install_os, and no tarballs where one would do"),
    (changed(ONLY_TARBALL, tarballs=("a.tar", "b.tar")), "no install_os, and 2 tarballs"),
    (changed(FULL, problems=("/b/manifest.json: boot_mode \"x\" is none of a, b",)), '/b/manifest.json: boot_mode "x" is none of'),
    (ONLY_TARBALL, "the node lacks zstd"),
    (changed(ONLY_TARBALL, tarballs=("a.tar.xz",)), "the node lacks xz"),
])
def test_what_is_refused_before_anything_is_touched(fact: BundleFact, text: str) -> None:
    with pytest.raises(Failed, match=text):
        bundle.refuse_unready(fact, NODE)


def test_what_is_ready() -> None:
    for fact in (FULL, changed(ONLY_TARBALL, tarballs=("a.tgz",)), changed(ONLY_TARBALL, tarballs=("a.tar",)), changed(FULL, tarballs=())):
        bundle.refuse_unready(fact, NODE)


def test_every_tarball_is_judged_and_only_a_lone_one_must_be_a_system() -> None:
    (check,) = bundle.checks(FULL)
    assert isinstance(check, CheckTarball) and check.path == "/usr/share/dtc-xen-os/lenny/lenny.tar.gz"
    assert "no directory etc/" in check.judge([Member("usr", "directory")]) and "has .." in check.judge([Member("../x", "file")])
    assert "more than 1 MiB" in bundle.checks(FULL, most_bytes=1 << 20)[0].judge([Member("x", "file", size=2 << 20)])
    two = bundle.checks(changed(FULL, tarballs=("a.tar", "b.tar")))
    assert [step.path[-5:] for step in two] == ["a.tar", "b.tar"] and two[1].judge([Member("usr", "directory")]) == "" and "has .." in two[1].judge([Member("../x", "file")])


def test_the_scripts_run_in_the_originals_order_with_our_finish_before_setup_network() -> None:
    steps = (*bundle.fill(FULL, guest(), SETTINGS), *bundle.steps(FULL, guest(), SETTINGS, postinstall=(POST,)))
    order = [step.argv[0].rpartition("/")[2] if isinstance(step, Run) else type(step).__name__ for step in walk(steps)]
    assert order == ["install_os", "ServicesOff", "custom_os", "Look", "setup_network", "post", "last_stage_custom"]
    assert isinstance(steps[1], ServicesOff) and steps[1].tree == TREE, "in the empty tree policy-rc.d would stand in the tarball's way"


def test_every_script_is_confined_contained_and_told_the_originals_flags() -> None:
    ran = [step for step in walk((*bundle.fill(FULL, guest(), SETTINGS), *bundle.steps(FULL, guest(), SETTINGS))) if isinstance(step, Run)]
    assert len(ran) == 4
    for step in ran:
        assert step.contained and not step.chroot and not step.may_fail and step.timeout_seconds == 420
        assert step.confinement is not None and step.confinement.writable == (TREE,)
        assert step.argv[1:5] == ("--disk-type", "vbd", "--xen-domu-hdd-dev-type", "xvd") and step.argv[9:11] == ("-path", TREE)
        assert step.env == (("OSDIR", FULL.path), ("DISTRO_FNAME", "lenny.tar.gz"))
    assert "geheim" not in repr(ran)


def test_the_originals_paths_are_there_also_on_a_self_contained_node() -> None:
    assert [over for _, over in bundle.overlays(SETTINGS)] == ["/usr/share/dtc-xen", "/usr/sbin"]
    moved = bundle.overlays(load("os_dir=/run/node/os\nconfig_dir=/run/node/etc").settings)
    assert moved[2:] == (("/run/node/os", "/usr/share/dtc-xen-os"), ("/run/node/etc", "/etc/dtc-xen"))
    for ours, over in moved[:2]:
        assert Path(ours).is_dir(), ours
        assert {"/usr/share/dtc-xen": "dtc-xen-parse-param", "/usr/sbin": "dtc-xen_domUconf_standard"}[over] in [path.name for path in Path(ours).iterdir()]


def test_a_lone_tarball_is_unpacked_confined_with_numeric_owners_and_capabilities() -> None:
    (unpack,), (off,) = bundle.fill(ONLY_TARBALL, guest(), SETTINGS), bundle.steps(ONLY_TARBALL, guest(), SETTINGS)
    assert isinstance(unpack, Run) and unpack.contained and unpack.confinement is not None and unpack.confinement.writable == (TREE,)
    assert unpack.argv[0] == "tar" and {"--numeric-owner", "--acls", "--xattrs", "--xattrs-include=security.capability"} <= set(unpack.argv)
    assert unpack.argv[-4:] == ("--directory", TREE, "--file", "/usr/share/dtc-xen-os/plain/plain.tar.zst")
    assert isinstance(off, ServicesOff) and [type(step) for step in off.steps] == [Look]


def test_without_setup_network_the_network_is_ours() -> None:
    debian = tree({}, "etc/network", "sbin/ifup")
    for fact, ours in ((FULL, False), (changed(FULL, scripts=FULL.scripts - {"setup_network"}), True)):
        (look,) = [step for step in walk(bundle.steps(fact, guest(), SETTINGS)) if isinstance(step, Look)]
        assert ("etc/network/interfaces" in written(look.decide(debian))) is ours


def test_only_what_is_the_same_for_every_vps_becomes_an_image() -> None:
    """A script may do something else for every VPS, unless the bundle's maker says that it only unpacks."""
    recipe = bundle.recipe(changed(ONLY_TARBALL, identity=("a",)), SETTINGS)
    assert recipe is not None and [type(step) for step in recipe.checks] == [CheckTarball] and recipe.fill("/m") == bundle.fill(ONLY_TARBALL, guest(tree="/m"), SETTINGS)
    assert bundle.recipe(FULL, SETTINGS) is None and bundle.recipe(changed(ONLY_TARBALL, tarballs=("a.tar", "b.tar")), SETTINGS) is None
    said = bundle.recipe(changed(FULL, unpacks=True), SETTINGS)
    assert said is not None and isinstance(said.fill("/m")[0], Run) and said.fill("/m")[0].argv[0] == "tar"
    other = bundle.recipe(changed(ONLY_TARBALL, identity=("b",)), SETTINGS)
    assert other is not None and golden.key(other, SETTINGS) != golden.key(recipe, SETTINGS)
