"""Clean Debian 12 and 13, for building this project's Debian package and for installing it.

    python -m tools.packagechroots DIRECTORY    builds the package of this tree for each, and puts it into DIRECTORY/SUITE

Each is made once by mmdebstrap from this machine's own mirror, below .cache/, and made anew when the list of its packages
changes. Nobody changes one: a run lies over it as a layer in memory, and is gone with its last process.
"""

from __future__ import annotations

import fcntl
import hashlib
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


def command(root: Path, script: str, folder: Path) -> list[str]:
    """The command that runs a shell script in a layer over that Debian: own mounts, processes and names; `folder` is on /mnt, to be written."""
    here, there = (shlex.quote(str(path)) for path in (root, folder))
    layer = "/dev/shm"
    before = (
        f"mount -t tmpfs -o mode=755 tmpfs {layer}", f"mkdir {layer}/upper {layer}/work {layer}/root",
        f"mount -t overlay -o lowerdir={here},upperdir={layer}/upper,workdir={layer}/work overlay {layer}/root",
        f"mount -t proc proc {layer}/root/proc", f"mount --bind /dev {layer}/root/dev", f"mount --bind {there} {layer}/root/mnt",
        "ip link set lo up", f"exec chroot {layer}/root sh -euc {shlex.quote(script)}")
    return ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--uts", "--net", "--", "sh", "-euc", " && ".join(before)]


def run(root: Path, script: str, folder: Path) -> str:
    """Run it; what it printed. AssertionError with all of that when it fails. No network but a loopback device."""
    done = subprocess.run(command(root, script, folder), env=CLEAN, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


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
