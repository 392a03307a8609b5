"""`dtcxen pack` and `dtcxen import-ovm` on the machine: from an image, a template or a directory to a bundle in its place.

All is made in a hidden directory beside the bundle's place, and renamed when it is whole; the
directory goes however the work ends, and one of a run that was killed goes with the next run. Mounts
are this process's own. Sources: rename(2), flock(2), qemu-img(1).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from dtcxen_soap import claims, diskimages, imagemounts, mounts, nodefiles, ovm, pack, sparsefiles, staging, tarballs
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Failed, Missing
from dtcxen_soap.plans import Confinement, Run
from dtcxen_soap.processes import Unwatched, report
from dtcxen_soap.sparsefiles import Room
from dtcxen_soap.survey.programs import writable_by_others
from dtcxen_soap.vps import BootMode

_OURS = re.compile(r"\.pack-[A-Za-z0-9._-]+-[0-9a-f]{8}")
_PACKAGES = {"qemu-img": "qemu-utils", "zstd": "zstd", "unshare": "util-linux", "tar": "tar", "cp": "coreutils", "mount": "mount"}
_ALWAYS = ("unshare", "tar", "cp", "mount")


@dataclass(frozen=True)
class Order:
    """What was asked for. `partition` chooses where several hold a system, 0 being the whole disk; `made` is the time for the manifest."""

    source: str
    name: str
    output: str
    mode: BootMode | None
    most_bytes: int
    partition: int | None
    made: str

    @property
    def place(self) -> str:
        """Where the bundle will be."""
        return f"{self.output}/{self.name}"


def pack_image(order: Order, tell: Callable[[str], None]) -> str:
    """Make a bundle of an image or a directory; the text of its manifest. `tell` hears what is being done."""
    _refuse(order)
    with _workplace(order) as work:
        return _bundle(order, work, order.source, {}, tell)


def import_template(order: Order, tell: Callable[[str], None]) -> tuple[ovm.Template, str]:
    """Make a bundle of an Oracle VM template's system image; what its vm.cfg tells, and the text of the manifest."""
    _refuse(order)
    if not os.path.isfile(order.source):
        raise Failed("", f"{order.source} is no archive: an Oracle VM template is one file, .tgz or .tar")
    with _workplace(order) as work:
        room = Room(work)
        archive = _steady(order.source, work, order, room, tell)
        digest = nodefiles.digest(archive, _never)
        inventory = ovm.Inventory(order.most_bytes)
        tarballs.check(archive, inventory.judge, Unwatched())
        config, image = f"{work}/vm.cfg", f"{work}/system"
        tarballs.take_out(archive, inventory.config, config, ovm.MOST_CONFIG_BYTES, room)
        template = ovm.template(nodefiles.read_bytes(config, ovm.MOST_CONFIG_BYTES), inventory)
        tell(f"its system is on {ascii(template.system)}")
        tarballs.take_out(archive, template.system, image, order.most_bytes, room)
        made_from = {"source": os.path.basename(order.source), "sha256": digest, "image": template.system}
        return template, _bundle(order, work, image, made_from, tell)


def _refuse(order: Order) -> None:
    """What can be known before anything is read."""
    dom0 = Dom0()
    if not dom0.is_root():
        raise Failed("", "only root can mount an image and keep the owners of its files: run it as root")
    if lacking := [name for name in _ALWAYS if name not in dom0.commands(_ALWAYS)]:
        raise Failed("", _lacking(lacking))
    if not os.path.exists(order.source):
        raise Missing(f"{order.source} is not there")
    if not os.path.isdir(order.output):
        raise Missing(f"{order.output} is not there: --output names a directory that is")
    if os.path.lexists(order.place):
        raise Failed("", f"{order.place} is there already: remove it, or choose another --name")


def _lacking(commands: list[str]) -> str:
    return f"this machine lacks {', '.join(commands)}: install {', '.join(dict.fromkeys(_PACKAGES[name] for name in commands))}"


def _never() -> bool:
    return False


# -- the hidden directory ---------------------------------------------------------------------------


@contextlib.contextmanager
def _workplace(order: Order) -> Iterator[str]:
    """A directory of our own beside the bundle's place, and mounts of our own; it is gone at the end.

    The output directory is locked until ours is: nobody sweeps between the two.
    """
    mounts.keep_to_ourselves()
    work = f"{os.path.realpath(order.output)}/.pack-{order.name}-{secrets.token_hex(4)}"
    with _locked(order.output):
        _sweep(order.output)
        os.mkdir(work, 0o700)
        handle = _directory(work)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield work
    finally:
        try:
            _remove(work)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    handle = _directory(directory)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _directory(path: str, links: int = 0) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | links)


def _sweep(output: str) -> None:
    """Remove directories of earlier runs that were killed: nobody holds their lock. What only looks like one is somebody's, and stays."""
    for path in (f"{output}/{name}" for name in nodefiles.listdir(output) if _OURS.fullmatch(name)):
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode) or stat.S_IMODE(status.st_mode) != 0o700 or status.st_uid != os.geteuid():
            continue
        handle = _directory(path, os.O_NOFOLLOW)
        try:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
        finally:
            os.close(handle)


def _remove(path: str) -> None:
    """rm(1), since a tree may be deeper than Python can go; nothing that is mounted is entered."""
    mounts.unmount(path, lambda line: None)
    code, said = report(("rm", "--recursive", "--force", "--one-file-system", "--", path), staging.COMMAND_SECONDS)
    if code:
        raise Failed("", f"{path} cannot be removed: {said}")


