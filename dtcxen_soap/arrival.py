"""The node that a VPS moves to: what speaks against taking it, the steps that make room for it, and the steps that let go of it again.

Nothing is started, and nothing is configured under the VPS's own name, before its old node has given it up.
All that arrives has a name that no start looks at, and the number is blocked meanwhile.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dtcxen_soap import accounts, disks, lvm, power, stores
from dtcxen_soap.errors import DtcxenError
from dtcxen_soap.facts import Facts, Need, NeedAccounts, NeedDisks, NeedDomu, NeedInstall, NeedMemory, NeedTenancy
from dtcxen_soap.movefacts import NeedArrival
from dtcxen_soap.movewords import Offer, Owner
from dtcxen_soap.plans import EndDomu, MakeHome, RemoveFile, Step, TagVolume, WriteKeys
from dtcxen_soap.settings import Settings
from dtcxen_soap.stores import Store
from dtcxen_soap.vps import BootMode, DiskRole, Mib, VpsId
from dtcxen_soap.xen import bootmode, configmoved
from dtcxen_soap.xen.configread import parse

_END_SECONDS = 30
_LOADED = (BootMode.PVH_GRUB, BootMode.PV_GRUB, BootMode.PYGRUB)
"""Modes that need something of the node; a kernel for direct boot is judged as a file."""


def config_path(vps: VpsId, settings: Settings) -> str:
    """The configuration of a VPS that has not come for good."""
    return f"{disks.config_path(vps, settings)}.arriving"


def notes_dir(settings: Settings) -> str:
    """What both sides of moves remember; root's alone."""
    return f"{settings.state_dir}/moves"


def record_path(vps: VpsId, settings: Settings) -> str:
    """What has arrived so far, and how far that is."""
    return f"{notes_dir(settings)}/{vps.name}.arriving"


def lock_path(vps: VpsId, settings: Settings) -> str:
    """One receiver at a time changes it."""
    return f"{notes_dir(settings)}/{vps.name}.lock"


def kept_path(transfer: str, settings: Settings) -> str:
    """That this move's VPS is this node's for good; stays for ever, so that its old node is always told the truth."""
    return f"{notes_dir(settings)}/{transfer}.kept"


def needs(offer: Offer) -> tuple[Need, ...]:
    """All that may speak against it."""
    config = parse(offer.config)
    files = tuple(path for path in (config.kernel, config.ramdisk) if path)
    memory = (NeedMemory(),) if offer.runs else ()
    return (NeedDisks(offer.vps), NeedDomu(offer.vps), NeedTenancy(offer.vps), NeedAccounts(offer.vps), NeedInstall(offer.vps), NeedArrival(files), *memory)


@dataclass(frozen=True)
class Taken:
    """An offer that nothing speaks against: where its disks go, and its configuration as it is written here."""

    paths: Mapping[DiskRole, str] = field(default_factory=dict)
    config: str = ""


# -- what speaks against it -------------------------------------------------------------------------


def judge(offer: Offer, settings: Settings, facts: Facts, *, begun: bool) -> tuple[Taken, tuple[str, ...]]:
    """Where it would go, and all that speaks against it. `begun`: its disks are here already, from an earlier try of the same move."""
    problems = [*_number(offer, settings), *_in_the_way(offer.vps, facts, begun)]
    paths: dict[DiskRole, str] = {}
    try:
        store = _store(offer, settings, facts)
        paths = {disk.role: store.path(offer.vps, disk.role) for disk in offer.disks}
        problems += [] if begun else _room(offer, store)
    except DtcxenError as error:
        problems.append(str(error))
    config, against = _config(offer, paths, settings, facts)
    return Taken(paths, config), (*problems, *against, *_running(offer, settings, facts))


