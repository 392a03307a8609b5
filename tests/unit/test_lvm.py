"""LVM's reports as 2.03 really prints them, command lines that name one volume and nothing else, and whose volume a name means."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dtcxen_soap import lvm
from dtcxen_soap.facts import ThinPool, VolumeGroup
from dtcxen_soap.lvm import Group, Volume, VolumeName
from dtcxen_soap.vps import DiskRole, Mib, VpsId

DATA = Path(__file__).parents[1] / "data" / "lvm"
GIB, MIB = 1 << 30, 1 << 20
NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def report(name: str) -> str:
    return (DATA / name).read_text()


def test_groups() -> None:
    assert lvm.parse_groups(report("vgs-2.03-thick.json")) == (Group("vg0", 4961861632, 4 * MIB),)
    assert lvm.parse_groups(report("vgs-2.03-none.json")) == ()


def test_ordinary_volumes_and_who_has_them_open() -> None:
    volumes = {volume.name: volume for volume in lvm.parse_volumes(report("lvs-2.03-thick-in-use.json"))}
    assert volumes["test-pv-disk"] == Volume("vg0", "test-pv-disk", GIB, is_open=True)
    assert not volumes["test-hvm-swap"].is_open and volumes["test-hvm-swap"].path == "/dev/vg0/test-hvm-swap"


def test_thin_volumes_their_pool_and_nothing_hidden() -> None:
    volumes = {volume.name: volume for volume in lvm.parse_volumes(report("lvs-2.03-thin.json"))}
    assert volumes["xen07"] == Volume("vg0", "xen07", 512 * MIB, frozenset({"dtcxen.test"}), "pool0", "thin", 0.0, True)
    assert volumes["xen08"].data_percent == 3.23 and volumes["pool0"].kind == "thin-pool" and volumes["pool0"].zeroes
    assert not [name for name in volumes if "pool0_" in name or "pmspare" in name]


def test_a_pools_promises_are_what_its_volumes_may_still_grow_by() -> None:
    groups, volumes = lvm.parse_groups(report("vgs-2.03-thin.json")), lvm.parse_volumes(report("lvs-2.03-thin.json"))
    free, grown = GIB - round(GIB * 0.0162), round(512 * MIB * 0.0323)
    assert lvm.volume_groups(groups, volumes) == (VolumeGroup("vg0", 3879731200, 4 * MIB, (ThinPool("pool0", GIB, free, GIB - grown, True),)),)


def test_a_pool_that_tells_nothing_has_nothing_free() -> None:
    pool, thin = Volume("vg0", "p", GIB, kind="thin-pool"), Volume("vg0", "xen01", GIB, pool="p", kind="thin")
    ((group),) = lvm.volume_groups((Group("vg0", 0, MIB),), (pool, thin))
    assert group.pools == (ThinPool("p", GIB, 0, GIB, False),)


@pytest.mark.parametrize("text", ["", "no VG", "[]", "{}", '{"report":[{}]}', '{"report":[{"vg":[{}],"lv":[{}]}]}', '{"report":[{"vg":[{"vg_name":"a"}],"lv":[{"lv_name":"a"}]}]}'])
def test_what_is_no_report_is_not_read_as_an_empty_one(text: str) -> None:
    with pytest.raises(ValueError):
        lvm.parse_groups(text)
    with pytest.raises(ValueError):
        lvm.parse_volumes(text)


# -- command lines --------------------------------------------------------------------------------


def test_command_lines() -> None:
    assert lvm.make("vg0", "xen01", Mib(2048), tags=(lvm.UNUSED, lvm.UNZEROED)) == (
        "lvcreate", "--yes", "--wipesignatures", "y", "--zero", "y", "--size", "2048m", "--addtag", "dtcxen.unused", "--addtag", "dtcxen.unzeroed",
        "--name", "xen01", "--", "vg0")
    assert lvm.make("vg0", "xen01", Mib(2048), "pool0") == ("lvcreate", "--yes", "--thinpool", "pool0", "--virtualsize", "2048m", "--name", "xen01", "--", "vg0")
    assert lvm.remove("vg0", "xen01") == ("lvremove", "--yes", "--", "vg0/xen01")
    assert lvm.rename("vg0", "xen01.new", "xen01") == ("lvrename", "--yes", "--", "vg0", "xen01.new", "xen01")
    assert lvm.tag("vg0", "xen01", ("a",), ("b", "c")) == ("lvchange", "--addtag", "a", "--deltag", "b", "--deltag", "c", "--", "vg0/xen01")
    assert lvm.zero("/dev/vg0/xen01") == ("blkdiscard", "--zeroout", "--step", "64MiB", "--", "/dev/vg0/xen01")
    assert lvm.volumes_of("vg0")[-2:] == ("--", "vg0")


@pytest.mark.parametrize("name", ["", "-f", "a b", "a/b", ".", "..", "a;b", "a\n", "snapshot1", "pvmove0", "x_tdata", "x_rmeta_0", "x" * 127, "\u00e9"])
def test_names_that_lvm_does_not_take_never_reach_it(name: str) -> None:
    for wrong in (lambda: lvm.remove("vg0", name), lambda: lvm.make("vg0", name, Mib(1)), lambda: lvm.rename("vg0", "xen01", name),
                  lambda: lvm.rename("vg0", name, "xen01"), lambda: lvm.tag("vg0", name, ("a",), ()), lambda: lvm.path_of("vg0", name)):
        with pytest.raises(ValueError):
            wrong()
    assert lvm.split_path(f"/dev/vg0/{name}") is None


@pytest.mark.parametrize("name", ["", "-f", "a b", ".."])
def test_nor_do_names_of_groups(name: str) -> None:
    with pytest.raises(ValueError):
        lvm.remove(name, "xen01")
    with pytest.raises(ValueError):
        lvm.volumes_of(name)


def test_paths() -> None:
    assert lvm.path_of("vg0", "xen01swap") == "/dev/vg0/xen01swap" and lvm.split_path("/dev/vg0/xen01swap") == ("vg0", "xen01swap")
    assert lvm.mapper_path("my-vg", "xen01-a") == "/dev/mapper/my--vg-xen01--a"
    assert lvm.split_path("/dev/sda") is None and lvm.split_path("/m/xen01.img") is None and lvm.split_path("/dev/vg0/xen01/x") is None


# -- whose volume it is ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 10, 99, 100, 9999])
@pytest.mark.parametrize("role", DiskRole)
def test_a_name_that_we_make_is_read_back(number: int, role: DiskRole) -> None:
    name = lvm.volume_name(VpsId(number), role)
    since = NOW.replace(microsecond=0)
    assert lvm.parse_name(name) == VolumeName(VpsId(number), role)
    assert lvm.parse_name(lvm.kept_name(name, 12, NOW)) == VolumeName(VpsId(number), role, tenancy=12, since=since)
    for beside in ("new", "old", "failed"):
        assert lvm.parse_name(f"{name}.{beside}") == VolumeName(VpsId(number), role, beside)
    for each in (name, f"{name}.old", lvm.kept_name(name, 12, NOW)):
        doomed = lvm.doomed_name(each, NOW)
        assert lvm.is_doomed(doomed) and lvm.parse_name(doomed) is None and not lvm.is_doomed(each) and lvm.valid_volume(doomed)


def test_xen1_never_means_xen10() -> None:
    assert lvm.parse_name("xen01") != lvm.parse_name("xen10") and lvm.parse_name("xen01swap") != lvm.parse_name("xen10swap")
    assert lvm.kept_name("xen01", 1, NOW) == "xen01.kept.1.20260102T030405Z" and lvm.doomed_name("xen01", NOW) == "xen01.doomed.20260102T030405000678Z"


@pytest.mark.parametrize("name", [
    "xen1", "xen010", "xen0", "xen00", "xen", "xen0001", "xen10000", "xen01-copy", "xen01.", "xen01.newer", "xen01.kept", "xen01.kept.1", "xen01.kept.1.20269999T999999Z",
    "xen01.kept.1.20260102T030405Z.bak", "axen01", "xen01swapswap", "xen01.swap", "xen01.new.old", "XEN01", "xen\u0661\u0661", "data.doomed.20260102T030405000678Z",
    "xen01.doomed.20260102T030405Z", "xen1.doomed.20260102T030405000678Z"])
def test_other_names_are_nobodys(name: str) -> None:
    assert lvm.parse_name(name) is None and not lvm.is_doomed(name)
