"""xl: what to call, and what its answers say. Pure; the edge and the plans do the calling.

`xl list -l` is JSON but tells no state; the table of `xl list` is the only place where the state
stands, so both are read. Sources: xl(1), xl.conf(5), and what xl 4.14 to 4.20 take and print.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dtcxen_soap.vps import Mib

LIST = ("xl", "list")
INFO = ("xl", "info")
DETAILS = ("xl", "list", "--long")
"""The configurations of all running domains as JSON."""
CONF = "/etc/xen/xl.conf"

NAMELESS = "(null)"
"""What xl calls a domain without a name: one that is just being made, or in the last moment of its destruction."""
DOM0 = 0


def monitor_log(name: str) -> str:
    """What the process that `xl create` left behind writes to, and so holds open, as long as it may start the domain anew."""
    return f"/var/log/xen/xl-{name}.log"


# -- what to call -----------------------------------------------------------------------------------


def details(name: str) -> tuple[str, ...]:
    """The configuration of one running domain as JSON."""
    return ("xl", "list", "--long", "--", name)


def create(config: str) -> tuple[str, ...]:
    """Start a domain. The file is an option's value: xl takes a bare word with = in it for a setting."""
    return ("xl", "create", "--quiet", f"--defconfig={config}")


def shutdown(name: str) -> tuple[str, ...]:
    """Ask the guest to shut down; a guest without PV drivers gets ACPI's power button (-F). Does not wait."""
    return ("xl", "shutdown", "-F", "--", name)


def reboot(name: str) -> tuple[str, ...]:
    """Ask the guest to reboot; a guest without PV drivers is reset (-F). Does not wait."""
    return ("xl", "reboot", "-F", "--", name)


def destroy(name: str) -> tuple[str, ...]:
    """End a domain at once."""
    return ("xl", "destroy", "--", name)


def domid(name: str) -> tuple[str, ...]:
    """A domain's number; code 1 when Xen knows no domain of this name."""
    return ("xl", "domid", "--", name)


def console(name: str) -> tuple[str, ...]:
    """A domain's console; for a person, since it wants a terminal."""
    return ("xl", "console", "--", name)


def store(path: str) -> tuple[str, ...]:
    """One value of xenstore, which tells where a console is and since when a domain lives (xenstore-paths(7))."""
    return ("xenstore-read", path)


# -- what it says -----------------------------------------------------------------------------------

_ROW = re.compile(r"(?P<name>.*?) +(?P<domid>\d+) +(?P<memory>\d+) +(?P<vcpus>\d+) +(?P<flags>[r-][b-][p-][s-][-rscwS?][d-]) +(?P<seconds>\d+\.\d)\s*")
_CRASHED = "cw"
_WHERE = re.compile(r"^(?:libxl|xc|xl|xen\w*): (?:error|warning|info)?:? ?(?:panic: )?(?:[\w./-]+\.[ch]:\d+:(?:\w+:)? )?", re.ASCII)
_DOM0_MEM = re.compile(r"(?:^|\s)dom0_mem=\S")
_AUTOBALLOON = re.compile(r"""^\s*autoballoon\s*=\s*["']?(\w+)""", re.MULTILINE)
_WORDS_LINES, _WORDS_LIMIT = 3, 1000


@dataclass(frozen=True)
class Domain:
    """One row of `xl list`. `memory` is what the domain has now, `flags` xl's own six letters; `cpu_seconds` since it was created."""

    name: str
    domid: int
    memory: Mib
    vcpus: int
    state: str
    flags: str
    cpu_seconds: float


@dataclass(frozen=True)
class Details:
    """What `xl list -l` tells of one domain; None or "" for what it does not."""

    max_memory: Mib | None = None
    kernel: str = ""


def parse_table(text: str) -> tuple[Domain, ...]:
    """The rows of `xl list`, dom0's too; ValueError when this is not its table, since no row must not mean no domain."""
    lines = text.splitlines()
    if not lines or lines[0].split()[:3] != ["Name", "ID", "Mem"]:
        raise ValueError("this is not the table of xl list")
    return tuple(_domain(line) for line in lines[1:])


def _domain(line: str) -> Domain:
    if not (row := _ROW.fullmatch(line)):
        raise ValueError(f"xl list has a row that cannot be read: {line!r}")
    flags = row["flags"]
    return Domain(row["name"], int(row["domid"]), Mib(int(row["memory"])), int(row["vcpus"]), _state(flags), flags, float(row["seconds"]))


def _state(flags: str) -> str:
    """The gravest flag in a word. The fifth flag is the reason of a shutdown; no flag at all is a domain that waits for a processor."""
    running, blocked, paused, shutdown, reason, dying = (flag != "-" for flag in flags)
    words = ((dying, "dying"), (shutdown and flags[4] in _CRASHED, "crashed"), (shutdown, "shutdown"), (paused, "paused"), (blocked, "blocked"))
    return next((word for held, word in words if held), "running")


def named(domains: Iterable[Domain], name: str) -> Domain | None:
    """The domain of this name, which Xen gives once."""
    return next((domain for domain in domains if domain.name == name), None)


def parse_details(text: str) -> dict[int, Details]:
    """`xl list -l` by domid; ValueError when it is not JSON."""
    rows: Any = json.loads(text)
    found = {}
    for row in rows if isinstance(rows, list) else [rows]:
        match row:
            case {"domid": int(number), "config": {"b_info": dict(build)}}:
                most, kernel = build.get("max_memkb"), build.get("kernel")
                found[number] = Details(Mib(most >> 10) if isinstance(most, int) and most > 0 else None, kernel if isinstance(kernel, str) else "")
    return found


def parse_info(text: str) -> dict[str, str]:
    """`xl info` by its own names: free_memory and total_memory in MiB, virt_caps, xen_version."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


def ballooning(conf: str, xen_commandline: str) -> bool:
    """Whether xl shrinks dom0 to make room for a domU: xl.conf's autoballoon, where "auto" (the default) means unless dom0_mem is given."""
    given = _AUTOBALLOON.findall(conf)
    word = given[-1].lower() if given else "auto"
    if word in ("on", "1"):
        return True
    return word == "auto" and not _DOM0_MEM.search(xen_commandline)


def words(output: str) -> str:
    """What xl said, in one line, without the places in its source; only the first lines, since the cause is told before how it all unwinds."""
    lines = (_WHERE.sub("", line).strip() for line in output.splitlines())
    return "; ".join([line for line in lines if line][:_WORDS_LINES])[:_WORDS_LIMIT]


def monitor_words(log: str) -> str:
    """Why xl could not start a domain anew, out of its monitor's log; "" when it says nothing of the kind."""
    latest = re.split(r"^(?:Waiting for domain|Done\. Rebooting now).*$", log, flags=re.MULTILINE)[-1]
    return words("\n".join(line for line in latest.splitlines() if line.startswith(("libxl: error", "xc: error"))))


def overhead(ram: Mib, vcpus: int) -> Mib:
    """What Xen needs for a domU beside its RAM, at most: tables and the pool for its page tables (1 MiB a processor, 8 KiB a MiB)."""
    return Mib(4 + vcpus + -(-ram // 128))
