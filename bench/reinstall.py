"""reinstallOS of Debian from scratch (no image cache) through the real daemon against plain mmdebstrap plus mkfs of the same packages.

Both in turn in one run, as root: medians and their ratio. The plain way is what an admin would
type: an image, a file system, a mount, mmdebstrap with the same sources, unmount.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dtcxen_soap.dom0 import Dom0  # noqa: E402
from dtcxen_soap.facts import NeedInstall  # noqa: E402
from dtcxen_soap.install import debootstrap  # noqa: E402
from dtcxen_soap.journal import Journal  # noqa: E402
from dtcxen_soap.plans import Run  # noqa: E402
from dtcxen_soap.survey.survey import Survey  # noqa: E402
from dtcxen_soap.vps import VpsId  # noqa: E402
from tests.node import Node  # noqa: E402


def plain(argv: tuple[str, ...], directory: Path) -> float:
    """Seconds of the plain way; `argv` is the mmdebstrap command with its target at directory/tree."""
    image, tree = directory / "plain.img", directory / "tree"
    tree.mkdir(exist_ok=True)
    begun = time.perf_counter()
    subprocess.run(["truncate", "-s", "2G", str(image)], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(tree)], check=True)
    try:
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finally:
        subprocess.run(["umount", str(tree)], check=True)
    taken = time.perf_counter() - begun
    image.unlink()
    return taken


def daemons(node: Node) -> float:
    """Seconds from the call of reinstallOS to the job's end."""
    client = node.client()
    begun = time.perf_counter()
    started = client.reinstallOS(vps="01", osType="debian", ramSizeMib=256, password="r00t", nics="192.0.2.10/24", gateway="192.0.2.1", dns="192.0.2.53")
    record = node.wait(started.job)
    taken = time.perf_counter() - begun
    assert record.state == "done", record.reason
    return taken


def main(rounds: int = 3) -> None:
    """Run both ways in turn."""
    with tempfile.TemporaryDirectory() as directory, Node(Path(directory) / "node", image_cache_mib="0") as node:
        settings = node.settings
        survey = Survey(settings, Dom0(), Journal(settings.journal_path + ".bench"), lambda vps: "")
        (step,) = debootstrap.steps(f"{directory}/tree", settings, survey.fill((NeedInstall(VpsId(1), "debian"),)).node)
        assert isinstance(step, Run)
        node.client().setupVPSDisk(vps="01", diskSizeMib=2048, swapSizeMib=256, imageType="vbd")
        ours, theirs = [], []
        for round_ in range(rounds):
            theirs.append(plain(step.argv, Path(directory)))
            ours.append(daemons(node))
            print(f"round {round_ + 1}: plain {theirs[-1]:.1f} s, reinstallOS {ours[-1]:.1f} s", flush=True)
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    print(f"reinstallOS / plain mmdebstrap and mkfs: median ratio {statistics.median(ratios):.3f} (goal: at most 1.1); medians "
          f"{statistics.median(ours):.1f} s and {statistics.median(theirs):.1f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
