"""domU configurations: what is written is read back, nothing breaks out of its quotes, nothing on a node breaks the reader."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtcxen_soap.vps import BootMode, Disk, DiskRole, ImageType, MacAddress, Mib, Nic, Vps, VpsId
from dtcxen_soap.xen.config import DomuConfig, DomuDisk, parse, quote, render
from tests.networks import CASES, MAC

IP = ipaddress.ip_address
FILES = (Disk(DiskRole.ROOT, ImageType.VBD, "/var/lib/dtc-xen/mnt/xen01.img"), Disk(DiskRole.SWAP, ImageType.VBD, "/var/lib/dtc-xen/mnt/xen01.swap.img"))
VOLUMES = (Disk(DiskRole.ROOT, ImageType.LVM, "/dev/vg0/xen1234"), Disk(DiskRole.SWAP, ImageType.LVM, "/dev/vg0/xen1234swap"))
VPSES = {
    "file-backed": Vps(VpsId(1), Mib(512), FILES, Nic(MAC, CASES["one-ipv4"].nic.addresses), BootMode.DIRECT, "/boot/vmlinuz-6.1.0-9-amd64", "/boot/initrd.img-6.1.0-9-amd64"),
    "lvm-all-keys": Vps(
        VpsId(1234), Mib(8192), VOLUMES, Nic(MacAddress("02:ab:cd:ef:01:23"), CASES["both-versions"].nic.addresses, "xenbr0"), BootMode.DIRECT,
        "/boot/vmlinuz-6.1.0-9-amd64", "", 'dyndbg="file a.c +p" quiet', 4),
}


@pytest.mark.parametrize("case", VPSES)
def test_configurations_are_the_golden_ones(case, golden):
    golden(f"xen/{case}.cfg", render(VPSES[case]))


def said(vps):
    """What a reader must find in the configuration of a VPS."""
    return DomuConfig(
        vps.id.name, vps.ram, vps.vcpus, vps.kernel, vps.ramdisk, (vps.nic.mac,), tuple(address.ip for address in vps.nic.addresses),
        tuple(DomuDisk(disk.role.value, disk.path) for disk in vps.disks))


printable = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")) | st.just(" "), min_size=1)
paths = printable.map(lambda text: "/" + text.strip()).filter(lambda path: not path.endswith(","))
vpses = st.builds(
    Vps, st.integers(1, 9999).map(VpsId), st.integers(1, 1 << 20).map(Mib),
    st.tuples(st.builds(Disk, st.just(DiskRole.ROOT), st.sampled_from(ImageType), paths), st.builds(Disk, st.just(DiskRole.SWAP), st.sampled_from(ImageType), paths)),
    st.builds(Nic, st.just(MAC), st.sampled_from([case.nic.addresses for case in CASES.values()]), st.sampled_from(["", "xenbr0", "br-lan.5"])),
    st.just(BootMode.DIRECT), paths, st.just("") | paths, st.just("") | printable, st.none() | st.integers(1, 64))


@given(vpses)
def test_what_is_written_is_read_back(vps):
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
        (IP("1.2.3.4"), IP("5.6.7.8")), (DomuDisk("sda1", "/dev/mapper/vg-xen07"), DomuDisk("sda2", "/dev/vg/xen07swap")))


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


