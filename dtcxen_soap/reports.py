"""Planners of operations that only read: each says which facts it needs and makes an answer of them."""

from __future__ import annotations

import dataclasses
from dataclasses import astuple

from dtcxen_soap import answers
from dtcxen_soap import requests as req
from dtcxen_soap.errors import Missing
from dtcxen_soap.facts import Facts, JobFact, Need, NeedDisks, NeedDomu, NeedIsos, NeedJobs, NeedLog, NeedMemory, NeedOsList, NeedPings, NeedStarted
from dtcxen_soap.lookfacts import NeedJobLog, NeedStates, StateFact
from dtcxen_soap.perffacts import NeedApps, NeedRoom, NeedSamples
from dtcxen_soap.plans import IMAGE_FILES
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import VpsId

DEFAULT_TIMEOUT_MS = 1000
DEFAULT_JOBS = 100
DEFAULT_SAMPLES = 24 * 60


def no_needs(request: req.Request, settings: Settings) -> tuple[Need, ...]:
    """For what answers out of its head."""
    return ()


def nothing(request: req.Request, settings: Settings, facts: Facts) -> None:
    """For operations that the engine itself carries out."""


def alive(request: req.NoParameters, settings: Settings, facts: Facts) -> answers.ServerAlive:
    """testVPSServer."""
    return answers.ServerAlive()


def iso_needs(request: req.ListIsos, settings: Settings) -> tuple[Need, ...]:
    """listISOs reads the VPS's home."""
    return (NeedIsos(request.vps),)


def isos(request: req.ListIsos, settings: Settings, facts: Facts) -> answers.IsoList:
    """listISOs."""
    rows = tuple(answers.Iso(iso.name, iso.size_bytes, iso.changed, iso.library) for iso in facts.isos)
    return answers.IsoList(rows, sum(iso.size_bytes for iso in rows if not iso.library), settings.iso_quota_mib.bytes)


def ping_needs(request: req.PingAll, settings: Settings) -> tuple[Need, ...]:
    """pingAllIPs sends its echo requests while facts are gathered."""
    return (NeedPings(request.timeout_ms or DEFAULT_TIMEOUT_MS, request.count or 1),)


