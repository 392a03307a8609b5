"""The VPSes of an old node: configurations, start links, states, fstab, mounts, image files, volumes, names of performance data."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping

from dtcxen_soap import imagefiles, lvm
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.facts import LvmFact
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey import volumes as survey_volumes
from dtcxen_soap.survey.upgrade_files import Place
from dtcxen_soap.upgradefacts import FoundConfig, FoundDisk, FoundFile, FstabLine, OldNode, StateFile
from dtcxen_soap.vps import DiskRole, ImageType, VpsId
from dtcxen_soap.xen import configread, xlsyntax

_CONFIG = re.compile(r"xen[0-9]+")
_IMAGE = re.compile(r"xen[0-9]+.*\.(img|swap)")
_VOLUME = re.compile(r"xen[0-9]+.*")
_OURS = re.compile(r".*\.(new|old|failed)|.*\.(kept|doomed)\..*")
_OPENVZ = re.compile(r"[1-9][0-9]*(\.conf)?")
_IGNORED = ("cdrom", "cpu", "device_model", "dhcp", "gateway", "hostname", "ip", "netmask", "on_xend_start", "on_xend_stop")
"""Keys that xm's files have and xl does not know, by xl.cfg(5)."""
_DEFAULT_PASSWORD = "XXXX"
_VFB_PASSWORD = re.compile(r"vncpasswd\s*=\s*([^,\s\"'\]]*)")


def look(found: OldNode, dom0: Dom0, place: Place, settings: Settings, running: Mapping[int, str], whole: bool) -> OldNode:
    """The same node with its VPSes. `running` are command lines by process; LVM is asked only where it is this very node (`whole`)."""
    volumes = survey_volumes.volumes(dom0) if whole else survey_volumes.Volumes(LvmFact(trouble="only a copy of the node's files is looked at"))
    auto = tuple(file for file in place.files(f"{settings.xen_config_dir}/auto") if _CONFIG.fullmatch(file.name))
    return dataclasses.replace(
        found, configs=tuple(_configs(place, settings, whole)), autostart=auto, autostart_lacking=frozenset(file.path for file in auto if not place.tree.exists(file.path)),
        states=tuple(_states(place, settings, running)), fstab=tuple(_fstab(place, settings, whole)), mounted=tuple(_mounted(place, settings)),
        disks=(*_images(place, settings), *_volumes(volumes.volumes)), groups=tuple(group.name for group in volumes.fact.groups), volumes_trouble=volumes.fact.trouble,
        samples=tuple(_samples(place, settings)), openvz=tuple(file.path for file in place.files("/etc/vz/conf") if _OPENVZ.fullmatch(file.name)))


# -- configurations -------------------------------------------------------------------------------


def _configs(place: Place, settings: Settings, whole: bool) -> Iterator[FoundConfig]:
    for file in place.files(settings.xen_config_dir):
        if _CONFIG.fullmatch(file.name):
            yield _config(place, file, whole)


def _config(place: Place, file: FoundFile, whole: bool) -> FoundConfig:
    try:
        found = place.text(file.path)
    except OSError as error:
        return FoundConfig(file, trouble=error.strerror or str(error))
    if found is None:
        return FoundConfig(file, trouble="it leads to no file" if file.kind == "link" else "it is no file")
    config, values = configread.parse(found.text), configread.texts(found.text)
    paths = tuple(path for path in (config.kernel, config.ramdisk, *config.paths) if path.startswith("/"))
    lacking = tuple(path for path in dict.fromkeys(paths) if not place.tree.exists(path) and (whole or not path.startswith("/dev/")))
    passwords = _passwords(values)
    return FoundConfig(
        found.file, config.name, config.memory, config.boot, config.macs, config.addresses, tuple((disk.device, disk.path) for disk in config.disks), lacking,
        xlsyntax.refused_lines(found.text), tuple(key for key in _IGNORED if key in values), next(iter(passwords), ""), _DEFAULT_PASSWORD in passwords.values())


def _passwords(values: Mapping[str, str]) -> dict[str, str]:
    """The password of the screen by where it stands; an empty one is none."""
    beside = _VFB_PASSWORD.search(values.get("vfb", ""))
    found = {"vnc": values.get("vncpasswd", ""), "vfb": beside[1] if beside else ""}
    return {where: password for where, password in found.items() if password}


# -- states, fstab, mounts ------------------------------------------------------------------------


def _states(place: Place, settings: Settings, running: Mapping[int, str]) -> Iterator[StateFile]:
    for file in place.files(f"{settings.state_dir}/states"):
        if file.kind == "file":
            words = [line.strip() for line in place.lines(file.path)]
            pid = int(words[1]) if len(words) > 1 and re.fullmatch(r"[0-9]{1,9}", words[1]) else None
            yield StateFile(file.path, words[0] if words else "", pid, running.get(pid, "") if pid is not None else "")


def _fstab(place: Place, settings: Settings, whole: bool) -> Iterator[FstabLine]:
    """Lines that mount below where trees go; fstab(5) writes a blank as \\040."""
    for number, line in enumerate(place.lines("/etc/fstab"), 1):
        words = [word.replace("\\040", " ").replace("\\011", "\t") for word in line.split()]
        if len(words) > 3 and not words[0].startswith("#") and words[1].startswith(f"{settings.provisioning_mount_point}/"):
            there = place.tree.exists(words[0]) or (not whole and words[0].startswith("/dev/"))
            yield FstabLine(number, words[0], words[1], tuple(words[3].split(",")), there)


def _mounted(place: Place, settings: Settings) -> Iterator[str]:
    """Mount points of trees, the original's or ours: nobody installs while a node is being upgraded."""
    for line in (place.small("/proc/mounts") or "").splitlines():
        words = line.split(" ")
        if len(words) > 1 and re.fullmatch(rf"{re.escape(settings.provisioning_mount_point)}/[0-9]{{2,4}}", words[1]):
            yield words[1]


# -- disks ----------------------------------------------------------------------------------------


def _images(place: Place, settings: Settings) -> Iterator[FoundDisk]:
    for file in place.files(settings.provisioning_mount_point):
        if file.kind == "file" and _IMAGE.fullmatch(file.name):
            yield FoundDisk(file.path, file.size, ImageType.VBD, frozenset({file.path, f"/xen/{file.name}"}), _owner(file.name))


def _owner(name: str) -> VpsId | None:
    """The VPS whose image file has exactly this name."""
    match = re.match(r"xen([0-9]{2,4})\.", name)
    vps = VpsId(int(match[1])) if match and int(match[1]) else None
    return vps if vps and name in {imagefiles.file_name(vps, role) for role in DiskRole} else None


def _volumes(volumes: tuple[lvm.Volume, ...]) -> Iterator[FoundDisk]:
    for volume in volumes:
        if _VOLUME.fullmatch(volume.name) and not _OURS.fullmatch(volume.name):
            name = lvm.parse_name(volume.name)
            names = frozenset({volume.path, lvm.mapper_path(volume.vg, volume.name)})
            yield FoundDisk(volume.path, volume.size_bytes, ImageType.LVM, names, name.vps if name and name.is_disk else None)


def _samples(place: Place, settings: Settings) -> Iterator[FoundFile]:
    """Names and sizes; nobody opens them."""
    return (file for file in place.files(f"{settings.state_dir}/perfdata") if file.name.endswith(".pickle"))
