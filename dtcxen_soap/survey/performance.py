"""Counters of the domUs that run: CPU from xl, bytes of every card from its device in dom0, sectors from whoever serves the disk.

What dom0 receives from a card its guest has sent. Volumes are served by the kernel's xen-blkback; image
files, and the IDE disks of an HVM guest until its own driver takes over, by QEMU, which is asked.
Sources: the kernel's ABI documents of /sys/class/net and of xen-blkback, QMP, xl-disk-configuration(5);
a disk's number is its Linux device number (xvda 51712, hda 768).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dtcxen_soap import domus
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.facts import StartedFact
from dtcxen_soap.perffacts import Counters, Reading, Readings
from dtcxen_soap.vps import VpsId

NETWORK, DISKS = "/sys/class/net", "/sys/bus/xen-backend/devices"
SECTOR_BYTES = 512
BOOT_ID = "/proc/sys/kernel/random/boot_id"
ROOT_NUMBERS, SWAP_NUMBERS = {51712, 768, 2049}, {51728, 832, 2050}
"""xvda, hda and the original's sda1; xvdb, hdb and its sda2."""
DEVICE_MODEL = "/run/xen/qmp-libxenstat-{}"
_QUESTIONS = ("query-block", "query-blockstats")
_VIF = re.compile(r"vif(?P<domid>[0-9]+)\.[0-9]+(-emu)?")
_VBD = re.compile(r"vbd-(?P<domid>[0-9]+)-(?P<number>[0-9]+)")


def readings(dom0: Dom0, toolstack: str) -> Readings:
    """The domUs of VPSes that run now. Missing on a node without a toolstack, Failed when Xen does not tell."""
    started = domus.started(dom0, toolstack)
    cards, disks = _cards(dom0), _disks(dom0)
    mine = {vps: row for row in started if (vps := _vps(row.name))}
    modelled = {vps: _modelled(dom0, row.domid) for vps, row in mine.items()}
    found = {vps: _reading(dom0, row, cards, disks, modelled[vps] or (0, 0)) for vps, row in mine.items()}
    return Readings(dom0.read_text(BOOT_ID).strip(), found, frozenset(vps for vps, told in modelled.items() if told is None))


def _vps(name: str) -> VpsId | None:
    try:
        vps = VpsId.parse(name)
    except ValueError:
        return None
    return vps if vps.name == name else None


def _cards(dom0: Dom0) -> list[tuple[int, str]]:
    """Domain numbers and interfaces, those that QEMU emulates too: a card is one or the other."""
    return [(int(match["domid"]), name) for name in dom0.listdir(NETWORK) if (match := _VIF.fullmatch(name))]


def _disks(dom0: Dom0) -> list[tuple[int, int, str]]:
    """Domain numbers, device numbers and backends."""
    return [(int(match["domid"]), int(match["number"]), name) for name in dom0.listdir(DISKS) if (match := _VBD.fullmatch(name))]


def _reading(dom0: Dom0, row: StartedFact, cards: list[tuple[int, str]], disks: list[tuple[int, int, str]], modelled: tuple[int, int]) -> Reading:
    mine = [name for domid, name in cards if domid == row.domid]

    def bytes_of(what: str) -> int:
        return sum(_count(dom0, f"{NETWORK}/{name}/statistics/{what}_bytes") for name in mine)

    def sectors_of(numbers: set[int]) -> int:
        backends = (name for domid, number, name in disks if domid == row.domid and number in numbers)
        return sum(_count(dom0, path) for name in backends for path in _sector_files(name))

    root, swap = modelled
    return Reading(row.domid, Counters(row.cpu_seconds, bytes_of("tx"), bytes_of("rx"), root + sectors_of(ROOT_NUMBERS), swap + sectors_of(SWAP_NUMBERS)))


def _modelled(dom0: Dom0, domid: int) -> tuple[int, int] | None:
    """Sectors of the root and swap disks that QEMU serves, 0 where it serves none; None when it does not answer: it does to one at a time."""
    path = DEVICE_MODEL.format(domid)
    if not dom0.exists(path):
        return 0, 0
    try:
        drives, told = dom0.ask_device_model(path, *_QUESTIONS)
        bytes_of = {_id(each): each["stats"]["rd_bytes"] + each["stats"]["wr_bytes"] for each in told}
        mine = [(drive["inserted"]["file"], bytes_of.get(_id(drive), 0) // SECTOR_BYTES) for drive in drives if _is_disk(drive)]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    swaps = [sectors for file, sectors in mine if "swap" in file.rpartition("/")[2]]
    return sum(sectors for _, sectors in mine) - sum(swaps), sum(swaps)


def _is_disk(drive: dict[str, Any]) -> bool:
    inserted = drive.get("inserted") or {"ro": True}
    return not inserted["ro"] and not drive["removable"]


def _id(drive: dict[str, Any]) -> str:
    """What QEMU calls a drive, in both answers."""
    return str(drive.get("qdev") or drive.get("device") or "")


def _sector_files(backend: str) -> Iterator[str]:
    return (f"{DISKS}/{backend}/statistics/{what}_sect" for what in ("rd", "wr"))


def _count(dom0: Dom0, path: str) -> int:
    """A counter's figure; 0 for a device that goes just now."""
    try:
        return int(dom0.read_text(path))
    except (OSError, ValueError):
        return 0
