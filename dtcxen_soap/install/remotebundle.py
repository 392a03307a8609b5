"""A bundle from somewhere else: fetched by its description, used only when its SHA-256 is the one that stands there.

What is fetched goes into a quarantine that only root enters, under a fresh name, by a curl that can write nowhere
else, no more than the description allows, and in no other scheme than it names. Nothing is unpacked before its
SHA-256 was compared and its members judged as those of every bundle; then it is kept under its hash. The next
installation reads all of it again before it is used: what was altered meanwhile is removed and never used.

A remote bundle is a tarball of a whole system: scripts of its own it has none. Sources: curl(1), prlimit(1).
"""

from __future__ import annotations

import functools
import posixpath
from urllib.parse import urlsplit

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import NodeFact
from dtcxen_soap.install import bundle, osdescription
from dtcxen_soap.osfacts import BundleFact, OsTypeFact, RemoteBundle
from dtcxen_soap.plans import CheckDigest, Confinement, MakeDirectory, RemoveFile, Run, Step, WriteFile
from dtcxen_soap.settings import Settings

COMMANDS = ("curl", "prlimit", "mv")
SLOWEST_BYTES, SLOW_SECONDS = 1000, 60
"""A server that sends less than so many bytes per second for so long is given up."""
_CONNECT_SECONDS = 30
_TOO_LONG = 128 + 25
"""Ended by SIGXFSZ, as what writes more than prlimit's fsize is."""
_WEIGHT = 20


def as_bundle(os_type: OsTypeFact, description: RemoteBundle, settings: Settings) -> BundleFact:
    """The bundle as it is kept once it was fetched."""
    store = f"{settings.os_store_dir}/bundles/{os_type.name}"
    return BundleFact(os_type.name, store, frozenset(), (_name(description),), boot_mode=description.boot_mode, identity=(description.sha256,))


def _name(description: RemoteBundle) -> str:
    return description.sha256 + _suffix(description)


def _suffix(description: RemoteBundle) -> str:
    """What tells tar how it was packed."""
    path = urlsplit(description.url).path
    return next(suffix for suffix in sorted(osdescription.SUFFIXES, key=len, reverse=True) if path.endswith(suffix))


def refuse_unready(os_type: OsTypeFact, description: RemoteBundle, settings: Settings, node: NodeFact) -> None:
    """Raise Failed, before anything is touched, when the node lacks what fetches or unpacks it."""
    if lacking := [command for command in COMMANDS if command not in node.commands]:
        raise Failed(f"Install {os_type.name}.", f"the node lacks {', '.join(lacking)}: install the packages")
    bundle.refuse_unready(as_bundle(os_type, description, settings), node)


def checks(os_type: OsTypeFact, description: RemoteBundle, settings: Settings) -> tuple[Step, ...]:
    """What happens before any disk is touched: the kept one is verified, or a new one is fetched, verified and kept."""
    kept = as_bundle(os_type, description, settings)
    if _name(description) in os_type.kept:
        return _verify(kept, description)
    here = f"{settings.os_store_dir}/quarantine"
    fetched = BundleFact(os_type.name, here, frozenset(), (f"{os_type.token}{_suffix(description)}",))
    return (*_fetch(fetched, description, settings), *_verify(fetched, description), *_keep(fetched, kept, os_type))


def _verify(where: BundleFact, description: RemoteBundle) -> tuple[Step, ...]:
    """First that it is the one that was described, then that it may be unpacked."""
    path = posixpath.join(where.path, where.tarballs[0])
    return (CheckDigest(why=f"Verify that {path} is what was described, by its SHA-256.", path=path, sha256=description.sha256, weight=2), *bundle.checks(where))


def _fetch(into: BundleFact, description: RemoteBundle, settings: Settings) -> tuple[Step, ...]:
    """An empty file first, so that whatever curl leaves is removed if anything fails, also by a later daemon."""
    path = posixpath.join(into.path, into.tarballs[0])
    seconds = settings.install_timeout_minutes * 60
    return (
        MakeDirectory(why="Have a place for what is not verified yet.", path=into.path, mode=0o700),
        WriteFile(why="Make a new file there.", path=path, content="", mode=0o600, undo=(RemoveFile(why="Remove what was fetched.", path=path),)),
        Run(why=f"Fetch {description.url}.", argv=_argv(path, description, seconds), contained=True, confinement=Confinement(writable=(into.path,)),
            timeout_seconds=seconds + 10, words=_reason, weight=_WEIGHT,
            outcomes=((_TOO_LONG, f"it is longer than {description.most_mib} MiB, which most_mib allows"),)),
    )


def _argv(path: str, description: RemoteBundle, seconds: int) -> tuple[str, ...]:
    """curl without anybody's configuration; `fsize` holds also where the server does not say how long it will be."""
    scheme = urlsplit(description.url).scheme
    most = description.most_mib.bytes
    return (
        "prlimit", f"--fsize={most}", "--", "curl", "--disable", "--globoff", "--fail", "--silent", "--show-error",
        "--proto", f"={scheme}", "--proto-redir", "=https" if scheme == "https" else "=http,https", "--location", "--max-redirs", "5",
        "--connect-timeout", str(_CONNECT_SECONDS), "--max-time", str(seconds), "--speed-limit", str(SLOWEST_BYTES), "--speed-time", str(SLOW_SECONDS),
        "--max-filesize", str(most), "--output", path, "--url", description.url)


def _reason(output: str) -> str:
    """curl's own word."""
    return next((line for line in reversed(output.splitlines()) if line.startswith("curl: ")), "")


def _keep(fetched: BundleFact, kept: BundleFact, os_type: OsTypeFact) -> tuple[Step, ...]:
    """Into the store, where another installation may have put the same one meanwhile; earlier ones of the same name go."""
    source, target = (posixpath.join(each.path, each.tarballs[0]) for each in (fetched, kept))
    drop = functools.partial(RemoveFile, why="Let go of one that the description no longer means.", may_fail=True)
    return (
        MakeDirectory(why="Have a place for verified bundles.", path=kept.path, mode=0o700),
        Run(why="Keep it under its hash.", argv=("mv", "--force", "--no-target-directory", "--", source, target)),
        *(drop(path=posixpath.join(kept.path, name)) for name in os_type.kept))
