"""The original's defects of parameters and logic (12 to 20): what it did, and what happens here instead."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from dtcxen_soap.errors import Busy, DtcxenError, Failed, Refused
from dtcxen_soap.execute import execute
from dtcxen_soap.guestnet import resolvconf
from dtcxen_soap.install.contract import script_argv
from dtcxen_soap.journal import Journal
from dtcxen_soap.movesteps import GiveUp, StopDomu
from dtcxen_soap.operations import Form
from dtcxen_soap.plans import AllocateFile, Mounted, MustBeFree, Plan, RemoveVolume, RenameVolume, Run, TreeWrite, walk
from dtcxen_soap.processes import Ran
from dtcxen_soap.survey import disks as survey_disks
from dtcxen_soap.vps import DiskRole, ImageType, MacAddress, Mib, VpsId
from dtcxen_soap.wire.xmlnames import local
from dtcxen_soap.xen import configread
from dtcxen_soap.xen.mac import mac_for
from tests.defects.world import CHANGING, EMPTY, FACTS, NODE, RUNNING, SETTINGS, commands, decided, domu_config, everything, plan, words
from tests.fakes import ScriptedDom0
from tests.unit.install.guests import guest
from tests.wirekit import Wire

SCRIPT = Path(__file__).parents[2] / "dtcxen_soap/data/overlay/share/dtc-xen/dtc-xen-parse-param"


def test_defect_12_an_empty_name_shifts_nothing(tmp_path: Path) -> None:
    """`dtc_setup_vps_disk "" 30000 512 lvm` made a volume of 512 MiB for a VPS called 30000, because the panel's database had no name."""
    wire = Wire(tmp_path)
    sent = (("vpsname", ""), ("hddsize", "30000"), ("swapsize", "512"), ("imagetype", "lvm"))
    reply = wire.call("setupLVMDisks", *sent)
    told = [item.text for item in reply.root.iter() if local(item.tag) == "parameter"]
    assert reply.fault.startswith("SOAP-ENV:Client.InvalidParameter: setupLVMDisks: vpsname: ''") and told == ["vpsname"]
    shifted = wire.call("setupLVMDisks", ("vpsname", "30000"), ("hddsize", "512"), ("swapsize", "lvm"))
    assert [item.text for item in shifted.root.iter() if local(item.tag) == "parameter"] == ["vpsname", "swapsize"]
    assert not wire.engine.calls


def test_defect_12_an_empty_value_takes_no_flag_with_it() -> None:
    """`-dns $DNS -gw $GATEWAY` without quotes: an empty DNS ate -gw, and every flag behind it was lost."""
    bare = guest()
    network = dataclasses.replace(bare.network, dns=(), gateways=())
    argv = script_argv("install_os", dataclasses.replace(bare, network=network, modules=""))
    assert "" not in argv and not {"-dns", "-gw", "--kmod-path", "--lvm-name"} & set(argv)
    assert len(argv) % 2 == 1 and all(word.startswith("-") for word in argv[1::2]), "flag and value, pair by pair"


