"""What is configured and what runs: /etc/xen/xenNN of every VPS, and the toolstack's word."""

from __future__ import annotations

import logging
import re

from dtcxen_soap.disks import config_path
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import DomuFact
from dtcxen_soap.plans import paste
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import MacAddress, Mib, VpsId
from dtcxen_soap.xen import xl
from dtcxen_soap.xen.config import DomuConfig, parse

XEN_CAPABILITIES = "/proc/xen/capabilities"
_CONFIG_NAME = re.compile(r"xen[0-9]{2,4}")
_log = logging.getLogger(__name__)


def configured(dom0: Dom0, settings: Settings) -> tuple[tuple[VpsId, DomuConfig], ...]:
    """Every VPS that has a configuration, in the order of their numbers; what cannot be read is warned of and left out."""
    found = []
    for name in dom0.listdir(settings.xen_config_dir):
        if _CONFIG_NAME.fullmatch(name) and int(name[3:]) and VpsId.parse(name).name == name:
            vps = VpsId.parse(name)
            if (config := _config(dom0, settings, vps)) is not None:
                found.append((vps, config))
    return tuple(sorted(found, key=lambda pair: pair[0]))


def _config(dom0: Dom0, settings: Settings, vps: VpsId) -> DomuConfig | None:
    path = config_path(vps, settings)
    try:
        return parse(dom0.read_text(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("the configuration of VPS %s cannot be read: %s", vps, error)
        return None


def taken_macs(dom0: Dom0, settings: Settings) -> dict[MacAddress, str]:
    """Every configured MAC address with the name of the VPS that has it, the lowest number where several do."""
    return {mac: vps.name for vps, config in reversed(configured(dom0, settings)) for mac in config.macs}


def domu(dom0: Dom0, settings: Settings, vps: VpsId) -> DomuFact:
    """The VPS's configuration and its running domU. Where Xen gives no answer that is told as trouble: no answer is not "stopped"."""
    config = _config(dom0, settings, vps)
    is_configured = config is not None or dom0.exists(config_path(vps, settings))
    paths = config.paths if config else ()
    try:
        running = _domains(dom0).get(vps.name) if _has_xen(dom0, settings) else None
    except Failed as error:
        _log.warning("%s %s", error, error.tail)
        return DomuFact(is_configured, paths=paths, trouble=str(error))
    if running is None:
        return DomuFact(is_configured, paths=paths)
    most = _max_memory(dom0, vps.name).get(running.domid, running.memory)
    return DomuFact(is_configured, running.state, running.domid, most, running.vcpus, running.cpu_seconds, paths)


def _has_xen(dom0: Dom0, settings: Settings) -> bool:
    """Whether domUs can run here: as the settings say, or what the kernel says of itself."""
    if settings.toolstack != "auto":
        return settings.toolstack == "xl"
    try:
        return "control_d" in dom0.read_text(XEN_CAPABILITIES)
    except OSError:
        return False


def _domains(dom0: Dom0) -> dict[str, xl.Domain]:
    ran = dom0.capture(xl.LIST)
    why = "Ask Xen which domUs run."
    if ran.code:
        raise Failed(why, "xl is not installed" if ran.code == 127 else f"xl ended with code {ran.code}", paste(xl.LIST), ran.output)
    try:
        return xl.parse_table(ran.output)
    except ValueError as error:
        raise Failed(why, str(error), paste(xl.LIST), ran.output) from None


def _max_memory(dom0: Dom0, name: str) -> dict[int, Mib]:
    """Empty when the domain has gone meanwhile: the table's memory must do then."""
    try:
        return xl.parse_max_memory(dom0.capture(xl.details(name)).output)
    except ValueError:
        return {}
