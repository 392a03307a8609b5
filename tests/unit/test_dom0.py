"""Dom0's files, the archives it reads, and that the scripted one of fakes.py has the same face."""

from __future__ import annotations

import errno
import inspect
import io
import os
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from dtcxen_soap.dom0 import Dom0, Unwatched
from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.facts import Member
from dtcxen_soap.plans import Confinement, Run
from dtcxen_soap.tree import Tree
from dtcxen_soap.vps import Secret
from tests.fakes import ScriptedDom0, ScriptedTree

dom0 = Dom0()


def hidden(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if name.startswith(".dtcxen")]


@pytest.mark.parametrize(("real", "fake"), [(Dom0, ScriptedDom0), (Tree, ScriptedTree)])
def test_the_scripted_twin_overrides_everything_with_the_same_signatures(real: type, fake: type) -> None:
    for name, method in inspect.getmembers(real, inspect.isfunction):
        if not name.startswith("_"):
            assert name in vars(fake), name
            assert inspect.signature(method).parameters == inspect.signature(getattr(fake, name)).parameters, name


# -- files that appear whole


def test_write_file_replaces_whole_with_the_mode_asked_for(tmp_path: Path) -> None:
    old_umask = os.umask(0o077)
    try:
        path = tmp_path / "xen01"
        path.write_text("old")
        dom0.write_file(str(path), b"new", 0o644)
    finally:
        os.umask(old_umask)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert not hidden(tmp_path)


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(IsADirectoryError):
        dom0.write_file(str(tmp_path / "directory"), b"x")
    assert not hidden(tmp_path)


def test_what_is_too_long_is_not_read_in_part(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    assert dom0.read_bytes(str(path), 5) == b"12345"
    with pytest.raises(OSError, match="too large") as caught:
        dom0.read_text(str(path), 4)
    assert caught.value.errno == errno.EFBIG


@pytest.mark.parametrize("sparse", [True, False])
def test_allocate_makes_zeros_of_the_size_and_reserves_unless_sparse(tmp_path: Path, sparse: bool) -> None:
    path = tmp_path / "disk"
    dom0.allocate_file(str(path), 4 << 20, sparse, 0o600)
    status = path.stat()
    assert status.st_size == 4 << 20 and stat.S_IMODE(status.st_mode) == 0o600
    assert (status.st_blocks == 0) is sparse
    assert path.read_bytes() == bytes(4 << 20)
    assert not hidden(tmp_path)


@pytest.mark.parametrize("sparse", [True, False])
def test_allocate_never_overwrites(tmp_path: Path, sparse: bool) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"a tenant's data")
    with pytest.raises(FileExistsError):
        dom0.allocate_file(str(path), 1 << 20, sparse)
    assert path.read_bytes() == b"a tenant's data"
    assert not hidden(tmp_path)


def test_allocate_that_cannot_reserve_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        dom0.allocate_file(str(tmp_path / "disk"), dom0.free_bytes(str(tmp_path)) * 4, False)
    assert caught.value.errno in (errno.ENOSPC, errno.EFBIG)
    assert os.listdir(tmp_path) == []


def test_exchange_puts_the_new_in_place_and_keeps_the_old(tmp_path: Path) -> None:
    new, disk, keep = (str(tmp_path / name) for name in ("new", "disk", "keep"))
    Path(new).write_text("new")
    Path(disk).write_text("old")
    dom0.exchange_file(new, disk, keep)
    assert Path(disk).read_text() == "new" and Path(keep).read_text() == "old" and not dom0.exists(new)
    dom0.exchange_file(keep, disk, new)
    assert Path(disk).read_text() == "old" and Path(new).read_text() == "new" and not dom0.exists(keep)


def test_exchange_fails_before_any_change(tmp_path: Path) -> None:
    new, disk, keep = (str(tmp_path / name) for name in ("new", "disk", "keep"))
    Path(disk).write_text("old")
    with pytest.raises(FileNotFoundError):
        dom0.exchange_file(new, disk, keep)
    assert not dom0.exists(keep)
    Path(new).write_text("new")
    Path(keep).write_text("another tenant's")
    with pytest.raises(FileExistsError):
        dom0.exchange_file(new, disk, keep)
    assert [Path(path).read_text() for path in (new, disk, keep)] == ["new", "old", "another tenant's"]


