"""Boots a VPS's root disk under QEMU's software emulation, as far as a login on hvc0 and commands typed there.

The disk is what reinstallOS made, untouched (snapshots take all writes). The kernel and the
initial RAM disk come from here: Debian's cloud kernel, fetched from this machine's own apt sources
and never installed, and a busybox that loads virtio and gives the disks their Xen names.
"""

from __future__ import annotations

import fcntl
import lzma
import os
import re
import selectors
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / ".cache/boot"
TRANSCRIPT = CACHE / "failed-boot.txt"
MODULES = ("virtio_pci", "virtio_console", "virtio_blk", "virtio_net", "crc32c_generic", "crc32c_intel", "ext4")
COMMAND_LINE = "console=hvc0 net.ifnames=0 root=/dev/xvda ro quiet mitigations=off panic=-1"
"""As a Xen guest's, but: emulating mitigations costs a tenth of the time to the prompt, and a kernel that panics ends QEMU at once."""
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run /new
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /modules/$module 2>/dev/null; done
/bin/busybox mount -t tmpfs -o mode=755 run /run
/bin/busybox mkdir -p /run/udev/rules.d
echo 'KERNEL=="vda", SYMLINK+="xvda"' >/run/udev/rules.d/90-xen-names.rules
echo 'KERNEL=="vdb", SYMLINK+="xvdb"' >>/run/udev/rules.d/90-xen-names.rules
/bin/busybox mount -t ext4 /dev/vda /new || echo 'the root disk cannot be mounted'
/bin/busybox mount --move /run /new/run
/bin/busybox mount --move /dev /new/dev
/bin/busybox umount /sys /proc
exec /bin/busybox switch_root /new /sbin/init
"""
PROMPT = "dtcxen-boot# "
_ESCAPES = re.compile(r"\x1b(\[[?0-9;]*[a-zA-Z]|\][^\x07\x1b]*(\x07|\x1b\\))")


def _fetch_kernel(into: Path) -> None:
    """Unpack the cloud kernel's package to `into`, whole or not at all.

    apt keeps its lists in the cache for this: those of the machine may be missing, or name what the mirror has no more.
    """
    lists = CACHE / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    own = ("-q", "-o", f"Dir::State::Lists={lists}", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "APT::Sandbox::User=root")

    def apt(*words: str) -> str:
        done = subprocess.run([*words, *own], cwd=CACHE, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    apt("apt-get", "update")
    told = apt("apt-cache", "depends", "linux-image-cloud-amd64")
    match = re.search(r"Depends: (linux-image-[0-9]\S+)", told)
    assert match, f"apt knows no cloud kernel:\n{told}"
    apt("apt-get", "download", match[1])
    (package,) = CACHE.glob(f"{match[1]}_*.deb")
    unpacked = into.with_suffix(".new")
    shutil.rmtree(unpacked, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-x", str(package), str(unpacked)], check=True)
    unpacked.rename(into)
    package.unlink()
    shutil.rmtree(lists)


def kernel() -> tuple[Path, Path]:
    """The kernel image and its modules' directory, fetched once; test runs beside this one wait."""
    CACHE.mkdir(parents=True, exist_ok=True)
    fetched = CACHE / "kernel"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not fetched.is_dir():
            _fetch_kernel(fetched)
    (image,) = (fetched / "boot").glob("vmlinuz-*")
    (modules,) = next(path for path in (fetched / "lib/modules", fetched / "usr/lib/modules") if path.is_dir()).iterdir()
    return image, modules


def _in_order(modules: Path) -> dict[str, bytes]:
    """MODULES and what they need, dependencies first; those that the kernel has built in are left out.

    Read from the modules themselves: modules.dep is made when a kernel is installed. Debian 13's are compressed.
    """
    files = {path.name.partition(".")[0].replace("-", "_"): path for path in modules.rglob("*.ko*")}
    order: dict[str, bytes] = {}

    def add(name: str) -> None:
        name = name.replace("-", "_")
        if name not in files or name in order:
            return
        data = files[name].read_bytes()
        data = lzma.decompress(data) if files[name].suffix == ".xz" else data
        needs = re.search(rb"\0depends=([^\0]+)\0", data)
        for needed in needs[1].decode().split(",") if needs else ():
            add(needed)
        order[name] = data

    for name in MODULES:
        add(name)
    return order


def _archive(members: list[tuple[str, int, bytes]]) -> bytes:
    """A cpio archive in the format that kernels read (newc): name, mode and content of each member."""
    made = bytearray()
    for number, (name, mode, data) in enumerate([*members, ("TRAILER!!!", 0, b"")], 1):
        words = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        for part in (b"070701" + b"".join(b"%08X" % word for word in words) + name.encode() + b"\0", data):
            made += part + b"\0" * (-len(part) % 4)
    return bytes(made)


