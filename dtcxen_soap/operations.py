"""The whole API on one page: a row per operation, under its new and its old name.

`OPERATIONS` is the only list; the WSDL, the wire, the CLI, the docs and the tests loop over it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dtcxen_soap import accounts, answers, bsd, disks, fsck, hooks, hvm, migration, power, reports, rescue, rollback
from dtcxen_soap import requests as req
from dtcxen_soap.access import Access, Caller, Role, admit
from dtcxen_soap.calls import Call, Kind, NotAdmitted
from dtcxen_soap.errors import DtcxenError, ParameterFault, Refused
from dtcxen_soap.facts import Facts, Need, NeedKept
from dtcxen_soap.install import reinstall
from dtcxen_soap.lookfacts import NeedJobCounts, NeedStates
from dtcxen_soap.plans import Plan
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import VpsId

Needs = Callable[[Any, Settings], tuple[Need, ...]]
Planner = Callable[[Any, Settings, Facts], Plan | Any]


@dataclass(frozen=True)
class Operation:
    """One operation. `old_planner` is set where the panel's old name means something else (DECISIONS: setupLVMDisks).

    With `takes_over` it may end what an earlier, answered call left running on the VPS (the zeroing of new disks).
    `notok`: a failure is an outcome of xl, which callers of the old name read as "NOTOK - why" and not as a fault.
    """

    name: str
    old_name: str
    request: type[req.Request]
    access: Access
    kind: Kind
    needs: Needs
    planner: Planner
    answer: type
    help: str
    old_planner: Planner | None = None
    takes_over: bool = False
    notok: bool = False


OPERATIONS: tuple[Operation, ...] = (
    Operation("setupVPSDisk", "setupLVMDisks", req.SetupDisk, Access.ADMIN, Kind.NOW, disks.setup_needs, disks.plan_setup, answers.DisksReady,
              "Make the root and swap disk of a VPS.", disks.plan_setup_replacing),
    Operation("killVPSDisk", "killVPS", req.KillDisk, Access.ADMIN, Kind.NOW, disks.kill_needs, disks.plan_kill, answers.DisksRemoved,
              "Remove whatever disks a VPS has.", takes_over=True),
    Operation("reinstallOS", "reinstallVPSos", req.Reinstall, Access.ADMIN, Kind.JOB, reinstall.needs, reinstall.plan, answers.JobStarted,
              "Install an operating system on the disks of a VPS; starts a job.", takes_over=True),
    Operation("rollbackVPS", "", req.Rollback, Access.ADMIN, Kind.NOW, rollback.needs, rollback.plan, answers.RolledBack,
              "Bring back the system that the last installation on a VPS replaced; the newer one is kept instead."),
    Operation("migrateVPS", "", req.Migrate, Access.ADMIN, Kind.JOB, migration.needs, migration.plan, answers.JobStarted,
              "Move a VPS to another node; starts a job."),
    Operation("fsckVPSpartition", "fsckVPSpartition", req.Fsck, Access.OWNER, Kind.JOB, fsck.needs, fsck.plan, answers.JobStarted,
              "Check the file system on the root disk of a VPS, correcting what is safe to correct; starts a job."),
    Operation("writeXenHVMconf", "writeXenHVMconf", req.HvmConfig, Access.ADMIN, Kind.NOW, hvm.needs, hvm.plan, answers.ConfigWritten,
              "Configure a VPS as an HVM guest that boots its disk or one of its ISOs."),
    Operation("changeBSDkernel", "changeBSDkernel", req.BsdKernel, Access.ADMIN, Kind.NOW, bsd.needs, bsd.plan, answers.ConfigWritten,
              "Configure a VPS with the node's NetBSD kernel, or with the one that installs NetBSD."),
    Operation("setConsolePassword", "changeVPSxmPassword", req.ConsolePassword, Access.OWNER, Kind.NOW, accounts.needs, accounts.plan_password,
              answers.AccessChanged, "Set the password of a VPS's console user on this node, and of its user for ISO uploads."),
    Operation("setSshKey", "changeVPSsshKey", req.SshKey, Access.OWNER, Kind.NOW, accounts.key_needs, accounts.plan_keys, answers.AccessChanged,
              "Set the SSH keys that open a VPS's console, uploads and rescue system, in the place of all earlier ones."),
    Operation("setSoapPassword", "changeVPSsoapPassword", req.SoapPassword, Access.OWNER, Kind.NOW, accounts.needs, accounts.plan_soap_password,
              answers.AccessChanged, "Set the password with which a VPS's owner calls this service as user xenNN."),
    Operation("startVPS", "startVPS", req.OneVps, Access.OWNER, Kind.NOW, power.start_needs, power.plan_start, answers.PowerDone,
              "Start a VPS.", notok=True),
    Operation("shutdownVPS", "shutdownVPS", req.OneVps, Access.OWNER, Kind.NOW, power.needs, power.plan_shutdown, answers.PowerDone,
              "Ask a VPS to shut down.", notok=True),
    Operation("rebootVPS", "", req.OneVps, Access.OWNER, Kind.NOW, power.needs, power.plan_reboot, answers.PowerDone,
              "Ask a VPS to reboot.", notok=True),
    Operation("destroyVPS", "destroyVPS", req.OneVps, Access.OWNER, Kind.NOW, power.needs, power.plan_destroy, answers.PowerDone,
              "End a VPS at once, as pulling the plug does; answers when it is gone.", notok=True),
    Operation("enterRescue", "", req.OneVps, Access.ADMIN, Kind.NOW, rescue.needs, rescue.plan_enter, answers.RescueStarted,
              "Start the node's rescue system on the disks of a VPS that is down; answers with a password for it."),
    Operation("leaveRescue", "", req.OneVps, Access.ADMIN, Kind.NOW, rescue.leave_needs, rescue.plan_leave, answers.PowerDone,
              "End the rescue system of a VPS."),
    Operation("bootSingle", "", req.OneVps, Access.ADMIN, Kind.NOW, rescue.single_needs, rescue.plan_single, answers.PowerDone,
              "Start a VPS once in single-user mode."),
    Operation("listStartedVPS", "listStartedVPS", req.NoParameters, Access.READ_ALL, Kind.READ, reports.started_needs, reports.started, answers.StartedList,
              "List what runs on this node.", notok=True),
    Operation("listVPS", "", req.NoParameters, Access.READ_ALL, Kind.READ, reports.vpses_needs, reports.vpses, answers.VpsList,
              "The state of every VPS of this node."),
    Operation("listISOs", "reportInstalledIso", req.ListIsos, Access.READ_OWN, Kind.READ, reports.iso_needs, reports.isos, answers.IsoList,
              "List the ISO images that a VPS may boot, its own and the node's; and what its own use of its quota."),
    Operation("pingAllIPs", "", req.PingAll, Access.READ_ALL, Kind.READ, reports.ping_needs, reports.pings, answers.PingList,
              "Ping every address of every configured VPS."),
    Operation("getVPSState", "getVPSState", req.GetState, Access.READ_OWN, Kind.READ, reports.state_needs, reports.state, answers.VpsState,
              "The state of a VPS: running, being installed, or not running."),
    Operation("getVPSInstallLog", "getVPSInstallLog", req.GetInstallLog, Access.READ_OWN, Kind.READ, reports.log_needs, reports.install_log, answers.InstallLog,
              "The last lines of a VPS's latest installation."),
    Operation("listInstallableOS", "getInstallableOS", req.NoParameters, Access.ANYONE, Kind.READ, reports.os_needs, reports.installable_os, answers.InstallableOs,
              "Names of the OS types of this node: its bundles, and what os.d describes."),
    Operation("listInstallableApps", "getInstallableAPP", req.NoParameters, Access.ANYONE, Kind.READ, reports.app_needs, reports.installable_apps, answers.InstallableApps,
              "Names of the appliances of this node."),
    Operation("getPerformanceData", "getCollectedPerformanceData", req.PerformanceData, Access.ADMIN, Kind.READ,
              reports.performance_needs, reports.performance, answers.PerformanceList,
              "What the VPSes used, minute by minute, oldest first; what has reached the caller is dropped."),
    Operation("getFreeSpace", "", req.NoParameters, Access.READ_ALL, Kind.READ, reports.space_needs, reports.space, answers.FreeSpace,
              "Room for disks and memory for domUs on this node."),
    Operation("infoVPS", "", req.VpsInfo, Access.READ_OWN, Kind.READ, reports.details_needs, reports.details, answers.VpsDetails,
              "A VPS's state, disks, memory, addresses and boot mode."),
    Operation("testVPSServer", "testVPSServer", req.NoParameters, Access.ANYONE, Kind.READ, reports.no_needs, reports.alive, answers.ServerAlive,
              "Answer OK."),
    Operation("getJob", "", req.GetJob, Access.ANYONE, Kind.READ, reports.job_needs, reports.job, answers.Job,
              "One job: its state, step, percent and reason of a failure."),
    Operation("getJobLog", "", req.GetJobLog, Access.ANYONE, Kind.READ, reports.job_log_needs, reports.job_log, answers.JobLogPart,
              "The log of a job, from where the last call ended."),
    Operation("listJobs", "", req.ListJobs, Access.READ_OWN, Kind.READ, reports.jobs_needs, reports.jobs, answers.JobList,
              "The jobs of a VPS or of the node, newest first."),
    Operation("cancelJob", "", req.CancelJob, Access.ADMIN, Kind.CANCEL, reports.no_needs, reports.nothing, answers.CancelAsked,
              "End a job and undo what it did."),
)


@dataclass(frozen=True)
class Form:
    """An operation under one of its names; `old` says whose parameter names and planner count."""

    operation: Operation
    name: str
    old: bool

    @property
    def parameters(self) -> tuple[req.Parameter, ...]:
        return req.parameters(self.operation.request, self.old)

    def refusal(self, error: Refused) -> Refused:
        """A planner's refusal under the operation's and the parameters' names that the caller used; planners know the new ones."""
        old = {item.wire: item.old for item in req.parameters(self.operation.request) if item.old} if self.old else {}
        return Refused(*(dataclasses.replace(
            fault, operation=self.name if fault.operation == self.operation.name else fault.operation, parameter=old.get(fault.parameter, fault.parameter))
            for fault in error.faults))


