"""reinstallOS as one Plan: check everything, build the new system beside the old one, swap, then drop.

The old root disk stays whole and startable until the new tree is complete. Without room for both
disks, and only with reinstall_in_place=allow, the old one is formatted in place: as late as possible,
after the image and all inputs were verified, and the plan says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap import disks
from dtcxen_soap.errors import Failed, Missing, ParameterFault, Refused
from dtcxen_soap.facts import DiskFact, Facts, Need, NeedDisks, NeedDomu, NeedInstall, NeedOsList, NeedTenancy
from dtcxen_soap.install import bundle, contract, debootstrap, finish
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import AllocateFile, ExchangeFile, MakeDirectory, Mounted, Plan, RemoveFile, RenameFile, Run, Step, Symlink, WriteFile
from dtcxen_soap.requests import Reinstall
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import BootMode, DiskRole, GuestNetwork, Mib, Nic, Vps
from dtcxen_soap.xen import config, mac

_MKFS = {
    "ext3": ("mkfs.ext3", "-q", "-F", "-E", "nodiscard"),
    "ext4": ("mkfs.ext4", "-q", "-F", "-E", "nodiscard"),
    "xfs": ("mkfs.xfs", "-q", "-f", "-K"),
    "btrfs": ("mkfs.btrfs", "-q", "-f", "-K"),
}
"""Without discarding: it would give back the space that a fallocated image has reserved."""
_OPERATION = "reinstallOS"


def needs(request: Reinstall, settings: Settings) -> tuple[Need, ...]:
    """Everything that an installation looks at before it touches anything."""
    vps = request.vps
    return NeedDisks(vps), NeedDomu(vps), NeedTenancy(vps), NeedInstall(vps, request.os_type), NeedOsList()


@dataclass(frozen=True)
class _Build:
    """Where the new system is built: `image` becomes `root` in the end; both are one when built in place."""

    root: DiskFact
    image: str
    tree: str
    in_place: bool


def plan(request: Reinstall, settings: Settings, facts: Facts) -> Plan:
    """The whole installation. Raises Refused, Missing, Busy or Failed before anything is planned."""
    root = _refuse(request, settings, facts)
    build = _place(request, root, settings, facts)
    vps = _vps(request, settings, facts)
    steps = (
        *_checks(facts),
        *_prepare(request, build, settings),
        _install(request, build, vps, settings, facts),
        *_swap_in(request, build, settings, facts),
        *_configure(request, vps, settings, facts),
        *_drop(build, vps, settings, facts),
    )
    return Plan(f"install {request.os_type} on VPS {request.vps}", steps, notes=_notes(build, settings))


# -- before anything is touched -------------------------------------------------------------------


def _refuse(request: Reinstall, settings: Settings, facts: Facts) -> DiskFact:
    """Raise whatever speaks against the installation; the root disk to install on."""
    disks.refuse_in_use(facts, request.vps, _OPERATION)
    if facts.tenancy.blocked:
        raise Refused(ParameterFault(_OPERATION, "vps", "InvalidParameter", f"VPS {request.vps} is blocked: {facts.tenancy.blocked}", "killVPSDisk first"))
    root = facts.disk(DiskRole.ROOT)
    if root is None:
        raise Missing(f"{_OPERATION}: VPS {request.vps} has no root disk: call setupVPSDisk first")
    if request.expected_disk is not None and root.size_bytes != request.expected_disk.bytes:
        raise Refused(ParameterFault(
            "reinstallVPSos", "hddsize", "InvalidParameter", f"the root disk has {root.size_bytes >> 20} MiB", f"{root.size_bytes >> 20}, or killVPS first"))
    _refuse_os(request, settings, facts)
    lacking = [command for command in (_MKFS[settings.root_filesystem][0], "mkswap", "mount", "umount") if command not in facts.node.commands]
    if lacking:
        raise Failed(f"Install {request.os_type}.", f"the node lacks {', '.join(lacking)}: install the packages")
    return root


def _refuse_os(request: Reinstall, settings: Settings, facts: Facts) -> None:
    if facts.bundle is not None:
        bundle.refuse_unready(facts.bundle, facts.node)
    elif request.os_type == debootstrap.OS_TYPE:
        debootstrap.refuse_unready(settings, facts.node)
    else:
        known = ", ".join((debootstrap.OS_TYPE, *facts.bundles))
        raise Refused(ParameterFault(_OPERATION, "osType", "InvalidParameter", f"{request.os_type!r} cannot be installed here", f"one of {known}"))


def _place(request: Reinstall, root: DiskFact, settings: Settings, facts: Facts) -> _Build:
    """Beside the old system where there is room for both; in place only if that is allowed, or nothing is lost."""
    tree = f"{settings.provisioning_mount_point}/{request.vps}"
    lacking = disks.lacking_bytes(facts, Mib(root.size_bytes >> 20), settings)
    if not lacking:
        return _Build(root, root.path + ".new", tree, False)
    if root.blank or settings.reinstall_in_place == "allow":
        return _Build(root, root.path, tree, True)
    raise Refused(ParameterFault(
        _OPERATION, "vps", "InvalidParameter", f"{lacking >> 20} MiB are lacking to build the new system beside the old one",
        "more space, or reinstall_in_place=allow on the node, which destroys the old system first"))


def _notes(build: _Build, settings: Settings) -> tuple[str, ...]:
    if not build.in_place:
        return ("the old system stays whole and startable until the new one is complete",)
    if build.root.blank:
        return ("no room for a second disk; this one was never used, so nothing is lost",)
    return ("no room for a second disk (reinstall_in_place=allow): the old system is DESTROYED before the new one is built",)


def _vps(request: Reinstall, settings: Settings, facts: Facts) -> Vps:
    """The VPS as its domU will be configured."""
    try:
        address = mac.mac_for(request.vps, settings, facts.node.node_id, facts.taken_macs)
    except ValueError as error:
        raise Failed(f"Choose the MAC address of VPS {request.vps}.", str(error)) from None
    release = settings.KERNEL_RELEASE or facts.node.kernel_release
    kernel = settings.KERNELPATH or f"/boot/vmlinuz-{release}"
    ramdisk = settings.INITRDPATH or f"/boot/initrd.img-{release}"
    return Vps(
        request.vps, request.ram, tuple(disks.file_disk(disk) for disk in facts.disks), Nic(address, request.addresses, settings.xen_bridge), BootMode.DIRECT,
        kernel, ramdisk if settings.INITRDPATH or ramdisk in facts.node.kernels else "", settings.XENU_EXTRA_PARM)


# -- steps ----------------------------------------------------------------------------------------


def _checks(facts: Facts) -> tuple[Step, ...]:
    return bundle.checks(facts.bundle) if facts.bundle is not None else ()


def _prepare(request: Reinstall, build: _Build, settings: Settings) -> tuple[Step, ...]:
    """An image with an empty file system, and the mount point."""
    program = _MKFS[settings.root_filesystem]
    lost = "" if not build.in_place or build.root.blank else f"the system on {build.root.path}"
    mkfs = Run(why=f"Make an {settings.root_filesystem} file system.", argv=(*program, "--", build.image), destroys=lost, weight=2)
    mount_point = MakeDirectory(why="Have a mount point.", path=build.tree)
    if build.in_place:
        return mount_point, mkfs
    allocate = AllocateFile(
        why="Make a new root disk beside the old one.", path=build.image, size=Mib(build.root.size_bytes >> 20), sparse=settings.overcommit,
        undo=(RemoveFile(why="Remove the unfinished root disk.", path=build.image),))
    left = tuple(RemoveFile(why="Remove what an interrupted installation left.", path=path) for path in (build.image, f"{build.root.path}.old"))
    return *left, allocate, mount_point, mkfs


def _install(request: Reinstall, build: _Build, vps: Vps, settings: Settings, facts: Facts) -> Step:
    """Mount, fill, finish, unmount."""
    guest = _guest(request, build, vps, settings, facts)
    return Mounted(
        why="Mount the new root disk.", source=build.image, at=build.tree, fstype=settings.root_filesystem,
        options="nosuid" if facts.bundle is not None else "nodev,nosuid", steps=_fill(guest, settings, facts))


def _fill(guest: Guest, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """The installer's steps. A bundle's scripts may chroot by themselves, and need the tree's devices then."""
    own = _postinstall(guest, settings)
    if facts.bundle is not None:
        return bundle.steps(facts.bundle, guest, settings, postinstall=own)
    return (*debootstrap.steps(guest.tree, settings, facts.node), finish.look(guest), *own)


