"""Golden images: a system is installed once, into an image, and every further VPS gets a clone of it that grows to its disk.

What is shared is only what all VPSes have in common: the tree as the installer leaves it. Names,
addresses, passwords and keys are each VPS's own and come afterwards (finish.py). An image is known
by a key, the hash of everything it is made from, so that a changed description never meets an old
image. Only ext3 and ext4 can shrink to their content, grow and get a new UUID within milliseconds
(resize2fs(8), tune2fs(8)); on other file systems every installation is from scratch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from dtcxen_soap.errors import ParameterFault, Refused
from dtcxen_soap.facts import Facts
from dtcxen_soap.imagefacts import GoldenImage
from dtcxen_soap.imagesteps import CloneImage, KeepImage, MakingImage, VerifyImage
from dtcxen_soap.plans import IMAGE_FILES, AllocateFile, MakeDirectory, Mounted, Run, Step
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import Mib, VpsId

FILESYSTEMS = ("ext3", "ext4")
COMMANDS = ("e2fsck", "resize2fs", "tune2fs")
_FORMAT = "1"
_MENDED = (0, 1)
"""e2fsck(8): nothing wrong, or mended."""


@dataclass(frozen=True)
class Recipe:
    """How a tree is filled, the same for every VPS. `made_from` says all that its content depends on, `tools` are commands that tell the versions of what makes it.

    `checks` come before anything is touched; `fill` takes the path of the empty, mounted tree. `options` are the mount's.
    """

    made_from: tuple[tuple[str, str], ...]
    fill: Callable[[str], tuple[Step, ...]]
    tools: tuple[tuple[str, ...], ...] = ()
    checks: tuple[Step, ...] = ()
    options: str = "nodev,nosuid"


@dataclass(frozen=True)
class Golden:
    """The image that an installation clones: one that is `present` and fresh, or one to be made first."""

    vps: VpsId
    os_type: str
    recipe: Recipe
    key: str
    present: GoldenImage | None
    max_age: timedelta

    @property
    def unfinished(self) -> str:
        """The name of the image while it is made, this VPS's own: two that want the same image never share a file."""
        return f".making-{self.key[:16]}-{self.vps.name}.img"


def key(recipe: Recipe, settings: Settings) -> str:
    """What the image of this recipe is known by."""
    return hashlib.sha256(json.dumps((_FORMAT, settings.root_filesystem, recipe.made_from)).encode()).hexdigest()


def why_none(recipe: Recipe | None, disk_bytes: int, settings: Settings, facts: Facts) -> str:
    """Why this installation is from scratch, for the log; "" when it clones, or when nobody would expect it to."""
    if recipe is None or not settings.image_cache_mib:
        return ""
    if settings.root_filesystem not in FILESYSTEMS:
        return f"an image of {settings.root_filesystem} could not be grown before its first mount"
    lacking = [command for command in COMMANDS if command not in facts.node.commands]
    if lacking:
        return f"the node lacks {', '.join(lacking)}"
    if _present(recipe, settings, facts) is None and _lacking(disk_bytes, settings, facts) > 0:
        return f"making an image takes {settings.image_build_mib} MiB, and {_lacking(disk_bytes, settings, facts) >> 20} MiB of these are lacking"
    return ""


def choose(vps: VpsId, os_type: str, recipe: Recipe | None, disk_bytes: int, settings: Settings, facts: Facts) -> Golden | None:
    """The image to clone, None for an installation from scratch. Refused when the image that there is needs a larger disk."""
    if recipe is None or not settings.image_cache_mib or why_none(recipe, disk_bytes, settings, facts):
        return None
    present = _present(recipe, settings, facts)
    if present is not None and present.size_bytes > disk_bytes:
        raise Refused(ParameterFault(
            "reinstallOS", "osType", "InvalidParameter", f"{os_type} needs a root disk of {-(-present.size_bytes >> 20)} MiB, and this one has {disk_bytes >> 20}",
            "a larger disk, or a smaller system"))
    return Golden(vps, os_type, recipe, key(recipe, settings), present, timedelta(days=settings.image_cache_days))


