"""reinstallOS of a system whose image is cached, against the bare copy of that image, debootstrap, and xen-create-image of xen-tools.

All in turn in one run, as root. The bare copy is what an admin would type: cp, grow, a new UUID. With
one round, as the tests run it, only that is compared; else debootstrap and xen-tools are installed
from Debian for the run, and removed again if they were not there.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.node import Node  # noqa: E402
from tools.debian13 import mirror  # noqa: E402

OTHERS = ("debootstrap", "xen-tools")
SUITE = "bookworm"


def quietly(*argv: str) -> None:
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def timed(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def bare_copy(image: Path, disk: Path) -> None:
    """The image as a disk of 2 GB, of its own."""
    quietly("cp", "--sparse=always", str(image), str(disk))
    quietly("truncate", "-s", "2G", str(disk))
    quietly("tune2fs", "-U", "random", str(disk))
    quietly("resize2fs", str(disk))


def cached(client: Any) -> None:
    """From the call of reinstallOS to the job's end."""
    job = client.reinstallOS(vps="01", osType="debian", ramSizeMib=256, password="r00t", nics="192.0.2.10/24", gateway="192.0.2.1", dns="192.0.2.53").job
    while (record := client.getJob(job=job)).state in ("queued", "running"):
        time.sleep(0.01)
    assert record.state == "done", record.reason


def bootstrapped(directory: Path) -> None:
    """The original's way: an image, a file system, debootstrap in it."""
    image, tree = directory / "bootstrapped.img", directory / "tree"
    tree.mkdir(exist_ok=True)
    quietly("truncate", "-s", "2G", str(image))
    quietly("mkfs.ext4", "-q", "-F", str(image))
    quietly("mount", "-o", "loop", str(image), str(tree))
    try:
        quietly("debootstrap", "--include=openssh-server", SUITE, str(tree), mirror())
    finally:
        quietly("umount", "--recursive", str(tree))


def xen_created(directory: Path) -> None:
    """The same by xen-tools, which wants a kernel to name."""
    for name in ("kernel", "initrd"):
        (directory / name).touch()
    quietly(
        "xen-create-image", "--hostname=bench", f"--dir={directory}", f"--output={directory}", "--size=2Gb", "--swap=256Mb", "--memory=256Mb", "--fs=ext4", "--ip=192.0.2.11",
        "--netmask=255.255.255.0", "--gateway=192.0.2.1", f"--dist={SUITE}", f"--mirror={mirror()}", "--install-method=debootstrap", "--cache=no", "--nohosts",
        "--genpass=0", "--password=r00t", f"--kernel={directory}/kernel", f"--initrd={directory}/initrd", "--force")


@contextlib.contextmanager
def installed(packages: tuple[str, ...]) -> Iterator[None]:
    """Debian packages for as long as the block lasts; one that was there stays."""
    missing = [name for name in packages if subprocess.run(["dpkg", "-s", name], capture_output=True).returncode]
    if missing:
        quietly("apt-get", "-q", "install", "-y", "--no-install-recommends", *missing)
    try:
        yield
    finally:
        if missing:
            quietly("apt-get", "-q", "purge", "-y", *missing)


def main(rounds: int = 5) -> None:
    """Ours and the bare copy in turn, then the slow ones once each."""
    with tempfile.TemporaryDirectory() as name, Node(Path(name) / "node", debian_release=SUITE) as node:
        directory = Path(name)
        client = node.client()
        client.setupVPSDisk(vps="01", diskSizeMib=2048, swapSizeMib=256, imageType="vbd")
        print(f"the first installation, which makes the image: {timed(lambda: cached(client)):.1f} s", flush=True)
        (image,) = Path(node.settings.image_cache).glob("*.img")
        copies, ours = [], []
        for round_ in range(rounds):
            copies.append(timed(lambda: bare_copy(image, directory / "copy.img")))
            ours.append(timed(lambda: cached(client)))
            print(f"round {round_ + 1}: bare copy {copies[-1]:.2f} s, reinstallOS {ours[-1]:.2f} s", flush=True)
        ratio = statistics.median(our / copy for our, copy in zip(ours, copies, strict=True))
        median = statistics.median(ours)
        print(f"reinstallOS of a cached Debian ({image.stat().st_size >> 20} MiB): median {median:.2f} s (goal: under 1), ratio to the bare copy {ratio:.2f}")
        if rounds > 1:
            with installed(OTHERS):
                for what, work in (("debootstrap", bootstrapped), ("xen-create-image", xen_created)):
                    seconds = timed(lambda: work(directory))  # noqa: B023
                    print(f"{what}: {seconds:.1f} s, ratio to reinstallOS {seconds / median:.0f}", flush=True)
        shutil.rmtree(directory / "domains", ignore_errors=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
