"""Programs of the admin that run as root: bundles and hooks, and whether anybody else could have written them."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dtcxen_soap.facts import HookFact
from dtcxen_soap.nodefiles import read_bytes
from dtcxen_soap.osfacts import BY_HAND, BundleFact
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import BootMode
from dtcxen_soap.xen.bootmode import INSTALLABLE

SCRIPTS = ("install_os", "custom_os", "setup_network", "last_stage_custom")
TARBALLS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst")
MANIFEST = "manifest.json"
PHASES = ("pre", "post", "error")
_BOOT_MODE, _UNPACKS, _TARBALL, _DIGEST = "boot_mode", "cache", "tarball", "sha256"
_HEX = re.compile(r"[0-9a-f]{64}")
_MOST_MANIFEST_BYTES = 1 << 20
OS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What bundles, described OS types and appliances may be called: what callers can write."""
_HOOK_NAME = re.compile(r"[A-Za-z0-9_-]+")


# -- bundles --------------------------------------------------------------------------------------


def bundle_names(settings: Settings) -> tuple[str, ...]:
    """Directories of os_dir that hold something to install, with a name that callers can write.

    An empty directory is enough for an OS type of which nothing is installed, and puts it on the panel's menu.
    """
    names = (name for name in _names(settings.os_dir) if OS_NAME.fullmatch(name))
    return tuple(name for name in names if _offers(f"{settings.os_dir}/{name}", nothing=name in BY_HAND))


def _offers(path: str, *, nothing: bool) -> bool:
    """Whether a directory holds something to install; with `nothing` whether it is one that does not."""
    return os.path.isdir(path) and nothing is not any(each == SCRIPTS[0] or each.endswith(TARBALLS) for each in _names(path))


def app_names(settings: Settings) -> tuple[str, ...]:
    """Directories of app_dir with a name that callers can write."""
    return tuple(name for name in _names(settings.app_dir) if OS_NAME.fullmatch(name) and os.path.isdir(f"{settings.app_dir}/{name}"))


def bundle(settings: Settings, name: str) -> BundleFact | None:
    """The bundle of this name with every reason why it must not run; None when there is none."""
    path = f"{settings.os_dir}/{name}"
    if not OS_NAME.fullmatch(name) or not os.path.lexists(path):
        return None
    if not os.path.isdir(path):
        return BundleFact(name, path, frozenset(), (), (f"{path} is not a directory",))
    files = [each for each in _names(path) if _is_file(f"{path}/{each}")]
    scripts = frozenset(each for each in SCRIPTS if each in files)
    tarballs = tuple(each for each in files if each.endswith(TARBALLS))
    manifest = (MANIFEST,) if MANIFEST in files else ()
    said = _manifest(f"{path}/{MANIFEST}", tarballs) if manifest else _Manifest()
    unsafe = tuple(objections(settings.os_dir, path, (*sorted(scripts), *tarballs, *manifest)))
    return BundleFact(name, path, scripts, tarballs, unsafe, said.mode, said.problems, said.unpacks, tuple(_identity(f"{path}/{each}") for each in tarballs), said.digests)


def _identity(path: str) -> str:
    """A file as it is now: another one under its name, or a change of it, has another identity."""
    status = os.stat(path)
    return f"{path} {status.st_dev}:{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


@dataclass(frozen=True)
class _Manifest:
    """What a bundle's manifest says, or why it is not believed."""

    mode: BootMode | None = None
    unpacks: bool = False
    digests: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()


