"""migrateVPS: what speaks against it here, and the plan that can be read aloud; on the other node, all that speaks against it there."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest

from dtcxen_soap import arrival, migration
from dtcxen_soap.accountfacts import AccountFact, AccountsFact
from dtcxen_soap.errors import Busy, DtcxenError, Failed, Missing, Refused
from dtcxen_soap.facts import DiskFact, DomuFact, Facts, Leftover, LvmFact, MemoryFact, NodeFact, Room, TenancyFact, VolumeGroup
from dtcxen_soap.movefacts import ArrivalFact, MoveFact
from dtcxen_soap.movesteps import GiveUp, KeepAtPeer, StartAtPeer, TakeBack
from dtcxen_soap.movewords import DiskOffer, Offer
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import MakeVolume, Plan, RemoveFile, RenameVolume, Step
from dtcxen_soap.requests import Migrate, parse
from dtcxen_soap.settings import load
from dtcxen_soap.undorecords import undo_from_record, undo_to_record
from dtcxen_soap.vps import BootMode, DiskRole, ImageType, MacAddress, Mib, Secret, VpsId

VPS = VpsId(1)
SETTINGS = load("xen_config_dir=/x\nprovisioning_mount_point=/m\nstate_dir=/s\nprovisioning_volgroup=vg0").settings
CONFIG = """\
name = "xen01"
type = "pvh"
kernel = "/usr/lib/grub-xen/grub-i386-xen_pvh.bin"
memory = 256
vif = [ "mac=00:16:3e:10:10:01,ip=192.0.2.10,bridge=xenbr0" ]
disk = [ "format=raw,vdev=xvda,access=w,target=/dev/vg0/xen01", "format=raw,vdev=xvdb,access=w,target=/dev/vg0/xen01swap" ]
"""
DOWN = DomuFact(True, toolstack=True, paths=("/dev/vg0/xen01", "/dev/vg0/xen01swap"), config_memory=Mib(256), boot=BootMode.PVH_GRUB)
RUNNING = dataclasses.replace(DOWN, state="blocked", domid=3)
DISKS = (DiskFact(DiskRole.ROOT, "/dev/vg0/xen01", 3 << 30, blank=False, image_type=ImageType.LVM, in_use="open, as the disk of a running domU is"),
         DiskFact(DiskRole.SWAP, "/dev/vg0/xen01swap", 64 << 20, blank=False, image_type=ImageType.LVM))
MOVE = MoveFact("ab" * 16, CONFIG, True, ("ssh-ed25519 AAAA",), Secret("$6$console"), Secret("$2b$soap"), "node:/s")
LVM = LvmFact((VolumeGroup("vg0", 100 << 30, 4 << 20),))
NODE = Facts(datetime(2026, 11, 23, 5, tzinfo=UTC), disks=DISKS, domu=RUNNING, tenancy=TenancyFact(1), lvm=LVM, move=MOVE)


def asked(**more: str) -> Migrate:
    order = ("vps", "toHost", "toVps", "copyFirst", "stopSeconds", "force", "settle")
    given = {"vps": "01", "toHost": "Node2.example.org:2222", **more}
    return parse(Migrate, "migrateVPS", [(name, given[name]) for name in order if name in given], SETTINGS, old=False, rpc=False)


def down(**changed: Any) -> Facts:
    free = tuple(dataclasses.replace(disk, in_use="") for disk in DISKS)
    return dataclasses.replace(NODE, **{"domu": DOWN, "disks": free, **changed})


@pytest.mark.parametrize(("name", "facts", "more"), [
    ("running", NODE, {"copyFirst": "true"}), ("down", down(), {"toVps": "07"}), ("forced", NODE, {"force": "true", "stopSeconds": "30"})])
def test_plans(name: str, facts: Facts, more: dict[str, str], golden: Any) -> None:
    plan = migration.plan(asked(**more), SETTINGS, facts)
    assert isinstance(plan, Plan)
    text = "\n".join(render(plan)) + "\n"
    assert "$6$" not in text and "$2b$" not in text and "kernel =" not in text
    golden(f"plans/migrate-{name}.txt", text)
    for step in plan.steps:
        for back in step.undo:
            again = json.loads(json.dumps(undo_to_record(back)))
            assert undo_from_record(again) == back, "it must survive a crash in the journal"
            assert "$" not in json.dumps(again)


def test_nothing_here_starts_it_before_the_other_does_and_it_is_given_up_before() -> None:
    steps = migration.plan(asked(), SETTINGS, NODE).steps  # type: ignore[union-attr]
    kinds = [type(step) for step in steps]
    assert kinds.index(GiveUp) < kinds.index(StartAtPeer) < kinds.index(KeepAtPeer)
    assert all(step.may_fail for step in steps[kinds.index(KeepAtPeer) + 1:]) and not any(step.may_fail for step in steps[:kinds.index(KeepAtPeer) + 1])
    given = steps[kinds.index(GiveUp)]
    assert isinstance(given, GiveUp) and {source for source, _ in given.moves} == {"/x/xen01", "/dev/vg0/xen01", "/dev/vg0/xen01swap"}


@pytest.mark.parametrize(("facts", "kind", "problem"), [
    (down(domu=DomuFact(False, toolstack=True)), Missing, "no configuration"),
    (down(disks=()), Missing, "no root disk"),
    (down(disks=DISKS), Busy, "in use"),
    (down(tenancy=TenancyFact(1, "because")), Refused, "blocked: because"),
    (down(disks=(dataclasses.replace(DISKS[0], unzeroed=True),)), Refused, "earlier owner"),
    (down(move=dataclasses.replace(MOVE, lacking=("migrate_key: no such file",))), Failed, "migrate_key"),
    (down(move=dataclasses.replace(MOVE, config=CONFIG + 'x = "é"\n')), Failed, "plain ASCII"),
    (down(move=dataclasses.replace(MOVE, config=CONFIG.replace("xen01swap", "other"))), Refused, "/dev/vg0/other, which does not move with it"),
    (down(move=dataclasses.replace(MOVE, config=CONFIG.replace(', "format=raw,vdev=xvdb,access=w,target=/dev/vg0/xen01swap"', ""))), Refused, "does not name its disk"),
    (dataclasses.replace(NODE, domu=dataclasses.replace(RUNNING, rescue=True)), Failed, "rescue"),
    (dataclasses.replace(NODE, domu=dataclasses.replace(RUNNING, state="crashed")), Failed, "crashed"),
    (down(domu=dataclasses.replace(DOWN, trouble="xl is gone")), Failed, "xl is gone"),
    (down(lvm=LvmFact(trouble="lvs died")), Failed, "lvs died")])
def test_what_speaks_against_it_here(facts: Facts, kind: type[DtcxenError], problem: str) -> None:
    with pytest.raises(kind, match=problem):
        migration.plan(asked(), SETTINGS, facts)


@pytest.mark.parametrize(("host", "words"), [
    ("node2", ("22", "node2")), ("192.0.2.1:2222", ("2222", "192.0.2.1")), ("[2001:db8::1]", ("22", "2001:db8::1")), ("[2001:db8::1]:99", ("99", "2001:db8::1"))])
def test_the_command_that_reaches_the_other(host: str, words: tuple[str, str]) -> None:
    command = migration.peer(host, SETTINGS)
    assert command[-6:] == ("-l", "root", "--", words[1], "dtcxen", "receive-vps") and command[command.index("-p") + 1] == words[0]
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes"} <= set(command)


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "a b", "a;b", "root@node", "node:0", "node:99999", "node:", "[x]", "a/b", "a\nb", "x" * 256])
def test_a_host_that_is_none(host: str) -> None:
    with pytest.raises(Refused, match="toHost"):
        asked(toHost=host)


def test_a_move_without_a_known_end_is_settled_by_its_note_alone() -> None:
    (given,) = (step for step in migration.plan(asked(), SETTINGS, NODE).steps if isinstance(step, GiveUp))  # type: ignore[union-attr]
    left = down(disks=(), domu=DomuFact(False, toolstack=True), move=dataclasses.replace(MOVE, unsettled=given.text), tenancy=TenancyFact(1, given.reason))
    with pytest.raises(Refused, match="no known end"):
        migration.plan(asked(), SETTINGS, left)
    with pytest.raises(Refused, match="was moving to node2"):
        migration.plan(asked(settle="true", toHost="other"), SETTINGS, left)
    plan = migration.plan(asked(settle="true"), SETTINGS, left)
    assert isinstance(plan, Plan)
    (back,) = given.undo
    assert [dataclasses.replace(step, weight=1) for step in plan.steps] == [back] and isinstance(back, TakeBack)
    with pytest.raises(Missing, match="no move whose end"):
        migration.plan(asked(settle="true"), SETTINGS, NODE)
    for damaged in ("x", "[]", "{}", "1"):
        with pytest.raises(Failed, match="damaged"):
            migration.plan(asked(settle="true"), SETTINGS, down(move=dataclasses.replace(MOVE, unsettled=damaged)))


# -- the other node ---------------------------------------------------------------------------------

OFFER = Offer("ab" * 16, VpsId(7), VPS, "node:/s", ImageType.LVM, (DiskOffer(DiskRole.ROOT, 3 << 30), DiskOffer(DiskRole.SWAP, 64 << 20)), CONFIG, True, True)
GRUB = "/usr/lib/grub-xen/grub-i386-xen_pvh.bin"
FREE = Facts(
    datetime(2026, 11, 23, 5, tzinfo=UTC), domu=DomuFact(False, toolstack=True), tenancy=TenancyFact(1), lvm=LVM, memory=MemoryFact(Mib(4096), Mib(8192)), room=Room(1 << 40),
    node=NodeFact("n", "i", "bookworm", "6.1", loaders=frozenset((GRUB,)), hvm=True), arrival=ArrivalFact(frozenset(("xenbr0",))))


def against(facts: Facts = FREE, offer: Offer = OFFER, *, begun: bool = False, settings: Any = SETTINGS) -> str:
    return "; ".join(arrival.judge(offer, settings, facts, begun=begun)[1])


def free(**changed: Any) -> Facts:
    return dataclasses.replace(FREE, **changed)


def test_a_node_that_can_take_it() -> None:
    taken, problems = arrival.judge(OFFER, SETTINGS, FREE, begun=False)
    assert problems == () and taken.paths == {DiskRole.ROOT: "/dev/vg0/xen07", DiskRole.SWAP: "/dev/vg0/xen07swap"}
    assert 'name = "xen07"' in taken.config and "target=/dev/vg0/xen07swap" in taken.config and "xen01" not in taken.config
    steps = arrival.make_steps(OFFER, SETTINGS, FREE)
    assert [type(step) for step in steps] == [MakeVolume, MakeVolume]


@pytest.mark.parametrize(("facts", "problem"), [
    (free(disks=DISKS), "has a disk here: /dev/vg0/xen01"), (free(leftovers=(Leftover("/m/xen07.img.new"),)), "has a disk here"),
    (free(domu=DomuFact(True, toolstack=True)), "has a configuration here"), (free(domu=DomuFact(False, "blocked", toolstack=True)), "runs here"),
    (free(domu=DomuFact(False, toolstack=True, trouble="xl died")), "xl died"), (free(domu=DomuFact(False)), "runs no domUs"), (free(busy="mkos"), "a job holds"),
    (free(tenancy=TenancyFact(1, "why")), "blocked here: why"), (free(accounts=AccountsFact({"xen07": AccountFact("xen07", 5, "g", "/h", "/s")})), "has a user xen07"),
    (free(accounts=AccountsFact(soap_password=True)), "SOAP password"), (free(lvm=LvmFact((VolumeGroup("vg0", 1 << 30, 4 << 20),))), "more than volume group vg0"),
    (free(lvm=LvmFact()), "no volume group"), (free(memory=MemoryFact(Mib(100), Mib(200))), "not enough memory"), (free(arrival=ArrivalFact()), "no bridge 'xenbr0'"),
    (free(node=NodeFact("n", "i", "b", "6")), "is no boot file of this node"), (free(arrival=dataclasses.replace(
        FREE.arrival, addresses={ip_address("192.0.2.10"): "xen09"})), "192.0.2.10 is xen09's"),
    (free(taken_macs={MacAddress("00:16:3e:10:10:01"): "xen08"}), "is xen08's")])
def test_what_speaks_against_it_there(facts: Facts, problem: str) -> None:
    assert problem in against(facts)


def test_all_that_speaks_against_it_is_told_at_once() -> None:
    assert len(arrival.judge(OFFER, SETTINGS, free(busy="x", arrival=ArrivalFact(), memory=MemoryFact(Mib(1), Mib(2))), begun=False)[1]) == 3


def test_a_copy_that_was_begun_is_gone_on_with() -> None:
    assert against(free(disks=DISKS, tenancy=TenancyFact(1, "arriving")), begun=True) == ""


def test_limits_of_the_node() -> None:
    small = load("max_vps_id=5\nvps_disk_max_mib=100\nprovisioning_volgroup=vg0").settings
    assert "beyond this node's max_vps_id" in against(settings=small) and "larger than this node allows" in against(settings=small)


def test_its_bridge_becomes_the_nodes() -> None:
    settings = load("xen_bridge=br-lan\nprovisioning_volgroup=vg0").settings
    taken, problems = arrival.judge(OFFER, settings, free(arrival=ArrivalFact(frozenset(("br-lan",)))), begun=False)
    assert not problems and "bridge=br-lan" in taken.config


@pytest.mark.parametrize("line", ['disk = [ "phy:/dev/vg0/xen01,xvda,w", "phy:/dev/sda,xvdc,w" ]', 'device_model_override = "/tmp/x"'])
def test_a_hostile_configuration(line: str) -> None:
    assert "its configuration" in against(offer=dataclasses.replace(OFFER, config=CONFIG.replace("disk = ", "#") + line + "\n"))


def test_letting_go_names_nothing_but_its_own() -> None:
    root, other = dataclasses.replace(DISKS[0], path="/dev/vg0/xen07"), dataclasses.replace(DISKS[1], path="/dev/vg0/other")
    disks = (root, DiskFact(DiskRole.SWAP, "/m/xen07.swap.img", 5, blank=False), other)
    paths = {DiskRole.ROOT: "/dev/vg0/xen07", DiskRole.SWAP: "/m/xen07.swap.img"}
    steps: tuple[Step, ...] = arrival.drop_steps(VpsId(7), paths, SETTINGS, free(disks=disks), started=True, owned=True)
    with pytest.raises(Failed, match="lvs died"):
        arrival.drop_steps(VpsId(7), paths, SETTINGS, free(lvm=LvmFact(trouble="lvs died")), started=True, owned=True)
    assert type(steps[0]).__name__ == "EndDomu"
    assert {step.path for step in steps if isinstance(step, RemoveFile)} == {"/x/xen07.arriving", "/m/xen07.swap.img"}
    assert [step.source for step in steps if isinstance(step, RenameVolume)] == ["xen07"], "doomed: the housekeeping overwrites it"