def pings(request: req.PingAll, settings: Settings, facts: Facts) -> answers.PingList:
    """pingAllIPs."""
    return answers.PingList(tuple(
        answers.Ping(str(ping.vps), str(ping.address), ping.received > 0, ping.rtt_ms, 100 - 100 * ping.received // max(ping.sent, 1))
        for ping in facts.pings))


def state_needs(request: req.GetState, settings: Settings) -> tuple[Need, ...]:
    """getVPSState asks the toolstack and the engine."""
    return (NeedDomu(request.vps),)


def state(request: req.GetState, settings: Settings, facts: Facts) -> answers.VpsState:
    """getVPSState: a job's word first, since the panel polls for it; then the domU's. Never a fault: "NOTOK - ..." when Xen gives no answer."""
    if facts.busy:
        return answers.VpsState(str(request.vps), facts.busy)
    domu = facts.domu
    if domu.trouble:
        return answers.VpsState(str(request.vps), f"NOTOK - {domu.trouble}")
    if not domu.state:
        return answers.VpsState(str(request.vps), "Not running")
    return answers.VpsState(str(request.vps), "rescue" if domu.rescue else "running", domu.domid, domu.max_memory, domu.vcpus, domu.flags, domu.cpu_seconds)


def vpses_needs(request: req.NoParameters, settings: Settings) -> tuple[Need, ...]:
    """listVPS looks at all of them at once."""
    return (NeedStates(),)


def vpses(request: req.NoParameters, settings: Settings, facts: Facts) -> answers.VpsList:
    """listVPS: each as getVPSState tells it."""
    return answers.VpsList(tuple(_vps_state(fact) for fact in facts.states))


def _vps_state(fact: StateFact) -> answers.VpsState:
    vps = str(fact.vps)
    if fact.busy:
        return answers.VpsState(vps, fact.busy)
    if fact.trouble:
        return answers.VpsState(vps, f"NOTOK - {fact.trouble}")
    if fact.domid is None:
        return answers.VpsState(vps, "Not running")
    return answers.VpsState(
        vps, "rescue" if fact.rescue else "running", fact.domid, fact.memory and int(fact.memory), fact.vcpus, fact.flags, fact.cpu_seconds)


def started_needs(request: req.NoParameters, settings: Settings) -> tuple[Need, ...]:
    """listStartedVPS asks the toolstack."""
    return (NeedStarted(),)


def started(request: req.NoParameters, settings: Settings, facts: Facts) -> answers.StartedList:
    """listStartedVPS."""
    return answers.StartedList(tuple(
        answers.Started(row.name, row.domid, int(row.memory), row.vcpus, row.state, row.flags, row.cpu_seconds) for row in facts.started))


def log_needs(request: req.GetInstallLog, settings: Settings) -> tuple[Need, ...]:
    """getVPSInstallLog reads the journal's log."""
    return (NeedLog(request.vps, request.lines or 0),)


def install_log(request: req.GetInstallLog, settings: Settings, facts: Facts) -> answers.InstallLog:
    """getVPSInstallLog; Missing when nothing was installed in this tenancy."""
    if facts.log is None:
        raise Missing(f"getVPSInstallLog: VPS {request.vps} has no installation log")
    return answers.InstallLog(facts.log)


def os_needs(request: req.NoParameters, settings: Settings) -> tuple[Need, ...]:
    """listInstallableOS reads os_dir."""
    return (NeedOsList(),)


def installable_os(request: req.NoParameters, settings: Settings, facts: Facts) -> answers.InstallableOs:
    """listInstallableOS: bundles and descriptions; the panel adds the names that it has always known itself."""
    return answers.InstallableOs(tuple(dict.fromkeys((*facts.bundles, *facts.os_types))))


def app_needs(request: req.NoParameters, settings: Settings) -> tuple[Need, ...]:
    """listInstallableApps reads app_dir."""
    return (NeedApps(),)


def installable_apps(request: req.NoParameters, settings: Settings, facts: Facts) -> answers.InstallableApps:
    """listInstallableApps; none where the node has no such directory."""
    return answers.InstallableApps(facts.apps)


def performance_needs(request: req.PerformanceData, settings: Settings) -> tuple[Need, ...]:
    """getPerformanceData reads what the sampler kept."""
    return (NeedSamples(request.count or DEFAULT_SAMPLES),)


def performance(request: req.PerformanceData, settings: Settings, facts: Facts) -> answers.PerformanceList:
    """getPerformanceData; whoever delivers the answer says so to the engine."""
    samples = tuple(answers.PerformanceSample(sample.at, tuple(
        answers.Performance(str(usage.vps), *astuple(usage.total), *astuple(usage.used)) for usage in sample.usages)) for sample in facts.samples)
    return answers.PerformanceList(samples, facts.samples[-1].number if facts.samples else 0)


def space_needs(request: req.NoParameters, settings: Settings) -> tuple[Need, ...]:
    """getFreeSpace looks at both kinds of disks, and asks Xen."""
    return NeedRoom(), NeedMemory()


def space(request: req.NoParameters, settings: Settings, facts: Facts) -> answers.FreeSpace:
    """getFreeSpace. What LVM does not tell is left out."""
    rows = [("vbd", settings.provisioning_mount_point, facts.room.free_bytes - facts.room.promised_bytes)]
    for group in facts.lvm.groups:
        rows += [("lvm", group.name, group.free_bytes)]
        rows += [("lvm", f"{group.name}/{pool.name}", pool.free_bytes - pool.promised_bytes) for pool in group.pools]
    memory = facts.memory if facts.memory and not facts.memory.trouble else None
    return answers.FreeSpace(
        tuple(answers.Space(kind, place, max(0, free - facts.reserved.get(place if kind == "lvm" else IMAGE_FILES, 0)) >> 20) for kind, place, free in rows),
        int(memory.free) if memory else None, int(memory.total) if memory else None)


def details_needs(request: req.VpsInfo, settings: Settings) -> tuple[Need, ...]:
    """infoVPS looks at disks and configuration."""
    return NeedDisks(request.vps), NeedDomu(request.vps)


def details(request: req.VpsInfo, settings: Settings, facts: Facts) -> answers.VpsDetails:
    """infoVPS. Missing for a VPS that is not on this node."""
    domu = facts.domu
    if not facts.disks and not domu.configured:
        raise Missing(f"infoVPS: VPS {request.vps} has neither a disk nor a configuration on this node")
    disks = tuple(answers.VpsDisk(disk.role.value, disk.image_type.value, disk.path, disk.size_bytes >> 20, not disk.blank) for disk in facts.disks)
    return answers.VpsDetails(
        str(request.vps), state(req.GetState(vps=request.vps), settings, facts).state, domu.configured, domu.boot.value if domu.boot else None,
        domu.config_memory and int(domu.config_memory), domu.config_vcpus, str(domu.config_mac) if domu.config_mac else None,
        tuple(map(str, domu.config_addresses)), disks, max((kept.kept_since for kept in facts.kept), default=None))


def job_needs(request: req.GetJob, settings: Settings) -> tuple[Need, ...]:
    """getJob reads one record."""
    return (NeedJobs(job=request.job),)


def job(request: req.GetJob, settings: Settings, facts: Facts) -> answers.Job:
    """getJob; Missing when there is none that the caller may see."""
    if not facts.jobs:
        raise Missing(f"getJob: there is no job {request.job}")
    return _job(facts.jobs[0])


def jobs_needs(request: req.ListJobs, settings: Settings) -> tuple[Need, ...]:
    """listJobs reads records."""
    return (NeedJobs(vps=request.vps, limit=request.limit or DEFAULT_JOBS),)


def jobs(request: req.ListJobs, settings: Settings, facts: Facts) -> answers.JobList:
    """listJobs."""
    return answers.JobList(tuple(_job(record) for record in facts.jobs))


def job_log_needs(request: req.GetJobLog, settings: Settings) -> tuple[Need, ...]:
    """getJobLog reads the record too: it says whether the caller may see the log, and whether more will come."""
    return NeedJobs(job=request.job), NeedJobLog(request.job, request.from_byte or 0)


def job_log(request: req.GetJobLog, settings: Settings, facts: Facts) -> answers.JobLogPart:
    """getJobLog; Missing when there is no job that the caller may see. A queued job has no log yet."""
    if not facts.jobs:
        raise Missing(f"getJobLog: there is no job {request.job}")
    found = facts.job_log
    return answers.JobLogPart(request.job, facts.jobs[0].state, found.text if found else "", found.end if found else request.from_byte or 0)


def only_of(needs: tuple[Need, ...], owner: VpsId | None) -> tuple[Need, ...]:
    """The same needs, for an owner: jobs of the own VPS's present tenancy and no others."""
    return tuple(dataclasses.replace(item, owner=owner) if isinstance(item, NeedJobs) else item for item in needs)


def in_states(needs: tuple[Need, ...], states: tuple[str, ...]) -> tuple[Need, ...]:
    """The same needs, of jobs in these states alone."""
    return tuple(dataclasses.replace(item, states=states) if isinstance(item, NeedJobs) else item for item in needs)


def _job(record: JobFact) -> answers.Job:
    return answers.Job(
        record.id, str(record.vps) if record.vps else None, record.operation, record.state, record.caller, record.step, record.steps,
        record.step_name, record.percent, record.created, record.started, record.ended, record.reason, record.log_bytes)
