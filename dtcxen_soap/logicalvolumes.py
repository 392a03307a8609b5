"""Logical volumes of the node, through lvcreate(8), lvremove(8), lvrename(8) and lvchange(8); what is there is asked of lvs(8).

Everything may be run again after a crash and ends what was begun. Errors are Failed with LVM's own
words, its `why` left to whoever knows the step. LVM locks its metadata itself and waits for others.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from dtcxen_soap import claims, lvm
from dtcxen_soap.errors import Failed
from dtcxen_soap.planprint import paste
from dtcxen_soap.plans import Run
from dtcxen_soap.processes import Watch, capture, report, run, unheard
from dtcxen_soap.vps import Mib

COMMAND_SECONDS = 600
WIPE_SECONDS = 7 * 24 * 3600
PATIENCE_SECONDS = 5.0
"""udev and blkid look into a volume for a moment after every change of it, and a dead domU's backend lets go late."""


def find(vg: str, lv: str) -> lvm.Volume | None:
    """A volume by its exact name; None when there is none."""
    return _volumes(vg).get(lv)


def _volumes(vg: str) -> dict[str, lvm.Volume]:
    argv = lvm.volumes_of(vg)
    ran = capture(argv, COMMAND_SECONDS)
    if ran.code:
        raise Failed("", f"{argv[0]} ended with code {ran.code}: {report(argv, COMMAND_SECONDS)[1]}", paste(argv))
    try:
        return {volume.name: volume for volume in lvm.parse_volumes(ran.output)}
    except ValueError as error:
        raise Failed("", str(error), paste(argv), ran.output) from None


def make(vg: str, lv: str, size: Mib, pool: str, tags: tuple[str, ...]) -> None:
    """Make a volume, thin when `pool` names its pool; Failed when the name is taken or there is no room."""
    _must(lvm.make(vg, lv, size, pool, tags))


def remove(vg: str, lv: str, wipe: bool, watch: Watch) -> None:
    """Remove a volume, overwritten with zeros before if so asked; fine when it is gone, Failed while anything has it open."""
    if find(vg, lv) is None:
        return
    _await_free(lvm.path_of(vg, lv))
    if wipe:
        _wipe(vg, lv, watch)
    _must(lvm.remove(vg, lv))


def _await_free(path: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while found := claims.of(path):
        if time.monotonic() > deadline:
            raise Failed("", f"{path} is {', '.join(found)}")
        time.sleep(0.1)


def _wipe(vg: str, lv: str, watch: Watch) -> None:
    """It may take hours; Cancelled when the watch says so."""
    step = Run(why="Overwrite a volume with zeros.", argv=lvm.zero(lvm.path_of(vg, lv)), timeout_seconds=WIPE_SECONDS)
    ran = run(step, unheard, watch)
    if ran.code:
        raise Failed("", f"{step.argv[0]} ended with code {ran.code}: {' '.join(ran.output.split())}", paste(step.argv), ran.output)


def rename(vg: str, source: str, target: str) -> None:
    """Rename a volume; fine when it was renamed already, Failed when the target's name is taken."""
    names = _volumes(vg)
    if source in names or target not in names:
        _must(lvm.rename(vg, source, target))


def exchange(vg: str, source: str, target: str, keep: str) -> None:
    """Put `source` in the place of `target`, which lives on as `keep`; run again after a crash it goes on."""
    swap(set(_volumes(vg)), lambda old, new: _must(lvm.rename(vg, old, new)), source, target, keep)


def swap(names: set[str], rename: Callable[[str, str], None], source: str, target: str, keep: str) -> None:
    """The order of an exchange, since LVM has none: for a moment nothing has the target's name.

    A second rename that fails takes the first one back. A crash between the two leaves `source` and
    `keep`; this, or the undo of the exchange, goes on from there. Failed before any change when
    `source` is missing, or `keep` would be lost.
    """
    if source not in names:
        if target in names and keep in names:
            return
        raise Failed("", f"there is no volume {source}")
    if target not in names:
        rename(source, target)
        return
    if keep in names:
        raise Failed("", f"there is a volume {keep} already")
    rename(target, keep)
    try:
        rename(source, target)
    except Failed:
        rename(keep, target)
        raise


def tag(vg: str, lv: str, add: tuple[str, ...], remove: tuple[str, ...]) -> None:
    """Add tags to a volume and take tags off it, in one change."""
    if add or remove:
        _must(lvm.tag(vg, lv, add, remove))


def _must(argv: tuple[str, ...]) -> None:
    code, said = report(argv, COMMAND_SECONDS)
    if code:
        raise Failed("", f"{argv[0]} ended with code {code}: {said}", paste(argv), said)
