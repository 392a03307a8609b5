"""writeXenHVMconf: a configuration with which firmware boots the VPS's disk, or a CD: one of its own ISOs, or of the node's library.

An ISO lies where its owner may replace it at any time, by a link to another's disk too. So the
configuration names not that path but a second name of the very file, in a directory that only root
can write; an owner's name for it never gets into a configuration. The library is root's alone, and is read where it lies. The screen is VNC with a password, where
the node's QEMU can compare one; else it is at a socket that nobody but root can reach.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dtcxen_soap import accounts, configfile, disks, firstboot, seeddisk
from dtcxen_soap.answers import ConfigWritten
from dtcxen_soap.errors import Missing, ParameterFault, Refused
from dtcxen_soap.facts import Facts, IsoFact, Need, NeedDisks, NeedDomu, NeedInstall, NeedIsos, NeedKeys, NeedQemu, NeedTenancy
from dtcxen_soap.firstbootfacts import NeedFirstboot
from dtcxen_soap.plans import MakeDirectory, PinFile, Plan, RemoveFile, Step
from dtcxen_soap.requests import HvmConfig
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import BootMode, DiskRole, HvmOptions, Nic, Vps

_OPERATION = "writeXenHVMconf"
_MOST_TOLD = 20


def needs(request: HvmConfig, settings: Settings) -> tuple[Need, ...]:
    """The disks, what runs, the ISOs, what the node can, and what guests are told."""
    vps = request.vps
    keys = (NeedKeys(request.ssh_keys),) if request.ssh_keys else ()
    return NeedDisks(vps), NeedDomu(vps), NeedIsos(vps), NeedInstall(vps), NeedQemu(), NeedTenancy(vps), NeedFirstboot(vps), *keys


def plan(request: HvmConfig, settings: Settings, facts: Facts) -> Plan:
    """Write the configuration. Raises Refused, Missing, Busy or Failed before anything is planned."""
    _refuse(request, settings, facts)
    iso = _iso(request, facts)
    vps = _vps(request, iso, settings, facts)
    pinned = iso is not None and not iso.library
    tells = bool(vps.seed)
    steps = (
        configfile.must_be_down(vps.id, facts), *_screens(request, settings), *(seeddisk.make_steps(request, settings, facts) if tells else ()),
        *configfile.steps(vps, settings, facts, autostart=request.boots_disk),
        *(seeddisk.swap_steps(request, settings, facts) if tells else ()),
        *(_pin(iso, request, settings) if iso and pinned else ()),
        *configfile.keep_previous(vps.id, settings, facts),
        *seeddisk.end_steps(request, settings, facts, made=tells),
        *(() if pinned else _unpin(request, settings)))
    return Plan(f"configure VPS {vps.id} for HVM, booting {request.boot}", steps, ConfigWritten(
        disks.config_path(vps.id, settings), settings.vnc_listen if request.vnc_password else _socket(request, settings)))


# -- before anything is touched -------------------------------------------------------------------


def _refuse(request: HvmConfig, settings: Settings, facts: Facts) -> None:
    disks.refuse_in_use(facts, request.vps, _OPERATION)
    if facts.tenancy.blocked:
        raise Refused(ParameterFault(_OPERATION, "vps", "InvalidParameter", f"VPS {request.vps} is blocked: {facts.tenancy.blocked}", "killVPSDisk first"))
    if facts.disk(DiskRole.ROOT) is None:
        raise Missing(f"{_OPERATION}: VPS {request.vps} has no root disk: call setupVPSDisk first")
    firstboot.refuse_unready(_OPERATION, facts.firstboot)
    accounts.refuse_bad_keys(_OPERATION, "sshKeys", facts)
    faults = (*_unable(request, settings, facts), *_no_iso(request, facts), *_too_many(request, settings, facts))
    if faults:
        raise Refused(*(ParameterFault(_OPERATION, parameter, "InvalidParameter", problem, expected) for parameter, problem, expected in faults))


def _unable(request: HvmConfig, settings: Settings, facts: Facts) -> Iterator[tuple[str, str, str]]:
    """What this node cannot do of what is asked, by what it lacks: parameter, problem, and what would do."""
    if not facts.node.hvm:
        yield ("", "this node cannot run HVM guests", "a Xen dom0 whose processor has VT-x or AMD-V (xl info: virt_caps)")
    if not facts.qemu.path:
        yield ("", "this node has no QEMU for HVM guests", "the package qemu-system-xen on the node")
    if request.firmware == "uefi" and not facts.qemu.uefi:
        yield ("firmware", "uefi: this node has no such firmware", "bios, or the package ovmf on the node")
    if seeddisk.wanted(request, facts) and seeddisk.PROGRAM not in facts.node.commands:
        yield ("", "this node cannot make the disk that tells the guest its keys, data and first-boot snippets", f"the package {seeddisk.PROGRAM} on the node")
    if request.vnc_password is not None and facts.qemu.path and not facts.qemu.vnc_passwords:
        yield ("vncPassword", f"{facts.qemu.path} of this node was built without what VNC passwords need, as Debian's is, and would not start",
                      f"no_vnc: root of the node reaches the screen at {disks.screen_path(request.vps, settings)}")


def _iso(request: HvmConfig, facts: Facts) -> IsoFact | None:
    """The ISO of exactly this name among the VPS's own; None also to boot the disk."""
    return None if request.boots_disk else next((iso for iso in facts.isos if iso.name == request.boot), None)


