"""Golden images: one freshly installed system each, which later installations clone instead of installing it again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class GoldenImage:
    """An image of the cache as its manifest tells. `key` stands for all that it was made from; `size_bytes` is what a disk must have at least."""

    key: str
    os_type: str
    made: datetime
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ImageCache:
    """The images that there are, and what the file system that holds them has left, in bytes."""

    images: tuple[GoldenImage, ...] = ()
    free_bytes: int = 0
