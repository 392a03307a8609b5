"""The edge on a real kernel: loop devices, mounts, namespaces, and the end of commands that do not want to end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap.dom0 import Dom0, Unwatched
from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.plans import Confinement, Run
from dtcxen_soap.vps import Secret

pytestmark = pytest.mark.root
dom0 = Dom0()


def silent(line: str) -> None:
    """Nobody listens."""


def run(*argv: str, **more: object) -> tuple[int, str]:
    ran = dom0.run(Run(why="a test", argv=argv, **more), silent, Unwatched())  # type: ignore[arg-type]
    return ran.code, ran.output


def eventually(what: object, seconds: float = 3.0) -> bool:
    """Whether `what` comes true in time."""
    deadline = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def living(marker: str) -> list[int]:
    """Processes that have `marker` in their environment and are no zombies."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if f"MARKER={marker}".encode() in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                found.append(int(name))
        except OSError:
            continue
    return found


# -- disks, loop devices, mounts ------------------------------------------------------------------


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Path]:
    """An ext4 image file; whatever a failed test leaves mounted is unmounted."""
    path = tmp_path / "xen01.img"
    dom0.allocate_file(str(path), 32 << 20, True)
    assert run("mkfs.ext4", "-q", "-F", "--", str(path)) == (0, "")
    yield path
    for at in dom0.mounts_below(str(tmp_path)):
        subprocess.run(["umount", "--lazy", at], check=True)


def test_an_image_file_gets_a_loop_device_that_goes_with_its_mount(image: Path, tmp_path: Path) -> None:
    at = tmp_path / "mnt/01"
    assert not dom0.mounted_at(str(at)) and dom0.loop_devices_of(str(image)) == ()
    dom0.mount(str(image), str(at), "ext4", "nodev,nosuid")
    assert dom0.mounted_at(str(at)) and dom0.mounts_below(str(tmp_path)) == (str(at),)
    assert len(dom0.loop_devices_of(str(image))) == 1
    assert {"nodev", "nosuid"} <= set(next(line.split()[3] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[1] == str(at)).split(","))
    with pytest.raises(Failed, match="mount point already"):
        dom0.mount(str(image), str(at), "ext4")
    dom0.unmount(str(at))
    dom0.unmount(str(at))
    assert not dom0.mounted_at(str(at)) and eventually(lambda: dom0.loop_devices_of(str(image)) == ())


def test_a_disk_is_blank_until_a_file_system_is_on_it(tmp_path: Path, image: Path) -> None:
    assert not dom0.blank(str(image))
    fresh = tmp_path / "fresh"
    dom0.allocate_file(str(fresh), 32 << 20, False)
    device = subprocess.run(["losetup", "--find", "--show", str(fresh)], check=True, capture_output=True, text=True).stdout.strip()
    try:
        Path(device).read_bytes()
        assert dom0.blank(str(fresh)), "only read"
    finally:
        dom0.detach_loop(device)
    assert not dom0.blank(device)


def test_mount_says_what_was_wrong(tmp_path: Path) -> None:
    dom0.allocate_file(str(tmp_path / "empty"), 1 << 20, True)
    with pytest.raises(Failed, match="mount ended with code") as caught:
        dom0.mount(str(tmp_path / "empty"), str(tmp_path / "mnt"), "ext4")
    assert caught.value.command.startswith("mount -t ext4 -o loop") and caught.value.tail
    assert dom0.loop_devices_of(str(tmp_path / "empty")) == ()


def test_what_is_mounted_below_goes_first_even_with_blanks_in_names(image: Path, tmp_path: Path) -> None:
    at = tmp_path / "mnt of 01"
    dom0.mount(str(image), str(at), "ext4")
    for name in ("proc", "a b\\c"):
        (at / name).mkdir()
        dom0.mount("tmpfs", str(at / name), "tmpfs")
    assert dom0.mounts_below(str(at)) == (str(at / "a b\\c"), str(at / "proc"), str(at))
    assert str(tmp_path / "mnt of 01x") not in dom0.mounts_below(str(tmp_path))
    dom0.unmount(str(at))
    assert dom0.mounts_below(str(tmp_path)) == ()


def test_unmount_waits_for_somebody_who_is_leaving(image: Path, tmp_path: Path) -> None:
    at = tmp_path / "mnt"
    dom0.mount(str(image), str(at), "ext4")
    with subprocess.Popen(["sleep", "1"], cwd=at):
        said: list[str] = []
        dom0.unmount(str(at), said.append)
    assert said == [] and not dom0.mounted_at(str(at))


