"""Where disks go and live: the right group and pool or a refusal that names them, and what each kind of store plans."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from dtcxen_soap import stores, volumes
from dtcxen_soap.errors import Failed, Refused
from dtcxen_soap.facts import DiskFact, Facts, KeptDisk, Leftover, LvmFact, Room, ThinPool, VolumeGroup
from dtcxen_soap.plans import (
    IMAGE_FILES,
    AllocateFile,
    ExchangeFile,
    ExchangeVolume,
    MakeVolume,
    RemoveFile,
    RemoveVolume,
    RenameFile,
    RenameVolume,
    Run,
    Step,
    TagVolume,
)
from dtcxen_soap.settings import load
from dtcxen_soap.stores import Store
from dtcxen_soap.undorecords import undo_from_record, undo_to_record
from dtcxen_soap.vps import DiskRole, ImageType, Mib, VpsId

GIB, MIB = 1 << 30, 1 << 20
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POOL = ThinPool("pool", 20 * GIB, 10 * GIB, 4 * GIB, True)
GROUP = VolumeGroup("vg0", 100 * GIB, 4 * MIB)
THIN = dataclasses.replace(GROUP, pools=(POOL,))
OTHER = VolumeGroup("backup", 500 * GIB, 4 * MIB)
VPS = VpsId(1)


def facts(*groups: VolumeGroup, **more: object) -> Facts:
    return Facts(now=NOW, room=Room(50 * GIB), lvm=LvmFact(groups), **more)  # type: ignore[arg-type]


def chosen(found: Facts, config: str = "", kind: ImageType | None = ImageType.LVM) -> Store:
    return stores.chosen(kind, "setupVPSDisk", "imageType", load(config).settings, found)


# -- which group, which pool ----------------------------------------------------------------------


def test_the_only_group_or_the_named_one() -> None:
    assert chosen(facts(GROUP)).place == "volume group vg0"
    assert chosen(facts(GROUP, OTHER), "provisioning_volgroup=backup").place == "volume group backup"
    assert chosen(facts(GROUP, OTHER), "soap_server_lvmname=vg0").place == "volume group vg0"


@pytest.mark.parametrize(("groups", "config", "said"), [
    ((), "", "lvm: this node has no volume group, expected vbd"),
    ((GROUP, OTHER), "", r"several volume groups \(backup, vg0\), and provisioning_volgroup names none"),
    ((GROUP, OTHER), "provisioning_volgroup=lvm1", r"no volume group lvm1 \(provisioning_volgroup\), only backup, vg0"),
    ((GROUP, GROUP), "provisioning_volgroup=vg0", r"several volume groups \(vg0, vg0\)"),
    ((THIN,), "thin_pool=other", r"vg0 has no thin pool other \(thin_pool\), only pool"),
    ((GROUP,), "thin_pool=other", r"vg0 has no thin pool other \(thin_pool\)"),
    ((dataclasses.replace(GROUP, pools=(POOL, dataclasses.replace(POOL, name="second"))),), "", r"several thin pools \(pool, second\), and thin_pool names none"),
    ((dataclasses.replace(GROUP, pools=(dataclasses.replace(POOL, zeroes=False),)),), "", r"thin pool vg0/pool does not zero new blocks"),
])
def test_what_nobody_can_know_is_refused_by_name(groups: tuple[VolumeGroup, ...], config: str, said: str) -> None:
    with pytest.raises(Refused, match=f"setupVPSDisk: imageType: lvm: .*{said.removeprefix('lvm: ')}"):
        chosen(facts(*groups), config)


def test_the_pool_is_the_only_one_the_named_one_or_none() -> None:
    two = dataclasses.replace(GROUP, pools=(POOL, dataclasses.replace(POOL, name="second")))
    assert chosen(facts(THIN)).place == "thin pool vg0/pool" and chosen(facts(two), "thin_pool=second").place == "thin pool vg0/second"
    assert chosen(facts(two), "thin_pool=none").place == "volume group vg0"


def test_no_word_from_lvm_is_a_failure_and_files_need_none() -> None:
    dumb = Facts(now=NOW, lvm=LvmFact(trouble="lvs ended with code 5"))
    with pytest.raises(Failed, match="lvs ended with code 5"):
        chosen(dumb)
    assert chosen(dumb, kind=ImageType.VBD).place == "/var/lib/dtc-xen/mnt"
    assert chosen(dumb, "default_image_type=vbd", None).image_type is ImageType.VBD and chosen(facts(GROUP), kind=None).image_type is ImageType.LVM


@pytest.mark.parametrize("disk", [
    DiskFact(DiskRole.ROOT, "/dev/backup/xen01", GIB, False, image_type=ImageType.LVM),
    KeptDisk("/dev/backup/xen01.kept.1.20260102T030405Z", GIB, NOW, image_type=ImageType.LVM), Leftover("/dev/backup/xen01.new", ImageType.LVM)])
def test_a_disk_lives_where_it_is_whatever_the_settings_say_now(disk: DiskFact | KeptDisk | Leftover) -> None:
    settings = load("provisioning_volgroup=vg0\ndefault_image_type=vbd").settings
    assert stores.of(disk, settings, facts(THIN, OTHER)).place == "volume group backup"
    with pytest.raises(Failed, match="LVM knows no volume group backup"):
        stores.of(disk, settings, facts(THIN))


def test_a_thin_disk_lives_in_its_pool_and_a_file_in_its_directory() -> None:
    settings = load("thin_pool=none").settings
    thin = DiskFact(DiskRole.ROOT, "/dev/vg0/xen01", GIB, False, image_type=ImageType.LVM, pool="pool")
    assert stores.of(thin, settings, facts(THIN)).place == "thin pool vg0/pool"
    assert stores.of(DiskFact(DiskRole.ROOT, "/m/xen01.img", GIB, False), settings, facts(THIN)).image_type is ImageType.VBD


# -- room -----------------------------------------------------------------------------------------


def test_room_of_each_kind_counts_what_others_will_take() -> None:
    taken = {"vg0": 30 * GIB, "vg0/pool": GIB, IMAGE_FILES: 10 * GIB}
    thick, thin, files = chosen(facts(GROUP, reserved=taken)), chosen(facts(THIN, reserved=taken)), chosen(facts(reserved=taken), kind=ImageType.VBD)
    assert thick.lacking(Mib(70 << 10)) == 0 and thick.lacking(Mib((70 << 10) + 1)) == 4 * MIB, "whole extents"
    assert thin.lacking(Mib(5 << 10)) == 0 and thin.lacking(Mib(6 << 10)) == GIB, "what volumes may grow by is promised"
    assert files.lacking(Mib(40 << 10)) == 0 and files.lacking(Mib(41 << 10)) == GIB


def test_overcommit_is_for_pools_and_files_not_for_a_group() -> None:
    found = facts(THIN)
    assert chosen(found, "overcommit=yes").lacking(Mib(1 << 20)) == 0 and chosen(found, "overcommit=yes", ImageType.VBD).lacking(Mib(1 << 20)) == 0
    assert chosen(found, "overcommit=yes\nthin_pool=none").lacking(Mib(1 << 20)) == (1 << 40) - 100 * GIB


def test_sizes_are_rounded_up_to_the_extent() -> None:
    assert chosen(facts(GROUP)).size_bytes(Mib(65)) == 68 * MIB and chosen(facts(), kind=ImageType.VBD).size_bytes(Mib(65)) == 65 * MIB
    (made,) = chosen(facts(GROUP)).make("/dev/vg0/xen01", Mib(65), "Make it.", zero=False)
    assert isinstance(made, MakeVolume) and made.size == 68


# -- what they plan -------------------------------------------------------------------------------

THICK_STORE, THIN_STORE = chosen(facts(GROUP)), chosen(facts(THIN))
FILES = chosen(facts(), "provisioning_mount_point=/m", ImageType.VBD)


def kinds(steps: tuple[Step, ...]) -> list[type]:
    return [type(step) for step in steps]


def test_paths() -> None:
    assert [THIN_STORE.path(VPS, role) for role in DiskRole] == ["/dev/vg0/xen01", "/dev/vg0/xen01swap"]
    assert [FILES.path(VPS, role) for role in DiskRole] == ["/m/xen01.img", "/m/xen01.swap.img"]
    assert THICK_STORE.kept("/dev/vg0/xen01swap", 3, NOW) == "/dev/vg0/xen01swap.kept.3.20260102T030405Z"
    assert FILES.kept("/m/xen01.img.old", 3, NOW) == "/m/kept/xen01.img.old.3.20260102T030405Z"


def test_no_guest_sees_an_ordinary_volume_before_it_was_overwritten() -> None:
    made, zero, noted = THICK_STORE.make("/dev/vg0/xen01", Mib(1024), "Make it.")
    assert isinstance(made, MakeVolume) and made.tags == ("dtcxen.unused", "dtcxen.unzeroed") and made.pool == ""
    assert isinstance(zero, Run) and zero.argv == ("blkdiscard", "--zeroout", "--step", "64MiB", "--", "/dev/vg0/xen01") and zero.timeout_seconds == 600
    assert isinstance(noted, TagVolume) and noted.remove == ("dtcxen.unzeroed",), "only once it was"
    assert kinds(THICK_STORE.make("/dev/vg0/xen01", Mib(1024), "Make it.", zero=False)) == [MakeVolume]
    (slow, _) = THICK_STORE.zero("/dev/vg0/xen01", Mib(1 << 20))
    assert isinstance(slow, Run) and slow.timeout_seconds > 48 * 3600


def test_a_pool_that_zeroes_needs_nothing_and_stays_empty() -> None:
    (made,) = THIN_STORE.make("/dev/vg0/xen01", Mib(1024), "Make it.")
    assert isinstance(made, MakeVolume) and (made.pool, made.tags) == ("pool", ("dtcxen.unused",))
    assert THIN_STORE.zero("/dev/vg0/xen01", Mib(1024)) == ()


def test_an_old_volume_of_a_pool_that_does_not_zero_gets_a_clean_successor() -> None:
    careless = dataclasses.replace(GROUP, pools=(dataclasses.replace(POOL, zeroes=False),))
    disk = DiskFact(DiskRole.ROOT, "/dev/vg0/xen01", GIB, False, image_type=ImageType.LVM, pool="pool")
    assert kinds(stores.of(disk, load("").settings, facts(careless)).make("/dev/vg0/xen01.new", Mib(1024), "Make it.")) == [MakeVolume, Run, TagVolume]


def test_files_need_no_marks() -> None:
    (made,) = FILES.make("/m/xen01.img", Mib(1024), "Make it.")
    assert isinstance(made, AllocateFile) and not made.sparse and made.undo == (RemoveFile(why="Remove the unfinished /m/xen01.img.", path="/m/xen01.img"),)
    assert FILES.zero("/m/xen01.img", Mib(1024)) == FILES.used("/m/xen01.img") == () and THICK_STORE.prepare() == ()
    (used,) = THIN_STORE.used("/dev/vg0/xen01")
    assert isinstance(used, TagVolume) and (used.lv, used.remove) == ("xen01", ("dtcxen.unused",))


def test_what_is_removed_from_a_group_is_doomed_and_wiped_later() -> None:
    doomed = THICK_STORE.remove("/dev/vg0/xen01", "Remove it.", "the disk")
    assert doomed == (RenameVolume(why="Remove it.", vg="vg0", source="xen01", target="xen01.doomed.20260102T030405000000Z", destroys="the disk"),)
    assert volumes.leaves_work(doomed)
    step = volumes.wipe("/dev/vg0/xen01.doomed.20260102T030405000000Z")
    assert isinstance(step, RemoveVolume) and step.wipe and step.may_fail and step.lv == "xen01.doomed.20260102T030405000000Z"


@pytest.mark.parametrize("store", [THIN_STORE, chosen(facts(GROUP), "wipe_disks=no")])
def test_nothing_to_wipe_nothing_left(store: Store) -> None:
    gone = store.remove("/dev/vg0/xen01", "Remove it.", "the disk", may_fail=True)
    assert gone == (RemoveVolume(why="Remove it.", vg="vg0", lv="xen01", destroys="the disk", may_fail=True),) and not volumes.leaves_work(gone)


@pytest.mark.parametrize(("store", "base", "rename", "exchange"), [
    (THICK_STORE, "/dev/vg0/xen01", RenameVolume, ExchangeVolume), (FILES, "/m/xen01.img", RenameFile, ExchangeFile)])
def test_moves_come_with_their_way_back(store: Store, base: str, rename: type, exchange: type) -> None:
    (moved,) = store.rename(base, f"{base}.old", "Move.", "Back.")
    assert kinds((moved,)) == [rename] and moved.undo[0].source == moved.target and moved.undo[0].target == moved.source  # type: ignore[union-attr]
    assert store.rename(base, f"{base}.old", "Move.")[0].undo == ()
    (swapped,) = store.exchange(f"{base}.new", base, f"{base}.old", "Swap.", "Back.")
    back, gone = swapped.undo
    assert kinds((swapped, back)) == [exchange, exchange] and (back.source, back.target) == (swapped.keep, swapped.target)  # type: ignore[union-attr]
    assert kinds((gone,)) in ([RemoveVolume], [RemoveFile])
    for undo in (*moved.undo, *swapped.undo, *store.make(f"{base}.new", Mib(1), "Make.")[0].undo):
        assert undo_from_record(undo_to_record(undo)) == undo, "the journal keeps it whole"


def test_a_volume_of_another_group_is_a_planners_mistake() -> None:
    for wrong in ("/dev/backup/xen01", "/m/xen01.img", "/dev/vg0/../sda"):
        with pytest.raises(ValueError):
            THICK_STORE.remove(wrong, "Remove it.")
