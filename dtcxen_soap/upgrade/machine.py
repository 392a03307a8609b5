"""The machine itself: whether Xen, its bridge, volumes, space, programs, clock and the service are as a node needs them.

What a package, a boot or a network needs is never done here: each finding has the commands, for somebody who knows
the machine. Sources: xl.cfg(5) (bridge of a vif), lvmthin(7) (a full pool), systemctl(1), timedatectl(1), bridge(8).
"""

from __future__ import annotations

from collections.abc import Iterator

from dtcxen_soap import stores
from dtcxen_soap.machinefacts import FoundBridge, FoundUnit, Machine
from dtcxen_soap.settings import Settings
from dtcxen_soap.upgrade.finding import Finding, command, edit, left, listed, problem, warning
from dtcxen_soap.vps import ImageType

SERVICE = "dtcxen-soap.service"
NEEDED = {
    "losetup": "mount", "mkfs.ext4": "e2fsprogs", "mkswap": "util-linux", "mmdebstrap": "mmdebstrap", "mount": "mount", "resize2fs": "e2fsprogs",
    "tar": "tar", "tune2fs": "e2fsprogs", "unshare": "util-linux", "xz": "xz-utils", "zstd": "zstd"}
"""Commands without which systems are not installed, with Debian's packages."""
OPTIONAL = {
    "btrfs": ("btrfs-progs", "file systems of btrfs"), "curl": ("curl", "bundles from elsewhere"), "dnf-3": ("dnf", "RPM systems"),
    "mkfs.xfs": ("xfsprogs", "file systems of XFS"), "qemu-img": ("qemu-utils", "dtcxen pack of qcow2"), "xorriso": ("xorriso", "what cloud-init in HVM guests is told")}
"""Commands that only some work needs: package, and which work."""
SCARCE_BYTES, LOW_BYTES = 1 << 30, 5 << 30
FULL_POOL, FILLING_POOL = 0.95, 0.8


def judge(settings: Settings, machine: Machine) -> Iterator[Finding]:
    """Everything about the machine."""
    yield from _xen(settings, machine)
    yield from _bridge(machine.bridge)
    yield from _volumes(settings, machine)
    yield from _spaces(machine)
    yield from _programs(machine)
    if machine.obstacles:
        yield warning("no-console-users", "owners' console", f"no console user can be made: {'; '.join(machine.obstacles)}",
                      command("apt-get", "install", "openssh-server", "sudo"), command("dtcxen", "setup-host", "--yes"))
    if not machine.loops:
        yield problem("no-loop-devices", "/dev/loop-control", "this kernel has no loop devices: no image file can be mounted", command("modprobe", "loop"))
    if machine.synchronised is False:
        yield warning("clock", "clock", "it is not set by a time server: certificates, logs and performance data go by it", command("timedatectl", "set-ntp", "true"))
    if machine.unit is not None:
        yield from _service(machine.unit)


def _xen(settings: Settings, machine: Machine) -> Iterator[Finding]:
    if settings.toolstack == "none":
        yield left("toolstack-none", "toolstack", "toolstack=none: this node makes VPSes and starts none")
    elif not machine.xen:
        yield problem("no-xen", "Xen", "this machine does not run as a Xen dom0: no VPS can start", command("apt-get", "install", "xen-system-amd64"), command("reboot"))
    elif machine.memory and machine.memory.trouble:
        yield problem("xl-silent", "xl", f"Xen's toolstack gives no answer: {machine.memory.trouble}", command("systemctl", "restart", "xen"), command("xl", "info"))
    elif machine.memory and machine.memory.ballooning:
        yield warning("dom0-balloons", "/etc/xen/xl.conf", "dom0 gives its own memory to domUs until little is left: better give it a fixed amount",
                      command("dtcxen", "setup-host", "--dom0-memory", "2048", "--yes"), command("reboot"))