# -- from source to bundle --------------------------------------------------------------------------


def _bundle(order: Order, work: str, source: str, made_from: Mapping[str, str], tell: Callable[[str], None]) -> str:
    room, stage = Room(work), f"{work}/stage"
    if os.path.isdir(source):
        told: Mapping[str, str] = {"source": os.path.basename(source)}
        opened = imagemounts.tree(source, f"{work}/image")
    else:
        image = source if made_from else _steady(source, work, order, room, tell)
        opened = imagemounts.root(_raw(image, work, order, room, tell), f"{work}/image", order.partition, tell)
        told = made_from or {"source": os.path.basename(source), "sha256": nodefiles.digest(image, _never)}
    with opened as root:
        walk = staging.judge(root, source, order.most_bytes)
        room.refuse_full(walk.need_bytes)
        staging.copy(root, stage, room)
    for path in staging.forget(stage):
        tell(f"left out: {ascii(path)}")
    tree = staging.look(stage)
    pack.refuse(order.name, order.mode, tree)
    missing = staging.elsewhere(stage, tree)
    pack.refuse_in_parts(order.name, order.mode, missing)
    for at, disk in missing:
        tell(f"not packed: {ascii(at)}, which etc/fstab keeps on {ascii(disk)}")
    made = f"{work}/bundle"
    os.mkdir(made, 0o755)
    tarball = f"{made}/{pack.tarball_name(order.name)}"
    tell("packing")
    staging.tarball(stage, tarball, walk.newest, room)
    staging.check(tarball, order.most_bytes)
    packed = pack.Packed(os.path.basename(tarball), nodefiles.digest(tarball, _never), walk.need_bytes, told, order.made)
    manifest = pack.manifest(packed, tree, order.mode)
    nodefiles.write(f"{made}/manifest.json", manifest.encode(), 0o644)
    nodefiles.write(f"{made}/install_os", pack.install_os(packed.tarball).encode(), 0o755)
    _into_place(made, tarball, order)
    return manifest


def _into_place(made: str, tarball: str, order: Order) -> None:
    os.chmod(tarball, 0o644)
    os.chmod(made, 0o755)
    nodefiles.sync(tarball)
    if os.path.lexists(order.place):
        raise Failed("", f"{order.place} was made by somebody else meanwhile")
    os.rename(made, order.place)
    nodefiles.sync(order.output)


# -- from image to raw image ------------------------------------------------------------------------


def _steady(source: str, work: str, order: Order, room: Room, tell: Callable[[str], None]) -> str:
    """The file, or a copy in `work` of one that others could change between its judgement and its use.

    Whoever swaps a qcow2 image that was judged for one with a backing file would be given that file.
    """
    if not os.path.isfile(source):
        raise Failed("", f"{source} is neither a directory nor a file with a disk image")
    if held := claims.of(os.path.realpath(source)):
        raise Failed("", f"{source} is {' and '.join(held)}: what changes while it is read makes no whole system")
    if not any(map(_can_be_swapped, writable_by_others(source, "/"))):
        return source
    tell("copying it first: others than root could change it")
    sparsefiles.copy(source, f"{work}/source", order.most_bytes, room)
    return f"{work}/source"


def _can_be_swapped(part: str) -> bool:
    """Of what others may write on the way to a file; in a sticky directory of root's, as /tmp is, they can only write what is theirs."""
    status = os.lstat(part)
    return not (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX and status.st_uid == 0)


def _raw(source: str, work: str, order: Order, room: Room, tell: Callable[[str], None]) -> str:
    """The image as a raw one: itself, or made of it in `work`. Failed for what it must not be."""
    image = os.path.realpath(source)
    try:
        if packed := diskimages.compression(_head(image)):
            if packed == "zst" and not Dom0().commands(("zstd",)):
                raise Failed("", _lacking(["zstd"]))
            tell(f"expanding what {packed} compressed")
            target = f"{work}/expanded"
            sparsefiles.expand(image, packed, target, order.most_bytes, room)
            image = target
        kind = diskimages.judge_format(_head(image), os.path.getsize(image), order.most_bytes)
        if kind == diskimages.QCOW2:
            image = _converted(image, work, room, tell)
        elif inner := diskimages.compression(_head(image)):
            raise ValueError(f"it is compressed with {inner} more than once")
    except ValueError as error:
        raise Failed("", f"{source}: {error}") from error
    return image


def _head(image: str) -> bytes:
    return nodefiles.read_from(image, 0, diskimages.HEAD_BYTES)


def _converted(image: str, work: str, room: Room, tell: Callable[[str], None]) -> str:
    """A raw image of a qcow2 one that was judged; qemu-img is told the format, so that it never guesses."""
    if not Dom0().commands(("qemu-img",)):
        raise Failed("", f"a qcow2 image is read by qemu-img: {_lacking(['qemu-img'])}")
    tell("converting from qcow2")
    out = f"{work}/converted"
    os.mkdir(out, 0o700)
    argv = ("qemu-img", "convert", "-f", "qcow2", "-O", "raw", "--", image, f"{out}/raw")
    confined = Confinement(writable=(out,))
    staging.command(Run(why="Convert the image.", argv=argv, contained=True, confinement=confined, timeout_seconds=staging.COMMAND_SECONDS), room)
    return f"{out}/raw"
