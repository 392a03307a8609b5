"""A guest's tree, which is hostile ground: no link in it leads us out."""

from __future__ import annotations

from collections.abc import Iterable

from dtcxen_soap.facts import TreeFact


class Tree:
    """A directory seen as a guest sees its root. Paths are relative to it."""

    def __init__(self, root: str) -> None:
        self.root = root

    def read_text(self, path: str, limit: int = 1 << 20) -> str | None:
        """The text of a regular file, None when there is none."""
        raise NotImplementedError

    def exists(self, path: str) -> bool:
        """Whether `path` leads to something, links followed inside."""
        raise NotImplementedError

    def write(self, path: str, data: bytes | str, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> None:
        """Write a file whole; parents are made."""
        raise NotImplementedError

    def remove(self, path: str) -> None:
        """Remove a file or link; fine when it is gone."""
        raise NotImplementedError

    def symlink(self, path: str, target: str) -> None:
        """Make or replace a link."""
        raise NotImplementedError

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        """Make a directory and its parents; fine when it is there."""
        raise NotImplementedError

    def copy(self, source_dir: str, into: str) -> None:
        """Copy a directory of the node into the tree's directory `into`, under its own name."""
        raise NotImplementedError

    def set_password(self, user: str, hashed: str) -> None:
        """Put a password's hash into etc/shadow."""
        raise NotImplementedError

    def look(self, texts: Iterable[str], globs: Iterable[str]) -> TreeFact:
        """What finishing wants to know of the tree."""
        raise NotImplementedError