def find(name: str, rpc: bool) -> Form | None:
    """The form that `name` means in a dialect: where old and new share the name, RPC callers mean the old one."""
    for operation in OPERATIONS:
        if name == operation.name == operation.old_name:
            return Form(operation, name, rpc)
        if name in (operation.name, operation.old_name) and name:
            return Form(operation, name, name == operation.old_name)
    return None


def forms(rpc: bool) -> tuple[Form, ...]:
    """Every form of a dialect, in the table's order."""
    names = dict.fromkeys(name for operation in OPERATIONS for name in (operation.name, operation.old_name) if name)
    return tuple(form for name in names if (form := find(name, rpc)))


def prepare(name: str, given: Sequence[tuple[str, req.Given]], settings: Settings, caller: Caller, *, rpc: bool) -> Call:
    """Check and admit a call: raise Refused with every fault, or NotAllowed; nothing has run yet."""
    form = find(name, rpc)
    if form is None:
        raise Refused(ParameterFault(name[:64], "", "UnknownOperation", "unknown operation", "one of " + ", ".join(f.name for f in forms(rpc))))
    operation = form.operation
    request = req.parse(operation.request, name, given, settings, old=form.old, rpc=rpc)
    vps: VpsId | None = getattr(request, "vps", None)
    if caller.role is Role.OWNER and vps is None:
        vps = caller.vps
    admit(name, operation.access, caller, vps)
    planner = operation.old_planner if form.old and operation.old_planner else operation.planner
    needs = operation.needs(request, settings)
    if caller.role is Role.OWNER:
        needs = reports.only_of(needs, caller.vps)
    changes = operation.kind in (Kind.NOW, Kind.JOB)

    def decide(facts: Facts) -> Plan | Any:
        try:
            made = planner(request, settings, facts)
        except Refused as error:
            raise form.refusal(error) from error
        return hooks.around(made, operation.name, request, facts.hooks, settings) if isinstance(made, Plan) else made

    if changes:
        needs = (*needs, hooks.need(operation.name))
    job = getattr(request, "job", None) if operation.kind is Kind.CANCEL else None
    return Call(name, operation.kind, caller, vps, needs, decide, bool(getattr(request, "plan_only", None)), job, operation.takes_over, req.told(request))


