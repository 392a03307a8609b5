"""A VPS's domU configuration, rendered for xl 4.14 to 4.20 in every boot mode.

`quote` is the only way text gets into the file. In the grub modes and for pygrub the kernel and its
command line are the guest's own, so nothing of them stands here. How a configuration is read again
is configread.py's. Sources: xl.cfg(5), xl-disk-configuration(5), xl-network-configuration(5), and
the lexer of Xen's libxlu.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dtcxen_soap.vps import BootMode, DiskRole, HvmOptions, Nic, Vps
from dtcxen_soap.xen.configread import SEED_CD_DEVICE, DomuConfig, DomuDisk, parse, texts

__all__ = ["DomuConfig", "DomuDisk", "parse", "quote", "render", "texts"]

NOTE = "# Written by dtcxen, read by xl. Edit it with care: RAM and addresses are read from here."
CONSOLE = "console=hvc0"
OLD_CARD_NAMES = "net.ifnames=0"
PYGRUB = "pygrub"
"""Without its directory, which differs between versions of Xen: xl looks into its own."""
SEED_DEVICE, CD_DEVICE = "xvdc", "hdc"
_TYPES = {BootMode.PVH_GRUB: "pvh", BootMode.HVM: "hvm"}
_DEVICES = {
    BootMode.HVM: {DiskRole.ROOT: "hda", DiskRole.SWAP: "hdb"},
    BootMode.NETBSD: {DiskRole.ROOT: "0x3", DiskRole.SWAP: "0x4"},
}
"""What the guest calls its disks where that is not the role's own name: IDE's for firmware, plain numbers for NetBSD."""
_FIRMWARE = {"bios": "", "uefi": "ovmf"}
_WRITABLE, _READ_ONLY = "w", "r"


def render(vps: Vps) -> str:
    """The whole configuration. ValueError for a value that no configuration can hold, or none of this boot mode."""
    return "".join(line + "\n" for line in _lines(vps))


def quote(text: str) -> str:
    """A string as xl reads it back unchanged. ValueError for anything but printable characters.

    Only the quote and the backslash are escaped: xl misreads numeric escapes, and a line end would
    end the string.
    """
    if not text.isprintable():
        raise ValueError("a domU configuration cannot hold line ends or other control characters")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _lines(vps: Vps) -> Iterator[str]:
    yield NOTE
    yield f"name = {quote(vps.id.name)}"
    yield f"type = {quote(_type(vps))}"
    yield from _loaded(vps)
    yield f"memory = {int(vps.ram)}"
    if vps.vcpus is not None:
        yield f"vcpus = {int(vps.vcpus)}"
    yield f"vif = [ {quote(_vif_spec(vps.nic))} ]"
    yield "disk = ["
    yield from (f"    {quote(spec)}," for spec in _disk_specs(vps))
    yield "]"
    yield from _told(vps)
    yield from ('on_poweroff = "destroy"', f"on_reboot = {quote(vps.on_reboot)}", f"on_crash = {quote(vps.on_reboot)}")


def _type(vps: Vps) -> str:
    return "pvh" if vps.pvh and vps.boot is BootMode.DIRECT else _TYPES.get(vps.boot, "pv")


def _loaded(vps: Vps) -> Iterator[str]:
    """What dom0 loads to start the guest: a kernel, GRUB's image in a kernel's place, or pygrub, which fetches the guest's own."""
    if vps.boot is BootMode.HVM:
        return
    if vps.boot is BootMode.PYGRUB:
        yield f"bootloader = {quote(PYGRUB)}"
        return
    yield f"kernel = {quote(vps.kernel)}"
    if not vps.kernel.startswith("/"):
        raise ValueError(f"{vps.kernel!r} is not the path of a kernel")
    if vps.ramdisk:
        yield f"ramdisk = {quote(vps.ramdisk)}"


def _told(vps: Vps) -> Iterator[str]:
    """What the kernel that dom0 loads is told, or the firmware."""
    if vps.boot is BootMode.DIRECT:
        yield f"root = {quote(f'/dev/{DiskRole.ROOT.value} ro')}"
        yield f"extra = {quote(' '.join((CONSOLE, OLD_CARD_NAMES, vps.extra)).rstrip())}"
    elif vps.boot is BootMode.NETBSD and vps.extra:
        yield f"extra = {quote(vps.extra)}"
    elif vps.boot is BootMode.HVM:
        yield from _firmware(vps.hvm or HvmOptions())


def _firmware(hvm: HvmOptions) -> Iterator[str]:
    """What is booted, its console on a serial port, and the screen: VNC with a password, or at a socket, or none."""
    if hvm.firmware not in _FIRMWARE:
        raise ValueError(f"{hvm.firmware!r} is no firmware")
    if name := _FIRMWARE[hvm.firmware]:
        yield f"bios = {quote(name)}"
    yield f"boot = {quote('dc' if hvm.iso else 'c')}"
    yield 'serial = "pty"'
    if hvm.vnc_password is not None:
        yield from ("vnc = 1", f"vnclisten = {quote(hvm.vnc_listen)}", f"vncpasswd = {quote(hvm.vnc_password.reveal())}")
    elif hvm.vnc_socket:
        if not re.fullmatch(r"/[A-Za-z0-9._/-]+", hvm.vnc_socket):
            raise ValueError(f"{hvm.vnc_socket!r} is not the path of a socket as QEMU reads it")
        yield from ("vnc = 1", f"vnclisten = {quote(f'unix:{hvm.vnc_socket}')}", "vncunused = 0")
    else:
        yield "vnc = 0"


def _vif_spec(nic: Nic) -> str:
    """`ip` feeds the node's anti-spoofing scripts: all addresses, without their prefixes, separated by blanks."""
    parts = [f"mac={nic.mac}"]
    if nic.addresses:
        parts.append(f"ip={' '.join(str(address.ip) for address in nic.addresses)}")
    if nic.bridge:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,15}", nic.bridge):
            raise ValueError(f"{nic.bridge!r} is not a bridge's name")
        parts.append(f"bridge={nic.bridge}")
    return ",".join(parts)


def _disk_specs(vps: Vps) -> Iterator[str]:
    """The disks in the order of the model, since pygrub reads the first; then what the guest only reads. An HVM guest has its CD drive also when it is empty."""
    devices = _DEVICES.get(vps.boot, {})
    yield from (_disk_spec(devices.get(disk.role, disk.role.value), disk.path, _WRITABLE) for disk in vps.disks)
    if vps.seed and vps.boot is not BootMode.HVM:
        yield _disk_spec(SEED_DEVICE, vps.seed, _READ_ONLY)
    if vps.boot is BootMode.HVM:
        iso = vps.hvm.iso if vps.hvm else ""
        drive = f"{CD_DEVICE},devtype=cdrom"
        yield _disk_spec(drive, iso, _READ_ONLY) if iso else f"format=empty,vdev={drive},access={_READ_ONLY}"
        if vps.seed:
            yield _disk_spec(f"{SEED_CD_DEVICE},devtype=cdrom", vps.seed, _READ_ONLY)


def _disk_spec(device: str, path: str, access: str) -> str:
    """An image file or a volume; xl finds out which. `target` is last because it takes the rest, but for a last comma."""
    if not path.startswith("/") or path.endswith(","):
        raise ValueError(f"{path!r} is not the path of a disk")
    return f"format=raw,vdev={device},access={access},target={path}"
