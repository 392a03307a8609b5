"""Counters of the domUs that run: CPU from xl, bytes and sectors from the kernel's backends of their network cards and disks.

The backends count for disks of every kind alike, and for every card. What a backend receives its guest
has sent. Sources: the kernel's ABI documents of /sys/class/net and of xen-blkback; a disk's number is
its Linux device number (xvda 51712, hda 768).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dtcxen_soap import domus
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.facts import StartedFact
from dtcxen_soap.perffacts import Counters, Reading, Readings
from dtcxen_soap.vps import VpsId

NETWORK, DISKS = "/sys/class/net", "/sys/bus/xen-backend/devices"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
ROOT_NUMBERS, SWAP_NUMBERS = {51712, 768, 2049}, {51728, 832, 2050}
"""xvda, hda and the original's sda1; xvdb, hdb and its sda2."""
_VIF = re.compile(r"vif(?P<domid>[0-9]+)\.[0-9]+(-emu)?")
_VBD = re.compile(r"vbd-(?P<domid>[0-9]+)-(?P<number>[0-9]+)")


def readings(dom0: Dom0, toolstack: str) -> Readings:
    """The domUs of VPSes that run now. Missing on a node without a toolstack, Failed when Xen does not tell."""
    started = domus.started(dom0, toolstack)
    cards, disks = _cards(dom0), _disks(dom0)
    found = {vps: _reading(dom0, row, cards, disks) for row in started if (vps := _vps(row.name))}
    return Readings(dom0.read_text(BOOT_ID).strip(), found)


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


def _reading(dom0: Dom0, row: StartedFact, cards: list[tuple[int, str]], disks: list[tuple[int, int, str]]) -> Reading:
    mine = [name for domid, name in cards if domid == row.domid]

    def bytes_of(what: str) -> int:
        return sum(_count(dom0, f"{NETWORK}/{name}/statistics/{what}_bytes") for name in mine)

    def sectors_of(numbers: set[int]) -> int:
        backends = (name for domid, number, name in disks if domid == row.domid and number in numbers)
        return sum(_count(dom0, path) for name in backends for path in _sector_files(name))

    return Reading(row.domid, Counters(row.cpu_seconds, bytes_of("tx"), bytes_of("rx"), sectors_of(ROOT_NUMBERS), sectors_of(SWAP_NUMBERS)))


def _sector_files(backend: str) -> Iterator[str]:
    return (f"{DISKS}/{backend}/statistics/{what}_sect" for what in ("rd", "wr"))


def _count(dom0: Dom0, path: str) -> int:
    """A counter's figure; 0 for a device that goes just now."""
    try:
        return int(dom0.read_text(path))
    except (OSError, ValueError):
        return 0
