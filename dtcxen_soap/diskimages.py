"""What a disk image is, judged by its bytes before any tool opens it: compression, format, and what lies on it.

A qcow2 image may name another file as its backing or its data, and a tool that opens it then reads
that file of the node into the image: `refuse_qcow2` allows only images that are whole in themselves
and whose tables lie inside them. Sources: docs/interop/qcow2.txt of QEMU; the magic numbers of
RFC 1952, the .xz format, RFC 8878; ext4's, XFS's and btrfs's on-disk formats, LUKS, LVM2 and md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

Read = Callable[[int, int], bytes]
"""Bytes of an image: offset, length. Fewer at its end."""

HEAD_BYTES = 1 << 17
"""As much as `judge_format` wants to see: qcow2's extensions lie within the first cluster, and are looked for this far."""

# -- compression and format -------------------------------------------------------------------------

_COMPRESSIONS = ((b"\x1f\x8b", "gz"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zst"))
_UNKNOWN_COMPRESSIONS = ((b"BZh", "bzip2"), (b"PK\x03\x04", "zip"), (b"7z\xbc\xaf\x27\x1c", "7z"), (b"\x04\x22\x4d\x18", "lz4"), (b"Rar!", "rar"))
_FOREIGN = ((0, b"KDMV", "VMDK"), (0, b"# Disk DescriptorFile", "VMDK"), (0, b"conectix", "VHD"), (0, b"vhdxfile", "VHDX"), (0x40, b"\x7f\x10\xda\xbe", "VDI"),
            (0, b"QED\0", "QED"), (0, b"WithoutFreeSpace", "Parallels"), (0, b"WithouFreSpacExt", "Parallels"), (0, b"OOOM\0", "COW"), (0, b"QFI\xfb\0\0\0\1", "qcow (version 1)"))
QCOW2, RAW = "qcow2", "raw"


def compression(head: bytes) -> str:
    """gz, xz, zst, or "" for what is not compressed. ValueError for a compression that is not read here."""
    for magic, name in _UNKNOWN_COMPRESSIONS:
        if head.startswith(magic):
            raise ValueError(f"it is compressed with {name}, and only gz, xz and zst are read")
    return next((name for magic, name in _COMPRESSIONS if head.startswith(magic)), "")


def judge_format(head: bytes, size_bytes: int, most_bytes: int) -> str:
    """QCOW2 or RAW. ValueError for any other format, and for a qcow2 image that must not be opened; `size_bytes` is the file's."""
    if not size_bytes:
        raise ValueError("it is empty")
    for offset, magic, name in _FOREIGN:
        if head[offset:offset + len(magic)] == magic:
            raise ValueError(f"it is a {name} image, and only raw and qcow2 are read: qemu-img convert makes one of it")
    if head[:4] == b"QFI\xfb":
        refuse_qcow2(head, size_bytes, most_bytes)
        return QCOW2
    if size_bytes > most_bytes:
        raise ValueError(f"it is a disk of {-(-size_bytes >> 20)} MiB, more than the {most_bytes >> 20} MiB that --largest allows")
    return RAW


# -- qcow2 ------------------------------------------------------------------------------------------

_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION_TYPE, _EXTENDED_L2 = 1, 2, 4, 8, 16
_BACKING_FORMAT, _DATA_FILE_NAME, _ENCRYPTION_HEADER, _END = 0xE2792ACA, 0x44415441, 0x0537BE77, 0
_LONGEST_L1 = 1 << 22
_MOST_EXTENSIONS = 64


@dataclass(frozen=True)
class _Qcow2:
    version: int
    backing_offset: int
    backing_size: int
    cluster_bits: int
    size: int
    encryption: int
    l1_entries: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    incompatible: int
    header_bytes: int


def refuse_qcow2(head: bytes, size_bytes: int, most_bytes: int) -> None:
    """Raise ValueError unless this qcow2 image is whole in itself, with tables inside the file and a disk of at most `most_bytes`."""
    header = _qcow2(head)
    _refuse_shape(header)
    _refuse_references(header, head)
    _refuse_features(header)
    _refuse_sizes(header, size_bytes, most_bytes)


def _qcow2(head: bytes) -> _Qcow2:
    if len(head) < 72:
        raise ValueError("its qcow2 header is cut off")
    fields = struct.unpack(">IIQIIQIIQQII", head[:64])
    version = fields[1]
    if version not in (2, 3):
        raise ValueError(f"it is qcow2 of version {version}, and only 2 and 3 are known")
    if version == 3 and len(head) < 104:
        raise ValueError("its qcow2 header is cut off")
    incompatible, header_bytes = (struct.unpack(">Q", head[72:80])[0], struct.unpack(">I", head[100:104])[0]) if version == 3 else (0, 72)
    return _Qcow2(version, fields[2], fields[3], fields[4], fields[5], fields[6], fields[7], fields[8], fields[9], fields[10], incompatible, header_bytes)


def _refuse_references(header: _Qcow2, head: bytes) -> None:
    """Whatever names a file outside, or a key."""
    if header.backing_offset or header.backing_size:
        raise ValueError(f"its qcow2 header names a backing file ({_name(head, header)}): such an image would bring in another file of this node")
    if header.incompatible & _DATA_FILE:
        raise ValueError("its qcow2 header names an external data file: such an image would bring in another file of this node")
    if header.encryption:
        raise ValueError("it is encrypted: only its owner can read it")
    for kind in _extensions(header, head):
        if kind == _DATA_FILE_NAME:
            raise ValueError("its qcow2 header names an external data file: such an image would bring in another file of this node")
        if kind == _BACKING_FORMAT:
            raise ValueError("its qcow2 header has a backing file's format: such an image would bring in another file of this node")
        if kind == _ENCRYPTION_HEADER:
            raise ValueError("it is encrypted: only its owner can read it")


def _name(head: bytes, header: _Qcow2) -> str:
    return ascii(head[header.backing_offset:header.backing_offset + min(header.backing_size, 100)].decode("utf-8", "replace"))


def _extensions(header: _Qcow2, head: bytes) -> list[int]:
    """The kinds of the header's extensions. ValueError when they lead out of the first cluster, or out of what was read."""
    kinds: list[int] = []
    place = header.header_bytes
    limit = min(len(head), 1 << header.cluster_bits)
    while place + 8 <= limit and len(kinds) < _MOST_EXTENSIONS:
        kind, length = struct.unpack(">II", head[place:place + 8])
        if kind == _END:
            return kinds
        kinds.append(kind)
        place += 8 + -(-length // 8) * 8
    raise ValueError("the extensions of its qcow2 header have no end")


def _refuse_features(header: _Qcow2) -> None:
    if header.incompatible & _CORRUPT:
        raise ValueError("it is marked as corrupt: qemu-img check says more")
    if unknown := header.incompatible & ~(_DIRTY | _COMPRESSION_TYPE | _EXTENDED_L2):
        raise ValueError(f"its qcow2 header needs features that are not known here ({unknown:#x})")


def _refuse_shape(header: _Qcow2) -> None:
    if not 9 <= header.cluster_bits <= 21:
        raise ValueError(f"its qcow2 header has clusters of 2^{header.cluster_bits} bytes, which cannot be")
    if header.version == 3 and not (104 <= header.header_bytes <= 1 << header.cluster_bits and header.header_bytes % 8 == 0):
        raise ValueError(f"its qcow2 header claims to have {header.header_bytes} bytes, which cannot be")


def _refuse_sizes(header: _Qcow2, size_bytes: int, most_bytes: int) -> None:
    if not header.size:
        raise ValueError("its qcow2 header tells a disk of no size")
    if header.size > most_bytes:
        raise ValueError(f"its qcow2 header tells a disk of {-(-header.size >> 20)} MiB, more than the {most_bytes >> 20} MiB that --largest allows")
    cluster = 1 << header.cluster_bits
    entry = 16 if header.incompatible & _EXTENDED_L2 else 8
    needed = -(-header.size // (cluster * (cluster // entry)))
    if not needed <= header.l1_entries <= _LONGEST_L1:
        raise ValueError(f"its qcow2 header has a table of {header.l1_entries} entries for a disk that needs {needed}")
    tables = (("table of clusters", header.l1_offset, header.l1_entries * 8), ("table of references", header.refcount_offset, header.refcount_clusters << header.cluster_bits))
    for what, offset, length in tables:
        if not offset or offset % cluster or offset + length > size_bytes:
            raise ValueError(f"its {what} lies beyond the end of the file or at no cluster: the image is cut off or was made to harm")


# -- what lies on a disk or partition ---------------------------------------------------------------

_EXT_RECOVER = 0x0004
_EXT_INCOMPAT, _EXT_MAGIC = 1024 + 0x60, 1024 + 0x38
_MD_MAGIC = b"\xfc\x4e\x2b\xa9"
FILE_SYSTEMS = {"ext": "ext4", "xfs": "xfs", "btrfs": "btrfs"}
"""What can be read, with the file system type that mount(8) is told: the ext4 driver reads ext2 and ext3."""
OPTIONS = {
    "ext": ("noload", "errors=remount-ro"),
    "xfs": ("norecovery", "nouuid"),
    "btrfs": ("rescue=nologreplay",),
}
"""So that nothing is replayed; errors= wins over what the image asks for, which may be to panic."""
_NOT_SUPPORTED = {"LUKS": "encrypted (LUKS)", "LVM": "a physical volume of LVM", "RAID": "a part of a software RAID"}


def content(read: Read, size_bytes: int) -> str:
    """What lies there: ext, xfs, btrfs, LVM, RAID, LUKS, swap, fat, squashfs, iso9660, or ""; `size_bytes` is how long it is."""
    head = read(0, 8192)
    if head[:6] == b"LUKS\xba\xbe":
        return "LUKS"
    if any(head[sector * 512:sector * 512 + 8] == b"LABELONE" for sector in range(4)):
        return "LVM"
    if _is_raid(read, head, size_bytes):
        return "RAID"
    if head[_EXT_MAGIC:_EXT_MAGIC + 2] == b"\x53\xef":
        return "ext"
    if head[:4] == b"XFSB":
        return "xfs"
    if read(65536 + 64, 8) == b"_BHRfS_M":
        return "btrfs"
    if head[4086:4096] in (b"SWAPSPACE2", b"SWAP-SPACE"):
        return "swap"
    if head[510:512] == b"\x55\xaa" and (head[54:57] == b"FAT" or head[82:85] == b"FAT"):
        return "fat"
    if head[:4] == b"hsqs":
        return "squashfs"
    return "iso9660" if read(32769, 5) == b"CD001" else ""


def _is_raid(read: Read, head: bytes, size_bytes: int) -> bool:
    """md's superblock: version 1.1 at the beginning, 1.2 at 4 KiB, 1.0 and 0.90 near the end."""
    if head[:4] == _MD_MAGIC or head[4096:4100] == _MD_MAGIC:
        return True
    ends = ((size_bytes & ~0xFFF) - 8192, (size_bytes & ~0xFFFF) - 65536)
    return any(place > 0 and read(place, 4) in (_MD_MAGIC, _MD_MAGIC[::-1]) for place in ends)


def unsupported(found: str) -> str:
    """Why the content `found` cannot be read, in a clause; "" for what is merely no system."""
    return _NOT_SUPPORTED.get(found, "")


def needs_recovery(read: Read) -> bool:
    """Whether an ext3 or ext4 file system was not unmounted cleanly, so that its journal holds what is not in its place yet."""
    flags = read(_EXT_INCOMPAT, 4)
    return len(flags) == 4 and bool(struct.unpack("<I", flags)[0] & _EXT_RECOVER)
