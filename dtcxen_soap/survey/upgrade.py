"""Reads what the original left on a node, or on a copy of its files, for `dtcxen doctor`. Changes nothing and runs nothing but lvs and vgs.

Everything is read through a Tree: regular files only, no link leads out of the copy, nothing that
an owner planted is followed or opened. Pickles are listed and never opened. By subject:
upgrade_access.py (who gets in), upgrade_vpses.py.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey import upgrade_access as survey_upgrade_access
from dtcxen_soap.survey import upgrade_vpses as survey_upgrade_vpses
from dtcxen_soap.survey.upgrade_files import Place
from dtcxen_soap.upgrade.service import DEBUG_LOG, FIREWALL
from dtcxen_soap.upgrade.vpses import PROGRAMS
from dtcxen_soap.upgradefacts import FoundFile, FoundProcess, FoundText, OldNode

_OLD_SETTINGS = ("soap.conf", "dtc_create_vps.conf.sh")
_PROGRAM_FILES = (
    "/usr/sbin/dtc-soap-server", "/usr/sbin/dtc_reinstall_os", "/usr/sbin/dtc_setup_vps_disk", "/usr/sbin/dtc_kill_vps_disk", "/etc/init.d/dtc-xen", FIREWALL)
_START_LINK = re.compile(r"S[0-9]{2}dtc-xen(-soap)?")
_INSTALL_LOG = re.compile(r"(xen)?[0-9]{1,4}(\.setuplvm)?\.(log|stdout|stderr)(\.old)?")
_OURS = "dtcxen"
_PACKAGE = "dtcxen_soap"
_LISTENING = "0A"


def look(dom0: Dom0, settings: Settings, conf_path: str, root: str, tls: Callable[[Settings], str], now: datetime | None = None) -> OldNode:
    """The old node below `root` ("/" for this one). `tls` says why a certificate and key cannot be used, "" when they can.

    OSError when something may not be read: half a look would be taken for a whole one.
    """
    place = Place(dom0.tree(root))
    processes = tuple(_processes(place))
    node = OldNode(
        now=now or datetime.now(UTC), owner=os.stat(place.tree.root).st_uid, conf=place.text(conf_path),
        old_settings=tuple(found for name in _OLD_SETTINGS if (found := place.text(f"{settings.config_dir}/{name}"))), settings_dir=place.files(settings.config_dir),
        old_logs=(*_beginning(place, DEBUG_LOG), *_install_logs(place, settings)),
        programs=tuple(path for path in _PROGRAM_FILES if place.file(path) and not _is_ours(place, path)), init_links=tuple(_start_links(place)),
        processes=tuple(each for each in processes if _is_original(each, place)),
        listening=tuple(each for each in _listening(place, settings.listen_port, processes) if not any(_OURS in word for word in each.argv[:3])),
        link=place.file("/xen"))
    node = survey_upgrade_access.look(node, place, settings, tls)
    return survey_upgrade_vpses.look(node, dom0, place, settings, {each.pid: " ".join(each.argv) for each in processes}, whole=root == "/")


def conf(dom0: Dom0, path: str, root: str) -> FoundText | None:
    """The file of settings, for whoever must know them before anything else; None when there is none."""
    return Place(dom0.tree(root)).text(path)


def _beginning(place: Place, path: str) -> Iterator[FoundFile]:
    """A log and those that were rotated."""
    directory, _, name = path.rpartition("/")
    return (file for file in place.files(directory) if file.name.startswith(name) and file.kind == "file")


def _install_logs(place: Place, settings: Settings) -> Iterator[FoundFile]:
    return (file for file in place.files(settings.provisioning_mount_point) if file.kind == "file" and _INSTALL_LOG.fullmatch(file.name))


def _start_links(place: Place) -> Iterator[str]:
    """What starts the original at boot: links of the runlevels, of Debian and of RPM systems."""
    for directory in ("/etc", "/etc/rc.d"):
        for file in place.files(directory):
            if re.fullmatch(r"rc[2-5]\.d", file.name):
                yield from (each.path for each in place.files(file.path) if _START_LINK.fullmatch(each.name))


# -- what runs ------------------------------------------------------------------------------------


def _processes(place: Place) -> Iterator[FoundProcess]:
    """Every process with its command line (proc(5)); those that end meanwhile are left out."""
    for name in place.tree.names("/proc"):
        if name.isdecimal():
            text = place.small(f"/proc/{name}/cmdline")
            argv = tuple(word for word in (text or "").split("\0") if word)
            if argv:
                yield FoundProcess(int(name), argv)


def _is_original(process: FoundProcess, place: Place) -> bool:
    """Whether one of its first words is a program of the original's; an editor that has such a file open is not it."""
    return any(posixpath.basename(word) in PROGRAMS and not _is_ours(place, word) for word in process.argv[:3])


def _is_ours(place: Place, path: str) -> bool:
    """Whether a program that bears the original's name is this project's command of that name."""
    return path.startswith("/") and _PACKAGE in (place.small(path) or "")


def _listening(place: Place, port: int, processes: tuple[FoundProcess, ...]) -> Iterator[FoundProcess]:
    """Who has a TCP socket that listens on `port`: /proc/net/tcp names sockets, /proc/PID/fd their holders.

    Number 0 without a command stands for one of those whose handles even root may not see (a container's, a guarded init's).
    """
    sockets = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _sockets(place.small(f"/proc/net/{table}") or "", port)}
    if not sockets:
        return
    holders, hidden = [], False
    for process in processes:
        try:
            holders += [process] if _holds(place, process, sockets) else []
        except PermissionError:
            hidden = True
    yield from holders or ([FoundProcess(0, ())] if hidden else ())


def _holds(place: Place, process: FoundProcess, sockets: set[str]) -> bool:
    directory = f"/proc/{process.pid}/fd"
    return any(place.tree.target(f"{directory}/{name}") in sockets for name in place.tree.names(directory))


def _sockets(text: str, port: int) -> Iterator[str]:
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == _LISTENING and words[1].rpartition(":")[2] == f"{port:04X}":
            yield words[9]