def _postinstall(guest: Guest, settings: Settings) -> tuple[Step, ...]:
    """The original's custom_postinstall_script, with the flags that it always got."""
    if settings.custom_postinstall_script is None:
        return ()
    return (Run(
        why="Run the node's own post-installation script.", argv=contract.script_argv(settings.custom_postinstall_script, guest),
        contained=True, timeout_seconds=settings.install_timeout_minutes * 60),)


def _guest(request: Reinstall, build: _Build, vps: Vps, settings: Settings, facts: Facts) -> Guest:
    node = facts.node
    hostname = request.hostname or f"{vps.id.name}.{settings.vps_domain or node.hostname}".rstrip(".")
    release = settings.KERNEL_RELEASE or node.kernel_release
    modules = settings.KMOD_PATH or f"/lib/modules/{release}"
    return Guest(
        vps=vps, tree=build.tree, os_type=request.os_type, hostname=hostname,
        network=GuestNetwork(vps.nic, request.gateways(settings), request.dns(settings), settings.onlink_gateway), password=request.password,
        fstype=settings.root_filesystem, kernel_release=release, modules=modules if modules in node.kernels else "",
        motd=node.texts.get("motd"), bashrc=node.texts.get("bashrc"), authorized_keys=node.texts.get("authorized_keys2"), node=node.hostname)