def _bridge(bridge: FoundBridge | None) -> Iterator[Finding]:
    """Its commands plan a bridge for the next boot: a machine's network is not changed under whoever is signed in by it."""
    if bridge is None:
        return
    at = f"bridge {bridge.name}"
    if not bridge.there:
        yield problem("no-bridge", at, "it is not there, and no vif can join it: name another by xen_bridge, or have it at the next boot with the node's card in it",
                      command("apt-get", "install", "bridge-utils"), command("dtcxen", "setup-host", "--bridge", bridge.name, "--nic", "eth0"))
    elif not bridge.is_bridge:
        yield problem("no-bridge", at, "it is a network card, and no bridge: no vif can join it", command("ip", "-d", "link", "show", bridge.name))
    elif not bridge.is_up:
        yield problem("bridge-down", at, "it is down: no guest is reached", command("ip", "link", "set", "dev", bridge.name, "up"))
    elif not [port for port in bridge.ports if not port.startswith("vif")]:
        yield warning("bridge-empty", at, "no card of the node is in it: guests reach each other and nobody else, unless the node routes for them", command("bridge", "link"))


def _volumes(settings: Settings, machine: Machine) -> Iterator[Finding]:
    if machine.lvm is None:
        return
    if machine.lvm.trouble:
        yield problem("lvm-silent", "LVM", f"it does not tell its volumes: {machine.lvm.trouble}", command("vgs"), command("lvs"))
        return
    try:
        group = stores.chosen_group(settings, machine.lvm.groups)
    except ValueError as error:
        yield problem("no-group", "LVM", f"{error}: no disk can be made on volumes", command("vgs"), edit(f"{settings.config_dir}/dtc-xen.conf"))
        return
    for pool in group.pools:
        used = 1 - pool.free_bytes / pool.size_bytes if pool.size_bytes else 1.0
        if used >= FILLING_POOL:
            tell = problem if used >= FULL_POOL else warning
            yield tell("pool-filling", f"thin pool {group.name}/{pool.name}", f"{used:.0%} of it is used: when it is full, every guest on it stops writing",
                       command("lvextend", "-L", "+10G", f"{group.name}/{pool.name}"))


def _spaces(machine: Machine) -> Iterator[Finding]:
    for space in machine.spaces:
        if space.free_bytes < LOW_BYTES:
            tell = problem if space.free_bytes < SCARCE_BYTES else warning
            yield tell("space", space.path, f"only {space.free_bytes >> 20} MiB are free", command("df", "-h", "--", space.path), command("du", "-xsh", "--", space.path))


def _programs(machine: Machine) -> Iterator[Finding]:
    needed = tuple(name for name in NEEDED if name in machine.lacking)
    if needed:
        packages = dict.fromkeys(NEEDED[name] for name in needed)
        yield problem("programs", listed(needed), "not there: no system can be installed without", command("apt-get", "install", *packages))
    optional = {name: OPTIONAL[name] for name in OPTIONAL if name in machine.lacking}
    if optional:
        uses = "; ".join(f"{name} is for {use}" for name, (_, use) in optional.items())
        yield left("optional-programs", listed(tuple(optional)), f"not there: {uses}", command("apt-get", "install", *(package for package, _ in optional.values())))


def _service(unit: FoundUnit) -> Iterator[Finding]:
    if unit.load != "loaded":
        yield warning("no-service", SERVICE, "systemd does not know it: after a boot nobody serves", command("apt-get", "install", "dtcxen-soap"))
        return
    if unit.active not in ("active", "reloading"):
        yield problem("service-down", SERVICE, f"it is {unit.active}", command("systemctl", "restart", SERVICE), command("journalctl", "-u", SERVICE, "-n", "50"))
    if unit.file not in ("enabled", "enabled-runtime"):
        yield problem("service-disabled", SERVICE, f"it is {unit.file}: after a boot nobody serves", command("systemctl", "enable", SERVICE))


def asks_lvm(settings: Settings) -> bool:
    """Whether disks of this node are made on volumes."""
    return settings.default_image_type is ImageType.LVM
