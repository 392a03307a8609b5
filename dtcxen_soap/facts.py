"""The world as surveyed: frozen records that parsers return and planners read.

A planner says with Needs which facts it wants; the survey fills only those, so a state that the
panel polls every two seconds costs no more than it must.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dtcxen_soap.accountfacts import AccountsFact, KeyFact
from dtcxen_soap.firstbootfacts import FirstbootFact, NeedFirstboot
from dtcxen_soap.imagefacts import ImageCache
from dtcxen_soap.lookfacts import LogPart, NeedJobCounts, NeedJobLog, NeedStates, StateFact
from dtcxen_soap.movefacts import ArrivalFact, MoveFact, NeedArrival, NeedMove
from dtcxen_soap.osfacts import BundleFact, OsTypeFact
from dtcxen_soap.perffacts import NeedApps, NeedRoom, NeedSamples, Sample
from dtcxen_soap.vps import BootMode, DiskRole, ImageType, IpAddress, MacAddress, Mib, Secret, VpsId

# -- Needs: what a planner may ask for ------------------------------------------------------------


@dataclass(frozen=True)
class NeedDisks:
    """The disks of one VPS, disks set aside, room of both kinds, and domU state: Facts.disks, .kept, .leftovers, .room, .lvm, .domu.

    With `content` also what is on each disk.
    """

    vps: VpsId
    content: bool = False


@dataclass(frozen=True)
class NeedDomu:
    """Whether the VPS is configured and runs: Facts.domu."""

    vps: VpsId


@dataclass(frozen=True)
class NeedMemory:
    """Memory that Xen has left for domUs: Facts.memory."""


@dataclass(frozen=True)
class NeedStarted:
    """Every domain that runs, dom0 left out: Facts.started."""


@dataclass(frozen=True)
class NeedRescue:
    """The node's rescue system, and whether the VPS has a rescue or single-user configuration: Facts.rescue."""

    vps: VpsId


@dataclass(frozen=True)
class NeedAccounts:
    """How the owner of a VPS signs in on this node, and what the node lacks for it: Facts.accounts."""

    vps: VpsId


@dataclass(frozen=True)
class NeedKeys:
    """What ssh-keygen says of public keys, one a line: Facts.keys."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class NeedTenancy:
    """The journal's word on the VPS: Facts.tenancy."""

    vps: VpsId


@dataclass(frozen=True)
class NeedKept:
    """Every disk that was set aside or is to be wiped on this node, of any VPS and tenancy: Facts.kept, .doomed, .now."""


@dataclass(frozen=True)
class NeedInstall:
    """What an installation of `os_type` leans on: Facts.node, .bundle, .os_type, .cache, .taken_macs. With "" only the node's: no bundle."""

    vps: VpsId
    os_type: str = ""


@dataclass(frozen=True)
class NeedQemu:
    """The device model of HVM guests: Facts.qemu."""


@dataclass(frozen=True)
class NeedHooks:
    """The admin's hooks of an operation: Facts.hooks."""

    operation: str


@dataclass(frozen=True)
class NeedIsos:
    """The ISOs that a VPS may boot, of its home and of the library: Facts.isos."""

    vps: VpsId


@dataclass(frozen=True)
class NeedPings:
    """Echo requests to every address of every configured VPS: Facts.pings."""

    timeout_ms: int
    count: int


@dataclass(frozen=True)
class NeedOsList:
    """Names of the bundles, and of what os.d describes well: Facts.bundles, .os_types."""


@dataclass(frozen=True)
class NeedJobs:
    """Job records, newest first: Facts.jobs. Of one job, of one VPS, or all.

    With `owner` only jobs of that VPS's present tenancy are seen; with `states` only those in one of them.
    """

    job: int | None = None
    vps: VpsId | None = None
    owner: VpsId | None = None
    limit: int = 100
    states: tuple[str, ...] = ()


@dataclass(frozen=True)
class NeedLog:
    """The log of the VPS's latest installation: Facts.log (None: there is none)."""

    vps: VpsId
    lines: int


Need = (
    NeedDisks | NeedDomu | NeedMemory | NeedStarted | NeedRescue | NeedTenancy | NeedKept | NeedInstall | NeedQemu | NeedHooks | NeedIsos | NeedPings
    | NeedOsList | NeedJobs | NeedLog | NeedSamples | NeedRoom | NeedApps | NeedAccounts | NeedKeys | NeedFirstboot
    | NeedStates | NeedJobCounts | NeedJobLog | NeedMove | NeedArrival
)

