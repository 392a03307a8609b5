"""The MAC address of a VPS: the original's for 01 to 99, a stable locally administered one beyond.

The original pastes the VPS's decimal number behind vps_mac_prefix as the last byte, which has no
room for three digits. Beyond 99 the address comes from a hash of node and VPS, so that it stays
the same over reinstallations and differs between nodes on one network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import MacAddress, VpsId

HIGHEST_PASTED = 99
_ATTEMPTS = 256


def mac_for(vps: VpsId, settings: Settings, node_id: str, taken: Mapping[MacAddress, str]) -> MacAddress:
    """The VPS's address. `taken` maps each configured address to the name of its VPS; its own is no conflict.

    ValueError when another VPS has the address that the number demands.
    """
    if vps.number <= HIGHEST_PASTED:
        return _pasted(vps, settings, taken)
    attempts = tuple(_hashed(vps, node_id, attempt) for attempt in range(_ATTEMPTS))
    kept = (mac for mac in attempts if taken.get(mac) == vps.name)
    free = (mac for mac in attempts if mac not in taken)
    mac = next(kept, None) or next(free, None)
    if mac is None:
        raise ValueError(f"all {_ATTEMPTS} addresses of VPS {vps} belong to other VPSes")
    return mac


def _pasted(vps: VpsId, settings: Settings, taken: Mapping[MacAddress, str]) -> MacAddress:
    mac = MacAddress(f"{settings.vps_mac_prefix}:{vps}")
    holder = taken.get(mac, vps.name)
    if holder != vps.name:
        raise ValueError(f"{mac} is the address of VPS {vps} by its number, but the configuration of {holder} has it: change it there")
    return mac


def _hashed(vps: VpsId, node_id: str, attempt: int) -> MacAddress:
    """46 bits of a hash, marked as unicast and locally administered; `attempt` counts up when an address is taken."""
    data = hashlib.sha256(f"{node_id}\n{vps.number}\n{attempt}".encode()).digest()[:6]
    first = data[0] & 0b11111100 | 0b00000010
    return MacAddress(":".join(f"{byte:02x}" for byte in (first, *data[1:])))
