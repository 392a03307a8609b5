"""The node's rescue system, the one-shot configurations of a VPS, and a new password for its next rescue."""

from __future__ import annotations

import logging
import secrets

from dtcxen_soap import disks, rescueseed, rescuesystem
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.facts import RescueFact
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import Secret, VpsId

_SIGNS = "abcdefghijkmnpqrstuvwxyz23456789"
"""32 signs that nobody takes for one another, on a console that cannot be copied from either."""
_GROUPS, _GROUP = 4, 4
_MOST_KEY_BYTES = 1 << 16
_log = logging.getLogger(__name__)


def new_password() -> Secret:
    """Four groups of four signs: 80 bits."""
    return Secret("-".join("".join(secrets.choice(_SIGNS) for _ in range(_GROUP)) for _ in range(_GROUPS)))


def rescue(dom0: Dom0, settings: Settings, vps: VpsId) -> RescueFact:
    """What there is; a password that nobody had before."""
    def there(path: str) -> str:
        return path if dom0.exists(path) else ""

    return RescueFact(
        there(settings.rescue_kernel), there(settings.rescue_initrd), there(disks.rescue_config_path(vps, settings)),
        there(disks.single_config_path(vps, settings)), there(disks.seed_path(vps, settings)), new_password(),
        owner_keys(dom0, settings, vps), _text(dom0, disks.config_path(vps, settings)),
        rescuesystem.can_pvh(_text(dom0, rescuesystem.config_beside(settings.rescue_kernel))))


def owner_keys(dom0: Dom0, settings: Settings, vps: VpsId) -> tuple[str, ...]:
    """The keys of the VPS's console user; none where they cannot be read.

    Their owner may put a link in the file's place: it leads no further than that home.
    """
    try:
        text = dom0.tree(f"{settings.ttyssh_home}/{vps.name}").read_text(".ssh/authorized_keys", _MOST_KEY_BYTES)
    except OSError as error:
        _log.warning("the SSH keys of VPS %s's owner cannot be read: %s", vps, error)
        return ()
    return rescueseed.keys(text or "")


def _text(dom0: Dom0, path: str) -> str:
    try:
        return dom0.read_text(path)
    except OSError:
        return ""
