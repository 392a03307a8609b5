"""What a kernel's header tells, and which boot modes follow from it."""

from __future__ import annotations

import pytest

from dtcxen_soap.install import kernelimage
from dtcxen_soap.vps import BootMode
from tests.unit.install.guests import MAGICS, bzimage

PVH, PV, PYGRUB = BootMode.PVH_GRUB, BootMode.PV_GRUB, BootMode.PYGRUB


@pytest.mark.parametrize(("compression", "modes"), [
    ("gzip", (PVH, PV, PYGRUB)), ("xz", (PVH, PV, PYGRUB)), ("lzo", (PVH, PV, PYGRUB)), ("zstd", (PVH, PYGRUB)), ("lz4", (PVH, PYGRUB)), ("bzip2", (PVH, PYGRUB)),
    ("lzma", (PVH, PYGRUB))])
def test_each_compression_and_who_reads_it(compression: str, modes: tuple[BootMode, ...]) -> None:
    image = kernelimage.parse(bzimage(compression))
    assert (image.bzimage, image.compression, image.version) == (True, compression, "6.1.0-50-amd64")
    assert kernelimage.readers(image) == modes


def test_the_place_of_the_payload_as_debians_kernels_have_it() -> None:
    """39 setup sectors and offset 0x2cc: byte 21196, as linux-image-6.1.0-50-amd64 (xz) and its cloud kernel (lz4) have it."""
    head = bzimage("lz4", sectors=39, offset=0x2CC)
    assert head[21196:21200] == MAGICS["lz4"]
    assert kernelimage.parse(head).compression == "lz4"


def test_no_setup_sectors_means_four_of_them() -> None:
    assert kernelimage.parse(bzimage("xz", sectors=4)[:0x1F1] + b"\0" + bzimage("xz", sectors=4)[0x1F2:]).compression == "xz"


def test_a_header_before_2_08_has_no_payload_and_is_believed() -> None:
    image = kernelimage.parse(bzimage("zstd", protocol=0x207))
    assert image.compression == "" and kernelimage.readers(image) == (PVH, PV, PYGRUB)


@pytest.mark.parametrize("length", [0, 1, 0x1F1, 0x202, 0x206, 0x24A, 600, 5000])
def test_a_file_cut_short_anywhere_raises_nothing(length: int) -> None:
    assert kernelimage.parse(bzimage("xz")[:length]).compression == ""


def test_an_elf_file_packed_as_a_whole_is_for_pv_alone() -> None:
    image = kernelimage.parse(b"\x1f\x8b\x08\0" + b"\0" * 2000)
    assert (image.bzimage, image.compression) == (False, "gzip")
    assert kernelimage.readers(image) == (PV, PYGRUB)
    assert kernelimage.obstacle(image, PVH) == "it is no bzImage, and the loader of pvh-grub takes nothing else; modes that can: pv-grub, pygrub, direct"


@pytest.mark.parametrize(("version", "able"), [("2.6.32-754.el6", False), ("3.10.0-1160", False), ("4.9.0-19-amd64", False), ("4.11.0", True), ("5.10.0-8", True), ("6.1", True)])
def test_pvh_guests_need_linux_4_11(version: str, able: bool) -> None:
    image = kernelimage.parse(bzimage("gzip", version=version))
    assert (PVH in kernelimage.readers(image)) is able
    assert able or kernelimage.obstacle(image, PVH) == f"it is Linux {version}, and PVH guests need 4.11 or newer; modes that can: pv-grub, pygrub, direct"


def test_an_obstacle_names_the_compression_and_the_modes_that_can() -> None:
    image = kernelimage.parse(bzimage("zstd"))
    assert kernelimage.obstacle(image, PVH) == kernelimage.obstacle(image, PYGRUB) == ""
    assert kernelimage.obstacle(image, PV) == "it is compressed with zstd, which the loader of pv-grub cannot read; modes that can: pvh-grub, pygrub, direct"
