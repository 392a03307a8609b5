"""Who holds a disk at this moment: mounts, swap, device mapper, loop devices, programs, and domUs.

An exclusive open shows what the kernel itself claims. It does not show a domU: xen-blkback opens
volumes without claiming them (seen with Linux 6.1), so a volume's open count is asked as well.
Sources: open(2) O_EXCL, swapon(8), dmsetup(8), Documentation/ABI/stable/sysfs-block.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from dtcxen_soap import mounts
from dtcxen_soap.processes import capture

SECONDS = 30
_SYSFS = Path("/sys/dev/block")
_SWAPS = Path("/proc/swaps")


def of(path: str) -> tuple[str, ...]:
    """What holds a block device or an image file, each as a clause about it ("mounted on /x"); none for a path that is not there."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return ()
    if stat.S_ISBLK(status.st_mode):
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        return tuple(_of_device(path, number)) or tuple(_opened(path, number))
    return tuple(_of_file(path))


def _of_device(path: str, number: str) -> Iterator[str]:
    """What claims a device, by name where it can be named."""
    named = False
    for mount in mounts.table():
        if mount.device == number:
            named = True
            yield f"mounted on {mount.at}"
    if _swapped_on(path):
        named = True
        yield "used as swap"
    for holder in _names(_SYSFS / number / "holders"):
        named = True
        yield f"part of {holder}"
    if not named and not _exclusive(path):
        yield "claimed by the kernel"


def _opened(path: str, number: str) -> Iterator[str]:
    """What has a volume open although nothing claims it: a program, else a domU."""
    if not (_SYSFS / number / "dm").exists():
        return
    ran = capture(("dmsetup", "info", "--columns", "--noheadings", "--options", "open", "--", path), SECONDS)
    count = ran.output.strip()
    if ran.code or not count.isdigit():
        yield f"not known to be free: dmsetup ended with code {ran.code}"
    elif int(count):
        programs = mounts.holders(path)
        yield f"open in {', '.join(programs)}" if programs else "open, as the disk of a running domU is"


def _of_file(path: str) -> Iterator[str]:
    loops = mounts.loop_devices_of(path)
    if loops:
        yield f"attached to {', '.join(loops)}"
    elif programs := mounts.holders(path):
        yield f"open in {', '.join(programs)}"


def _exclusive(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    return True


def _swapped_on(path: str) -> bool:
    """Whether it is a swap area in use; /proc/swaps escapes blanks, which devices do not have."""
    real = os.path.realpath(path)
    return any(os.path.realpath(line.split()[0]) == real for line in _SWAPS.read_text().splitlines()[1:] if line.strip())


def _names(directory: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in directory.iterdir())
    except FileNotFoundError:
        return []
