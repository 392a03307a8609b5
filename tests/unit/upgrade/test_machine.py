"""The machine under the node: each thing that can be wrong is broken once, on a machine where nothing else is."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from dtcxen_soap.facts import LvmFact, MemoryFact, ThinPool, VolumeGroup
from dtcxen_soap.machinefacts import FoundBridge, FoundSpace, FoundUnit, Machine
from dtcxen_soap.processes import Ran
from dtcxen_soap.settings import load
from dtcxen_soap.survey import machine as survey_machine
from dtcxen_soap.upgrade import machine, report
from dtcxen_soap.upgrade.finding import Finding, Severity
from dtcxen_soap.upgradefacts import OldNode
from dtcxen_soap.vps import Mib
from dtcxen_soap.xen import xl
from tests.fakes import FakeVolume, ScriptedDom0

PROBLEM, WARNING, NOTE = Severity
NOW = datetime(2026, 1, 2, tzinfo=UTC)
SETTINGS = load("").settings
GIB = 1 << 30
POOL = ThinPool("pool", 100 * GIB, 50 * GIB, 0, True)
WELL = Machine(
    True, MemoryFact(Mib(4096), Mib(8192)), FoundBridge("xenbr0", True, True, True, ("eth0", "vif1.0")), LvmFact((VolumeGroup("vg0", 100 * GIB, 4 << 20, (POOL,)),)),
    (FoundSpace("/var/lib/dtc-xen", 50 * GIB),), unit=FoundUnit("loaded", "enabled", "active"), synchronised=True)


def pool(free: int) -> LvmFact:
    return LvmFact((VolumeGroup("vg0", GIB, 4 << 20, (dataclasses.replace(POOL, free_bytes=free * GIB),)),))


def changed(**words: object) -> Machine:
    return dataclasses.replace(WELL, **words)  # type: ignore[arg-type]


def judged(found: Machine, config: str = "") -> list[Finding]:
    return list(machine.judge(load(config).settings, found))


CASES: dict[str, tuple[Machine, Severity, str, str, str]] = {
    "no-xen": (changed(xen=False, memory=None, bridge=None), PROBLEM, "Xen", "no VPS can start", "apt-get install xen-system-amd64"),
    "xl-silent": (changed(memory=MemoryFact(Mib(0), Mib(0), trouble="exit code 1")), PROBLEM, "xl", "exit code 1", "xl info"),
    "dom0-balloons": (changed(memory=MemoryFact(Mib(1), Mib(2), ballooning=True)), WARNING, "/etc/xen/xl.conf", "fixed amount", "dtcxen setup-host --dom0-memory 2048 --yes"),
    "no-bridge": (changed(bridge=FoundBridge("xenbr0")), PROBLEM, "bridge xenbr0", "is not there", "dtcxen setup-host --bridge xenbr0 --nic eth0"),
    "bridge-down": (changed(bridge=FoundBridge("br1", True, True, False, ("eth0",))), PROBLEM, "bridge br1", "down", "ip link set dev br1 up"),
    "bridge-empty": (changed(bridge=FoundBridge("br1", True, True, True, ("vif1.0",))), WARNING, "bridge br1", "no card of the node", "bridge link"),
    "lvm-silent": (changed(lvm=LvmFact(trouble="vgs ended with code 5")), PROBLEM, "LVM", "vgs ended with code 5", "vgs"),
    "no-group": (changed(lvm=LvmFact()), PROBLEM, "LVM", "no volume group", "editor /etc/dtc-xen/dtc-xen.conf"),
    "pool-filling": (changed(lvm=pool(2)), PROBLEM, "thin pool vg0/pool", "98% of it is used", "lvextend -L +10G vg0/pool"),
    "space": (changed(spaces=(FoundSpace("/var/lib/dtc-xen", GIB - 1),)), PROBLEM, "/var/lib/dtc-xen", "only 1023 MiB", "df -h -- /var/lib/dtc-xen"),
    "programs": (changed(lacking=frozenset({"tar", "xz"})), PROBLEM, "tar, xz", "no system can be installed", "apt-get install tar xz-utils"),
    "optional-programs": (changed(lacking=frozenset({"dnf-3", "xorriso"})), NOTE, "dnf-3, xorriso", "dnf-3 is for RPM systems", "apt-get install dnf xorriso"),
    "no-console-users": (changed(obstacles=("the node lacks sudo: install the packages",)), WARNING, "owners' console", "lacks sudo", "apt-get install openssh-server sudo"),
    "no-loop-devices": (changed(loops=False), PROBLEM, "/dev/loop-control", "no loop devices", "modprobe loop"),
    "clock": (changed(synchronised=False), WARNING, "clock", "time server", "timedatectl set-ntp true"),
    "no-service": (changed(unit=FoundUnit("not-found", "", "inactive")), WARNING, "dtcxen-soap.service", "does not know it", "apt-get install dtcxen-soap"),
    "service-down": (changed(unit=FoundUnit("loaded", "enabled", "failed")), PROBLEM, "dtcxen-soap.service", "failed", "systemctl restart dtcxen-soap.service"),
    "service-disabled": (changed(unit=FoundUnit("loaded", "disabled", "active")), PROBLEM, "dtcxen-soap.service", "after a boot", "systemctl enable dtcxen-soap.service"),
}


def test_a_machine_that_is_well_gets_no_word() -> None:
    assert judged(WELL) == []


@pytest.mark.parametrize("check", CASES)
def test_each_is_told_with_its_command(check: str) -> None:
    found, severity, where, what, mend = CASES[check]
    (finding,) = judged(found)
    assert (finding.check, finding.severity, finding.where) == (check, severity, where) and what in finding.what and mend in finding.mend


def test_degrees_and_variants() -> None:
    assert [finding.severity for free in (21, 15, 4) for finding in judged(changed(lvm=pool(free)))] == [WARNING, PROBLEM]
    assert [finding.severity for free in (6, 4) for finding in judged(changed(spaces=(FoundSpace("/s", free * GIB),)))] == [WARNING]
    (card,) = judged(changed(bridge=FoundBridge("eth0", True)))
    assert (card.check, card.mend) == ("no-bridge", ("ip -d link show eth0",))
    (none,) = judged(changed(xen=False, memory=None, bridge=None), "toolstack=none")
    assert (none.check, none.severity) == ("toolstack-none", NOTE)
    assert judged(changed(unit=None, synchronised=None, lvm=None)) == [], "what is not known is not guessed"


def test_the_report_has_them_the_worst_first() -> None:
    found = changed(synchronised=False, loops=False)
    checks = [finding.check for finding in report.judge(SETTINGS, OldNode(NOW), found) if finding.check in CASES]
    assert checks == ["no-loop-devices", "clock"]
    assert not [finding for finding in report.judge(SETTINGS, OldNode(NOW)) if finding.check in CASES], "of a copy of a node's files nothing is said of this machine"


# -- how it is read ---------------------------------------------------------------------------------------

SHOW = "LoadState=loaded\nUnitFileState=enabled\nActiveState=active\n"
INFO = "free_memory : 1024\ntotal_memory : 8192\nxen_commandline : dom0_mem=2048M,max:2048M\n"
NET = "/sys/class/net"
FILES = {
    "/proc/xen/capabilities": "control_d\n", f"{NET}/br7/bridge/bridge_id": "8000", f"{NET}/br7/flags": "0x1003\n", f"{NET}/br7/brif/eth0/x": "", "/dev/loop-control": "",
    "/var/lib/dtc-xen/journal.sqlite": ""}


def node(answers: dict[object, object] | None = None, files: dict[str, str] | None = None) -> ScriptedDom0:
    table = {"systemctl": SHOW, "timedatectl": "yes\n", xl.INFO: INFO} | (answers or {})
    made = ScriptedDom0(table, files=FILES | (files or {}))  # type: ignore[arg-type]
    made.installed = frozenset({*machine.NEEDED, *machine.OPTIONAL})
    made.vgs, made.volumes = {"vg0": 1 << 40}, {("vg0", "xen01"): FakeVolume(Mib(1))}
    made.free = 50 * GIB
    return made


def look(dom0: ScriptedDom0, config: str = "xen_bridge=br7\nmanage_accounts=no\n") -> Machine:
    return survey_machine.look(dom0, load(config).settings)


def test_a_machine_as_it_is() -> None:
    found = look(node())
    assert judged(found, "xen_bridge=br7") == []
    assert found.bridge == FoundBridge("br7", True, True, True, ("eth0",)) and found.unit == FoundUnit("loaded", "enabled", "active") and found.synchronised
    assert found.spaces == (FoundSpace("/var/lib/dtc-xen", 50 * GIB),), "one file system is told once"


def test_which_bridge_is_looked_at() -> None:
    for text, name in ((None, "xenbr0"), ("", "xenbr0"), ("# vif.default.bridge='no'\n", "xenbr0"), ('vif.default.bridge="br7"\n', "br7")):
        found = look(node(files={} if text is None else {xl.CONF: text}), "manage_accounts=no\n")
        assert found.bridge and (found.bridge.name, found.bridge.there) == (name, name == "br7")
    down = look(node(files={f"{NET}/br7/flags": "0x1002\n"}))
    assert down.bridge and not down.bridge.is_up


def test_where_no_domu_runs_xen_is_not_asked() -> None:
    dom0 = node({xl.INFO: AssertionError("asked")})
    for found in (look(dom0, "toolstack=none\n"), look(node({xl.INFO: AssertionError("asked")}, {"/proc/xen/capabilities": ""}))):
        assert (found.memory, found.bridge, found.obstacles) == (None, None, ())
    assert look(node(), "default_image_type=vbd\n").lvm is None


def test_silence_is_not_taken_for_an_answer() -> None:
    for answer in (Ran(127, ""), Ran(1, ""), "", "LoadState=loaded\n"):
        assert look(node({"systemctl": answer})).unit is None
    for clock in (Ran(1, "yes"), "", "perhaps\n"):
        assert look(node({"timedatectl": clock})).synchronised is None
    assert look(node(), "config_dir=/srv/node/etc\n").unit is None, "the service is not this node's"
    silent = look(node({xl.INFO: Ran(1, "")}))
    assert [finding.check for finding in judged(silent, "xen_bridge=br7")] == ["xl-silent"]


def test_what_keeps_owners_out_is_told() -> None:
    found = look(node(), "xen_bridge=br7\n")
    assert found.obstacles and "no-console-users" in [finding.check for finding in judged(found, "xen_bridge=br7")]
