"""Fills Facts: what this dom0 really has, looked up anew for every call, and only what was asked for. Never writes.

By noun: disks.py (image files), volumes.py (logical volumes), domu.py (configurations, what runs), node.py
(the dom0), programs.py (bundles and hooks), ostypes.py (what os.d describes), isos.py, accounts.py (how owners sign in),
states.py (all VPSes at once).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, assert_never

from dtcxen_soap import domus
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.facts import (
    Facts,
    Need,
    NeedAccounts,
    NeedDisks,
    NeedDomu,
    NeedHooks,
    NeedInstall,
    NeedIsos,
    NeedJobs,
    NeedKept,
    NeedKeys,
    NeedLog,
    NeedMemory,
    NeedOsList,
    NeedPings,
    NeedQemu,
    NeedRescue,
    NeedStarted,
    NeedTenancy,
    PingFact,
)
from dtcxen_soap.firstbootfacts import NeedFirstboot
from dtcxen_soap.imagefacts import ImageCache
from dtcxen_soap.journal import Journal
from dtcxen_soap.lookfacts import NeedJobCounts, NeedJobLog, NeedStates
from dtcxen_soap.movefacts import NeedArrival, NeedMove
from dtcxen_soap.perffacts import NeedApps, NeedRoom, NeedSamples
from dtcxen_soap.ping import Echoes, ping_all
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey import accounts as survey_accounts
from dtcxen_soap.survey import content as survey_content
from dtcxen_soap.survey import disks as survey_disks
from dtcxen_soap.survey import domu as survey_domu
from dtcxen_soap.survey import firstboot as survey_firstboot
from dtcxen_soap.survey import isos as survey_isos
from dtcxen_soap.survey import moves as survey_moves
from dtcxen_soap.survey import node as survey_node
from dtcxen_soap.survey import ostypes as survey_ostypes
from dtcxen_soap.survey import programs as survey_programs
from dtcxen_soap.survey import qemu as survey_qemu
from dtcxen_soap.survey import rescue as survey_rescue
from dtcxen_soap.survey import states as survey_states
from dtcxen_soap.survey import volumes as survey_volumes
from dtcxen_soap.vps import IpAddress, VpsId

Found = dict[str, Any]
Pinger = Callable[[Iterable[IpAddress], int, int], Mapping[IpAddress, Echoes]]


def _now() -> datetime:
    return datetime.now(UTC)


class Survey:
    """Safe from any thread. `busy` is the engine's word for a job that holds a VPS, "" without one."""

    def __init__(
            self, settings: Settings, dom0: Dom0, journal: Journal, busy: Callable[[VpsId], str],
            clock: Callable[[], datetime] = _now, pinger: Pinger = ping_all) -> None:
        self._settings, self._dom0, self._journal, self._busy = settings, dom0, journal, busy
        self._clock, self._pinger = clock, pinger

    def replace_settings(self, settings: Settings) -> None:
        """Use new settings from the next fill on."""
        self._settings = settings

    def fill(self, needs: tuple[Need, ...]) -> Facts:
        """The facts of `needs`; all others stay empty. Failed, or OSError, when the node cannot tell."""
        settings = self._settings
        domus = tuple(NeedDomu(need.vps) for need in needs if isinstance(need, NeedDisks))
        found: Found = {"now": self._clock()}
        for need in dict.fromkeys((*domus, *needs)):
            found |= self._find(need, settings, found)
        return Facts(**found)

    def _find(self, need: Need, settings: Settings, known: Found) -> Found:
        match need:
            case NeedDisks(vps, content):
                found = self._disks(vps, settings, known["domu"].paths)
                return found | {"disks": survey_content.told(self._dom0, found["disks"])} if content else found
            case NeedDomu(vps):
                return {"domu": survey_domu.domu(self._dom0, settings, vps), "busy": self._busy(vps)}
            case NeedMemory():
                return {"memory": domus.memory(self._dom0)}
            case NeedStarted():
                return {"started": domus.started(self._dom0, settings.toolstack)}
            case NeedRescue(vps):
                return {"rescue": survey_rescue.rescue(self._dom0, settings, vps)}
            case NeedTenancy(vps):
                return {"tenancy": self._journal.tenancy(vps)}
            case NeedKept():
                return self._kept(settings)
            case NeedInstall(_, os_type):
                return self._install(os_type, settings)
            case NeedQemu():
                return {"qemu": survey_qemu.qemu(self._dom0)}
            case NeedHooks(operation):
                return {"hooks": survey_programs.hooks(settings, operation)}
            case NeedFirstboot(vps, os_type):
                return {"firstboot": survey_firstboot.firstboot(settings, vps, os_type)}
            case NeedIsos(vps):
                return {"isos": survey_isos.isos(settings, vps)}
            case NeedPings():
                return {"pings": self._pings(need, settings)}
            case NeedOsList():
                return {"bundles": survey_programs.bundle_names(settings), "os_types": survey_ostypes.names(settings)}
            case NeedJobs():
                return {"jobs": self._journal.jobs(need)}
            case NeedAccounts(vps):
                return {"accounts": survey_accounts.accounts_of(self._dom0, settings, vps)}
            case NeedKeys(lines):
                return {"keys": survey_accounts.keys(self._dom0, lines)}
            case NeedSamples(count):
                return {"samples": self._journal.samples(count)}
            case NeedRoom():
                return {"room": survey_disks.room(self._dom0, settings), "lvm": survey_volumes.volumes(self._dom0).fact}
            case NeedJobCounts():
                return {"job_counts": self._journal.job_counts()}
            case NeedApps():
                return {"apps": survey_programs.app_names(settings)}
            case NeedLog(vps, lines):
                return {"log": self._journal.latest_log(vps, lines)}
            case NeedStates():
                return {"states": survey_states.states(self._dom0, settings, self._busy)}
            case NeedJobLog(job, start):
                return {"job_log": self._journal.log_part(job, start)}
            case NeedMove(vps):
                return {"move": survey_moves.move(self._dom0, settings, vps)}
            case NeedArrival(files):
                return {"arrival": survey_moves.arrival(self._dom0, settings, files)}
        assert_never(need)

    def _disks(self, vps: VpsId, settings: Settings, named: tuple[str, ...]) -> Found:
        """Disks of both kinds. Those that the domU's configuration names come first, then those of the node's default kind."""
        tenancy = self._journal.tenancy(vps).number
        volumes = survey_volumes.volumes(self._dom0)
        mine = (*survey_disks.disks(self._dom0, settings, vps), *survey_volumes.disks(self._dom0, volumes, settings, vps, named))
        return {
            "disks": tuple(sorted(mine, key=lambda disk: (disk.path not in named, disk.image_type is not settings.default_image_type))),
            "kept": (*survey_disks.kept(self._dom0, settings, vps, tenancy), *survey_volumes.kept(volumes, vps, tenancy)),
            "leftovers": (*survey_disks.leftovers(self._dom0, settings, vps), *survey_volumes.leftovers(volumes, settings, vps, named)),
            "room": survey_disks.room(self._dom0, settings),
            "lvm": volumes.fact,
        }

    def _kept(self, settings: Settings) -> Found:
        volumes = survey_volumes.volumes(self._dom0)
        return {
            "kept": (*survey_disks.all_kept(self._dom0, settings), *survey_volumes.all_kept(volumes)),
            "doomed": survey_volumes.doomed(volumes),
            "lvm": volumes.fact,
        }

    def _install(self, os_type: str, settings: Settings) -> Found:
        app = survey_firstboot.appliance(settings, os_type)
        base = app.depends if app else os_type
        return {
            "node": survey_node.node(self._dom0, settings),
            "bundle": survey_programs.bundle(settings, base),
            "os_type": survey_ostypes.os_type(settings, base),
            "cache": ImageCache(self._dom0.images(settings.image_cache), self._dom0.free_bytes(settings.image_cache)) if os_type else ImageCache(),
            "taken_macs": survey_domu.taken_macs(self._dom0, settings),
        }

    def _pings(self, need: NeedPings, settings: Settings) -> tuple[PingFact, ...]:
        """One row per VPS and address; an address that several VPSes name is pinged once."""
        rows = [(vps, address) for vps, config in survey_domu.configured(self._dom0, settings) for address in dict.fromkeys(config.addresses)]
        echoes = self._pinger((address for _, address in rows), need.timeout_ms, need.count)
        return tuple(PingFact(vps, address, *echoes[address]) for vps, address in rows)
