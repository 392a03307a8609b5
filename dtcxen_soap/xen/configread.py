"""A VPS's domU configuration as found: written by us, by the original, or by hand.

`parse` executes nothing and never raises: what it cannot understand it leaves out. It understands
xl's syntax and what xm's files commonly had of Python's: lists over several lines, comments
anywhere, strings put together, single quotes, `;` between statements, `+=`. Sources: xl.cfg(5),
xl-disk-configuration(5), xl-network-configuration(5), and the lexer of Xen's libxlu.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dtcxen_soap.vps import BootMode, IpAddress, MacAddress, Mib

_Token = tuple[str, str]

# -- what it says ---------------------------------------------------------------------------------


SEED_CD_DEVICE = "hdd"
"""The second CD drive of an HVM guest, in which it sees what it is told."""


@dataclass(frozen=True)
class DomuDisk:
    """A disk line: the device inside the guest ("" when it is not named) and the file or volume."""

    device: str
    path: str


@dataclass(frozen=True)
class DomuConfig:
    """What a configuration says; "", None or () for what it does not.

    `disks` are all that it attaches, `iso` is the one in the CD drive. `boot` is None for a way to boot that is none of
    ours. `firmware` is bios or uefi, and `screen` where VNC listens, both of HVM guests only.
    """

    name: str = ""
    memory: Mib | None = None
    vcpus: int | None = None
    kernel: str = ""
    ramdisk: str = ""
    macs: tuple[MacAddress, ...] = ()
    addresses: tuple[IpAddress, ...] = ()
    disks: tuple[DomuDisk, ...] = ()
    boot: BootMode | None = None
    iso: str = ""
    extra: str = ""
    firmware: str = ""
    screen: str = ""

    @property
    def mac(self) -> MacAddress | None:
        """The first card's address."""
        return self.macs[0] if self.macs else None

    @property
    def paths(self) -> tuple[str, ...]:
        """The files and volumes of its disks."""
        return tuple(disk.path for disk in self.disks)


def parse(text: str) -> DomuConfig:
    """Read a configuration; never raises."""
    values = _values(text)
    vifs = [_parameters(vif) for vif in values.get("vif", ())]
    memory, vcpus = _number(values, "memory"), _number(values, "vcpus")
    specs = [(spec, disk) for spec in values.get("disk", ()) if (disk := _disk(spec)).path]
    boot = _boot(values, next((disk.device for _, disk in specs), ""))
    return DomuConfig(
        _first(values, "name"), None if memory is None else Mib(memory), vcpus, _first(values, "kernel"), _first(values, "ramdisk"),
        tuple(mac for vif in vifs for mac in _macs(vif)), tuple(ip for vif in vifs for ip in _ips(vif)),
        tuple(disk for _, disk in specs), boot, next((disk.path for spec, disk in specs if _is_cd(spec) and disk.device != SEED_CD_DEVICE), ""),
        _first(values, "extra"), _firmware(values) if boot is BootMode.HVM else "", _screen(values) if boot is BootMode.HVM else "")


def texts(text: str) -> dict[str, str]:
    """Each setting's value as one text: of a list, the first."""
    return {name: next(iter(values), "") for name, values in _values(text).items()}


# -- whether it is code -----------------------------------------------------------------------------

_LITERAL = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?)|True|False|None|")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_OPENING, _CLOSING = "[(", "])"


def code(text: str) -> str:
    """The first statement that is more than a name and a literal, so that only an interpreter would know its value; "" when there is none.

    xm's configurations were Python. `parse` takes what it understands of them; who has a file from strangers refuses the rest.
    """
    return next((" ".join(token for _, token in tokens) for tokens in _statements(text) if tokens and not _is_literal(tokens)), "")


