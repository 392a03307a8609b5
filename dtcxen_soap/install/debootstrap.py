"""Install Debian (and its kin) into a mounted tree with mmdebstrap.

mmdebstrap made the same packages in little more than half of debootstrap's time here, because apt
resolves and unpacks everything in one go. A VPS that boots by a kernel of its own gets Debian's, and
update-grub, so that the menu follows its owner's upgrades. Signatures are required: the release must be signed by the keyring of
`debian_keyring`, or by Debian's own; a suite that os.d describes, by the keyring named there.
"""

from __future__ import annotations

from dtcxen_soap.errors import Failed, ParameterFault, Refused
from dtcxen_soap.facts import AptSource, NodeFact
from dtcxen_soap.install.guestkernel import MODES
from dtcxen_soap.osfacts import SuiteDescription
from dtcxen_soap.plans import Run, Step
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import BootMode

OS_TYPE = "debian"
DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
COMMANDS = ("mmdebstrap", "unshare", "chroot")
_MARKS = (
    "running apt-get update", "downloading packages with apt", "extracting archives", "installing essential packages",
    "installing remaining packages", "cleaning package lists")
KERNEL_PACKAGES = ("linux-image-amd64", "grub2-common")
"""The kernel with what makes its initial RAM disk, and update-grub. GRUB itself is the node's: it has images for amd64 only."""
_WEIGHT = 60


def release(settings: Settings, node: NodeFact) -> str:
    """The release to install; Refused when neither the settings nor the node name one."""
    chosen = settings.debian_release or node.release
    if not chosen:
        raise Refused(ParameterFault(
            "reinstallOS", "osType", "InvalidParameter", "debian: neither debian_release nor the node's release is known", "debian_release in the node's configuration"))
    return chosen


def sources(settings: Settings, node: NodeFact) -> tuple[AptSource, ...]:
    """The configured mirror, else the node's own sources of its release, for the release to install.

    Failed (the admin's to mend) when the node has no source that would serve.
    """
    wanted = release(settings, node)
    if settings.debian_repo:
        return (AptSource(settings.debian_repo, wanted, settings.debian_components, _keyring(settings)),)
    own = tuple(
        AptSource(source.uri, wanted + source.suite.removeprefix(node.release), source.components, source.signed_by or _keyring(settings))
        for source in node.apt_sources if source.suite in _suites(node.release) and source.signed_by in ("", _keyring(settings), DEBIAN_KEYRING))
    if not own:
        raise Failed("Choose a mirror.", f"the node's apt sources name no mirror for {node.release}: set debian_repo")
    return tuple(dict.fromkeys(own))


def _keyring(settings: Settings) -> str:
    return settings.debian_keyring or DEBIAN_KEYRING


def _suites(name: str) -> tuple[str, ...]:
    return (name, f"{name}-updates", f"{name}-security", f"{name}/updates") if name else ()


def refuse_unready(settings: Settings, node: NodeFact) -> None:
    """Raise Failed, before anything is touched, when the node lacks what the installation needs."""
    refuse_without_tools("Install Debian.", node)
    for keyring in {source.signed_by for source in sources(settings, node)}:
        if keyring not in node.keyrings:
            raise Failed("Install Debian.", f"the keyring {keyring} is not there: nothing could be verified")


def refuse_without_tools(why: str, node: NodeFact) -> None:
    """Raise Failed when the node lacks a command."""
    lacking = [command for command in COMMANDS if command not in node.commands]
    if lacking:
        raise Failed(why, f"the node lacks {', '.join(lacking)}: install the packages")


def steps(tree: str, settings: Settings, node: NodeFact, boot: BootMode = BootMode.DIRECT) -> tuple[Step, ...]:
    """The step that fills the empty tree; apt in the VPS keeps the sources it was made from."""
    wanted = release(settings, node)
    added = (*settings.debian_added_debs, *(KERNEL_PACKAGES if boot in MODES else ()))
    return (_step(f"Install Debian {wanted}", tree, wanted, _keyring(settings), added, sources(settings, node), settings),)


def described_steps(tree: str, description: SuiteDescription, settings: Settings, boot: BootMode = BootMode.DIRECT) -> tuple[Step, ...]:
    """The step that fills the empty tree with a suite of os.d, from its mirror only."""
    found = tuple(AptSource(description.mirror, suite, description.components, description.keyring) for suite in (description.release, *description.more_suites))
    added = (*description.packages, *(description.kernel_packages if boot in MODES else ()))
    return (_step(f"Install {description.label or f'{description.name} {description.release}'}", tree, description.release, description.keyring, added, found, settings),)


def _step(what: str, tree: str, wanted: str, keyring: str, added: tuple[str, ...], found: tuple[AptSource, ...], settings: Settings) -> Step:
    argv = ["mmdebstrap", "--mode=root", "--format=directory", "--variant=important", f"--keyring={keyring}"]
    if added:
        argv.append(f"--include={','.join(added)}")
    argv += [wanted, tree, *(str(source) for source in found)]
    return Run(
        why=f"{what}, verified by its signatures.", argv=tuple(argv), contained=True, marks=_MARKS, weight=_WEIGHT,
        timeout_seconds=settings.install_timeout_minutes * 60)
