"""What the panel expects back under the old names: words and plain lists, as the original sent them.

One function per answer type; an answer without one is encoded as it is, which is what new names
get. Shapes: the recorded replies of the original daemon.
"""

from __future__ import annotations

import re
from dataclasses import fields
from functools import singledispatch
from typing import Any

from dtcxen_soap import answers
from dtcxen_soap.vps import VpsId


@singledispatch
def old_reply(answer: Any) -> Any:
    """The original's reply in place of a typed answer."""
    return new_reply(answer)


@old_reply.register
def _(answer: answers.DisksReady) -> str:
    return "OK"


@old_reply.register
def _(answer: answers.DisksRemoved) -> None:
    return None


@old_reply.register
def _(answer: answers.ConfigWritten) -> str:
    return "OK"


@old_reply.register
def _(answer: answers.AccessChanged) -> str:
    return "OK"


@old_reply.register
def _(answer: answers.JobStarted) -> str:
    return "OK, started mkos."


def old_reply_of(operation: str, answer: Any) -> Any:
    """The original's reply of this operation: a started check was told as OK, without a word for it."""
    return "OK" if operation == "fsckVPSpartition" else old_reply(answer)


@old_reply.register
def _(answer: answers.VpsState) -> Any:
    if answer.state not in ("running", "rescue"):
        return answer.state
    pairs = (("id", VpsId.parse(answer.vps).name), ("domid", answer.domid or 0), ("maxmem", answer.max_memory_mib or 0),
             ("vcpus", answer.vcpus or 0), ("state", answer.domu_state or ""), ("cpuseconds", answer.cpu_seconds or 0.0))
    return ["domain", *(list(pair) for pair in pairs)]


@old_reply.register
def _(answer: answers.PowerDone) -> list[str]:
    return ["OK", answer.message]


@old_reply.register
def _(answer: answers.StartedList) -> list[list[str]]:
    """Rows of six texts, as the original cut them out of its table."""
    return [[row.name, str(row.domid), str(row.memory_mib), str(row.vcpus), row.flags, f"{row.cpu_seconds:.1f}"] for row in answer.domus]


@old_reply.register
def _(answer: str) -> str:
    """An outcome in words: "NOTOK - why"."""
    return answer


@old_reply.register
def _(answer: answers.InstallLog) -> str:
    """The original joined lines that still had their ends, and blanked what is not ASCII."""
    return re.sub(r"\n(?!\Z)", "\n\n", re.sub(r"[^\x00-\x7f]", " ", answer.text))


@old_reply.register
def _(answer: answers.IsoList) -> list[str]:
    """Names alone: one that is in the library too means the VPS's own."""
    return list(dict.fromkeys(iso.name for iso in answer.isos))


@old_reply.register
def _(answer: answers.InstallableOs) -> list[str]:
    return list(answer.names)


@old_reply.register
def _(answer: answers.InstallableApps) -> list[str]:
    return list(answer.names)


@old_reply.register
def _(answer: answers.PerformanceList) -> list[dict[str, Any]]:
    """A struct per sample, in it one per VPS under its name."""
    return [{VpsId.parse(row.vps).name: _performance(sample.at.timestamp(), row) for row in sample.vpses} for sample in answer.samples]


def _performance(timestamp: float, row: answers.Performance) -> dict[str, Any]:
    return {
        "timestamp": timestamp, "cpu_time": row.cpu_seconds, "diff_cpu_time": row.used_cpu_seconds,
        "net_inbytes": row.net_in_bytes, "diff_net_inbytes": row.used_net_in_bytes, "net_outbytes": row.net_out_bytes, "diff_net_outbytes": row.used_net_out_bytes,
        "filesystem_sectors": row.root_sectors, "diff_filesystem_sectors": row.used_root_sectors,
        "swap_sectors": row.swap_sectors, "diff_swap_sectors": row.used_swap_sectors}


@old_reply.register
def _(answer: answers.ServerAlive) -> str:
    return answer.text


def new_reply(answer: Any) -> Any:
    """An answer under a new name: a record whose one field is a list is that list."""
    names = [item.name for item in fields(answer)]
    if len(names) == 1 and isinstance(only := getattr(answer, names[0]), tuple):
        return only
    return answer