def test_who_holds_a_mount_is_named_and_the_disk_not_called_free(image: Path, tmp_path: Path) -> None:
    at = tmp_path / "mnt"
    dom0.mount(str(image), str(at), "ext4")
    said: list[str] = []
    with subprocess.Popen(["sleep", "60"], cwd=at) as holder:
        try:
            start = time.monotonic()
            with pytest.raises(Failed, match=f"stays in use by pid {holder.pid}"):
                dom0.unmount(str(at), said.append)
            assert 4 < time.monotonic() - start < 9
            assert not dom0.mounted_at(str(at)) and any(f"held by pid {holder.pid} (sleep)" in line for line in said)
            assert dom0.loop_devices_of(str(image))
        finally:
            holder.kill()
    assert eventually(lambda: dom0.loop_devices_of(str(image)) == ())


def test_a_loop_device_knows_its_file_by_any_name_and_is_detached_once(image: Path) -> None:
    device = subprocess.run(["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True).stdout.strip()
    renamed = image.with_name("renamed.img")
    dom0.rename_file(str(image), str(renamed))
    assert dom0.loop_devices_of(str(renamed)) == (device,)
    dom0.detach_loop(device)
    dom0.detach_loop(device)
    assert dom0.loop_devices_of(str(renamed)) == ()


def test_a_loop_device_in_use_is_not_called_free(image: Path, tmp_path: Path) -> None:
    device = subprocess.run(["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True).stdout.strip()
    dom0.mount(device, str(tmp_path / "mnt"), "ext4")
    with pytest.raises(Failed, match="stays in use"):
        dom0.detach_loop(device)
    dom0.unmount(str(tmp_path / "mnt"))
    assert eventually(lambda: dom0.loop_devices_of(str(image)) == ())


def test_a_tree_on_a_real_file_system_keeps_writes_inside(image: Path, tmp_path: Path) -> None:
    at = tmp_path / "mnt"
    dom0.mount(str(image), str(at), "ext4")
    (at / "opt").symlink_to("/etc")
    dom0.tree(str(at)).write("opt/dtcxen-escaped", b"x")
    assert not Path("/etc/dtcxen-escaped").exists() and (at / "etc/dtcxen-escaped").exists()
    dom0.tree(str(at)).make_directory("real")
    (at / "etc").rename(at / "etc.old")
    (at / "etc").symlink_to("real")
    dom0.tree(str(at)).set_password("root", "$6$x")
    assert (at / "real/shadow").read_text().startswith("root:$6$x:")
    dom0.unmount(str(at))


# -- containment ----------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A directory with a tree, our scripts, and a node's directory that they are laid over."""
    for name in ("tree/etc", "ours", "node"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "ours/dtc-xen-parse-param").write_text("ours")
    (tmp_path / "node/dtc-xen-parse-param").write_text("the node's")
    (tmp_path / "node/other").write_text("other")
    return tmp_path


def confined(bundle: Path, script: str, *overlays: tuple[str, str], **more: object) -> tuple[int, str]:
    return run("sh", "-c", script, confinement=Confinement(writable=(str(bundle / "tree"),), overlays=overlays), **more)


@pytest.mark.parametrize("place", ["/etc", "/usr", "/var/tmp", "/root", "/dev", "/run", "/sys/fs/cgroup", "/proc/sys/kernel"])
def test_a_confined_script_cannot_write_to_the_node(bundle: Path, place: str) -> None:
    path = Path(place) / f"dtcxen-test-{os.getpid()}"
    code, output = confined(bundle, f"echo x > {path}")
    try:
        assert code != 0 and ("Read-only file system" in output or "nonexistent" in output or "Permission denied" in output)
        assert not path.exists()
    finally:
        path.unlink(missing_ok=True)


def test_a_confined_script_writes_its_tree_and_the_nodes_other_files_stay(bundle: Path) -> None:
    code, output = confined(bundle, f"echo x > {bundle}/tree/etc/fstab && echo x > {bundle}/node/other")
    assert code == 0, output  # below /tmp the second write seems to succeed
    assert (bundle / "tree/etc/fstab").read_text() == "x\n" and (bundle / "node/other").read_text() == "other"


def test_a_mounted_tree_stays_writable_with_its_own_flags(image: Path, bundle: Path) -> None:
    dom0.mount(str(image), str(bundle / "tree"), "ext4", "nodev,nosuid")
    (bundle / "tree/sys").mkdir()
    dom0.mount("tmpfs", str(bundle / "tree/sys"), "tmpfs")
    subprocess.run(["mount", "-o", "remount,bind,ro", str(bundle / "tree/sys")], check=True)
    code, output = confined(bundle, f"touch {bundle}/tree/x; grep ' {bundle}/tree ' /proc/mounts | grep nodev; touch {bundle}/tree/sys/x")
    assert code == 1 and "nodev" in output and "Read-only" in output
    assert (bundle / "tree/x").exists()
    dom0.unmount(str(bundle / "tree"))


def test_a_furnished_tree_has_a_dev_and_proc_meanwhile(image: Path, bundle: Path) -> None:
    tree = bundle / "tree"
    dom0.mount(str(image), str(tree), "ext4", "nodev,nosuid")
    (tree / "dev").mkdir()
    (tree / "proc").mkdir()
    confinement = Confinement(writable=(str(tree),), furnished=str(tree))
    code, output = run("sh", "-c", f"echo x > {tree}/dev/null && stat -c %F {tree}/dev/null && ls {tree}/proc/self/fd >{tree}/x && readlink {tree}/dev/fd", confinement=confinement)
    assert (code, output) == (0, "character special file\n/proc/self/fd\n"), output
    assert not list((tree / "dev").iterdir()) and not list((tree / "proc").iterdir()) and (tree / "x").exists()
    dom0.unmount(str(tree))


def test_a_furnished_tree_leads_nowhere_else(bundle: Path) -> None:
    (bundle / "tree/dev").symlink_to("/dev")
    code, output = run("sh", "-c", f"ls {bundle}/tree/", confinement=Confinement(writable=(str(bundle / "tree"),), furnished=str(bundle / "tree")))
    assert code == 0 and "no directory /dev" in output and "no directory /proc" in output


def test_tmp_is_private_but_shows_what_is_there(bundle: Path, tmp_path: Path) -> None:
    name = f"dtcxen-private-{os.getpid()}"
    code, output = confined(bundle, f"echo x > /tmp/{name} && cat /tmp/{name} && cat {bundle}/node/other && stat -c %a /tmp")
    assert (code, output) == (0, "x\nother1777\n")
    assert not os.path.exists(f"/tmp/{name}")


def test_our_scripts_are_laid_over_the_nodes(bundle: Path) -> None:
    node = bundle / "node"
    code, output = confined(bundle, f"cat {node}/dtc-xen-parse-param {node}/other; touch {node}/x", (str(bundle / "ours"), str(node)))
    assert code != 0 and output.startswith("oursother") and "Read-only" in output
    assert (node / "dtc-xen-parse-param").read_text() == "the node's"


def test_our_scripts_are_found_where_the_node_has_nothing_and_nothing_is_made(bundle: Path) -> None:
    overlays = tuple((str(bundle / "ours"), f"/usr/share/dtcxen-{name}") for name in ("test-a", "test-b/deep"))
    code, output = confined(bundle, "cat /usr/share/dtcxen-test-a/* /usr/share/dtcxen-test-b/deep/*; ls /usr/share | wc -l", *overlays)
    assert code == 0 and output.startswith("oursours") and int(output[8:]) == len(os.listdir("/usr/share")) + 2
    assert not os.path.exists("/usr/share/dtcxen-test-a") and not os.path.exists("/usr/share/dtcxen-test-b")


def test_mounts_of_a_confined_script_are_its_own(bundle: Path) -> None:
    code, output = confined(bundle, f"mount -t tmpfs none {bundle}/tree/etc && touch {bundle}/tree/etc/lost && mount -t tmpfs none /etc && ls /etc | wc -l")
    assert (code, output) == (0, "0\n")
    assert not dom0.mounted_at("/etc") and dom0.mounts_below(str(bundle)) == () and os.listdir(bundle / "tree/etc") == []


def test_it_runs_in_its_directory_with_its_input(bundle: Path) -> None:
    assert confined(bundle, "pwd; cat", cwd=str(bundle / "tree"), stdin=Secret("pw")) == (0, f"{bundle}/tree\n(redacted)\n")


def test_an_overlay_that_is_not_there_is_a_failure_before_the_script(bundle: Path) -> None:
    code, output = confined(bundle, f"touch {bundle}/tree/ran", (str(bundle / "gone"), "/usr/share/x"))
    assert code == 125 and "gone" in output and not (bundle / "tree/ran").exists()


def test_a_daemon_left_behind_ends_with_its_command() -> None:
    marker = f"daemon-{os.getpid()}"
    start = time.monotonic()
    code, output = run("sh", "-c", "setsid sh -c 'trap \"\" TERM HUP; sleep 300; true' >/dev/null 2>&1 & echo started; exit 7", contained=True, env=(("MARKER", marker),))
    assert (code, output) == (7, "started\n")
    assert living(marker) == [] and time.monotonic() - start < 5


def test_orphans_are_reaped_and_codes_are_a_shells() -> None:
    assert run("sh", "-c", "(sleep 0.1 & ) ; sleep 0.3; ps -o stat= -e | grep -c Z; exit 5", contained=True) == (5, "0\n")
    assert [run(*argv, contained=True)[0] for argv in (("not-installed",), ("/etc/passwd",), ("sh", "-c", "kill -9 $$"))] == [127, 126, 137]


def test_confine_refuses_to_work_on_the_node_itself() -> None:
    argv = dom0.command_of(Run(why="", argv=("touch", "/etc/ran"), confinement=Confinement(writable=())))
    before = Path("/proc/self/mountinfo").read_text()
    done = subprocess.run(argv[argv.index(sys.executable):], capture_output=True, text=True, timeout=20)
    assert done.returncode == 125 and "dom0 starts this" in done.stderr
    assert Path("/proc/self/mountinfo").read_text() == before and os.access("/etc", os.W_OK) and not os.path.exists("/etc/ran")


# -- guest code in its tree -----------------------------------------------------------------------


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """A tree that can run things: a few of this machine's programs and the libraries they name."""
    tree = tmp_path / "tree"
    for name in ("bin", "dev", "proc", "etc"):
        (tree / name).mkdir(parents=True)
    for name in ("sh", "ls", "cat", "mkdir", "chroot", "mount", "id"):
        program = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        assert program
        shutil.copy(program, tree / "bin" / name)
        said = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+) \(0x", said):
            (tree / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, tree / library.lstrip("/"))
    return tree


def test_guest_code_sees_its_tree_and_a_small_dev_and_only_its_own_processes(guest: Path) -> None:
    code, output = run("sh", "-c", "ls /dev; echo x > /dev/null && echo /proc/[0-9]*; id -u; pwd", chroot=str(guest), cwd="/etc")
    assert code == 0, output
    *devices, processes, user, directory = output.splitlines()
    assert devices == sorted(["fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"])
    assert (processes, user, directory) == ("/proc/1 /proc/2", "0", "/etc")
    assert os.listdir(guest / "dev") == [] and os.listdir(guest / "proc") == []


def test_guest_code_cannot_leave_its_tree(guest: Path) -> None:
    code, output = run("sh", "-c", "mkdir /x; chroot /x /bin/sh; echo $?; mount -t proc proc /x; echo $?", chroot=str(guest))
    assert [line for line in output.splitlines() if line.isdigit()] == ["125", "32"] and "Operation not permitted" in output, (code, output)


def test_links_in_place_of_dev_and_proc_are_not_mounted_on(guest: Path) -> None:
    for name in ("dev", "proc"):
        (guest / name).rmdir()
        (guest / name).symlink_to(f"/{name}")
    code, output = run("sh", "-c", "echo still runs", chroot=str(guest))
    assert code == 0 and "still runs" in output and "no directory /dev" in output


# -- cancelling and timeouts ----------------------------------------------------------------------

STUBBORN = (
    "trap '' TERM HUP INT; (trap '' TERM; sleep 300; true) & (trap '' TERM; (trap '' TERM; sleep 300; true) & wait) & "
    "echo started; while :; do sleep 1; done")


class Cancel(Unwatched):
    """Cancels once a line was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.told: list[tuple[int, int]] = []

    def started(self, pid: int, start_time: int) -> None:
        self.told.append((pid, start_time))

    def cancelled(self) -> bool:
        return bool(self.lines)


@pytest.mark.parametrize("contained", [False, True])
def test_cancel_ends_a_stubborn_command_with_all_its_children_in_under_five_seconds(contained: bool) -> None:
    marker = f"stubborn-{os.getpid()}-{contained}"
    escape = "setsid sh -c 'trap \"\" TERM; sleep 300; true' & " if contained else ""
    watch, start = Cancel(), time.monotonic()
    with pytest.raises(Cancelled):
        dom0.run(Run(why="", argv=("sh", "-c", escape + STUBBORN), contained=contained, env=(("MARKER", marker),)), watch.lines.append, watch)
    assert time.monotonic() - start < 4
    assert living(marker) == []


@pytest.mark.parametrize("contained", [False, True])
def test_a_command_that_obeys_term_may_clean_up(contained: bool, tmp_path: Path) -> None:
    watch, start = Cancel(), time.monotonic()
    script = f"trap 'echo cleaned > {tmp_path}/cleaned; exit 0' TERM; echo started; while :; do sleep 0.1; done"
    with pytest.raises(Cancelled):
        dom0.run(Run(why="", argv=("sh", "-c", script), contained=contained), watch.lines.append, watch)
    assert (tmp_path / "cleaned").exists() and time.monotonic() - start < 1.5


def test_a_cancelled_job_does_not_start_anything(tmp_path: Path) -> None:
    watch = Cancel()
    watch.lines.append("already")
    with pytest.raises(Cancelled):
        dom0.run(Run(why="", argv=("touch", str(tmp_path / "ran"))), watch.lines.append, watch)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("contained", [False, True])
def test_a_timeout_ends_the_group_with_code_124(contained: bool) -> None:
    marker, said = f"slow-{os.getpid()}-{contained}", list[str]()
    step = Run(why="", argv=("sh", "-c", "echo begun; sleep 300 & sleep 300"), timeout_seconds=1, contained=contained, env=(("MARKER", marker),))
    ran = dom0.run(step, said.append, Unwatched())
    assert ran.code == 124 and said == ["begun", "ended: it took longer than 1 s"] and living(marker) == []


def test_a_mount_is_free_as_soon_as_a_cancelled_command_has_ended(image: Path, tmp_path: Path) -> None:
    at, watch = tmp_path / "mnt", Cancel()
    dom0.mount(str(image), str(at), "ext4")
    script = f"cd {at}; setsid sh -c 'trap \"\" TERM; exec 3>{at}/open; sleep 300; true' & {STUBBORN}"
    with pytest.raises(Cancelled):
        dom0.run(Run(why="", argv=("sh", "-c", script), confinement=Confinement(writable=(str(at),))), watch.lines.append, watch)
    start = time.monotonic()
    dom0.unmount(str(at))
    assert time.monotonic() - start < 3 and eventually(lambda: dom0.loop_devices_of(str(image)) == (), 1)


# -- what an earlier daemon left ------------------------------------------------------------------


@pytest.fixture
def left(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A command that an earlier daemon started: leader of its session, with our mark, and a child."""
    marker = f"left-{os.getpid()}"
    process = subprocess.Popen(
        ["sh", "-c", "sleep 300 & sleep 300"], env={"PATH": os.environ["PATH"], "DTCXEN_STEP": "1", "MARKER": marker}, start_new_session=True)
    assert eventually(lambda: len(living(marker)) == 3)
    yield process
    for pid in living(marker):
        os.kill(pid, signal.SIGKILL)
    process.wait()


def start_time(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def test_what_an_earlier_daemon_left_is_ended(left: subprocess.Popen[bytes]) -> None:
    assert dom0.end_group(left.pid, start_time(left.pid))
    assert living(f"left-{os.getpid()}") == []
    left.wait()
    assert not dom0.end_group(left.pid, 1)


def test_children_whose_leader_died_are_ended_too(left: subprocess.Popen[bytes]) -> None:
    began = start_time(left.pid)
    left.kill()
    left.wait()
    assert len(living(f"left-{os.getpid()}")) == 2
    assert dom0.end_group(left.pid, began)
    assert living(f"left-{os.getpid()}") == []


def test_a_stranger_that_got_the_number_is_left_alone(left: subprocess.Popen[bytes]) -> None:
    assert not dom0.end_group(left.pid, start_time(left.pid) - 1)
    assert left.poll() is None and len(living(f"left-{os.getpid()}")) == 3


def test_a_leaderless_session_of_strangers_is_left_alone() -> None:
    marker = f"stranger-{os.getpid()}"
    with subprocess.Popen(["sh", "-c", "sleep 300 & sleep 300"], env={"PATH": os.environ["PATH"], "MARKER": marker}, start_new_session=True) as stranger:
        assert eventually(lambda: len(living(marker)) == 3)
        began = start_time(stranger.pid)
        stranger.kill()
    try:
        assert not dom0.end_group(stranger.pid, began)
        assert len(living(marker)) == 2
    finally:
        for pid in living(marker):
            os.kill(pid, signal.SIGKILL)
