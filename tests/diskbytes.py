"""Disk images made byte by byte, so that each can be wrong in one place: qcow2 headers, MBR and GPT tables."""

from __future__ import annotations

import struct
import uuid
import zlib
from typing import Any

CLUSTER = 1 << 16
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4").bytes_le


def qcow2(**changed: Any) -> bytes:
    """A qcow2 image of version 3 with an empty disk of 64 MiB, its fields as `changed` says; `extensions` are bytes behind the header."""
    field = {"version": 3, "backing_offset": 0, "backing_size": 0, "bits": 16, "size": 64 << 20, "crypt": 0, "l1_entries": 1, "l1_offset": 3 * CLUSTER,
             "refcount_offset": CLUSTER, "refcount_clusters": 1, "incompatible": 0, "header_bytes": 104, "extensions": bytes(8), "backing": b"", "cut": 4 * CLUSTER} | changed
    head = struct.pack(
        ">IIQIIQIIQQIIQQQQII", 0x514649FB, field["version"], field["backing_offset"], field["backing_size"], field["bits"], field["size"], field["crypt"],
        field["l1_entries"], field["l1_offset"], field["refcount_offset"], field["refcount_clusters"], 0, 0, field["incompatible"], 0, 0, 4, field["header_bytes"])
    image = bytearray(4 * CLUSTER)
    image[:len(head)] = head
    image[104:104 + len(field["extensions"])] = field["extensions"]
    image[512:512 + len(field["backing"])] = field["backing"]
    image[CLUSTER:CLUSTER + 8] = struct.pack(">Q", 2 * CLUSTER)
    image[2 * CLUSTER:2 * CLUSTER + 8] = struct.pack(">4H", 1, 1, 1, 1)
    return bytes(image[:field["cut"]])


def extension(kind: int, data: bytes) -> bytes:
    """An extension of a qcow2 header, and the end of all."""
    return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8) + bytes(8)


def table(*entries: tuple[int, int, int, int]) -> bytes:
    """A sector with a partition table of (status, type, first sector, sectors)."""
    rows = b"".join(struct.pack("<B3xB3xII", *entry) for entry in entries)
    return bytes(446) + rows.ljust(64, b"\0") + b"\x55\xaa"


def gpt(*spans: tuple[int, int], sectors: int = 2048, **changed: Any) -> bytes:
    """A disk's first 34 sectors: protective MBR, GPT header, table of (first, last) sectors."""
    entries = b"".join(LINUX + bytes([number] * 16) + struct.pack("<QQ", *span) + bytes(80) for number, span in enumerate(spans, 1))
    field = {"count": 128, "entry_bytes": 128, "table": 2, "header": 92} | changed
    data = entries.ljust(128 * 128, b"\0")
    head = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, field["header"], 0, 0, 1, sectors - 1, 34, sectors - 34, bytes(16), field["table"], field["count"],
                       field["entry_bytes"], field.get("table_crc", zlib.crc32(data)))
    crc = field.get("crc", zlib.crc32(head))
    head = head[:16] + struct.pack("<I", crc) + head[20:]
    return table((0, 0xEE, 1, sectors - 1)) + head.ljust(512, b"\0") + data