def _exchange(why: str, source: str, target: str, undo_why: str) -> tuple[Step, ...]:
    """Swap a finished file in; the old one lives on as target.old until it is dropped."""
    back = (
        ExchangeFile(why=undo_why, source=f"{target}.old", target=target, keep=f"{target}.failed"),
        RemoveFile(why="Remove the one that failed.", path=f"{target}.failed"))
    return (ExchangeFile(why=why, source=source, target=target, keep=f"{target}.old", undo=back),)


def _swap_in(request: Reinstall, build: _Build, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """The new root disk takes the old one's name; the swap disk is formatted anew."""
    steps: tuple[Step, ...] = ()
    if not build.in_place:
        steps = _exchange("Put the new root disk in the old one's place.", build.image, build.root.path, "Put the old root disk back.")
    swap = facts.disk(DiskRole.SWAP)
    if swap is not None:
        steps += (Run(why="Make swap space.", argv=("mkswap", "--", swap.path), weight=1),)
    return steps


def _configure(request: Reinstall, vps: Vps, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """The domU's configuration and its start with the node."""
    path = disks.config_path(vps.id, settings)
    auto = disks.auto_path(vps.id, settings)
    new = f"{path}.new"
    write = WriteFile(why="Write the domU's configuration.", path=new, content=config.render(vps), mode=0o600,
                      undo=(RemoveFile(why="Remove the new configuration.", path=new),))
    swap_in: tuple[Step, ...] = _exchange("Put the new configuration in the old one's place.", new, path, "Put the old configuration back.")
    if not facts.domu.configured:
        swap_in = (RenameFile(why="Put the configuration in its place.", source=new, target=path, undo=(RemoveFile(why="Remove the configuration.", path=path),)),)
    link = Symlink(why="Start the VPS with the node.", path=auto, target=f"../{vps.id.name}")
    left = RemoveFile(why="Remove what an interrupted installation left.", path=f"{path}.old")
    return left, MakeDirectory(why="Have a place for the start link.", path=f"{settings.xen_config_dir}/auto"), write, *swap_in, link


def _drop(build: _Build, vps: Vps, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """What is no longer needed once everything is in place; from here on nothing is undone."""
    steps: tuple[Step, ...] = ()
    if facts.domu.configured:
        path = disks.config_path(vps.id, settings)
        kept = disks.previous_config_path(vps.id, settings)
        steps += (RemoveFile(why="Let go of the configuration before the last.", path=kept, may_fail=True),
                  RenameFile(why="Keep the old configuration for its admin's hand edits.", source=f"{path}.old", target=kept, may_fail=True))
    if not build.in_place:
        lost = "" if build.root.blank else f"the old system of VPS {vps.id}"
        steps += (RemoveFile(why="Drop the old root disk.", path=f"{build.root.path}.old", destroys=lost, may_fail=True),)
    return steps

