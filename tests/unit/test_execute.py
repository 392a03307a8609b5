"""The executor over a scripted machine: order, undo, release, progress, redaction, and death at every single point."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from dtcxen_soap.actions import POLICY
from dtcxen_soap.dom0 import Ran
from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.execute import count, execute
from dtcxen_soap.facts import JobFact, Member, TreeFact
from dtcxen_soap.imagefacts import GoldenImage
from dtcxen_soap.imagesteps import KeepImage, MakingImage
from dtcxen_soap.journal import Journal
from dtcxen_soap.plans import (
    AllocateFile,
    BlockVps,
    CheckTarball,
    ExchangeFile,
    Look,
    MakeDirectory,
    Mounted,
    NextTenancy,
    Plan,
    RemoveFile,
    RenameFile,
    Run,
    ServicesOff,
    Step,
    Symlink,
    TreeCopy,
    TreeDirectory,
    TreePassword,
    TreeRemove,
    TreeSymlink,
    TreeWrite,
    WriteFile,
)
from dtcxen_soap.recover import recover
from dtcxen_soap.undorecords import undo_to_record
from dtcxen_soap.vps import Mib, Secret, VpsId
from tests.fakes import ScriptedDom0

VPS = VpsId(1)


def run(*argv: str, **more: Any) -> Run:
    return Run(why=f"Run {' '.join(argv)}.", argv=argv, **more)


def remove(path: str) -> RemoveFile:
    return RemoveFile(why=f"Remove {path}.", path=path)


def write(path: str, **more: Any) -> WriteFile:
    return WriteFile(why=f"Write {path}.", path=path, content=path, **more)


def nested() -> tuple[Step, ...]:
    """A plan with every shape: undo before, in and behind holds, a hold in a hold, and steps that are planned late."""
    tree_write = TreeWrite(why="Write the tree's host name.", tree="/m", path="etc/hostname", content="x")
    return (
        AllocateFile(why="Allocate.", path="/d/new", size=Mib(1), undo=(remove("/d/new"),)),
        run("mkfs", weight=3),
        Mounted(why="Mount.", source="/d/new", at="/m", fstype="ext4", steps=(
            write("/n/a", undo=(remove("/n/a"),)),
            ServicesOff(why="No services.", tree="/m", steps=(
                run("install", weight=20, undo=(run("uninstall"),)),
                Look(why="Look.", tree="/m", decide=lambda fact: (tree_write, write("/n/b", undo=(remove("/n/b"),))), weight=2),
            )),
            run("check"),
        )),
        RenameFile(why="Rename.", source="/d/new", target="/d/root", undo=(RenameFile(why="Rename back.", source="/d/root", target="/d/new"),)),
        write("/n/c", undo=(remove("/n/c"), run("reload"))),
        run("finish"),
    )


class Recording(Journal):
    """A journal that remembers what was told of progress."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.told: list[tuple[int, int, int]] = []
        self.percents: list[int] = []

    def step_started(self, job: int, n: int, steps: int, name: str, percent: int) -> None:
        super().step_started(job, n, steps, name, percent)
        self.told.append((n, steps, percent))
        self.percents.append(percent)

    def progress(self, job: int, percent: int) -> None:
        super().progress(job, percent)
        self.percents.append(percent)


@pytest.fixture
def journal(tmp_path: Path) -> Recording:
    return Recording(str(tmp_path / "journal.sqlite"))


@pytest.fixture
def dom0() -> ScriptedDom0:
    machine = ScriptedDom0()
    machine.strict = False
    return machine


def begin(journal: Journal, steps: tuple[Step, ...] = ()) -> int:
    return journal.begin("reinstallOS", VPS, "dtc-xen", "job", (), count(steps))


def go(journal: Journal, dom0: ScriptedDom0, *steps: Step, cancelled: Callable[[], bool] = lambda: False, **more: Any) -> int:
    job = begin(journal, steps)
    execute(job, Plan("the plan", steps, **more), dom0, journal, cancelled)
    return job


def trace(dom0: ScriptedDom0) -> list[str]:
    """What was done, a word or two per call."""
    names = {"tree.write": "in", "tree.remove": "out", "allocate_file": "allocate", "remove_file": "remove", "write_file": "write", "rename_file": "rename"}
    told = []
    for method, *arguments in dom0.calls:
        words = " ".join(arguments[0].argv) if method == "run" and isinstance(arguments[0], Run) else str(arguments[1] if method == "mount" else arguments[0])
        told.append(words if method == "run" else f"{names.get(str(method), method)} {words}")
    return told


