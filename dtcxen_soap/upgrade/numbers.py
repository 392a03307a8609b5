"""Which VPSes an old node has."""

from __future__ import annotations

from dtcxen_soap.upgradefacts import OldNode
from dtcxen_soap.vps import VpsId


def vps_of(name: str) -> VpsId | None:
    """The VPS that exactly this name means (xen01); None for all others, as xen1, xen001 or xen01.bak."""
    try:
        vps = VpsId.parse(name)
    except ValueError:
        return None
    return vps if vps.name == name else None


def here(node: OldNode) -> frozenset[VpsId]:
    """VPSes with a configuration or a disk."""
    configured = (vps_of(config.file.name) for config in node.configs)
    return frozenset(vps for vps in (*configured, *(disk.vps for disk in node.disks)) if vps is not None)
