"""A node on which every operation can be planned, for tests of what the original did wrong: calls under the panel's names, and what became of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from dtcxen_soap.access import Caller, Role
from dtcxen_soap.accountfacts import AccountFact, AccountsFact, KeyFact
from dtcxen_soap.calls import Kind
from dtcxen_soap.errors import DtcxenError
from dtcxen_soap.facts import (
    AptSource,
    DiskFact,
    DomuFact,
    Facts,
    IsoFact,
    KeptDisk,
    LvmFact,
    MemoryFact,
    NodeFact,
    QemuFact,
    RescueFact,
    Room,
    TenancyFact,
    TreeFact,
    VolumeGroup,
)
from dtcxen_soap.install.debootstrap import COMMANDS, DEBIAN_KEYRING
from dtcxen_soap.movefacts import MoveFact
from dtcxen_soap.operations import Form, forms, prepare
from dtcxen_soap.plans import Hold, Look, Plan, Run, Step, WriteFile
from dtcxen_soap.settings import Settings, load
from dtcxen_soap.vps import BootMode, DiskRole, ImageType, Mib, Secret
from dtcxen_soap.xen import bootmode
from tests.unit.install.guests import bzimage
from tests.wirekit import SAMPLES

GIB, MIB = 1 << 30, 1 << 20
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEXT = """
provisioning_mount_point=/m
xen_config_dir=/x
state_dir=/s
ttyssh_home=/homes
GATEWAY=192.0.2.1
NETMASK=255.255.255.0
DNS=192.0.2.53
KERNEL_RELEASE=6.1.0
vps_mac_prefix=00:16:3e:10:10
vps_domain=example.net
bsd_kernel_path=/boot/netbsd
bsd_install_kernel_path=/boot/netbsd-install
"""
SETTINGS = load(TEXT).settings
ADMIN = Caller("dtc-xen", Role.ADMIN, "192.0.2.99")
HOSTILE_ISO = "a',hdc:cdrom,r', 'phy:sda,xvda,w\" ]; x.iso"
"""What a VPS's owner may call a file in its home."""
NODE = NodeFact(
    "node", "id", "bookworm", "6.1.0",
    kernels=frozenset({"/boot/vmlinuz-6.1.0", "/boot/initrd.img-6.1.0", "/lib/modules/6.1.0", "/boot/netbsd", "/boot/netbsd-install"}),
    commands=frozenset({*COMMANDS, "mkfs.ext4", "mkfs.ext3", "mkswap", "mount", "umount", "tar", "e2fsck", "mke2fs", "mkfs.ext2", "xfs_repair", "btrfs"}),
    keyrings=frozenset({DEBIAN_KEYRING}),
    apt_sources=(AptSource("http://mirror.example/debian", "bookworm", ("main",), DEBIAN_KEYRING),), loaders=frozenset(bootmode.GRUB.values()), hvm=True)
ROOT = DiskFact(DiskRole.ROOT, "/dev/vg-a/xen01", 2 * GIB, False, image_type=ImageType.LVM, content="ext4")
SWAP = DiskFact(DiskRole.SWAP, "/dev/vg-a/xen01swap", 256 * MIB, False, image_type=ImageType.LVM, content="swap")
CONFIG = """
name = "xen01"
type = "pv"
kernel = "/boot/vmlinuz-6.1.0"
ramdisk = "/boot/initrd.img-6.1.0"
memory = 128
root = "/dev/xvda ro"
disk = ["format=raw, vdev=xvda, access=w, target=/dev/vg-a/xen01", "format=raw, vdev=xvdb, access=w, target=/dev/vg-a/xen01swap"]
"""
FACTS = Facts(
    now=NOW, disks=(ROOT, SWAP), room=Room(100 * GIB), lvm=LvmFact((VolumeGroup("vg-a", 100 * GIB, 4 * MIB),)), tenancy=TenancyFact(3), node=NODE,
    domu=DomuFact(True, toolstack=True, paths=(ROOT.path, SWAP.path), config_memory=Mib(128), boot=BootMode.DIRECT, config_addresses=(ip_address("192.0.2.10"),)),
    memory=MemoryFact(Mib(4096), Mib(8192)), kept=(KeptDisk("/dev/vg-a/xen01.kept.3.20260101T000000Z", 2 * GIB, NOW - timedelta(hours=20), image_type=ImageType.LVM),),
    rescue=RescueFact("/s/rescue/vmlinuz", "/s/rescue/initrd.img", "/x/xen01.rescue", "", "/s/rescue/xen01.seed", Secret("abcd-efgh"), (), CONFIG, True),
    qemu=QemuFact("/usr/libexec/xen-qemu-system-i386", True, True),
    accounts=AccountsFact({name: AccountFact(name, 2000, "xenusers", "/homes/xen01", "/bin/sh") for name in ("xen01", "xen01-iso")}, "xen01 ALL", True, True),
    keys=(KeyFact("SHA256:abc"),), move=MoveFact("ab" * 16, CONFIG, True, ("ssh-ed25519 AAAA",), Secret("$6$console-hash"), Secret("$2b$soap-hash"), "node:/s"),
    isos=(IsoFact("a.iso", 5 * MIB, NOW, "/homes/xen01/iso/a.iso"), IsoFact(HOSTILE_ISO, MIB, NOW, f"/homes/xen01/iso/{HOSTILE_ISO}")))
