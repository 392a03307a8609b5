"""reinstallOS as one Plan: check everything, build the new system beside the old one, swap, then set the old one aside.

The old root disk stays whole and startable until the new tree is complete, and is kept for
keep_old_disk_hours after that (rollbackVPS). Without room for both disks, and only with
reinstall_in_place=allow, the old one is formatted in place: as late as possible, after the image and
all inputs were verified, and the plan says so. With start=true the job's proof is that it boots.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from dtcxen_soap import accounts, cloudseed, configfile, disks, firstboot, power, stores, volumes
from dtcxen_soap.errors import Failed, ParameterFault, Refused
from dtcxen_soap.facts import DiskFact, Facts, KeptDisk, Need, NeedAccounts, NeedDisks, NeedDomu, NeedInstall, NeedKeys, NeedMemory, NeedOsList, NeedTenancy
from dtcxen_soap.firstbootfacts import NeedFirstboot, Snippet
from dtcxen_soap.install import appliance, byhand, golden, ostypes
from dtcxen_soap.install.golden import Golden, Recipe
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.install.rootdisk import the_root
from dtcxen_soap.plans import MakeDirectory, Mounted, Plan, Run, Step, WatchBoot
from dtcxen_soap.requests import Reinstall
from dtcxen_soap.settings import Settings
from dtcxen_soap.stores import Store
from dtcxen_soap.vps import BootMode, DiskRole, GuestNetwork, ImageType, Mib, Nic, Vps, VpsId
from dtcxen_soap.xen import bootmode

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
    by_hand = byhand.needs(request, settings) if request.os_type in byhand.KINDS else ()
    return tuple(dict.fromkeys((*_needs(request), *by_hand)))


def _needs(request: Reinstall) -> tuple[Need, ...]:
    vps = request.vps
    memory = (NeedMemory(),) if request.start else ()
    keys = (NeedKeys(request.ssh_keys),) if request.ssh_keys else ()
    first = NeedFirstboot(os_type=request.os_type)
    return NeedDisks(vps), NeedDomu(vps), NeedTenancy(vps), NeedInstall(vps, request.os_type), NeedOsList(), NeedAccounts(vps), first, *keys, *memory


@dataclass(frozen=True)
class _Build:
    """Where the new system is built: `image` becomes the root disk in the end; both are one when built in place.

    `first` are kept disks of this VPS that go beforehand, for the room that they take. `golden` is the image to clone, None for an installation from scratch.
    """

    root: DiskFact
    store: Store
    image: str
    tree: str
    in_place: bool
    first: tuple[KeptDisk, ...] = ()
    golden: Golden | None = None

    @property
    def destroys(self) -> bool:
        """Whether the old system goes before the new one is built."""
        return self.in_place and not self.root.blank

    @property
    def old(self) -> str:
        """What the old root disk is called between the swap and its end."""
        return f"{self.root.path}.old"


def plan(request: Reinstall, settings: Settings, facts: Facts) -> Plan:
    """The whole installation. Raises Refused, Missing, Busy or Failed before anything is planned."""
    if request.os_type in byhand.KINDS:
        return byhand.plan(request, settings, facts)
    root = _refuse(request, settings, facts)
    mode = bootmode.choose(request.boot_mode, ostypes.boot_mode(facts), settings, facts.node)
    recipe = ostypes.recipe(mode, settings, facts)
    cloned = golden.choose(request.vps, _base(request, facts), recipe, root.size_bytes, settings, facts)
    build = dataclasses.replace(_place(request, root, settings, facts), golden=cloned)
    vps = _vps(request, mode, settings, facts)
    steps = (
        *_checks(build, settings, facts),
        *_prepare(request, build, settings, facts),
        _install(request, build, vps, settings, facts),
        *_swap_in(request, build, settings, facts),
        *configfile.steps(vps, settings, facts),
        *accounts.ensure_steps(vps.id, settings, facts),
        *_drop(build, vps, settings, facts),
    )
    notes = (*_cache_notes(build, recipe, settings, facts), *_notes(build, mode, settings), *accounts.notes(vps.id, settings, facts))
    return Plan(f"install {request.os_type} on VPS {request.vps}", steps, notes=notes,
                proof=_proof(request, vps, settings, facts), unproven="installed, does not boot", leaves_work=volumes.leaves_work(steps))


# -- before anything is touched -------------------------------------------------------------------


def _refuse(request: Reinstall, settings: Settings, facts: Facts) -> DiskFact:
    """Raise whatever speaks against the installation; the root disk to install on."""
    root = the_root(request, settings, facts)
    appliance.refuse_unready(request.os_type, facts.firstboot.app, settings, facts.node)
    ostypes.refuse_unready(_base(request, facts), settings, facts)
    firstboot.refuse_unready(_OPERATION, facts.firstboot)
    accounts.refuse_bad_keys(_OPERATION, "sshKeys", facts)
    _refuse_user_data(request, settings, facts)
    lacking = [command for command in (_MKFS[settings.root_filesystem][0], "mkswap", "mount", "umount") if command not in facts.node.commands]
    if lacking:
        raise Failed(f"Install {request.os_type}.", f"the node lacks {', '.join(lacking)}: install the packages")
    if request.start:
        power.refuse_running(_OPERATION, request.vps, facts.domu)
        power.refuse_memory(_OPERATION, request.ram, facts, parameter="ramSizeMib")
    return root


def _base(request: Reinstall, facts: Facts) -> str:
    """The OS type that is put on the disk; an appliance comes on top of it at the first boot."""
    return appliance.base(request.os_type, facts.firstboot.app)


def _refuse_user_data(request: Reinstall, settings: Settings, facts: Facts) -> None:
    """What is made here of packages will hold these; an image's tree is asked when it is there, and before it takes the old one's place."""
    packages = ostypes.packages(settings, facts)
    if cloudseed.is_cloud_config(request.user_data) and packages is not None and "cloud-init" not in packages:
        raise Refused(ParameterFault(
            _OPERATION, "userData", "InvalidParameter", f"{request.os_type} has no cloud-init to read {cloudseed.CLOUD_CONFIG}",
            "a script that begins with #!, or cloud-init among the packages of the node's debian_added_debs or os.d"))


def _place(request: Reinstall, root: DiskFact, settings: Settings, facts: Facts) -> _Build:
    """Beside the old system where there is room for both; in place only if that is allowed, or nothing is lost.

    An ordinary volume that was never used is taken at once: a second one would have to be overwritten for nothing.
    """
    tree = f"{settings.provisioning_mount_point}/{request.vps}"
    store = stores.of(root, settings, facts)
    if root.blank and root.image_type is ImageType.LVM and not root.pool:
        return _Build(root, store, root.path, tree, True)
    lacking = store.lacking(Mib(root.size_bytes >> 20))
    spare = tuple(kept for kept in facts.kept if kept.role is DiskRole.ROOT and stores.of(kept, settings, facts).place == store.place) if lacking else ()
    if lacking <= sum(kept.size_bytes for kept in spare):
        return _Build(root, store, root.path + ".new", tree, False, spare)
    if root.blank or settings.reinstall_in_place == "allow":
        return _Build(root, store, root.path, tree, True)
    raise Refused(ParameterFault(
        _OPERATION, "vps", "InvalidParameter", f"{lacking >> 20} MiB are lacking to build the new system beside the old one",
        "more space, or reinstall_in_place=allow on the node, which destroys the old system first"))


def _notes(build: _Build, mode: BootMode, settings: Settings) -> tuple[str, ...]:
    boot = (f"it will boot by {mode.value}", *bootmode.notes(mode, settings))
    if build.first:
        boot += ("the system before the last, which was kept, is let go first: there is no room for three",)
    if not build.in_place:
        return *boot, "the old system stays whole and startable until the new one is complete"
    if build.root.blank:
        return *boot, "the root disk was never used, so the system is built right on it: nothing is lost"
    return *boot, "no room for a second disk (reinstall_in_place=allow): the old system is DESTROYED before the new one is built"


def _vps(request: Reinstall, mode: BootMode, settings: Settings, facts: Facts) -> Vps:
    """The VPS as its domU will be configured."""
    address = configfile.mac(request.vps, settings, facts)
    kernel, ramdisk = bootmode.domu_kernel(mode, settings, facts.node)
    return Vps(
        request.vps, request.ram, tuple(disks.disk(disk) for disk in facts.disks), Nic(address, request.addresses, settings.xen_bridge), mode,
        kernel, ramdisk, settings.XENU_EXTRA_PARM)


def _cache_notes(build: _Build, recipe: Recipe | None, settings: Settings, facts: Facts) -> tuple[str, ...]:
    if build.golden is not None:
        made = build.golden.present
        return (f"cloned from the image of {made.made:%Y-%m-%d %H:%M}Z" if made else "the first of its kind: its image is made first, and cloned from then on",)
    why = golden.why_none(recipe, build.root.size_bytes, settings, facts)
    return (f"installed from scratch: {why}",) if why else ()


# -- steps ----------------------------------------------------------------------------------------


def _checks(build: _Build, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """What is verified before any disk is touched; an image's inputs were when it was made."""
    if build.golden is None:
        return ostypes.checks(settings, facts)
    return golden.checks(build.golden, settings, before_destroying=Mib(build.root.size_bytes >> 20) if build.destroys else None)


