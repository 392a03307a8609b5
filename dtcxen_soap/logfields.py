"""What a line of the log is about, for who searches the system's journal: which job, VPS, caller and operation.

Used as `log.warning(..., extra=about(vps=vps))`. Standard error shows only the line itself; in
systemd's journal each is a field of its own (journald.py), prefixed so that it is nobody else's.
"""

from __future__ import annotations

from typing import Any

from dtcxen_soap.vps import VpsId

ATTRIBUTE = "dtcxen"
"""Where a log record keeps them."""
AUDIT = "dtcxen_soap.audit"
"""The logger of who did what, which no log_level silences."""


def about(
        *, job: int | None = None, vps: VpsId | None = None, caller: str = "", operation: str = "", peer: str = "", outcome: str = "",
        arguments: str = "") -> dict[str, dict[str, str]]:
    """Fields by their names in the journal; what is not known is absent."""
    known: dict[str, Any] = {"JOB": job, "VPS": vps, "CALLER": caller, "OPERATION": operation, "PEER": peer, "OUTCOME": outcome, "ARGUMENTS": arguments}
    return {ATTRIBUTE: {f"DTCXEN_{name}": str(value) for name, value in known.items() if value not in (None, "")}}