# -- Records --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DiskFact:
    """A disk that exists, an image file or a logical volume (`path` is its device then).

    `blank`: never used, so it holds nobody's data. Of a file: no block was ever written. Of a volume:
    it still has our mark of a new one and no signature, or is a thin one without data.
    `unzeroed`: a new volume whose extents may show what an earlier owner wrote; no guest may see it yet.
    `in_use` says what holds it ("mounted on /x", "attached to /dev/loop3"), or is empty.
    `content` is what blkid(8) calls it: a file system's type, "swap", "LVM2_member"; a partition table
    as "partitions (dos)"; "" when there is nothing, or it was not asked.
    `pool` is the thin pool of a thin volume, "" for all others.
    """

    role: DiskRole
    path: str
    size_bytes: int
    blank: bool
    in_use: str = ""
    image_type: ImageType = ImageType.VBD
    unzeroed: bool = False
    content: str = ""
    pool: str = ""


@dataclass(frozen=True)
class KeptDisk:
    """An old tenant's or an old system's disk, set aside under a name that no domU uses."""

    path: str
    size_bytes: int
    kept_since: datetime
    role: DiskRole = DiskRole.ROOT
    image_type: ImageType = ImageType.VBD
    pool: str = ""


@dataclass(frozen=True)
class Leftover:
    """What an interrupted plan left beside a VPS's disks: unfinished ones, and old ones that were not dropped yet."""

    path: str
    image_type: ImageType = ImageType.VBD
    pool: str = ""


@dataclass(frozen=True)
class Room:
    """Space of the file system of image files, in bytes; `promised` is what sparse files may still grow by."""

    free_bytes: int
    promised_bytes: int = 0


@dataclass(frozen=True)
class ThinPool:
    """A thin pool of a volume group. `promised_bytes` is what its volumes may still grow by; `zeroes`: no volume of it shows old blocks."""

    name: str
    size_bytes: int
    free_bytes: int
    promised_bytes: int
    zeroes: bool


@dataclass(frozen=True)
class VolumeGroup:
    """A volume group with its thin pools."""

    name: str
    free_bytes: int
    extent_bytes: int
    pools: tuple[ThinPool, ...] = ()


@dataclass(frozen=True)
class LvmFact:
    """The node's volume groups. `trouble` says why they are not known; no LVM at all is no trouble, there are just none."""

    groups: tuple[VolumeGroup, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class MemoryFact:
    """Memory of the node as Xen tells it. `ballooning`: xl may shrink dom0 to make room, so less free is no obstacle."""

    free: Mib
    total: Mib
    ballooning: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class StartedFact:
    """A domain that runs: a row of `xl list`. `flags` are xl's own six letters, `memory` what it has now."""

    name: str
    domid: int
    memory: Mib
    vcpus: int
    state: str
    flags: str
    cpu_seconds: float


@dataclass(frozen=True)
class RescueFact:
    """The node's rescue system, and the one-shot configurations of a VPS that exist. Paths are "" when the file is not there.

    `pvh`: that kernel says of itself that it can be a PVH guest.
    `password` is a fresh one, made for this call alone. `owner_keys` are the lines of the VPS owner's
    authorized_keys, `config_text` the VPS's own configuration, "" without one.
    """

    kernel: str = ""
    ramdisk: str = ""
    rescue_config: str = ""
    single_config: str = ""
    seed: str = ""
    password: Secret = Secret("")
    owner_keys: tuple[str, ...] = ()
    config_text: str = ""
    pvh: bool = False


def plainly(state: str) -> str:
    """A domU's state for people: to xl an idle one is "blocked", which here means something worse."""
    return "running" if state == "blocked" else state


@dataclass(frozen=True)
class DomuFact:
    """What the toolstack and /etc/xen say of one VPS. `state` is "" when no domU runs.

    `trouble` says why that is not known: then nothing may be done that a running domU would suffer from.
    `toolstack`: domUs can run on this node at all. `rescue`: what runs is the node's rescue system.
    `lacking` are the disks among `paths` that are not there.
    `config_*` and `boot` are what the configuration says, None or "" where it says nothing; `kept_config`: one is kept with an earlier system,
    `moved_config`: one of before it moved to another node.
    """

    configured: bool
    state: str = ""
    domid: int | None = None
    max_memory: Mib | None = None
    vcpus: int | None = None
    cpu_seconds: float | None = None
    paths: tuple[str, ...] = ()
    trouble: str = ""
    toolstack: bool = False
    flags: str = ""
    rescue: bool = False
    boot: BootMode | None = None
    config_memory: Mib | None = None
    config_mac: MacAddress | None = None
    config_addresses: tuple[IpAddress, ...] = ()
    kept_config: bool = False
    moved_config: bool = False
    config_vcpus: int | None = None
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True)
class TenancyFact:
    """The journal's word: which tenancy this is (killVPSDisk starts the next), and why it is blocked, if it is."""

    number: int
    blocked: str = ""


