"""domU configurations: what is written is read back, nothing breaks out of its quotes, nothing on a node breaks the reader."""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtcxen_soap.vps import BootMode, Disk, DiskRole, HvmOptions, ImageType, MacAddress, Mib, Nic, Secret, Vps, VpsId
from dtcxen_soap.xen.config import DomuConfig, DomuDisk, parse, quote, render, texts
from tests.networks import CASES, MAC

IP = ipaddress.ip_address
FILES = (Disk(DiskRole.ROOT, ImageType.VBD, "/var/lib/dtc-xen/mnt/xen01.img"), Disk(DiskRole.SWAP, ImageType.VBD, "/var/lib/dtc-xen/mnt/xen01.swap.img"))
VOLUMES = (Disk(DiskRole.ROOT, ImageType.LVM, "/dev/vg0/xen1234"), Disk(DiskRole.SWAP, ImageType.LVM, "/dev/vg0/xen1234swap"))
PLAIN = Vps(VpsId(1), Mib(512), FILES, Nic(MAC, CASES["one-ipv4"].nic.addresses), BootMode.DIRECT, "/boot/vmlinuz-6.1.0-9-amd64", "/boot/initrd.img-6.1.0-9-amd64")
ALL_KEYS = Vps(
    VpsId(1234), Mib(8192), VOLUMES, Nic(MacAddress("02:ab:cd:ef:01:23"), CASES["both-versions"].nic.addresses, "xenbr0"), BootMode.DIRECT,
    "/boot/vmlinuz-6.1.0-9-amd64", "", 'dyndbg="file a.c +p" quiet', 4)
PVH_GRUB, PV_GRUB = "/usr/lib/grub-xen/grub-i386-xen_pvh.bin", "/usr/lib/grub-xen/grub-x86_64-xen.bin"
SCREEN = HvmOptions("/isos/xen1234.iso", "uefi", Secret('s"3c\\ret'), "192.0.2.1")


def booting(vps, mode, kernel="", ramdisk="", **more):
    return dataclasses.replace(vps, boot=mode, kernel=kernel, ramdisk=ramdisk, **more)


VPSES = {
    "file-backed": PLAIN,
    "lvm-all-keys": ALL_KEYS,
    "pvh-grub": booting(PLAIN, BootMode.PVH_GRUB, PVH_GRUB),
    "pv-grub": booting(ALL_KEYS, BootMode.PV_GRUB, PV_GRUB),
    "pygrub": booting(ALL_KEYS, BootMode.PYGRUB),
    "netbsd": booting(PLAIN, BootMode.NETBSD, "/boot/netbsd-XEN3_DOMU.gz"),
    "hvm-disk": booting(PLAIN, BootMode.HVM, hvm=HvmOptions()),
    "hvm-cd-uefi-screen": booting(ALL_KEYS, BootMode.HVM, hvm=SCREEN),
    "one-shot": booting(PLAIN, BootMode.DIRECT, "/rescue/vmlinuz", "/rescue/initrd.img", on_reboot="destroy", seed="/var/lib/dtc-xen/rescue/xen01.seed"),
    "one-shot-pvh": booting(
        PLAIN, BootMode.DIRECT, "/rescue/vmlinuz", "/rescue/initrd.img", on_reboot="destroy", seed="/var/lib/dtc-xen/rescue/xen01.seed", pvh=True),
}


@pytest.mark.parametrize("case", VPSES)
def test_configurations_are_the_golden_ones(case, golden):
    golden(f"xen/{case}.cfg", render(VPSES[case]))


def test_every_boot_mode_has_a_golden_configuration():
    assert {vps.boot for vps in VPSES.values()} == set(BootMode)


DEVICES = {BootMode.HVM: {DiskRole.ROOT: "hda", DiskRole.SWAP: "hdb"}, BootMode.NETBSD: {DiskRole.ROOT: "0x3", DiskRole.SWAP: "0x4"}}


def said(vps):
    """What a reader must find in the configuration of a VPS: these disks and no other."""
    hvm = vps.hvm if vps.boot is BootMode.HVM else None
    devices = DEVICES.get(vps.boot, {})
    disks = [DomuDisk(devices.get(disk.role, disk.role.value), disk.path) for disk in vps.disks]
    disks += [DomuDisk("xvdc", vps.seed)] if vps.seed and not hvm else []
    disks += [DomuDisk("hdc", hvm.iso)] if hvm and hvm.iso else []
    disks += [DomuDisk("hdd", vps.seed)] if vps.seed and hvm else []
    loaded = vps.boot not in (BootMode.HVM, BootMode.PYGRUB)
    extra = {BootMode.DIRECT: f"console=hvc0 net.ifnames=0 {vps.extra}".rstrip(), BootMode.NETBSD: vps.extra}
    return DomuConfig(
        vps.id.name, vps.ram, vps.vcpus, vps.kernel if loaded else "", vps.ramdisk if loaded else "", (vps.nic.mac,),
        tuple(address.ip for address in vps.nic.addresses), tuple(disks), vps.boot, hvm.iso if hvm else "", extra.get(vps.boot, ""),
        hvm.firmware if hvm else "", hvm.vnc_listen if hvm and hvm.vnc_password is not None else "")


