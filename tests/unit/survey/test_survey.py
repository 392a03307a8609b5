"""The survey asks the machine for what is needed, and for nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import get_args

import pytest

from dtcxen_soap import facts
from dtcxen_soap.facts import (
    Facts,
    MemoryFact,
    NeedDisks,
    NeedDomu,
    NeedHooks,
    NeedInstall,
    NeedIsos,
    NeedJobs,
    NeedKept,
    NeedKeys,
    NeedLog,
    NeedMemory,
    NeedOsList,
    NeedPings,
    NeedStarted,
    NeedTenancy,
    PingFact,
)
from dtcxen_soap.journal import Journal
from dtcxen_soap.lookfacts import NeedJobLog
from dtcxen_soap.movefacts import NeedArrival
from dtcxen_soap.perffacts import NeedSamples
from dtcxen_soap.ping import Echoes
from dtcxen_soap.settings import load
from dtcxen_soap.survey.survey import Survey
from dtcxen_soap.vps import IpAddress, Mib, VpsId
from dtcxen_soap.xen import xl
from tests.fakes import ScriptedDom0

VPS = VpsId(1)
DATA = Path(__file__).parents[2] / "data"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CONFIG = 'name = "xen{0}"\nvif = [ "mac=00:16:3e:10:10:{0},ip={1}" ]\n'
Asked = list[tuple[tuple[IpAddress, ...], int, int]]


class Scene:
    """A survey of a scripted dom0 with a real journal; `asked` holds what was pinged."""

    def __init__(self, directory: Path) -> None:
        self.settings = load(
            f"provisioning_mount_point=/m\nxen_config_dir=/x\ntoolstack=none\nos_dir={directory}/os\nconfig_dir={directory}/conf\nttyssh_home={directory}/homes").settings
        self.dom0 = ScriptedDom0(files={"/x/xen01": CONFIG.format("01", "192.0.2.1 2001:db8::1"), "/x/xen02": CONFIG.format("02", "192.0.2.2 192.0.2.1 192.0.2.2")})
        self.journal = Journal(str(directory / "journal.sqlite"))
        self.asked: Asked = []
        self.survey = Survey(self.settings, self.dom0, self.journal, lambda vps: "mkos" if vps == VPS else "", lambda: NOW, self.ping)

    def ping(self, addresses: Iterable[IpAddress], timeout_ms: int, count: int) -> dict[IpAddress, Echoes]:
        self.asked.append((tuple(addresses), timeout_ms, count))
        return {address: Echoes(count, 0, None) if str(address) == "192.0.2.2" else Echoes(count, count, 1.5) for address in self.asked[-1][0]}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_no_need_no_work(scene: Scene) -> None:
    assert scene.survey.fill(()) == Facts(now=NOW)
    assert scene.dom0.calls == []


def test_disks_bring_the_domu_along(scene: Scene) -> None:
    scene.dom0.allocate_file("/m/xen01.img", 1 << 30, False)
    scene.dom0.allocate_file("/m/xen01.img.new", 1 << 30, False)
    scene.journal.next_tenancy(VPS)
    number = scene.journal.tenancy(VPS).number
    mine, earlier = (f"/m/kept/xen01.img.{tenancy}.20260102T030405Z" for tenancy in (number, number - 1))
    for path in (mine, earlier):
        scene.dom0.allocate_file(path, 1 << 30, False)
    found = scene.survey.fill((NeedDisks(VPS),))
    assert [disk.path for disk in found.disks] == ["/m/xen01.img"] and [left.path for left in found.leftovers] == ["/m/xen01.img.new"]
    assert [disk.path for disk in found.kept] == [mine], "of this tenancy only"
    assert found.room.free_bytes == scene.dom0.free and found.domu.configured and found.busy == "mkos"


def test_every_kept_disk(scene: Scene) -> None:
    paths = [f"/m/kept/xen0{number}.img.{number}.20260102T030405Z" for number in (1, 2)]
    for path in paths:
        scene.dom0.allocate_file(path, 1 << 30, False)
    assert [disk.path for disk in scene.survey.fill((NeedKept(),)).kept] == paths


def test_a_configuration_is_read_once_for_both_needs(scene: Scene) -> None:
    scene.survey.fill((NeedDisks(VPS), NeedDomu(VPS)))
    assert scene.dom0.calls.count(("read_bytes", "/x/xen01")) == 1


def test_a_state_that_is_polled_costs_one_read(scene: Scene) -> None:
    found = scene.survey.fill((NeedDomu(VpsId(2)),))
    assert scene.dom0.calls == [("read_bytes", "/x/xen02")] and found.busy == "" and found.domu.configured


def test_the_journals_word(scene: Scene) -> None:
    job = scene.journal.begin("reinstallOS", VPS, "dtc-xen", "job", ("a plan",), 1)
    scene.journal.log(job).write("unpacking")
    scene.journal.block(VPS, "no room")
    found = scene.survey.fill((NeedTenancy(VPS), NeedJobs(), NeedLog(VPS, 5)))
    assert found.tenancy.blocked == "no room" and [each.id for each in found.jobs] == [job] and "unpacking" in (found.log or "")
    assert scene.survey.fill((NeedLog(VpsId(2), 5),)).log is None
    assert scene.survey.fill((NeedJobs(vps=VpsId(2)),)).jobs == ()


def test_pings_are_one_per_address_and_one_row_per_vps(scene: Scene) -> None:
    rows = scene.survey.fill((NeedPings(700, 3),)).pings
    one, six, two = (ip_address(text) for text in ("192.0.2.1", "2001:db8::1", "192.0.2.2"))
    assert rows == (
        PingFact(VPS, one, 3, 3, 1.5), PingFact(VPS, six, 3, 3, 1.5), PingFact(VpsId(2), two, 3, 0, None), PingFact(VpsId(2), one, 3, 3, 1.5))
    assert scene.asked == [((one, six, two, one), 700, 3)]


def test_an_installations_needs(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "os/mini").mkdir(parents=True)
    (tmp_path / "os/mini/install_os").write_text("#!/bin/sh\n")
    found = scene.survey.fill((NeedInstall(VPS, "mini"), NeedOsList()))
    assert found.bundle is not None and found.bundle.scripts == {"install_os"} and found.bundles == ("mini",)
    assert found.node.hostname == scene.dom0.node_name and sorted(found.taken_macs.values()) == ["xen01", "xen02"]
    assert scene.survey.fill((NeedInstall(VPS, "debian"),)).bundle is None


def test_hooks_and_isos(scene: Scene, tmp_path: Path) -> None:
    hook = tmp_path / "conf/hooks/reinstallOS-pre.d/10-a"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    home = tmp_path / "homes/xen01/iso"
    home.mkdir(parents=True)
    (home / "a.iso").write_bytes(bytes(32769) + b"CD001")
    found = scene.survey.fill((NeedHooks("reinstallOS"), NeedIsos(VPS)))
    assert found.hooks.programs == {"pre": (str(hook),)} and [iso.name for iso in found.isos] == ["a.iso"]


def test_new_settings_count_from_the_next_fill_on(scene: Scene) -> None:
    scene.survey.replace_settings(load("xen_config_dir=/elsewhere\ntoolstack=none").settings)
    assert not scene.survey.fill((NeedDomu(VPS),)).domu.configured


def test_memory_and_what_runs(scene: Scene) -> None:
    scene.dom0.answers |= {xl.LIST: (DATA / "xl-list-4.17-pv-pvh-hvm.txt").read_text(), xl.INFO: (DATA / "xl-info-4.17-three-domus.txt").read_text()}
    scene.survey.replace_settings(dataclasses.replace(scene.settings, toolstack="xl"))
    facts = scene.survey.fill((NeedMemory(), NeedStarted()))
    assert facts.memory == MemoryFact(Mib(1743), Mib(4095)) and [row.name for row in facts.started] == ["test-pv", "test-pvh", "test-hvm"]


def test_every_need_is_filled(scene: Scene) -> None:
    """A need that nobody fills would leave a planner with empty facts."""
    scene.dom0.answers |= {xl.LIST: (DATA / "xl-list-4.17-dom0-only.txt").read_text(), xl.INFO: (DATA / "xl-info-4.17-no-domu.txt").read_text()}
    scene.survey.replace_settings(dataclasses.replace(scene.settings, toolstack="xl"))
    scene.dom0.answers["ssh-keygen"] = "256 SHA256:abc no comment (ED25519)"
    given = {NeedInstall: ("debian",), NeedLog: (1,), NeedKeys: (("ssh-ed25519 AAAA",),), NeedSamples: (64,), NeedJobLog: (1, 0), NeedArrival: (("/boot/vmlinuz",),)}
    for kind in get_args(facts.Need):
        needs_vps = "vps" in kind.__dataclass_fields__ and kind is not NeedJobs
        more = {NeedHooks: ("reinstallOS",), NeedPings: (100, 1)}.get(kind, given.get(kind, ()))
        assert scene.survey.fill((kind(*((VPS,) if needs_vps else ()), *more),)).now == NOW