def _is_literal(tokens: list[_Token]) -> bool:
    """name = value, or name += value: strings, numbers, and lists of them."""
    rest = tokens[2:] if tokens[1:2] == [("mark", "+")] else tokens[1:]
    if tokens[0][0] != "word" or not _NAME.fullmatch(tokens[0][1]) or rest[:1] != [("mark", "=")] or len(rest) < 2:
        return False
    open_brackets, before = [], "="
    for kind, token in rest[1:]:
        if kind == "mark" and token in _OPENING:
            if before not in ("=", ",", *_OPENING):
                return False
            open_brackets.append(token)
        elif kind == "mark" and token in _CLOSING:
            if not open_brackets or _OPENING.index(open_brackets.pop()) != _CLOSING.index(token):
                return False
        elif (kind == "mark" and token != ",") or (kind == "word" and not _LITERAL.fullmatch(token.strip("{}:"))):
            return False
        before = token if kind == "mark" else "value"
    return not open_brackets


# -- how it boots ---------------------------------------------------------------------------------

_GRUB = re.compile(r"(?:pv-?)?grub.*-xen.*|pv-?grub.*")
"""Names of GRUB as a guest's kernel: grub-x86_64-xen.bin, and the stub domains of older Xens (pv-grub-x86_64.gz)."""
_NETBSD_DISK = "0x3"


def _boot(values: dict[str, tuple[str, ...]], device: str) -> BootMode | None:
    """By the keys that xl goes by, in its order; `device` is the first disk's."""
    kind = (_first(values, "type") or _first(values, "builder")).lower()
    kernel = _first(values, "kernel")
    name = posixpath.basename(kernel).lower()
    if kind == "hvm":
        return BootMode.HVM
    if loader := _first(values, "bootloader"):
        return BootMode.PYGRUB if posixpath.basename(loader) == "pygrub" else None
    if _first(values, "firmware").startswith("pvgrub"):
        return BootMode.PV_GRUB
    if _GRUB.fullmatch(name):
        return BootMode.PVH_GRUB if kind == "pvh" else BootMode.PV_GRUB
    if name.startswith("netbsd") or (kernel and device == _NETBSD_DISK):
        return BootMode.NETBSD
    return BootMode.DIRECT if kernel else None


def _firmware(values: dict[str, tuple[str, ...]]) -> str:
    return "uefi" if _first(values, "bios") == "ovmf" else "bios"


def _screen(values: dict[str, tuple[str, ...]]) -> str:
    """Where VNC listens; xl serves a screen, to the node itself, unless it is told otherwise."""
    return "" if _number(values, "vnc") == 0 else _first(values, "vnclisten") or "127.0.0.1"


