"""Xen's own parser (libxlutil, package libxenmisc4.17 or 4.20) on our configurations; it needs no hypervisor.

What xl reads must be what our reader reads, on what we write and on hand edits alike.
"""

from __future__ import annotations

import ctypes
import glob

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtcxen_soap.vps import BootMode, Disk, DiskRole, HvmOptions, ImageType, Mib, Nic, Secret, Vps, VpsId
from dtcxen_soap.xen.config import parse, quote, render
from tests.networks import CASES, MAC

LIBRARIES = sorted(glob.glob("/usr/lib/*/libxlutil.so.4.*") + glob.glob("/usr/lib/xen-*/lib/*/libxlutil.so*"))
pytestmark = [pytest.mark.machine, pytest.mark.debian13, pytest.mark.skipif(not LIBRARIES, reason="libxlutil is not installed (Debian: libxenmisc4.17)")]
PATH_OFFSET, DEVICE_OFFSET, LONGEST_RECORD = 16, 24, 4096
"""libxl_device_disk begins with backend_domid, backend_domname, pdev_path, vdev."""


class Xl:
    """A configuration as xl has parsed it. ValueError when xl refuses it."""

    def __init__(self, text: str) -> None:
        self.library, libc = ctypes.CDLL(LIBRARIES[0]), ctypes.CDLL(None)
        self.library.xlu_cfg_init.restype = libc.fopen.restype = self.library.xlu_cfg_get_listitem.restype = ctypes.c_void_p
        report = ctypes.c_void_p(libc.fopen(b"/dev/null", b"w"))
        self.config = ctypes.c_void_p(self.library.xlu_cfg_init(report, b"test"))
        data = text.encode()
        if self.library.xlu_cfg_readdata(self.config, data, len(data)):
            raise ValueError(text)

    def text(self, name: str) -> str | None:
        value = ctypes.c_char_p()
        failed = self.library.xlu_cfg_get_string(self.config, name.encode(), ctypes.byref(value), 1)
        return None if failed or value.value is None else value.value.decode()

    def items(self, name: str) -> list[bytes]:
        items, count = ctypes.c_void_p(), ctypes.c_int()
        if self.library.xlu_cfg_get_list(self.config, name.encode(), ctypes.byref(items), ctypes.byref(count), 1):
            return []
        return [ctypes.string_at(self.library.xlu_cfg_get_listitem(items, number)) for number in range(count.value)]

    def disks(self) -> list[tuple[str, str]]:
        return [self._disk(spec) for spec in self.items("disk")]

    def _disk(self, spec: bytes) -> tuple[str, str]:
        record = ctypes.create_string_buffer(LONGEST_RECORD)
        if self.library.xlu_disk_parse(self.config, 1, (ctypes.c_char_p * 1)(spec), record):
            raise ValueError(spec)
        pointers = [ctypes.c_char_p.from_buffer(record, offset).value or b"" for offset in (DEVICE_OFFSET, PATH_OFFSET)]
        return pointers[0].decode(), pointers[1].decode()


def disk(role, path):
    return Disk(role, ImageType.VBD, path)


texts = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")) | st.just(" "), min_size=1)
paths = texts.map(lambda text: "/" + text.strip()).filter(lambda path: not path.endswith(","))


@given(paths, paths, texts, st.sampled_from(list(CASES.values())))
def test_xl_reads_what_was_meant(kernel, image, extra, network):
    vps = Vps(VpsId(12), Mib(512), (disk(DiskRole.ROOT, image), disk(DiskRole.SWAP, "/s")), Nic(MAC, network.nic.addresses, "xenbr0"), BootMode.DIRECT, kernel, "/r", extra, 2)
    xl = Xl(render(vps))
    assert [xl.text(name) for name in ("name", "type", "kernel", "ramdisk", "memory", "vcpus")] == ["xen12", "pv", kernel, "/r", "512", "2"]
    assert xl.text("root") == "/dev/xvda ro" and xl.text("on_crash") == "restart"
    assert xl.text("extra") == f"console=hvc0 net.ifnames=0 {extra}".rstrip()
    assert xl.disks() == [("xvda", image), ("xvdb", "/s")]
    ips = " ".join(str(address.ip) for address in network.nic.addresses)
    assert xl.items("vif") == [f"mac={MAC},ip={ips},bridge=xenbr0".encode()]


hostile = st.lists(st.sampled_from(['"', "\\", "'", ",", " ", "]", "[", "phy:/dev/sda,hda,w", "target=", "vdev=hda", "devtype=cdrom", "a", ";", "#"]), min_size=1).map(
    lambda parts: "/" + "".join(parts).strip()).filter(lambda path: not path.endswith(","))
