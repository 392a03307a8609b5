"""Clean Debian 12 and 13, for building this project's Debian package and for installing it.

    python -m tools.packagechroots DIRECTORY    builds the package of this tree for each, and puts it into DIRECTORY/SUITE

Each is made once by mmdebstrap from this machine's own mirror, below .cache/, and made anew when the list of its packages
changes. Nobody changes one: a run lies over it as a layer in memory, and is gone with its last process.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tools.debian13 import CACHE, KEYRING, ROOT, mirror

SUITES = ("bookworm", "trixie")
ALWAYS_THERE = ("apt-utils", "systemd")
"""What every Debian node has, beside what a package asks for."""
CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}


def build(suite: str, use: str, packages: tuple[str, ...]) -> Path:
    """The directory of a Debian with these packages and what they depend on; made first if it is not there, whole or not at all."""
    name = f"package-{suite}-{use}-{hashlib.sha256(' '.join(sorted(packages)).encode()).hexdigest()[:12]}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"package-{suite}-{use}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (CACHE / name).is_dir():
            for old in CACHE.glob(f"package-{suite}-{use}-*"):
                shutil.rmtree(old)
            print(f"making a clean {suite} in {CACHE / name}", file=sys.stderr, flush=True)
            unfinished = CACHE / f"{name}.new"
            subprocess.run(
                ["mmdebstrap", "--quiet", "--mode=root", "--format=directory", "--variant=apt", f"--include={','.join(packages)}",
                 "--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Languages "none"', suite, str(unfinished),
                 f"deb [signed-by={KEYRING}] {mirror()} {suite} main"],
                check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
            unfinished.rename(CACHE / name)
    return CACHE / name


def to_build() -> tuple[str, ...]:
    """The packages that debian/control asks for, and the checker of what comes of them."""
    control = (ROOT / "debian/control").read_text()
    asked = control.partition("\nBuild-Depends:")[2].partition("\nStandards-Version:")[0]
    return tuple(sorted({"build-essential", "lintian", *_names(asked.replace("debhelper-compat", "debhelper"))}))


def _names(relation: str) -> set[str]:
    return {re.split("[ :(|]", each.strip())[0] for each in relation.split(",") if each.strip()}


def node(suite: str, package: Path) -> Path:
    """A clean Debian with what a package depends on, and without the package."""
    return build(suite, "node", needed(package))


def needed(package: Path) -> tuple[str, ...]:
    """The packages that one depends on, the first of alternatives."""
    told = subprocess.run(["dpkg-deb", "--field", str(package), "Depends"], capture_output=True, text=True, check=True).stdout
    return tuple(sorted({*ALWAYS_THERE, *_names(told)}))


LAYER = "/dev/shm"
_OVER = (
    f"mount -t tmpfs -o mode=755 tmpfs {LAYER}", f"mkdir {LAYER}/upper {LAYER}/work {LAYER}/root",
    f"mount -t overlay -o lowerdir=$1,upperdir={LAYER}/upper,workdir={LAYER}/work overlay {LAYER}/root", f"cd {LAYER}/root",
    "mount -t proc proc proc", "mount --bind $2 mnt", "ip link set lo up")
_NAMESPACES = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--uts", "--net")


def command(root: Path, script: str, folder: Path) -> list[str]:
    """The command that runs a shell script in a layer over that Debian: own mounts, processes and names; `folder` is on /mnt, to be written."""
    lines = (*_OVER, "mount --bind /dev dev", 'exec chroot . sh -euc "$3"')
    return [*_NAMESPACES, "--", "sh", "-euc", "\n".join(lines), "sh", str(root), str(folder), script]


def run(root: Path, script: str, folder: Path) -> str:
    """Run it; what it printed. AssertionError with all of that when it fails. No network but a loopback device."""
    done = subprocess.run(command(root, script, folder), env=CLEAN, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


_DEVICES = (
    "mount -t sysfs -o ro sysfs sys", "mount -t cgroup2 cgroup2 sys/fs/cgroup", "mount -t tmpfs -o mode=755 tmpfs dev", "mkdir dev/pts dev/shm",
    "mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts", "ln -s pts/ptmx dev/ptmx", "ln -s /proc/self/fd dev/fd", "touch dev/console",
    "for name in null zero full random urandom tty loop-control; do touch dev/$name; mount --bind /dev/$name dev/$name; done",
    "for number in $(seq 0 63); do mknod -m 660 dev/loop$number b 7 $number; done",
    "for place in run tmp; do mount -t tmpfs tmpfs $place; done", "hostname dom0", "echo 127.0.0.1 localhost dom0 >etc/hosts", ": >etc/machine-id")
_UNIT = """\
[Service]
Type=oneshot
ExecStart=/bin/sh -euxc '. /mnt/scene.sh; echo the end'
ExecStopPost=/bin/systemctl --force exit
StandardOutput=append:/mnt/scene.log
StandardError=append:/mnt/scene.log
"""


def booted(root: Path, script: str, folder: Path, seconds: float) -> str:
    """As `run`, but begun by that Debian's own systemd, in a control group of its own: services run as on a node. AssertionError unless the script got to its end."""
    (folder / "scene.sh").write_text(script)
    (folder / "scene.service").write_text(_UNIT)
    (folder / "scene.log").write_text("")
    group = Path("/sys/fs/cgroup/unified" if Path("/sys/fs/cgroup/unified").is_dir() else "/sys/fs/cgroup", f"dtcxen-{os.getpid()}")
    group.mkdir()
    lines = (*_OVER, *_DEVICES, "mkdir -p etc/systemd/system/basic.target.wants", "ln -s /mnt/scene.service etc/systemd/system/basic.target.wants/",
             "cp mnt/scene.service etc/systemd/system/", "exec chroot . /lib/systemd/systemd --unit=basic.target --log-target=console --log-level=notice")
    inside = shlex.join([*_NAMESPACES, "--ipc", "--cgroup", "--", "sh", "-euc", "\n".join(lines), "sh", str(root), str(folder)])
    try:
        done = subprocess.run(
            ["sh", "-euc", f"echo $$ >{group}/cgroup.procs; exec {inside}"], env=CLEAN | {"container": "other"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=seconds)
        said, console = (folder / "scene.log").read_text(), done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        said, console = (folder / "scene.log").read_text(), f"not over after {seconds} s\n{(late.stdout or b'').decode()}{(late.stderr or b'').decode()}"
    finally:
        for each in sorted((*group.rglob("*/"), group), reverse=True):
            if each.is_dir():
                each.rmdir()
    assert said.rstrip().endswith("the end"), f"{said}\n{console}"
    return said


def package(suite: str, source: Path, into: Path) -> Path:
    """Build the source directory's package as Debian does, and have lintian look at it; the .deb. Beside it lies lintian.txt, what that found."""
    into.mkdir(parents=True)
    shutil.copytree(source, into / "source", ignore=shutil.ignore_patterns(*_NOT_OURS), symlinks=True)
    (into / "lintian.txt").write_text("")
    print(run(build(suite, "build", to_build()), _BUILD, into))
    (made,) = into.glob("*.deb")
    return made


_NOT_OURS = (".git", ".venv*", ".cache", "run", "build", "__pycache__", "*.egg-info", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".pybuild")
_BUILD = "cd /mnt/source && dpkg-buildpackage -us -uc && cd .. && lintian --allow-root --fail-on error *.changes > lintian.txt || { cat lintian.txt; exit 1; }"

if __name__ == "__main__":
    for each in SUITES:
        print(package(each, ROOT, Path(sys.argv[1]).resolve() / each))
