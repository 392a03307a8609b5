"""Install a bundle of os_dir into a mounted tree: its scripts as they are, in the original's order, or its tarball alone.

The scripts are the admin's and run as root in dom0, but in a mount namespace where only the tree
can be written, and in a PID namespace that ends with them. There they find the original's paths:
/usr/share/dtc-xen, /usr/sbin/dtc-xen_domUconf_*, /usr/share/dtc-xen-os and /etc/dtc-xen, also on a
node that keeps these elsewhere. Order (dtc_reinstall_os): install_os, custom_os, then our finish
with the password, setup_network, the node's own post-installation, last_stage_custom.
"""

from __future__ import annotations

import functools
import posixpath

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import NodeFact
from dtcxen_soap.install import contract, finish
from dtcxen_soap.install.golden import Recipe
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.osfacts import BundleFact
from dtcxen_soap.plans import CheckDigest, CheckTarball, Confinement, Run, ServicesOff, Step
from dtcxen_soap.settings import Settings

INSTALL, CUSTOM, NETWORK, LAST = contract.SCRIPTS
_PACKERS = {".gz": "gzip", ".tgz": "gzip", ".xz": "xz", ".zst": "zstd"}
_OVERLAY = posixpath.join(posixpath.dirname(posixpath.dirname(__file__)), "data/overlay")
_WEIGHT = 60
_WHY = {
    INSTALL: "Run the bundle's install_os: it puts the system into the tree.",
    CUSTOM: "Run the bundle's custom_os: its own customisation.",
    NETWORK: "Run the bundle's setup_network.",
    LAST: "Run the bundle's last_stage_custom: its last word.",
}


# -- before anything is touched -------------------------------------------------------------------


def refuse_unready(bundle: BundleFact, node: NodeFact) -> None:
    """Raise Failed when the bundle must not run, is incomplete, or needs what the node lacks."""
    why = f"Install the bundle {bundle.name}."
    if bundle.unsafe:
        raise Failed(why, f"its scripts would run as root, and others than root could have changed them: {'; '.join(bundle.unsafe)}")
    if bundle.problems:
        raise Failed(why, "; ".join(bundle.problems))
    if INSTALL not in bundle.scripts and len(bundle.tarballs) != 1:
        raise Failed(why, f"it has no {INSTALL}, and {len(bundle.tarballs) or 'no'} tarballs where one would do: {bundle.path}")
    lacking = [command for command in _commands(bundle) if command not in node.commands]
    if lacking:
        raise Failed(why, f"the node lacks {', '.join(lacking)}: install the packages")


def _commands(bundle: BundleFact) -> tuple[str, ...]:
    """What must be there to run the bundle, or to unpack it."""
    packers = [packer for tarball in bundle.tarballs for suffix, packer in _PACKERS.items() if tarball.endswith(suffix)]
    return tuple(dict.fromkeys(("unshare", "tar", "sh", *packers)))


def checks(bundle: BundleFact, most_bytes: int = contract.MOST_BYTES) -> tuple[Step, ...]:
    """Read every tarball of the bundle to its end: it is what the manifest promises, and may be unpacked. One of several need not be a whole system."""
    promised = tuple(
        CheckDigest(
            why=f"Verify that {tarball} is the one that the manifest tells of, by its SHA-256.", path=posixpath.join(bundle.path, tarball), sha256=digest, keep=True, weight=2)
        for tarball, digest in bundle.digests)
    judge = functools.partial(contract.judge, most_bytes=most_bytes, whole_system=len(bundle.tarballs) == 1)
    return promised + tuple(
        CheckTarball(why=f"Verify {tarball}: whole, and nothing in it leads out of the tree.", path=posixpath.join(bundle.path, tarball), judge=judge, weight=4)
        for tarball in bundle.tarballs)


# -- into the tree --------------------------------------------------------------------------------


def recipe(bundle: BundleFact, settings: Settings) -> Recipe | None:
    """The tarball, where unpacking it is all that makes the system; None when a script makes it, which may do something else for every VPS."""
    if len(bundle.tarballs) != 1 or (INSTALL in bundle.scripts and not bundle.unpacks):
        return None
    return Recipe(
        made_from=(("bundle", bundle.name), *(("tarball", each) for each in bundle.identity)), fill=lambda tree: (_unpack(bundle, tree, settings),), tools=(("tar", "--version"),),
        checks=checks(bundle), options="nosuid")


def fill(bundle: BundleFact, guest: Guest, settings: Settings) -> tuple[Step, ...]:
    """The bundle's system into the empty tree."""
    return _script(INSTALL, bundle, guest, settings) or (_unpack(bundle, guest.tree, settings),)


def steps(bundle: BundleFact, guest: Guest, settings: Settings, *, postinstall: tuple[Step, ...] = ()) -> tuple[Step, ...]:
    """Everything that follows once the system is in the tree. `postinstall` runs before last_stage_custom, as in the original.

    Services are kept off once there is a system: in the empty tree policy-rc.d would stand in its way.
    """
    inner = (
        *_script(CUSTOM, bundle, guest, settings),
        finish.look(guest, own_network=NETWORK in bundle.scripts),
        *_script(NETWORK, bundle, guest, settings),
        *postinstall,
        *_script(LAST, bundle, guest, settings),
    )
    return (ServicesOff(why="Keep services from starting in the tree.", tree=guest.tree, steps=inner),)


def _script(name: str, bundle: BundleFact, guest: Guest, settings: Settings) -> tuple[Step, ...]:
    """One script with the original's flags; nothing when the bundle does not have it."""
    if name not in bundle.scripts:
        return ()
    return (Run(
        why=_WHY[name], argv=contract.script_argv(posixpath.join(bundle.path, name), guest), env=_environment(bundle), contained=True,
        confinement=Confinement(writable=(guest.tree,), overlays=overlays(settings)), timeout_seconds=settings.install_timeout_minutes * 60,
        weight=_WEIGHT if name == INSTALL else 2),)


def _environment(bundle: BundleFact) -> tuple[tuple[str, str], ...]:
    """OSDIR and DISTRO_FNAME, which install_os scripts of the time used to set for themselves."""
    only = (("DISTRO_FNAME", bundle.tarballs[0]),) if len(bundle.tarballs) == 1 else ()
    return (("OSDIR", bundle.path), *only)


def overlays(settings: Settings) -> tuple[tuple[str, str], ...]:
    """The original's paths as the scripts see them: ours, and the node's own directories where they lie elsewhere."""
    ours = ((f"{_OVERLAY}/share/dtc-xen", "/usr/share/dtc-xen"), (f"{_OVERLAY}/sbin", "/usr/sbin"))
    moved = ((settings.os_dir, "/usr/share/dtc-xen-os"), (settings.config_dir, "/etc/dtc-xen"))
    return (*ours, *(pair for pair in moved if pair[0] != pair[1]))


def _unpack(bundle: BundleFact, tree: str, settings: Settings) -> Step:
    """The tarball of a bundle without install_os; its file capabilities come along, which tar leaves out unless they are named."""
    (tarball,) = bundle.tarballs
    argv = ("tar", "--extract", "--numeric-owner", "--same-owner", "--preserve-permissions", "--acls", "--xattrs", "--xattrs-include=user.*",
            "--xattrs-include=security.capability", "--directory", tree, "--file", posixpath.join(bundle.path, tarball))
    return Run(
        why=f"Unpack {tarball} into the tree.", argv=argv, contained=True, confinement=Confinement(writable=(tree,)),
        timeout_seconds=settings.install_timeout_minutes * 60, weight=_WEIGHT)
