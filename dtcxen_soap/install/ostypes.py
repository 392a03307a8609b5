"""What can be installed, behind one door: Debian by its settings, and the bundles of os_dir.

Everything that differs between OS types is asked here, so that reinstall.py knows none of them: whether
the type can be installed, what is checked before anything is touched, how the tree is filled.
"""

from __future__ import annotations

from dtcxen_soap.errors import ParameterFault, Refused
from dtcxen_soap.facts import Facts
from dtcxen_soap.install import bundle, contract, debootstrap
from dtcxen_soap.install import finish as finishing
from dtcxen_soap.install.golden import Recipe
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import Run, Step
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import BootMode

# -- before anything is touched -------------------------------------------------------------------


def refuse_unready(os_type: str, settings: Settings, facts: Facts) -> None:
    """Raise Refused when this node has no such type, Failed when it lacks what the type needs."""
    if facts.bundle is not None:
        bundle.refuse_unready(facts.bundle, facts.node)
    elif os_type == debootstrap.OS_TYPE:
        debootstrap.refuse_unready(settings, facts.node)
    else:
        known = ", ".join((debootstrap.OS_TYPE, *facts.bundles))
        raise Refused(ParameterFault("reinstallOS", "osType", "InvalidParameter", f"{os_type!r} cannot be installed here", f"one of {known}"))


def boot_mode(facts: Facts) -> BootMode | None:
    """The boot mode that the type itself asks for."""
    return facts.bundle.boot_mode if facts.bundle else None


def recipe(boot: BootMode, settings: Settings, facts: Facts) -> Recipe | None:
    """How the type's tree is filled where that is the same for every VPS that boots so; None where it is not."""
    return bundle.recipe(facts.bundle, settings) if facts.bundle is not None else debootstrap.recipe(settings, facts.node, boot)


def checks(facts: Facts) -> tuple[Step, ...]:
    """What is verified before any disk is touched."""
    return bundle.checks(facts.bundle) if facts.bundle is not None else ()


# -- into the tree --------------------------------------------------------------------------------


def mount_options(facts: Facts) -> str:
    """How the tree is mounted. A bundle's scripts may chroot by themselves, and need the tree's devices then."""
    return "nosuid" if facts.bundle is not None else "nodev,nosuid"


def fill(guest: Guest, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """The system into the empty tree."""
    if facts.bundle is not None:
        return bundle.fill(facts.bundle, guest, settings)
    return debootstrap.steps(guest.tree, settings, facts.node, guest.vps.boot)


def finish(guest: Guest, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """What makes it this VPS's own system, once it is in the tree."""
    own = _postinstall(guest, settings)
    return bundle.steps(facts.bundle, guest, settings, postinstall=own) if facts.bundle is not None else (finishing.look(guest), *own)


def _postinstall(guest: Guest, settings: Settings) -> tuple[Step, ...]:
    """The original's custom_postinstall_script, with the flags that it always got."""
    if settings.custom_postinstall_script is None:
        return ()
    return (Run(
        why="Run the node's own post-installation script.", argv=contract.script_argv(settings.custom_postinstall_script, guest),
        contained=True, timeout_seconds=settings.install_timeout_minutes * 60),)
