"""Who may call what: the Caller that authentication yields, and the one rule that admits it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dtcxen_soap.errors import NotAllowed
from dtcxen_soap.vps import VpsId


class Role(Enum):
    """What a signed-in name is to this node."""

    ADMIN = "admin"
    MONITOR = "monitor"
    OWNER = "owner"


class Access(Enum):
    """Who may call an operation; the admin may call all."""

    ADMIN = "admin only"
    OWNER = "admin, and the owner for the own VPS"
    READ_OWN = "admin, monitor, and the owner for the own VPS"
    READ_ALL = "admin and monitor"
    ANYONE = "whoever signed in"


@dataclass(frozen=True)
class Caller:
    """Who signed in, and from where; `vps` is set for an owner only."""

    name: str
    role: Role
    peer: str = ""
    vps: VpsId | None = None


_ROLES = {
    Access.ADMIN: {Role.ADMIN},
    Access.OWNER: {Role.ADMIN, Role.OWNER},
    Access.READ_OWN: {Role.ADMIN, Role.MONITOR, Role.OWNER},
    Access.READ_ALL: {Role.ADMIN, Role.MONITOR},
    Access.ANYONE: set(Role),
}


def admit(operation: str, access: Access, caller: Caller, vps: VpsId | None) -> None:
    """Raise NotAllowed unless `caller` may run `operation` on `vps`.

    An owner must name the own VPS wherever an operation takes one; an operation that works on
    all VPSes at once is not an owner's, except those open to ANYONE.
    """
    if caller.role not in _ROLES[access]:
        raise NotAllowed(f"{operation}: {caller.name} may not call this: it is for {access.value}")
    if caller.role is Role.OWNER and access is not Access.ANYONE and (vps is None or vps != caller.vps):
        raise NotAllowed(f"{operation}: {caller.name} may act on its own VPS only")
