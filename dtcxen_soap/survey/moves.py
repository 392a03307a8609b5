"""What moves of VPSes between nodes look at: what would go with one, and what one would find that comes."""

from __future__ import annotations

import errno
import os
import secrets
import stat

from dtcxen_soap import accounts, disks
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.movefacts import ArrivalFact, MoveFact
from dtcxen_soap.movewords import MOST_KEYS
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey import domu as survey_domu
from dtcxen_soap.vps import IpAddress, Secret, VpsId

_TRANSFER_BYTES = 16
_INTERFACES = "/sys/class/net"
_MACHINE_ID = "/etc/machine-id"
_SHADOW = "/etc/shadow"
_NO_PASSWORD = ("", "*", "!")
_MOST_BYTES = 1 << 24


def move(dom0: Dom0, settings: Settings, vps: VpsId) -> MoveFact:
    """What would go with a VPS."""
    config, user = _text(dom0, disks.config_path(vps, settings)), accounts.console_user(vps)
    keys = tuple(line for line in _text(dom0, f"{accounts.home(vps, settings)}/.ssh/authorized_keys").splitlines() if line.strip())[:MOST_KEYS]
    return MoveFact(
        secrets.token_hex(_TRANSFER_BYTES), config, dom0.exists(disks.auto_path(vps, settings)), keys,
        _hash(dom0, _SHADOW, user) if settings.manage_accounts else Secret(""), _hash(dom0, settings.htpasswd_file, vps.name),
        _source(dom0, settings), tuple(_lacking(dom0, settings)), _text(dom0, disks.move_note_path(vps, settings)))


def _hash(dom0: Dom0, path: str, user: str) -> Secret:
    """A user's hash in shadow(5) or htpasswd, "" for none that opens anything."""
    found = next((line.split(":")[1] for line in _text(dom0, path).splitlines() if line.startswith(f"{user}:")), "")
    return Secret("" if found.strip() in _NO_PASSWORD or found.startswith("!") else found.strip())


def _source(dom0: Dom0, settings: Settings) -> str:
    """What tells this node, and its state, from all others."""
    machine = _text(dom0, _MACHINE_ID).strip() or dom0.hostname()
    return f"{machine}:{settings.state_dir}".replace(" ", "_")[:200]


def _lacking(dom0: Dom0, settings: Settings) -> list[str]:
    found = [] if dom0.commands(("ssh",)) else ["the node lacks ssh: install openssh-client"]
    for name, path, others in (("migrate_key", settings.migrate_key, 0o077), ("migrate_known_hosts", settings.migrate_known_hosts, 0o022)):
        try:
            status = dom0.stat(path)
        except OSError as error:
            found.append(f"{name}: {path}: {os.strerror(error.errno or errno.EIO)}")
            continue
        if status.st_mode & others or status.st_uid != 0:
            found.append(f"{name}: {path} must be root's, and {'read' if others == 0o077 else 'changed'} by nobody else")
    return found


def arrival(dom0: Dom0, settings: Settings, files: tuple[str, ...]) -> ArrivalFact:
    """What a VPS that comes would find."""
    bridges = frozenset(name for name in dom0.listdir(_INTERFACES) if dom0.exists(f"{_INTERFACES}/{name}/bridge"))
    addresses: dict[IpAddress, str] = {}
    for vps, config in survey_domu.configured(dom0, settings):
        for address in config.addresses:
            addresses.setdefault(address, vps.name)
    return ArrivalFact(bridges, addresses, frozenset(path for path in files if _is_roots(dom0, path)))


def _is_roots(dom0: Dom0, path: str) -> bool:
    """Whether it is a regular file, or a link to one, that root alone may change; a name with .. is none."""
    if not path.startswith("/") or ".." in path.split("/"):
        return False
    try:
        status = dom0.stat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == 0 and not status.st_mode & 0o022


def _text(dom0: Dom0, path: str) -> str:
    """A file's text; "" where there is none, or where only root may read it and we are not."""
    try:
        return dom0.read_text(path, _MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except PermissionError:
        if dom0.is_root():
            raise
        return ""
