"""Boots a VPS's root disk under QEMU's software emulation, as far as a login on hvc0 and commands typed there.

The disk is what reinstallOS made, untouched (snapshots take all writes). The kernel and the
initial RAM disk come from here: Debian's cloud kernel, fetched with the machine's own apt and
never installed, and a busybox that loads virtio and gives the disks their Xen names.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / ".cache/boot"
MODULES = ("virtio_pci", "virtio_console", "virtio_blk", "virtio_net", "crc32c_generic", "crc32c-intel", "ext4")
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


def _kernel() -> tuple[Path, Path]:
    """The kernel image and its modules' directory, unpacked below CACHE once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if not (CACHE / "kernel").is_dir():
        told = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True, check=True).stdout
        match = re.search(r"Depends: (linux-image-[0-9]\S+)", told)
        assert match, f"apt knows no cloud kernel:\n{told}"
        subprocess.run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", match[1]], cwd=CACHE, check=True, stdout=subprocess.DEVNULL)
        (package,) = CACHE.glob(f"{match[1]}_*.deb")
        shutil.rmtree(CACHE / "unpacked", ignore_errors=True)
        subprocess.run(["dpkg-deb", "-x", str(package), str(CACHE / "unpacked")], check=True)
        (CACHE / "unpacked").rename(CACHE / "kernel")
    (image,) = (CACHE / "kernel/boot").glob("vmlinuz-*")
    (modules,) = (CACHE / "kernel/lib/modules").iterdir()
    return image, modules


def _in_order(modules: Path) -> list[Path]:
    """The files of MODULES and of what they need, dependencies first."""
    files = {path.name.partition(".")[0].replace("-", "_"): path for path in modules.rglob("*.ko")}
    order: list[Path] = []

    def add(name: str) -> None:
        path = files.get(name.replace("-", "_"))
        if path is None or path in order:
            return
        needs = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for needed in needs[1].decode().split(",") if needs and needs[1] else ():
            add(needed)
        order.append(path)

    for name in MODULES:
        add(name)
    return order


def _member(name: str, mode: int, data: bytes = b"", number: list[int] = [0]) -> bytes:  # noqa: B006
    """One member of a cpio archive in the format that kernels read (newc)."""
    number[0] += 1
    words = (number[0], mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % word for word in words) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def _initrd(modules: Path) -> Path:
    """The initial RAM disk, made anew each time: it takes no time."""
    busybox = shutil.which("busybox")
    assert busybox, "busybox-static is needed"
    order = _in_order(modules)
    members = [_member(name, stat.S_IFDIR | 0o755) for name in ("bin", "modules")]
    members.append(_member("bin/busybox", stat.S_IFREG | 0o755, Path(busybox).read_bytes()))
    members += [_member(f"modules/{path.name}", stat.S_IFREG | 0o644, path.read_bytes()) for path in order]
    members.append(_member("init", stat.S_IFREG | 0o755, INIT.format(modules=" ".join(path.name for path in order)).encode()))
    made = CACHE / f"initrd-{os.getpid()}"
    made.write_bytes(b"".join([*members, _member("TRAILER!!!", 0)]))
    return made


class Console:
    """The console of a running guest: text that it wrote, and words typed into it."""

    def __init__(self, qemu: subprocess.Popen[bytes]) -> None:
        self._qemu, self.text, self._seen = qemu, "", 0
        self._selector = selectors.DefaultSelector()
        assert qemu.stdout is not None
        self._selector.register(qemu.stdout, selectors.EVENT_READ)

    def wait_for(self, pattern: str, seconds: float) -> str:
        """Read until `pattern` appears behind what was waited for before; the text up to its end."""
        deadline = time.monotonic() + seconds
        while not (match := re.compile(pattern).search(self.text, self._seen)):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} within {seconds} s on the console:\n{self.text[-4000:]}"
            if self._selector.select(left):
                assert self._qemu.stdout is not None
                data = os.read(self._qemu.stdout.fileno(), 65536)
                assert data, f"QEMU ended:\n{self.text[-4000:]}"
                self.text += data.decode(errors="replace").replace("\r", "")
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
        self.wait_for(r"[#] |Login incorrect", 180)
        assert "Login incorrect" not in self.text, self.text[-2000:]
        self.type(f"stty -echo; PS1='{PROMPT[:-3]}''{PROMPT[-3:]}'; export TERM=dumb")
        self.wait_for(PROMPT, 60)

    def run(self, command: str, seconds: float = 120) -> str:
        """What a command prints."""
        self.type(command)
        return re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", self.wait_for(PROMPT, seconds).removesuffix(PROMPT)).strip()


@contextmanager
def booted(root: str, swap: str, mac: str) -> Iterator[Console]:
    """A guest with these disks, started; it is ended with the block, and nothing is written to the disks."""
    image, modules = _kernel()
    initrd = _initrd(modules)
    argv = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "512", "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", str(image), "-initrd", str(initrd), "-append", "console=hvc0 net.ifnames=0 root=/dev/xvda ro quiet",
            "-device", "virtio-serial-pci", "-chardev", "stdio,id=console,signal=off", "-device", "virtconsole,chardev=console",
            "-drive", f"file={root},format=raw,if=virtio,snapshot=on", "-drive", f"file={swap},format=raw,if=virtio,snapshot=on",
            "-netdev", "user,id=net,restrict=on", "-device", f"virtio-net-pci,netdev=net,mac={mac},romfile="]
    qemu = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield Console(qemu)
    finally:
        qemu.kill()
        qemu.wait()
        initrd.unlink()
