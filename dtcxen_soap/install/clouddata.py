"""The owner's #cloud-config, for a tree that has cloud-init: a seed directory in the tree itself.

Source: cloud-init's page on NoCloud; ds-identify, which finds that directory.
"""

from __future__ import annotations

from dtcxen_soap import cloudseed
from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import Content, Step, TreeDirectory, TreeWrite

_PROGRAMS = ("usr/bin/cloud-init", "bin/cloud-init")
_OFF = "etc/cloud/cloud-init.disabled"
TEXTS = ()
GLOBS = (*_PROGRAMS, _OFF)


def steps(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """Nothing without such data. Failed when nothing in the tree would read it: the old system still stands then."""
    if guest.cloud_config is None:
        return ()
    why = "Hand the owner's #cloud-config to cloud-init."
    if not any(tree.has(path) for path in _PROGRAMS):
        raise Failed(why, "the system in the tree has no cloud-init: a script (#!) would be run, or an OS type with cloud-init would read it")
    if tree.has(_OFF):
        raise Failed(why, f"the system in the tree has cloud-init switched off (/{_OFF})")

    def write(why: str, path: str, content: Content, mode: int) -> Step:
        return TreeWrite(why=why, tree=guest.tree, path=path, content=content, mode=mode)

    meta = cloudseed.meta_data(guest.instance, guest.hostname)
    return (
        TreeDirectory(why="Have a place for what cloud-init is told, for root alone.", tree=guest.tree, path=cloudseed.DIRECTORY, mode=0o700),
        write("Tell cloud-init that this is a new system.", f"{cloudseed.DIRECTORY}/{cloudseed.META_DATA}", meta, 0o600),
        write(why, f"{cloudseed.DIRECTORY}/{cloudseed.USER_DATA}", guest.cloud_config, 0o600),
        write("Have cloud-init look nowhere else.", cloudseed.SOURCES_FILE, cloudseed.SOURCES, 0o644))
