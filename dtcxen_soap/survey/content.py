"""What lies on a disk, as blkid(8) finds it by probing; one way for image files and volumes.

The disk is the guest's and may say anything: only the two tags are read whose values are blkid's
own words, never a label.
"""

from __future__ import annotations

import dataclasses

from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import DiskFact
from dtcxen_soap.planprint import paste

_PROBE = ("blkid", "--probe", "--match-tag", "TYPE", "--match-tag", "PTTYPE", "--output", "export", "--")
_FOUND, _NOTHING, _AMBIGUOUS = 0, 2, 8
SEVERAL = "several file systems at once"


def told(dom0: Dom0, disks: tuple[DiskFact, ...]) -> tuple[DiskFact, ...]:
    """The same disks with their content."""
    return tuple(dataclasses.replace(disk, content=content(dom0, disk.path)) for disk in disks)


def content(dom0: Dom0, path: str) -> str:
    """DiskFact.content of whatever lies at `path`; "" also when there is nothing. Failed when blkid cannot tell."""
    probe = (*_PROBE, path)
    ran = dom0.capture(probe)
    if ran.code == _NOTHING:
        return ""
    if ran.code == _AMBIGUOUS:
        return SEVERAL
    if ran.code != _FOUND:
        reason = "blkid is not installed" if ran.code == 127 else f"blkid ended with code {ran.code}"
        raise Failed(f"Find out what is on {path}.", reason, paste(probe), ran.output)
    tags = dict(line.split("=", 1) for line in ran.output.splitlines() if "=" in line)
    table = f"partitions ({tags['PTTYPE']})" if "PTTYPE" in tags else ""
    return " and ".join(part for part in (tags.get("TYPE", ""), table) if part)
