"""A Debian 13 beside this machine's own system, for tests: Python 3.13 with Debian's packages, and real SOAP clients.

    python tools/debian13.py               make it, then run our tests inside it (needs root)
    python tools/debian13.py build         only make it, and print where it is
    python tools/debian13.py run COMMAND   run a command inside it, this folder mounted read-only on /mnt

It is made once by mmdebstrap from this machine's own mirror, below .cache/, and made anew when
tools/chroot-packages.txt changes. Clients that Debian 13 has not are laid below its /opt: those of PyPI by this machine's
pip, and nusoap as Debian 12 had it. Nothing is installed on the machine itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache"
SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
FROM_PYPI, PYPI = ("soappy-py3 ==0.52.*",), "opt/from-pypi"
"""Packages of PyPI, and where their modules are in the chroot."""
OLDER_SUITE, OLDER, DEBIAN12 = "bookworm", ("libnusoap-php",), "opt/debian12"
"""Packages of an older Debian that are only unpacked, and where."""
TESTS = ("tests/unit", "tests/contract", "tests/defects", "tests/integration", "tests/interop")
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
    name = f"debian13-{hashlib.sha256(' '.join((SUITE, *wanted, *FROM_PYPI, *OLDER)).encode()).hexdigest()[:12]}"
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "debian13.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (CACHE / name).is_dir():
            for old in CACHE.glob("debian13-*"):
                shutil.rmtree(old)
            unfinished = CACHE / f"{name}.new"
            print(f"making a Debian 13 with {len(wanted)} packages for tests in {CACHE / name}", file=sys.stderr, flush=True)
            subprocess.run(
                ["mmdebstrap", "--quiet", "--mode=root", "--format=directory", "--variant=apt", f"--include={','.join(wanted)}",
                 *(f"--dpkgopt=path-exclude={path}" for path in _UNNEEDED), SUITE, str(unfinished), _source(SUITE)],
                check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
            _add_from_pypi(unfinished)
            _add_older(unfinished)
            unfinished.rename(CACHE / name)
    return CACHE / name


def _source(suite: str) -> str:
    return f"deb [signed-by={KEYRING}] {mirror()} {suite} main"


def _add_from_pypi(root: Path) -> None:
    """Unpack what Debian has not; modules of pure Python, so that it does not matter whose pip does it."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--target", str(root / PYPI), *FROM_PYPI],
        check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)


def _add_older(root: Path) -> None:
    """Unpack packages of an older Debian, fetched by an apt with lists of its own: this machine's stay as they are."""
    (root / DEBIAN12).mkdir(parents=True)
    with tempfile.TemporaryDirectory() as private:
        Path(private, "sources.list").write_text(_source(OLDER_SUITE) + "\n")
        for directory in ("lists/partial", "cache/archives/partial"):
            Path(private, directory).mkdir(parents=True)
        options = [f"-oDir::Etc::SourceList={private}/sources.list", "-oDir::Etc::SourceParts=-", f"-oDir::State::Lists={private}/lists",
                   f"-oDir::Cache={private}/cache", "-oDir::State::status=/dev/null", "-oAPT::Sandbox::User=root"]
        for words in (["update"], ["download", *OLDER]):
            subprocess.run(["apt-get", "-qq", *options, *words], cwd=private, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        for package in Path(private).glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", str(package), str(root / DEBIAN12)], check=True)


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
