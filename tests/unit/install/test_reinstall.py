"""reinstallOS as one plan: golden plans to read aloud, and everything that speaks against an installation."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from dtcxen_soap import requests as req
from dtcxen_soap.errors import Busy, Failed, Missing, Refused
from dtcxen_soap.facts import AptSource, BundleFact, DiskFact, DomuFact, Facts, NodeFact, Room, TenancyFact
from dtcxen_soap.install import debootstrap, reinstall
from dtcxen_soap.plans import ExchangeFile, Mounted, RemoveFile, Run, WriteFile, render, walk
from dtcxen_soap.settings import load
from dtcxen_soap.vps import DiskRole, Mib

GIB = 1 << 30
CONFIG = "provisioning_mount_point=/m\nxen_config_dir=/x\nGATEWAY=192.0.2.1\nDNS=192.0.2.53\nvps_domain=example.net\nKERNEL_RELEASE=6.1.0\n"
SETTINGS = load(CONFIG).settings
NODE = NodeFact(
    "node", "id", "bookworm", "6.1.0", kernels=frozenset({"/boot/initrd.img-6.1.0", "/lib/modules/6.1.0"}),
    commands=frozenset({*debootstrap.COMMANDS, "mkfs.ext4", "mkswap", "mount", "umount", "tar"}), keyrings=frozenset({debootstrap.DEBIAN_KEYRING}),
    apt_sources=(AptSource("http://mirror.example/debian", "bookworm", ("main",), debootstrap.DEBIAN_KEYRING),))
ROOT, SWAP = DiskFact(DiskRole.ROOT, "/m/xen01.img", 2 * GIB, True), DiskFact(DiskRole.SWAP, "/m/xen01.swap.img", 256 << 20, True)
FIRST = Facts(now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), disks=(ROOT, SWAP), room=Room(100 * GIB), node=NODE)
AGAIN = dataclasses.replace(FIRST, disks=(dataclasses.replace(ROOT, blank=False), SWAP), domu=DomuFact(True))
TIGHT = dataclasses.replace(AGAIN, room=Room(GIB))
WORDS = {"vpsname": "01", "ostype": "debian", "ramsize": "128", "password": "hunter2", "nics": "192.0.2.10/24"}


def request(**changed):
    return req.parse(req.Reinstall, "reinstallVPSos", list((WORDS | changed).items()), SETTINGS, old=True, rpc=True)


@pytest.mark.parametrize(("name", "facts"), [("first", FIRST), ("again", AGAIN), ("in-place", TIGHT)])
def test_plans(golden, name, facts):
    text = "\n".join(render(reinstall.plan(request(), SETTINGS, facts))) + "\n"
    assert "hunter2" not in text
    golden(f"plans/reinstall-debian-{name}.txt", text)


def test_nothing_is_destroyed_before_the_new_system_is_complete():
    steps = list(walk(reinstall.plan(request(), SETTINGS, AGAIN).steps))
    destroying = [place for place, step in enumerate(steps) if step.destroys]
    assert destroying == [len(steps) - 1] and isinstance(steps[-1], RemoveFile) and steps[-1].may_fail


def test_what_is_swapped_in_can_be_swapped_back():
    for step in walk(reinstall.plan(request(), SETTINGS, AGAIN).steps):
        if isinstance(step, ExchangeFile):
            back = step.undo[0]
            assert isinstance(back, ExchangeFile) and (back.source, back.target) == (step.keep, step.target)


def test_in_place_says_what_it_destroys_after_the_checks():
    plan = reinstall.plan(request(), SETTINGS, TIGHT)
    assert "DESTROYED" in plan.notes[0]
    assert [step.destroys for step in walk(plan.steps) if step.destroys] == ["the system on /m/xen01.img"]
    with pytest.raises(Refused, match="reinstall_in_place=allow"):
        reinstall.plan(request(), load(CONFIG + "reinstall_in_place=refuse").settings, TIGHT)


def test_a_blank_disk_may_always_be_used_in_place():
    facts = dataclasses.replace(FIRST, room=Room(0))
    plan = reinstall.plan(request(), load(CONFIG + "reinstall_in_place=refuse").settings, facts)
    assert not [step for step in walk(plan.steps) if step.destroys]


@pytest.mark.parametrize(("facts", "error", "text"), [
    (dataclasses.replace(FIRST, disks=()), Missing, "no root disk: call setupVPSDisk first"),
    (dataclasses.replace(AGAIN, domu=DomuFact(True, "running")), Busy, "xen01 is running"),
    (dataclasses.replace(AGAIN, disks=(dataclasses.replace(ROOT, in_use="mounted on /mnt"), SWAP)), Busy, "mounted on /mnt"),
    (dataclasses.replace(AGAIN, tenancy=TenancyFact(1, "no room")), Refused, "blocked: no room, expected killVPSDisk first"),
    (dataclasses.replace(FIRST, node=dataclasses.replace(NODE, commands=frozenset())), Failed, "lacks"),
    (dataclasses.replace(FIRST, taken_macs={"00:16:3e:10:10:01": "xen07"}), Failed, "xen07")])
def test_what_speaks_against_it(facts, error, text):
    with pytest.raises(error, match=text):
        reinstall.plan(request(), SETTINGS, facts)


def test_an_unknown_os_is_refused_with_what_there_is():
    with pytest.raises(Refused, match="osType: 'windows' cannot be installed here, expected one of debian, lenny-64"):
        reinstall.plan(request(ostype="windows"), SETTINGS, dataclasses.replace(FIRST, bundles=("lenny-64",)))


def test_an_unsafe_bundle_is_refused():
    bundle = BundleFact("lenny", "/b/lenny", frozenset({"install_os"}), (), ("others may write /b/lenny/install_os",))
    with pytest.raises(Failed, match="others may write /b/lenny/install_os"):
        reinstall.plan(request(ostype="lenny"), SETTINGS, dataclasses.replace(FIRST, bundle=bundle))


def test_the_sign_up_forms_disk_must_be_the_disk():
    form = {name: value for name, value in WORDS.items() if name != "nics"} | {"ipaddr": "192.0.2.10/24", "hddsize": "4096"}
    made = req.parse(req.Reinstall, "reinstallVPSos", list(form.items()), SETTINGS, old=True, rpc=True)
    with pytest.raises(Refused, match="reinstallVPSos: hddsize: the root disk has 2048 MiB"):
        reinstall.plan(made, SETTINGS, FIRST)


@pytest.mark.parametrize(("filesystem", "program"), [("ext3", "mkfs.ext3"), ("xfs", "mkfs.xfs"), ("btrfs", "mkfs.btrfs")])
def test_file_systems(filesystem, program):
    facts = dataclasses.replace(FIRST, node=dataclasses.replace(NODE, commands=NODE.commands | {program}))
    steps = list(walk(reinstall.plan(request(), load(CONFIG + f"root_filesystem={filesystem}").settings, facts).steps))
    assert [step.fstype for step in steps if isinstance(step, Mounted)] == [filesystem]
    assert [step.argv[0] for step in steps if isinstance(step, Run)][0] == program


def test_the_configuration_and_its_own_postinstall_script():
    settings = load(CONFIG + "custom_postinstall_script=/usr/local/bin/post\nxen_bridge=xenbr0").settings
    steps = list(walk(reinstall.plan(request(), settings, FIRST).steps))
    (config,) = [step.content for step in steps if isinstance(step, WriteFile)]
    assert "memory = 128" in str(config) and "bridge=xenbr0" in str(config) and "/boot/initrd.img-6.1.0" in str(config)
    (flags,) = [step.argv for step in steps if isinstance(step, Run) and step.argv[0] == "/usr/local/bin/post"]
    assert "-path" in flags and flags[flags.index("-path") + 1] == "/m/01" and flags[flags.index("-vpsid") + 1] == "01"


def test_ram_is_what_was_asked_for():
    assert request(ramsize="512").ram == Mib(512)
