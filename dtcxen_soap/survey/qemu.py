"""QEMU as the device model of HVM guests: where it is, and what it was built with."""

from __future__ import annotations

from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.facts import QemuFact

QEMU = ("/usr/libexec/xen-qemu-system-i386", "/usr/lib/xen/bin/qemu-system-i386")
"""Where libxl looks for it: Debian's place, and upstream's."""
OVMF = ("/usr/share/ovmf/OVMF.fd", "/usr/lib/xen/boot/ovmf.bin")
"""The firmware of bios = "ovmf", in the same two; that of the BIOS comes with QEMU."""
_CRYPTO = (b"libgnutls.so", b"libnettle.so", b"libgcrypt.so")
_LARGEST = 1 << 28


def qemu(dom0: Dom0) -> QemuFact:
    """The device model that libxl would start.

    QEMU compares VNC passwords by DES, which it has from a crypto library only; started with a
    password but without one it ends at once, and the guest with it ("Cipher backend does not support
    DES"). The libraries that a program is linked with stand in it by their names (elf(5), DT_NEEDED).
    """
    path = next((path for path in QEMU if dom0.exists(path)), "")
    firmware = any(dom0.exists(each) for each in OVMF)
    if not path:
        return QemuFact(uefi=firmware)
    program = dom0.read_bytes(path, _LARGEST)
    return QemuFact(path, any(name in program for name in _CRYPTO), firmware)