def _manifest(path: str, tarballs: tuple[str, ...]) -> _Manifest:
    """The boot mode that a bundle's manifest names, whether its install_os only unpacks, its tarball's SHA-256, and what is wrong; all else is others' business."""
    try:
        manifest = json.loads(read_bytes(path, _MOST_MANIFEST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        return _Manifest(problems=(f"{path} cannot be read: {error}",))
    if not isinstance(manifest, dict):
        return _Manifest(problems=(f"{path} is no JSON object",))
    word, unpacks = manifest.get(_BOOT_MODE), manifest.get(_UNPACKS, False)
    modes = {mode.value: mode for mode in INSTALLABLE}
    problems = [] if word is None or (isinstance(word, str) and word in modes) else [f"{path}: {_BOOT_MODE} {json.dumps(word)} is none of {', '.join(modes)}"]
    problems += [] if isinstance(unpacks, bool) else [f"{path}: {_UNPACKS} {json.dumps(unpacks)} is neither true nor false"]
    digests, broken = _promised(manifest, tarballs)
    problems += [f"{path}: {each}" for each in broken]
    return _Manifest(problems=tuple(problems)) if problems else _Manifest(modes.get(word or ""), unpacks, digests)


def _promised(manifest: Mapping[str, object], tarballs: tuple[str, ...]) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The tarball and its SHA-256 where a manifest tells both, and what is wrong with them."""
    tarball, digest = manifest.get(_TARBALL), manifest.get(_DIGEST)
    if not (isinstance(tarball, str) and isinstance(digest, str)):
        return (), ()
    if tarball in tarballs and _HEX.fullmatch(digest):
        return ((tarball, digest),), ()
    return (), (f"{_TARBALL} and {_DIGEST} promise {json.dumps(digest[:100])} of {json.dumps(tarball[:100])}, and there is no such file or SHA-256",)


def objections(os_dir: str, path: str, used: tuple[str, ...]) -> Iterator[str]:
    """What others could have changed of a bundle, or of an appliance: whatever lies in it, since its scripts may read it, and the way to it."""
    inside = (os.path.join(folder, each) for folder, folders, files in os.walk(path) for each in (*folders, *files))
    for each in dict.fromkeys((path, *(f"{path}/{name}" for name in used))):
        if leads_out(each, os_dir):
            yield f"{each} leads out of {os_dir}"
    for each in dict.fromkeys(part for one in (path, *inside) for part in writable_by_others(one, os_dir)):
        yield f"{each} can be written by others than root"


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


# -- hooks ----------------------------------------------------------------------------------------


def hooks(settings: Settings, operation: str) -> HookFact:
    """Executable files of each phase's directory with a name that run-parts(8) would take, in its order.

    `unsafe` holds what others could have written: hooks, or a directory on the way to one.
    """
    found = {phase: tuple(executables(f"{settings.hooks_dir}/{operation}-{phase}.d")) for phase in PHASES}
    parts = {path: writable_by_others(path, settings.hooks_dir) for paths in found.values() for path in paths}
    programs = {phase: safe for phase, paths in found.items() if (safe := tuple(path for path in paths if not parts[path]))}
    return HookFact(programs, tuple(dict.fromkeys(part for each in parts.values() for part in each)))


def executables(directory: str) -> Iterator[str]:
    """Paths of a directory's executable files with a name that run-parts(8) would take, in its order."""
    for name in _names(directory):
        path = f"{directory}/{name}"
        if _HOOK_NAME.fullmatch(name) and _is_file(path) and os.stat(path).st_mode & 0o111:
            yield path


# -- who could have written it --------------------------------------------------------------------


def writable_by_others(path: str, top: str) -> tuple[str, ...]:
    """Each part of the way from `top` to `path` that others than root (and this process's user) own or may write.

    Links are judged with where they lead to; a target beyond `top` is judged from the root on.
    """
    real_top, real = os.path.realpath(top), os.path.realpath(path)
    resolved = _way("/" if leads_out(path, top) else real_top, real)
    return tuple(part for part in dict.fromkeys((*_way(top, path), *resolved)) if _open_to_others(part))


def leads_out(path: str, top: str) -> bool:
    """Whether `path`, links followed, lies outside `top`."""
    real_top = os.path.realpath(top)
    return os.path.commonpath((real_top, os.path.realpath(path))) != real_top


def _way(top: str, path: str) -> Iterator[str]:
    """`top`, and every step from it down to `path`."""
    yield top
    rest = os.path.relpath(path, top)
    step = top
    for name in rest.split("/") if rest != "." else ():
        step = os.path.join(step, name)
        yield step


def _open_to_others(path: str) -> bool:
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    others_write = not stat.S_ISLNK(status.st_mode) and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return bool(others_write) or status.st_uid not in (0, os.geteuid())


def _names(directory: str) -> tuple[str, ...]:
    """Sorted names; none when it is no directory."""
    try:
        return tuple(sorted(os.listdir(directory)))
    except (FileNotFoundError, NotADirectoryError):
        return ()
