"""What the survey finds of a VPS that is to move to another node, and of one whose move has no known end yet."""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap.vps import Secret, VpsId


@dataclass(frozen=True)
class NeedMove:
    """What would be sent of a VPS, and whether its last move is settled: Facts.move."""

    vps: VpsId


@dataclass(frozen=True)
class MoveFact:
    """What moves with the disks. `transfer` is a fresh number, for this call alone.

    `config` is the configuration's text, "" without one; `auto`: it starts with the node. `keys`, `console` and `soap` are how its owner
    signs in: authorized_keys, and hashes. `source` names this node. `lacking` says what a move needs and is not there.
    `unsettled` is where a move went whose end is not known, as (transfer, host, number there, whether it ran, moves to undo...), () without one.
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
