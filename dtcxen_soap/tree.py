"""A guest's tree, which is hostile ground: no link in it leads us out, and no file in it is written through.

A path is walked one component at a time on handles. Links are followed as the guest would follow
them: an absolute target starts again at the tree's root, `..` never goes above it, 40 links are
enough for anybody. Files are replaced by a rename, so a second name of a file elsewhere, a device
or a FIFO in their place is never written to. Sources: path_resolution(7), openat(2), shadow(5).
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import posixpath
import secrets
import stat
import time
from collections.abc import Iterable, Iterator

from dtcxen_soap import shadow
from dtcxen_soap.facts import TreeFact
from dtcxen_soap.treecopy import copy_directory, copy_regular_file

MOST_LINKS = 40
_WALK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = (FileNotFoundError, NotADirectoryError)
HEAD_BYTES = 1 << 16


class Tree:
    """A directory seen as a guest sees its root. Paths are relative to it, a leading slash changes nothing.

    Errors are OSError of the system calls; ELOOP for links that go round.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def read_text(self, path: str, limit: int = 1 << 20) -> str | None:
        """The text of a regular file; None when there is none. OSError EFBIG beyond `limit` bytes.

        Bytes that are not UTF-8 become surrogates, which `write` turns back into the same bytes.
        """
        data = self._read(path, limit)
        return None if data is None else data[0].decode(errors="surrogateescape")

    def exists(self, path: str) -> bool:
        """Whether `path` leads to something, links followed inside."""
        return self._status(path, follow=True) is not None

    def status(self, path: str, follow: bool = True) -> os.stat_result | None:
        """Of what `path` leads to, or of the link itself unless `follow`; None when nothing is there, or links go round."""
        return self._status(path, follow)

    def names(self, path: str) -> tuple[str, ...]:
        """Names in a directory, sorted; none when it is not there. A link in the last place counts as followed."""
        return tuple(self._names(path))

    def target(self, path: str) -> str:
        """Where a link points to, as it is written; "" for what is no link, or is not there."""
        try:
            with self._walk(path, follow=False) as (parent, name):
                return _link(name, parent) or ""
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return ""

    def write(self, path: str, data: bytes | str, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> None:
        """Write a file whole, with exactly this mode and owner; parents are made."""
        content = data.encode(errors="surrogateescape") if isinstance(data, str) else data
        with self._walk(path, make=True) as (parent, name):
            temporary = _temporary()
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
            try:
                with open(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fchown(handle, *owner)
                    os.fchmod(handle, mode)
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError:
                os.unlink(temporary, dir_fd=parent)
                raise

    def remove(self, path: str) -> None:
        """Remove a file, or a link and not where it leads; fine when it is gone."""
        with contextlib.suppress(*_GONE), self._walk(path, follow=False) as (parent, name):
            os.unlink(name, dir_fd=parent)

    def symlink(self, path: str, target: str) -> None:
        """Make or replace a link; its target is text, for the guest to follow. Parents are made."""
        with self._walk(path, make=True, follow=False) as (parent, name):
            temporary = _temporary()
            os.symlink(target, temporary, dir_fd=parent)
            try:
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError:
                os.unlink(temporary, dir_fd=parent)
                raise

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        """Make a directory with exactly `mode`, its parents with 0755; one that is there keeps its own."""
        with self._walk(path, make=True) as (parent, name):
            _make(name, parent, mode)

    def copy(self, source_dir: str, into: str) -> None:
        """Copy a directory of the node into the tree's directory `into`, under its own name, owned by root.

        Files are replaced, others in the tree stay. Modes and times are kept; directories, regular
        files and links are copied, anything else is an error.
        """
        name = posixpath.basename(source_dir.rstrip("/"))
        with self._walk(posixpath.join(into, name), make=True, follow=False) as (parent, last):
            copy_directory(source_dir, parent, last)

    def copy_file(self, source: str, path: str, mode: int = 0o644) -> None:
        """Copy a regular file of the node into the tree, whole, owned by root with exactly `mode`; parents are made."""
        with self._walk(path, make=True) as (parent, name):
            temporary = _temporary()
            try:
                copy_regular_file(source, parent, temporary, mode)
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=parent)
                raise

    def set_password(self, user: str, hashed: str) -> None:
        """Put a password's hash into etc/shadow, its owner and mode kept; the line, and the file, are made when absent.

        ValueError for a user or hash that would break the file's lines.
        """
        day = int(time.time()) // 86400
        old = self._read("etc/shadow", 1 << 20)
        if old is None:
            mode, owner, lines = 0o640, (0, shadow.group_of(self.read_text("etc/group") or "")), ""
        else:
            mode, owner, lines = stat.S_IMODE(old[1].st_mode), (old[1].st_uid, old[1].st_gid), old[0].decode(errors="surrogateescape")
        self.write("etc/shadow", shadow.with_hash(lines, user, hashed, day), mode, owner)
        self._use_shadow(user)

    def _use_shadow(self, user: str) -> None:
        """Make etc/passwd point to etc/shadow: a hash, or nothing, in its place would count instead."""
        if (old := self._read("etc/passwd", 1 << 20)) is None:
            return
        text = old[0].decode(errors="surrogateescape")
        if (new := shadow.pointing_to_shadow(text, user)) != text:
            self.write("etc/passwd", new, stat.S_IMODE(old[1].st_mode), (old[1].st_uid, old[1].st_gid))

    def look(self, texts: Iterable[str], globs: Iterable[str], heads: Iterable[str] = ()) -> TreeFact:
        """What finishing wants to know: the text of `texts`, which of them and of `globs` are there, and the beginning of files that fit `heads`.

        In patterns * ? [ ] never match a slash, nor a leading dot unless the pattern has one. A link
        counts as being there even where it leads to nothing, since it may have to be removed. A
        text beyond 1 MiB, or that is not a file, is there without its text.
        """
        wanted = tuple(texts)
        found = {path: text for path in wanted if (text := self._small_text(path)) is not None}
        there = {path for path in wanted if self._status(path, follow=False)}
        there.update(path for pattern in globs for path in self._glob(pattern))
        begun = {path: head[0] for pattern in heads for path in self._glob(pattern) if (head := self._read(path, HEAD_BYTES, whole=False))}
        return TreeFact(found, frozenset(there), begun)

    def _small_text(self, path: str) -> str | None:
        try:
            return self.read_text(path)
        except OSError as error:
            if error.errno not in (errno.EFBIG, errno.ELOOP):
                raise
            return None

    def _glob(self, pattern: str) -> set[str]:
        """Paths that fit, as the pattern spells their fixed parts."""
        paths = {""}
        for part in _parts(pattern):
            paths = {posixpath.join(path, name) for path in paths for name in self._fitting(path, part)}
        return {path for path in paths if self._status(path, follow=False)}

    def _fitting(self, path: str, part: str) -> list[str]:
        if not any(sign in part for sign in "*?["):
            return [part]
        return [name for name in self._names(path) if fnmatch.fnmatchcase(name, part) and (part[0] == "." or name[0] != ".")]

    def _names(self, path: str) -> list[str]:
        """Names in a directory; none when it is not there."""
        try:
            with self._walk(posixpath.join(path, "x"), follow=False) as (parent, _):
                handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
                try:
                    return sorted(os.listdir(handle))
                finally:
                    os.close(handle)
        except _GONE:
            return []
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return []

    def _status(self, path: str, follow: bool) -> os.stat_result | None:
        """Of what is at the end of `path`; None when nothing is, or links go round."""
        try:
            with self._walk(path, follow=follow) as (parent, name):
                return os.stat(name, dir_fd=parent, follow_symlinks=False)
        except _GONE:
            return None
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return None

    def _read(self, path: str, limit: int, whole: bool = True) -> tuple[bytes, os.stat_result] | None:
        """A regular file's content and status, its beginning unless `whole`; nothing else is even opened, since opening a device does things."""
        try:
            with self._walk(path) as (parent, name):
                if not stat.S_ISREG(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                    return None
                handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=parent)
                with open(handle, "rb") as file:
                    data, status = file.read(limit + 1), os.fstat(handle)
        except _GONE:
            return None
        if whole and len(data) > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return data[:limit], status

    @contextlib.contextmanager
    def _walk(self, path: str, make: bool = False, follow: bool = True) -> Iterator[tuple[int, str]]:
        """The directory that a path ends in, as a handle, and the last name, which is no link when `follow`.

        With `make` missing directories are made, 0755, owned by root. The name is "." for the root itself.
        """
        handles = [os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
        try:
            yield self._step_in(handles, _parts(path), make, follow)
        finally:
            for handle in handles:
                os.close(handle)

    def _step_in(self, handles: list[int], parts: list[str], make: bool, follow: bool) -> tuple[int, str]:
        """Walk `parts`; `handles` is the way from the root to where we are, so that `..` needs no trust in the disk."""
        links = 0
        while parts:
            part = parts.pop(0)
            if part == "..":
                if len(handles) > 1:
                    os.close(handles.pop())
                continue
            target = None if not parts and not follow else _link(part, handles[-1])
            if target is None:
                if not parts:
                    return handles[-1], part
                if make:
                    _make(part, handles[-1], 0o755)
                handles.append(os.open(part, _WALK, dir_fd=handles[-1]))
                continue
            links += 1
            if links > MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), part)
            if target.startswith("/"):
                while len(handles) > 1:
                    os.close(handles.pop())
            parts[:0] = _parts(target)
        return handles[-1], "."


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _link(name: str, parent: int) -> str | None:
    """Where a link points to; None for what is no link, or is not there."""
    try:
        return os.readlink(name, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


def _make(name: str, parent: int, mode: int) -> None:
    """Make one directory, unless it is there."""
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise
        return
    handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.fchmod(handle, mode)
    finally:
        os.close(handle)


def _temporary() -> str:
    return f".dtcxen-{secrets.token_hex(8)}"
