"""The lab's machine: a Debian dom0 with Xen, and what its guests are made of, as files that QEMU boots.

    python -m tests.xenlab.image        make it unless it is there, and print where (needs root)

Made of Debian packages only, from this machine's own mirror, below .cache/xenlab/SUITE, and made anew
when anything that it is made of changes. No device-mapper, no loop mount and no Xen is needed here.
SUITE=trixie XEN_VERSION=4.20 in the environment choose another Debian than 12.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dtcxen_soap import rescuesystem
from tools.debian13 import CACHE, KEYRING, mirror

HERE = Path(__file__).resolve().parent
INPUTS = ("image.py", "packages-dom0.txt", "packages-guest.txt", "dom0", "bundle", "iso", "iso-init")
BUNDLE = "debian-small"
ISO = "/usr/share/xenlab/hvm.iso"
ROOT_DISK_BYTES = 4 << 30

_NOT_NEEDED = (
    "/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/i18n/*", "/usr/share/bash-completion/*",
    "*/lib/udev/hwdb.d/*", "*/lib/modules/*/kernel/sound/*", "*/lib/modules/*/kernel/drivers/*", "*/lib/modules/*/kernel/net/*",
    "*/lib/modules/*/kernel/fs/*")
_KERNEL_PARTS = (
    *(f"drivers/{name}" for name in ("xen", "block", "virtio", "md", "char/hw_random", "ata", "scsi", "cdrom", "dax", "firmware", "input", "tty",
                                     "net/xen-netback", "net/xen-netfront", "net/virtio_net", "net/net_failover", "net/tun", "net/dummy")),
    *(f"net/{name}" for name in ("802", "8021q", "bridge", "core", "ipv4", "ipv6", "llc", "netfilter", "packet", "sched", "unix")),
    *(f"fs/{name}" for name in ("ext4", "jbd2", "mbcache", "xfs", "btrfs", "fat", "nls", "isofs", "squashfs", "overlayfs", "fuse", "autofs", "configfs", "binfmt_misc", "quota")))
"""Most of Debian's kernel is drivers that neither QEMU nor Xen offers, and a direct boot copies all of it into each guest."""
_SLOW_UNITS = (
    "systemd-networkd-wait-online.service", "systemd-timesyncd.service", "systemd-pstore.service", "apt-daily.timer", "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "lvm2-monitor.service", "xendomains.service", "getty@tty1.service")
"""Units that no test looks at, and that cost seconds of each start under emulation."""


@dataclass(frozen=True)
class Image:
    """What was built, below one directory."""

    directory: Path
    suite: str

    @property
    def boot(self) -> Path:
        """The directory of xen, vmlinuz and initrd.img."""
        return self.directory / "boot"

    @property
    def modules(self) -> Path:
        """Modules of the kernel that dom0 and direct boots use."""
        return self.directory / "modules"

    @property
    def root(self) -> Path:
        """dom0's root disk: a file system without partitions."""
        return self.directory / "dom0.ext4"

    @property
    def key(self) -> Path:
        """The private key that opens dom0's ssh."""
        return self.directory / "id_ed25519"


def chosen() -> Image:
    """The image of the Debian that the environment asks for, whether it is there or not."""
    suite = os.environ.get("SUITE", "bookworm")
    return Image(CACHE / "xenlab" / suite, suite)


def build() -> Image:
    """That image; made first if it is not there."""
    image, xen = chosen(), os.environ.get("XEN_VERSION", "4.17")
    image.directory.mkdir(parents=True, exist_ok=True)
    stamp, wanted = image.directory / "made-of", _made_of(image.suite, xen)
    with (image.directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            _make(image, xen)
            stamp.write_text(wanted)
    return image


def rescue_tree(image: Image) -> Path:
    """The packages of a rescue system, for `dtcxen rescue-system --from-tree`: dom0 has no network to make one of."""
    wanted = ",".join(rescuesystem.PACKAGES)
    tree, stamp = image.directory / "rescue-tree", image.directory / "rescue-made-of"
    with (image.directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            with _timed("the rescue system's packages"):
                _debian(image.suite, tree, list(rescuesystem.PACKAGES), "essential")
            stamp.write_text(wanted)
    return tree


def _made_of(suite: str, xen: str) -> str:
    """A digest of everything that the image depends on, but for what the mirror holds on the day."""
    digest = hashlib.sha256(f"{suite} {xen}".encode())
    for name in INPUTS:
        path = HERE / name
        for file in [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file()):
            digest.update(f"{file.relative_to(HERE)} {file.stat().st_mode & 0o111}\n".encode() + file.read_bytes())
    return digest.hexdigest()


@contextmanager
def _timed(what: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    print(f"xenlab: {what} {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def _make(image: Image, xen: str) -> None:
    if os.geteuid() != 0:
        raise SystemExit("xenlab: making the image needs root")
    print(f"xenlab: making a {image.suite} dom0 with Xen {xen} in {image.directory}", file=sys.stderr, flush=True)
    root, guest = image.directory / "root.new", image.directory / "guest.new"
    if not image.key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "xenlab", "-f", str(image.key)], check=True)
    with _timed("two Debians"), ThreadPoolExecutor() as side_by_side:
        guests = side_by_side.submit(_debian, image.suite, guest, _listed("packages-guest.txt"), "essential")
        packages = [*_listed("packages-dom0.txt"), "linux-image-amd64", f"xen-hypervisor-{xen}-amd64", f"xen-utils-{xen}"]
        _debian(image.suite, root, packages, "minbase", f"--essential-hook=cp -a {HERE}/dom0/etc/initramfs-tools \"$1/etc/\"")
        guests.result()
    with _timed("bundle, CD and disk"):
        _furnish(root, image)
        _quieten(guest)
        _bundle(root, guest)
        _iso(root)
        _boot_files(root, image, xen)
        _disk(root, image)
    shutil.rmtree(root)
    shutil.rmtree(guest)


def _listed(name: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (HERE / name).read_text().splitlines())
    return [line for line in lines if line]


def _debian(suite: str, directory: Path, packages: list[str], variant: str, *options: str) -> None:
    """A Debian below `directory` that knows no mirror: dom0 has no way out."""
    shutil.rmtree(directory, ignore_errors=True)
    subprocess.run(
        ["mmdebstrap", "--quiet", "--mode=root", "--format=directory", f"--variant={variant}", f"--include={','.join(packages)}",
         "--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Languages "none"',
         *(f"--dpkgopt=path-exclude={path}" for path in _NOT_NEEDED),
         *(f"--dpkgopt=path-include=*/lib/modules/*/kernel/{part}{end}" for part in _KERNEL_PARTS for end in ("/*", ".ko*")),
         *options, suite, str(directory), f"deb [signed-by={KEYRING}] {mirror()} {suite} main"],
        check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    for path in (*directory.glob("var/lib/apt/lists/*"), *directory.glob("etc/apt/sources.list*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (directory / "etc/machine-id").write_text("")


def _quieten(root: Path) -> None:
    for unit in _SLOW_UNITS:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")


def _furnish(root: Path, image: Image) -> None:
    """dom0's own settings: the files of dom0/, the key, networkd, and guests' consoles logged to files."""
    shutil.copytree(HERE / "dom0", root, dirs_exist_ok=True)
    _quieten(root)
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(image.key.with_suffix(".pub"), ssh / "authorized_keys")
    wants = root / "etc/systemd/system/multi-user.target.wants"
    (wants / "systemd-networkd.service").symlink_to("/lib/systemd/system/systemd-networkd.service")
    (root / "var/log/xen/console").mkdir(parents=True)
    with (root / "etc/default/xen").open("a") as xen:
        xen.write('\nXENCONSOLED_TRACE=guest\nXENCONSOLED_ARGS="--log=guest"\n')


def _bundle(root: Path, guest: Path) -> None:
    """The guests' system as a bundle of os_dir: the seed's kind of install_os, and an image."""
    bundle = root / "usr/share/dtc-xen-os" / BUNDLE
    shutil.copytree(HERE / "bundle", bundle)
    subprocess.run(["tar", "--directory", str(guest), "--numeric-owner", "--create", "--gzip", "--file", str(bundle / "debian.tar.gz"), "."], check=True)
    for path, mode in ((bundle.parent, 0o755), (bundle, 0o755), (bundle / "install_os", 0o755), (bundle / "debian.tar.gz", 0o644)):
        os.chown(path, 0, 0)
        path.chmod(mode)


def _iso(root: Path) -> None:
    """A CD that BIOS and UEFI boot: dom0's kernel, and a busybox that only says that it runs: firmware reads a CD slowly under emulation."""
    tree = root / "usr/share/xenlab/iso"
    shutil.copytree(HERE / "iso", tree)
    init = root / "usr/share/xenlab/init"
    for name in ("bin", "dev", "proc", "sys"):
        (init / name).mkdir(parents=True)
    shutil.copy(HERE / "iso-init/xenlab-init", init / "init")
    shutil.copy(root / "usr/bin/busybox", init / "bin/busybox")
    script = (
        "cp /boot/vmlinuz-* iso/boot/vmlinuz && (cd init && find . | cpio -o -H newc --quiet) | gzip >iso/boot/initrd.img && "
        f"grub-mkrescue -o {ISO} iso 2>mkrescue.log || {{ cat mkrescue.log >&2; exit 1; }}")
    subprocess.run(["chroot", str(root), "sh", "-c", f"cd /usr/share/xenlab && {script}"], check=True, stdin=subprocess.DEVNULL)
    shutil.rmtree(tree)
    shutil.rmtree(init)


def _boot_files(root: Path, image: Image, xen: str) -> None:
    """What QEMU itself loads, whose multiboot loader wants the hypervisor unpacked; and the kernel's modules, for whoever makes a RAM disk here."""
    image.boot.mkdir(exist_ok=True)
    shutil.rmtree(image.modules, ignore_errors=True)
    (modules,) = (root / "usr/lib/modules").iterdir()
    shutil.copytree(modules, image.modules, symlinks=True)
    for pattern, name in (("vmlinuz-*", "vmlinuz"), ("initrd.img-*", "initrd.img")):
        (found,) = (root / "boot").glob(pattern)
        shutil.copy(found, image.boot / name)
    unpacked = subprocess.run(["zcat", str(root / f"boot/xen-{xen}-amd64.gz")], check=True, capture_output=True).stdout
    (image.boot / "xen").write_bytes(unpacked)


def _disk(root: Path, image: Image) -> None:
    """mkfs fills the file system itself: nothing is mounted."""
    image.root.unlink(missing_ok=True)
    with image.root.open("w") as file:
        file.truncate(ROOT_DISK_BYTES)
    subprocess.run(
        ["mkfs.ext4", "-q", "-F", "-L", "dom0", "-O", "^metadata_csum", "-E", "lazy_itable_init=1", "-d", str(root), str(image.root)], check=True)


if __name__ == "__main__":
    print(build().directory)