def test_exchange_and_rename_go_on_after_a_crash_in_their_middle(tmp_path: Path) -> None:
    new, disk, keep = (str(tmp_path / name) for name in ("new", "disk", "keep"))
    Path(new).write_text("new")
    Path(disk).write_text("old")
    os.link(disk, keep)
    dom0.exchange_file(new, disk, keep)
    assert Path(disk).read_text() == "new" and Path(keep).read_text() == "old"
    os.link(disk, new)
    dom0.rename_file(disk, new)
    assert Path(new).read_text() == "new" and not dom0.exists(disk)


def test_rename_makes_parents_and_never_replaces(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "kept/2026/b"
    source.write_text("a")
    dom0.rename_file(str(source), str(target))
    assert target.read_text() == "a" and not source.exists()
    source.write_text("other")
    with pytest.raises(FileExistsError):
        dom0.rename_file(str(source), str(target))
    assert target.read_text() == "a" and source.read_text() == "other"


def test_rename_moves_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "auto").symlink_to("nowhere")
    dom0.rename_file(str(tmp_path / "auto"), str(tmp_path / "auto.old"))
    assert os.readlink(tmp_path / "auto.old") == "nowhere" and not dom0.exists(str(tmp_path / "auto"))


def test_removing_what_is_gone_is_fine_but_never_a_directory(tmp_path: Path) -> None:
    dom0.remove_file(str(tmp_path / "gone"))
    (tmp_path / "directory").mkdir()
    with pytest.raises((IsADirectoryError, PermissionError)):
        dom0.remove_file(str(tmp_path / "directory"))


def test_symlink_replaces_in_one_move(tmp_path: Path) -> None:
    path = tmp_path / "auto"
    dom0.symlink(str(path), "../xen01")
    dom0.symlink(str(path), "../xen02")
    assert os.readlink(path) == "../xen02"
    assert dom0.exists(str(path)) and not dom0.is_regular(str(path))
    assert not hidden(tmp_path)


def test_directories_get_their_mode_once(tmp_path: Path) -> None:
    path = tmp_path / "a/b"
    dom0.make_directory(str(path), 0o700)
    dom0.make_directory(str(path), 0o755)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert dom0.listdir(str(tmp_path)) == ("a",) and dom0.listdir(str(tmp_path / "none")) == ()


# -- whether a disk holds anybody's data


def test_sparse_and_reserved_files_are_blank_until_one_byte_is_written(tmp_path: Path) -> None:
    for sparse in (True, False):
        path = str(tmp_path / f"disk-{sparse}")
        dom0.allocate_file(path, 8 << 20, sparse)
        assert dom0.blank(path)
        with open(path, "r+b") as file:
            file.seek(5 << 20)
            file.write(b"x")
        assert not dom0.blank(path)


def test_zeros_that_were_written_are_not_blank(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(1 << 20))
    assert not dom0.blank(str(path))


def test_what_the_kernel_cannot_tell_is_not_blank() -> None:
    assert not dom0.blank("/dev/zero")


def test_free_space_of_what_is_not_there_yet(tmp_path: Path) -> None:
    assert abs(dom0.free_bytes(str(tmp_path / "not/yet")) - dom0.free_bytes(str(tmp_path))) < 1 << 30


# -- tarballs


def tarball(path: Path, mode: str) -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, kind, link in (("etc", tarfile.DIRTYPE, ""), ("etc/passwd", tarfile.REGTYPE, ""), ("lib", tarfile.SYMTYPE, "/usr/lib"),
                                 ("hard", tarfile.LNKTYPE, "etc/passwd"), ("dev/null", tarfile.CHRTYPE, "")):
            item = tarfile.TarInfo(name)
            item.type, item.linkname, item.size, item.mode = kind, link, 3 if kind == tarfile.REGTYPE else 0, 0o4755
            archive.addfile(item, io.BytesIO(b"abc") if item.size else None)


