"""`dtcxen rescue-system`: make the node's rescue system, kernel and RAM disk, in the place where enterRescue looks for it."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from dtcxen_soap import rescuesystem, settings
from dtcxen_soap.cli.console import CONFIG, OK, load, remark, say
from dtcxen_soap.dom0 import Dom0, Unwatched
from dtcxen_soap.errors import Failed, Misconfigured, Missing
from dtcxen_soap.facts import NodeFact
from dtcxen_soap.install import kernelimage
from dtcxen_soap.planprint import paste
from dtcxen_soap.plans import Run
from dtcxen_soap.rescue import MEMORY
from dtcxen_soap.vps import Mib

WORKING_ROOM = Mib(128)
"""Memory that must be left beside the unpacked system: the kernel, sshd, and a check of a file system."""
_TAIL_LINES = 20
_HEAD_BYTES = 1 << 16
_EXAMPLES = """\
examples:
  dtcxen rescue-system
  dtcxen rescue-system --from-tree /srv/rescue-tree

The kernel is the one for direct boot (KERNELPATH, KMOD_PATH, KERNEL_RELEASE; else the node's own), the packages come
from the node's apt sources. On a node without a network --from-tree takes a tree that mmdebstrap made elsewhere."""


def add_to(commands: Any) -> None:
    """The subcommand."""
    command = commands.add_parser(
        "rescue-system", help="make the rescue system of this node", description="Make the rescue system that enterRescue starts. Made again, it replaces the old one.",
        epilog=_EXAMPLES)
    command.add_argument("--config", metavar="FILE", default=CONFIG, help=f"the node's settings, {CONFIG} when not given")
    command.add_argument("--from-tree", metavar="DIR", help="take the packages from this tree instead of installing them; it is only read")
    command.add_argument("--packages", action="store_true", help="print the packages that such a tree should have, and stop")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Gather, pack, compress, put into place."""
    if options.packages:
        say(",".join(rescuesystem.PACKAGES))
        return OK
    from dtcxen_soap.survey import node as survey_node
    chosen, dom0 = load(options.config), Dom0()
    node = survey_node.node(dom0, chosen)
    kernel, modules, release = _kernel(chosen, node, dom0)
    place = os.path.dirname(chosen.rescue_initrd)
    dom0.make_directory(place, 0o700)
    with tempfile.TemporaryDirectory(prefix=".rescue-system-", dir=place) as work:
        tree = _tree(options.from_tree, f"{work}/tree.tar", chosen, node, dom0)
        packed = f"{work}/initrd"
        unpacked = _pack(packed, tree, modules, release)
        command, made = rescuesystem.compress(packed, _text(rescuesystem.config_beside(kernel), dom0), node)
        _run(command, dom0)
        _refuse_large(unpacked, os.path.getsize(made))
        _into_place(made, kernel, chosen, dom0)
    say(f"made   {chosen.rescue_kernel}, of {kernel}")
    say(f"made   {chosen.rescue_initrd}, {_mib(os.path.getsize(chosen.rescue_initrd))} MiB, {_mib(unpacked)} MiB unpacked; a rescue system gets {int(MEMORY)} MiB or more")
    return OK


def _mib(size_bytes: int) -> int:
    return -(-size_bytes >> 20)


def _kernel(chosen: settings.Settings, node: NodeFact, dom0: Dom0) -> tuple[str, str, str]:
    """Kernel, directory of its modules, and its release, which is its own word and not the directory's; Missing names what is not there."""
    release = chosen.KERNEL_RELEASE or node.kernel_release
    kernel, modules = chosen.KERNELPATH or f"/boot/vmlinuz-{release}", chosen.KMOD_PATH or f"/lib/modules/{release}"
    for path, name in ((kernel, "KERNELPATH"), (modules, "KMOD_PATH")):
        if not dom0.exists(path):
            raise Missing(f"rescue-system: {path} is not there: install that kernel, or set {name}")
    with open(kernel, "rb") as opened:
        own = kernelimage.parse(opened.read(_HEAD_BYTES)).version
    return kernel, modules, own or os.path.basename(os.path.normpath(modules))


# -- what goes in -----------------------------------------------------------------------------------


def _tree(ready: str | None, tarball: str, chosen: settings.Settings, node: NodeFact, dom0: Dom0) -> str:
    """A tree that is there, or a tarball of a new one."""
    if ready is None:
        _run(rescuesystem.bootstrap(tarball, chosen, node), dom0)
        return tarball
    if not os.path.isfile(f"{ready}/bin/busybox") or not os.path.islink(f"{ready}/bin"):
        raise Misconfigured(f"{ready}: no tree of a Debian with /usr merged and busybox in it; `dtcxen rescue-system --packages` lists what it needs")
    return ready


def _pack(target: str, tree: str, modules: str, release: str) -> int:
    """Write the archive; the memory that it takes unpacked, in bytes."""
    from dtcxen_soap import ramdisk
    source = ramdisk.of_directory if os.path.isdir(tree) else ramdisk.of_tarball

    def entries() -> Iterator[ramdisk.Entry]:
        yield from source(tree, rescuesystem.keeps)
        for path, name, mode in rescuesystem.OWN:
            with open(f"{rescuesystem.DATA}/{name}", "rb") as opened:
                yield ramdisk.file(path, opened.read(), mode)
        yield from (ramdisk.link(path, target) for path, target in rescuesystem.LINKS)
        yield from _modules(modules, release)

    with open(target, "wb") as out:
        return ramdisk.write(out, entries())


def _modules(source: str, release: str) -> Iterator[Any]:
    """The modules that a Xen guest needs, and what they need; the running rescue system lists them for modprobe itself."""
    from dtcxen_soap import ramdisk
    at = f"{rescuesystem.MODULES_AT}/{release}"
    paths = ramdisk.module_files(source)
    needs = {name: ramdisk.module_needs(ramdisk.module(path)) for name, path in paths.items()}
    yield from (ramdisk.directory(path) for path in (rescuesystem.MODULES_AT, at, f"{at}/kernel"))
    for name in rescuesystem.modules(needs):
        data = ramdisk.module(paths[name])
        if ramdisk.module_release(data) not in ("", release):
            raise Misconfigured(f"{paths[name]} is a module of {ramdisk.module_release(data)}, the kernel is {release}: set KERNELPATH and KMOD_PATH of one kernel")
        yield ramdisk.file(f"{at}/kernel/{name}.ko", data)
    for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
        if os.path.isfile(f"{source}/{name}"):
            with open(f"{source}/{name}", "rb") as opened:
                yield ramdisk.file(f"{at}/{name}", opened.read())


# -- carrying it out --------------------------------------------------------------------------------


def _run(command: Run, dom0: Dom0) -> None:
    remark(f"$ {paste(command.argv)}")
    ran = dom0.run(command, remark, Unwatched())
    if ran.code:
        raise Failed(command.why, f"{command.argv[0]} ended with code {ran.code}", paste(command.argv), "\n".join(ran.output.splitlines()[-_TAIL_LINES:]))


def _refuse_large(unpacked: int, packed: int) -> None:
    """While it is unpacked the guest holds it twice, afterwards once."""
    needed = _mib(unpacked + packed) + WORKING_ROOM
    if needed > MEMORY:
        raise Failed("See whether the rescue system fits.", f"it would need {needed} MiB of memory, rescue systems get {int(MEMORY)}: use a smaller tree")


def _into_place(made: str, kernel: str, chosen: settings.Settings, dom0: Dom0) -> None:
    """The kernel last, and none meanwhile: the two belong together. Its configuration tells whether it can be a PVH guest."""
    with open(kernel, "rb") as opened:
        image = opened.read()
    dom0.remove_file(chosen.rescue_kernel)
    dom0.remove_file(chosen.rescue_initrd)
    dom0.rename_file(made, chosen.rescue_initrd)
    dom0.make_directory(os.path.dirname(chosen.rescue_kernel), 0o700)
    dom0.write_file(rescuesystem.config_beside(chosen.rescue_kernel), _text(rescuesystem.config_beside(kernel), dom0).encode(), 0o600)
    dom0.write_file(chosen.rescue_kernel, image, 0o600)


def _text(path: str, dom0: Dom0) -> str:
    try:
        return dom0.read_text(path)
    except OSError:
        return ""