def _number(offer: Offer, settings: Settings) -> Iterator[str]:
    if offer.vps.number > settings.max_vps_id:
        yield f"VPS {offer.vps} is beyond this node's max_vps_id, {settings.max_vps_id}"
    for disk in offer.disks:
        most = settings.vps_disk_max_mib if disk.role is DiskRole.ROOT else settings.vps_swap_max_mib
        if disk.size_bytes > most.bytes:
            yield f"a disk of {disk.size_bytes >> 20} MiB is larger than this node allows, {int(most)} MiB"


def _in_the_way(vps: VpsId, facts: Facts, begun: bool) -> Iterator[str]:
    """Whatever of that number is here."""
    if facts.domu.trouble or facts.lvm.trouble:
        yield facts.domu.trouble or facts.lvm.trouble
    if facts.busy:
        yield f"a job holds VPS {vps} here"
    if facts.domu.state:
        yield f"{vps.name} runs here"
    if facts.domu.configured:
        yield f"VPS {vps} has a configuration here"
    if facts.tenancy.blocked and not begun:
        yield f"VPS {vps} is blocked here: {facts.tenancy.blocked}"
    if not begun:
        paths = (*(disk.path for disk in facts.disks), *(left.path for left in facts.leftovers))
        yield from (f"VPS {vps} has a disk here: {path}" for path in paths)
    if users := ", ".join(facts.accounts.users):
        yield f"this node has a user {users}"
    if facts.accounts.soap_password:
        yield f"{vps.name} has a SOAP password here"


def _store(offer: Offer, settings: Settings, facts: Facts) -> Store:
    return stores.chosen(offer.image_type, "receive-vps", "imageType", settings, facts)


def _room(offer: Offer, store: Store) -> Iterator[str]:
    lacking = store.lacking(Mib(sum(-(-store.size_bytes(_mib(disk.size_bytes)) >> 20) for disk in offer.disks)))
    if lacking:
        yield f"{-(-lacking >> 20)} MiB more than {store.place} has free"


def _mib(size_bytes: int) -> Mib:
    return Mib(-(-size_bytes >> 20))


def _config(offer: Offer, paths: Mapping[DiskRole, str], settings: Settings, facts: Facts) -> tuple[str, list[str]]:
    """The configuration for this node, and what speaks against it."""
    known, problems = {}, []
    for bridge in configmoved.bridges(offer.config) if facts.domu.toolstack else ():
        if bridge not in facts.arrival.bridges and settings.xen_bridge in facts.arrival.bridges and settings.xen_bridge:
            known[bridge] = settings.xen_bridge
        elif bridge not in facts.arrival.bridges:
            problems.append(f"this node has no bridge {bridge[:40]!r}, and xen_bridge names none that is here")
    text = configmoved.rendered(offer.config, name=offer.vps.name, paths=_renamed(offer, paths, settings), bridges=known)
    against = configmoved.foreign(
        text, name=offer.vps.name, paths=frozenset(paths.values()), boot_files=_boot_files(settings, facts), screen=disks.screen_path(offer.vps, settings))
    return text, [*problems, *(f"its configuration {problem}" for problem in against), *_taken(text, offer, facts)]


def _renamed(offer: Offer, paths: Mapping[DiskRole, str], settings: Settings) -> dict[str, str]:
    """The disks' old paths by what the guest calls them: the order of the offer is that of the roles, and that of the configuration."""
    found = {}
    names = {DiskRole.ROOT: ("xvda", "sda1", "sda", "hda", "0x3"), DiskRole.SWAP: ("xvdb", "sda2", "sdb", "hdb", "0x4")}
    for disk in parse(offer.config).disks:
        for role, path in paths.items():
            if disk.device in names[role] and disk.path.startswith("/"):
                found[disk.path] = path
    socket = f"/{offer.was.name}.vnc"
    for value in configmoved.screens(offer.config):
        if value.endswith(socket):
            found[value] = disks.screen_path(offer.vps, settings)
    return found


def _boot_files(settings: Settings, facts: Facts) -> frozenset[str]:
    """What a configuration may name as kernel and RAM disk: GRUB, the node's own kernels, and what lies in /boot as root's."""
    own = {settings.KERNELPATH, settings.INITRDPATH, settings.bsd_kernel_path, settings.bsd_install_kernel_path}
    named = {path for path in facts.arrival.files if path in own or path in bootmode.GRUB.values() or posixpath.dirname(path) == "/boot"}
    return frozenset(named | facts.node.loaders)


