"""Debian installs: whose mirror, whose keyring, and what is refused before anything is touched."""

from __future__ import annotations

import dataclasses

import pytest

from dtcxen_soap.errors import Failed, Refused
from dtcxen_soap.facts import AptSource, NodeFact
from dtcxen_soap.install import debootstrap, guestkernel
from dtcxen_soap.install.debootstrap import DEBIAN_KEYRING
from dtcxen_soap.plans import Run
from dtcxen_soap.settings import load
from dtcxen_soap.vps import BootMode

NODE = NodeFact(
    "node.example", "id", "bookworm", "6.1.0-1-amd64", commands=frozenset(debootstrap.COMMANDS), keyrings=frozenset({DEBIAN_KEYRING}),
    apt_sources=(
        AptSource("http://mirror.example/debian", "bookworm", ("main",), DEBIAN_KEYRING), AptSource("http://mirror.example/debian", "bookworm-updates", ("main",)),
        AptSource("http://mirror.example/security", "bookworm-security", ("main",), DEBIAN_KEYRING), AptSource("http://other.example/tool", "stable", ("main",), ""),
        AptSource("http://other.example/tool", "bookworm", ("main",), "/usr/share/keyrings/tool.gpg")))
DEFAULTS = load("").settings


def uris(settings, node=NODE):
    return [f"{source.uri} {source.suite} {source.signed_by}" for source in debootstrap.sources(settings, node)]


def test_the_nodes_own_debian_sources_and_nobody_elses():
    assert uris(DEFAULTS) == [
        f"http://mirror.example/debian bookworm {DEBIAN_KEYRING}", f"http://mirror.example/debian bookworm-updates {DEBIAN_KEYRING}",
        f"http://mirror.example/security bookworm-security {DEBIAN_KEYRING}"]


def test_another_release_from_the_same_mirrors():
    assert uris(load("debian_release=trixie").settings)[2] == f"http://mirror.example/security trixie-security {DEBIAN_KEYRING}"


def test_the_configured_mirror_alone():
    made = load("debian_repo=http://repo.example/d\ndebian_release=trixie\ndebian_components='main contrib'\ndebian_keyring=/k.gpg").settings
    (source,) = debootstrap.sources(made, NODE)
    assert str(source) == "deb [signed-by=/k.gpg] http://repo.example/d trixie main contrib"


def test_the_command():
    (step,) = debootstrap.steps("/m/01", load("debian_added_debs='vim,less'").settings, NODE)
    assert isinstance(step, Run) and step.contained
    assert step.argv[:6] == ("mmdebstrap", "--mode=root", "--format=directory", "--variant=important", f"--keyring={DEBIAN_KEYRING}", "--include=vim,less")
    assert step.argv[6:8] == ("bookworm", "/m/01") and len(step.argv) == 11


@pytest.mark.parametrize("boot", [mode for mode in BootMode if mode is not BootMode.DIRECT])
def test_a_kernel_only_where_the_vps_boots_its_own(boot):
    made = {asked: debootstrap.steps("/m/01", load(f"debian_added_debs='{asked}'").settings, NODE, boot)[0].argv for asked in ("vim", "")}
    own = "linux-image-amd64,grub2-common"
    if boot in guestkernel.MODES:
        assert f"--include=vim,{own}" in made["vim"] and f"--include={own}" in made[""]
    else:
        assert "--include=vim" in made["vim"] and not [word for word in made[""] if "include" in word]


def test_what_the_node_lacks_is_told_before_anything_is_touched():
    with pytest.raises(Failed, match="the node lacks mmdebstrap"):
        debootstrap.refuse_unready(DEFAULTS, dataclasses.replace(NODE, commands=frozenset({"unshare", "chroot"})))
    with pytest.raises(Failed, match="keyring /k.gpg is not there"):
        debootstrap.refuse_unready(load("debian_keyring=/k.gpg\ndebian_repo=http://r.example/").settings, NODE)
    with pytest.raises(Failed, match="set debian_repo"):
        debootstrap.refuse_unready(DEFAULTS, dataclasses.replace(NODE, apt_sources=()))
    with pytest.raises(Refused, match="debian_release"):
        debootstrap.refuse_unready(DEFAULTS, dataclasses.replace(NODE, release=""))
