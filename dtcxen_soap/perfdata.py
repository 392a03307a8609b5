"""The difference between two readings of the node's domUs: what each has used in between.

Nothing is counted that is not known to be of that time. The first reading of all says nothing of what
came before it. A domU that is new since then (another number, another boot of the node, or none ran
before) has counted from nothing. A counter that went back, as when a card is unplugged, says nothing.
"""

from __future__ import annotations

from dataclasses import astuple

from dtcxen_soap.perffacts import Counters, Reading, Readings, Usage
from dtcxen_soap.vps import VpsId


def usages(before: Readings | None, now: Readings) -> tuple[Usage, ...]:
    """One row per domU of `now`, by number of the VPS."""
    return tuple(Usage(vps, reading.counters, _used(_earlier(before, now.boot, vps, reading), reading.counters))
                 for vps, reading in sorted(now.of.items(), key=lambda item: item[0].number))


def settled(before: Readings | None, now: Readings) -> Readings | None:
    """`now` with the earlier counters for a domU of which not all was told: the next sample counts it in. None when there are no earlier ones at all."""
    if not now.unknown:
        return now
    if before is None:
        return None
    known = {vps: reading for vps, reading in now.of.items() if vps not in now.unknown}
    same = {vps: before.of[vps] for vps in now.unknown if vps in before.of and before.boot == now.boot and before.of[vps].domid == now.of[vps].domid}
    return Readings(now.boot, known | same)


def _earlier(before: Readings | None, boot: str, vps: VpsId, reading: Reading) -> Counters:
    """From what to count."""
    if before is None:
        return reading.counters
    earlier = before.of.get(vps)
    if earlier is None or before.boot != boot or earlier.domid != reading.domid:
        return Counters()
    return earlier.counters


def _used(earlier: Counters, now: Counters) -> Counters:
    cpu, *counts = (max(0, after - first) for first, after in zip(astuple(earlier), astuple(now), strict=True))
    return Counters(round(cpu, 3), *counts)
