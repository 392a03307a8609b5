"""What can be installed, as found on the node: bundles of os_dir, and OS types that the admin describes in os.d/NAME.toml.

A description is the same for every VPS: addresses, names and passwords come later. Nothing here holds a
secret; addresses of repositories with a password in them are refused when they are read.
"""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap.vps import BootMode, Mib

BY_HAND = ("manual", "netbsd", "xenhvm")
"""OS types of which nothing is installed here: the VPS is made ready, and its admin or owner does the rest."""
RPM_DATABASE = "/var/lib/rpm"
"""Where most RPM systems keep their database; Fedora since 36 has it in /usr/lib/sysimage/rpm."""


@dataclass(frozen=True, kw_only=True)
class _Described:
    """What every description has: the OS type's name, words for people, and the boot mode that it wants."""

    name: str
    label: str = ""
    help: str = ""
    boot_mode: BootMode | None = None


@dataclass(frozen=True, kw_only=True)
class SuiteDescription(_Described):
    """A release of Debian's kin, installed by mmdebstrap. `keyring` is a file of the node and must have signed the release.

    `more_suites` are further suites of the same mirror (noble-updates), `kernel_packages` what a VPS gets that boots a kernel of its own.
    """

    release: str
    mirror: str
    components: tuple[str, ...]
    keyring: str
    more_suites: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    kernel_packages: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RpmRepository:
    """A repository as dnf.conf(5) means it, found in exactly one of three ways; its packages must be signed by one of `gpgkey`.

    With `repo_gpgcheck` its list of packages must be signed too.
    """

    name: str
    gpgkey: tuple[str, ...]
    baseurl: tuple[str, ...] = ()
    mirrorlist: str = ""
    metalink: str = ""
    repo_gpgcheck: bool = False


@dataclass(frozen=True, kw_only=True)
class RpmDescription(_Described):
    """An RPM system, installed by dnf. `groups` are dnf's, `rpm_database` the path of its database inside the system."""

    releasever: str
    repositories: tuple[RpmRepository, ...]
    packages: tuple[str, ...]
    groups: tuple[str, ...] = ()
    kernel_packages: tuple[str, ...] = ()
    rpm_database: str = RPM_DATABASE


@dataclass(frozen=True, kw_only=True)
class RemoteBundle(_Described):
    """A tarball of a whole system, fetched from `url` and used only when its SHA-256 is this one; at most `most_mib` long."""

    url: str
    sha256: str
    most_mib: Mib = Mib(8192)


Description = SuiteDescription | RpmDescription | RemoteBundle


@dataclass(frozen=True, kw_only=True)
class OsTypeFact:
    """One file of os.d. `description` is None when there are `problems`: each names the file, and the key if it is one's.

    `lacking` are files of keys that this node lacks or that others than root could have changed. `digest` is the SHA-256 of the file itself.
    Of a remote bundle: `kept` are the names of what its store holds, `token` a fresh name for what is fetched now.
    """

    name: str
    path: str
    description: Description | None
    problems: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    digest: str = ""
    kept: tuple[str, ...] = ()
    token: str = ""


@dataclass(frozen=True)
class BundleFact:
    """A bundle of os_dir: the scripts it has, its tarballs (both as names within `path`), and why it must not be run, if so.

    `unsafe` is what others could have changed, `problems` what is wrong with its manifest, which may name its `boot_mode`, and may say that
    install_os only `unpacks` the tarball. `identity` tells the tarballs from any others that may come under the same names; `digests` are the
    SHA-256 that the manifest promises of tarballs, by their names.
    """

    name: str
    path: str
    scripts: frozenset[str]
    tarballs: tuple[str, ...]
    unsafe: tuple[str, ...] = ()
    boot_mode: BootMode | None = None
    problems: tuple[str, ...] = ()
    unpacks: bool = False
    identity: tuple[str, ...] = ()
    digests: tuple[tuple[str, str], ...] = ()


def keys(description: Description) -> tuple[str, ...]:
    """The files of keys that a description trusts."""
    match description:
        case SuiteDescription():
            return (description.keyring,)
        case RpmDescription():
            return tuple(dict.fromkeys(key for repository in description.repositories for key in repository.gpgkey))
        case RemoteBundle():
            return ()
