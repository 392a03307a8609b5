"""What can be installed, behind one door: Debian by its settings, the bundles of os_dir, and what os.d describes.

Everything that differs between OS types is asked here, so that reinstall.py knows none of them: whether
the type can be installed, what is checked before anything is touched, how the tree is filled.
"""

from __future__ import annotations

from dtcxen_soap.errors import Failed, ParameterFault, Refused
from dtcxen_soap.facts import BundleFact, Facts
from dtcxen_soap.install import bundle, contract, debootstrap, dnf, finish, remotebundle
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.osfacts import OsTypeFact, RemoteBundle, RpmDescription, SuiteDescription
from dtcxen_soap.plans import Run, Step
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import BootMode

# -- before anything is touched -------------------------------------------------------------------


def refuse_unready(os_type: str, settings: Settings, facts: Facts) -> None:
    """Raise Refused when this node has no such type, Failed when it lacks what the type needs."""
    if facts.os_type is not None:
        _refuse_undescribed(facts.os_type, facts.bundle)
        _refuse_unready_described(facts.os_type, settings, facts)
    elif facts.bundle is not None:
        bundle.refuse_unready(facts.bundle, facts.node)
    elif os_type == debootstrap.OS_TYPE:
        debootstrap.refuse_unready(settings, facts.node)
    else:
        known = ", ".join((debootstrap.OS_TYPE, *facts.bundles, *facts.os_types))
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


def checks(settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """What is verified, and perhaps fetched, before any disk is touched."""
    if facts.os_type is not None and isinstance(facts.os_type.description, RemoteBundle):
        return remotebundle.checks(facts.os_type, facts.os_type.description, settings)
    return bundle.checks(facts.bundle) if facts.bundle is not None else ()


# -- into the tree --------------------------------------------------------------------------------


def mount_options(facts: Facts) -> str:
    """How the tree is mounted. A bundle's scripts may chroot by themselves, and need the tree's devices then."""
    return "nosuid" if facts.bundle is not None else "nodev,nosuid"


def fill(guest: Guest, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """Everything between mounting the empty tree and unmounting the finished one."""
    own = _postinstall(guest, settings)
    if facts.bundle is not None:
        return bundle.steps(facts.bundle, guest, settings, postinstall=own)
    if facts.os_type is not None and isinstance(facts.os_type.description, RemoteBundle):
        return bundle.steps(remotebundle.as_bundle(facts.os_type, facts.os_type.description, settings), guest, settings, postinstall=own)
    return (*_system(guest, settings, facts), finish.look(guest), *own)


def _system(guest: Guest, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """What fills the tree, whoever the VPS is."""
    match facts.os_type.description if facts.os_type else None:
        case SuiteDescription() as suite:
            return debootstrap.described_steps(guest.tree, suite, settings, guest.vps.boot)
        case RpmDescription() as rpms:
            return dnf.steps(guest.tree, rpms, settings, guest.vps.boot)
        case _:
            return debootstrap.steps(guest.tree, settings, facts.node, guest.vps.boot)


def _postinstall(guest: Guest, settings: Settings) -> tuple[Step, ...]:
    """The original's custom_postinstall_script, with the flags that it always got."""
    if settings.custom_postinstall_script is None:
        return ()
    return (Run(
        why="Run the node's own post-installation script.", argv=contract.script_argv(settings.custom_postinstall_script, guest),
        contained=True, timeout_seconds=settings.install_timeout_minutes * 60),)
