"""`dtcxen pack` and `dtcxen import-ovm`: a bundle of a disk image, a directory, or an Oracle VM template."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dtcxen_soap import pack
from dtcxen_soap.cli.console import CONFIG, OK, UsageError, load, remark, say
from dtcxen_soap.install.osdescription import BUILT_IN
from dtcxen_soap.vps import BootMode
from dtcxen_soap.xen.bootmode import INSTALLABLE

if TYPE_CHECKING:
    from dtcxen_soap import ovm, packing

LARGEST_MIB = 16384
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PACK_EXAMPLES = """\
examples:
  dtcxen pack stretch.qcow2.xz --name debian-amd64-9
  dtcxen pack /srv/chroots/bookworm --name debian-amd64-12 --boot-mode direct

A disk image is raw or qcow2, perhaps compressed by xz, gz or zst, with a file system (ext2 to ext4, XFS, btrfs) on the whole
disk or in a partition. The source is only read. Host keys, machine-id and random seeds are left out."""
_OVM_EXAMPLES = """\
example:
  dtcxen import-ovm OVM_EL6U4_X86_64_PVM.tgz --name oracle-amd64-6.4

The archive holds a vm.cfg and disk images; its first disk becomes the bundle. Code in vm.cfg is refused."""


def add_to(commands: Any) -> None:
    """The subcommands."""
    command = commands.add_parser(
        "pack", help="make a bundle of a disk image or a directory", epilog=_PACK_EXAMPLES,
        description="Make a bundle, an OS type that reinstallOS installs, of a system in a disk image or a directory.")
    command.add_argument("source", metavar="SOURCE", help="a disk image, or a directory with a system's tree")
    _add_options(command, run_pack)
    command = commands.add_parser(
        "import-ovm", help="make a bundle of an Oracle VM template", epilog=_OVM_EXAMPLES,
        description="Make a bundle of the system in an Oracle VM template, and tell what its vm.cfg says.")
    command.add_argument("source", metavar="ARCHIVE", help="the template: .tgz, .tar, .tar.xz or .tar.zst")
    _add_options(command, run_import)


def _add_options(command: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    command.add_argument("--name", required=True, metavar="OS-ARCH-VERSION", help="what the bundle, and so the OS type, is called")
    command.add_argument("--output", metavar="DIR", help="where the bundle is made; os_dir of the node's settings when not given")
    command.add_argument("--config", metavar="FILE", default=CONFIG, help=f"the node's settings, {CONFIG} when not given")
    command.add_argument("--boot-mode", metavar="MODE", help=f"how its VPSes boot, one of {', '.join(mode.value for mode in INSTALLABLE)}; the node chooses when not given")
    command.add_argument("--largest", metavar="MIB", type=int, default=LARGEST_MIB, help=f"the largest disk, and the most that its files may hold; {LARGEST_MIB} when not given")
    command.add_argument("--partition", metavar="N", type=int, help="which partition holds the system, where several do; 0 is the whole disk")
    command.set_defaults(run=run)


def run_pack(options: argparse.Namespace) -> int:
    """Make the bundle; its place and manifest are the answer."""
    from dtcxen_soap import packing
    order = _order(options)
    with _signals_end_it():
        manifest = packing.pack_image(order, remark)
    _tell_bundle(order, manifest)
    return OK


def run_import(options: argparse.Namespace) -> int:
    """Make the bundle; what the template said comes first."""
    from dtcxen_soap import packing
    order = _order(options)
    with _signals_end_it():
        template, manifest = packing.import_template(order, remark)
    for line in _template_lines(template):
        say(line)
    _tell_bundle(order, manifest)
    return OK


def _order(options: argparse.Namespace) -> packing.Order:
    """The command line, checked."""
    from dtcxen_soap import packing
    if not pack.NAME.fullmatch(options.name):
        raise UsageError(f"--name: {options.name!r} is no name for an OS type, expected up to 64 letters, digits, dots, underscores and dashes, such as debian-amd64-12")
    if options.name in BUILT_IN:
        raise UsageError(f"--name: {options.name} is what the daemon installs by itself, and a bundle would take its place; choose another, such as {options.name}-amd64-12")
    if not 1 <= options.largest <= 1 << 20:
        raise UsageError(f"--largest: {options.largest}, expected MiB from 1 to {1 << 20}")
    if options.partition is not None and not 0 <= options.partition <= 1024:
        raise UsageError(f"--partition: {options.partition}, expected the number of a partition, or 0 for the whole disk")
    output = options.output or load(options.config).os_dir
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return packing.Order(os.path.abspath(options.source), options.name, os.path.abspath(output), _mode(options.boot_mode), options.largest << 20, options.partition, made)


def _mode(word: str | None) -> BootMode | None:
    if word is None:
        return None
    modes = {mode.value: mode for mode in INSTALLABLE}
    if word not in modes:
        raise UsageError(f"--boot-mode: {word!r}, expected one of {', '.join(modes)}")
    return modes[word]


@contextmanager
def _signals_end_it() -> Iterator[None]:
    """The first signal ends the work as Ctrl-C does, and what was begun is removed; further ones do not disturb that."""
    def end(number: int, frame: object) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [(each, signal.signal(each, end)) for each in _SIGNALS]
    try:
        yield
    finally:
        for each, handler in before:
            signal.signal(each, handler)


# -- what is told -----------------------------------------------------------------------------------


def _tell_bundle(order: packing.Order, manifest: str) -> None:
    say(f"made   {order.place}")
    say(manifest.rstrip())


def _template_lines(template: ovm.Template) -> Iterator[str]:
    yield f"memory {int(template.memory)} MiB" if template.memory else "memory not said"
    yield f"vcpus  {template.vcpus or 'not said'}"
    yield f"boots  {template.boot.value if template.boot else 'in a way that is not said, or not known here'}"
    for disk in template.disks:
        where = f"{ascii(disk.member)}, {-(-disk.size_bytes >> 20)} MiB" if disk.member else "not in the archive"
        yield f"disk   {ascii(disk.device)[1:-1] or '?'}: {where}{', packed' if disk.member == template.system else ''}"
