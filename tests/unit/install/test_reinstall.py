"""reinstallOS as one plan: golden plans to read aloud, and everything that speaks against an installation."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from dtcxen_soap import requests as req
from dtcxen_soap.accountfacts import KeyFact
from dtcxen_soap.errors import Busy, Failed, Missing, Refused
from dtcxen_soap.facts import AptSource, DiskFact, DomuFact, Facts, KeptDisk, Leftover, LvmFact, MemoryFact, NeedKeys, NodeFact, Room, TenancyFact, VolumeGroup
from dtcxen_soap.firstbootfacts import FirstbootFact, Snippet
from dtcxen_soap.imagefacts import GoldenImage, ImageCache
from dtcxen_soap.imagesteps import CloneImage, MakingImage, VerifyImage
from dtcxen_soap.install import debootstrap, ostypes, reinstall
from dtcxen_soap.install import golden as golden_images
from dtcxen_soap.osfacts import BundleFact
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import MEMORY, ExchangeFile, Look, MakeVolume, Mounted, RemoveFile, RenameFile, RenameVolume, Run, TreeWrite, WatchBoot, WriteFile, walk
from dtcxen_soap.settings import load
from dtcxen_soap.vps import BootMode, DiskRole, ImageType, MacAddress, Mib, Secret
from dtcxen_soap.xen import bootmode
from tests.unit.install.test_finish import DEBIAN_12

GIB = 1 << 30
CONFIG = "provisioning_mount_point=/m\nxen_config_dir=/x\nGATEWAY=192.0.2.1\nDNS=192.0.2.53\nvps_domain=example.net\nKERNEL_RELEASE=6.1.0\nimage_cache_mib=0\n"
SETTINGS = load(CONFIG).settings
NODE = NodeFact(
    "node", "id", "bookworm", "6.1.0", kernels=frozenset({"/boot/vmlinuz-6.1.0", "/boot/initrd.img-6.1.0", "/lib/modules/6.1.0"}),
    commands=frozenset({*debootstrap.COMMANDS, "mkfs.ext4", "mkswap", "mount", "umount", "tar"}), keyrings=frozenset({debootstrap.DEBIAN_KEYRING}),
    apt_sources=(AptSource("http://mirror.example/debian", "bookworm", ("main",), debootstrap.DEBIAN_KEYRING),))
ROOT, SWAP = DiskFact(DiskRole.ROOT, "/m/xen01.img", 2 * GIB, True), DiskFact(DiskRole.SWAP, "/m/xen01.swap.img", 256 << 20, True)
FIRST = Facts(now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), disks=(ROOT, SWAP), room=Room(100 * GIB), node=NODE)
AGAIN = dataclasses.replace(FIRST, disks=(dataclasses.replace(ROOT, blank=False), SWAP), domu=DomuFact(True))
THIRD = dataclasses.replace(AGAIN, kept=(KeptDisk("/m/kept/xen01.img.0.20260101T000000Z", 2 * GIB, datetime(2026, 1, 1, tzinfo=UTC)),))
TIGHT = dataclasses.replace(AGAIN, room=Room(GIB))
GROUP = LvmFact((VolumeGroup("vg0", 100 * GIB, 4 << 20),))
LVM_ROOT = DiskFact(DiskRole.ROOT, "/dev/vg0/xen01", 2 * GIB, True, image_type=ImageType.LVM, unzeroed=True)
LVM_SWAP = DiskFact(DiskRole.SWAP, "/dev/vg0/xen01swap", 256 << 20, True, image_type=ImageType.LVM, unzeroed=True)
LVM_FIRST = dataclasses.replace(FIRST, disks=(LVM_ROOT, LVM_SWAP), lvm=GROUP)
LVM_AGAIN = dataclasses.replace(
    LVM_FIRST, domu=DomuFact(True, toolstack=True), leftovers=(Leftover("/dev/vg0/xen01.new", ImageType.LVM),),
    disks=(dataclasses.replace(LVM_ROOT, blank=False, unzeroed=False), dataclasses.replace(LVM_SWAP, blank=False, unzeroed=False)))
WORDS = {"vpsname": "01", "ostype": "debian", "ramsize": "128", "password": "hunter2", "nics": "192.0.2.10/24"}


def request(**changed):
    return req.parse(req.Reinstall, "reinstallVPSos", list((WORDS | changed).items()), SETTINGS, old=True, rpc=True)


@pytest.mark.parametrize(("name", "facts"), [
    ("first", FIRST), ("again", AGAIN), ("third", THIRD), ("in-place", TIGHT), ("lvm-first", LVM_FIRST), ("lvm-again", LVM_AGAIN)])
def test_plans(golden, name, facts):
    text = "\n".join(render(reinstall.plan(request(), SETTINGS, facts))) + "\n"
    assert "hunter2" not in text
    golden(f"plans/reinstall-debian-{name}.txt", text)


def test_nothing_is_destroyed_while_the_old_system_is_kept():
    steps = list(walk(reinstall.plan(request(), SETTINGS, AGAIN).steps))
    assert not [step for step in steps if step.destroys]
    assert isinstance(steps[-1], RenameFile) and (steps[-1].source, steps[-1].target) == ("/m/xen01.img.old", "/m/kept/xen01.img.0.20260102T030405Z")


@pytest.mark.parametrize(("facts", "more", "lost"), [
    (THIRD, "", "the system that VPS 01 had until 2026-01-01 00:00Z"), (AGAIN, "keep_old_disk_hours=0", "the old system of VPS 01")])
def test_nothing_is_destroyed_before_the_new_system_is_complete(facts, more, lost):
    steps = list(walk(reinstall.plan(request(), load(CONFIG + more).settings, facts).steps))
    (place,) = [place for place, step in enumerate(steps) if step.destroys]
    assert steps[place].destroys == lost and steps[place].may_fail
    assert place > max(place for place, step in enumerate(steps) if isinstance(step, ExchangeFile))


def test_a_new_volume_is_built_on_at_once_and_shows_nobody_elses_blocks():
    steps = [step for step in walk(reinstall.plan(request(), SETTINGS, LVM_FIRST).steps)]
    words = [" ".join(step.argv) if isinstance(step, Run) else type(step).__name__ for step in steps]
    for path, made in (("/dev/vg0/xen01", "mkfs.ext4"), ("/dev/vg0/xen01swap", "mkswap")):
        zeroed = next(place for place, text in enumerate(words) if text.startswith("blkdiscard") and text.endswith(path))
        assert zeroed < next(place for place, text in enumerate(words) if text.startswith(made))
    assert not [step for step in steps if isinstance(step, MakeVolume)]


def test_what_an_interrupted_installation_left_on_volumes_goes_first_and_leaves_work():
    plan = reinstall.plan(request(), SETTINGS, LVM_AGAIN)
    first = plan.steps[0]
    assert isinstance(first, RenameVolume) and first.source == "xen01.new" and ".doomed." in first.target and plan.leaves_work


def test_volumes_that_other_plans_will_take_are_counted():
    facts = dataclasses.replace(LVM_AGAIN, reserved={"vg0": 99 * GIB})
    with pytest.raises(Refused, match="1024 MiB are lacking"):
        reinstall.plan(request(), load(CONFIG + "reinstall_in_place=refuse").settings, facts)


def new_request(**changed):
    words = {"vps": "01", "osType": "debian", "ramSizeMib": "128", "password": "hunter2", "nics": "192.0.2.10/24", "bootMode": "direct", "start": "true"} | changed
    return req.parse(req.Reinstall, "reinstallOS", list(words.items()), SETTINGS, old=False, rpc=True)


ROOMY = dataclasses.replace(LVM_AGAIN, memory=MemoryFact(Mib(1024), Mib(4096)))


def test_a_start_is_the_proof_and_watched():
    plan = reinstall.plan(new_request(), SETTINGS, ROOMY)
    *_, create, watch = plan.proof
    assert isinstance(create, Run) and create.argv[:2] == ("xl", "create") and create.argv[-1].endswith("/x/xen01")
    assert isinstance(watch, WatchBoot) and [str(each) for each in watch.addresses] == ["192.0.2.10"] and watch.seconds == SETTINGS.boot_watch_seconds
    assert not reinstall.plan(new_request(start="false"), SETTINGS, ROOMY).proof


@pytest.mark.parametrize(("facts", "error", "text"), [
    (dataclasses.replace(ROOMY, domu=DomuFact(True)), Missing, "runs no domUs"),
    (dataclasses.replace(ROOMY, memory=MemoryFact(Mib(100), Mib(4096))), Refused, "ramSizeMib: not enough memory"),
    (dataclasses.replace(ROOMY, reserved={MEMORY: 1000 << 20}), Refused, "ramSizeMib: not enough memory")])
def test_what_speaks_against_a_start_is_told_before_anything_is_installed(facts, error, text):
    with pytest.raises(error, match=text):
        reinstall.plan(new_request(), SETTINGS, facts)


def test_the_caller_chooses_the_boot_mode_or_the_node_does():
    grub = dataclasses.replace(NODE, loaders=frozenset(bootmode.GRUB.values()), hvm=True)
    for asked, node, expected in (("pv-grub", grub, "pv-grub"), ("direct", grub, "direct")):
        assert reinstall.plan(new_request(bootMode=asked), SETTINGS, dataclasses.replace(ROOMY, node=node)).notes[0] == f"it will boot by {expected}"
    for node, expected in ((grub, "pvh-grub"), (dataclasses.replace(grub, hvm=False), "pv-grub"), (NODE, "direct")):
        assert reinstall.plan(request(), SETTINGS, dataclasses.replace(ROOMY, node=node)).notes[0] == f"it will boot by {expected}"
    with pytest.raises(Refused, match="reinstallOS: bootMode: pvh-grub: this node cannot run PVH guests"):
        reinstall.plan(new_request(bootMode="pvh-grub"), SETTINGS, ROOMY)


def test_two_root_disks_are_one_too_many():
    with pytest.raises(Refused, match="two root disks, /m/xen01.img and /dev/vg0/xen01"):
        reinstall.plan(request(), SETTINGS, dataclasses.replace(FIRST, disks=(ROOT, LVM_ROOT)))


def test_the_address_that_a_configuration_has_is_kept():
    facts = dataclasses.replace(AGAIN, domu=DomuFact(True, config_mac=MacAddress("00:16:3e:aa:bb:cc")))
    (config,) = [step.content for step in walk(reinstall.plan(request(), SETTINGS, facts).steps) if isinstance(step, WriteFile) and step.path == "/x/xen01.new"]
    assert "00:16:3e:aa:bb:cc" in str(config)


def test_what_is_swapped_in_can_be_swapped_back():
    for step in walk(reinstall.plan(request(), SETTINGS, AGAIN).steps):
        if isinstance(step, ExchangeFile):
            back = step.undo[0]
            assert isinstance(back, ExchangeFile) and (back.source, back.target) == (step.keep, step.target)


def test_in_place_says_what_it_destroys_after_the_checks():
    plan = reinstall.plan(request(), SETTINGS, TIGHT)
    assert "DESTROYED" in plan.notes[-1]
    assert [step.destroys for step in walk(plan.steps) if step.destroys] == ["the system on /m/xen01.img"]
    with pytest.raises(Refused, match="reinstall_in_place=allow"):
        reinstall.plan(request(), load(CONFIG + "reinstall_in_place=refuse").settings, TIGHT)


LVM_KEPT = KeptDisk("/dev/vg0/xen01.kept.0.20260101T000000Z", 2 * GIB, datetime(2026, 1, 1, tzinfo=UTC), image_type=ImageType.LVM)


@pytest.mark.parametrize(("facts", "removed"), [
    (dataclasses.replace(THIRD, room=Room(GIB)), "/m/kept/xen01.img.0.20260101T000000Z"),
    (dataclasses.replace(LVM_AGAIN, leftovers=(), lvm=LvmFact((VolumeGroup("vg0", GIB, 4 << 20),)), kept=(LVM_KEPT,)), LVM_KEPT.path)])
def test_a_kept_system_goes_before_the_present_one_is_put_at_risk(facts, removed):
    plan = reinstall.plan(request(), load(CONFIG + "reinstall_in_place=refuse").settings, facts)
    (lost,) = [step for step in walk(plan.steps) if step.destroys]
    assert lost is plan.steps[0] and lost.destroys == "the system that VPS 01 had until 2026-01-01 00:00Z" and not lost.may_fail
    assert (lost.path if isinstance(lost, RemoveFile) else f"/dev/{lost.vg}/{lost.lv}") == removed
    assert isinstance(lost, RemoveFile) or lost.wipe, "its room is needed at once, and its blocks are nobody else's"
    assert any("no room for three" in note for note in plan.notes)


def test_a_kept_system_elsewhere_makes_no_room():
    with pytest.raises(Refused, match="are lacking"):
        reinstall.plan(request(), load(CONFIG + "reinstall_in_place=refuse").settings, dataclasses.replace(TIGHT, lvm=GROUP, kept=(LVM_KEPT,)))


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
    (dataclasses.replace(FIRST, node=dataclasses.replace(NODE, unsafe_postinstall=("/usr/local/bin/post",))), Failed, "others may write /usr/local/bin/post"),
    (dataclasses.replace(FIRST, taken_macs={"00:16:3e:10:10:01": "xen07"}), Failed, "xen07")])
def test_what_speaks_against_it(facts, error, text):
    with pytest.raises(error, match=text):
        reinstall.plan(request(), SETTINGS, facts)


def test_an_unknown_os_is_refused_with_what_there_is():
    with pytest.raises(Refused, match="osType: 'windows' cannot be installed here, expected one of debian, manual, netbsd, xenhvm, lenny-64"):
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


# -- from the image cache -------------------------------------------------------------------------

CACHING = load(CONFIG.replace("image_cache_mib=0", "image_cache=/c")).settings
TOOLS = dataclasses.replace(NODE, commands=NODE.commands | set(golden_images.COMMANDS))
RECIPE = ostypes.recipe(BootMode.DIRECT, CACHING, dataclasses.replace(FIRST, node=TOOLS))
IMAGE = GoldenImage(golden_images.key(RECIPE, CACHING), "debian", datetime(2026, 1, 1, tzinfo=UTC), "5ha256", 400 << 20)
NO_IMAGE = dataclasses.replace(AGAIN, node=TOOLS, cache=ImageCache((), 100 * GIB))
ONE_IMAGE = dataclasses.replace(NO_IMAGE, cache=ImageCache((IMAGE,), 0))


def cached(facts, more="", **changed):
    return reinstall.plan(request(**changed), load(CONFIG.replace("image_cache_mib=0", "image_cache=/c") + more).settings, facts)


@pytest.mark.parametrize(("name", "facts"), [
    ("image-first", NO_IMAGE), ("image-again", ONE_IMAGE), ("image-in-place", dataclasses.replace(ONE_IMAGE, room=Room(GIB)))])
def test_plans_with_an_image(golden, name, facts):
    text = "\n".join(render(cached(facts))) + "\n"
    assert "hunter2" not in text and "192.0.2.10" not in text.partition("Clone the image")[0], "nothing of one VPS is in what all share"
    golden(f"plans/reinstall-debian-{name}.txt", text)


def test_what_is_destroyed_for_an_image_is_destroyed_after_its_verification():
    steps = list(walk(cached(dataclasses.replace(ONE_IMAGE, room=Room(GIB))).steps))
    (verify,) = [place for place, step in enumerate(steps) if isinstance(step, VerifyImage)]
    (clone,) = [place for place, step in enumerate(steps) if isinstance(step, CloneImage)]
    assert verify < clone and steps[clone].destroys and not steps[clone].zeroed, "what the old system left would shine through"
    assert not any(step.destroys for step in steps[:clone])


@pytest.mark.parametrize(("facts", "more"), [
    (ONE_IMAGE, "image_cache_mib=0"), (ONE_IMAGE, "root_filesystem=xfs"), (dataclasses.replace(ONE_IMAGE, node=NODE), ""),
    (dataclasses.replace(NO_IMAGE, cache=ImageCache((), 5 * GIB)), "")], ids=["off", "xfs", "no tools", "no room"])
def test_without_an_image_it_is_installed_from_scratch_and_says_why(facts, more):
    facts = dataclasses.replace(facts, node=dataclasses.replace(facts.node, commands=facts.node.commands | {"mkfs.xfs"}))
    plan = cached(facts, more)
    assert not [step for step in walk(plan.steps) if isinstance(step, CloneImage)]
    assert ("from scratch" in plan.notes[0]) is (more != "image_cache_mib=0"), plan.notes


@pytest.mark.parametrize(("image", "more"), [
    (dataclasses.replace(IMAGE, made=datetime(2025, 12, 20, tzinfo=UTC)), ""), (IMAGE, "debian_release=trixie"), (IMAGE, "root_filesystem=ext3"),
    (IMAGE, "debian_added_debs=vim")], ids=["old", "release", "file system", "packages"])
def test_an_image_that_is_old_or_of_something_else_is_made_anew(image, more):
    node = dataclasses.replace(TOOLS, commands=TOOLS.commands | {"mkfs.ext3"})
    plan = cached(dataclasses.replace(NO_IMAGE, node=node, cache=ImageCache((image,), 100 * GIB)), more)
    assert [step.max_age.days for step in walk(plan.steps) if isinstance(step, MakingImage)] == [7]


def test_an_image_that_does_not_fit_is_refused():
    with pytest.raises(Refused, match="osType: debian needs a root disk of 3072 MiB, and this one has 2048"):
        cached(dataclasses.replace(ONE_IMAGE, cache=ImageCache((dataclasses.replace(IMAGE, size_bytes=3 * GIB),), 0)))


def test_two_that_want_the_same_image_never_share_a_file():
    paths = {step.unfinished for vps in ("01", "02") for step in walk(cached(NO_IMAGE, vpsname=vps).steps) if isinstance(step, MakingImage)}
    assert len(paths) == 2


def test_blocks_are_shared_only_where_the_node_overcommits():
    for more, share in (("", False), ("overcommit=yes", True)):
        (clone,) = [step for step in walk(cached(ONE_IMAGE, more).steps) if isinstance(step, CloneImage)]
        assert clone.share is share
def test_the_admins_snippets_become_the_first_boots() -> None:
    snippets = (Snippet("10-a", Secret("#!/bin/sh\ngeheim\n")), Snippet("20-b", Secret("#!/bin/sh\n")))
    plan = reinstall.plan(new_request(start="false"), SETTINGS, dataclasses.replace(AGAIN, firstboot=FirstbootFact(snippets)))
    assert "geheim" not in "\n".join(render(plan)) and "geheim" not in repr(plan)
    (look,) = [step for step in walk(plan.steps) if isinstance(step, Look)]
    written = {step.path: step.content for step in look.decide(DEBIAN_12) if isinstance(step, TreeWrite)}
    waiting = "var/lib/dtcxen-firstboot/waiting"
    assert [path for path in written if path.startswith(waiting)] == [f"{waiting}/1-10-a", f"{waiting}/1-20-b"]
    assert written[f"{waiting}/1-10-a"] == snippets[0].content and "limit=900" in str(written["var/lib/dtcxen-firstboot/run"])


def test_unsafe_snippets_are_named_before_anything_is_planned() -> None:
    with pytest.raises(Failed, match="could have changed them: /c/firstboot.d/a"):
        reinstall.plan(new_request(start="false"), SETTINGS, dataclasses.replace(AGAIN, firstboot=FirstbootFact(unsafe=("/c/firstboot.d/a",))))


KEYS = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@example\nssh-rsa AAAAB3NzaC1yc2E= other"


def asked(**changed: str) -> Any:
    return reinstall.plan(new_request(start="false", **changed), SETTINGS, AGAIN)


def tree_of(plan: Any, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """What finishing writes into a Debian, by path."""
    (look,) = [step for step in walk(plan.steps) if isinstance(step, Look)]
    return {step.path: step.content for step in look.decide(dataclasses.replace(DEBIAN_12, paths=DEBIAN_12.paths | set(more))) if isinstance(step, TreeWrite)}


def test_the_owners_keys_and_script_reach_the_tree_and_nothing_else() -> None:
    assert NeedKeys(tuple(KEYS.splitlines())) in reinstall.needs(new_request(sshKeys=KEYS), SETTINGS)
    plan = asked(sshKeys=KEYS, userData="#!/bin/sh\r\necho geheim")
    assert "geheim" not in repr(plan) and "geheim" not in "\n".join(render(plan))
    files = tree_of(plan)
    assert files["var/lib/dtcxen-firstboot/waiting/3-owner"] == Secret("#!/bin/sh\necho geheim\n") and files["root/.ssh/authorized_keys"] == KEYS + "\n"
    assert not [path for path in files if "cloud" in path]


def test_a_debian_without_cloud_init_takes_no_cloud_config() -> None:
    with pytest.raises(Refused, match="reinstallOS: userData: debian has no cloud-init"):
        asked(userData="#cloud-config\n{}")
    with_it = load(CONFIG + "debian_added_debs=cloud-init").settings
    plan = reinstall.plan(new_request(start="false", userData="#cloud-config\n{}"), with_it, AGAIN)
    files = tree_of(plan, ("usr/bin/cloud-init",))
    assert files["var/lib/cloud/seed/nocloud/user-data"] == Secret("#cloud-config\n{}\n") and "dtcxen-firstboot" not in " ".join(files)
    assert '"instance-id": "xen01-0-20260102T030405Z"' in files["var/lib/cloud/seed/nocloud/meta-data"]
    with pytest.raises(Failed, match="has no cloud-init"):
        tree_of(plan)


def test_a_bundles_tree_is_asked_before_it_takes_the_old_ones_place() -> None:
    facts = dataclasses.replace(AGAIN, node=dataclasses.replace(NODE, commands=NODE.commands | {"tar", "unshare", "sh"}), bundle=BundleFact("b", "/o/b", frozenset(), ("a.tar",)))
    plan = reinstall.plan(new_request(start="false", osType="b", userData="#cloud-config\n"), SETTINGS, facts)
    steps = list(walk(plan.steps))
    assert [type(step) for step in steps].index(Look) < [type(step) for step in steps].index(ExchangeFile)


@pytest.mark.parametrize(("changed", "problem"), [
    ({"userData": "echo no"}, "userData: not of the form allowed"), ({"userData": "# cloud-config\n"}, "userData: begins with neither #cloud-config nor #!"),
    ({"userData": "#cloud-configuration\n"}, "begins with neither"), ({"userData": "#!" + "x" * 65536}, "65538 characters are too many"),
    ({"userData": "#!" + "\u20ac" * 30000}, "90002 bytes are too many"), ({"userData": "#!\x07"}, "not of the form"),
    ({"sshKeys": "nonsense"}, "sshKeys: 'nonsense': line 1 is not a public key"), ({"sshKeys": "\n".join(f"ssh-ed25519 AAAA{n}" for n in range(21))}, "more than 20 keys")])
def test_what_is_neither_a_key_nor_user_data(changed: dict[str, str], problem: str) -> None:
    with pytest.raises(Refused) as error:
        asked(**changed)
    assert problem in str(error.value) and "echo no" not in str(error.value)


def test_a_key_that_ssh_keygen_cannot_read_is_told_by_its_number() -> None:
    facts = dataclasses.replace(AGAIN, keys=(KeyFact("SHA256:x"), KeyFact(problem="ssh-keygen cannot read it")))
    with pytest.raises(Refused, match="reinstallOS: sshKeys: key 2: ssh-keygen cannot read it"):
        reinstall.plan(new_request(start="false", sshKeys=KEYS), SETTINGS, facts)


def test_the_panels_form_knows_neither() -> None:
    for name in ("sshKeys", "userData"):
        with pytest.raises(Refused, match=f"{name}: unknown parameter"):
            request(**{name: "#!x"})
