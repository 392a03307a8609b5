"""Who may call what: the matrix of roles, accesses and VPSes."""

from __future__ import annotations

import pytest

from dtcxen_soap.access import Access, Caller, Role, admit
from dtcxen_soap.errors import NotAllowed
from dtcxen_soap.vps import VpsId

OWN, OTHER = VpsId(1), VpsId(10)
CALLERS = {"admin": Caller("dtc-xen", Role.ADMIN), "monitor": Caller("mon", Role.MONITOR), "owner": Caller("xen01", Role.OWNER, vps=OWN)}
ALLOWED = {
    Access.ADMIN: {("admin", OWN), ("admin", OTHER), ("admin", None)},
    Access.OWNER: {("admin", OWN), ("admin", OTHER), ("admin", None), ("owner", OWN)},
    Access.READ_OWN: {("admin", OWN), ("admin", OTHER), ("admin", None), ("monitor", OWN), ("monitor", OTHER), ("monitor", None), ("owner", OWN)},
    Access.READ_ALL: {("admin", OWN), ("admin", OTHER), ("admin", None), ("monitor", OWN), ("monitor", OTHER), ("monitor", None)},
    Access.ANYONE: {(name, vps) for name in CALLERS for vps in (OWN, OTHER, None)},
}


@pytest.mark.parametrize("access", Access)
@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize("vps", [OWN, OTHER, None], ids=str)
def test_matrix(access, name, vps):
    if (name, vps) in ALLOWED[access]:
        admit("op", access, CALLERS[name], vps)
    else:
        with pytest.raises(NotAllowed, match="^op: "):
            admit("op", access, CALLERS[name], vps)