def log_of(journal: Journal, job: int = 1) -> str:
    fact = journal.job(job)
    assert fact
    return Path(fact.log_path).read_text()


def left(dom0: ScriptedDom0) -> set[str]:
    """The node's files; what is below /m was inside the image."""
    return {name for name in dom0.files if not name.startswith("/m/")}


FORWARD = [
    "allocate /d/new", "mkfs", "mount /m", "write /n/a", f"in /m/{POLICY}", "install", "in /m/etc/hostname", "write /n/b", f"out /m/{POLICY}", "check",
    "unmount /m", "rename /d/new", "write /n/c", "finish",
]


def test_steps_run_in_order_and_holds_end_with_their_last_step(journal: Recording, dom0: ScriptedDom0) -> None:
    go(journal, dom0, *nested())
    assert trace(dom0) == FORWARD
    assert dom0.mounts == [] and journal.unfinished()[0].owed == ()


UNDO_OF = {
    "allocate": (("allocate_file", "/d/new"), []),
    "mkfs": ("mkfs", ["remove /d/new"]),
    "mount": ("mount", ["unmount /m", "remove /d/new"]),
    "write a": (("write_file", "/n/a"), ["unmount /m", "remove /d/new"]),
    "services": (("tree.write", f"/m/{POLICY}"), [f"out /m/{POLICY}", "remove /n/a", "unmount /m", "remove /d/new"]),
    "install": ("install", [f"out /m/{POLICY}", "remove /n/a", "unmount /m", "remove /d/new"]),
    "tree": (("tree.write", "/m/etc/hostname"), ["uninstall", f"out /m/{POLICY}", "remove /n/a", "unmount /m", "remove /d/new"]),
    "write b": (("write_file", "/n/b"), ["uninstall", f"out /m/{POLICY}", "remove /n/a", "unmount /m", "remove /d/new"]),
    "check": ("check", ["remove /n/b", "uninstall", "remove /n/a", "unmount /m", "remove /d/new"]),
    "rename": (("rename_file", "/d/new"), ["remove /n/b", "uninstall", "remove /n/a", "remove /d/new"]),
    "write c": (("write_file", "/n/c"), ["rename /d/root", "remove /n/b", "uninstall", "remove /n/a", "remove /d/new"]),
    "finish": ("finish", ["remove /n/c", "reload", "rename /d/root", "remove /n/b", "uninstall", "remove /n/a", "remove /d/new"]),
}


@pytest.mark.parametrize("name", UNDO_OF)
def test_a_failure_at_each_step_undoes_what_succeeded_newest_first(journal: Recording, dom0: ScriptedDom0, name: str) -> None:
    where, undone = UNDO_OF[name]
    if isinstance(where, str) and where != "mount":
        dom0.answers[where] = Ran(3, "it broke")
    else:
        dom0.breaks[where] = OSError(28, "No space left on device")
    with pytest.raises(Failed) as caught:
        go(journal, dom0, *nested())
    done = trace(dom0)
    began = len(done) - len(undone)
    assert done == FORWARD[:began] + undone
    assert not dom0.mounts and not left(dom0) and journal.unfinished()[0].owed == ()
    assert len(caught.value.undone) == len([word for word in undone if not word.startswith(("unmount", "out"))])


@pytest.mark.parametrize("place", range(1, 14))
def test_a_cancel_at_each_step_leaves_nothing(journal: Recording, dom0: ScriptedDom0, place: int) -> None:
    def cancelled() -> bool:
        return len(journal.told) >= place

    with pytest.raises(Cancelled) as caught:
        go(journal, dom0, *nested(), cancelled=cancelled)
    assert "cleaning up" not in str(caught.value) and len(journal.told) in (place, place + 1)
    assert not dom0.mounts and not left(dom0) and journal.unfinished()[0].owed == ()


def test_a_cancel_asked_before_the_start_does_nothing(journal: Recording, dom0: ScriptedDom0) -> None:
    with pytest.raises(Cancelled):
        go(journal, dom0, *nested(), cancelled=lambda: True)
    assert dom0.calls == []