# -- statements -----------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<skip>[^\S\n]+|\\\n|\#[^\n]*)
      | (?P<end>[\n;])
      | (?P<string>"(?P<double>(?:[^"\\\n]|\\[^\n])*)"?|'(?P<single>(?:[^'\\\n]|\\[^\n])*)'?)
      | (?P<word>[^\s;\#=+,()\[\]'"\\]+)
      | (?P<mark>.)""", re.VERBOSE | re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_STATEMENT = re.compile(r"[^\S\n]*[A-Za-z_]\w*[^\S\n]*\+?=")


def _values(text: str) -> dict[str, tuple[str, ...]]:
    """Every setting with its value as a list of texts, nested lists flattened; the last one counts, as for xl."""
    values: dict[str, tuple[str, ...]] = {}
    for tokens in _statements(text):
        if len(tokens) < 2 or tokens[0][0] != "word":
            continue
        name, rest = tokens[0][1], tokens[1:]
        before = values.get(name, ()) if rest[0] == ("mark", "+") else ()
        rest = rest[1:] if rest[0] == ("mark", "+") else rest
        if rest and rest[0] == ("mark", "="):
            values[name] = before + tuple(_items(rest[1:]))
    return values


def _statements(text: str) -> Iterator[list[_Token]]:
    """Tokens of each statement, strings without their quotes.

    A list that somebody forgot to close ends where the next setting begins; a string, with its line.
    """
    statement: list[_Token] = []
    depth = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        token = _ESCAPE.sub(_unescaped, match["double"] or match["single"] or "") if kind == "string" else match[0]
        if kind == "end" and (depth <= 0 or (token == "\n" and _STATEMENT.match(text, match.end()))):
            yield statement
            statement, depth = [], 0
        elif kind not in ("skip", "end"):
            depth += (token in ("[", "(")) - (token in ("]", ")")) if kind == "mark" else 0
            statement.append((kind, token))
    yield statement


def _items(tokens: Iterable[_Token]) -> Iterator[str]:
    """The texts between commas and brackets; strings side by side, or added, are one."""
    item: list[str] = []
    for kind, token in tokens:
        if kind in ("string", "word"):
            item.append(token)
        elif token in ",[]" and item:
            yield "".join(item)
            item = []
    if item:
        yield "".join(item)


def _unescaped(match: re.Match[str]) -> str:
    return match[1] if match[1] in "\"'\\" else " " if match[1] in "nrt" else match[0]


def _first(values: dict[str, tuple[str, ...]], name: str) -> str:
    return next(iter(values.get(name, ())), "")


def _number(values: dict[str, tuple[str, ...]], name: str) -> int | None:
    """A number as xl reads it: 0x is hexadecimal, a leading 0 octal."""
    text = _first(values, name).strip()
    for pattern, base in ((r"0[xX][0-9a-fA-F]{1,8}", 16), (r"0[0-7]{1,12}", 8), (r"0|[1-9][0-9]{0,11}", 10)):
        if re.fullmatch(pattern, text, re.ASCII):
            return int(text, base)
    return None


# -- vifs and disks -------------------------------------------------------------------------------

_PREFIX = re.compile(r"(phy|file|tap2?|aio|tapdisk|ioemu|raw|qcow2?|vhd):")
_TARGET = re.compile(r"(?:^|,)\s*target\s*=")
_NO_DEVICE = {"", "raw", "qcow", "qcow2", "vhd", "qed", "empty", "aio"}


def _parameters(spec: str) -> list[tuple[str, str]]:
    """The key=value parts of a vif or disk; a part without = has the key ""."""
    parts = (part.partition("=") for part in spec.split(","))
    return [(key.strip(), value.strip()) if equals else ("", key.strip()) for key, equals, value in parts]


def _macs(vif: list[tuple[str, str]]) -> Iterator[MacAddress]:
    for key, value in vif:
        if key == "mac":
            try:
                yield MacAddress(value)
            except ValueError:
                continue


def _ips(vif: list[tuple[str, str]]) -> Iterator[IpAddress]:
    for word in (word for key, value in vif if key == "ip" for word in value.split()):
        try:
            yield ipaddress.ip_address(word.partition("/")[0])
        except ValueError:
            continue


def _before_target(spec: str) -> tuple[str, str | None]:
    """A disk's parameters, and its target where that is named, which takes the rest."""
    match = _TARGET.search(spec)
    return (spec[:match.start()], spec[match.end():]) if match else (spec, None)


def _is_cd(spec: str) -> bool:
    """Whether it is a CD drive, by what stands before the target: a path may say anything."""
    parameters = _parameters(_before_target(spec)[0])
    return any(pair == ("devtype", "cdrom") or (not pair[0] and (pair[1] == "cdrom" or pair[1].endswith(":cdrom"))) for pair in parameters)


def _disk(spec: str) -> DomuDisk:
    """A disk in any of xl's and xm's ways of writing it."""
    head, target = _before_target(spec)
    parameters = _parameters(head)
    named = [value for key, value in parameters if key == "vdev"]
    plain = [value for key, value in parameters if not key]
    if target is None:
        target, plain = (plain[0], plain[1:]) if plain else ("", [])
    devices = named or [part for part in plain if part not in _NO_DEVICE]
    device = _PREFIX.sub("", devices[0], count=1).partition(":")[0] if devices else ""
    return DomuDisk(device, _path(target.strip().removesuffix(",")))


def _path(target: str) -> str:
    """A target without the prefixes of xm's time; a relative physical device is one of /dev."""
    prefixes = set()
    while match := _PREFIX.match(target):
        prefixes.add(match[1])
        target = target[match.end():]
    return f"/dev/{target}" if "phy" in prefixes and target and not target.startswith("/") else target
