"""How two nodes talk while a VPS moves between them: one JSON object a line, after some of them raw bytes of a length that it names.

The node that has the VPS asks, the receiver on the other (`dtcxen receive-vps`) answers; either may be
hostile, so every length, number and text is bounded and of a type before anybody looks at it. Nothing
here reads or writes: movepipe.py does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dtcxen_soap.vps import DiskRole, ImageType, VpsId

PROTOCOL = 1
CHUNK_BYTES = 1 << 20
"""Disks are compared and sent by chunks; the last one of a disk may be shorter."""
WINDOW_CHUNKS = 64
"""So many are compared at a time: what is under way when a connection is cut, at most, is sent again."""
HASH_BYTES = 32
MOST_HEADER_BYTES = 1 << 18
MOST_DISK_BYTES = 1 << 50
MOST_CONFIG_BYTES = 1 << 16
MOST_KEYS, MOST_KEY_BYTES, MOST_HASH_BYTES = 20, 16384, 512
MOST_BOOT_SECONDS = 3600
_TRANSFER = re.compile(r"[0-9a-f]{32}")
_HASH = re.compile(r"[\x21-\x39\x3b-\x7e]+")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Header = Mapping[str, Any]


class Garbled(ValueError):
    """What came is not of this protocol."""


# -- lines ----------------------------------------------------------------------------------------


def render(header: Header) -> bytes:
    """A header as it is sent."""
    return json.dumps(header, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def parse(line: bytes) -> Header:
    """A header that came. Garbled for anything but one JSON object whose names are unique."""
    if len(line) > MOST_HEADER_BYTES:
        raise Garbled(f"a line of more than {MOST_HEADER_BYTES} bytes")
    try:
        made = json.loads(line.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"a line that is no JSON: {str(error)[:100]}") from None
    if not isinstance(made, dict):
        raise Garbled("a line that is no JSON object")
    return made


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name is there twice")
    return made


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


# -- fields ---------------------------------------------------------------------------------------


def number(header: Header, name: str, least: int, most: int) -> int:
    """A whole number within bounds."""
    value = header.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Garbled(f"{name}: not a whole number from {least} to {most}")
    return value


def text(header: Header, name: str, most: int, form: re.Pattern[str] | None = None) -> str:
    """A text of at most so many bytes, without NUL, of a form if one is given."""
    value = header.get(name)
    if not isinstance(value, str) or "\0" in value or len(value.encode(errors="surrogatepass")) > most or (form and not form.fullmatch(value)):
        raise Garbled(f"{name}: not a text of the form and length allowed")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Garbled(f"{name}: not a text") from None
    return value


def flag(header: Header, name: str) -> bool:
    """true or false."""
    value = header.get(name)
    if not isinstance(value, bool):
        raise Garbled(f"{name}: neither true nor false")
    return value


def items(header: Header, name: str, most: int) -> list[Any]:
    """A list of at most so many items, of whatever kind."""
    value = header.get(name)
    if not isinstance(value, list) or len(value) > most:
        raise Garbled(f"{name}: not a list of at most {most}")
    return value


def transfer(header: Header) -> str:
    """The number of a move."""
    return text(header, "transfer", 32, _TRANSFER)


def vps(header: Header) -> VpsId:
    """Which VPS."""
    return VpsId(number(header, "vps", 1, 9999))


def role(header: Header) -> DiskRole:
    """Which disk."""
    try:
        return DiskRole(text(header, "disk", 16))
    except ValueError:
        raise Garbled("disk: neither the root nor the swap disk") from None


def sha256(header: Header) -> str:
    """A digest in hexadecimal digits."""
    return text(header, "sha256", 64, _SHA256)


# -- what is offered ------------------------------------------------------------------------------


@dataclass(frozen=True)
class DiskOffer:
    """A disk that would come, its size in bytes."""

    role: DiskRole
    size_bytes: int

    @property
    def chunks(self) -> int:
        return -(-self.size_bytes // CHUNK_BYTES)


@dataclass(frozen=True)
class Offer:
    """A VPS that would come: `vps` is its number there, `was` its number here. `source` tells the node that sends it from all others.

    `runs`: it is to run there, else only to be there. `auto`: it starts with its node.
    """

    transfer: str
    vps: VpsId
    was: VpsId
    source: str
    image_type: ImageType
    disks: tuple[DiskOffer, ...]
    config: str
    runs: bool
    auto: bool

    def header(self, do: str) -> Header:
        """As it is sent."""
        return {
            "do": do, "transfer": self.transfer, "vps": self.vps.number, "was": self.was.number, "source": self.source, "imageType": self.image_type.value,
            "disks": [{"disk": disk.role.value, "size": disk.size_bytes} for disk in self.disks], "config": self.config, "runs": self.runs, "auto": self.auto}

    @property
    def shape(self) -> tuple[Any, ...]:
        """What must be alike for a copy that was begun to be gone on with."""
        return self.vps, self.was, self.source, self.image_type, self.disks


def offer(header: Header) -> Offer:
    """An offer that came."""
    disks = tuple(_disk(item) for item in items(header, "disks", len(DiskRole)))
    if DiskRole.ROOT not in (roles := [disk.role for disk in disks]) or len(set(roles)) < len(roles):
        raise Garbled("disks: not one root disk, and one swap disk at most")
    try:
        kind = ImageType(text(header, "imageType", 16))
    except ValueError:
        raise Garbled("imageType: neither lvm nor vbd") from None
    return Offer(
        transfer(header), vps(header), VpsId(number(header, "was", 1, 9999)), text(header, "source", 200, re.compile(r"[\x21-\x7e]+")), kind, disks,
        text(header, "config", MOST_CONFIG_BYTES), flag(header, "runs"), flag(header, "auto"))


def _disk(item: Any) -> DiskOffer:
    if not isinstance(item, dict):
        raise Garbled("disks: not a list of objects")
    return DiskOffer(role(item), number(item, "size", 1, MOST_DISK_BYTES))


@dataclass(frozen=True)
class Owner:
    """How the owner signs in: authorized_keys, and the hashes of the console's and of the SOAP user's password, "" for none. Hashes are secrets."""

    keys: tuple[str, ...] = ()
    console: str = ""
    soap: str = ""

    def header(self, do: str) -> Header:
        """As it is sent."""
        return {"do": do, "keys": list(self.keys), "console": self.console, "soap": self.soap}

    def __repr__(self) -> str:
        return f"Owner({len(self.keys)} keys, console {'(redacted)' if self.console else 'none'}, soap {'(redacted)' if self.soap else 'none'})"


def owner(header: Header) -> Owner:
    """An owner that came: keys of one line each, hashes that fit into shadow(5) and htpasswd."""
    keys = tuple(text({"key": item}, "key", MOST_KEY_BYTES, re.compile(r"[^\x00-\x1f\x7f]+")) for item in items(header, "keys", MOST_KEYS))
    console, soap = (text(header, name, MOST_HASH_BYTES) for name in ("console", "soap"))
    if any(hashed and not _HASH.fullmatch(hashed) for hashed in (console, soap)):
        raise Garbled("console, soap: not the hash of a password")
    return Owner(keys, console, soap)
