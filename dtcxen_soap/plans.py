"""What will be done, as data: steps, holds, and the plan that an operation's planner returns (planprint.py prints it).

A step says why in one sentence, what it does, what undoes it, and what it destroys for ever, if anything. Undo steps join the rollback only
after their step succeeded. A Hold is the `with` of plans: it acquires, runs its inner steps and always releases, last first. Rewrites of
files that do not exist yet are decided by `Look`: a second piece of planning, over the tree's facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dtcxen_soap.facts import Member, TreeFact
from dtcxen_soap.imagesteps import CloneImage, KeepImage, MakingImage, VerifyImage
from dtcxen_soap.movesteps import AskPeer, DropAtPeer, GiveUp, KeepAtPeer, SendDisk, SendOwner, StartAgain, StartAtPeer, StopDomu, TakeBack
from dtcxen_soap.onestep import OneStep
from dtcxen_soap.quotasteps import MarkProject
from dtcxen_soap.vps import IpAddress, Mib, Secret, VpsId

Content = str | Secret


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """Where a program of others runs: a private mount namespace in which only `writable` can be written.

    `overlays` lays our directories over the node's, as (ours, over): bundles find our scripts at the original's paths even where those do not exist.
    `furnished` is a tree that has a /proc and a small /dev meanwhile, for what the program itself starts inside it.
    """

    writable: tuple[str, ...]
    overlays: tuple[tuple[str, str], ...] = ()
    furnished: str = ""


@dataclass(frozen=True, kw_only=True)
class Run(OneStep):
    """Run a command of the node; with `chroot` a command of the guest, inside its tree.

    The environment is clean: PATH, locale, HOME and `env`. `marks` are texts that the output shows in this order, each another share of
    the step's progress. `stdin` may be a secret. Guest code and installers get a PID namespace of their own (`contained`), so that nothing
    outlives them. `outcomes` say in words what a code means: for the job when it is among ok_codes, else why it failed. `takes` is what it
    uses up of a place (bytes by place, as "memory"): reserved from the decision until the step is done. What it leaves running on purpose
    (the toolstack's monitor of a domU) outlives us: where systemd runs, the command gets a `scope` of that name. A `patient` one is never
    ended for a cancel or a restart of ours, since half of it is worse than all. `words` makes of its output the reason of its failure.
    """

    argv: tuple[str, ...]
    env: tuple[tuple[str, str | Secret], ...] = ()
    stdin: Content = ""
    chroot: str = ""
    cwd: str = "/"
    contained: bool = False
    confinement: Confinement | None = None
    timeout_seconds: int = 300
    ok_codes: tuple[int, ...] = (0,)
    marks: tuple[str, ...] = ()
    outcomes: tuple[tuple[int, str], ...] = ()
    takes: tuple[tuple[str, int], ...] = ()
    scope: str = ""
    patient: bool = False
    words: Callable[[str], str] | None = None


@dataclass(frozen=True, kw_only=True)
class WriteFile(OneStep):
    """Write a file of the node: whole or not at all, temporary beside it, fsynced, renamed."""

    path: str
    content: Content
    mode: int = 0o644


@dataclass(frozen=True, kw_only=True)
class MakeDirectory(OneStep):
    """Make a directory of the node and its parents; fine when it is there."""

    path: str
    mode: int = 0o755


@dataclass(frozen=True, kw_only=True)
class AllocateFile(OneStep):
    """Make an image file that reads as zeros: whole under a temporary name, then named. Fails if `path` exists."""

    path: str
    size: Mib
    sparse: bool = False
    mode: int = 0o600


@dataclass(frozen=True, kw_only=True)
class RemoveFile(OneStep):
    """Remove a file of the node; fine when it is gone."""

    path: str


@dataclass(frozen=True, kw_only=True)
class RemoveDirectory(OneStep):
    """Remove a directory of the node if nothing is in it; else it stays, and the outcome tells. Fine when it is gone."""
    path: str


@dataclass(frozen=True, kw_only=True)
class RenameFile(OneStep):
    """Rename a file of the node, parents of the target made; fails if the target exists."""

    source: str
    target: str


@dataclass(frozen=True, kw_only=True)
class ExchangeFile(OneStep):
    """Put `source` in the place of `target` in one atomic move; the old target lives on as `keep`."""

    source: str
    target: str
    keep: str


@dataclass(frozen=True, kw_only=True)
class PinFile(OneStep):
    """Give a regular file of somebody's home, somewhere below `top`, a second name that only root can change; no link is followed."""

    top: str
    path: str
    target: str


@dataclass(frozen=True, kw_only=True)
class MakeVolume(OneStep):
    """Make a logical volume, in a thin pool when `pool` names one; fails if the name exists. `tags` are LVM's."""

    vg: str
    lv: str
    size: Mib
    pool: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RemoveVolume(OneStep):
    """Remove a logical volume; fine when it is gone, Failed while anything has it open.

    With `wipe` it is overwritten with zeros before, and stays if that fails; this may take hours.
    """

    vg: str
    lv: str
    wipe: bool = False


@dataclass(frozen=True, kw_only=True)
class RenameVolume(OneStep):
    """Rename a logical volume; fails if the target exists, fine when it was renamed already."""

    vg: str
    source: str
    target: str


@dataclass(frozen=True, kw_only=True)
class ExchangeVolume(OneStep):
    """Put volume `source` in the place of `target`, which lives on as `keep`. Two renames: run again after a crash it ends its work."""

    vg: str
    source: str
    target: str
    keep: str


@dataclass(frozen=True, kw_only=True)
class TagVolume(OneStep):
    """Add tags to a logical volume, and take tags off it."""

    vg: str
    lv: str
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MustBeFree(OneStep):
    """Fail unless the VPS's domU is down by Xen's word and nobody holds these disks, right before they are touched.

    The plan may have waited for its thread since the survey. A path that does not exist is free.
    """

    vps: VpsId
    paths: tuple[str, ...] = ()
    toolstack: bool = True


@dataclass(frozen=True, kw_only=True)
class WaitGone(OneStep):
    """Wait until Xen knows no domain of the VPS's name any more; Failed after `seconds`."""

    vps: VpsId
    seconds: int = 20


@dataclass(frozen=True, kw_only=True)
class EndDomu(OneStep):
    """End the VPS's domU at once, as pulling the plug does, and wait until it is gone; fine when it is gone already."""

    vps: VpsId
    seconds: int = 20


@dataclass(frozen=True, kw_only=True)
class WatchBoot(OneStep):
    """Watch a domU that was just started until its console asks for a login or an address answers.

    The outcome tells which and after how long; Failed with the console's last lines after `seconds`, or when the domU ends or crashes meanwhile.
    """

    vps: VpsId
    addresses: tuple[IpAddress, ...]
    seconds: int = 300


@dataclass(frozen=True, kw_only=True)
class Symlink(OneStep):
    """Make or replace a symbolic link of the node in one atomic move."""

    path: str
    target: str


@dataclass(frozen=True, kw_only=True)
class MakeAccount(OneStep):
    """Make a system user and its group, without a password; one that is there gets this group, home and login shell, and is let in again.

    `lock` is the node's lock file for accounts, as in the steps below.
    """

    user: str
    group: str
    home: str
    login: str
    comment: str
    lock: str


@dataclass(frozen=True, kw_only=True)
class RemoveAccount(OneStep):
    """Let a system user in no more, end all that it runs, and remove it; fine when it is gone. Its files stay."""

    user: str
    lock: str


@dataclass(frozen=True, kw_only=True)
class AccountPassword(OneStep):
    """Set one password for these system users, hashed by us."""

    users: tuple[str, ...]
    password: Secret
    lock: str


@dataclass(frozen=True, kw_only=True)
class HtpasswdLine(OneStep):
    """Set a user's password in a file of Basic credentials, hashed by us; without a `password` take the user's lines out. All else stays."""

    path: str
    user: str
    lock: str
    password: Secret | None = None


@dataclass(frozen=True, kw_only=True)
class MakeHome(OneStep):
    """Make directory `name` in `top` a home that only root changes, and in it iso/, which is `uploader`'s unless that is "". No link is followed."""

    top: str
    name: str
    uploader: str = ""


@dataclass(frozen=True, kw_only=True)
class WriteKeys(OneStep):
    """Make these lines all the SSH keys that open home `name` in `top`. No link is followed."""

    top: str
    name: str
    keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RemoveBelow(OneStep):
    """Remove a file, or a directory with all that is in it, somewhere below `top`; no link is followed. Fine when it is gone."""

    top: str
    path: str


@dataclass(frozen=True, kw_only=True)
class BlockVps(OneStep):
    """Record in the journal why this VPS must not start or install until killVPSDisk; "" lifts it."""

    vps: VpsId
    reason: str


@dataclass(frozen=True, kw_only=True)
class NextTenancy(OneStep):
    """Raise the VPS's tenancy counter: earlier jobs, logs and kept disks become invisible."""

    vps: VpsId


@dataclass(frozen=True, kw_only=True)
class CheckTarball(OneStep):
    """Read a tarball's whole list of members and fail with what `judge` says of them ("" is fine); writes nothing."""

    path: str
    judge: Callable[[Iterable[Member]], str]


@dataclass(frozen=True, kw_only=True)
class CheckDigest(OneStep):
    """Read a file of the node to its end and fail unless its SHA-256 is this one; unless `keep` one that is not is removed, so that nobody ever uses it."""

    path: str
    sha256: str
    keep: bool = False


@dataclass(frozen=True, kw_only=True)
class TreeWrite(OneStep):
    """Write a file inside a guest tree; no link leads out of it. Parents are made. `owner` is (uid, gid)."""

    tree: str
    path: str
    content: Content
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class TreeRemove(OneStep):
    """Remove a file inside a guest tree; fine when it is gone."""

    tree: str
    path: str


@dataclass(frozen=True, kw_only=True)
class TreeSymlink(OneStep):
    """Make or replace a link inside a guest tree; its target is text, for the guest to follow."""

    tree: str
    path: str
    target: str


@dataclass(frozen=True, kw_only=True)
class TreeDirectory(OneStep):
    """Make a directory inside a guest tree, and its parents."""

    tree: str
    path: str
    mode: int = 0o755


@dataclass(frozen=True, kw_only=True)
class TreeCopy(OneStep):
    """Copy a directory of the node into a directory of a guest tree, under its own name."""

    tree: str
    source: str
    into: str


@dataclass(frozen=True, kw_only=True)
class TreeCopyFile(OneStep):
    """Copy one file of the node into a guest tree, as `path`."""

    tree: str
    source: str
    path: str
    mode: int = 0o644


@dataclass(frozen=True, kw_only=True)
class TreePassword(OneStep):
    """Set a user's password in the tree's etc/shadow, hashed by us (SHA-512 crypt); no guest program runs."""

    tree: str
    user: str
    password: Secret


@dataclass(frozen=True, kw_only=True)
class TreeHostKey(OneStep):
    """Give the tree a key of its own for its sshd, of a `kind` as ssh-keygen says it, made by us: `path` and `path`.pub; no guest program runs, the key is in no step."""
    tree: str
    path: str
    comment: str
    kind: str = "rsa"


@dataclass(frozen=True, kw_only=True)
class Look(OneStep):
    """Look at the tree that earlier steps made, then plan the rest with `decide`, a pure function.

    `texts` are the files whose text it needs, `globs` the patterns of paths whose existence it asks,
    `heads` the patterns of files whose first 64 KiB it needs.
    """

    tree: str
    decide: Callable[[TreeFact], tuple[Step, ...]]
    texts: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Mounted(OneStep):
    """Hold: mount a file system for the inner steps; an image file gets a loop device that goes with it."""

    source: str
    at: str
    fstype: str
    options: str = "nodev,nosuid"
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class ServicesOff(OneStep):
    """Hold: no service starts inside the tree (policy-rc.d says no) for the inner steps."""

    tree: str
    steps: tuple[Step, ...]


Hold = Mounted | ServicesOff | MakingImage
Action = (
    Run | WriteFile | MakeDirectory | AllocateFile | RemoveFile | RemoveDirectory | RenameFile | ExchangeFile | PinFile | Symlink | BlockVps | NextTenancy
    | CheckTarball | CheckDigest | TreeWrite | TreeRemove | TreeSymlink | TreeDirectory | TreeCopy | TreeCopyFile | TreePassword | TreeHostKey | Look
    | MakeVolume | RemoveVolume | RenameVolume | ExchangeVolume | TagVolume | MustBeFree | WaitGone | EndDomu | WatchBoot
    | MakeAccount | RemoveAccount | AccountPassword | HtpasswdLine | MakeHome | WriteKeys | RemoveBelow | MarkProject | KeepImage | VerifyImage | CloneImage
    | AskPeer | DropAtPeer | SendDisk | StopDomu | StartAgain | SendOwner | GiveUp | TakeBack | StartAtPeer | KeepAtPeer
)
Step = Action | Hold

IMAGE_FILES, MEMORY = "image files", "memory"
"""Places that plans take from, beside volume groups ("vg0") and thin pools ("vg0/pool")."""


def taking(step: Step) -> dict[str, int]:
    """What a step uses up, in bytes by place, until it shows in the node's own figures."""
    match step:
        case AllocateFile(sparse=False):
            return {IMAGE_FILES: step.size.bytes}
        case MakeVolume():
            return {f"{step.vg}/{step.pool}" if step.pool else step.vg: step.size.bytes}
        case Run():
            return dict(step.takes)
        case _:
            return {}


@dataclass(frozen=True)
class Plan:
    """Everything an operation will do, in order, and the answer once it is done (a job's is its number).

    An `answer` that is an error of errors.py is raised once the steps are done (a refusal that must leave a mark). `on_error` runs after
    the rollback of a failed plan (error hooks); Run steps there get the failed step and the reason as DTCXEN_FAILED_STEP and DTCXEN_REASON.
    `notes` go to the log first. `proof` runs once the plan has succeeded: when it fails the job has failed, and says what is `unproven`, but nothing is undone.
    `outcome` is what a success is called in words, before whatever the steps found out.
    `later` goes on as a job that holds the VPS, after the call was answered; whoever changes the VPS next ends it. `leaves_work` asks for housekeeping soon.
    """

    title: str
    steps: tuple[Step, ...]
    answer: Any = None
    on_error: tuple[Step, ...] = ()
    notes: tuple[str, ...] = field(default=())
    proof: tuple[Step, ...] = ()
    unproven: str = ""
    outcome: str = ""
    later: Plan | None = None
    leaves_work: bool = False

    @property
    def whole(self) -> tuple[Step, ...]:
        """All steps, those of the proof too."""
        return self.steps + self.proof


def walk(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Every step in the order of execution, a hold before its inner steps."""
    for step in steps:
        yield step
        if isinstance(step, Hold):
            yield from walk(step.steps)
