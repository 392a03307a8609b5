"""Initial RAM disks: what kernels unpack, and where it comes from."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import stat
import tarfile
from pathlib import Path

from dtcxen_soap import ramdisk
from dtcxen_soap.ramdisk import Entry


def unpacked(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content of each member, read as the kernel does."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert archive[at:at + 6] == b"070701" and at % 4 == 0
        words = [int(archive[at + 6 + 8 * n:at + 14 + 8 * n], 16) for n in range(13)]
        end = at + 110 + words[11]
        name = archive[at + 110:end - 1].decode()
        data_at = end + -end % 4
        at = data_at + words[6] + -words[6] % 4
        if name == "TRAILER!!!":
            assert at == len(archive)
            return found
        found[name] = (words[1], archive[data_at:data_at + words[6]])


def packed(*entries: Entry) -> dict[str, tuple[int, bytes]]:
    out = io.BytesIO()
    ramdisk.write(out, entries)
    return unpacked(out.getvalue())


def test_a_kernel_reads_what_was_written() -> None:
    made = packed(ramdisk.directory("etc"), ramdisk.file("etc/a", b"odd"), ramdisk.file("init", b"#!", 0o755), ramdisk.link("bin", "usr/bin"))
    assert made == {
        "etc": (stat.S_IFDIR | 0o755, b""), "etc/a": (stat.S_IFREG | 0o644, b"odd"), "init": (stat.S_IFREG | 0o755, b"#!"), "bin": (stat.S_IFLNK | 0o777, b"usr/bin")}


def test_what_it_takes_in_memory() -> None:
    assert ramdisk.write(io.BytesIO(), (ramdisk.directory("etc"), ramdisk.file("a", b"x"), ramdisk.file("b", bytes(4097)))) == 3 * 4096


def a_tree(root: Path) -> Path:
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/sh").write_bytes(b"shell")
    (root / "usr/bin/sh").chmod(0o4755)
    os.link(root / "usr/bin/sh", root / "usr/bin/zsh")
    (root / "bin").symlink_to("usr/bin")
    (root / "out").mkdir()
    (root / "out/file").write_text("no")
    os.mkfifo(root / "fifo")
    return root


def keeps(path: str) -> bool:
    return not path.startswith("out")


def test_a_directory_is_read_links_and_all(tmp_path: Path) -> None:
    made = packed(*ramdisk.of_directory(str(a_tree(tmp_path)), keeps))
    assert list(made) == ["usr", "bin", "usr/bin", "usr/bin/sh", "usr/bin/zsh"]
    assert made["bin"] == (stat.S_IFLNK | 0o777, b"usr/bin") and made["usr/bin/sh"] == (stat.S_IFREG | 0o4755, b"shell")


def test_a_tarball_gives_the_same_but_second_names_are_links(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        archive.add(a_tree(tmp_path / "tree"), arcname=".")
    made = packed(*ramdisk.of_tarball(str(tmp_path / "t.tar"), keeps))
    assert set(made) == {"usr", "bin", "usr/bin", "usr/bin/sh", "usr/bin/zsh"}
    contents = {made[name] for name in ("usr/bin/sh", "usr/bin/zsh")}
    assert (stat.S_IFREG | 0o4755, b"shell") in contents and any(data in (b"/usr/bin/sh", b"/usr/bin/zsh") for _, data in contents)


def test_modules_are_found_unpacked_and_asked_for_their_needs(tmp_path: Path) -> None:
    data = b"\x7fELF\0license=GPL\0depends=xor,raid6-pq\0name=btrfs\0"
    (tmp_path / "kernel/fs").mkdir(parents=True)
    for name, content in (("btrfs.ko", data), ("dm-mod.ko.xz", lzma.compress(data)), ("xen-blkfront.ko.gz", gzip.compress(data)), ("modules.dep", b"")):
        (tmp_path / "kernel/fs" / name).write_bytes(content)
    found = ramdisk.module_files(str(tmp_path))
    assert set(found) == {"btrfs", "dm_mod", "xen_blkfront"}
    assert all(ramdisk.module_needs(ramdisk.module(path)) == ("xor", "raid6_pq") for path in found.values())
    assert ramdisk.module_needs(b"\x7fELF\0depends=\0") == () == ramdisk.module_needs(b"")
