"""The cache of golden images on the node: a file per image, named by its SHA-256, and a manifest per recipe, named by its key.

An image is only ever used together with its manifest. Whoever copies it also hashes all that was
read, at the same time on the other core, so that a cut or altered one never becomes a system that
anybody relies on. Errors: Failed with what an admin can do, OSError of the system call, Cancelled.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dtcxen_soap import __version__, nodefiles
from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.imagefacts import GoldenImage
from dtcxen_soap.imagesteps import CloneImage, KeepImage, VerifyImage

_MANIFEST, _IMAGE, _UNFINISHED = ".json", ".img", ".making-"
_HEX = re.compile(r"[0-9a-f]{64}")
_MOST_MANIFEST_BYTES = 1 << 20
_CHUNK = 8 << 20
_CANNOT_SHARE = (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
Cancelling = Callable[[], bool]


# -- what is there --------------------------------------------------------------------------------


def images(directory: str) -> tuple[GoldenImage, ...]:
    """Every image that is there as its manifest tells; one that was cut or is gone counts as none, as does a manifest of nonsense: it is made anew."""
    names = (name.removesuffix(_MANIFEST) for name in nodefiles.listdir(directory) if name.endswith(_MANIFEST))
    found = (_read(directory, name) for name in names if _HEX.fullmatch(name))
    return tuple(image for image in found if image is not None and _whole(directory, image))


def _whole(directory: str, image: GoldenImage) -> bool:
    """Whether its file is as long as it was made; its content is looked at by whoever uses it."""
    return nodefiles.size(_path(directory, image)) == image.size_bytes


def _read(directory: str, key: str) -> GoldenImage | None:
    """The image of a key; None without a manifest that is whole."""
    try:
        told = json.loads(nodefiles.read_bytes(f"{directory}/{key}{_MANIFEST}", _MOST_MANIFEST_BYTES))
        image = GoldenImage(key, str(told["os_type"]), datetime.fromisoformat(told["made"]), str(told["sha256"]), int(told["size_bytes"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return image if told.get("key") == key and _HEX.fullmatch(image.sha256) and image.size_bytes > 0 and image.made.tzinfo else None


def is_fresh(directory: str, key: str, max_age: timedelta) -> bool:
    """Whether there is an image of this key that is no older, its file as long as it should be."""
    image = _read(directory, key)
    return image is not None and datetime.now(UTC) - image.made < max_age and _whole(directory, image)


def _path(directory: str, image: GoldenImage) -> str:
    return f"{directory}/{image.sha256}{_IMAGE}"


# -- into the cache -------------------------------------------------------------------------------


def keep(step: KeepImage, made_with: Mapping[str, str], cancelled: Cancelling) -> None:
    """Name a finished image by its content, write its manifest, let others go for its room."""
    handle = os.open(step.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(handle)
        digest, size = _digest(handle, cancelled), os.fstat(handle).st_size
        os.fchmod(handle, 0o400)
    finally:
        os.close(handle)
    before = _read(step.directory, step.key)
    image = GoldenImage(step.key, step.os_type, datetime.now(UTC), digest, size)
    os.rename(step.source, _path(step.directory, image))
    manifest = {
        "key": step.key, "os_type": step.os_type, "made": image.made.isoformat(), "sha256": digest, "size_bytes": size,
        "made_from": dict(step.made_from), "made_with": {"dtcxen_soap": __version__, **made_with}}
    nodefiles.write(f"{step.directory}/{step.key}{_MANIFEST}", json.dumps(manifest, indent=2).encode() + b"\n", 0o600)
    if before is not None and before.sha256 != digest:
        _drop_file(step.directory, before)
    _make_room(step.directory, image, step.most_bytes)


def _make_room(directory: str, newest: GoldenImage, most_bytes: int) -> None:
    """Let images go, the one that was not used for longest first; the newest stays however large it is. Files of no manifest go too."""
    known = images(directory)
    named = {image.sha256 for image in known}
    for name in nodefiles.listdir(directory):
        if name.endswith(_IMAGE) and not name.startswith(_UNFINISHED) and name.removesuffix(_IMAGE) not in named:
            nodefiles.remove(f"{directory}/{name}")
    by_use = sorted((image for image in known if image.key != newest.key), key=lambda image: _used(directory, image), reverse=True)
    total = newest.size_bytes
    for image in by_use:
        total += image.size_bytes
        if total > most_bytes:
            nodefiles.remove(f"{directory}/{image.key}{_MANIFEST}")
            _drop_file(directory, image)


def _drop_file(directory: str, image: GoldenImage) -> None:
    """Remove an image's file, unless another recipe made the very same."""
    if image.sha256 not in {other.sha256 for other in images(directory) if other.key != image.key}:
        nodefiles.remove(_path(directory, image))


def _used(directory: str, image: GoldenImage) -> float:
    """When it was last cloned, or made: the time of its manifest."""
    try:
        return os.stat(f"{directory}/{image.key}{_MANIFEST}").st_mtime
    except FileNotFoundError:
        return 0.0