def _taken(text: str, offer: Offer, facts: Facts) -> Iterator[str]:
    """Addresses that another VPS of this node has."""
    config = parse(text)
    for address in config.addresses:
        if whose := facts.arrival.addresses.get(address):
            yield f"the address {address} is {whose}'s here"
    for mac in config.macs:
        if (whose := facts.taken_macs.get(mac)) and whose != offer.vps.name:
            yield f"the MAC address {mac} is {whose}'s here"


def _running(offer: Offer, settings: Settings, facts: Facts) -> Iterator[str]:
    if not offer.runs:
        return
    if not facts.domu.toolstack:
        yield "this node runs no domUs: it is no Xen dom0, or its toolstack is none"
        return
    config = parse(offer.config)
    if config.boot in _LOADED and (problem := bootmode.obstacle(config.boot, settings, facts.node)):
        yield problem
    try:
        power.refuse_memory("receive-vps", config.memory or Mib(0), facts, vcpus=config.vcpus or 1)
    except DtcxenError as error:
        yield str(error)


# -- steps ------------------------------------------------------------------------------------------


def make_steps(offer: Offer, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """Make its disks; what an ordinary volume held before is overwritten by what comes."""
    store = _store(offer, settings, facts)
    made = (step for disk in offer.disks for step in store.make(
        store.path(offer.vps, disk.role), _mib(disk.size_bytes), f"Make the disk {disk.role.value} of {_mib(disk.size_bytes)} MiB.", zero=False))
    return *store.prepare(), *made


def used_steps(paths: Mapping[DiskRole, str]) -> tuple[Step, ...]:
    """Every byte of the disks was compared or written: no earlier owner's block is left."""
    names = ((path, lvm.split_path(path)) for path in paths.values())
    return tuple(TagVolume(why=f"Note that {path} is in use, and clean.", vg=name[0], lv=name[1], remove=(lvm.UNUSED, lvm.UNZEROED)) for path, name in names if name)


def owner_steps(vps: VpsId, owner: Owner, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """The owner's users, home and keys, as accounts.py makes them; hashes are set by whoever runs this."""
    ready = accounts.ensure_steps(vps, settings, facts)
    if not ready and owner.keys:
        ready = (MakeHome(why="Have a home that only root changes.", top=settings.ttyssh_home, name=vps.name),)
    keys = (WriteKeys(why=f"Write the SSH keys of {vps.name}.", top=settings.ttyssh_home, name=vps.name, keys=owner.keys),) if owner.keys else ()
    return *ready, *keys


def start_steps(vps: VpsId, config: str, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """Start it from the configuration that has arrived."""
    told = parse(config)
    return power.start_steps(vps, told.memory or Mib(0), told.boot, settings, facts, vcpus=told.vcpus or 1, config=config_path(vps, settings))


def drop_steps(vps: VpsId, paths: Mapping[DiskRole, str], settings: Settings, facts: Facts, *, started: bool, owned: bool) -> tuple[Step, ...]:
    """Let go of all that has arrived: its domU first, then whatever names it. Failed while it is not known what runs, or which disks there are."""
    disks.refuse_unknown(facts, vps, "receive-vps")
    end = (EndDomu(why=f"End {vps.name}, which has not come for good.", vps=vps, seconds=_END_SECONDS),) if started and facts.domu.toolstack else ()
    mine = [disk for disk in facts.disks if disk.path in paths.values()]
    return (
        *end, RemoveFile(why="Remove the configuration that has arrived.", path=config_path(vps, settings)),
        *(accounts.remove_steps(vps, settings, facts) if owned else ()),
        *(step for disk in mine for step in stores.of(disk, settings, facts).remove(disk.path, f"Remove {disk.path}.")))
