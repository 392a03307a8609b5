"""Files of an old node as facts, read through a Tree."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from dataclasses import dataclass

from dtcxen_soap.tree import MOST_LINKS, Tree
from dtcxen_soap.upgradefacts import FoundFile, FoundText

_MOST_BYTES = 1 << 22
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
_GONE = (errno.ESRCH, errno.ENOENT)


@dataclass(frozen=True)
class Place:
    """A node's files, or a copy of them; paths are the node's."""

    tree: Tree

    def file(self, path: str, follow: bool = False) -> FoundFile | None:
        """What has this name, a link itself unless `follow`; None when nothing has it."""
        status = self.tree.status(path, follow)
        return None if status is None else _fact(path, status, self.tree.target(path) if stat.S_ISLNK(status.st_mode) else "")

    def files(self, directory: str) -> tuple[FoundFile, ...]:
        """What is in a directory, by name."""
        return tuple(file for name in self.tree.names(directory) if (file := self.file(f"{directory.rstrip('/')}/{name}")))

    def real(self, path: str) -> str:
        """The file that a name leads to, so that nobody follows a copy's links out of it. OSError for links that go round."""
        for _ in range(MOST_LINKS):
            target = self.tree.target(path)
            if not target:
                return path
            path = posixpath.normpath(posixpath.join("/", posixpath.dirname(path), target))
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    def text(self, path: str) -> FoundText | None:
        """A text file with what it says, links followed; None when there is none."""
        text = self.tree.read_text(path, _MOST_BYTES)
        file = self.file(path, follow=True)
        return None if text is None or file is None else FoundText(file, text)

    def small(self, path: str) -> str | None:
        """The text of a file that may go while it is read, as those of processes do."""
        try:
            return self.tree.read_text(path, _MOST_BYTES)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return None

    def lines(self, path: str) -> tuple[str, ...]:
        """The lines of a text file; none when there is none."""
        return tuple((self.tree.read_text(path, _MOST_BYTES) or "").splitlines())


def _fact(path: str, status: os.stat_result, target: str) -> FoundFile:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "other")
    return FoundFile(path, kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_size, target)