printable = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")) | st.just(" "), min_size=1)
paths = printable.map(lambda text: "/" + text.strip()).filter(lambda path: not path.endswith(","))
hostile = st.lists(st.sampled_from(['"', "\\", "'", ",", " ", "]", "[", "\" ]\\n", "phy:/dev/sda,hda,w", "target=", "vdev=hda", "devtype=cdrom", "a", ";", "#"]), min_size=1).map(
    lambda parts: "/" + "".join(parts).strip()).filter(lambda path: path.isprintable() and not path.endswith(","))
screens = st.builds(
    HvmOptions, st.just("") | paths | hostile, st.sampled_from(["bios", "uefi"]), st.none() | (printable | hostile).map(Secret), st.sampled_from(["127.0.0.1", "0.0.0.0", "::1"]))


@st.composite
def any_vps(draw):
    """A VPS of any boot mode, every text in it as bad as it may be."""
    mode = draw(st.sampled_from(BootMode))
    kernels = {BootMode.PVH_GRUB: st.just(PVH_GRUB), BootMode.PV_GRUB: st.just(PV_GRUB), BootMode.DIRECT: paths | hostile, BootMode.NETBSD: paths | hostile}
    disks = (st.builds(Disk, st.just(role), st.sampled_from(ImageType), paths | hostile) for role in DiskRole)
    return Vps(
        VpsId(draw(st.integers(1, 9999))), Mib(draw(st.integers(1, 1 << 20))), draw(st.tuples(*disks)),
        Nic(MAC, draw(st.sampled_from([case.nic.addresses for case in CASES.values()])), draw(st.sampled_from(["", "xenbr0", "br-lan.5"]))),
        mode, draw(kernels.get(mode, st.just(""))), draw(st.just("") | paths), draw(st.just("") | printable), draw(st.none() | st.integers(1, 64)),
        draw(screens) if mode is BootMode.HVM else None, draw(st.sampled_from(["restart", "destroy"])), draw(st.just("") | paths), draw(st.booleans()))


@settings(deadline=None)
@given(any_vps())
def test_what_is_written_is_read_back_and_no_name_adds_a_disk(vps):
    assert parse(render(vps)) == said(vps)


@given(st.text())
def test_a_quoted_string_is_one_line_and_one_string_or_is_refused(text):
    try:
        quoted = quote(text)
    except ValueError:
        assert not text.isprintable()
        return
    assert parse(f"name = {quoted}\nmemory = 7").memory == 7
    assert "\n" not in quoted and parse(f"name = {quoted}").name == text


@pytest.mark.parametrize("field", ["kernel", "ramdisk", "extra"])
@pytest.mark.parametrize("attack", ['x"\non_crash = "preserve', "x\rname='a'", "x\0", "x\u2028y", "x\x1b[2J"])
def test_control_characters_are_refused_wherever_text_goes_in(field, attack):
    values = {"kernel": "/k", "ramdisk": "/r", "extra": "", field: attack}
    with pytest.raises(ValueError, match="control characters"):
        render(Vps(VpsId(1), Mib(64), FILES, Nic(MAC, ()), BootMode.DIRECT, **values))


@pytest.mark.parametrize("attack", ['/k"; memory = 9; x="', "/k', 'y", "/k\\", '/k\\"', "/k # no comment", "/k]"])
def test_marks_of_the_syntax_stay_inside_the_string(attack):
    vps = Vps(VpsId(1), Mib(64), (Disk(DiskRole.ROOT, ImageType.VBD, attack),), Nic(MAC, ()), BootMode.DIRECT, attack)
    assert parse(render(vps)) == said(vps)


def test_no_password_of_a_screen_ends_its_string():
    vps = booting(PLAIN, BootMode.HVM, hvm=HvmOptions("", "bios", Secret('x"; disk = ["phy:/dev/sda,hda,w"]')))
    assert texts(render(vps))["vncpasswd"] == 'x"; disk = ["phy:/dev/sda,hda,w"]' and parse(render(vps)) == said(vps)
    with pytest.raises(ValueError, match="control characters"):
        render(booting(PLAIN, BootMode.HVM, hvm=HvmOptions("", "bios", Secret("x\ny"))))


