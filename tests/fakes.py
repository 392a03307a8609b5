"""ScriptedDom0: a Dom0 made of a table and a dictionary, for tests of everything that is not the edge.

It answers commands from a table, keeps files in memory, records every call, and breaks where a
test says so. What a real machine does is tested in tests/integration.

    dom0 = ScriptedDom0({("losetup", "-j"): "/dev/loop3"}, files={"/etc/hostname": b"node"})
    dom0.answers["mkfs.ext4"] = Ran(1, "no space")
    dom0.breaks["write_file", "/etc/xen/xen01"] = OSError(28, "No space left on device")
    assert ("mount", "/x.img", "/mnt", "ext4", "") in dom0.calls
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import json
import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dtcxen_soap import accountfiles, logicalvolumes
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.facts import Member, TreeFact
from dtcxen_soap.imagefacts import GoldenImage
from dtcxen_soap.imagesteps import CloneImage, KeepImage, MakingImage, VerifyImage
from dtcxen_soap.plans import MakeAccount, Run
from dtcxen_soap.processes import Ran, Watch, unheard
from dtcxen_soap.terminals import Terminal
from dtcxen_soap.tree import Tree
from dtcxen_soap.vps import Mib, Secret

Answer = Ran | str | BaseException | Callable[[tuple[str, ...]], "Ran | str"]
"""What a command answers: a Ran, its output (code 0), an exception to raise, or a function of argv."""


def _missing(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


@dataclass
class Memory:
    """Files by their path; a directory is there when something is below it or it was made."""

    files: dict[str, bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    directories: set[str] = field(default_factory=lambda: {"/"})
    modes: dict[str, int] = field(default_factory=dict)
    owners: dict[str, tuple[int, int]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def names(self) -> set[str]:
        """Every path that exists, parents of files included."""
        known = {*self.files, *self.links, *self.directories}
        for path in list(known):
            while (path := posixpath.dirname(path)) not in known:
                known.add(path)
        return known

    def put(self, path: str, data: bytes, mode: int) -> None:
        if path in self.directories:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        self.forget(path)
        self.files[path], self.modes[path] = data, mode

    def move(self, source: str, target: str) -> None:
        if source not in self.files and source not in self.links:
            raise _missing(source)
        self.forget(target)
        for table in (self.files, self.links, self.modes, self.sizes, self.owners):
            if source in table:
                table[target] = table.pop(source)  # type: ignore[assignment]

    def forget(self, path: str) -> None:
        for table in (self.files, self.links, self.modes, self.sizes, self.owners):
            table.pop(path, None)


@dataclass
class FakeVolume:
    """A logical volume in memory; `content` follows it through renames, so that a test sees whose it is. A thin one has `percent` of data."""

    size: Mib
    pool: str = ""
    tags: set[str] = field(default_factory=set)
    is_open: bool = False
    content: str = ""
    percent: str = ""
    kind: str = "linear"
    zeroes: bool = True

    def row(self, vg: str, lv: str) -> dict[str, str]:
        """Its row of lvs."""
        kind = "thin" if self.pool else self.kind
        zero = "unknown" if kind == "linear" else "zero" if self.zeroes else ""
        return {"vg_name": vg, "lv_name": lv, "lv_size": str(self.size.bytes), "lv_tags": ",".join(sorted(self.tags)), "pool_lv": self.pool, "segtype": kind,
                "data_percent": self.percent or ("0.00" if self.pool else ""), "zero": zero, "lv_device_open": "open" if self.is_open else ""}


class ScriptedDom0(Dom0):
    """Dom0 for unit tests. `calls` holds (method, arguments...), of `run` and `capture` the Run or argv."""

    def __init__(self, answers: Mapping[tuple[str, ...] | str, Answer] | None = None, files: Mapping[str, bytes | str] | None = None) -> None:
        self.answers: dict[tuple[str, ...] | str, Answer] = dict(answers or {})
        self.memory = Memory({path: data.encode() if isinstance(data, str) else data for path, data in (files or {}).items()})
        self.calls: list[tuple[object, ...]] = []
        self.ran: list[Run] = []
        self.breaks: dict[str | tuple[str, str], BaseException] = {}
        self.mounts: list[tuple[str, str, str, str]] = []
        self.loops: dict[str, str] = {}
        self.volumes: dict[tuple[str, str], FakeVolume] = {}
        self.users: dict[str, str] = {}
        self.vgs: dict[str, int] = {}
        self.root = True
        self.changed: dict[str, float] = {}
        self.claimed: dict[str, tuple[str, ...]] = {}
        self.held_open: dict[str, tuple[str, ...]] = {}
        self.written: set[str] = set()
        self.blocks: dict[str, int] = {}
        self.groups: dict[int, int] = {}
        self.installed: frozenset[str] | None = None
        self.members: dict[str, tuple[Member, ...]] = {}
        self.golden: dict[str, tuple[GoldenImage, ...]] = {}
        self.free = 1 << 40
        self.homes_mount: tuple[str, frozenset[str]] = ("/", frozenset({"rw"}))
        self.kernel_release = "6.1.0-test"
        self.node_name = "node.example.com"
        self.strict = True

    @property
    def files(self) -> dict[str, bytes]:
        """Path to content, ready to be changed by the test."""
        return self.memory.files

    @property
    def argvs(self) -> tuple[tuple[str, ...], ...]:
        """The commands of all steps that ran, in order."""
        return tuple(step.argv for step in self.ran)

    def _note(self, method: str, *arguments: object) -> None:
        self.calls.append((method, *arguments))
        path = str(arguments[0]) if arguments else ""
        for key in ((method, path), method):
            if key in self.breaks:
                raise self.breaks[key]

    def _answer(self, argv: tuple[str, ...]) -> Ran:
        """The answer of the longest beginning of argv in the table; an unknown command is a test's mistake."""
        keys = [argv[:length] for length in range(len(argv), 0, -1)]
        for key in (*keys, argv[0]):
            if key in self.answers:
                return self._spoken(self.answers[key], argv)
        if argv[0] in ("vgs", "lvs"):
            return Ran(0, self._report(argv)) if self.vgs else Ran(127, "")
        if self.strict:
            raise AssertionError(f"no answer for {argv}")
        return Ran(0, "")

    @staticmethod
    def _spoken(answer: Answer, argv: tuple[str, ...]) -> Ran:
        if isinstance(answer, BaseException):
            raise answer
        value = answer if isinstance(answer, Ran | str) else answer(argv)
        return Ran(0, value) if isinstance(value, str) else value

    # -- commands

    def command_of(self, step: Run) -> tuple[str, ...]:
        return step.argv

    def run(self, step: Run, say: Callable[[str], None], watch: Watch) -> Ran:
        self.ran.append(step)
        self.calls.append(("run", step))
        if watch.cancelled():
            raise Cancelled("cancelled")
        watch.started(4242, 1)
        try:
            ran = self._answer(step.argv)
            for line in ran.output.splitlines():
                say(line)
        finally:
            watch.ended(4242)
        if watch.cancelled():
            raise Cancelled("cancelled")
        return ran

    def capture(self, argv: tuple[str, ...], timeout_seconds: int = 30) -> Ran:
        self.calls.append(("capture", argv))
        return self._answer(argv)

    def end_group(self, pid: int, start_time: int) -> bool:
        self._note("end_group", pid, start_time)
        if self.groups.get(pid) != start_time:
            return False
        del self.groups[pid]
        return True

    # -- the node's files

    def read_bytes(self, path: str, limit: int = 1 << 20) -> bytes:
        self._note("read_bytes", path)
        path = self.memory.links.get(path, path)
        if path not in self.files:
            raise _missing(path)
        if len(self.files[path]) > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return self.files[path]

    def read_text(self, path: str, limit: int = 1 << 20) -> str:
        return self.read_bytes(path, limit).decode(errors="surrogateescape")

    def read_from(self, path: str, offset: int, limit: int) -> bytes:
        return self.read_bytes(path)[offset:][:limit]

    def exists(self, path: str) -> bool:
        return path in self.memory.names()

    def listdir(self, path: str) -> tuple[str, ...]:
        prefix = path.rstrip("/") + "/"
        return tuple(sorted(name.removeprefix(prefix) for name in self.memory.names() if name.startswith(prefix) and name != prefix and "/" not in name.removeprefix(prefix)))

    def stat(self, path: str) -> os.stat_result:
        path = self.memory.links.get(path, path)
        if path not in self.memory.names():
            raise _missing(path)
        kind = stat.S_IFREG if path in self.files else stat.S_IFDIR
        uid, gid = self.memory.owners.get(path, (0, 0))
        mode = self.memory.modes.get(path, 0o644 if path in self.files else 0o755)
        size = self.memory.sizes.get(path, len(self.files.get(path, b"")))
        blocks = self.blocks.get(path, -(-size // 512))
        return os.stat_result((kind | mode, 1, 1, 1, uid, gid, size, 0, 0, 0), {"st_blocks": blocks, "st_mtime": self.changed.get(path, 0.0)})

    def is_regular(self, path: str) -> bool:
        return path in self.files

    def blank(self, path: str) -> bool:
        if path not in self.files:
            raise _missing(path)
        return path not in self.written

    def free_bytes(self, path: str) -> int:
        return self.free

    def write_file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._note("write_file", path, data, mode)
        self.memory.put(path, data, mode)

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        self._note("make_directory", path, mode)
        self.memory.directories.add(path)

    def allocate_file(self, path: str, size_bytes: int, sparse: bool, mode: int = 0o600) -> None:
        self._note("allocate_file", path, size_bytes, sparse, mode)
        self._must_be_new(path)
        self.memory.put(path, b"", mode)
        self.memory.sizes[path] = size_bytes

    def remove_file(self, path: str) -> None:
        self._note("remove_file", path)
        self.memory.forget(path)

    def remove_directory(self, path: str) -> bool:
        self._note("remove_directory", path)
        if any(name.startswith(f"{path}/") for name in self.memory.names()):
            return False
        self.memory.directories.discard(path)
        return True

    def rename_file(self, source: str, target: str) -> None:
        self._note("rename_file", source, target)
        self._must_be_new(target)
        self.memory.move(source, target)

    def exchange_file(self, source: str, target: str, keep: str) -> None:
        self._note("exchange_file", source, target, keep)
        if source not in self.files:
            raise _missing(source)
        self._must_be_new(keep)
        self.memory.move(target, keep)
        self.memory.move(source, target)

    def pin_file(self, top: str, path: str, target: str) -> None:
        self._note("pin_file", top, path, target)
        if path not in self.files:
            raise _missing(path)
        self.memory.put(target, self.files[path], 0o644)

    def symlink(self, path: str, target: str) -> None:
        self._note("symlink", path, target)
        self.memory.forget(path)
        self.memory.links[path] = target

    def _must_be_new(self, path: str) -> None:
        if path in self.memory.names():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)

    # -- accounts: `users` are those that steps made, with the hash of their password

    def make_account(self, step: MakeAccount) -> None:
        self._note("make_account", step.user, step.group, step.home, step.login)
        self.users[step.user] = ""

    def remove_account(self, user: str, lock: str) -> None:
        self._note("remove_account", user, lock)
        self.users.pop(user, None)

    def set_account_password(self, users: tuple[str, ...], hashed: str, lock: str) -> None:
        self._note("set_account_password", " ".join(users), hashed, lock)
        self.users |= dict.fromkeys(users, hashed)

    def set_htpasswd(self, path: str, user: str, hashed: str | None, lock: str) -> None:
        self._note("set_htpasswd", path, user, hashed, lock)
        self.memory.put(path, accountfiles.with_line(self.files.get(path, b""), user, hashed), 0o600)

    def make_home(self, top: str, name: str, uploader: str = "") -> None:
        self._note("make_home", f"{top}/{name}", uploader)
        self.memory.directories |= {f"{top}/{name}", f"{top}/{name}/.ssh", *((f"{top}/{name}/iso",) if uploader else ())}

    def mark_project(self, top: str, path: str, project: int) -> None:
        self._note("mark_project", top, path, project)

    def write_keys(self, top: str, name: str, keys: tuple[str, ...]) -> None:
        self._note("write_keys", f"{top}/{name}", keys)
        self.memory.put(f"{top}/{name}/.ssh/authorized_keys", "".join(f"{key}\n" for key in keys).encode(), 0o644)

    def remove_below(self, top: str, path: str) -> None:
        self._note("remove_below", f"{top}/{path}")
        for name in self.memory.names():
            if name == f"{top}/{path}" or name.startswith(f"{top}/{path}/"):
                self.memory.forget(name)
                self.memory.directories.discard(name)

    # -- mounts and loop devices

    def mount(self, source: str, at: str, fstype: str, options: str = "") -> None:
        self._note("mount", source, at, fstype, options)
        if self.mounted_at(at):
            raise Failed("", f"{at} is a mount point already")
        self.memory.directories.add(at)
        self.mounts.append((source, at, fstype, options))

    def unmount(self, at: str, say: Callable[[str], None] = unheard) -> None:
        self._note("unmount", at)
        gone = set(self.mounts_below(at))
        self.mounts = [mount for mount in self.mounts if mount[1] not in gone]

    def mounts_below(self, prefix: str) -> tuple[str, ...]:
        return tuple(at for _, at, _, _ in reversed(self.mounts) if at == prefix or at.startswith(prefix.rstrip("/") + "/"))

    def mounted_at(self, path: str) -> bool:
        return any(at == path for _, at, _, _ in self.mounts)

    def loop_devices_of(self, path: str) -> tuple[str, ...]:
        return tuple(sorted(device for device, backing in self.loops.items() if backing == path))

    def detach_loop(self, device: str) -> None:
        self._note("detach_loop", device)
        self.loops.pop(device, None)

    # -- who uses what

    def claims(self, path: str) -> tuple[str, ...]:
        return self.claimed.get(path, ())

    def holders(self, path: str, program: str = "") -> tuple[str, ...]:
        return tuple(holder for holder in self.held_open.get(path, ()) if holder.endswith(f"({program})") or not program)

    def ask_device_model(self, path: str, *questions: str) -> tuple[Any, ...]:
        self._note("ask_device_model", path)
        said = json.loads(self.files[path])
        return tuple(said[question] for question in questions)

    def terminal(self, path: str) -> ScriptedTerminal:
        self._note("terminal", path)
        return ScriptedTerminal(self, path)

    # -- logical volumes; what a rename within an exchange does to a test is in breaks["lvrename", source]

    def volume_exists(self, vg: str, lv: str) -> bool:
        return (vg, lv) in self.volumes

    def make_volume(self, vg: str, lv: str, size: Mib, pool: str = "", tags: tuple[str, ...] = ()) -> None:
        self._note("make_volume", f"{vg}/{lv}", size, pool, tags)
        if (vg, lv) in self.volumes:
            raise Failed("", f'lvcreate ended with code 5: Logical Volume "{lv}" already exists in volume group "{vg}"')
        self.volumes[vg, lv] = FakeVolume(size, pool, set(tags))

    def remove_volume(self, vg: str, lv: str, wipe: bool = False, watch: Watch | None = None) -> None:
        self._note("remove_volume", f"{vg}/{lv}", wipe)
        volume = self.volumes.get((vg, lv))
        if volume and volume.is_open:
            raise Failed("", f"/dev/{vg}/{lv} is open, as the disk of a running domU is")
        if volume and wipe and watch and watch.cancelled():
            raise Cancelled("cancelled")
        self.volumes.pop((vg, lv), None)

    def rename_volume(self, vg: str, source: str, target: str) -> None:
        self._note("rename_volume", f"{vg}/{source}", target)
        if (vg, source) in self.volumes or (vg, target) not in self.volumes:
            self._lvrename(vg, source, target)

    def exchange_volume(self, vg: str, source: str, target: str, keep: str) -> None:
        self._note("exchange_volume", f"{vg}/{source}", target, keep)
        logicalvolumes.swap({lv for group, lv in self.volumes if group == vg}, lambda old, new: self._lvrename(vg, old, new), source, target, keep)

    def tag_volume(self, vg: str, lv: str, add: tuple[str, ...] = (), remove: tuple[str, ...] = ()) -> None:
        self._note("tag_volume", f"{vg}/{lv}", add, remove)
        if (vg, lv) not in self.volumes:
            raise Failed("", f'lvchange ended with code 5: Failed to find logical volume "{vg}/{lv}"')
        self.volumes[vg, lv].tags = (self.volumes[vg, lv].tags | set(add)) - set(remove)

    def _report(self, argv: tuple[str, ...]) -> str:
        """What vgs and lvs say of `vgs` (free bytes by name; none: LVM is not installed) and `volumes`."""
        if argv[0] == "vgs":
            rows = [{"vg_name": vg, "vg_free": str(free), "vg_extent_size": str(4 << 20)} for vg, free in self.vgs.items()]
        else:
            rows = [volume.row(vg, lv) for (vg, lv), volume in self.volumes.items()]
        return json.dumps({"report": [{argv[0][:2]: rows}]})

    def _lvrename(self, vg: str, source: str, target: str) -> None:
        """What lvrename does, and says."""
        if ("lvrename", source) in self.breaks:
            raise self.breaks["lvrename", source]
        if (vg, source) not in self.volumes:
            raise Failed("", f'lvrename ended with code 5: Existing logical volume "{source}" not found in volume group "{vg}"')
        if (vg, target) in self.volumes:
            raise Failed("", f'lvrename ended with code 5: Logical Volume "{target}" already exists in volume group "{vg}"')
        self.volumes[vg, target] = self.volumes.pop((vg, source))

    # -- the machine

    def commands(self, names: Iterable[str]) -> frozenset[str]:
        return frozenset(names) if self.installed is None else frozenset(names) & self.installed

    def is_root(self) -> bool:
        return self.root

    def uname_release(self) -> str:
        return self.kernel_release

    def hostname(self) -> str:
        return self.node_name

    def tree(self, root: str) -> ScriptedTree:
        return ScriptedTree(root, self)

    def new_host_key(self, kind: str) -> tuple[Secret, str]:
        return Secret("-----BEGIN OPENSSH PRIVATE KEY-----\n"), f"ssh-{kind} AAAA"

    def mount_of(self, path: str) -> tuple[str, frozenset[str]]:
        return self.homes_mount

    def images(self, directory: str) -> tuple[GoldenImage, ...]:
        return self.golden.get(directory, ())

    def begin_image(self, hold: MakingImage, watch: Watch) -> bool:
        self._note("begin_image", hold.key)
        return all(image.key != hold.key for image in self.images(hold.directory))

    def end_image(self, unfinished: str) -> None:
        self._note("end_image", unfinished)
        self.memory.forget(unfinished)

    def keep_image(self, step: KeepImage, made_with: Mapping[str, str], watch: Watch) -> None:
        self._note("keep_image", step.key, dict(made_with))

    def verify_image(self, step: VerifyImage, watch: Watch) -> None:
        self._note("verify_image", step.key)

    def clone_image(self, step: CloneImage, watch: Watch) -> None:
        self._note("clone_image", step.key, step.target)

    def check_tarball(self, path: str, judge: Callable[[Iterable[Any]], str], watch: Watch | None = None) -> None:
        self._note("check_tarball", path)
        if verdict := judge(self.members.get(path, ())):
            raise Failed("", verdict)

    def digest(self, path: str) -> str:
        self._note("digest", path)
        if path not in self.memory.files:
            raise _missing(path)
        return hashlib.sha256(self.memory.files[path]).hexdigest()

    def check_digest(self, path: str, sha256: str, watch: Watch | None = None, keep: bool = False) -> None:
        self._note("check_digest", path, sha256)
        if hashlib.sha256(self.read_bytes(path)).hexdigest() != sha256:
            self.memory.forget(path)
            raise Failed("", "its SHA-256 is another: it is removed, and not used")


class ScriptedTerminal(Terminal):
    """A pseudo terminal that says what the dom0's file of its name holds, once."""

    def __init__(self, dom0: ScriptedDom0, path: str) -> None:
        self._dom0, self._path = dom0, path

    def read(self) -> bytes:
        said, self._dom0.files[self._path] = self._dom0.files.get(self._path, b""), b""
        return said

    def close(self) -> None:
        self._dom0.calls.append(("close", self._path))


class ScriptedTree(Tree):
    """A tree in a ScriptedDom0's memory: its files are the dom0's files below `root`. Links are not followed."""

    def __init__(self, root: str, dom0: ScriptedDom0) -> None:
        super().__init__(root)
        self._dom0 = dom0

    def _at(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.root, path.lstrip("/")))

    def read_text(self, path: str, limit: int = 1 << 20) -> str | None:
        data = self._dom0.files.get(self._at(path))
        return None if data is None else data.decode(errors="surrogateescape")

    def exists(self, path: str) -> bool:
        return self._at(path) in self._dom0.memory.names()

    def status(self, path: str, follow: bool = True) -> os.stat_result | None:
        return self._dom0.stat(self._at(path)) if self.exists(path) else None

    def names(self, path: str) -> tuple[str, ...]:
        return self._dom0.listdir(self._at(path))

    def target(self, path: str) -> str:
        return self._dom0.memory.links.get(self._at(path), "")

    def write(self, path: str, data: bytes | str, mode: int = 0o644, owner: tuple[int, int] = (0, 0)) -> None:
        content = data.encode(errors="surrogateescape") if isinstance(data, str) else data
        self._dom0._note("tree.write", self._at(path), content, mode, owner)
        self._dom0.memory.put(self._at(path), content, mode)
        self._dom0.memory.owners[self._at(path)] = owner

    def remove(self, path: str) -> None:
        self._dom0._note("tree.remove", self._at(path))
        self._dom0.memory.forget(self._at(path))

    def symlink(self, path: str, target: str) -> None:
        self._dom0._note("tree.symlink", self._at(path), target)
        self._dom0.memory.forget(self._at(path))
        self._dom0.memory.links[self._at(path)] = target

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        self._dom0._note("tree.make_directory", self._at(path), mode)
        self._dom0.memory.directories.add(self._at(path))

    def copy(self, source_dir: str, into: str) -> None:
        self._dom0._note("tree.copy", self._at(into), source_dir)
        name = posixpath.basename(source_dir)
        for path, data in list(self._dom0.files.items()):
            if path.startswith(source_dir + "/"):
                self._dom0.memory.put(self._at(f"{into}/{name}{path.removeprefix(source_dir)}"), data, 0o644)

    def copy_file(self, source: str, path: str, mode: int = 0o644) -> None:
        self._dom0._note("tree.copy_file", self._at(path), source, mode)
        self._dom0.memory.put(self._at(path), self._dom0.files[source], mode)

    def set_password(self, user: str, hashed: str) -> None:
        self._dom0._note("tree.set_password", self.root, user, hashed)

    def look(self, texts: Iterable[str], globs: Iterable[str], heads: Iterable[str] = ()) -> TreeFact:
        wanted, patterns = tuple(texts), tuple(globs)
        found = {path: text for path in wanted if (text := self.read_text(path)) is not None}
        inside = {name.removeprefix(self.root.rstrip("/") + "/") for name in self._dom0.memory.names() if name.startswith(self.root.rstrip("/") + "/")}
        begun = {name: self._dom0.files[self._at(name)][:1 << 16] for name in inside if self._at(name) in self._dom0.files and any(_fits(name, each) for each in heads)}
        return TreeFact(found, frozenset(name for name in inside if name in wanted or any(_fits(name, pattern) for pattern in patterns)), begun)


def _fits(name: str, pattern: str) -> bool:
    """Whether a path fits a pattern component by component, so that * never crosses a slash."""
    return name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)