def _present(recipe: Recipe, settings: Settings, facts: Facts) -> GoldenImage | None:
    """The image of this recipe, unless there is none or it is too old."""
    assert facts.now is not None
    oldest = facts.now - timedelta(days=settings.image_cache_days)
    wanted = key(recipe, settings)
    return next((image for image in facts.cache.images if image.key == wanted and image.made > oldest), None)


def _lacking(disk_bytes: int, settings: Settings, facts: Facts) -> int:
    """Bytes that are lacking to make an image beside the VPS's own new disk, as if both were files of one file system."""
    if settings.overcommit:
        return settings.image_build_mib.bytes - facts.cache.free_bytes
    others = facts.room.promised_bytes + facts.reserved.get(IMAGE_FILES, 0)
    return settings.image_build_mib.bytes + disk_bytes + others - facts.cache.free_bytes


# -- steps ----------------------------------------------------------------------------------------


def checks(golden: Golden, settings: Settings, *, before_destroying: Mib | None) -> tuple[Step, ...]:
    """Have the image. With `before_destroying`, the size of a disk whose content goes before the clone comes, verify it already now."""
    made = () if golden.present else (_making(golden, settings),)
    if before_destroying is None:
        return made
    return *made, VerifyImage(
        why="Verify the image before anything is destroyed.", directory=settings.image_cache, key=golden.key, most_bytes=before_destroying.bytes, weight=1)


def _making(golden: Golden, settings: Settings) -> Step:
    """Install into a file of its own, once however many jobs want it."""
    assert golden.present is None
    image = f"{settings.image_cache}/{golden.unfinished}"
    return MakingImage(
        why=f"Make the image of {golden.os_type}, unless another job did meanwhile.", directory=settings.image_cache, key=golden.key, max_age=golden.max_age, unfinished=image,
        steps=(*golden.recipe.checks, *_build(golden, image, settings), *_shrink(image, settings), _keep(golden, image, settings)))


def _build(golden: Golden, image: str, settings: Settings) -> tuple[Step, ...]:
    """The parameters are those of an ordinary disk, however small the image: it will grow."""
    tree = f"{settings.image_cache}/tree-{golden.vps}"
    return (
        AllocateFile(why="Have space for the image.", path=image, size=settings.image_build_mib, sparse=settings.overcommit),
        Run(why=f"Make an {settings.root_filesystem} file system.", argv=(f"mkfs.{settings.root_filesystem}", "-q", "-F", "-T", "default", "-E", "nodiscard", "--", image)),
        MakeDirectory(why="Have a mount point.", path=tree, mode=0o700),
        Mounted(why="Mount the image.", source=image, at=tree, fstype=settings.root_filesystem, options=golden.recipe.options, steps=golden.recipe.fill(tree)))


def _shrink(image: str, settings: Settings) -> tuple[Step, ...]:
    """As small as its content, and clean by e2fsck's word, which resize2fs asks for at every change."""
    seconds = settings.install_timeout_minutes * 60

    def check(why: str) -> Run:
        return Run(why=why, argv=("e2fsck", "-f", "-p", "--", image), ok_codes=_MENDED, timeout_seconds=seconds)

    return (check("Check the image's file system."),
            Run(why="Shrink the image to its content.", argv=("resize2fs", "-M", "--", image), timeout_seconds=seconds), check("Check it once more."))


def _keep(golden: Golden, image: str, settings: Settings) -> Step:
    return KeepImage(
        why="Keep the image for further installations.", directory=settings.image_cache, key=golden.key, os_type=golden.os_type, source=image,
        made_from=golden.recipe.made_from, tools=golden.recipe.tools, most_bytes=settings.image_cache_mib.bytes)


def clone_steps(golden: Golden, disk: str, settings: Settings, *, zeroed: bool, destroys: str = "") -> tuple[Step, ...]:
    """The image on a VPS's disk, verified as it is copied, as large as the disk, with a UUID of its own."""
    return (
        CloneImage(
            why=f"Clone the image of {golden.os_type}, and verify it.", directory=settings.image_cache, key=golden.key, target=disk, zeroed=zeroed,
            share=settings.overcommit, destroys=destroys, weight=4),
        Run(why="Give the clone a UUID of its own.", argv=("tune2fs", "-U", "random", "--", disk)),
        Run(why="Grow it to the disk.", argv=("resize2fs", "--", disk), timeout_seconds=settings.install_timeout_minutes * 60))
