"""A hostile tree: wherever its links point, nothing outside is read, written, made or removed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dtcxen_soap.tree import Tree

ME = (os.getuid(), os.getgid())


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """The node beside the tree, with something that must stay as it is."""
    (tmp_path / "node/etc").mkdir(parents=True)
    (tmp_path / "node/etc/passwd").write_text("the node's")
    return tmp_path / "node"


@pytest.fixture
def root(tmp_path: Path, outside: Path) -> Path:
    (tmp_path / "tree/etc").mkdir(parents=True)
    return tmp_path / "tree"


def untouched(outside: Path) -> bool:
    return (outside / "etc/passwd").read_text() == "the node's" and sorted(os.listdir(outside)) == ["etc"] and os.listdir(outside / "etc") == ["passwd"]


def test_plain_files(root: Path) -> None:
    tree = Tree(str(root))
    tree.write("etc/network/interfaces", b"auto lo\n", 0o640, ME)
    assert tree.read_text("/etc/network/interfaces") == "auto lo\n"
    assert stat.S_IMODE((root / "etc/network/interfaces").stat().st_mode) == 0o640
    assert stat.S_IMODE((root / "etc/network").stat().st_mode) == 0o755
    assert os.listdir(root / "etc/network") == ["interfaces"]
    assert tree.exists("etc/network") and not tree.exists("etc/none") and tree.read_text("etc/none") is None
    tree.remove("etc/network/interfaces")
    tree.remove("etc/network/interfaces")
    tree.remove("none/at/all")
    assert not tree.exists("etc/network/interfaces")


def test_bytes_that_are_not_utf8_survive_a_rewrite(root: Path) -> None:
    tree = Tree(str(root))
    tree.write("etc/motd", b"caf\xe9\n", 0o644, ME)
    tree.write("etc/motd", (tree.read_text("etc/motd") or "") + "more\n", 0o644, ME)
    assert (root / "etc/motd").read_bytes() == b"caf\xe9\nmore\n"


@pytest.mark.parametrize("target", ["{outside}/etc", "../../node/etc", "../../../../../../../../{outside}/etc", "/../..{outside}/etc"])
def test_a_directory_link_out_of_the_tree_leads_inside_instead(root: Path, outside: Path, target: str) -> None:
    os.symlink(target.format(outside=outside), root / "out")
    tree = Tree(str(root))
    assert tree.read_text("out/passwd") is None
    tree.remove("out/passwd")
    tree.write("out/new", b"x", 0o644, ME)
    tree.make_directory("out/directory")
    tree.symlink("out/link", "/anywhere")
    assert untouched(outside)
    assert tree.read_text("out/new") == "x" and tree.exists("out/directory")


@pytest.mark.parametrize("target", ["{outside}/etc/passwd", "../../node/etc/passwd", "hop", "/etc/hop"])
def test_a_file_link_out_of_the_tree_leads_inside_instead(root: Path, outside: Path, target: str) -> None:
    os.symlink(f"{outside}/etc/passwd", root / "etc/hop")
    os.symlink(target.format(outside=outside), root / "etc/passwd")
    tree = Tree(str(root))
    assert tree.read_text("etc/passwd") is None
    tree.write("etc/passwd", b"guest's", 0o644, ME)
    assert tree.read_text("etc/passwd") == "guest's"
    tree.remove("etc/passwd")
    assert untouched(outside) and not os.path.lexists(root / "etc/passwd")


@pytest.mark.parametrize("path", ["../node/etc/passwd", "etc/../../node/etc/passwd", "/../node/etc/passwd"])
def test_dots_in_a_path_stop_at_the_root(root: Path, outside: Path, path: str) -> None:
    tree = Tree(str(root))
    assert tree.read_text(path) is None and not tree.exists(path)
    tree.remove(path)
    tree.write(path, b"x", 0o644, ME)
    assert untouched(outside) and (root / "node/etc/passwd").read_text() == "x"


def test_links_inside_are_followed_as_the_guest_would(root: Path) -> None:
    (root / "usr/lib/modules").mkdir(parents=True)
    os.symlink("usr/lib", root / "lib")
    os.symlink("/lib/modules", root / "etc/modules")
    os.symlink("../run/systemd/resolve/stub.conf", root / "etc/resolv.conf")
    tree = Tree(str(root))
    tree.write("etc/modules/x", b"1", 0o644, ME)
    tree.write("etc/resolv.conf", b"2", 0o644, ME)
    assert (root / "usr/lib/modules/x").read_text() == "1"
    assert (root / "run/systemd/resolve/stub.conf").read_text() == "2"
    assert os.readlink(root / "etc/resolv.conf") == "../run/systemd/resolve/stub.conf"


def test_a_chain_of_forty_links_is_followed_and_no_more(root: Path) -> None:
    (root / "etc/end").write_text("end")
    os.symlink("end", root / "etc/l1")
    for number in range(2, 42):
        os.symlink(f"l{number - 1}", root / f"etc/l{number}")
    tree = Tree(str(root))
    assert tree.read_text("etc/l40") == "end"
    with pytest.raises(OSError, match="symbolic links"):
        tree.read_text("etc/l41")


def test_links_that_go_round_are_an_error_and_not_there(root: Path) -> None:
    os.symlink("round", root / "etc/round")
    os.symlink("../etc/deep/x", root / "etc/deep")
    tree = Tree(str(root))
    for path in ("etc/round", "etc/deep/y"):
        with pytest.raises(OSError, match="symbolic links"):
            tree.write(path, b"x", 0o644, ME)
        assert not tree.exists(path)
    tree.remove("etc/round")
    assert not os.path.lexists(root / "etc/round")
    assert tree.look(["etc/deep"], ["etc/deep/*", "etc/*"]).paths == {"etc/deep"}


ACTIONS: list[Callable[[Tree, str], object]] = [
    lambda tree, path: tree.read_text(path), lambda tree, path: tree.exists(path) or None, lambda tree, path: tree.remove(path),
    lambda tree, path: tree.write(path, b"ours", 0o644, ME), lambda tree, path: tree.symlink(path, "x"), lambda tree, path: tree.make_directory(path)]


def swap_after_the_check(monkeypatch: pytest.MonkeyPatch, path: Path, target: Path) -> None:
    """Put a link to `target` in the place of `path` right after it was seen not to be a link."""
    real, swapped = os.readlink, list[Path]()

    def readlink(name: str, *, dir_fd: int | None = None) -> str:
        try:
            return real(name, dir_fd=dir_fd)
        finally:
            if name == path.name and not swapped:
                swapped.append(path.rename(path.with_name("moved")))
                os.symlink(target, path)

    monkeypatch.setattr(os, "readlink", readlink)


@pytest.mark.parametrize("number", range(len(ACTIONS)))
def test_a_directory_that_turns_into_a_link_while_we_walk_leads_nowhere(root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    (root / "etc/ssh").mkdir()
    swap_after_the_check(monkeypatch, root / "etc/ssh", outside / "etc")
    result = None
    with contextlib.suppress(OSError):
        result = ACTIONS[number](Tree(str(root)), "etc/ssh/passwd")
    assert result is None and (root / "etc/ssh").is_symlink() and untouched(outside)


@pytest.mark.parametrize("number", [0, 3])
def test_a_file_that_turns_into_a_link_is_neither_read_nor_written_through(root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    (root / "etc/motd").write_text("guest's")
    swap_after_the_check(monkeypatch, root / "etc/motd", outside / "etc/passwd")
    assert ACTIONS[number](Tree(str(root)), "etc/motd") is None
    assert untouched(outside) and (root / "etc/moved").read_text() == "guest's"


def test_a_second_name_of_a_file_elsewhere_is_never_written_through(root: Path, outside: Path) -> None:
    os.link(outside / "etc/passwd", root / "etc/passwd")
    Tree(str(root)).write("etc/passwd", b"guest's", 0o644, ME)
    assert untouched(outside)


def test_a_fifo_is_no_text_and_is_replaced(root: Path) -> None:
    os.mkfifo(root / "etc/motd")
    tree = Tree(str(root))
    assert tree.read_text("etc/motd") is None
    tree.write("etc/motd", b"x", 0o644, ME)
    assert tree.read_text("etc/motd") == "x"


def test_too_long_a_text_is_not_read_in_part(root: Path) -> None:
    (root / "etc/big").write_bytes(bytes((1 << 20) + 1))
    tree = Tree(str(root))
    with pytest.raises(OSError, match="too large"):
        tree.read_text("etc/big")
    assert tree.look(["etc/big"], []).paths == {"etc/big"} and not tree.look(["etc/big"], []).texts


def test_a_write_that_fails_leaves_no_rest(root: Path) -> None:
    (root / "etc/motd/x").mkdir(parents=True)
    with pytest.raises(OSError):
        Tree(str(root)).write("etc/motd", b"x", 0o644, ME)
    with pytest.raises(OSError):
        Tree(str(root)).symlink("etc/motd", "x")
    assert os.listdir(root / "etc") == ["motd"]


def test_links_are_made_and_replaced_without_being_followed(root: Path, outside: Path) -> None:
    os.symlink(outside / "etc/passwd", root / "etc/localtime")
    tree = Tree(str(root))
    tree.symlink("etc/localtime", "/usr/share/zoneinfo/UTC")
    tree.symlink("etc/systemd/system/x.service", "/dev/null")
    assert os.readlink(root / "etc/localtime") == "/usr/share/zoneinfo/UTC"
    assert os.readlink(root / "etc/systemd/system/x.service") == "/dev/null" and untouched(outside)


def test_directories_get_their_mode_once(root: Path) -> None:
    tree = Tree(str(root))
    tree.make_directory("root/.ssh", 0o700)
    tree.make_directory("root/.ssh", 0o755)
    tree.make_directory("/")
    assert stat.S_IMODE((root / "root/.ssh").stat().st_mode) == 0o700
    (root / "etc/file").write_text("")
    with pytest.raises(FileExistsError):
        tree.make_directory("etc/file")


def test_look_tells_texts_and_what_is_there(root: Path, outside: Path) -> None:
    (root / "usr/sbin").mkdir(parents=True)
    os.symlink("usr/sbin", root / "sbin")
    for path in ("etc/fstab", "etc/ssh_host_rsa_key", "etc/ssh_host_rsa_key.pub", "etc/.hidden", "usr/sbin/init"):
        (root / path).write_text(path)
    os.symlink("/gone", root / "etc/dangling")
    os.symlink(outside, root / "etc/out")
    fact = Tree(str(root)).look(["etc/fstab", "etc/none", "etc"], ["etc/ssh_host_*", "sbin/init", "etc/dangling", "etc/out/*/passwd", "*/fstab", "etc/*idden", "none/*"])
    assert fact.texts == {"etc/fstab": "etc/fstab"}
    assert fact.paths == {"etc", "etc/fstab", "etc/ssh_host_rsa_key", "etc/ssh_host_rsa_key.pub", "sbin/init", "etc/dangling"}


@pytest.mark.root
def test_copy_merges_under_the_own_name_and_follows_nothing_of_the_tree(root: Path, outside: Path, tmp_path: Path) -> None:
    source = tmp_path / "modules/6.1"
    (source / "kernel").mkdir(parents=True)
    (source / "kernel/ext4.ko").write_bytes(b"module" * 1000)
    os.chmod(source / "kernel/ext4.ko", 0o600)
    os.utime(source / "kernel/ext4.ko", ns=(1, 10**18))
    (source / "modules.dep").write_text("new")
    os.symlink("/usr/src/linux", source / "build")
    (root / "usr/lib/modules/6.1").mkdir(parents=True)
    os.symlink("usr/lib", root / "lib")
    os.symlink(outside / "etc/passwd", root / "lib/modules/6.1/modules.dep")
    os.symlink(outside / "etc", root / "lib/modules/6.1/kernel")
    (root / "lib/modules/6.1/own").write_text("own")
    Tree(str(root)).copy(str(source), "lib/modules")
    copied = root / "usr/lib/modules/6.1"
    assert (copied / "kernel/ext4.ko").read_bytes() == b"module" * 1000
    status = (copied / "kernel/ext4.ko").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_uid) == (0o600, 10**18, 0)
    assert (copied / "modules.dep").read_text() == "new" and not (copied / "modules.dep").is_symlink()
    assert os.readlink(copied / "build") == "/usr/src/linux" and (copied / "own").read_text() == "own"
    assert untouched(outside)


@pytest.mark.root
def test_a_file_is_copied_whole_under_the_name_and_mode_that_were_asked(root: Path, outside: Path, tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinuz-6.1"
    kernel.write_bytes(b"kernel" * 50_000)
    kernel.chmod(0o640)
    os.symlink("vmlinuz-6.1", tmp_path / "vmlinuz")
    (root / "boot").mkdir()
    os.symlink(outside / "etc/passwd", root / "boot/linked")
    for name in ("boot/vmlinuz-6.1", "boot/linked", "efi/linux"):
        Tree(str(root)).copy_file(str(tmp_path / "vmlinuz"), name, 0o600)
    status = (root / "boot/vmlinuz-6.1").stat()
    assert (root / "boot/vmlinuz-6.1").read_bytes() == kernel.read_bytes()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o600, 0, 0)
    assert sorted(os.listdir(root / "boot")) == ["linked", "vmlinuz-6.1"] and os.listdir(root / "efi") == ["linux"]
    assert untouched(outside)


@pytest.mark.parametrize("source", ["none", "directory", "fifo"])
def test_what_is_no_regular_file_is_not_copied_and_leaves_nothing(root: Path, tmp_path: Path, source: str) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (root / "boot").mkdir()
    with pytest.raises(OSError):
        Tree(str(root)).copy_file(str(tmp_path / source), "boot/vmlinuz")
    assert os.listdir(root / "boot") == []


# -- etc/shadow


def test_a_password_changes_one_token_of_one_line(root: Path) -> None:
    (root / "etc/shadow").write_text("daemon:*:1:0:99999:7:::\nroot:old:0:0:99999:7:::\nrooty:x:1::::::\n")
    os.chmod(root / "etc/shadow", 0o600)
    (root / "etc/passwd").write_text("root::0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n")
    Tree(str(root)).set_password("root", "$6$salt$hash")
    daemon, line, rooty = (root / "etc/shadow").read_text().splitlines()
    assert (daemon, rooty) == ("daemon:*:1:0:99999:7:::", "rooty:x:1::::::")
    words = line.split(":")
    assert words[:2] == ["root", "$6$salt$hash"] and int(words[2]) > 20000 and words[3:] == ["0", "99999", "7", "", "", ""]
    assert stat.S_IMODE((root / "etc/shadow").stat().st_mode) == 0o600
    assert (root / "etc/passwd").read_text() == "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n"


@pytest.mark.root
@pytest.mark.parametrize(("group", "gid"), [("root:x:0:\nshadow:x:77:\n", 77), ("root:x:0:\n", 42), (None, 42)])
def test_a_shadow_that_is_absent_is_made_for_the_trees_own_group(root: Path, group: str | None, gid: int) -> None:
    if group is not None:
        (root / "etc/group").write_text(group)
    Tree(str(root)).set_password("root", "$6$salt$hash")
    status = (root / "etc/shadow").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, gid, 0o640)
    assert (root / "etc/shadow").read_text().startswith("root:$6$salt$hash:")


@pytest.mark.root
def test_owner_and_group_of_shadow_stay(root: Path) -> None:
    (root / "etc/shadow").write_text("root:!:1::::::")
    os.chown(root / "etc/shadow", 5, 6)
    os.chmod(root / "etc/shadow", 0)
    Tree(str(root)).set_password("root", "h")
    status = (root / "etc/shadow").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (5, 6, 0)


@pytest.mark.parametrize(("user", "hashed"), [("root", "a:b"), ("root", "a\nevil::0:0"), ("ro:ot", "h"), ("root", "")])
def test_words_that_would_break_a_line_are_refused(root: Path, user: str, hashed: str) -> None:
    (root / "etc/shadow").write_text("root:!:1::::::\n")
    with pytest.raises(ValueError):
        Tree(str(root)).set_password(user, hashed)
    assert (root / "etc/shadow").read_text() == "root:!:1::::::\n"


def test_a_shadow_that_is_a_link_out_is_written_inside(root: Path, outside: Path) -> None:
    (root / "etc/shadow").symlink_to(outside / "etc/passwd")
    inside = root / str(outside).lstrip("/") / "etc"
    inside.mkdir(parents=True)
    (inside / "passwd").write_text("root:!:1::::::\n")
    Tree(str(root)).set_password("root", "h")
    assert untouched(outside) and (inside / "passwd").read_text().startswith("root:h:")