def _no_iso(request: HvmConfig, facts: Facts) -> Iterator[tuple[str, str, str]]:
    """The fault of an ISO that the VPS does not have, with those that it has."""
    if not request.boots_disk and _iso(request, facts) is None:
        names = [iso.name for iso in facts.isos[:_MOST_TOLD]] + (["..."] if len(facts.isos) > _MOST_TOLD else [])
        yield ("boot", f"{request.boot!r} is no ISO of VPS {request.vps}", f"hdd, or one of its ISOs: {', '.join(names) or 'it has none'}")


def _too_many(request: HvmConfig, settings: Settings, facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Where the file system keeps no quota an owner who has more than allowed boots none of it."""
    iso, limit = _iso(request, facts), settings.iso_quota_mib.bytes
    used = sum(each.size_bytes for each in facts.isos if not each.library)
    if iso and not iso.library and 0 < limit < used:
        yield ("boot", f"the ISOs of VPS {request.vps} use {used >> 20} MiB, and may use {limit >> 20} MiB (iso_quota_mib)", "hdd, an ISO of the node's library, or fewer ISOs")


# -- what is written ------------------------------------------------------------------------------


def iso_path(request: HvmConfig, settings: Settings) -> str:
    """The name under which the domU's CD is opened, whatever its owner calls it."""
    return disks.pinned_iso_path(request.vps, settings)


def _vps(request: HvmConfig, iso: IsoFact | None, settings: Settings, facts: Facts) -> Vps:
    options = HvmOptions(
        "" if iso is None else iso.path if iso.library else iso_path(request, settings), request.firmware or "bios", request.vnc_password, settings.vnc_listen,
        _socket(request, settings))
    nic = Nic(configfile.mac(request.vps, settings, facts), request.addresses, settings.xen_bridge)
    return Vps(
        request.vps, request.ram, tuple(disks.disk(found) for found in facts.disks), nic, BootMode.HVM, vcpus=facts.domu.config_vcpus, hvm=options,
        seed=disks.cloud_seed_path(request.vps, settings) if seeddisk.wanted(request, facts) else "")


def _socket(request: HvmConfig, settings: Settings) -> str:
    """The screen's socket; "" below a state_dir whose name QEMU's options or a socket address could not hold."""
    path = disks.screen_path(request.vps, settings)
    return path if re.fullmatch(r"/[A-Za-z0-9._/-]{1,100}", path) else ""


def _screens(request: HvmConfig, settings: Settings) -> tuple[Step, ...]:
    path = _socket(request, settings)
    return (MakeDirectory(why="Have a place for screens that only root can reach.", path=path.rpartition("/")[0], mode=0o700),) if path else ()


def _pin(iso: IsoFact, request: HvmConfig, settings: Settings) -> tuple[Step, ...]:
    """The last step that counts: it replaces what an earlier call pinned, in one move."""
    target = iso_path(request, settings)
    return (MakeDirectory(why="Have a place for ISOs that only root can change.", path=target.rpartition("/")[0], mode=0o700),
            PinFile(why=f"Hold on to the ISO {iso.name}, whatever takes its place.", top=settings.ttyssh_home, path=iso.path, target=target))


def _unpin(request: HvmConfig, settings: Settings) -> tuple[Step, ...]:
    return (RemoveFile(why="Let go of the ISO that was booted before.", path=iso_path(request, settings), may_fail=True),)
