"""The step of quotas that is no command of the node."""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap.onestep import OneStep


@dataclass(frozen=True, kw_only=True)
class MarkProject(OneStep):
    """Count directory `path` below `top`, all that is in it and all that will be, for a project of the file system's quotas. No link is followed."""

    top: str
    path: str
    project: int
