"""Oracle VM templates: an archive with a vm.cfg and disk images, of which only names, sizes and literals are believed.

Nothing of such an archive is unpacked under a name of its own, so what is judged here is what it
claims to be: a name twice, a link or a way out means that somebody wants two readers to see two
things. vm.cfg is text of Python's syntax: only literals are read, code is refused and never run.
Sources: Oracle VM's manual on templates and vm.cfg; xm's xmdomain.cfg(5).
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import Member
from dtcxen_soap.vps import BootMode, Mib
from dtcxen_soap.xen import configread

CONFIG = "vm.cfg"
MOST_CONFIG_BYTES = 1 << 16
_MOST_MEMBERS = 1000
_LONGEST_NAME = 1000
_IMAGES = (".img", ".raw", ".qcow2")
_WHY = "Read the template's vm.cfg."


class Inventory:
    """What an archive holds, filled by `judge`: each file's name as it is written there, and its size in bytes."""

    def __init__(self, most_bytes: int) -> None:
        self.files: dict[str, int] = {}
        self.config = ""
        self._most_bytes = most_bytes
        self._plain: set[str] = set()

    def judge(self, members: Iterable[Member]) -> str:
        """Why this is no template that may be read, in one sentence; "" when it is."""
        for number, member in enumerate(members, 1):
            if number > _MOST_MEMBERS:
                return f"it has more than {_MOST_MEMBERS} members"
            if problem := self._take(member):
                return f"member {ascii(member.name[:120])} {problem}"
            if sum(self.files.values()) > self._most_bytes:
                return f"its files need more than the {self._most_bytes >> 20} MiB that --largest allows"
        configs = [name for name in self.files if posixpath.basename(name) == CONFIG]
        if len(configs) != 1:
            return f"it has {'several files' if configs else 'no file'} {CONFIG}, so it is no template of Oracle VM"
        self.config = configs[0]
        return f"its {CONFIG} is longer than {MOST_CONFIG_BYTES >> 10} KiB" if self.files[self.config] > MOST_CONFIG_BYTES else ""

    def _take(self, member: Member) -> str:
        if any(unicodedata.category(sign) in ("Cc", "Zl", "Zp") for sign in member.name):
            return "has a control character or a line's end in its name"
        if member.name.startswith("/"):
            return "has an absolute name"
        if ".." in member.name.split("/"):
            return "has .. in its name"
        if len(member.name) > _LONGEST_NAME:
            return f"has a name of more than {_LONGEST_NAME} characters"
        if member.kind not in ("file", "directory"):
            return f"is a {member.kind}, and a template has only files and directories"
        plain = posixpath.normpath(member.name)
        if plain in self._plain and member.kind == "file":
            return "is there twice"
        self._plain.add(plain)
        if member.kind == "file":
            self.files[member.name] = member.size
        return ""


@dataclass(frozen=True)
class TemplateDisk:
    """A disk that vm.cfg names: its device in the guest, the member that holds it ("" when none does), and its size in bytes."""

    device: str
    member: str
    size_bytes: int


@dataclass(frozen=True)
class Template:
    """What a template says of itself; None for what it does not. `system` is the member to pack."""

    memory: Mib | None
    vcpus: int | None
    boot: BootMode | None
    disks: tuple[TemplateDisk, ...]
    system: str


def template(config: bytes, inventory: Inventory) -> Template:
    """Read a vm.cfg; Failed when it holds code, or its system's disk is not to be found in the archive."""
    try:
        text = config.decode()
    except UnicodeDecodeError:
        raise Failed(_WHY, "it is no text in UTF-8") from None
    if statement := configread.code(text):
        raise Failed(_WHY, f"it holds code, and only settings with plain values are read: {ascii(statement[:120])}")
    said = configread.parse(text)
    named = [disk for disk in said.disks if disk.path != said.iso]
    disks = tuple(_disk(disk, inventory) for disk in named)
    return Template(said.memory, said.vcpus, said.boot, disks, _system(named, disks, inventory))


def _disk(disk: configread.DomuDisk, inventory: Inventory) -> TemplateDisk:
    """Paths in vm.cfg are those of some server's repository: only the last name counts."""
    name = posixpath.basename(disk.path)
    members = [member for member in inventory.files if posixpath.basename(member) == name]
    if len(members) > 1:
        raise Failed(_WHY, f"the archive has several files {ascii(name)}, one of which is a disk")
    return TemplateDisk(disk.device, members[0], inventory.files[members[0]]) if members else TemplateDisk(disk.device, "", 0)


def _system(named: list[configread.DomuDisk], disks: tuple[TemplateDisk, ...], inventory: Inventory) -> str:
    """The first disk; where vm.cfg names none, the only image of the archive."""
    if disks:
        if not disks[0].member:
            raise Failed(_WHY, f"its first disk is {ascii(named[0].path)}, and the archive has no such file")
        return disks[0].member
    images = [name for name in inventory.files if name.endswith(_IMAGES)]
    if len(images) != 1:
        raise Failed(_WHY, f"it names no disk, and the archive has {len(images)} images: {ascii(images[:10])}")
    return images[0]
