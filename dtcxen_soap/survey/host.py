"""Reads a machine for `dtcxen setup-host`: what of a node is there, its network cards and files, what sshd says. Changes nothing."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator

import dtcxen_soap
from dtcxen_soap import hostplan, interfaces
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.hostfacts import FoundFile, HostFact
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey import accounts as survey_accounts

_SHELL = os.path.join(os.path.dirname(dtcxen_soap.__file__), "data/console/console")
_NET = "/sys/class/net"
_ETHERNET = "1"
"""ARPHRD_ETHER of if_arp.h."""
_MOST_BYTES = 1 << 20


def look(dom0: Dom0, chosen: Settings) -> HostFact:
    """The machine as it is now."""
    read = tuple(_interfaces(dom0, interfaces.MAIN, set()))
    commands = dom0.commands(hostplan.COMMANDS)
    cards = frozenset(name for name in dom0.listdir(_NET) if _kind(dom0, name) == _ETHERNET)
    return HostFact(
        present=frozenset(path for path in hostplan.asked_paths(chosen) if dom0.exists(path)),
        files={path: found for path in (*read, hostplan.SSHD_PART, hostplan.GRUB_PART) if (found := _file(dom0, path))},
        interfaces=read, cards=cards, bridges=frozenset(name for name in cards if dom0.exists(f"{_NET}/{name}/bridge")), commands=commands,
        console=dom0.read_text(_SHELL), sshd_knows=survey_accounts.sshd_knows(dom0), sshd_trouble=_sshd_trouble(dom0) if "sshd" in commands else "",
        systemd=dom0.exists("/run/systemd/system"))


def _kind(dom0: Dom0, name: str) -> str:
    try:
        return dom0.read_text(f"{_NET}/{name}/type").strip()
    except OSError:
        return ""


def _interfaces(dom0: Dom0, path: str, seen: set[str]) -> Iterator[str]:
    """The files that ifup reads, by `source` and `source-directory` of interfaces(5), each once."""
    found = _file(dom0, path)
    if found is None or path in seen:
        return
    seen.add(path)
    yield path
    for line in found.text.splitlines():
        match line.split():
            case ["source", pattern]:
                yield from (each for name in _matching(dom0, pattern) for each in _interfaces(dom0, name, seen))
            case ["source-directory", directory]:
                names = (name for name in dom0.listdir(directory) if interfaces.NAME.fullmatch(name) and "." not in name)
                yield from (each for name in names for each in _interfaces(dom0, f"{directory}/{name}", seen))


def _matching(dom0: Dom0, pattern: str) -> Iterator[str]:
    """The files of a pattern; only its last part may hold signs of one."""
    absolute = pattern if pattern.startswith("/") else f"{os.path.dirname(interfaces.MAIN)}/{pattern}"
    directory, name = os.path.split(absolute)
    return (f"{directory}/{each}" for each in dom0.listdir(directory) if not each.startswith(".") and fnmatch.fnmatchcase(each, name))


def _file(dom0: Dom0, path: str) -> FoundFile | None:
    """A file's text and mode, a link followed; None for anything else."""
    try:
        found = dom0.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return None
        return FoundFile(dom0.read_bytes(path, _MOST_BYTES).decode(errors="surrogateescape"), found.st_mode & 0o7777, not dom0.is_regular(path))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _sshd_trouble(dom0: Dom0) -> str:
    """Why nothing should be added to sshd's configuration as it is; "" when it can be."""
    ran = dom0.capture(("sshd", "-t"))
    if ran.code:
        return "; ".join(filter(None, ran.output.splitlines())) or f"sshd -t ended with code {ran.code}"
    if not dom0.exists(survey_accounts.SSHD):
        return ""
    included = any(line.split()[:1] == ["Include"] and survey_accounts.SSHD_PARTS in line for line in dom0.read_text(survey_accounts.SSHD, _MOST_BYTES).splitlines())
    return "" if included else f"{survey_accounts.SSHD} does not include {survey_accounts.SSHD_PARTS}/*.conf"
