"""enterRescue, leaveRescue, bootSingle: one-shot configurations, and a password that is told once."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap import planprint, plans, power, reports, rescue, rescueseed
from dtcxen_soap.access import Caller, Role
from dtcxen_soap.answers import PowerDone, RescueStarted
from dtcxen_soap.errors import Busy, Failed, Missing, NotAllowed, Refused
from dtcxen_soap.execute import execute
from dtcxen_soap.facts import DiskFact, DomuFact, Facts, MemoryFact, NodeFact, RescueFact, TenancyFact
from dtcxen_soap.journal import Journal
from dtcxen_soap.operations import prepare
from dtcxen_soap.plans import EndDomu, Mounted, Plan, RemoveFile, Run, TreePassword, TreeWrite, WriteFile, walk
from dtcxen_soap.requests import GetState, OneVps
from dtcxen_soap.settings import load
from dtcxen_soap.vps import BootMode, DiskRole, ImageType, MacAddress, Mib, Secret, VpsId
from dtcxen_soap.wire.legacy import old_reply
from dtcxen_soap.xen import config, singleuser
from tests.fakes import ScriptedDom0

VPS = VpsId(1)
REQUEST = OneVps(vps=VPS)
NETWORK = "GATEWAY=192.0.2.1\nNETMASK=255.255.255.0\nDNS='192.0.2.53 2001:db8::53'\n"
SETTINGS = load(f"provisioning_mount_point=/m\nxen_config_dir=/x\nstate_dir=/s\nttyssh_home=/h\nrescue_kernel=/r/vmlinuz\nrescue_initrd=/r/initrd\n{NETWORK}").settings
PASSWORD = Secret("abcd-efgh-jkmn-pqrs")
ROOT = DiskFact(DiskRole.ROOT, "/dev/vg0/xen01", 2 << 30, False, image_type=ImageType.LVM)
SWAP = DiskFact(DiskRole.SWAP, "/dev/vg0/xen01swap", 256 << 20, False, image_type=ImageType.LVM)
OWN = 'name = "xen01"\nkernel = "/boot/vmlinuz"\nextra = "console=hvc0 quiet"  # by hand\non_reboot = "restart"\n'
RESCUE = RescueFact("/r/vmlinuz", "/r/initrd", password=PASSWORD, owner_keys=("ssh-ed25519 AAAAowner o@home",), config_text=OWN)
DOWN = DomuFact(
    True, toolstack=True, boot=BootMode.DIRECT, config_memory=Mib(256), config_mac=MacAddress("00:16:3e:10:10:01"), config_vcpus=2,
    config_addresses=(ipaddress.ip_address("192.0.2.10"),))
NODE = NodeFact("node", "id", "bookworm", "6.1.0", commands=frozenset({"mkfs.ext4"}), texts={"authorized_keys2": "# ours\nssh-rsa AAAAadmin a@noc\n\n"})

NOTHING_RUNS = "Name                       ID   Mem VCPUs\tState\tTime(s)\nDomain-0                    0  1024     2     r-----      9.9\n"


def facts(domu: DomuFact = DOWN, **more: Any) -> Facts:
    given: dict[str, Any] = {
        "now": datetime(2026, 11, 23, tzinfo=UTC), "disks": (ROOT, SWAP), "node": NODE, "rescue": RESCUE, "memory": MemoryFact(Mib(2048), Mib(4096))} | more
    return Facts(domu=domu, **given)


def enter(found: Facts | None = None) -> Plan:
    return rescue.plan_enter(REQUEST, SETTINGS, found or facts())


def one(plan: Plan, kind: type) -> Any:
    (step,) = [step for step in walk(plan.steps) if isinstance(step, kind)]
    return step


def seeded(plan: Plan) -> dict[str, str]:
    return {step.path: str(step.content) for step in walk(plan.steps) if isinstance(step, TreeWrite)}


# -- enterRescue ------------------------------------------------------------------------------------


def test_plan_and_configuration(golden: Any) -> None:
    plan = enter()
    golden("plans/rescue-enter.txt", "\n".join(planprint.render(plan)) + "\n")
    golden("xen/rescue.cfg", one(plan, WriteFile).content)


def test_the_configuration_is_the_rescue_systems_and_never_the_vps_own() -> None:
    written = one(enter(), WriteFile)
    said = config.parse(written.content)
    assert (written.path, written.mode) == ("/x/xen01.rescue", 0o600)
    assert (said.name, said.kernel, said.ramdisk, said.memory, said.vcpus) == ("xen01", "/r/vmlinuz", "/r/initrd", 512, 2)
    assert [(disk.device, disk.path) for disk in said.disks] == [("xvda", ROOT.path), ("xvdb", SWAP.path), ("xvdc", "/s/rescue/xen01.seed")]
    assert "vdev=xvdc,access=r," in written.content and "vdev=xvda,access=w," in written.content
    assert said.macs == (DOWN.config_mac,) and said.addresses == DOWN.config_addresses
    assert [config.texts(written.content)[name] for name in ("on_reboot", "on_crash", "on_poweroff")] == ["destroy"] * 3, "it never starts by itself again"


@pytest.mark.parametrize(("kernel", "node", "kind"), [(True, True, "pvh"), (True, False, "pv"), (False, True, "pv"), (False, False, "pv")])
def test_it_is_a_pvh_guest_where_node_and_kernel_can(kernel: bool, node: bool, kind: str) -> None:
    written = one(enter(facts(rescue=dataclasses.replace(RESCUE, pvh=kernel), node=dataclasses.replace(NODE, hvm=node))), WriteFile)
    assert config.texts(written.content)["type"] == kind and config.parse(written.content).boot is BootMode.DIRECT


def test_it_is_started_from_that_configuration_with_the_memory_it_has() -> None:
    start = enter().steps[-1]
    assert isinstance(start, Run) and start.argv[-1] == "--defconfig=/x/xen01.rescue"
    assert dict(start.takes)[plans.MEMORY] > 512 << 20
    large = enter(facts(dataclasses.replace(DOWN, config_memory=Mib(1024))))
    assert config.parse(one(large, WriteFile).content).memory == 1024


def test_the_password_is_in_the_answer_and_nowhere_else() -> None:
    plan = enter()
    assert isinstance(plan.answer, RescueStarted) and plan.answer.password == PASSWORD.reveal() and plan.answer.user == "root"
    everything = "\n".join(planprint.render(plan)) + repr(plan.steps) + "".join(seeded(plan).values())
    assert PASSWORD.reveal() not in everything
    step = one(plan, TreePassword)
    assert (step.user, step.password, step.tree) == ("root", PASSWORD, "/m/01")


def test_nor_in_what_is_run_written_or_logged(tmp_path: Path) -> None:
    dom0 = ScriptedDom0(files={ROOT.path: "", "/proc/xen/capabilities": "control_d"})
    dom0.strict = False
    dom0.answers[("xl", "list")] = NOTHING_RUNS
    journal = Journal(str(tmp_path / "journal.sqlite"))
    job = journal.begin("enterRescue", VPS, "dtc-xen", "now", (), 1)
    execute(job, enter(), dom0, journal, lambda: False)
    journal.close()
    assert any(call[:-1] == ("tree.set_password", "/m/01", "root") and str(call[-1]).startswith("$6$") for call in dom0.calls)
    assert any(argv[0] == "xl" and "create" in argv for argv in dom0.argvs)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()) + b"".join(dom0.files.values())
    assert PASSWORD.reveal().encode() not in kept + repr(dom0.calls).encode() + repr(dom0.argvs).encode()


def test_keys_of_owner_and_admin_may_sign_in() -> None:
    plan = enter()
    assert seeded(plan)["authorized_keys"] == "ssh-ed25519 AAAAowner o@home\nssh-rsa AAAAadmin a@noc\n"
    assert "2 keys" in plan.answer.message
    assert json.loads(seeded(plan)["user-data"].removeprefix("#cloud-config\n"))["ssh_authorized_keys"] == list(seeded(plan)["authorized_keys"].splitlines())


def test_what_only_the_vps_own_configuration_needs_may_be_gone() -> None:
    broken = dataclasses.replace(DOWN, boot=BootMode.HVM, lacking=("/h/xen01/iso/gone.iso", SWAP.path))
    assert [(disk.device, disk.path) for disk in config.parse(one(enter(facts(broken, disks=(ROOT,))), WriteFile).content).disks] == [
        ("xvda", ROOT.path), ("xvdc", "/s/rescue/xen01.seed")]
    with pytest.raises(Missing, match="which is not there"):
        single(facts(broken))


def test_what_it_is_told_of_the_disks() -> None:
    motd = seeded(enter())["motd"]
    assert "/dev/xvda  the root disk of xen01, 2048 MiB" in motd and "/dev/xvdb  its swap disk" in motd and "reboot" in motd
    assert "xvdb" not in seeded(enter(facts(disks=(ROOT,))))["motd"]


def test_a_used_seed_is_made_anew_and_private() -> None:
    plan = enter(facts(rescue=dataclasses.replace(RESCUE, seed="/s/rescue/xen01.seed", rescue_config="/x/xen01.rescue")))
    (removed,) = [step for step in plan.steps if isinstance(step, RemoveFile)]
    allocate = one(plan, plans.AllocateFile)
    assert removed.path == allocate.path == "/s/rescue/xen01.seed" and allocate.mode == 0o600
    assert one(plan, Mounted).source == allocate.path
    assert [undo.path for step in plan.steps for undo in step.undo if isinstance(undo, RemoveFile)] == ["/s/rescue/xen01.seed", "/x/xen01.rescue"]


REFUSALS: tuple[tuple[Facts, type[Exception], str], ...] = (
    (facts(dataclasses.replace(DOWN, state="running")), Busy, "shut it down first"),
    (facts(dataclasses.replace(DOWN, state="running", rescue=True)), Busy, "shut it down first"),
    (facts(dataclasses.replace(DOWN, trouble="xl ended with code 1")), Failed, "xl ended with code 1"),
    (facts(dataclasses.replace(DOWN, toolstack=False)), Missing, "runs no domUs"),
    (facts(DomuFact(False, toolstack=True)), Missing, "no configuration"),
    (facts(disks=()), Missing, "no root disk"),
    (facts(disks=(dataclasses.replace(ROOT, in_use="mounted on /mnt"), SWAP)), Busy, "mounted on /mnt"),
    (facts(disks=(dataclasses.replace(ROOT, unzeroed=True), SWAP)), Refused, "an earlier owner"),
    (facts(tenancy=TenancyFact(0, "a foreign disk")), Refused, "blocked"),
    (facts(memory=MemoryFact(Mib(300), Mib(4096))), Failed, "not enough memory"),
)


@pytest.mark.parametrize(("found", "kind", "words"), REFUSALS)
@pytest.mark.parametrize("planner", [rescue.plan_enter, rescue.plan_single])
def test_what_speaks_against_a_start(planner: Any, found: Facts, kind: type[Exception], words: str) -> None:
    if planner is rescue.plan_single and found.memory == MemoryFact(Mib(300), Mib(4096)):
        found = dataclasses.replace(found, memory=MemoryFact(Mib(100), Mib(4096)))
    with pytest.raises(kind, match=words):
        planner(REQUEST, SETTINGS, found)


@pytest.mark.parametrize(("lacking", "path"), [("kernel", "/r/vmlinuz"), ("ramdisk", "/r/initrd")])
def test_a_node_without_a_rescue_system_says_how_to_make_it(lacking: str, path: str) -> None:
    with pytest.raises(Missing, match=f"{path} is not there: `dtcxen rescue-system`"):
        enter(facts(rescue=dataclasses.replace(RESCUE, **{lacking: ""})))


def test_a_node_without_mkfs_is_told() -> None:
    with pytest.raises(Failed, match=r"mkfs\.ext4"):
        enter(facts(node=NodeFact("node", "id", "bookworm", "6.1.0")))


# -- the network ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("settings", "address", "told", "lines"), [
    (NETWORK, "192.0.2.10", "192.0.2.10/24 via 192.0.2.1", "gateway 192.0.2.1\n"),
    (NETWORK, "198.51.100.9", "198.51.100.9/32 via 192.0.2.1", "gateway 192.0.2.1 onlink\n"),
    ("GATEWAY=192.0.2.1", "192.0.2.10", "192.0.2.10/32 via 192.0.2.1", "gateway 192.0.2.1 onlink\n"),
    ("NETMASK=255.255.255.0", "192.0.2.10", "192.0.2.10/32, no gateway", ""),
    ("GATEWAY=2001:db8::1", "2001:db8::2", "2001:db8::2/64 via 2001:db8::1", "gateway 2001:db8::1\n"),
    ("GATEWAY=fe80::1", "2001:db8::2", "2001:db8::2/64 via fe80::1", "gateway fe80::1\n"),
    ("GATEWAY=2001:db8:9::1", "2001:db8::2", "2001:db8::2/128 via 2001:db8:9::1", "gateway 2001:db8:9::1 onlink\n"),
])
def test_a_network_is_made_of_what_the_node_knows(settings: str, address: str, told: str, lines: str) -> None:
    network = rescueseed.network((ipaddress.ip_address(address),), load(settings).settings)
    assert network.told() == (told,)
    text = dict(rescueseed.files(rescueseed.Seed(VPS, MacAddress("00:16:3e:10:10:01"), network, (), ())))["rescue"]
    assert lines in text and ("gateway" in text) is bool(lines) and f"address {told.split(',')[0].split()[0]}\n" in text


@pytest.mark.parametrize(("settings", "addresses", "told"), [
    (NETWORK, ("192.0.2.10",), "ip=192.0.2.10::192.0.2.1:255.255.255.0:xen01-rescue:eth0:off"),
    (NETWORK, ("2001:db8::2", "192.0.2.11", "192.0.2.10"), "ip=192.0.2.11::192.0.2.1:255.255.255.0:xen01-rescue:eth0:off"),
    ("GATEWAY=2001:db8::1", ("2001:db8::2",), "ip=[2001:db8::2]::[2001:db8::1]:64:xen01-rescue:eth0:off"),
    ("", ("192.0.2.10",), "ip=192.0.2.10:::255.255.255.255:xen01-rescue:eth0:off"),
    ("", ("2001:db8::2",), "ip=[2001:db8::2]:::128:xen01-rescue:eth0:off"), (NETWORK, (), ""),
])
def test_the_kernel_is_told_one_address_too(settings: str, addresses: tuple[str, ...], told: str) -> None:
    network = rescueseed.network(tuple(ipaddress.ip_address(address) for address in addresses), load(settings).settings)
    assert rescueseed.command_line(rescueseed.Seed(VPS, MacAddress("00:16:3e:10:10:01"), network, (), ())) == told


def test_name_servers_and_the_same_for_other_readers() -> None:
    told = seeded(enter())
    assert "dns 192.0.2.53\ndns 2001:db8::53\n" in told["rescue"] and "hostname xen01-rescue\n" in told["rescue"]
    card = json.loads(told["network-config"])["ethernets"]["eth0"]
    assert card["match"] == {"macaddress": "00:16:3e:10:10:01"} and card["addresses"] == ["192.0.2.10/24"] and card["routes"] == [{"to": "0.0.0.0/0", "via": "192.0.2.1"}]


# -- leaveRescue ------------------------------------------------------------------------------------


def test_leaving_ends_the_rescue_system_and_forgets_its_password(golden: Any) -> None:
    running = facts(dataclasses.replace(DOWN, state="running", rescue=True), rescue=dataclasses.replace(RESCUE, rescue_config="/x/xen01.rescue", seed="/s/rescue/xen01.seed"))
    plan = rescue.plan_leave(REQUEST, SETTINGS, running)
    assert isinstance(plan, Plan)
    golden("plans/rescue-leave.txt", "\n".join(planprint.render(plan)) + "\n")


@pytest.mark.parametrize("state", ["running", ""])
def test_leaving_never_ends_the_vps_own_system(state: str) -> None:
    left = facts(dataclasses.replace(DOWN, state=state), rescue=dataclasses.replace(RESCUE, rescue_config="/x/xen01.rescue"))
    plan = rescue.plan_leave(REQUEST, SETTINGS, left)
    assert isinstance(plan, Plan) and not [step for step in plan.steps if isinstance(step, EndDomu)]
    assert [step.path for step in plan.steps if isinstance(step, RemoveFile)] == ["/x/xen01.rescue", "/s/rescue/xen01.seed"]


def test_leaving_twice_is_fine() -> None:
    assert isinstance(rescue.plan_leave(REQUEST, SETTINGS, facts()), PowerDone)
    with pytest.raises(Failed, match="no answer"):
        rescue.plan_leave(REQUEST, SETTINGS, facts(dataclasses.replace(DOWN, trouble="no answer")))


# -- bootSingle -------------------------------------------------------------------------------------


def single(found: Facts | None = None) -> Plan:
    return rescue.plan_single(REQUEST, SETTINGS, found or facts())


def test_single_user_mode(golden: Any) -> None:
    golden("plans/boot-single.txt", "\n".join(planprint.render(single())) + "\n")


def test_its_configuration_is_the_vps_own_with_a_word_more() -> None:
    written = one(single(), WriteFile)
    assert (written.path, written.mode) == ("/x/xen01.single", 0o600) and written.content.startswith(OWN)
    said = config.texts(written.content)
    assert (said["extra"], said["on_reboot"], said["on_crash"], said["kernel"]) == ("console=hvc0 quiet single", "destroy", "destroy", "/boot/vmlinuz")


@pytest.mark.parametrize(("text", "name", "value"), [
    ('extra = "a"\nextra = "b\\"c"', "extra", 'b"c single'), ("", "extra", "single"), ('cmdline = "root=/dev/xvda ro"\nextra = "x"\n', "cmdline", "root=/dev/xvda ro single"),
    ("extra = 'a\tb\x07'\n", "extra", "a b single"),
])
def test_the_last_statement_counts(text: str, name: str, value: str) -> None:
    assert config.texts(singleuser.render(text))[name] == value


@pytest.mark.parametrize("mode", [BootMode.PVH_GRUB, BootMode.PYGRUB, BootMode.HVM, None])
def test_whoever_loads_its_own_kernel_is_sent_to_the_rescue_system(mode: BootMode | None) -> None:
    with pytest.raises(Refused, match="enterRescue"):
        single(facts(dataclasses.replace(DOWN, boot=mode)))


# -- while it runs ----------------------------------------------------------------------------------


def test_the_old_panel_sees_a_running_domain() -> None:
    running = dataclasses.replace(DOWN, state="blocked", domid=7, max_memory=Mib(512), vcpus=2, cpu_seconds=1.5, rescue=True)
    answer = reports.state(GetState(vps=VPS), SETTINGS, facts(running))
    assert (answer.state, answer.domid) == ("rescue", 7)
    assert old_reply(answer)[:3] == ["domain", ["id", "xen01"], ["domid", 7]]


def test_the_vps_is_not_started_beside_it() -> None:
    with pytest.raises(Failed, match="running already"):
        power.plan_start(REQUEST, SETTINGS, facts(dataclasses.replace(DOWN, state="running", rescue=True)))


@pytest.mark.parametrize("name", ["enterRescue", "leaveRescue", "bootSingle"])
def test_only_the_admin(name: str) -> None:
    with pytest.raises(NotAllowed):
        prepare(name, [("vps", "01")], SETTINGS, Caller("xen01", Role.OWNER, vps=VPS), rpc=False)
    assert prepare(name, [("vps", "01")], SETTINGS, Caller("dtc-xen", Role.ADMIN), rpc=False).vps == VPS