def _prepare(request: Reinstall, build: _Build, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """A disk with an empty file system or the clone of an image, and the mount point."""
    lost = f"the system on {build.root.path}" if build.destroys else ""
    mount_point = MakeDirectory(why="Have a mount point.", path=build.tree)
    if build.golden is not None:
        content = golden.clone_steps(build.golden, build.image, settings, zeroed=not build.destroys, destroys=lost)
    else:
        mkfs = (*_MKFS[settings.root_filesystem], "--", build.image)
        content = (Run(why=f"Make an {settings.root_filesystem} file system.", argv=mkfs, destroys=lost, weight=2),)
    return *_disk(request, build, settings, facts), mount_point, *build.store.used(build.image), *content


def _disk(request: Reinstall, build: _Build, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """What the new system is built on: a new disk, or the old one once more made sure of."""
    size = Mib(build.root.size_bytes >> 20)
    if build.in_place:
        return disks.must_be_free(request.vps, (build.root.path,), facts), *disks.overwrite(build.root, settings, facts)
    left = (found.path for found in facts.leftovers if found.path in (build.image, build.old, f"{build.root.path}.failed"))
    gone = [step for path in left for step in build.store.remove(path, "Remove what an interrupted installation left.")]
    gone += [step for kept in build.first for step in _let_go(kept, request.vps, settings, facts, at_once=True)]
    return *gone, *build.store.make(build.image, size, "Make a new root disk beside the old one.")


def _install(request: Reinstall, build: _Build, vps: Vps, settings: Settings, facts: Facts) -> Step:
    """Mount, fill unless it was cloned, finish, unmount."""
    guest = _guest(request, build, vps, settings, facts)
    fill = ostypes.fill(guest, settings, facts) if build.golden is None else ()
    return Mounted(
        why="Mount the new root disk.", source=build.image, at=build.tree, fstype=settings.root_filesystem,
        options=ostypes.mount_options(facts), steps=(*fill, *ostypes.finish(guest, settings, facts)))


def _guest(request: Reinstall, build: _Build, vps: Vps, settings: Settings, facts: Facts) -> Guest:
    node = facts.node
    hostname = request.hostname or f"{vps.id.name}.{settings.vps_domain or node.hostname}".rstrip(".")
    release = bootmode.kernel_release(settings, node)
    kernel, ramdisk = bootmode.node_kernel(settings, node)
    modules = settings.KMOD_PATH or f"/lib/modules/{release}"
    made = Guest(
        vps=vps, tree=build.tree, os_type=_base(request, facts), hostname=hostname,
        network=GuestNetwork(vps.nic, request.gateways(settings), request.dns(settings), settings.onlink_gateway), password=request.password,
        fstype=settings.root_filesystem, kernel_release=release, modules=modules if modules in node.kernels else "", node_kernel=kernel, node_ramdisk=ramdisk,
        motd=node.texts.get("motd"), bashrc=node.texts.get("bashrc"), authorized_keys=node.texts.get("authorized_keys2"), node=node.hostname,
        snippets=_snippets(request, settings, facts), snippet_seconds=settings.firstboot_timeout_seconds, owner_keys=request.ssh_keys or (),
        cloud_config=request.user_data if cloudseed.is_cloud_config(request.user_data) else None,
        instance=cloudseed.instance(vps.id, facts.tenancy.number, facts.now) if facts.now else "", appliance=facts.firstboot.app,
        panel_source=appliance.panel_source(settings, node) if not facts.firstboot.app and request.os_type == appliance.DTC else None)
    return dataclasses.replace(made, private=appliance.private(request.os_type, facts.firstboot.app, made))


def _snippets(request: Reinstall, settings: Settings, facts: Facts) -> tuple[Snippet, ...]:
    """What the new system runs at its first boot, in this order."""
    script = request.user_data if request.user_data and not cloudseed.is_cloud_config(request.user_data) else None
    return (
        *(Snippet(firstboot.order(firstboot.ADMIN, each.name), each.content) for each in facts.firstboot.snippets),
        *appliance.snippets(request.os_type, facts.firstboot.app, settings),
        *((Snippet(firstboot.order(firstboot.OWNER, "owner"), script),) if script else ()))


def _swap_in(request: Reinstall, build: _Build, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """The new root disk takes the old one's name; the swap disk is formatted anew."""
    swap = facts.disk(DiskRole.SWAP)
    paths = (build.root.path, swap.path) if swap else (build.root.path,)
    steps: tuple[Step, ...] = (disks.must_be_free(request.vps, paths, facts),)
    if not build.in_place:
        steps += build.store.exchange(build.image, build.root.path, build.old, "Put the new root disk in the old one's place.", "Put the old root disk back.")
    if swap is not None:
        store = stores.of(swap, settings, facts)
        steps += (*disks.overwrite(swap, settings, facts), *store.used(swap.path), Run(why="Make swap space.", argv=("mkswap", "--", swap.path), weight=1))
    return steps


def _drop(build: _Build, vps: Vps, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """The old system, and the one before it, once everything is in place; from here on nothing is undone."""
    keeps = not build.in_place and not build.root.blank and bool(settings.keep_old_disk_hours)
    steps = configfile.keep_previous(vps.id, settings, facts, with_system=keeps)
    if build.in_place:
        return steps
    more = (kept for kept in facts.kept if kept.role is DiskRole.ROOT and kept not in build.first)
    steps += tuple(step for kept in more for step in _let_go(kept, vps.id, settings, facts))
    if not keeps:
        lost = "" if build.root.blank else f"the old system of VPS {vps.id}"
        return steps + build.store.remove(build.old, "Drop the old root disk.", lost, may_fail=True)
    assert facts.now is not None
    kept_as = build.store.kept(build.root.path, facts.tenancy.number, facts.now)
    why = f"Keep the old root disk for {settings.keep_old_disk_hours} hours (rollbackVPS)."
    return steps + build.store.rename(build.old, kept_as, why, may_fail=True)


def _let_go(kept: KeptDisk, vps: VpsId, settings: Settings, facts: Facts, *, at_once: bool = False) -> tuple[Step, ...]:
    """One earlier system is kept, not all."""
    lost = f"the system that VPS {vps} had until {kept.kept_since:%Y-%m-%d %H:%M}Z"
    return stores.of(kept, settings, facts).remove(kept.path, "Let go of the system before the last.", lost, may_fail=not at_once, at_once=at_once)


def _proof(request: Reinstall, vps: Vps, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """With start=true: the domU is started, and watched until it booted."""
    if not request.start:
        return ()
    watch = WatchBoot(
        why="Watch it boot.", vps=vps.id, addresses=tuple(address.ip for address in request.addresses), seconds=settings.boot_watch_seconds, weight=20)
    return *power.start_steps(vps.id, vps.ram, vps.boot, settings, facts), watch
