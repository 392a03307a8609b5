"""What is configured and what runs: /etc/xen/xenNN of every VPS, and the toolstack's word."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterable

from dtcxen_soap import domus
from dtcxen_soap.disks import config_path, kept_config_path, moved_config_path
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import DomuFact
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import MacAddress, VpsId
from dtcxen_soap.xen.config import DomuConfig, parse

_NAME = re.compile(r"xen[0-9]{2,4}")
_log = logging.getLogger(__name__)


def configured(dom0: Dom0, settings: Settings) -> tuple[tuple[VpsId, DomuConfig], ...]:
    """Every VPS that has a configuration, in the order of their numbers; what cannot be read is warned of and left out."""
    found = ((vps, _config(dom0, settings, vps)) for vps in sorted(_named(dom0.listdir(settings.xen_config_dir))))
    return tuple((vps, config) for vps, config in found if config is not None)


def _named(names: Iterable[str]) -> set[VpsId]:
    """The VPSes that these are the exact names of."""
    return {vps for name in names if _NAME.fullmatch(name) and int(name[3:]) and (vps := VpsId.parse(name)).name == name}


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
    fact = _configuration(dom0, settings, vps)
    if not fact.toolstack:
        return fact
    try:
        running = domus.domain(dom0, vps.name)
    except Failed as error:
        _log.warning("%s %s", error, error.tail)
        return dataclasses.replace(fact, trouble=str(error))
    if running is None:
        return dataclasses.replace(fact, state="dying") if domus.monitor(dom0, vps.name) else fact
    details = domus.details(dom0, running)
    return dataclasses.replace(
        fact, state=running.state, flags=running.flags, domid=running.domid, max_memory=details.max_memory or running.memory, vcpus=running.vcpus,
        cpu_seconds=running.cpu_seconds, rescue=details.kernel == settings.rescue_kernel)


def _configuration(dom0: Dom0, settings: Settings, vps: VpsId) -> DomuFact:
    """What stands in the configuration, and which of its disks are not there."""
    config = _config(dom0, settings, vps)
    toolstack, kept = domus.has_xen(dom0, settings.toolstack), dom0.exists(kept_config_path(vps, settings))
    moved = dom0.exists(moved_config_path(vps, settings))
    if config is None:
        return DomuFact(dom0.exists(config_path(vps, settings)), toolstack=toolstack, kept_config=kept, moved_config=moved)
    return DomuFact(
        True, paths=config.paths, toolstack=toolstack, kept_config=kept, moved_config=moved, config_memory=config.memory, config_mac=config.mac, config_addresses=config.addresses,
        config_vcpus=config.vcpus, boot=config.boot, lacking=tuple(path for path in config.paths if path.startswith("/") and not dom0.exists(path)))