EMPTY = dataclasses.replace(FACTS, disks=(), kept=(), accounts=AccountsFact(), domu=DomuFact(False, toolstack=True))
"""The same node before VPS 01 had anything."""
RUNNING = dataclasses.replace(FACTS, domu=dataclasses.replace(FACTS.domu, state="blocked", domid=7))
"""The same node while VPS 01 runs; an idle domU is "blocked" to xl."""
_KERNEL = "boot/vmlinuz-6.1.0"
TREE = TreeFact(
    {"etc/fstab": "/dev/sda1 / ext3 defaults 0 1\n", "etc/hosts": "127.0.0.1 localhost\n",
     "etc/network/interfaces": "auto lo\n", "etc/shadow": "root:*:1::::::\n", "etc/motd": "x\n"},
    frozenset({"etc", "etc/network", "sbin/ifup", "usr/sbin/ifup", "usr/bin/ssh-keygen", "usr/sbin/sshd", "etc/ssh/ssh_host_rsa_key", "etc/motd",
               "usr/lib/systemd/systemd", _KERNEL}),
    {_KERNEL: bzimage("xz", "6.1.0")})
"""A system as an installer leaves it."""


SCENES = (FACTS, RUNNING, EMPTY)


def words(form: Form) -> dict[str, str]:
    """A good value for each parameter of a form."""
    return {item.name(form.old): SAMPLES[item.type.name] for item in form.parameters if not item.rpc_only and item.field not in ("plan_only", "settle")}


def decided(name: str, given: dict[str, str], facts: Facts = FACTS, settings: Settings = SETTINGS) -> Any:
    """What the admin's call under the panel's name comes to: a Plan or an answer. Raises what the caller would be told."""
    return prepare(name, tuple(given.items()), settings, ADMIN, rpc=True).decide(facts)


def plan(name: str, facts: Facts = FACTS, settings: Settings = SETTINGS, /, **given: str) -> Plan:
    """The plan of such a call, good values for what is not given."""
    form = next(form for form in forms(rpc=True) if form.name == name)
    made = decided(name, words(form) | given, facts, settings)
    assert isinstance(made, Plan), f"{name} answered at once: {made}"
    return made


def planned(form: Form, **changed: str) -> Plan | str:
    """The plan of a call in the first scene where it makes one; else the words of its last refusal."""
    told = ""
    for facts in SCENES:
        try:
            made = decided(form.name, words(form) | changed, facts)
        except DtcxenError as error:
            told = str(error)
        else:
            if isinstance(made, Plan):
                return made
    return told


def everything(made: Plan) -> tuple[Step, ...]:
    """Every step that may run because of a plan: holds' inner ones, those decided over the tree, undo, proof, and what goes on later."""
    later = everything(made.later) if made.later else ()
    return tuple(_all((*made.whole, *made.on_error))) + later


def _all(steps: tuple[Step, ...]) -> Iterator[Step]:
    for step in steps:
        yield step
        yield from _all(step.undo)
        if isinstance(step, Hold):
            yield from _all(step.steps)
        if isinstance(step, Look):
            yield from _all(step.decide(TREE))


def commands(made: Plan) -> tuple[Run, ...]:
    """Every command that may run because of a plan."""
    return tuple(step for step in everything(made) if isinstance(step, Run))


def seen(run: Run) -> tuple[str, ...]:
    """What others on the node may see of a command while it runs: its words and its environment."""
    return (*run.argv, *(text.reveal() if isinstance(text, Secret) else text for _, text in run.env))


def written(made: Plan) -> dict[str, str]:
    """The node's files that a plan writes, by path."""
    files = [step for step in everything(made) if isinstance(step, WriteFile)]
    return {step.path: step.content.reveal() if isinstance(step.content, Secret) else step.content for step in files}


def domu_config(made: Plan) -> str:
    """The domU's configuration that a plan writes."""
    return next(text for path, text in written(made).items() if path.startswith("/x/xen01"))


CHANGING = tuple(form for form in forms(rpc=True) if form.operation.kind in (Kind.NOW, Kind.JOB))
"""Every operation that changes something, under each of its names."""
