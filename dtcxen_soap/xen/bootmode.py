"""How a new system boots: what the caller asks, else its bundle, else the node's setting, else the first that the node can.

GRUB in the guest comes first, since there the kernel is the owner's to update and dom0 reads nothing
that a guest has written. pvh-grub needs a processor with VT-x or AMD-V; both need Debian's
grub-xen-host. What dom0 loads in each mode stands here too. Sources: xl.cfg(5), xl(1) for virt_caps,
Xen's SUPPORT.md on pygrub.
"""

from __future__ import annotations

from dtcxen_soap.errors import ParameterFault, Refused
from dtcxen_soap.facts import NodeFact
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import BootMode

GRUB_DIRECTORY = "/usr/lib/grub-xen"
GRUB = {BootMode.PVH_GRUB: f"{GRUB_DIRECTORY}/grub-i386-xen_pvh.bin", BootMode.PV_GRUB: f"{GRUB_DIRECTORY}/grub-x86_64-xen.bin"}
"""GRUB's image in the place of a kernel."""
PYGRUB_DIRECTORIES = ("/usr/lib/xen/bin", "/usr/libexec/xen/bin")
"""Where xl looks for pygrub; Debian has its version of Xen in the name: /usr/lib/xen-4.17/bin."""
AUTOMATIC = (BootMode.PVH_GRUB, BootMode.PV_GRUB, BootMode.DIRECT)
INSTALLABLE = (*AUTOMATIC, BootMode.PYGRUB)
"""What an installation may choose; the other modes are configured by hand."""
_HVM = "hvm"
_LENDING = "setfacl"


def choose(asked: BootMode | None, bundle: BootMode | None, settings: Settings, node: NodeFact) -> BootMode:
    """The mode of a new system. Refused by bootMode when the node cannot do what somebody chose.

    Where nobody chose, and the node can nothing (it may be no Xen dom0 at all), it is direct.
    """
    chosen = next(((mode, whose) for mode, whose in (
        (asked, ""), (bundle, ", which its OS type wants"), (settings.boot_mode, ", which boot_mode of this node says")) if mode), None)
    if chosen is None:
        return next((mode for mode in AUTOMATIC if not obstacle(mode, settings, node)), BootMode.DIRECT)
    mode, whose = chosen
    if problem := obstacle(mode, settings, node):
        able = ", ".join(each.value for each in INSTALLABLE if not obstacle(each, settings, node))
        raise Refused(ParameterFault("reinstallOS", "bootMode", "InvalidParameter", f"{mode.value}{whose}: {problem}", able or "a node that can start VPSes"))
    return mode


def obstacle(mode: BootMode, settings: Settings, node: NodeFact) -> str:
    """Why this node cannot boot a system so; "" when it can."""
    if mode is BootMode.PVH_GRUB and not node.hvm:
        return "this node cannot run PVH guests: it is no Xen dom0, or its processor has neither VT-x nor AMD-V (xl info: virt_caps)"
    if mode in GRUB and GRUB[mode] not in node.loaders:
        return f"{GRUB[mode]} is not there: install the package grub-xen-host on the node"
    if mode is BootMode.PYGRUB and not any(path.endswith("/pygrub") for path in node.loaders):
        return "this node has no pygrub: it comes with Xen's utilities"
    if mode is BootMode.PYGRUB and _LENDING not in node.commands:
        return f"this node has no {_LENDING}, which lets pygrub's user read a VPS's disk: install the package acl"
    if mode is BootMode.DIRECT and not node_kernel(settings, node)[0]:
        return f"{domu_kernel(mode, settings, node)[0]} is not there: KERNELPATH, or KERNEL_RELEASE, names the node's kernel for VPSes"
    return ""


def domu_kernel(mode: BootMode, settings: Settings, node: NodeFact) -> tuple[str, str]:
    """What dom0 loads: a kernel and its initial RAM disk, "" for none. GRUB's image counts as a kernel."""
    if mode in GRUB:
        return GRUB[mode], ""
    if mode is BootMode.NETBSD:
        return settings.bsd_kernel_path or "", ""
    if mode is not BootMode.DIRECT:
        return "", ""
    release = kernel_release(settings, node)
    ramdisk = settings.INITRDPATH or f"/boot/initrd.img-{release}"
    return settings.KERNELPATH or f"/boot/vmlinuz-{release}", ramdisk if settings.INITRDPATH or ramdisk in node.kernels else ""


def node_kernel(settings: Settings, node: NodeFact) -> tuple[str, str]:
    """The node's kernel for VPSes and its initial RAM disk, as far as they are there; "" for what is not."""
    kernel, ramdisk = domu_kernel(BootMode.DIRECT, settings, node)
    return kernel if kernel in node.kernels else "", ramdisk if ramdisk in node.kernels else ""


def kernel_release(settings: Settings, node: NodeFact) -> str:
    """Release of the node's kernel for VPSes."""
    return settings.KERNEL_RELEASE or node.kernel_release


def notes(mode: BootMode, settings: Settings) -> tuple[str, ...]:
    """What an admin should know of a mode before it is used."""
    if mode is not BootMode.PYGRUB:
        return ()
    return (f"pygrub reads the VPS's disk in dom0, as user {settings.pygrub_user}: a guest may attack it there; pvh-grub and pv-grub do the same in the guest",)


def runs_hvm(virt_caps: str) -> bool:
    """Whether a node with these virt_caps of `xl info` can run PVH and HVM guests."""
    return _HVM in virt_caps.split()
