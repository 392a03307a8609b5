"""Install an RPM system into a mounted tree with dnf, from the repositories of its description and from no other.

dnf gets a configuration of its own: none of the node's repositories, variables or plugins, every package
signed by a key that the description names, and only those keys are imported. Debian's rpm keeps its
database in the home of whoever calls it, so dnf's home is a directory of ours that says where the system
looks for it. It runs where only the tree can be written, so the node's own rpm database, caches and logs
stay as they are. The command is dnf-3, dnf 4's own name (Debian 12 has 4.14, Debian 13 4.23): where `dnf`
has become dnf 5, which reads its configuration otherwise, the lack of dnf-3 is told.

Sources: dnf.conf(5), dnf(8), rpm-config(5).
"""

from __future__ import annotations

import hashlib
import re

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import NodeFact
from dtcxen_soap.install.guestkernel import MODES
from dtcxen_soap.osfacts import RpmDescription, RpmRepository
from dtcxen_soap.plans import Confinement, MakeDirectory, Run, Step, TreeDirectory, WriteFile
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import BootMode

CENTOS = "centos"
"""The one OS type that the setting centos_added_rpms is for."""
COMMANDS = ("dnf-3", "unshare")
_MARKS = (
    "Dependencies resolved", "Downloading Packages", "Running transaction check", "Transaction test succeeded", "Running scriptlet", "Verifying", "Complete!")
_FAULT = re.compile(r"Error: .*|Package \S+ is not signed|Public key for \S+ is not installed.*|.*GPG key.*is not correct.*")
_NOWHERE = "/nonexistent"
"""Instead of the node's directories of repositories, variables and plugins."""
_WEIGHT = 60


def refuse_unready(description: RpmDescription, node: NodeFact) -> None:
    """Raise Failed, before anything is touched, when the node lacks what the installation needs."""
    if lacking := [command for command in COMMANDS if command not in node.commands]:
        raise Failed(f"Install {description.name}.", f"the node lacks {', '.join(lacking)}: install the packages (dnf-3 comes with Debian's package dnf)")


def steps(tree: str, description: RpmDescription, settings: Settings, boot: BootMode = BootMode.DIRECT) -> tuple[Step, ...]:
    """The steps that fill the empty tree. They hold nothing of the single VPS."""
    config = configuration(description)
    home = _home(description, config, settings)
    what = (*description.packages, *(f"@{group}" for group in description.groups), *_added(description, settings, boot))
    return (
        MakeDirectory(why="Have a home for dnf.", path=home, mode=0o700),
        WriteFile(why="Tell dnf the repositories of the description, and to require signatures.", path=f"{home}/dnf.conf", content=config),
        WriteFile(why="Tell rpm where the system's database is.", path=f"{home}/.rpmmacros", content=f"%_dbpath {description.rpm_database}\n"),
        *(TreeDirectory(why=f"Have a place for /{name} while packages are installed.", tree=tree, path=name) for name in ("dev", "proc")),
        _dnf(f"Install {description.label or description.name}, every package verified by its signature.", ("install", "--", *dict.fromkeys(what)),
             tree, home, description, settings, marks=_MARKS, weight=_WEIGHT),
        _dnf("Drop what dnf fetched.", ("clean", "all"), tree, home, description, settings),
    )


def _added(description: RpmDescription, settings: Settings, boot: BootMode) -> tuple[str, ...]:
    """What comes beside the described packages: the node's own choice, and a kernel where the VPS starts one of its own."""
    chosen = settings.centos_added_rpms if description.name == CENTOS else ()
    return (*chosen, *(description.kernel_packages if boot in MODES else ()))


def _home(description: RpmDescription, config: str, settings: Settings) -> str:
    """A directory per content, so that two installations side by side never change it under each other."""
    digest = hashlib.sha256(f"{config}\0{description.rpm_database}".encode()).hexdigest()
    return f"{settings.os_store_dir}/dnf/{description.name}-{digest[:16]}"


def _dnf(why: str, words: tuple[str, ...], tree: str, home: str, description: RpmDescription, settings: Settings, *, marks: tuple[str, ...] = (), weight: int = 1) -> Run:
    argv = ("dnf-3", f"--config={home}/dnf.conf", f"--installroot={tree}", f"--releasever={description.releasever}", *words)
    return Run(
        why=why, argv=argv, env=(("HOME", home),), contained=True, confinement=Confinement(writable=(tree,), furnished=tree), marks=marks, weight=weight,
        timeout_seconds=settings.install_timeout_minutes * 60, words=reason)


def reason(output: str) -> str:
    """What dnf says went wrong, in one line; "" when it says nothing that is known."""
    return "; ".join(dict.fromkeys(line.strip() for line in output.splitlines() if _FAULT.fullmatch(line.strip())))[:1000]


# -- dnf.conf -------------------------------------------------------------------------------------

_MAIN = f"""[main]
gpgcheck=1
localpkg_gpgcheck=1
reposdir={_NOWHERE}
varsdir={_NOWHERE}
pluginpath={_NOWHERE}
pluginconfpath={_NOWHERE}
plugins=0
assumeyes=1
best=1
color=never
install_weak_deps=0
keepcache=0
retries=4
timeout=30
minrate=1000
"""


def configuration(description: RpmDescription) -> str:
    """The whole dnf.conf of a description."""
    return _MAIN + "".join(_repository(each) for each in description.repositories)


def _repository(repository: RpmRepository) -> str:
    """One section; dnf knows the keys of a repository from here only."""
    ways = (("baseurl", "\n  ".join(repository.baseurl)), ("mirrorlist", repository.mirrorlist), ("metalink", repository.metalink))
    keys = "\n  ".join(f"file://{key}" for key in repository.gpgkey)
    found = "".join(f"{way}={value}\n" for way, value in ways if value)
    return (f"\n[{repository.name}]\nname={repository.name}\n{found}gpgkey={keys}\ngpgcheck=1\nrepo_gpgcheck={int(repository.repo_gpgcheck)}\n"
            "enabled=1\nskip_if_unavailable=0\n")
