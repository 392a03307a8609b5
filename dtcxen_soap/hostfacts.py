"""A machine on its way to become a node, as found, and what its admin wants of it: what `dtcxen setup-host` plans with."""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap.plans import Step
from dtcxen_soap.vps import Mib


@dataclass(frozen=True)
class HostWish:
    """`bridge` is the one to have at the next boot, "" for none, with the network card `nic` in it, "" for none; `dom0_memory` is what dom0 keeps for itself."""

    bridge: str = ""
    nic: str = ""
    dom0_memory: Mib | None = None


@dataclass(frozen=True)
class FoundFile:
    """A file as it is now. Bytes that are no text come as lone surrogates."""

    text: str
    mode: int
    link: bool = False


@dataclass(frozen=True)
class HostFact:
    """`present` are those of the asked paths that are there; `files` the texts of those that may be changed, by path.

    `console` is the text of our login shell. `interfaces` are the files that ifup reads, in its order. `cards` are the network cards, `bridges` those of them that are bridges.
    `sshd_trouble` is what sshd says against its configuration as it is. `commands` are those of the asked ones that are there.
    """

    present: frozenset[str]
    files: dict[str, FoundFile]
    interfaces: tuple[str, ...]
    cards: frozenset[str]
    bridges: frozenset[str]
    commands: frozenset[str]
    console: str
    sshd_knows: bool
    sshd_trouble: str
    systemd: bool


@dataclass(frozen=True)
class Made:
    """One thing that was made here, and how it goes away again. `sha256` is of the content that we wrote, "" for a directory."""

    path: str
    sha256: str
    undo: tuple[Step, ...]