@pytest.mark.parametrize("change", [{"boot": BootMode.PVH_GRUB, "kernel": ""}, {"kernel": "vmlinuz"}, {"boot": BootMode.HVM, "hvm": HvmOptions(firmware="ovmf2")}, {"seed": "a"}])
def test_what_cannot_be_started_is_not_written(change):
    with pytest.raises(ValueError, match="is not the path|is no firmware"):
        render(dataclasses.replace(PLAIN, **change))


@pytest.mark.parametrize("path", ["relative", "/a,", ""])
def test_a_disk_that_xl_would_understand_otherwise_is_refused(path):
    with pytest.raises(ValueError, match="not the path of a disk"):
        render(Vps(VpsId(1), Mib(64), (Disk(DiskRole.ROOT, ImageType.VBD, path),), Nic(MAC, ()), BootMode.DIRECT, "/k"))


@pytest.mark.parametrize("bridge", ["a,script=/x", "a b", "x" * 16])
def test_a_bridge_that_is_none_is_refused(bridge):
    with pytest.raises(ValueError, match="not a bridge"):
        render(Vps(VpsId(1), Mib(64), FILES, Nic(MAC, (), bridge), BootMode.DIRECT, "/k"))


# -- what is found on nodes -----------------------------------------------------------------------

OLD = """\
#  -*- mode: python; -*-
kernel = "/boot/vmlinuz-2.6.26-2-xen-amd64"
ramdisk = '/boot/initrd.img-2.6.26-2-xen-amd64'
memory = 512   # was 256
name = "xen07"
vif = [ 'mac=00:16:3E:10:10:07, ip=1.2.3.4 5.6.7.8, bridge=xenbr0' ]
disk = [ 'phy:/dev/mapper/vg-xen07,sda1,w',
         # the second one
         'phy:vg/xen07swap,sda2,w', ]
root = "/dev/sda1 ro"
extra = "4 TERM=xterm " + "xencons=tty console=tty1"
"""


def test_a_configuration_of_the_original_is_read():
    assert parse(OLD) == DomuConfig(
        "xen07", Mib(512), None, "/boot/vmlinuz-2.6.26-2-xen-amd64", "/boot/initrd.img-2.6.26-2-xen-amd64", (MacAddress("00:16:3e:10:10:07"),),
        (IP("1.2.3.4"), IP("5.6.7.8")), (DomuDisk("sda1", "/dev/mapper/vg-xen07"), DomuDisk("sda2", "/dev/vg/xen07swap")), BootMode.DIRECT,
        extra="4 TERM=xterm xencons=tty console=tty1")


@pytest.mark.parametrize(("text", "mode"), [
    ('type="pvh"\nkernel="/usr/lib/grub-xen/grub-i386-xen_pvh.bin"', BootMode.PVH_GRUB),
    ('kernel="/usr/lib/grub-xen/grub-x86_64-xen.bin"', BootMode.PV_GRUB),
    ('kernel="/usr/lib/grub-xen/grub-i386-xen.bin"', BootMode.PV_GRUB),
    ('kernel="/usr/lib/xen-4.0/boot/pv-grub-x86_64.gz"\nextra="(hd0)/boot/grub/menu.lst"', BootMode.PV_GRUB),
    ('type="pv"\nfirmware="pvgrub64"', BootMode.PV_GRUB),
    ('bootloader="pygrub"', BootMode.PYGRUB),
    ('bootloader="/usr/bin/pygrub"\nkernel="/boot/vmlinuz"', BootMode.PYGRUB),
    ('bootloader="/usr/lib/xen/bin/xenpvnetboot"', None),
    ('builder="hvm"\nkernel="/usr/lib/xen/boot/hvmloader"', BootMode.HVM),
    ('type="hvm"', BootMode.HVM),
    ('kernel="/boot/netbsd-XEN3_DOMU.gz"\ndisk=["phy:/dev/vg/xen01,0x3,w"]', BootMode.NETBSD),
    ('kernel="/srv/bsd"\ndisk=["phy:/dev/vg/xen01,0x3,w"]', BootMode.NETBSD),
    ('type="pvh"\nkernel="/boot/vmlinuz"', BootMode.DIRECT),
    ('kernel="/boot/vmlinuz-6.1-grub-edition"', BootMode.DIRECT),
    ("memory=5", None),
])
def test_how_it_boots_is_read_off_what_xl_goes_by(text, mode):
    assert parse(text).boot is mode


@pytest.mark.parametrize(("text", "iso"), [
    ('disk=["file:/a.img,hda,w","file:/x.iso,hdc:cdrom,r"]', "/x.iso"), ('disk=["/x.iso,,hdc,cdrom"]', "/x.iso"), ('disk=["devtype=cdrom,vdev=hdc,target=/x.iso"]', "/x.iso"),
    ('disk=["format=raw,vdev=hda,target=/devtype=cdrom"]', ""), ('disk=["vdev=hda,target=/a,devtype=cdrom"]', ""), ('disk=["format=empty,vdev=hdc,devtype=cdrom"]', "")])