def _initrd(modules: Path) -> bytes:
    """The initial RAM disk, made anew each time: it takes no time."""
    busybox = shutil.which("busybox")
    assert busybox, "busybox-static is needed"
    order = _in_order(modules)
    program, folder = stat.S_IFREG | 0o755, stat.S_IFDIR | 0o755
    members = [("bin", folder, b""), ("modules", folder, b""), ("bin/busybox", program, Path(busybox).read_bytes())]
    members += [(f"modules/{name}", stat.S_IFREG | 0o644, data) for name, data in order.items()]
    return _archive([*members, ("init", program, INIT.format(modules=" ".join(order)).encode())])


class Console:
    """The console of a running guest: text that it wrote, and words typed into it."""

    def __init__(self, qemu: subprocess.Popen[bytes]) -> None:
        self._qemu, self.text, self._seen = qemu, "", 0
        self._selector = selectors.DefaultSelector()
        assert qemu.stdout is not None
        self._selector.register(qemu.stdout, selectors.EVENT_READ)

    def _hear(self, deadline: float) -> bool:
        """Take what the guest writes next, before the deadline; whether its console is still open."""
        left = deadline - time.monotonic()
        assert left > 0, f"nothing more within the time given:\n{self.text[-4000:]}"
        if not self._selector.select(left):
            return True
        assert self._qemu.stdout is not None
        data = os.read(self._qemu.stdout.fileno(), 65536)
        self.text += data.decode(errors="replace").replace("\r", "")
        return bool(data)

    def wait_for(self, pattern: str, seconds: float) -> str:
        """Read until `pattern` appears behind what was waited for before; the text up to its end."""
        deadline = time.monotonic() + seconds
        while not (match := re.compile(pattern).search(self.text, self._seen)):
            assert time.monotonic() < deadline, f"no {pattern!r} within {seconds} s on the console:\n{self.text[-4000:]}"
            assert self._hear(deadline), f"QEMU ended before {pattern!r}:\n{self.text[-4000:]}"
        before, self._seen = self.text[self._seen:match.end()], match.end()
        return before

    def type(self, line: str) -> None:
        """Type a line, and Enter."""
        assert self._qemu.stdin is not None
        self._qemu.stdin.write(line.encode() + b"\n")
        self._qemu.stdin.flush()

    def log_in(self, password: str, seconds: float) -> None:
        """Sign in as root at the login prompt; a shell with a prompt of ours is there then."""
        self.wait_for(r"login: ", seconds)
        self.type("root")
        self.wait_for(r"Password: ", 120)
        self.type(password)
        told = self.wait_for(r"# \Z|Login incorrect", 180)
        assert "Login incorrect" not in told, told
        self.type(f"stty -echo; PS1='{PROMPT[:-3]}''{PROMPT[-3:]}'; export TERM=dumb SYSTEMD_PAGER=")
        self.wait_for(PROMPT, 60)

    def run(self, command: str, seconds: float = 120) -> str:
        """What a command prints."""
        self.type(command)
        return _ESCAPES.sub("", self.wait_for(PROMPT, seconds).removesuffix(PROMPT)).strip()

    def power_off(self, seconds: float = 120, command: str = "systemctl poweroff") -> int:
        """Have the guest shut itself down, or reboot, which ends it as well; QEMU's exit code once it has."""
        self.type(command)
        deadline = time.monotonic() + seconds
        while self._hear(deadline):
            pass
        return self._qemu.wait(30)


@contextmanager
def booted(root: str, swap: str, mac: str) -> Iterator[Console]:
    """A guest with these disks, started; it is ended with the block, and nothing is written to the disks.

    What its console showed is kept in TRANSCRIPT when the block fails. The guest's network card is plugged in nowhere.
    """
    image, modules = kernel()
    with tempfile.NamedTemporaryFile(suffix=".initrd") as initrd:
        initrd.write(_initrd(modules))
        initrd.flush()
        with started(str(image), initrd.name, (root, swap), mac, "hubport,hubid=0", COMMAND_LINE) as console:
            yield console


@contextmanager
def started(image: str, initrd: str, disks: tuple[str, ...], mac: str, network: str, command_line: str) -> Iterator[Console]:
    """A guest of 512 MiB with this kernel, RAM disk, disks and network (of QEMU's -netdev); as `booted`, which tells the rest."""
    argv = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "512", "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", image, "-initrd", initrd, "-append", command_line,
            "-device", "virtio-serial-pci", "-chardev", "stdio,id=console,signal=off", "-device", "virtconsole,chardev=console",
            *(word for disk in disks for word in ("-drive", f"file={disk},format=raw,if=virtio,snapshot=on")),
            "-netdev", f"{network},id=net", "-device", f"virtio-net-pci,netdev=net,mac={mac},romfile="]
    qemu = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    console = Console(qemu)
    try:
        yield console
    except BaseException as error:
        TRANSCRIPT.write_text(console.text)
        error.add_note(f"what the console showed: {TRANSCRIPT}")
        raise
    finally:
        qemu.kill()
        qemu.communicate()