def test_an_undo_that_fails_is_told_and_the_others_run(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.answers |= {"finish": Ran(1, "no"), "uninstall": Ran(9, "never")}
    dom0.breaks["remove_file", "/n/b"] = OSError(5, "Input/output error", "/n/b")
    with pytest.raises(Failed) as caught:
        go(journal, dom0, *nested())
    assert trace(dom0)[-7:] == UNDO_OF["finish"][1]
    assert caught.value.reason == (
        "finish ended with code 1; cleaning up failed: Remove /n/b.: /n/b: Input/output error; Run uninstall.: uninstall ended with code 9")
    assert "Remove /n/b." not in caught.value.undone and "Remove /d/new." in caught.value.undone
    assert "FAILED TO CLEAN UP: Remove /n/b." in log_of(journal)


def test_a_release_that_fails_beside_an_error_is_told_with_it(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.answers["check"] = Ran(1, "no")
    dom0.breaks["unmount"] = Failed("", "the mount is busy")
    with pytest.raises(Failed, match=r"Run check: check ended with code 1; cleaning up failed: Release: Mount\.: the mount is busy"):
        go(journal, dom0, *nested())
    assert trace(dom0)[-1] == "remove /d/new"
    assert [hold.kind for hold in journal.unfinished()[0].holds] == ["Mounted"]


def test_a_release_that_fails_after_success_fails_the_job(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.breaks["unmount"] = Failed("", "the mount is busy")
    with pytest.raises(Failed, match="Release: Mount: the mount is busy$"):
        go(journal, dom0, *nested())
    assert trace(dom0)[-5:] == ["unmount /m", "remove /n/b", "uninstall", "remove /n/a", "remove /d/new"]


def test_loop_devices_go_with_their_mount(journal: Recording, dom0: ScriptedDom0) -> None:
    def attach(argv: tuple[str, ...]) -> str:
        dom0.loops["/dev/loop7"] = "/d/x"
        return ""

    dom0.answers["attach"] = attach
    hold = Mounted(why="Mount.", source="/d/x", at="/m", fstype="ext4", steps=(run("attach"),))
    go(journal, dom0, hold)
    assert dom0.loops == {} and "/dev/loop7 outlived its mount" in log_of(journal)
    dom0.loops["/dev/loop1"] = "/d/x"
    with pytest.raises(Failed, match="attached to /dev/loop1 already"):
        go(journal, dom0, hold)
    assert dom0.loops == {"/dev/loop1": "/d/x"}


def test_a_mount_of_somebody_else_is_left_alone(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.mounts.append(("/dev/sdb", "/m", "ext4", ""))
    with pytest.raises(Failed, match="mounted on /m already"):
        go(journal, dom0, Mounted(why="Mount.", source="/d/x", at="/m", fstype="ext4", steps=()))
    assert dom0.mounted_at("/m")


@pytest.mark.parametrize("before", [None, "#!/bin/sh\nexit 0\n"])
def test_services_are_forbidden_and_then_as_before(journal: Recording, dom0: ScriptedDom0, before: str | None) -> None:
    if before:
        dom0.files[f"/m/{POLICY}"] = before.encode()
    seen: list[bytes] = []

    def look(argv: tuple[str, ...]) -> str:
        seen.append(dom0.files[f"/m/{POLICY}"])
        return ""

    dom0.answers["apt"] = look
    go(journal, dom0, ServicesOff(why="No services.", tree="/m", steps=(run("apt"),)))
    assert b"exit 101" in seen[0]
    assert dom0.files.get(f"/m/{POLICY}") == (before.encode() if before else None)


def making(*steps: Step) -> MakingImage:
    return MakingImage(why="Make the image.", directory="/c", key="k", max_age=timedelta(days=1), unfinished="/c/.making-k", steps=steps)


def test_an_image_is_made_unless_it_is_there_by_then(journal: Recording, dom0: ScriptedDom0) -> None:
    """Whoever waited for another job's image leaves the steps out, and goes on."""
    dom0.answers |= {"mkfs": "", "clone": "", "tar": "tar 1.0\n"}
    keep = KeepImage(why="Keep.", directory="/c", key="k", os_type="x", source="/c/.making-k", made_from=(), tools=(("tar", "--version"),), most_bytes=1)
    go(journal, dom0, making(run("mkfs"), keep), run("clone"))
    assert dom0.argvs == (("mkfs",), ("clone",)) and ("keep_image", "k", {"tar": "tar 1.0"}) in dom0.calls and ("end_image", "/c/.making-k") in dom0.calls
    dom0.ran.clear()
    dom0.golden["/c"] = (GoldenImage("k", "x", datetime(2026, 1, 1, tzinfo=UTC), "5ha", 1),)
    go(journal, dom0, making(run("mkfs"), keep), run("clone"))
    assert dom0.argvs == (("clone",),)


def test_an_image_that_could_not_be_made_lets_the_next_one_try(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.answers["mkfs"] = Ran(1, "no space")
    with pytest.raises(Failed, match="mkfs"):
        go(journal, dom0, making(run("mkfs")), run("clone"))
    assert ("end_image", "/c/.making-k") in dom0.calls and dom0.argvs == (("mkfs",),)


def test_every_kind_of_step_does_its_own(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.memory.files |= {"/a": b"a", "/t": b"t", "/new": b"new", "/lib/modules/6/x.ko": b"ko"}
    tree: dict[str, Any] = {"why": "Do it.", "tree": "/m"}
    go(journal, dom0,
       MakeDirectory(why="Do it.", path="/dir", mode=0o700), WriteFile(why="Do it.", path="/w", content=Secret("hush hush"), mode=0o600),
       RenameFile(why="Do it.", source="/a", target="/b"), ExchangeFile(why="Do it.", source="/new", target="/t", keep="/t.old"),
       Symlink(why="Do it.", path="/l", target="b"), remove("/b"), BlockVps(why="Do it.", vps=VPS, reason="because"), NextTenancy(why="Do it.", vps=VPS),
       TreeWrite(**tree, path="etc/x", content="text", mode=0o640, owner=(1, 2)), TreeDirectory(**tree, path="root/.ssh", mode=0o700),
       TreeSymlink(**tree, path="etc/l", target="x"), TreeCopy(**tree, source="/lib/modules/6", into="lib/modules"),
       TreeWrite(**tree, path="etc/gone", content=""), TreeRemove(**tree, path="etc/gone"), TreePassword(**tree, user="root", password=Secret("hush hush")))
    assert (dom0.files["/w"], dom0.memory.modes["/w"]) == (b"hush hush", 0o600)
    assert (dom0.files["/t"], dom0.files["/t.old"], dom0.memory.links["/l"]) == (b"new", b"t", "b")
    assert "/b" not in dom0.files and dom0.memory.modes["/m/etc/x"] == 0o640 and dom0.memory.owners["/m/etc/x"] == (1, 2)
    assert dom0.files["/m/lib/modules/6/x.ko"] == b"ko" and dom0.memory.links["/m/etc/l"] == "x" and "/m/etc/gone" not in dom0.files
    assert ("tree.make_directory", "/m/root/.ssh", 0o700) in dom0.calls and ("make_directory", "/dir", 0o700) in dom0.calls
    assert dom0.calls[-1][:3] == ("tree.set_password", "/m", "root") and str(dom0.calls[-1][3]).startswith("$6$")
    assert (journal.tenancy(VPS).number, journal.tenancy(VPS).blocked) == (2, "because")


def test_a_tarball_is_judged(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.members["/t.tar"] = (Member("../x", "file"),)
    step = CheckTarball(why="Check it.", path="/t.tar", judge=lambda members: "; ".join(f"{member.name} leads out" for member in members))
    with pytest.raises(Failed, match="Check it: ../x leads out"):
        go(journal, dom0, step)


def test_a_failure_names_step_command_last_lines_and_what_was_undone(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.answers["mkfs.ext4"] = Ran(3, "\n".join(f"line {number}" for number in range(50)))
    steps = (write("/n/a", undo=(remove("/n/a"),)), run("mkfs.ext4", "-q", "--", "/d/x y", env=(("A", "b c"),)))
    with pytest.raises(Failed) as caught:
        go(journal, dom0, *steps)
    error = caught.value
    assert (error.why, error.reason) == ("Run mkfs.ext4 -q -- /d/x y.", "mkfs.ext4 ended with code 3")
    assert error.command == "env 'A=b c' mkfs.ext4 -q -- '/d/x y'"
    assert error.tail.splitlines() == [f"line {number}" for number in range(30, 50)]
    assert error.undone == ("Remove /n/a.",)
    log = log_of(journal)
    assert "$ env 'A=b c' mkfs.ext4 -q -- '/d/x y'" in log and "line 0\n" in log and "undo: Remove /n/a." in log
    assert all(part in error.in_full() for part in ("mkfs.ext4 ended with code 3", "command: env", "line 49", "undone: Remove /n/a."))


@pytest.mark.parametrize(("code", "said"), [(124, "took longer than 300 seconds"), (127, "was not found"), (137, "ended by signal 9")])
def test_codes_speak(journal: Recording, dom0: ScriptedDom0, code: int, said: str) -> None:
    dom0.answers["x"] = Ran(code, "")
    with pytest.raises(Failed, match=said):
        go(journal, dom0, run("x"))


def test_other_codes_may_be_fine(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.answers["fsck"] = Ran(1, "")
    go(journal, dom0, run("fsck", ok_codes=(0, 1)))


def test_secrets_are_in_no_log_and_no_error(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.answers["other"] = Ran(1, "the password is pa$$word!")
    look = Look(why="Look.", tree="/m", decide=lambda fact: (TreePassword(why="Set it.", tree="/m", user="root", password=Secret("late secret")), run("late")))
    dom0.answers["late"] = "now late secret is known"
    steps = (run("chpasswd", stdin=Secret("root:pa$$word!\nsecond line")), run("say", env=(("PASSWORD", Secret("pa$$word!")), ("PIN", Secret("1")))), look, run("other"))
    dom0.answers["say"] = "second line 1 of 1"
    dom0.answers["chpasswd"] = "root:pa$$word!"
    with pytest.raises(Failed) as caught:
        go(journal, dom0, *steps)
    log = log_of(journal) + str(caught.value) + caught.value.in_full()
    assert not any(secret in log for secret in ("pa$$word!", "second line", "late secret"))
    assert "the password is (redacted)" in caught.value.tail and "now (redacted) is known" in log and "PASSWORD=(redacted)" in log
    assert "(redacted) 1 of 1" in log and "PIN=(redacted)" in log


def test_a_step_that_may_fail_is_logged_and_passed(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.answers["hook"] = Ran(1, "I do not care")
    job = go(journal, dom0, run("hook", may_fail=True, undo=(run("unhook"),)), run("next"))
    assert trace(dom0) == ["hook", "next"]
    assert "hook ended with code 1 (this step may fail: going on)" in log_of(journal, job)


def test_nothing_is_undone_once_only_optional_steps_are_left(journal: Recording, dom0: ScriptedDom0) -> None:
    asked = False
    owed: list[object] = []

    def hook(argv: tuple[str, ...]) -> str:
        nonlocal asked
        asked = True
        owed.extend(journal.unfinished()[0].owed)
        return ""

    dom0.answers["post"] = hook
    post = run("post", may_fail=True)
    go(journal, dom0, write("/n/a", undo=(remove("/n/a"),)), post, post, cancelled=lambda: asked)
    assert "/n/a" in dom0.files and owed == []


def test_error_hooks_learn_the_step_and_the_reason_after_the_rollback(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.answers |= {"bad": Ran(1, ""), "hook": Ran(1, "")}
    hooks = (run("hook", env=(("DTCXEN_VPS", "01"),), may_fail=True), run("second"))
    with pytest.raises(Failed, match="bad ended with code 1$"):
        go(journal, dom0, write("/n/a", undo=(remove("/n/a"),)), run("bad"), on_error=hooks)
    assert trace(dom0)[-3:] == ["remove /n/a", "hook", "second"]
    assert dict(dom0.ran[-1].env) == {"DTCXEN_FAILED_STEP": "Run bad.", "DTCXEN_REASON": "Run bad: bad ended with code 1"}
    assert dict(dom0.ran[-2].env)["DTCXEN_VPS"] == "01"


def test_error_hooks_hear_of_a_cancel_too(journal: Recording, dom0: ScriptedDom0) -> None:
    with pytest.raises(Cancelled):
        go(journal, dom0, write("/n/a"), run("never"), cancelled=lambda: bool(journal.told), on_error=(run("hook"),))
    assert trace(dom0) == ["write /n/a", "hook"]


def test_a_defect_of_ours_tells_the_log_and_nobody_else(journal: Recording, dom0: ScriptedDom0) -> None:
    def decide(fact: TreeFact) -> tuple[Step, ...]:
        raise KeyError("inner workings")

    with pytest.raises(Failed) as caught:
        go(journal, dom0, write("/n/a", undo=(remove("/n/a"),)), Look(why="Look.", tree="/m", decide=decide))
    assert "inner workings" not in caught.value.in_full() and "internal error" in caught.value.reason
    assert "Traceback" in log_of(journal) and "inner workings" in log_of(journal) and not dom0.files


def test_a_planner_that_refuses_late_is_heard(journal: Recording, dom0: ScriptedDom0) -> None:
    def decide(fact: TreeFact) -> tuple[Step, ...]:
        raise Failed("", "no etc in this tree")

    with pytest.raises(Failed, match="Look: no etc in this tree"):
        go(journal, dom0, Look(why="Look.", tree="/m", decide=decide))


@pytest.mark.parametrize("late", [False, True])
def test_undo_that_cannot_be_journalled_is_found_before_its_step(journal: Recording, dom0: ScriptedDom0, late: bool) -> None:
    bad = write("/n/a", undo=(remove("/n/a"), run("undo", env=(("PASSWORD", Secret("old")),))))
    with pytest.raises(Failed if late else TypeError):
        go(journal, dom0, Look(why="Look.", tree="/m", decide=lambda fact: (bad,)) if late else bad)
    assert trace(dom0) == []


def test_a_journal_that_fails_does_not_stop_the_rollback(journal: Recording, dom0: ScriptedDom0, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise Failed("Write the journal.", "database or disk is full")

    def fill(argv: tuple[str, ...]) -> str:
        for name in ("step_started", "undo_pushed", "undo_done", "released", "progress"):
            monkeypatch.setattr(journal, name, full)
        return ""

    dom0.answers["install"] = fill
    with pytest.raises(Failed, match="disk is full"):
        go(journal, dom0, *nested())
    assert not dom0.mounts and not left(dom0)
    assert trace(dom0)[-5:] == ["uninstall", f"out /m/{POLICY}", "remove /n/a", "unmount /m", "remove /d/new"]


# -- progress -------------------------------------------------------------------------------------


def test_marks_move_the_progress_within_a_step(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.answers["install"] = "begin\nI: unpack\nnoise\nI: configure\nI: unpack again\nI: done\n"
    go(journal, dom0, run("first"), run("install", weight=3, marks=("I: unpack", "I: never", "I: configure", "I: done", "x")))
    assert journal.percents == [0, 25, 37, 62, 75]


def test_a_look_shares_its_weight_and_the_count_grows(journal: Recording, dom0: ScriptedDom0) -> None:
    look = Look(why="Look.", tree="/m", weight=4, decide=lambda fact: (run("a"), run("b", weight=7)))
    go(journal, dom0, run("x", weight=4), look, run("y", weight=2))
    assert journal.told == [(1, 3, 0), (2, 3, 40), (3, 5, 40), (4, 5, 45), (5, 5, 80)]


def test_a_look_reads_what_it_names(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.files["/m/etc/fstab"] = b"x"
    seen: list[TreeFact] = []

    def decide(fact: TreeFact) -> tuple[Step, ...]:
        seen.append(fact)
        return ()

    go(journal, dom0, Look(why="Look.", tree="/m", decide=decide, texts=("etc/fstab",), globs=("etc/*",)))
    assert seen == [TreeFact({"etc/fstab": "x"}, frozenset({"etc/fstab"}))]


def _look(inner: tuple[Step, ...], weight: int) -> Step:
    return Look(why="Look.", tree="/m", decide=lambda fact: inner, weight=weight)


_weights = some.integers(0, 9)
_leaves = some.builds(lambda weight, marks: run("a", weight=weight, marks=("1", "2", "3")[:marks]), _weights, some.integers(0, 3))
_steps = some.recursive(
    some.lists(_leaves, max_size=4).map(tuple),
    lambda inner: some.tuples(
        some.builds(_look, inner, _weights),
        some.builds(lambda steps, weight: ServicesOff(why="Off.", tree="/m", steps=steps, weight=weight), inner, _weights), _leaves),
    max_leaves=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_steps)
def test_percent_never_falls_and_the_count_ends_true(tmp_path_factory: pytest.TempPathFactory, steps: tuple[Step, ...]) -> None:
    journal = Recording(str(tmp_path_factory.mktemp("progress") / "journal.sqlite"))
    machine = ScriptedDom0({"a": "1\n3\n2\n"})
    go(journal, machine, *steps)
    assert journal.percents == sorted(journal.percents) and all(0 <= percent < 100 for percent in journal.percents)
    assert [n for n, _, _ in journal.told] == list(range(1, len(journal.told) + 1))
    assert all(n <= total for n, total, _ in journal.told) and all(total == len(journal.told) for _, total, _ in journal.told[-1:])
    journal.close()


# -- death at every point -------------------------------------------------------------------------


class Killed(BaseException):
    """The daemon is gone: nothing that it would have done from here on happens."""


class Life:
    """Counts down to the moment of death; afterwards every call through a Mortal only dies again."""

    def __init__(self, moments: int) -> None:
        self.left = moments

    def tick(self) -> None:
        if self.left <= 0:
            raise Killed
        self.left -= 1


class Mortal:
    """Passes calls on, and may die before or after each."""

    def __init__(self, real: object, life: Life) -> None:
        self._real, self._life = real, life

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._real, name)
        if name in ("log", "command_of"):
            return method

        def call(*arguments: Any, **named: Any) -> Any:
            self._life.tick()
            value = method(*arguments, **named)
            self._life.tick()
            return Mortal(value, self._life) if name == "tree" else value

        return call


def machine_for(life: Life) -> ScriptedDom0:
    """A machine whose `install` lives as a process group, in the middle of which the daemon may die."""
    dom0 = ScriptedDom0()
    dom0.strict = False
    dom0.memory.directories |= {"/d", "/n"}

    def install(argv: tuple[str, ...]) -> str:
        dom0.groups[4242] = 1
        life.tick()
        del dom0.groups[4242]
        return ""

    dom0.answers["install"] = install
    return dom0


def die_at(moment: int, path: str, failing: str = "") -> tuple[ScriptedDom0, bool]:
    """Run the nested plan with a daemon that dies at this moment; the machine it leaves, and whether it died."""
    life = Life(moment)
    dom0 = machine_for(life)
    if failing:
        dom0.answers[failing] = Ran(1, "")
    journal = Journal(path)
    job = begin(journal, nested())
    journal.started(job)
    mortal: Any = Mortal(dom0, life)
    ledger: Any = Mortal(journal, life)
    try:
        execute(job, Plan("the plan", (*nested(), run("post", may_fail=True))), mortal, ledger, lambda: False)
    except Killed:
        return dom0, True
    except Failed:
        return dom0, False
    finally:
        journal.close()
    return dom0, False


def lives(tmp_path: Path, failing: str, see: Callable[[int, ScriptedDom0, Journal, tuple[JobFact, ...]], None]) -> int:
    """Let the daemon die at each moment, start another each time, and look; how many moments there were."""
    for moment in range(1000):
        path = str(tmp_path / f"{moment}.sqlite")
        dom0, died = die_at(moment, path, failing)
        if not died:
            return moment
        dom0.calls.clear()
        journal = Journal(path)
        see(moment, dom0, journal, recover(dom0, journal))
        journal.close()
    raise AssertionError("this plan never ends")


@pytest.mark.parametrize("failing", ["", "finish", "check"])
def test_a_daemon_killed_at_any_moment_leaves_nothing_behind(tmp_path: Path, failing: str) -> None:
    def see(moment: int, dom0: ScriptedDom0, journal: Journal, interrupted: tuple[JobFact, ...]) -> None:
        fact, = interrupted
        assert (fact.id, fact.state) == (1, "interrupted") and "cleaning up failed" not in fact.reason, fact.reason
        assert not dom0.mounts and not dom0.groups and journal.unfinished() == (), moment
        complete = {"/d/root", "/n/a", "/n/b", "/n/c"}
        assert left(dom0) in (set(), complete), f"moment {moment}: {left(dom0)}"
        ended = [place for place, call in enumerate(dom0.calls) if call[0] == "end_group"]
        released = [place for place, call in enumerate(dom0.calls) if call[0] in ("unmount", "tree.remove")]
        assert not ended or not released or max(ended) < min(released)
        assert sum(step.argv == ("uninstall",) for step in dom0.ran) <= 1
        dom0.answers.clear()
        for path in left(dom0):
            del dom0.files[path]
        go(journal, dom0, *nested())

    assert lives(tmp_path, failing, see) > 100


def test_an_interrupted_job_names_its_step(tmp_path: Path, dom0: ScriptedDom0) -> None:
    journal = Journal(str(tmp_path / "journal.sqlite"))
    waiting, running = begin(journal), begin(journal)
    journal.started(running)
    journal.step_started(running, 4, 9, "Unpack.", 30)
    newest, oldest = recover(dom0, journal)
    assert (newest.id, newest.reason) == (running, "the service ended in step 4 of 9: Unpack.")
    assert (oldest.id, oldest.reason) == (waiting, "the service ended before its first step")
    assert recover(dom0, journal) == () and "interrupted" in log_of(journal, running)


def test_all_processes_end_before_any_release(tmp_path: Path, dom0: ScriptedDom0) -> None:
    journal = Journal(str(tmp_path / "journal.sqlite"))
    for number in (1, 2):
        job = begin(journal)
        journal.process_started(job, number, 5)
        journal.held(job, "1", "Mounted", f'{{"at": "/m{number}", "source": "/d{number}"}}')
        journal.held(job, "2", "Mounted", f'{{"at": "/m{number}/boot", "source": "/e{number}"}}')
    recover(dom0, journal)
    assert [call[:2] for call in dom0.calls] == [
        ("end_group", 2), ("end_group", 1), ("unmount", "/m2/boot"), ("unmount", "/m2"), ("unmount", "/m1/boot"), ("unmount", "/m1")]


def test_what_recovery_cannot_release_is_told_and_tried_again(tmp_path: Path, dom0: ScriptedDom0) -> None:
    journal = Journal(str(tmp_path / "journal.sqlite"))
    job = begin(journal)
    journal.undo_pushed(job, undo_to_record(remove("/d/new")))
    journal.held(job, "1", "Mounted", '{"at": "/m", "source": "/d/new"}')
    dom0.breaks["unmount"] = Failed("", "held by pid 12 (sh)")
    fact, = recover(dom0, journal)
    assert "cleaning up failed" in fact.reason and "held by pid 12" in fact.reason
    assert dom0.calls[-1] == ("remove_file", "/d/new")
    dom0.breaks.clear()
    assert recover(dom0, journal) == () and journal.unfinished() == ()


def test_an_undo_command_runs_at_most_once(tmp_path: Path, dom0: ScriptedDom0) -> None:
    journal = Journal(str(tmp_path / "journal.sqlite"))
    job = begin(journal)
    journal.undo_pushed(job, undo_to_record(run("uninstall")))
    dom0.answers["uninstall"] = Killed()
    with pytest.raises(Killed):
        recover(dom0, journal)
    dom0.answers["uninstall"] = ""
    assert len(recover(dom0, journal)) == 1
    assert len(dom0.ran) == 1


def test_half_made_files_of_a_cut_off_step_are_swept(tmp_path: Path, dom0: ScriptedDom0) -> None:
    journal = Journal(str(tmp_path / "journal.sqlite"))
    job = begin(journal)
    dom0.memory.files |= {"/d/.dtcxen-0123": b"", "/d/xen02.img": b"", "/e/.dtcxen-4567": b""}
    journal.undo_intended(job, 1, undo_to_record(remove("/d/new")))
    journal.undo_pushed(job, undo_to_record(remove("/e/new")))
    recover(dom0, journal)
    assert set(dom0.files) == {"/d/xen02.img", "/e/.dtcxen-4567"}


def test_what_was_there_before_is_never_undone(journal: Recording, dom0: ScriptedDom0) -> None:
    dom0.files["/d/new"] = b"somebody's"
    with pytest.raises(Failed, match="File exists"):
        go(journal, dom0, AllocateFile(why="Allocate.", path="/d/new", size=Mib(1), undo=(remove("/d/new"),)))
    assert dom0.files["/d/new"] == b"somebody's"
    job = begin(journal)
    life = Life(4)
    mortal: Any = Mortal(dom0, life)
    ledger: Any = Mortal(journal, life)
    with pytest.raises(Killed):
        execute(job, Plan("p", (AllocateFile(why="Allocate.", path="/d/new", size=Mib(1), undo=(remove("/d/new"),)),)), mortal, ledger, lambda: False)
    recover(dom0, journal)
    assert dom0.files["/d/new"] == b"somebody's"