@dataclass(frozen=True)
class AptSource:
    """One line of the node's own apt sources, in one-line format without options but signed-by."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""

    def __str__(self) -> str:
        options = f"[signed-by={self.signed_by}] " if self.signed_by else ""
        return f"deb {options}{self.uri} {self.suite} {' '.join(self.components)}"


@dataclass(frozen=True)
class NodeFact:
    """The dom0 itself. `loaders` are the paths of GRUB images for guests and of pygrub that exist; `hvm`: its processor can run PVH and HVM guests.

    `unsafe_postinstall`: what others could have written of the node's own post-installation script.
    """

    hostname: str
    node_id: str
    release: str
    kernel_release: str
    kernels: frozenset[str] = frozenset()
    commands: frozenset[str] = frozenset()
    apt_sources: tuple[AptSource, ...] = ()
    keyrings: frozenset[str] = frozenset()
    texts: Mapping[str, str] = field(default_factory=dict)
    loaders: frozenset[str] = frozenset()
    hvm: bool = False
    unsafe_postinstall: tuple[str, ...] = ()


@dataclass(frozen=True)
class QemuFact:
    """The device model of HVM guests, `path` "" where there is none. `vnc_passwords`: it can compare them; `uefi`: there is firmware for it."""

    path: str = ""
    vnc_passwords: bool = False
    uefi: bool = False


@dataclass(frozen=True)
class Member:
    """One member of a tarball, its names as they are written there. `size` in bytes, `mode` the permission bits.

    `kind`: file, directory, symlink, hardlink, fifo, or device (nodes and what tar may yet invent).
    """

    name: str
    kind: str
    linkname: str = ""
    size: int = 0
    mode: int = 0


@dataclass(frozen=True)
class IsoFact:
    """One regular *.iso file with an ISO 9660 signature: its owner's, or of the node's `library`."""

    name: str
    size_bytes: int
    changed: datetime
    path: str = ""
    library: bool = False


@dataclass(frozen=True)
class PingFact:
    """What came back from one address; `rtt_ms` is the mean, None when nothing did."""

    vps: VpsId
    address: IpAddress
    sent: int
    received: int
    rtt_ms: float | None


@dataclass(frozen=True)
class JobFact:
    """A job as the journal knows it. `state`: queued, running, done, failed, cancelled or interrupted."""

    id: int
    vps: VpsId | None
    tenancy: int
    operation: str
    state: str
    caller: str
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    step: int = 0
    steps: int = 0
    step_name: str = ""
    percent: int = 0
    reason: str = ""
    log_path: str = ""
    log_bytes: int = 0


@dataclass(frozen=True)
class HookFact:
    """The safe, executable hooks of each phase (pre, post, error) of one operation, in order; and those refused."""

    programs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unsafe: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What the survey found; a field that was not asked for stays at its empty value.

    `reserved` is what admitted plans will still take, in bytes by place (plans.Taking).
    """

    now: datetime | None = None
    disks: tuple[DiskFact, ...] = ()
    kept: tuple[KeptDisk, ...] = ()
    doomed: tuple[str, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    room: Room = Room(0)
    lvm: LvmFact = LvmFact()
    reserved: Mapping[str, int] = field(default_factory=dict)
    memory: MemoryFact | None = None
    started: tuple[StartedFact, ...] = ()
    rescue: RescueFact = RescueFact()
    domu: DomuFact = DomuFact(False)
    busy: str = ""
    tenancy: TenancyFact = TenancyFact(0)
    accounts: AccountsFact = AccountsFact()
    keys: tuple[KeyFact, ...] = ()
    node: NodeFact = NodeFact("", "", "", "")
    qemu: QemuFact = QemuFact()
    bundle: BundleFact | None = None
    os_type: OsTypeFact | None = None
    cache: ImageCache = ImageCache()
    taken_macs: Mapping[MacAddress, str] = field(default_factory=dict)
    hooks: HookFact = HookFact()
    firstboot: FirstbootFact = FirstbootFact()
    isos: tuple[IsoFact, ...] = ()
    pings: tuple[PingFact, ...] = ()
    bundles: tuple[str, ...] = ()
    os_types: tuple[str, ...] = ()
    jobs: tuple[JobFact, ...] = ()
    log: str | None = None
    samples: tuple[Sample, ...] = ()
    apps: tuple[str, ...] = ()
    job_counts: Mapping[str, int] = field(default_factory=dict)
    states: tuple[StateFact, ...] = ()
    job_log: LogPart | None = None
    move: MoveFact = MoveFact()
    arrival: ArrivalFact = ArrivalFact()

    def disk(self, role: DiskRole) -> DiskFact | None:
        """The VPS's root or swap disk, if it has one."""
        return next((disk for disk in self.disks if disk.role is role), None)


@dataclass(frozen=True)
class TreeFact:
    """What is inside a guest tree: the text of the small files that finishing may change, and the paths that exist.

    Paths are relative to the tree ("etc/fstab"), links resolved within it. `heads` are the first
    64 KiB of the files that were asked for so, such as kernels.
    """

    texts: Mapping[str, str]
    paths: frozenset[str]
    heads: Mapping[str, bytes] = field(default_factory=dict)

    def has(self, path: str) -> bool:
        return path in self.paths
