"""What is measured of domUs: counters as Xen and the kernel tell them, and samples of what was used between two looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dtcxen_soap.vps import VpsId


@dataclass(frozen=True)
class NeedSamples:
    """The oldest samples that were not delivered yet: Facts.samples."""

    count: int


@dataclass(frozen=True)
class NeedRoom:
    """Room for disks of both kinds: Facts.room, .lvm."""


@dataclass(frozen=True)
class NeedApps:
    """Names of the appliances: Facts.apps."""


@dataclass(frozen=True)
class Counters:
    """Counted since a domU began, as its owner sees it: seconds of CPU, bytes received and sent, sectors of 512 bytes read and written."""

    cpu_seconds: float = 0.0
    net_in_bytes: int = 0
    net_out_bytes: int = 0
    root_sectors: int = 0
    swap_sectors: int = 0


@dataclass(frozen=True)
class Reading:
    """The counters of one domU at one moment; another number is another life of it."""

    domid: int
    counters: Counters


@dataclass(frozen=True)
class Readings:
    """All domUs at one moment; `boot` names the node's own life, since it counts anew in each. `unknown` are those of which not all was told."""

    boot: str
    of: Mapping[VpsId, Reading]
    unknown: frozenset[VpsId] = frozenset()


@dataclass(frozen=True)
class Usage:
    """One VPS in one sample: its counters, and what of them came since the sample before."""

    vps: VpsId
    total: Counters
    used: Counters


@dataclass(frozen=True)
class Sample:
    """What the node's VPSes used up to a moment (UTC). Numbers grow and are never used twice."""

    number: int
    at: datetime
    usages: tuple[Usage, ...]
