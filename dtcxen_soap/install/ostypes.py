"""What can be installed, behind one door: Debian by its settings, the bundles of os_dir, and what os.d describes.

Everything that differs between OS types is asked here, so that reinstall.py knows none of them: whether
the type can be installed, what is checked before anything is touched, how the tree is filled.
"""

from __future__ import annotations

import dataclasses
import functools

from dtcxen_soap.errors import Failed, ParameterFault, Refused
from dtcxen_soap.facts import Facts
from dtcxen_soap.install import bundle, contract, debootstrap, dnf, remotebundle
from dtcxen_soap.install import finish as finishing
from dtcxen_soap.install.golden import Recipe
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.osfacts import BY_HAND, BundleFact, OsTypeFact, RemoteBundle, RpmDescription, SuiteDescription
from dtcxen_soap.planprint import paste
from dtcxen_soap.plans import Run, Step
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import BootMode

_VERSIONS = {"mmdebstrap": ("mmdebstrap", "--version"), "dnf-3": ("dpkg-query", "--show", "dnf", "rpm")}
"""What tells an installer's version without touching anything: dnf itself would open the node's own rpm database."""

# -- before anything is touched -------------------------------------------------------------------


def refuse_unready(os_type: str, settings: Settings, facts: Facts) -> None:
    """Raise Refused when this node has no such type, Failed when it lacks what the type needs, or cannot trust what would run."""
    if facts.node.unsafe_postinstall:
        raise Failed("Run the node's own post-installation script.", "others may write " + ", ".join(facts.node.unsafe_postinstall))
    if facts.os_type is not None:
        _refuse_undescribed(facts.os_type, facts.bundle)
        _refuse_unready_described(facts.os_type, settings, facts)
    elif facts.bundle is not None:
        bundle.refuse_unready(facts.bundle, facts.node)
    elif os_type == debootstrap.OS_TYPE:
        debootstrap.refuse_unready(settings, facts.node)
    else:
        known = ", ".join(dict.fromkeys((debootstrap.OS_TYPE, *BY_HAND, *facts.bundles, *facts.os_types)))
        raise Refused(ParameterFault("reinstallOS", "osType", "InvalidParameter", f"{os_type!r} cannot be installed here", f"one of {known}"))


def _refuse_undescribed(os_type: OsTypeFact, twin: BundleFact | None) -> None:
    """Raise Failed unless the description is whole, the only one of its name, and its keys are there."""
    twins = (f"{twin.path} and {os_type.path} are both called {os_type.name}: remove or rename one of them",) if twin else ()
    if problems := (*twins, *os_type.problems, *os_type.lacking):
        raise Failed(f"Install {os_type.name}.", "; ".join(problems))


def _refuse_unready_described(os_type: OsTypeFact, settings: Settings, facts: Facts) -> None:
    match os_type.description:
        case SuiteDescription():
            debootstrap.refuse_without_tools(f"Install {os_type.name}.", facts.node)
        case RpmDescription() as described:
            dnf.refuse_unready(described, facts.node)
        case RemoteBundle() as remote:
            remotebundle.refuse_unready(os_type, remote, settings, facts.node)


def boot_mode(facts: Facts) -> BootMode | None:
    """The boot mode that the type itself asks for."""
    if facts.os_type is not None:
        return facts.os_type.description.boot_mode if facts.os_type.description else None
    return facts.bundle.boot_mode if facts.bundle else None


def recipe(boot: BootMode, settings: Settings, facts: Facts) -> Recipe | None:
    """How the type's tree is filled where that is the same for every VPS that boots so; None where it is not."""
    if found := _bundle(settings, facts):
        made = bundle.recipe(found, settings)
        return dataclasses.replace(made, checks=checks(settings, facts)) if made else None
    fill = functools.partial(_system, boot=boot, settings=settings, facts=facts)
    ran = [step for step in fill("TREE") if isinstance(step, Run)]
    described = (("description", facts.os_type.digest),) if facts.os_type else ()
    return Recipe(made_from=(*described, *((step.argv[0], paste(step.argv[1:])) for step in ran)), fill=fill, tools=tuple(dict.fromkeys(_VERSIONS[step.argv[0]] for step in ran)))


def _bundle(settings: Settings, facts: Facts) -> BundleFact | None:
    """The bundle that is installed, of os_dir or from somewhere else."""
    if facts.os_type is not None and isinstance(facts.os_type.description, RemoteBundle):
        return remotebundle.as_bundle(facts.os_type, facts.os_type.description, settings)
    return facts.bundle


def checks(settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """What is verified, and perhaps fetched, before any disk is touched."""
    if facts.os_type is not None and isinstance(facts.os_type.description, RemoteBundle):
        return remotebundle.checks(facts.os_type, facts.os_type.description, settings)
    return bundle.checks(facts.bundle) if facts.bundle is not None else ()


def packages(settings: Settings, facts: Facts) -> tuple[str, ...] | None:
    """What is installed beside the base system by name; None for an image, whose content nobody tells beforehand."""
    if _bundle(settings, facts) is not None:
        return None
    match facts.os_type.description if facts.os_type else None:
        case SuiteDescription() | RpmDescription() as described:
            return described.packages
        case _:
            return settings.debian_added_debs


# -- into the tree --------------------------------------------------------------------------------


def mount_options(facts: Facts) -> str:
    """How the tree is mounted. A bundle's scripts may chroot by themselves, and need the tree's devices then."""
    return "nosuid" if facts.bundle is not None else "nodev,nosuid"


def fill(guest: Guest, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """The system into the empty tree."""
    if found := _bundle(settings, facts):
        return bundle.fill(found, guest, settings)
    return _system(guest.tree, guest.vps.boot, settings, facts)


def finish(guest: Guest, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """What makes it this VPS's own system, once it is in the tree."""
    own, found = _postinstall(guest, settings), _bundle(settings, facts)
    return bundle.steps(found, guest, settings, postinstall=own) if found is not None else (finishing.look(guest), *own)


def _system(tree: str, boot: BootMode, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """What fills the tree, whoever the VPS is."""
    match facts.os_type.description if facts.os_type else None:
        case SuiteDescription() as suite:
            return debootstrap.described_steps(tree, suite, settings, boot)
        case RpmDescription() as rpms:
            return dnf.steps(tree, rpms, settings, boot)
        case _:
            return debootstrap.steps(tree, settings, facts.node, boot)


def _postinstall(guest: Guest, settings: Settings) -> tuple[Step, ...]:
    """The original's custom_postinstall_script, with the flags that it always got."""
    if settings.custom_postinstall_script is None:
        return ()
    return (Run(
        why="Run the node's own post-installation script.", argv=contract.script_argv(settings.custom_postinstall_script, guest),
        contained=True, timeout_seconds=settings.install_timeout_minutes * 60),)