# -- out of the cache -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Opened:
    image: GoldenImage
    path: str
    handle: int

    def judge(self, digest: str) -> None:
        """Failed unless this is what the manifest says."""
        if digest != self.image.sha256:
            raise Failed("", f"the image {self.path} is not what was made: its SHA-256 is {digest}; remove it (rm {self.path}), and it is made anew")


def _open(directory: str, key: str) -> _Opened:
    """The image of a key, cut ones refused; Failed when it is not there any more."""
    image = _read(directory, key)
    if image is None:
        raise Failed("", f"the image {key} is gone from {directory}: install again, and it is made anew")
    path = _path(directory, image)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Failed("", f"the image {path} is gone: install again, and it is made anew") from None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode) or status.st_size != image.size_bytes:
        os.close(handle)
        raise Failed("", f"the image {path} has {status.st_size} bytes and was made with {image.size_bytes}: remove it (rm {path}), and it is made anew")
    return _Opened(image, path, handle)


def verify(step: VerifyImage, cancelled: Cancelling) -> None:
    """Read the whole image; Failed when it is not what was made, or larger than the disk."""
    opened = _open(step.directory, step.key)
    try:
        _refuse_larger(opened.image, step.most_bytes)
        opened.judge(_digest(opened.handle, cancelled))
    finally:
        os.close(opened.handle)


def _refuse_larger(image: GoldenImage, disk_bytes: int) -> None:
    if image.size_bytes > disk_bytes:
        raise Failed("", f"{image.os_type} needs a root disk of {-(-image.size_bytes >> 20)} MiB, and this one has {disk_bytes >> 20}")


def clone(step: CloneImage, cancelled: Cancelling) -> None:
    """Copy and verify at once."""
    opened = _open(step.directory, step.key)
    try:
        target = os.open(step.target, os.O_RDWR | os.O_CLOEXEC)
        try:
            _refuse_larger(opened.image, os.lseek(target, 0, os.SEEK_END))
            with concurrent.futures.ThreadPoolExecutor(1) as beside:
                digest = beside.submit(_digest, opened.handle, cancelled)
                _copy(opened, target, step, cancelled)
                opened.judge(digest.result())
        finally:
            os.close(target)
    finally:
        os.close(opened.handle)
    os.utime(f"{step.directory}/{step.key}{_MANIFEST}")


def _digest(handle: int, cancelled: Cancelling) -> str:
    """SHA-256 of the whole file, wherever its offset is."""
    digest, place, part = hashlib.sha256(), 0, memoryview(bytearray(_CHUNK))
    while count := os.preadv(handle, [part], place):
        digest.update(part[:count])
        place += count
        _go_on(cancelled)
    return digest.hexdigest()


def _go_on(cancelled: Cancelling) -> None:
    if cancelled():
        raise Cancelled("ended on request while an image was read")


def _copy(opened: _Opened, target: int, step: CloneImage, cancelled: Cancelling) -> None:
    """All data, and zeros where there is none unless the target has them."""
    place = 0
    for begin, end in _extents(opened.handle, opened.image.size_bytes):
        if not step.zeroed:
            _zeros(target, place, begin, cancelled)
        _copy_extent(opened.handle, target, begin, end, step.share, cancelled)
        place = end
    if not step.zeroed:
        _zeros(target, place, opened.image.size_bytes, cancelled)


def _extents(handle: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the file has data, as offsets (begin, end)."""
    end = 0
    while end < size:
        try:
            begin = os.lseek(handle, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return
        end = os.lseek(handle, begin, os.SEEK_HOLE)
        yield begin, min(end, size)


def _copy_extent(source: int, target: int, begin: int, end: int, share: bool, cancelled: Cancelling) -> None:
    while begin < end:
        _go_on(cancelled)
        wanted = min(end - begin, _CHUNK)
        copied = _shared(source, target, begin, wanted) if share else 0
        if not copied:
            os.lseek(target, begin, os.SEEK_SET)
            copied = os.sendfile(target, source, begin, wanted)
        if not copied:
            raise Failed("", "the image was cut while it was copied")
        _begin_writing(target, begin, copied)
        begin += copied


_WRITE = 2
"""SYNC_FILE_RANGE_WRITE of linux/fs.h: begin to write, and do not wait."""


def _begin_writing(target: int, begin: int, count: int) -> None:
    """Let the disk work while the rest is copied: whoever closes the file system at the end waits for less. Where the kernel cannot, nothing is lost."""
    ctypes.CDLL(None).sync_file_range(target, ctypes.c_int64(begin), ctypes.c_int64(count), _WRITE)


def _shared(source: int, target: int, place: int, count: int) -> int:
    """How many bytes the kernel copied, by sharing blocks where the file system can; 0 when it will not."""
    try:
        return os.copy_file_range(source, target, count, place, place)
    except OSError as error:
        if error.errno not in _CANNOT_SHARE:
            raise
        return 0


def _zeros(target: int, begin: int, end: int, cancelled: Cancelling) -> None:
    nothing = bytes(min(_CHUNK, max(0, end - begin)))
    while begin < end:
        _go_on(cancelled)
        begin += os.pwrite(target, nothing[:end - begin], begin)
