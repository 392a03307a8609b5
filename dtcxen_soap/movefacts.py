"""What the survey finds of a VPS that is to move to another node, and of one whose move has no known end yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dtcxen_soap.vps import IpAddress, Secret, VpsId


@dataclass(frozen=True)
class NeedMove:
    """What would be sent of a VPS, and whether its last move is settled: Facts.move."""

    vps: VpsId


@dataclass(frozen=True)
class MoveFact:
    """What moves with the disks. `transfer` is a fresh number, for this call alone.

    `config` is the configuration's text, "" without one; `auto`: it starts with the node. `keys`, `console` and `soap` are how its owner
    signs in: authorized_keys, and hashes. `source` names this node. `lacking` says what a move needs and is not there.
    `unsettled` is the note of a move whose end is not known (migration.py reads it), "" without one.
    """

    transfer: str = ""
    config: str = ""
    auto: bool = False
    keys: tuple[str, ...] = ()
    console: Secret = Secret("")
    soap: Secret = Secret("")
    source: str = ""
    lacking: tuple[str, ...] = ()
    unsettled: str = ""


@dataclass(frozen=True)
class NeedArrival:
    """What a VPS from another node would find here: Facts.arrival. `files` are what its configuration boots."""

    files: tuple[str, ...]


@dataclass(frozen=True)
class ArrivalFact:
    """Bridges of this node, whose the addresses are that its configurations name, and which of the files are here, root's, and changed by nobody else."""

    bridges: frozenset[str] = frozenset()
    addresses: Mapping[IpAddress, str] = field(default_factory=dict)
    files: frozenset[str] = frozenset()
