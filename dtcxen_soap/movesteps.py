"""Steps of a move to another node. `peer` is the command that reaches the receiver there, ssh and all; `transfer` the move's number.

Who may start the VPS is decided in one place: GiveUp takes it from this node before the other starts it, and
TakeBack gets it back only after the other has said that it let go of it. Until then neither is
startable here, and a VPS that the other has taken for good (KeepAtPeer) never is again.
"""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap.movewords import Offer, Owner
from dtcxen_soap.onestep import OneStep
from dtcxen_soap.vps import DiskRole, Secret, VpsId


@dataclass(frozen=True, kw_only=True)
class AskPeer(OneStep):
    """Have the receiver check the offer and make the disks; Failed with all that speaks against it there. A copy that was begun is gone on with."""

    peer: tuple[str, ...]
    offer: Offer


@dataclass(frozen=True, kw_only=True)
class DropAtPeer(OneStep):
    """Have the receiver remove what it has of this move; fine when there is nothing, or when it took the VPS for good."""

    peer: tuple[str, ...]
    transfer: str
    number: int


@dataclass(frozen=True, kw_only=True)
class SendDisk(OneStep):
    """Send a disk's chunks that the receiver has not, however often the connection is cut. With `verify` both ends read all of it again and compare SHA-256.

    Without, it may be in use: what changes meanwhile is sent by a later step.
    """

    peer: tuple[str, ...]
    transfer: str
    number: int
    role: DiskRole
    path: str
    size_bytes: int
    verify: bool


@dataclass(frozen=True, kw_only=True)
class StopDomu(OneStep):
    """Ask the guest to shut down, and wait until it is gone; after `seconds` it is ended by `force`, else Failed, and it may still be on its way down."""

    vps: VpsId
    seconds: int
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class StartAgain(OneStep):
    """Start the domU from `config`, if that is there and none of its name runs. `env` is for pygrub (power.py), `scope` the cgroup's name, `before` a command that comes first."""

    name: str
    config: str
    env: tuple[tuple[str, str], ...] = ()
    scope: str = ""
    before: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SendOwner(OneStep):
    """Have the receiver write the configuration under a name that nothing starts by itself, and make the owner's ways in. Hashes are secrets."""

    peer: tuple[str, ...]
    transfer: str
    number: int
    keys: tuple[str, ...]
    console: Secret
    soap: Secret

    @property
    def owner(self) -> Owner:
        """As it is sent."""
        return Owner(self.keys, self.console.reveal(), self.soap.reveal())


@dataclass(frozen=True, kw_only=True)
class GiveUp(OneStep):
    """Make the VPS one that nothing on this node can start: `note` says where it went, its start link `auto` goes, and each of `moves` (from, to) is renamed."""

    vps: VpsId
    note: str
    text: str
    auto: str
    moves: tuple[tuple[str, str], ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class TakeBack(OneStep):
    """Undo a GiveUp, once the receiver has let go of the VPS; a VPS that it took for good stays there. Failed, and nothing is changed, while it cannot be asked.

    Then the domU is started, if `config` says how. With `note` gone there is nothing to take back. `auto` "" makes no start link.
    """

    peer: tuple[str, ...]
    transfer: str
    number: int
    name: str
    note: str
    auto: str
    moves: tuple[tuple[str, str], ...]
    config: str = ""
    env: tuple[tuple[str, str], ...] = ()
    scope: str = ""
    before: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StartAtPeer(OneStep):
    """Have the receiver start the VPS and watch its boot; the outcome is in its words. Failed with the console's last lines when it does not boot."""

    peer: tuple[str, ...]
    transfer: str
    number: int
    seconds: int


@dataclass(frozen=True, kw_only=True)
class KeepAtPeer(OneStep):
    """Have the receiver take the VPS for good: from now on it is that node's, and `note` goes."""

    peer: tuple[str, ...]
    transfer: str
    number: int
    name: str
    note: str


Moving = AskPeer | DropAtPeer | SendDisk | StopDomu | StartAgain | SendOwner | GiveUp | TakeBack | StartAtPeer | KeepAtPeer
