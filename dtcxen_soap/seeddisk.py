"""The seed disk of an HVM guest: a small CD with what cloud-init in the guest is told, made anew with each configuration.

What a caller told once counts for later calls of the same tenancy too: the panel configures the CD of an
installer first and the disk afterwards, and knows neither keys nor data. Booting an ISO, or new words, begin a new
installation, which makes cloud-init begin anew; booting the disk afterwards goes on with it. Source: xorrisofs(1);
-R keeps the files' mode, so that in the guest only root reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap import cloudseed, configfile, disks, firstboot, rescueseed
from dtcxen_soap.cloudseed import Seed
from dtcxen_soap.facts import Facts
from dtcxen_soap.firstbootfacts import Snippet
from dtcxen_soap.plans import ExchangeFile, MakeDirectory, RemoveBelow, RemoveFile, RenameFile, Run, Step, WriteFile
from dtcxen_soap.requests import HvmConfig
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import MacAddress, Secret

PROGRAM = "xorriso"
_LABEL = rescueseed.LABEL
_PRIVATE, _PRIVATE_DIRECTORY = 0o600, 0o700
_WHY = "Make the disk that tells the guest its keys, network and first boot."


@dataclass(frozen=True)
class _Told:
    """What the guest is told by its owner, in this call or by one before."""

    instance: str
    keys: tuple[str, ...]
    user_data: Secret | None


def wanted(request: HvmConfig, facts: Facts) -> bool:
    """Whether there is anything to tell."""
    told = _earlier(request, facts)
    return bool(request.ssh_keys or request.user_data or facts.firstboot.snippets or (told and (told.keys or told.user_data)))


def _earlier(request: HvmConfig, facts: Facts) -> _Told | None:
    """What was told before, unless it was another tenant's."""
    found = facts.firstboot.seed
    mine = found.instance.startswith(f"{request.vps.name}-{facts.tenancy.number}-")
    return _Told(found.instance, found.keys, found.user_data) if mine else None


def _told(request: HvmConfig, facts: Facts) -> _Told:
    assert facts.now is not None
    before = _earlier(request, facts)
    goes_on = before is not None and request.boots_disk and not request.ssh_keys and not request.user_data
    instance = before.instance if before and goes_on else cloudseed.instance(request.vps, facts.tenancy.number, facts.now)
    return _Told(instance, request.ssh_keys or (before.keys if before else ()), request.user_data or (before.user_data if before else None))


def _seed(request: HvmConfig, told: _Told, mac: MacAddress, settings: Settings, facts: Facts) -> Seed:
    network = rescueseed.network(tuple(address.ip for address in request.addresses), settings)
    hostname = f"{request.vps.name}.{settings.vps_domain or facts.node.hostname}".rstrip(".")
    snippets = tuple(Snippet(firstboot.order(firstboot.ADMIN, each.name), each.content) for each in facts.firstboot.snippets)
    return Seed(request.vps, told.instance, hostname, told.keys, told.user_data, rescueseed.netplan(mac, network), snippets, settings.firstboot_timeout_seconds)


def make_steps(request: HvmConfig, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """Make the disk and what we write down of it, beside those that are there."""
    told = _told(request, facts)
    seed = _seed(request, told, configfile.mac(request.vps, settings, facts), settings, facts)
    work = disks.cloud_work_path(request.vps, settings)
    noted = cloudseed.as_json({"instance": told.instance, "keys": list(told.keys), "user_data": told.user_data.reveal() if told.user_data else None})
    argv = (PROGRAM, "-as", "mkisofs", "-quiet", "-R", "-J", "-V", _LABEL, "-o", f"{work}/seed.iso", f"{work}/files")
    return (
        MakeDirectory(why="Have a place for what guests are told, for root alone.", path=work.rpartition("/")[0], mode=_PRIVATE_DIRECTORY),
        _clear(request, settings),
        MakeDirectory(why="Have a place to work.", path=work, mode=_PRIVATE_DIRECTORY),
        MakeDirectory(why="Have a place for its files.", path=f"{work}/files", mode=_PRIVATE_DIRECTORY),
        *(WriteFile(why=f"Tell the guest: {name}.", path=f"{work}/files/{name}", content=text, mode=_PRIVATE) for name, text in cloudseed.files(seed)),
        WriteFile(why="Write down what it is told.", path=f"{work}/told", content=Secret(noted), mode=_PRIVATE),
        Run(why=_WHY, argv=argv))


def swap_steps(request: HvmConfig, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """Put both in their places."""
    found = facts.firstboot.seed
    return (
        _into_place("seed.iso", disks.cloud_seed_path(request.vps, settings), found.disk, request, settings),
        _into_place("told", disks.cloud_told_path(request.vps, settings), found.told, request, settings))


def _into_place(name: str, target: str, there: bool, request: HvmConfig, settings: Settings) -> Step:
    new = f"{disks.cloud_work_path(request.vps, settings)}/{name}"
    if not there:
        return RenameFile(why=f"Put {name} in its place.", source=new, target=target, undo=(RemoveFile(why=f"Remove {name}.", path=target),))
    old, failed = f"{new}.old", f"{new}.failed"
    back = ExchangeFile(why=f"Put the old {name} back.", source=old, target=target, keep=failed)
    return ExchangeFile(why=f"Put {name} in the old one's place.", source=new, target=target, keep=old, undo=(back,))


def end_steps(request: HvmConfig, settings: Settings, facts: Facts, *, made: bool) -> tuple[Step, ...]:
    """Nothing of the work stays; nor a disk that tells nothing any more."""
    if made:
        return (_clear(request, settings, may_fail=True),)
    found = facts.firstboot.seed
    paths = ((found.disk, disks.cloud_seed_path(request.vps, settings)), (found.told, disks.cloud_told_path(request.vps, settings)))
    return tuple(RemoveFile(why="Remove what the guest was told before.", path=path, may_fail=True) for there, path in paths if there)


def _clear(request: HvmConfig, settings: Settings, *, may_fail: bool = False) -> Step:
    work = disks.cloud_work_path(request.vps, settings)
    return RemoveBelow(
        why="Leave nothing of the work behind." if may_fail else "Remove what an interrupted call left.", top=settings.state_dir,
        path=work.removeprefix(f"{settings.state_dir}/"), may_fail=may_fail)