any_path = paths | hostile
GRUB_OF = {BootMode.PVH_GRUB: "/usr/lib/grub-xen/grub-i386-xen_pvh.bin", BootMode.PV_GRUB: "/usr/lib/grub-xen/grub-x86_64-xen.bin"}
TYPES = {BootMode.PVH_GRUB: "pvh", BootMode.HVM: "hvm"}
DEVICES = {BootMode.HVM: ("hda", "hdb"), BootMode.NETBSD: ("0x3", "0x4")}


@given(st.sampled_from(BootMode), any_path, any_path, any_path, texts, st.none() | texts, st.sampled_from(["bios", "uefi"]))
def test_xl_sees_exactly_the_disks_that_were_meant_in_every_boot_mode(mode, kernel, root, iso, extra, password, firmware):
    hvm = HvmOptions(iso, firmware, None if password is None else Secret(password)) if mode is BootMode.HVM else None
    kernel = GRUB_OF.get(mode, kernel if mode in (BootMode.DIRECT, BootMode.NETBSD) else "")
    disks = (disk(DiskRole.ROOT, root), disk(DiskRole.SWAP, "/s"))
    xl = Xl(render(Vps(VpsId(12), Mib(512), disks, Nic(MAC, ()), mode, kernel, extra=extra, hvm=hvm, on_reboot="destroy", seed="/seed")))
    names = DEVICES.get(mode, ("xvda", "xvdb"))
    seed = [("hdc", iso), ("hdd", "/seed")] if hvm else [("xvdc", "/seed")]
    assert xl.disks() == [(names[0], root), (names[1], "/s"), *seed]
    assert xl.text("type") == TYPES.get(mode, "pv") and xl.text("on_reboot") == "destroy"
    assert (xl.text("kernel") or "", xl.text("bootloader")) == (kernel, "pygrub" if mode is BootMode.PYGRUB else None)
    assert (xl.text("root") is None) == (mode is not BootMode.DIRECT)
    if hvm:
        screen = ("1", "127.0.0.1", password) if password is not None else ("0", None, None)
        assert tuple(xl.text(name) for name in ("vnc", "vnclisten", "vncpasswd")) == screen
        assert (xl.text("boot"), xl.text("bios"), xl.text("serial")) == ("dc", "ovmf" if firmware == "uefi" else None, "pty")


def test_xl_takes_an_empty_cd_drive():
    xl = Xl(render(Vps(VpsId(12), Mib(512), (disk(DiskRole.ROOT, "/r"),), Nic(MAC, ()), BootMode.HVM, hvm=HvmOptions())))
    assert xl.disks() == [("hda", "/r"), ("hdc", "")] and xl.text("boot") == "c" and xl.text("vnc") == "0"


@given(texts)
def test_a_quoted_string_comes_back_from_xl(text):
    assert Xl(f"name = {quote(text)}\nmemory = 7\n").text("name") == text


OLD_DISKS = (
    "phy:/dev/vg/x,xvda,w", "file:/xen/x.img,xvda1,w", "tap:aio:/xen/x.img,xvda,w", "/dev/vg/x,raw,xvda,rw", "/dev/vg/x,,xvda", "phy:/dev/vg/x,hda,w",
    "file:/x.iso,hdc:cdrom,r", "vdev=hda, format=qcow2, target=/a,b=c.img", "format=raw,vdev=xvda,access=w,target=/a,")


@pytest.mark.parametrize("spec", OLD_DISKS)
def test_our_reader_reads_a_disk_as_xl_does(spec):
    text = f"disk = ['{spec}']\n"
    assert [(found.device, found.path) for found in parse(text).disks] == Xl(text).disks()


@pytest.mark.parametrize("text", [
    "name='a'; memory=5\n", "memory = 0x20\n", "memory = 010\n", "memory = 1\nmemory = 2\n", "name = \"a\\\"b\"  # c\nmemory = 3\n",
    "disk = [\n 'a', # one\n\n 'b',\n]\nmemory = 4\n", "vif = []\nmemory = '6'\n"])
def test_our_reader_reads_plain_settings_as_xl_does(text):
    xl, ours = Xl(text), parse(text)
    assert ours.name == (xl.text("name") or "")
    assert ours.memory == int(xl.text("memory"), 8 if "010" in text else 0)
    assert [found.encode() for found in ours.paths] == xl.items("disk")
