"""What operations answer: one frozen record each. The wire makes the WSDL's reply types from them.

Field names are snake_case here and camelCase on the wire; docstrings become documentation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class DisksReady:
    """setupVPSDisk: the disks are there. `created` is false when they were there before, unused."""

    created: bool
    disks: tuple[str, ...]
    plan: tuple[str, ...] = ()


@dataclass(frozen=True)
class DisksRemoved:
    """killVPSDisk: these disks were removed; none when there were none."""

    removed: tuple[str, ...]
    plan: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobStarted:
    """A job was started; `job` is absent when only the plan was asked for."""

    job: int | None = None
    plan: tuple[str, ...] = ()


@dataclass(frozen=True)
class RolledBack:
    """rollbackVPS: the system that was replaced then (UTC) is back; the newer one is kept in its stead."""

    vps: str
    kept_since: datetime
    plan: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConfigWritten:
    """writeXenHVMconf, changeBSDkernel: the domU's configuration was written; the one before it, if there was one, is kept beside it.

    `screen` is where VNC listens: an address of the node, or a UNIX socket that only root reaches; "" without a screen.
    `boots` says what an HVM guest boots: its disk, an ISO of its own, or the library's.
    """

    path: str
    screen: str = ""
    boots: str = ""
    plan: tuple[str, ...] = ()


@dataclass(frozen=True)
class AccessChanged:
    """setConsolePassword, setSshKey, setSoapPassword: how a VPS's owner signs in was changed, as which users, and with which keys."""

    vps: str
    users: tuple[str, ...]
    fingerprints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Iso:
    """One ISO that a VPS may boot, its own or of the node's library. Size in bytes, date in UTC."""

    name: str
    size_bytes: int
    changed: datetime
    library: bool = False


@dataclass(frozen=True)
class IsoList:
    """listISOs: what the VPS may boot, its own first; of two with one name its own is booted. What its own use and may use, in bytes; quota 0: no limit."""

    isos: tuple[Iso, ...]
    used_bytes: int
    quota_bytes: int


@dataclass(frozen=True)
class Ping:
    """What one address answered. Round trip in milliseconds, loss in percent."""

    vps: str
    address: str
    answered: bool
    rtt_ms: float | None
    loss_percent: int


@dataclass(frozen=True)
class PingList:
    """pingAllIPs: one row per address of every configured VPS."""

    pings: tuple[Ping, ...]


@dataclass(frozen=True)
class VpsState:
    """getVPSState. `state`: running, rescue (the rescue system runs), mkos, fsck, "Not running" or "NOTOK - why"; the rest only of a running domU, memory in MiB."""

    vps: str
    state: str
    domid: int | None = None
    max_memory_mib: int | None = None
    vcpus: int | None = None
    domu_state: str | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True)
class VpsList:
    """listVPS: every VPS that has a configuration, a disk or a domU on this node. One that Xen is just rebooting may show as not running."""

    vpses: tuple[VpsState, ...]


@dataclass(frozen=True)
class PowerDone:
    """startVPS, shutdownVPS, rebootVPS, destroyVPS: what was done, in words. A guest that was asked to shut down or reboot takes its time."""

    vps: str
    message: str


@dataclass(frozen=True)
class RescueStarted:
    """enterRescue: sign in as `user` with this password, which is told here and nowhere else, or with a key.

    `addresses` are those that the rescue system has, each with its network and, where there is one, its gateway.
    """

    vps: str
    user: str
    password: str = field(repr=False)
    addresses: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Started:
    """One domU that runs. Memory in MiB; `flags` are xl's own letters, `state` is the gravest of them in a word."""

    name: str
    domid: int
    memory_mib: int
    vcpus: int
    state: str
    flags: str
    cpu_seconds: float


@dataclass(frozen=True)
class StartedList:
    """listStartedVPS: every domU that runs on this node, dom0 left out."""

    domus: tuple[Started, ...]


@dataclass(frozen=True)
class Performance:
    """One VPS in one sample: counted since its domU began, and (`used`) since the sample before. Seconds of CPU, bytes as the VPS sees them, sectors of 512 bytes."""

    vps: str
    cpu_seconds: float
    net_in_bytes: int
    net_out_bytes: int
    root_sectors: int
    swap_sectors: int
    used_cpu_seconds: float
    used_net_in_bytes: int
    used_net_out_bytes: int
    used_root_sectors: int
    used_swap_sectors: int


@dataclass(frozen=True)
class PerformanceSample:
    """What the VPSes that ran had used at a moment (UTC)."""

    at: datetime
    vpses: tuple[Performance, ...]


@dataclass(frozen=True)
class PerformanceList:
    """getPerformanceData: samples, oldest first. All up to number `newest` are dropped once this reply has reached the caller; 0 when there are none."""

    samples: tuple[PerformanceSample, ...]
    newest: int


@dataclass(frozen=True)
class Space:
    """Free space of one kind in MiB, where it is, and whether new disks go there unless the caller says otherwise."""

    image_type: str
    place: str
    free_mib: int


@dataclass(frozen=True)
class FreeSpace:
    """getFreeSpace: room for disks, promises to sparse and thin ones taken off, and memory for domUs; absent where Xen does not tell it."""

    spaces: tuple[Space, ...]
    free_memory_mib: int | None
    total_memory_mib: int | None


@dataclass(frozen=True)
class VpsDisk:
    """A disk of a VPS. `used`: something was written on it."""

    role: str
    image_type: str
    path: str
    size_mib: int
    used: bool


@dataclass(frozen=True)
class VpsDetails:
    """infoVPS: a VPS as its configuration and the node have it; what is not known is absent. `kept_since`: an earlier system is kept (rollbackVPS)."""

    vps: str
    state: str
    configured: bool
    boot_mode: str | None
    memory_mib: int | None
    vcpus: int | None
    mac: str | None
    addresses: tuple[str, ...]
    disks: tuple[VpsDisk, ...]
    kept_since: datetime | None


@dataclass(frozen=True)
class InstallableApps:
    """listInstallableApps: names of the appliances of this node."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class InstallLog:
    """getVPSInstallLog: the last lines of the VPS's latest installation."""

    text: str


@dataclass(frozen=True)
class InstallableOs:
    """listInstallableOS: names of the bundles and described OS types of this node."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class ServerAlive:
    """testVPSServer."""

    text: str = "OK"


@dataclass(frozen=True)
class Job:
    """One job. Step `step` of `steps`, percent of the whole, times in UTC, log size in bytes."""

    id: int
    vps: str | None
    operation: str
    state: str
    caller: str
    step: int
    steps: int
    step_name: str
    percent: int
    created: datetime
    started: datetime | None
    ended: datetime | None
    reason: str
    log_bytes: int


@dataclass(frozen=True)
class JobList:
    """listJobs: newest first."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class JobLogPart:
    """getJobLog: whole lines of a job's log. `nextByte` is where the next call goes on; all was told once the job has ended and `text` is empty."""

    job: int
    state: str
    text: str
    next_byte: int


@dataclass(frozen=True)
class CancelAsked:
    """cancelJob: whether the job was still alive, and so is being ended."""

    job: int
    cancelled: bool
