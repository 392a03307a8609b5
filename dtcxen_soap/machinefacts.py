"""The machine under the node, as found: what `dtcxen doctor` judges beside what the original left."""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap.facts import LvmFact, MemoryFact


@dataclass(frozen=True)
class FoundBridge:
    """What vifs join. `is_bridge`: it is one, and no other kind of card; `ports` are the cards in it, vifs of running guests too."""

    name: str
    there: bool = False
    is_bridge: bool = False
    is_up: bool = False
    ports: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundSpace:
    """A directory of ours, and what an ordinary file there could still grow by."""

    path: str
    free_bytes: int


@dataclass(frozen=True)
class FoundUnit:
    """The service as systemd has it, in its own words: loaded, not-found...; enabled, disabled...; active, failed..."""

    load: str
    file: str
    active: str


@dataclass(frozen=True)
class Machine:
    """All of it. `xen`: this machine is a dom0; `memory` and `bridge` are None where domUs cannot run anyway.

    `lvm` is None where no disk is made on volumes; `lacking` are commands that are not there, `obstacles` what keeps owners from their console.
    `unit` and `synchronised` (the clock) are None where systemd does not tell; `unit` is of a node with its settings in the usual place.
    """

    xen: bool
    memory: MemoryFact | None = None
    bridge: FoundBridge | None = None
    lvm: LvmFact | None = None
    spaces: tuple[FoundSpace, ...] = ()
    lacking: frozenset[str] = frozenset()
    obstacles: tuple[str, ...] = ()
    unit: FoundUnit | None = None
    synchronised: bool | None = None
    loops: bool = True
