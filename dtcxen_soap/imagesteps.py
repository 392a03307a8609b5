"""Steps about golden images: making one once however many want it, keeping it, verifying it, cloning it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from dtcxen_soap.onestep import OneStep

if TYPE_CHECKING:
    from dtcxen_soap.plans import Step


@dataclass(frozen=True, kw_only=True)
class MakingImage(OneStep):
    """Hold: nobody else makes the image `key` meanwhile. The inner steps are left out when it is there by then, and is no older than `max_age`.

    `unfinished` is the file that the inner steps work on: gone at the end, unless it was kept.
    """

    directory: str
    key: str
    max_age: timedelta
    unfinished: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class KeepImage(OneStep):
    """Put the finished image `source` into the cache with its manifest: what it was `made_from`, and what the commands of `tools` say of the programs that made it.

    Images of others go, the one that was not used for longest first, until all together have at most `most_bytes`.
    """

    directory: str
    key: str
    os_type: str
    source: str
    made_from: tuple[tuple[str, str], ...]
    tools: tuple[tuple[str, ...], ...]
    most_bytes: int


@dataclass(frozen=True, kw_only=True)
class VerifyImage(OneStep):
    """Fail unless the image is whole, its SHA-256 that of its manifest, and no larger than `most_bytes`."""

    directory: str
    key: str
    most_bytes: int


@dataclass(frozen=True, kw_only=True)
class CloneImage(OneStep):
    """Copy the image to the beginning of a disk, and fail unless what was read has its manifest's SHA-256.

    Blocks of zeros are left out where the disk reads as `zeroed`. With `share` the disk's file may share its blocks with the image, where the file system can.
    """

    directory: str
    key: str
    target: str
    zeroed: bool = True
    share: bool = False
