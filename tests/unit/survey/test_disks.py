"""Disks as surveyed: whose they are by name, never used or not, held or not, and what room is left."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dtcxen_soap.facts import DiskFact, Facts, KeptDisk, Leftover, Room
from dtcxen_soap.settings import load
from dtcxen_soap.stores import image_files
from dtcxen_soap.survey import disks as survey
from dtcxen_soap.vps import DiskRole, VpsId
from tests.fakes import ScriptedDom0

GIB = 1 << 30
SETTINGS = load("provisioning_mount_point=/m").settings
VPS = VpsId(1)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def kept_name(vps: VpsId, role: DiskRole, tenancy: int) -> str:
    """The name that planners set a disk aside under, without its directory's."""
    store = image_files(SETTINGS, Facts())
    return store.kept(store.path(vps, role), tenancy, NOW).removeprefix("/m/")


@pytest.fixture
def dom0() -> ScriptedDom0:
    return ScriptedDom0()


def allocate(dom0: ScriptedDom0, name: str, size: int = GIB, blocks: int | None = None) -> None:
    """An image file; `blocks` of 512 bytes are on the disk, all of them unless told."""
    dom0.allocate_file(f"/m/{name}", size, sparse=blocks is not None)
    if blocks is not None:
        dom0.blocks[f"/m/{name}"] = blocks


def test_a_vps_without_disks(dom0: ScriptedDom0) -> None:
    allocate(dom0, "xen02.img")
    allocate(dom0, "xen010.img")
    assert survey.disks(dom0, SETTINGS, VPS) == ()


def test_a_used_root_disk_and_a_blank_swap_disk(dom0: ScriptedDom0) -> None:
    allocate(dom0, "xen01.img", 2 * GIB)
    allocate(dom0, "xen01.swap.img")
    dom0.written.add("/m/xen01.img")
    assert survey.disks(dom0, SETTINGS, VPS) == (
        DiskFact(DiskRole.ROOT, "/m/xen01.img", 2 * GIB, False), DiskFact(DiskRole.SWAP, "/m/xen01.swap.img", GIB, True))


def test_a_disk_behind_loop_devices_is_in_use(dom0: ScriptedDom0) -> None:
    allocate(dom0, "xen01.img")
    dom0.loops.update({"/dev/loop3": "/m/xen01.img", "/dev/loop1": "/m/xen01.img", "/dev/loop2": "/m/xen02.img"})
    assert survey.disks(dom0, SETTINGS, VPS)[0].in_use == "attached to /dev/loop1, /dev/loop3"


def test_what_is_no_file_counts_as_a_used_disk(dom0: ScriptedDom0) -> None:
    """An admin's link to a volume, a link that leads nowhere, a directory: nothing of it is made anew or lost."""
    dom0.memory.links["/m/xen01.img"] = "/m/elsewhere.img"
    dom0.memory.links["/m/xen01.swap.img"] = "/nowhere"
    allocate(dom0, "elsewhere.img")
    assert survey.disks(dom0, SETTINGS, VPS) == (
        DiskFact(DiskRole.ROOT, "/m/xen01.img", GIB, False), DiskFact(DiskRole.SWAP, "/m/xen01.swap.img", 0, False))
    dom0.memory.links.clear()
    dom0.make_directory("/m/xen01.img")
    assert [disk.blank for disk in survey.disks(dom0, SETTINGS, VPS)] == [False]


def test_kept_disks_belong_to_a_tenancy(dom0: ScriptedDom0) -> None:
    mine = kept_name(VPS, DiskRole.ROOT, 2)
    for name in (mine, mine.replace(".img", ".swap.img"), mine.replace(".2.", ".3."), mine.replace("xen01", "xen10"), mine.replace("xen01", "xen010")):
        allocate(dom0, name)
    found = survey.kept(dom0, SETTINGS, VPS, 2)
    assert found == (KeptDisk(f"/m/{mine}", GIB, NOW), KeptDisk(f"/m/{mine.replace('.img', '.swap.img')}", GIB, NOW, DiskRole.SWAP))
    assert survey.kept(dom0, SETTINGS, VPS, 1) == ()


def test_every_kept_disk_of_the_node(dom0: ScriptedDom0) -> None:
    for number in (1, 7, 1234):
        allocate(dom0, kept_name(VpsId(number), DiskRole.ROOT, number))
    for name in ("notes", "xen01.img", "xen01.img.1", "xen01.img.1.20269999T999999Z", "xen00.img.1.20260102T030405Z", "xen01.img.1.20260102T030405Z.bak"):
        allocate(dom0, f"kept/{name}")
    dom0.memory.links["/m/kept/xen09.img.1.20260102T030405Z"] = "/etc/shadow"
    assert [disk.path for disk in survey.all_kept(dom0, SETTINGS)] == [
        f"/m/kept/{name}.20260102T030405Z" for name in ("xen01.img.1", "xen07.img.7", "xen1234.img.1234")]


def test_leftovers_are_the_vpss_own(dom0: ScriptedDom0) -> None:
    mine = ("xen01.img.failed", "xen01.img.new", "xen01.img.old", "xen01.swap.img.new")
    for name in (*mine, "xen01.img", "xen010.img.new", "xen11.img.new", "xen01.img.newer", "xen01-copy.img.new"):
        allocate(dom0, name)
    assert survey.leftovers(dom0, SETTINGS, VPS) == tuple(Leftover(f"/m/{name}") for name in mine)


def test_room_counts_what_sparse_files_may_grow_by(dom0: ScriptedDom0) -> None:
    dom0.free = 10 * GIB
    allocate(dom0, "xen01.img", 4 * GIB, blocks=GIB // 512)
    allocate(dom0, "xen02.img.new", 2 * GIB, blocks=0)
    allocate(dom0, "hand-made.img", GIB, blocks=0)
    allocate(dom0, "xen03.img", 5 * GIB)
    allocate(dom0, "xen04.img", GIB, blocks=GIB // 512 + 8)
    allocate(dom0, "kept/xen05.img.1.20260102T030405Z", GIB, blocks=0)
    allocate(dom0, "01.log", GIB, blocks=0)
    dom0.memory.links["/m/link.img"] = "/m/hand-made.img"
    assert survey.room(dom0, SETTINGS) == Room(10 * GIB, 6 * GIB)


def test_room_where_nothing_was_made_yet() -> None:
    assert survey.room(ScriptedDom0(), SETTINGS).promised_bytes == 0
