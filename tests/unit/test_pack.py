"""What a bundle says of its system, and what must not be in it."""

from __future__ import annotations

import contextlib
import json
import struct

import pytest

from dtcxen_soap import pack
from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import TreeFact
from dtcxen_soap.pack import Packed
from dtcxen_soap.vps import BootMode

PACKED = Packed("x-amd64-1.tar.gz", "0" * 64, 100 << 20, {"source": "x.img"}, "2026-01-02T03:04:05+00:00")


def elf(machine: int, little: bool = True) -> bytes:
    return b"\x7fELF\x02" + (b"\1" if little else b"\2") + bytes(12) + struct.pack("<H" if little else ">H", machine)


def kernel(version: str) -> bytes:
    """A bzImage's head: boot flag, HdrS, protocol 2.15, place of the version, payload of xz."""
    head = bytearray(0x2000)
    head[0x1F1], head[0x1FE:0x200], head[0x202:0x206] = 1, b"\x55\xaa", b"HdrS"
    struct.pack_into("<H", head, 0x206, 0x20F)
    struct.pack_into("<H", head, 0x20E, 0x300)
    struct.pack_into("<I", head, 0x248, 0x100)
    head[0x500:0x500 + len(version)] = version.encode()
    head[0x400 + 0x100:0x400 + 0x100] = b""
    return bytes(head)


def tree(**heads: bytes) -> TreeFact:
    return TreeFact({}, frozenset(), {path.replace("__", "/"): data for path, data in heads.items()})


def test_the_architecture_is_that_of_its_programs() -> None:
    assert pack.architecture(tree(bin__sh=b"#!/bin/x", usr__bin__env=elf(62))) == "amd64"
    assert pack.architecture(tree(bin__sh=elf(3))) == "i386" and pack.architecture(tree(bin__sh=elf(22, little=False))) == "s390x"
    assert pack.architecture(tree(bin__sh=b"\x7fELF")) == pack.architecture(tree(bin__sh=elf(9999))) == pack.architecture(tree()) == ""


def test_the_newest_kernel_by_number() -> None:
    heads = {f"boot/vmlinuz-{name}": kernel(f"{name} (builder)") for name in ("6.1.0-9-amd64", "6.1.0-21-amd64", "5.10.0-99-amd64")}
    found = pack.newest_kernel(TreeFact({}, frozenset(), heads))
    assert found and found[0] == "boot/vmlinuz-6.1.0-21-amd64" and found[1].version == "6.1.0-21-amd64"
    assert pack.newest_kernel(tree()) is None


@pytest.mark.parametrize("name, program, said", [
    ("debian-amd64-12", elf(62), ""), ("debian-x86_64-12", elf(62), ""), ("centos-i686-5", elf(3), ""), ("plain", elf(3), ""), ("debian-amd64-12", b"", ""),
    ("debian-amd64-12", elf(3), "its name says amd64, and its programs are for i386"),
    ("debian-arm64-12", elf(62), "its name says arm64, and its programs are for amd64"),
])
def test_a_name_that_contradicts_its_programs(name: str, program: bytes, said: str) -> None:
    if not said:
        pack.refuse(name, None, tree(bin__sh=program))
        return
    with pytest.raises(Failed, match=said):
        pack.refuse(name, None, tree(bin__sh=program))


def test_a_boot_mode_that_cannot_start_its_kernel() -> None:
    old = TreeFact({}, frozenset(), {"boot/vmlinuz-2.6.18": kernel("2.6.18")})
    pack.refuse("x", BootMode.DIRECT, old)
    with pytest.raises(Failed, match="pvh-grub cannot start 'boot/vmlinuz-2.6.18': it is Linux 2.6.18"):
        pack.refuse("x", BootMode.PVH_GRUB, old)
    pack.refuse("x", BootMode.PVH_GRUB, tree())


def test_the_manifest() -> None:
    told = json.loads(pack.manifest(PACKED, TreeFact({}, frozenset(), {"bin/sh": elf(62), "boot/vmlinuz-6.1.0": kernel("6.1.0")}), BootMode.PV_GRUB))
    assert told == {
        "cache": True, "boot_mode": "pv-grub", "tarball": "x-amd64-1.tar.gz", "sha256": "0" * 64, "architecture": "amd64", "kernel": "6.1.0",
        "kernel_boot_modes": ["pvh-grub", "pv-grub", "pygrub"], "smallest_disk_mib": 157, "made_from": {"source": "x.img"}, "made": "2026-01-02T03:04:05+00:00"}
    plain = json.loads(pack.manifest(PACKED, tree(), None))
    assert "boot_mode" not in plain and plain["kernel"] is plain["architecture"] is None and plain["kernel_boot_modes"] == []


def test_install_os_is_of_the_old_contract() -> None:
    text = pack.install_os("x.tar.gz")
    assert text.startswith("#!/bin/sh\n") and ". /usr/share/dtc-xen/dtc-xen-parse-param\n" in text
    assert "DISTRO_FNAME=x.tar.gz\n" in text and '"${OSDIR}/${DISTRO_FNAME}" -C "${VPS_PATH}"' in text


def test_names_are_those_that_callers_can_write() -> None:
    from dtcxen_soap.survey.programs import OS_NAME
    assert pack.NAME.pattern == OS_NAME.pattern


@pytest.mark.parametrize(("mode", "at", "refused"), [
    (None, "/boot", True), (BootMode.DIRECT, "/boot", False), (BootMode.DIRECT, "/usr", True), (None, "/var/log", True), (None, "/home", False), (None, "/boot/efi", False)])
def test_parts_on_other_disks(mode: BootMode | None, at: str, refused: bool) -> None:
    tree = TreeFact({"etc/fstab": f"LABEL=x / ext4 defaults 0 1\nUUID=1 {at} ext4 defaults 0 2\nproc /proc proc defaults 0 0\n"}, frozenset(), {})
    missing = pack.elsewhere(tree, lambda path: False)
    assert missing == (() if at == "/boot/efi" else ((at, "UUID=1"),)) and pack.elsewhere(tree, lambda path: True) == ()
    with pytest.raises(Failed, match=f"keeps '{at}' on 'UUID=1'") if refused else contextlib.nullcontext():
        pack.refuse_in_parts("x", mode, missing)
