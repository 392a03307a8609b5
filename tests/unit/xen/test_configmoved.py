"""A configuration from another node: hand edits stay, what names this VPS is changed, and nothing comes in that concerns anything else."""

from __future__ import annotations

import pytest

from dtcxen_soap.xen import configmoved
from dtcxen_soap.xen.configread import parse

OURS = """\
# an admin's comment, with "/dev/vg0/xen01" in it
name = "xen01"   # its name
type='pv'
kernel = "/boot/vmlinuz"
memory = 0256
cpus = "2-3"
vif = [ "mac=00:16:3e:10:10:01, bridge=xenbr0,ip=192.0.2.10", 'bridge=br1' ]
disk = [ 'phy:/dev/mapper/vg0-xen01,xvda,w',
         "format=raw,vdev=xvdb,access=w,target=/dev/vg0/xen01swap", ]
vnclisten = "unix:/old/screens/xen01.vnc"
on_reboot = "restart"
"""
PATHS = {"/dev/vg0/xen01": "/dev/big-vg/xen07", "/dev/mapper/vg0-xen01": "/dev/big-vg/xen07", "/dev/vg0/xen01swap": "/dev/big-vg/xen07swap",
         "/old/screens/xen01.vnc": "/new/xen07.vnc"}
MINE = frozenset(("/dev/big-vg/xen07", "/dev/big-vg/xen07swap"))
CLEAN = configmoved.rendered(OURS, name="xen07", paths=PATHS, bridges={"xenbr0": "br-lan"})


def against(text: str) -> str:
    return "; ".join(configmoved.foreign(text, name="xen07", paths=MINE, boot_files=frozenset(("/boot/vmlinuz",)), screen="/new/xen07.vnc"))


def test_only_what_must_change_does() -> None:
    changed = [(old, new) for old, new in zip(OURS.splitlines(), CLEAN.splitlines(), strict=True) if old != new]
    assert [new for _, new in changed] == [
        'name = "xen07"   # its name', """vif = [ "mac=00:16:3e:10:10:01, bridge=br-lan,ip=192.0.2.10", 'bridge=br1' ]""",
        "disk = [ 'phy:/dev/big-vg/xen07,xvda,w',", '         "format=raw,vdev=xvdb,access=w,target=/dev/big-vg/xen07swap", ]', 'vnclisten = "unix:/new/xen07.vnc"']
    assert configmoved.bridges(OURS) == ("xenbr0", "br1") and configmoved.screens(OURS) == ("/old/screens/xen01.vnc",)
    assert against(CLEAN) == "" and parse(CLEAN).paths == ("/dev/big-vg/xen07", "/dev/big-vg/xen07swap")


def test_a_path_that_only_begins_like_one_stays() -> None:
    text = 'disk = [ "phy:/dev/vg0/xen010,xvda,w", "phy:/dev/vg0/xen01-old,xvdb,w" ]\n'
    assert configmoved.rendered(text, name="x", paths=PATHS, bridges={}) == text


@pytest.mark.parametrize(("line", "problem"), [
    ('disk = [ "phy:/dev/sda,xvda,w" ]', "/dev/sda"), ('disk = [ "phy:/dev/big-vg/xen070,xvda,w" ]', "none of this VPS's"),
    ('disk = [ "format=raw,vdev=xvda,script=x,target=/dev/big-vg/xen07" ]', "script"), ('disk = [ "vdev=xvda,backend=other,target=/dev/big-vg/xen07" ]', "backend"),
    ('disk = [ "/dev/big-vg/xen07,raw,xvda,w,backend=3" ]', "backend"), ('kernel = "/etc/shadow"', "no boot file"), ('ramdisk = "/etc/shadow"', "no boot file"),
    ('bootloader = "/tmp/evil"', "expected pygrub"), ('device_model_override = "/tmp/evil"', "device_model_override"), ('device_model_args = [ "-x" ]', "device_model_args"),
    ('pci = [ "00:01.0" ]', "pci"), ('serial = "file:/etc/passwd"', "expected pty"), ('usbdevice = "host:1:2"', "usbdevice"), ('p9 = [ "tag=x,path=/" ]', "p9"),
    ('vif = [ "script=/tmp/evil" ]', "the script"), ('vif = [ "backend=other" ]', "backend"), ('vnclisten = "unix:/run/x"', "screen"), ('bios = "/tmp/evil"', "bios"),
    ('bios_path_override = "/tmp/x"', "bios_path_override"), ('name = "xen08"', "more than once"), ('memory = 1 if x else 2', "more than settings"),
    ('import os', "more than settings"), ("extra = '''x", "several lines"), ('extra = "a\\"', "backslash"), ('extra = "\x1b"', "control characters"),
    ('driver_domain = 1', "driver_domain"), ('iomem = [ "0,1" ]', "iomem"), ('seclabel = "x"', "seclabel"), ('channel = [ "path=/x" ]', "channel")])
def test_nothing_comes_in_that_is_not_its_own(line: str, problem: str) -> None:
    key = line.partition(" ")[0]
    text = CLEAN
    if key != "name" and f"\n{key} = " in text:
        start = text.index(f"\n{key} = ") + 1
        end = text.index("\n", text.index("]", start) if key in ("disk", "vif") else start) + 1
        text = text[:start] + text[end:]
    assert problem in against(f"{text}{line}\n")
