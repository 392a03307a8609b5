"""Reads the machine for `dtcxen doctor`: Xen, the bridge, volumes, space, programs, the service. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dtcxen_soap import domus
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.machinefacts import FoundBridge, FoundSpace, FoundUnit, Machine
from dtcxen_soap.settings import Settings, defaults
from dtcxen_soap.survey import accounts as survey_accounts
from dtcxen_soap.survey import volumes as survey_volumes
from dtcxen_soap.upgrade import machine
from dtcxen_soap.vps import VpsId
from dtcxen_soap.xen import xl

XEN_BRIDGE = "xenbr0"
"""xl's own choice where neither the settings nor xl.conf(5) name one."""
_DEFAULT_BRIDGE = re.compile(r"""^\s*vif\.default\.bridge\s*=\s*["']([^"']+)["']""", re.MULTILINE)
_NET = "/sys/class/net"
_UP = 1
"""IFF_UP of netdevice(7)."""


def look(dom0: Dom0, settings: Settings) -> Machine:
    """The machine as it is now."""
    runs = settings.toolstack != "none" and domus.has_xen(dom0, "auto")
    commands = (*machine.NEEDED, *machine.OPTIONAL)
    return Machine(
        xen=domus.has_xen(dom0, "auto"), memory=domus.memory(dom0) if runs else None, bridge=_bridge(dom0, settings) if runs else None,
        lvm=survey_volumes.volumes(dom0).fact if machine.asks_lvm(settings) else None, spaces=tuple(_spaces(dom0, settings)),
        lacking=frozenset(commands) - dom0.commands(commands), obstacles=survey_accounts.accounts_of(dom0, settings, VpsId(1)).lacking if runs else (),
        unit=_unit(dom0) if settings.config_dir == defaults().config_dir else None, synchronised=_synchronised(dom0), loops=dom0.exists("/dev/loop-control"))


def _bridge(dom0: Dom0, settings: Settings) -> FoundBridge:
    name = settings.xen_bridge or _default_bridge(dom0)
    at = f"{_NET}/{name}"
    if not dom0.exists(at):
        return FoundBridge(name)
    return FoundBridge(name, True, dom0.exists(f"{at}/bridge"), bool(_number(dom0, f"{at}/flags") & _UP), dom0.listdir(f"{at}/brif"))


def _default_bridge(dom0: Dom0) -> str:
    try:
        found = _DEFAULT_BRIDGE.findall(dom0.read_text(xl.CONF))
    except FileNotFoundError:
        return XEN_BRIDGE
    return found[-1] if found else XEN_BRIDGE


def _number(dom0: Dom0, path: str) -> int:
    """A number as sysfs writes it; 0 for what is gone meanwhile."""
    try:
        return int(dom0.read_text(path).strip(), 0)
    except (OSError, ValueError):
        return 0


def _spaces(dom0: Dom0, settings: Settings) -> Iterator[FoundSpace]:
    """Of each file system the first directory of ours that is there."""
    told = set()
    for path in (settings.state_dir, settings.provisioning_mount_point, settings.image_cache, settings.ttyssh_home):
        device = dom0.stat(path).st_dev if dom0.exists(path) else None
        if device is not None and device not in told:
            told.add(device)
            yield FoundSpace(path, dom0.free_bytes(path))


def _unit(dom0: Dom0) -> FoundUnit | None:
    ran = dom0.capture(("systemctl", "show", machine.SERVICE, "--property=LoadState", "--property=UnitFileState", "--property=ActiveState"))
    words = dict(line.partition("=")[::2] for line in ran.output.splitlines())
    return FoundUnit(words["LoadState"], words["UnitFileState"], words["ActiveState"]) if not ran.code and {"LoadState", "UnitFileState", "ActiveState"} <= set(words) else None


def _synchronised(dom0: Dom0) -> bool | None:
    ran = dom0.capture(("timedatectl", "show", "--property=NTPSynchronized", "--value"))
    return {"yes": True, "no": False}.get(ran.output.strip()) if not ran.code else None