MEMBERS = (Member("etc", "directory", "", 0, 0o4755), Member("etc/passwd", "file", "", 3, 0o4755), Member("lib", "symlink", "/usr/lib", 0, 0o4755),
           Member("hard", "hardlink", "etc/passwd", 0, 0o4755), Member("dev/null", "device", "", 0, 0o4755))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_judge_sees_every_member(tmp_path: Path, mode: str) -> None:
    tarball(tmp_path / "t", mode)
    seen: list[Member] = []

    def judge(members: Iterable[Member]) -> str:
        seen.extend(members)
        return ""

    dom0.check_tarball(str(tmp_path / "t"), judge)
    assert tuple(seen) == MEMBERS


def test_the_judges_text_is_the_failure(tmp_path: Path) -> None:
    tarball(tmp_path / "t", "w:gz")
    with pytest.raises(Failed, match="t: etc/passwd is bad"):
        dom0.check_tarball(str(tmp_path / "t"), lambda members: next(f"{item.name} is bad" for item in members if item.size))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_damaged_end_fails_even_when_the_judge_stopped_early(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "t"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name in ("etc/a", "etc/b"):
            item = tarfile.TarInfo(name)
            item.size = 100_000
            archive.addfile(item, io.BytesIO(os.urandom(100_000)))
    path.write_bytes(path.read_bytes()[:150_000])
    with pytest.raises(Failed, match="cannot|read to its end"):
        dom0.check_tarball(str(path), lambda members: "")


def test_what_is_no_tarball_fails(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"#!/bin/sh\n" * 200)
    for path in (tmp_path / "t", tmp_path / "none"):
        with pytest.raises(Failed, match="no tarball"):
            dom0.check_tarball(str(path), lambda members: "")


def test_reading_a_tarball_can_be_cancelled(tmp_path: Path) -> None:
    class Impatient(Unwatched):
        def cancelled(self) -> bool:
            return True

    tarball(tmp_path / "t", "w")
    with pytest.raises(Cancelled):
        dom0.check_tarball(str(tmp_path / "t"), lambda members: str(list(members)), Impatient())


# -- what would be started


def test_a_plain_command_is_started_as_it_is() -> None:
    assert dom0.command_of(Run(why="", argv=("mkfs.ext4", "-q", "--", "/x"))) == ("mkfs.ext4", "-q", "--", "/x")


@pytest.mark.parametrize("more", [{"contained": True}, {"chroot": "/tree"}, {"confinement": Confinement(writable=("/tree",))}])
def test_guests_and_installers_and_bundles_get_namespaces(more: dict[str, object]) -> None:
    argv = dom0.command_of(Run(why="", argv=("true",), env=(("PW", Secret("geheim")),), **more))  # type: ignore[arg-type]
    assert argv[0] == "unshare" and {"--mount", "--pid", "--fork", "--kill-child"} <= set(argv)
    assert argv[-1] == "true" and "geheim" not in " ".join(argv)


# -- commands that run


@pytest.mark.machine
def test_lines_come_while_the_command_runs_and_the_code_is_not_judged() -> None:
    said: list[str] = []

    class Curious(Unwatched):
        def __init__(self) -> None:
            self.early = False

        def cancelled(self) -> bool:
            self.early = self.early or said == ["one"]
            return False

    watch = Curious()
    ran = dom0.run(Run(why="", argv=("sh", "-c", "echo one; sleep 0.5; echo two >&2; exit 3")), said.append, watch)
    assert (ran.code, ran.output, said, watch.early) == (3, "one\ntwo\n", ["one", "two"], True)


@pytest.mark.machine
def test_the_environment_is_clean_and_standard_input_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "1")
    ran = dom0.run(Run(why="", argv=("sh", "-c", "env; cat; umask; pwd"), env=(("A", "b"),), cwd="/usr"), lambda line: None, Unwatched())
    lines = set(ran.output.splitlines()) - {"_=/usr/bin/env"}
    assert lines == {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/root", "DTCXEN_STEP=1", "A=b", "PWD=/usr", "0022", "/usr"}


@pytest.mark.machine
def test_a_secret_goes_in_by_stdin_and_env_and_never_comes_out() -> None:
    said: list[str] = []
    step = Run(why="", argv=("sh", "-c", "cat; echo \"it is $PW!\"; read x <<E\n"), stdin=Secret("root:hunter2\n"), env=(("PW", Secret("geh eim")),))
    ran = dom0.run(step, said.append, Unwatched())
    assert said[:2] == ["(redacted)", "it is (redacted)!"]
    assert "hunter2" not in ran.output and "geh eim" not in ran.output


@pytest.mark.machine
def test_large_input_and_output_do_not_block_each_other_and_only_the_tail_is_kept() -> None:
    script = "dd bs=4096 count=1 of=/dev/null 2>/dev/null; head -c 1000000 /dev/zero | tr '\\0' c; tr a b; echo end"
    ran = dom0.run(Run(why="", argv=("sh", "-c", script), stdin="a" * 3_000_000, timeout_seconds=20), lambda line: None, Unwatched())
    assert ran.code == 0 and len(ran.output) == 64 << 10 and ran.output.endswith("bend\n")


@pytest.mark.machine
def test_a_command_that_ignores_its_input_is_no_trouble() -> None:
    assert dom0.run(Run(why="", argv=("true",), stdin="a" * 1_000_000), lambda line: None, Unwatched()).code == 0


@pytest.mark.machine
def test_codes_of_what_cannot_start_or_is_ended_by_a_signal() -> None:
    codes = [dom0.run(Run(why="", argv=argv), lambda line: None, Unwatched()).code for argv in (("not-installed",), ("/etc/passwd",), ("sh", "-c", "kill -9 $$"))]
    assert codes == [127, 126, 137]


@pytest.mark.machine
def test_capture_gives_standard_output_alone() -> None:
    ran = dom0.capture(("sh", "-c", "echo out; echo err >&2; exit 2"))
    assert (ran.code, ran.output) == (2, "out\n")
    assert dom0.capture(("not-installed",)).code == 127
    assert dom0.capture(("sleep", "60"), timeout_seconds=1).code == 124
    assert dom0.commands(("sh", "not-installed")) == frozenset({"sh"})


@pytest.mark.machine
def test_started_and_ended_are_told_and_a_journal_that_fails_ends_the_command(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []

    class Journal(Unwatched):
        def started(self, pid: int, start_time: int) -> None:
            told.append(("started", pid))
            assert start_time == int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])

        def ended(self, pid: int) -> None:
            told.append(("ended", pid))

    class Full(Journal):
        def started(self, pid: int, start_time: int) -> None:
            super().started(pid, start_time)
            raise OSError(errno.ENOSPC, "No space left on device")

    dom0.run(Run(why="", argv=("sleep", "0.2")), lambda line: None, Journal())
    assert [word for word, _ in told] == ["started", "ended"] and told[0][1] == told[1][1]
    with pytest.raises(OSError, match="No space"):
        dom0.run(Run(why="", argv=("sleep", "60")), lambda line: None, Full())
    assert not Path(f"/proc/{told[-1][1]}").exists()


@pytest.mark.machine
def test_zstd_tarballs_are_read_through_zstd(tmp_path: Path) -> None:
    tarball(tmp_path / "t.tar", "w")
    if dom0.capture(("zstd", "-q", str(tmp_path / "t.tar"))).code == 127:
        pytest.skip("zstd is not installed")
    with pytest.raises(Failed, match="etc etc/passwd lib hard dev/null"):
        dom0.check_tarball(str(tmp_path / "t.tar.zst"), lambda members: " ".join(item.name for item in members))
    whole = (tmp_path / "t.tar.zst").read_bytes()
    (tmp_path / "cut.zst").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Failed):
        dom0.check_tarball(str(tmp_path / "cut.zst"), lambda members: "")