def variables(*flags: str, names: str = "DNS GATEWAY VPSMEM VNC_PASSWORD BOOT_ISO LVMNAME") -> list[str]:
    """What our script of the original's name sets for a bundle that sources it."""
    show = "; ".join(f'echo "${name}"' for name in names.split())
    done = subprocess.run(["sh", "-euc", f'. "{SCRIPT}"; {show}', "script", *flags], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.machine
def test_defect_12_a_bundle_reads_what_it_was_given() -> None:
    """The parser took a flag for the value of the one before, and never left a word that it did not know."""
    assert variables("-dns", "", "-gw", "192.0.2.1", "--new-flag", "-ram", "128")[:3] == ["", "192.0.2.1", "128"]


@pytest.mark.machine
def test_defect_13_what_is_given_is_handed_on() -> None:
    """Inverted tests (-z for -n) handed VNC password, boot ISO and volume group on only when they were empty."""
    assert variables("--vnc-pass", "pw", "--boot-iso", "a.iso", "--lvm-name", "vg-a")[3:] == ["pw", "a.iso", "vg-a"]
    assert variables("-ram", "128")[3:] == ["", "", ""]


def test_defect_13_the_iso_is_booted_when_one_is_named() -> None:
    """The same inversion booted an ISO when none was named."""
    cd, hdd = (domu_config(plan("writeXenHVMconf", howtoboot=how, vncpassword="v1ncpass")) for how in ("a.iso", "hdd"))
    assert configread.parse(cd).iso and not configread.parse(hdd).iso
    assert 'vncpasswd = "v1ncpass"' in cd and 'boot = "d' in cd and 'boot = "c' in hdd
    lvm = script_argv("install_os", dataclasses.replace(guest(), vps=dataclasses.replace(
        guest().vps, disks=(dataclasses.replace(guest().vps.disks[0], image_type=ImageType.LVM, path="/dev/vg-a/xen01"),))))
    assert lvm[lvm.index("--lvm-name") + 1] == "vg-a" and "--lvm-name" not in script_argv("install_os", guest())


def test_defect_14_every_name_server_has_its_line() -> None:
    """The second server was dropped, an empty line stood for none, and no line said "nameserver"."""
    text = resolvconf.render(guest().network).text
    assert [line for line in text.splitlines() if not line.startswith("#")] == ["nameserver 192.0.2.53", "nameserver 192.0.2.54"]


def test_defect_15_xen10_is_neither_xen1_nor_xen100() -> None:
    """`grep xen1 /etc/fstab` finds xen10 too."""
    dom0 = ScriptedDom0()
    for name in ("xen01.img", "xen10.img", "xen100.img", "xen101.img", "xen10.swap.img", "xen100.swap.img"):
        dom0.allocate_file(f"/m/{name}", 1 << 20, sparse=False)
    for number, names in ((1, {"xen01.img"}), (10, {"xen10.img", "xen10.swap.img"}), (100, {"xen100.img", "xen100.swap.img"})):
        assert {found.path.removeprefix("/m/") for found in survey_disks.disks(dom0, SETTINGS, VpsId(number))} == names
    removed = [getattr(step, "path", "") for step in everything(plan("killVPS", vpsname="10"))]
    assert all("xen100" not in path and "xen01" not in path for path in removed if path.startswith("/x/"))


@pytest.mark.parametrize("number", [1, 10, 99, 100, 101, 256, 9999])
def test_defect_15_every_number_has_a_mac_address(number: int) -> None:
    """The decimal number was pasted in hex: from 100 on the address had three digits too many."""
    known = {mac_for(VpsId(other), SETTINGS, "node", {}) for other in range(1, 400) if other != number}
    mac = mac_for(VpsId(number), SETTINGS, "node", {})
    assert isinstance(mac, MacAddress) and mac not in known and len(str(mac)) == 17


def test_defect_16_the_cd_drive_holds_the_iso_and_shares_its_letter_with_no_disk() -> None:
    """`cut -f5` named the directory for the ISO, and awk gave every ISO the same drive."""
    found = configread.parse(domu_config(plan("writeXenHVMconf", howtoboot="a.iso")))
    devices = [disk.device for disk in found.disks]
    assert len(devices) == 3 == len(set(devices)) and found.iso == "/homes/.isos/xen01.iso"


def test_defect_17_a_file_is_reserved_at_its_size_and_at_once() -> None:
    """dd wrote the whole disk inside the call, which the panel ends after 30 s; another dd made it 1 GiB longer."""
    made = plan("setupLVMDisks", EMPTY, imagetype="vbd", hddsize="2048", swapsize="256")
    files = [step for step in everything(made) if isinstance(step, AllocateFile)]
    assert [(step.path, step.size) for step in files] == [("/m/xen01.img", Mib(2048)), ("/m/xen01.swap.img", Mib(256))]
    assert not any(run.argv[0] == "dd" for run in commands(made))


def test_defect_17_a_volume_is_overwritten_after_the_answer() -> None:
    """The same on LVM: what takes long goes on as a job once the call was answered."""
    made = plan("setupLVMDisks", EMPTY, imagetype="lvm", hddsize="2048", swapsize="256")
    slow = [run for run in made.steps if isinstance(run, Run) and run.argv[0] in ("blkdiscard", "dd")]
    assert not slow and made.later and [step for step in made.later.steps if isinstance(step, Run)]


WITHOUT_DISKS = {"startVPS", "shutdownVPS", "rebootVPS", "destroyVPS", "leaveRescue", "setConsolePassword", "setSshKey", "setSoapPassword"}
"""What starts or ends a domU, or is about its owner alone."""
TOUCHES_DISKS = [form for form in CHANGING if form.operation.name not in WITHOUT_DISKS]


@pytest.mark.parametrize("form", TOUCHES_DISKS, ids=lambda form: form.name)
def test_defect_18_nothing_touches_the_disks_of_a_running_domu(form: Form) -> None:
    """mkfs, lvremove -f and fsck.ext3 ran without asking whether the domU was down. A move shuts it down itself, and looks."""
    if form.operation.name == "migrateVPS":
        kinds = [type(step) for step in decided(form.name, words(form), RUNNING).steps]
        assert kinds.index(StopDomu) < kinds.index(MustBeFree) < kinds.index(GiveUp)
        return
    with pytest.raises((Busy, Failed), match="running"):
        decided(form.name, words(form), RUNNING)


@pytest.mark.parametrize("form", TOUCHES_DISKS, ids=lambda form: form.name)
def test_defect_18_and_a_look_comes_right_before_the_first_touch(form: Form) -> None:
    """Where it did ask, the domU could be started between the question and the mkfs."""
    for facts in (FACTS, EMPTY):
        try:
            made = decided(form.name, words(form), facts)
        except DtcxenError:
            continue
        steps = everything(made) if isinstance(made, Plan) else ()
        first = next((number for number, step in enumerate(steps) if _touches(step)), len(steps))
        assert first == len(steps) or any(isinstance(step, MustBeFree) for step in steps[:first]), steps[first]


def _touches(step: object) -> bool:
    """Whether a step changes or gives away a disk that VPS 01 had before."""
    paths = ("/dev/vg-a/xen01", "/dev/vg-a/xen01swap")
    if isinstance(step, RemoveVolume | RenameVolume):
        return f"/dev/{step.vg}/{getattr(step, 'lv', '') or getattr(step, 'source', '')}" in paths
    return isinstance(step, Run) and step.argv[-1] in paths


def test_defect_18_setup_of_a_used_number_loses_nothing() -> None:
    """setupLVMDisks erased the disk of whoever had the number before."""
    made = plan("setupLVMDisks", imagetype="lvm", hddsize="1024", swapsize="128")
    moved = [step.source for step in walk(made.steps) if isinstance(step, RenameVolume)]
    assert moved == ["xen01", "xen01swap"] and not [step for step in walk(made.steps) if isinstance(step, RemoveVolume)]
    with pytest.raises(Refused, match="VPS 01 has a root disk of 2048 MiB .* already"):
        plan("setupVPSDisk", imageType="lvm")


def test_defect_19_the_volume_group_and_the_file_system_are_what_they_are() -> None:
    """The volume group was lvm1 and the file system ext3, whatever the node and the disk said."""
    for content, program in (("ext4", "e2fsck"), ("xfs", "xfs_repair"), ("btrfs", "btrfs")):
        disks_ = tuple(dataclasses.replace(disk, content=content) if disk.role is DiskRole.ROOT else disk for disk in FACTS.disks)
        (run,) = commands(plan("fsckVPSpartition", dataclasses.replace(FACTS, disks=disks_)))
        assert (run.argv[0], run.argv[-1]) == (program, "/dev/vg-a/xen01")
    assert "lvm1" not in repr(plan("setupLVMDisks", EMPTY, imagetype="lvm"))


def test_defect_19_the_names_that_were_given_are_the_ones_that_are_used() -> None:
    """VPS_FQDN was ignored for mx.xenNN.node, and motd lost the name that was to be put into it. ($MKDIR undefined: no shell writes these files here.)"""
    node = dataclasses.replace(NODE, texts={"motd": "Welcome to VPS_HOSTNAME\n"})
    made = plan("reinstallOS", dataclasses.replace(FACTS, node=node), hostname="www.example.org", bootMode="direct")
    files = {step.path: str(step.content) for step in everything(made) if isinstance(step, TreeWrite)}
    assert "www.example.org www" in files["etc/hosts"] and files["etc/hostname"] == "www\n" and files["etc/motd"] == "Welcome to www\n"
    assert not any("VPS_HOSTNAME" in text or "mx." in text for text in files.values())


def test_defect_19_a_missing_program_is_named() -> None:
    """`[ -a /sbin/lvremove ]` passed for a program that could not be run. (Its migrate, whose third argument was inverted, is a later part's.)"""
    bare = dataclasses.replace(FACTS, node=dataclasses.replace(NODE, commands=frozenset()))
    with pytest.raises(Failed, match="the node lacks mmdebstrap, unshare, chroot: install the packages"):
        plan("reinstallVPSos", bare)
    with pytest.raises(Failed, match="the node lacks mke2fs|the node lacks mkfs"):
        plan("enterRescue", bare)
    with pytest.raises(Failed, match="the node lacks e2fsck"):
        plan("fsckVPSpartition", bare)


def test_defect_20_an_unknown_system_is_refused_before_anything_is_done() -> None:
    """It printed "manually install", ended with success, and left the disk formatted and mounted."""
    with pytest.raises(Refused, match="reinstallVPSos: ostype: 'beos' cannot be installed here, expected one of debian"):
        plan("reinstallVPSos", ostype="beos")


def test_defect_20_whatever_fails_everything_is_released(tmp_path: Path) -> None:
    """No script had a trap: any failure left mounts behind."""
    files = tuple(dataclasses.replace(disk, path=f"/m/xen01.{disk.role.value}.img", image_type=ImageType.VBD, blank=True) for disk in FACTS.disks)
    made = plan("reinstallVPSos", dataclasses.replace(EMPTY, disks=files))
    (hold,) = [step for step in made.steps if isinstance(step, Mounted)]
    dom0 = ScriptedDom0({"mkfs.ext4": "", "mmdebstrap": Ran(1, "no route to host")}, files={hold.source: "disk"})
    dom0.strict = False
    only = dataclasses.replace(made, steps=(hold,), proof=())
    journal = Journal(str(tmp_path / "journal.sqlite"))
    job = journal.begin("reinstallOS", VpsId(1), "dtc-xen", "job", (), 1)
    with pytest.raises(Failed, match="mmdebstrap ended with code 1"):
        execute(job, only, dom0, journal, lambda: False)
    journal.close()
    assert any(call[0] == "mount" for call in dom0.calls) and dom0.mounts == []
