"""A Debian 13 beside this machine's own system, for tests: Python 3.13 with Debian's packages, and real SOAP clients.

    python tools/debian13.py               make it, then run our tests inside it (needs root)
    python tools/debian13.py build         only make it, and print where it is
    python tools/debian13.py run COMMAND   run a command inside it, this folder mounted read-only on /mnt

It is made once by mmdebstrap from this machine's own mirror, below .cache/, and made anew when
tools/chroot-packages.txt changes. Nothing is installed on the machine itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache"
SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
TESTS = ("tests/unit", "tests/contract", "tests/integration", "tests/interop")
CHOSEN = "debian13 or not root"
_UNNEEDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
_CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}


def packages() -> list[str]:
    """The list of what it holds."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / "tools/chroot-packages.txt").read_text().splitlines())
    return sorted(line for line in lines if line)


def mirror() -> str:
    """Where this machine gets its own Debian from, as apt itself tells."""
    with open("/etc/os-release") as file:
        own = dict(line.rstrip().partition("=")[::2] for line in file if "=" in line).get("VERSION_CODENAME", "").strip('"')
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"], capture_output=True, text=True, check=True)
    for line in told.stdout.splitlines():
        uri, release, component = line.split()
        if (release, component) == (own, "main"):
            return uri.rstrip("/")
    raise SystemExit(f"this machine's apt sources name no mirror of {own} main")


def build() -> Path:
    """The directory of the chroot; made first if it is not there. One at a time, and whole or not at all."""
    wanted = packages()
    name = f"debian13-{hashlib.sha256(' '.join((SUITE, *wanted)).encode()).hexdigest()[:12]}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "debian13.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (CACHE / name).is_dir():
            for old in CACHE.glob("debian13-*"):
                shutil.rmtree(old)
            unfinished = CACHE / f"{name}.new"
            print(f"making a Debian 13 with {len(wanted)} packages for tests in {CACHE / name}", file=sys.stderr, flush=True)
            source = f"deb [signed-by={KEYRING}] {mirror()} {SUITE} main"
            subprocess.run(
                ["mmdebstrap", "--quiet", "--mode=root", "--format=directory", "--variant=apt", f"--include={','.join(wanted)}",
                 *(f"--dpkgopt=path-exclude={path}" for path in _UNNEEDED), SUITE, str(unfinished), source],
                check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
            unfinished.rename(CACHE / name)
    return CACHE / name


def command(argv: list[str], bind: Path | None = None) -> list[str]:
    """The command that runs `argv` in the chroot: own mounts and processes, this machine's network.

    This folder is read-only on /mnt; `bind` (a node's directory, say) is there under its own path.
    """
    root = shlex.quote(str(build()))
    mounts = [
        f"mount --bind {root} {root}",
        f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp", f"mount -t proc proc {root}/proc",
        f"mount --bind {shlex.quote(str(ROOT))} {root}/mnt", f"mount -o remount,bind,ro {root}/mnt"]
    if bind is not None:
        inside = f"{root}{shlex.quote(str(bind))}"
        mounts += [f"mkdir -p {inside}", f"mount --bind {shlex.quote(str(bind))} {inside}"]
    # pivot_root, not chroot: this machine's mounts are let go of, or a disk that is released meanwhile would stay in use.
    script = " && ".join([*mounts, f"cd {root}", "pivot_root . .", "umount -l .", "cd /", f"exec {shlex.join(argv)}"])
    return ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--", "sh", "-c", script]


def run(argv: list[str], bind: Path | None = None, **env: str) -> int:
    """Run a command in the chroot, its output being ours; its exit code."""
    return subprocess.run(command(argv, bind), env=_CLEAN | env, stdin=subprocess.DEVNULL).returncode


def run_tests() -> int:
    """Our tests that need no root, and those whose tools are here only, on Debian 13's Python and packages."""
    inside = ["sh", "-c", f"cd /mnt && exec python3 -m pytest -q -p no:cacheprovider -m '{CHOSEN}' {' '.join(TESTS)}"]
    kept = {name: os.environ[name] for name in ("CI",) if name in os.environ}
    return run(inside, DTCXEN_DEBIAN13="1", PYTHONPYCACHEPREFIX="/tmp/pycache", HYPOTHESIS_STORAGE_DIRECTORY="/tmp/hypothesis", PYTHONPATH="/mnt", **kept)


def main(arguments: list[str]) -> int:
    """What the module's docstring says."""
    if os.geteuid() != 0:
        print("LEFT OUT: the tests on Debian 13's Python 3.13: a chroot needs root", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0
    if arguments[:1] == ["build"]:
        print(build())
        return 0
    if arguments[:1] == ["run"]:
        return run(arguments[1:])
    return run_tests()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
