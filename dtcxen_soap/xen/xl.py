"""xl: what to call, and what its answers say. Pure; the survey and the plans do the calling.

`xl list -l` is JSON but tells no state; the table of `xl list` is the only place where the state
stands, so both are read. Source: xl(1), and what xl 4.14 to 4.20 print.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from dtcxen_soap.vps import Mib

LIST = ("xl", "list")
INFO = ("xl", "info")

_ROW = re.compile(r"(?P<name>.*?) +(?P<domid>\d+) +(?P<memory>\d+) +(?P<vcpus>\d+) +(?P<flags>[r-][b-][p-][s-][-rscwS?][d-]) +(?P<seconds>\d+\.\d)\s*")
_CRASHED = "cw"


def details(name: str) -> tuple[str, ...]:
    """The configuration of one running domain as JSON."""
    return ("xl", "list", "--long", "--", name)


@dataclass(frozen=True)
class Domain:
    """One row of `xl list`. `memory` is what the domain has now; `cpu_seconds` since it was created."""

    domid: int
    memory: Mib
    vcpus: int
    state: str
    cpu_seconds: float


def parse_table(text: str) -> dict[str, Domain]:
    """The rows of `xl list` by name, dom0's too; ValueError when this is not its table, since no row must not mean no domain."""
    lines = text.splitlines()
    if not lines or lines[0].split()[:3] != ["Name", "ID", "Mem"]:
        raise ValueError("this is not the table of xl list")
    domains = {}
    for line in lines[1:]:
        if not (row := _ROW.fullmatch(line)):
            raise ValueError(f"xl list has a row that cannot be read: {line!r}")
        domains[row["name"]] = Domain(int(row["domid"]), Mib(int(row["memory"])), int(row["vcpus"]), _state(row["flags"]), float(row["seconds"]))
    return domains


def _state(flags: str) -> str:
    """The gravest flag in a word. The fifth flag is the reason of a shutdown; no flag at all is a domain that waits for a processor."""
    running, blocked, paused, shutdown, reason, dying = (flag != "-" for flag in flags)
    words = ((dying, "dying"), (shutdown and flags[4] in _CRASHED, "crashed"), (shutdown, "shutdown"), (paused, "paused"), (blocked, "blocked"))
    return next((word for held, word in words if held), "running")


def parse_max_memory(text: str) -> dict[int, Mib]:
    """What each domain of `xl list -l` may have at most, by domid; rows that do not say are left out. ValueError when it is not JSON."""
    rows: Any = json.loads(text)
    found = {}
    for row in rows if isinstance(rows, list) else [rows]:
        match row:
            case {"domid": int(domid), "config": {"b_info": {"max_memkb": int(kib)}}} if kib > 0:
                found[domid] = Mib(kib >> 10)
    return found


def parse_info(text: str) -> dict[str, str]:
    """`xl info` by its own names: free_memory and total_memory in MiB, virt_caps, xen_version."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}