def not_admitted(name: str, given: Sequence[tuple[str, req.Given]], caller: Caller, error: DtcxenError, *, rpc: bool) -> NotAdmitted | None:
    """What is told of a call that `prepare` raised `error` for; None when it would have changed nothing, or is no operation."""
    form = find(name, rpc)
    if form is None or form.operation.kind is Kind.READ:
        return None
    request = form.operation.request
    careful = isinstance(error, Refused) and req.has_secrets(request)
    reason = "; ".join(fault.without_value() for fault in error.faults) if careful and isinstance(error, Refused) else str(error)
    return NotAdmitted(
        name, caller, req.vps_of(request, given, old=form.old), req.told_as_given(request, given),
        f"{type(error).__name__}: {reason if len(reason) <= MOST_REASON else f'{reason[:MOST_REASON]}...'}")


MOST_REASON = 1000
"""Characters of a refusal in the audit: the first faults of a call that has hundreds."""
_NODE = Caller("node", Role.ADMIN)
"""The daemon itself, by its clock or for who watches it."""


def housekeeping(settings: Settings) -> Call:
    """The node's own call, made by the daemon's clock: drop what was kept long enough."""
    return Call("housekeeping", Kind.JOB, _NODE, None, (NeedKept(),), lambda facts: disks.plan_purge(settings, facts))


def of_the_node(name: str, settings: Settings) -> Call:
    """The node's own call of one of its reading operations, with nothing given: as the monitor's, but nobody's."""
    return prepare(name, (), settings, _NODE, rpc=False)


def latest_jobs(settings: Settings, states: tuple[str, ...], limit: int, caller: Caller = _NODE) -> Call:
    """The listJobs of `caller`, an owner's being of the own VPS, with only the latest jobs that are in one of `states`."""
    vps = (("vps", str(caller.vps)),) if caller.vps else ()
    call = prepare("listJobs", (*vps, ("limit", str(limit))), settings, caller, rpc=False)
    return dataclasses.replace(call, needs=reports.in_states(call.needs, states))


def vps_states() -> Call:
    """The node's own question what each VPS does: its StateFacts."""
    return Call("vpsStates", Kind.READ, _NODE, None, (NeedStates(),), lambda facts: facts.states)


def job_counts() -> Call:
    """The node's own question how many jobs there are in each of JOB_STATES."""
    return Call("jobCounts", Kind.READ, _NODE, None, (NeedJobCounts(),), lambda facts: facts.job_counts)
