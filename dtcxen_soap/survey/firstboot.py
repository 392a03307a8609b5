"""The admin's first-boot snippets: which there are, whether anybody else could have written them, and what is in them; appliances, and seed disks."""

from __future__ import annotations

import dataclasses
import json
import os
import re

from dtcxen_soap.disks import cloud_seed_path, cloud_told_path
from dtcxen_soap.firstbootfacts import AppFact, FirstbootFact, SeedFact, Snippet
from dtcxen_soap.install.appliance import FOLDER, SCRIPT
from dtcxen_soap.nodefiles import read_bytes
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey.programs import app_names, executables, objections, writable_by_others
from dtcxen_soap.vps import Secret, VpsId

MOST_SNIPPETS = 64
MOST_BYTES = 256 << 10
"""Of one snippet; a quarter of a mebibyte is a long script."""
_MOST_TOLD_BYTES = 1 << 20
_DEPENDS = "depends"
_MOST_DEPENDS_BYTES = 4096


def firstboot(settings: Settings, vps: VpsId | None = None, os_type: str = "") -> FirstbootFact:
    """The admin's snippets; with `vps` what its seed disk told it, with `os_type` the appliance of that name."""
    return dataclasses.replace(_snippets(settings), seed=_seed(settings, vps) if vps else SeedFact(), app=appliance(settings, os_type))


def appliance(settings: Settings, name: str) -> AppFact | None:
    """The appliance of this name: a directory of app_dir that says what it depends on. None when there is none."""
    path = f"{settings.app_dir}/{name}"
    if name not in app_names(settings) or not os.path.lexists(f"{path}/{_DEPENDS}"):
        return None
    folder = os.path.lexists(f"{path}/{FOLDER}")
    unsafe = tuple(objections(settings.app_dir, path, (_DEPENDS, SCRIPT, *((FOLDER,) if folder else ()))))
    if unsafe:
        return AppFact(name, path, folder=folder, unsafe=unsafe)
    depends, problems = _depends(f"{path}/{_DEPENDS}")
    if not os.path.isfile(f"{path}/{SCRIPT}"):
        problems += (f"{path}/{SCRIPT} is not there",)
    if folder and not os.path.isdir(f"{path}/{FOLDER}"):
        problems += (f"{path}/{FOLDER} is no directory",)
    return AppFact(name, path, depends, folder, problems=problems)


def _depends(path: str) -> tuple[str, tuple[str, ...]]:
    """The one word of the file, and what is wrong with it."""
    try:
        word = read_bytes(path, _MOST_DEPENDS_BYTES).decode(errors="replace").strip()
    except OSError as error:
        return "", (f"{path} cannot be read: {error.strerror}",)
    return (word, ()) if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", word, re.ASCII) else ("", (f"{path} does not hold the name of one OS type",))


def _snippets(settings: Settings) -> FirstbootFact:
    """Executable files of firstboot_dir with a name that run-parts(8) would take, in its order. An unsafe one is named and never read."""
    directory = settings.firstboot_dir
    paths = tuple(executables(directory))
    unsafe = tuple(dict.fromkeys(part for path in paths for part in writable_by_others(path, directory)))
    if unsafe:
        return FirstbootFact(unsafe=unsafe)
    if len(paths) > MOST_SNIPPETS:
        return FirstbootFact(problems=(f"{directory} has {len(paths)} snippets, more than {MOST_SNIPPETS}",))
    read = tuple(_read(path) for path in paths)
    return FirstbootFact(tuple(each for each in read if isinstance(each, Snippet)), problems=tuple(each for each in read if isinstance(each, str)))


def _read(path: str) -> Snippet | str:
    """The snippet, or what is wrong with it."""
    try:
        content = read_bytes(path, MOST_BYTES)
    except OSError as error:
        return f"{path} has more than {MOST_BYTES >> 10} KiB" if os.path.getsize(path) > MOST_BYTES else f"{path} cannot be read: {error.strerror}"
    if not content.startswith((b"#!", b"\x7fELF")):
        return f"{path} begins with neither #! nor as a program does: no system would run it"
    return Snippet(os.path.basename(path), Secret(content.decode(errors="surrogateescape")))


def _seed(settings: Settings, vps: VpsId) -> SeedFact:
    """What we wrote down when the disk was made; what cannot be read tells nothing, so that a new disk is made."""
    disk, path = os.path.lexists(cloud_seed_path(vps, settings)), cloud_told_path(vps, settings)
    try:
        told = json.loads(read_bytes(path, _MOST_TOLD_BYTES))
        data = told["user_data"]
        return SeedFact(disk, True, str(told["instance"]), tuple(map(str, told["keys"])), None if data is None else Secret(str(data)))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return SeedFact(disk, os.path.lexists(path))
