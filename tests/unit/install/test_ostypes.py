"""The one door to OS types: which there are, what speaks against each, and what each puts between mounting and unmounting."""

from __future__ import annotations

import dataclasses

import pytest

from dtcxen_soap.errors import Failed, Refused
from dtcxen_soap.install import debootstrap, dnf, ostypes, reinstall
from dtcxen_soap.osfacts import BundleFact, OsTypeFact, RpmDescription, RpmRepository, SuiteDescription
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import Look, Run, walk
from dtcxen_soap.settings import load
from dtcxen_soap.vps import BootMode
from tests.unit.install.guests import guest
from tests.unit.install.test_reinstall import CONFIG, FIRST, NODE, request

SETTINGS = load(CONFIG + "debian_added_debs=vim\ncustom_postinstall_script=/post").settings
SUITE = SuiteDescription(
    name="noble", label="Ubuntu 24.04", boot_mode=BootMode.DIRECT, release="noble", mirror="http://m.example/ubuntu", components=("main", "universe"),
    keyring="/k/ubuntu.gpg", more_suites=("noble-updates",), packages=("openssh-server",), kernel_packages=("linux-image-virtual",))
CENTOS = RpmDescription(
    name="centos", releasever="9", packages=("bash",), repositories=(RpmRepository(name="base", gpgkey=("/k/centos",), baseurl=("http://m.example/9/",)),))
READY = dataclasses.replace(NODE, commands=NODE.commands | {*dnf.COMMANDS, "curl", "prlimit", "mv", "gzip", "xz"})


def fact(description, **more) -> OsTypeFact:
    return OsTypeFact(**{"name": description.name, "path": f"/etc/dtc-xen/os.d/{description.name}.toml", "description": description, "digest": "d"} | more)


def facts(description, node=READY, **more):
    return dataclasses.replace(FIRST, node=node, os_type=fact(description, **more), bundles=("lenny",), os_types=("centos", "noble"))


@pytest.mark.parametrize("description", [SUITE, CENTOS], ids=lambda each: each.name)
def test_plans(golden, description):
    text = "\n".join(render(reinstall.plan(request(ostype=description.name), SETTINGS, facts(description)))) + "\n"
    golden(f"plans/reinstall-{description.name}.txt", text)


def test_a_suite_comes_from_its_mirror_by_its_keyring_with_its_packages():
    (step,) = debootstrap.described_steps("/m/01", SUITE, SETTINGS)
    assert isinstance(step, Run) and step.contained
    assert step.argv == (
        "mmdebstrap", "--mode=root", "--format=directory", "--variant=important", "--keyring=/k/ubuntu.gpg", "--include=openssh-server", "noble", "/m/01",
        "deb [signed-by=/k/ubuntu.gpg] http://m.example/ubuntu noble main universe", "deb [signed-by=/k/ubuntu.gpg] http://m.example/ubuntu noble-updates main universe")
    (own,) = debootstrap.described_steps("/m/01", SUITE, SETTINGS, BootMode.PVH_GRUB)
    assert "--include=openssh-server,linux-image-virtual" in own.argv


@pytest.mark.parametrize("description", [SUITE, CENTOS], ids=lambda each: each.name)
def test_what_fills_the_tree_knows_nothing_of_the_vps(description):
    """So that it may be done once for many: names, addresses and the password come by the Look behind it."""
    fill, (look, post) = ostypes.fill(guest(), SETTINGS, facts(description)), ostypes.finish(guest(), SETTINGS, facts(description))
    assert isinstance(look, Look) and isinstance(post, Run) and post.argv[0] == "/post"
    said = repr(list(walk(fill)))
    assert not [word for word in ("mail", "example.org", "192.0.2", "geheim", "00:16:3e", "xen01") if word in said]


@pytest.mark.parametrize(("described", "node", "text"), [
    (dataclasses.replace(facts(SUITE), os_type=OsTypeFact(name="noble", path="/f", description=None, problems=("/f: release: it is missing",))), READY,
     "Install noble: /f: release: it is missing"),
    (facts(SUITE, lacking=("/f: the key file /k: No such file",)), READY, "the key file /k: No such file"),
    (facts(SUITE), dataclasses.replace(READY, commands=READY.commands - {"mmdebstrap"}), "Install noble: the node lacks mmdebstrap"),
    (facts(CENTOS), dataclasses.replace(READY, commands=READY.commands - {"dnf-3"}), "Install centos: the node lacks dnf-3"),
    (dataclasses.replace(facts(SUITE), bundle=BundleFact("noble", "/os/noble", frozenset(), ("a.tar",))), READY,
     "/os/noble and /etc/dtc-xen/os.d/noble.toml are both called noble"),
])
def test_what_speaks_against_a_described_one(described, node, text):
    with pytest.raises(Failed) as caught:
        reinstall.plan(request(ostype="noble"), SETTINGS, dataclasses.replace(described, node=node))
    assert text in str(caught.value)


def test_what_is_not_there_names_what_is():
    with pytest.raises(Refused, match="'lenni' cannot be installed here, expected one of debian, manual, netbsd, xenhvm, lenny, centos, noble"):
        ostypes.refuse_unready("lenni", SETTINGS, dataclasses.replace(facts(SUITE), os_type=None))


def test_its_boot_mode_counts_where_the_caller_names_none():
    assert ostypes.boot_mode(facts(SUITE)) is BootMode.DIRECT and ostypes.boot_mode(facts(CENTOS)) is None
    with pytest.raises(Refused, match="pvh-grub, which its OS type wants: this node cannot"):
        reinstall.plan(request(ostype="noble"), SETTINGS, facts(dataclasses.replace(SUITE, boot_mode=BootMode.PVH_GRUB)))