def test_the_iso_is_what_lies_in_the_cd_drive(text, iso):
    assert parse(text).iso == iso


@pytest.mark.parametrize(("text", "screen"), [
    ("vnc=1", "127.0.0.1"), ("", "127.0.0.1"), ("vnc=0", ""), ('vnc=1\nvnclisten="0.0.0.0"', "0.0.0.0"), ('vnc=0\nvnclisten="0.0.0.0"', "")])
def test_where_the_screen_is(text, screen):
    assert parse(f'type="hvm"\n{text}').screen == screen
    assert parse(f'type="pv"\nkernel="/k"\n{text}').screen == ""


@pytest.mark.parametrize(("line", "disk"), [
    ("file:/xen/xen01.img,xvda,w", ("xvda", "/xen/xen01.img")),
    ("tap:aio:/xen/xen01.img,xvda,w", ("xvda", "/xen/xen01.img")),
    ("tap2:tapdisk:aio:/a.img,xvda1,w", ("xvda1", "/a.img")),
    ("phy:/dev/vg/x,ioemu:hda,w", ("hda", "/dev/vg/x")),
    ("phy:/dev/vg/x,0x3,w", ("0x3", "/dev/vg/x")),
    ("/dev/vg/x,raw,xvda,rw", ("xvda", "/dev/vg/x")),
    ("/dev/vg/x,,xvda", ("xvda", "/dev/vg/x")),
    ("file:/x.iso,hdc:cdrom,r", ("hdc", "/x.iso")),
    ("vdev=hda, format=qcow2 , target=/a,b=c.img", ("hda", "/a,b=c.img")),
    ("xvda,raw,target=/a", ("xvda", "/a")),
    ("format=raw,vdev=xvda,access=w,target=/a,", ("xvda", "/a")),
])
def test_disks_are_read_in_every_way_they_were_ever_written(line, disk):
    assert parse(f"disk = ['{line}']").disks == (DomuDisk(*disk),)


@pytest.mark.parametrize("line", [",hdc:cdrom,r", "", "devtype=cdrom", "w"])
def test_a_disk_without_a_path_is_none(line):
    assert [path for path in parse(f"disk = ['{line}']").paths if path.startswith("/")] == []


@pytest.mark.parametrize(("text", "memory"), [
    ("memory = 512", 512), ("memory=512;vcpus=2", 512), ("memory = '512'", 512), ("memory = 0x200", 512), ("memory = 01000", 512), ("  memory\t=\t512 ", 512),
    ("memory = 256\nmemory = 512", 512), ("memory = 1 << 9", None), ("memory = -1", None), ("memory = int(input())", None), ("memory", None), ("memory =", None),
    ("#memory = 512", None), ('x = "memory = 512"', None), ("disk = [ 'a',\nmemory = 512", 512), ("name = 'unclosed\nmemory = 512", 512), ("memory = 512\r\n", 512),
    ("def f(x):\n    return x\nmemory = 512", 512), ("memory = " + "9" * 5000, None),
])
def test_memory_is_found_or_left_out(text, memory):
    assert parse(text).memory == memory


def test_what_is_wrong_in_a_vif_is_left_out_and_the_rest_stays():
    found = parse("vif = ['mac=xx, ip=1.2.3.4/32 900.1.1.1 2001:db8::1', '', \"mac=00:16:3e:00:00:01\"]\nvif += ['mac=01:00:00:00:00:00,ip=']")
    assert (found.macs, found.addresses, found.mac) == ((MacAddress("00:16:3e:00:00:01"),), (IP("1.2.3.4"), IP("2001:db8::1")), MacAddress("00:16:3e:00:00:01"))


@given(st.text() | st.text(alphabet="namevifdsk=[]'\"\\,;#\n ()+:/1.x"))
def test_any_text_is_read_without_an_error(text):
    assert isinstance(parse(text), DomuConfig)


PARTS = ["vif", "disk", "memory", "name", "=", "+=", "[", "]", "(", ")", "'", '"', "\\", "\n", ";", ",", "#", "mac=", "ip=", "target=", "phy:", "1.2.3.4"]


@given(st.lists(st.sampled_from(PARTS)))
def test_any_order_of_the_syntax_is_read_without_an_error(parts):
    assert isinstance(parse(" ".join(parts)), DomuConfig)


def test_a_huge_hostile_text_is_read_in_no_time():
    for text in ("[" * 100_000, "'\\" * 100_000, "vif = [" + "'a'," * 50_000, "\\\n" * 100_000, "a" * 200_000, "disk=['" + "," * 100_000 + "']", "disk=['" + " " * 100_000 + "']"):
        assert isinstance(parse(text), DomuConfig)


