"""Steps on volumes through the engine: in order, undone, and true after a crash at every point of an exchange."""

from __future__ import annotations

import copy
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.execute import execute
from dtcxen_soap.journal import Journal
from dtcxen_soap.logicalvolumes import swap
from dtcxen_soap.plans import ExchangeVolume, MakeVolume, Plan, RemoveVolume, RenameVolume, Step, TagVolume, WriteFile
from dtcxen_soap.recover import recover
from dtcxen_soap.vps import Mib
from tests.fakes import FakeVolume, ScriptedDom0

VG = "vg0"


class Crash(BaseException):
    """The daemon is killed: nothing of it runs any more."""


class Scene:
    """A node with volumes, and a journal; both can be cut off, which Python's own unwinding must not soften."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.dom0, self.journal = ScriptedDom0(), Journal(str(directory / "journal.sqlite"))
        self.left: dict[tuple[str, str], FakeVolume] = {}

    def cut(self, method: str, *arguments: str, after: bool = False) -> None:
        """Kill the daemon before (or after) a call of the node's that begins with these arguments."""
        whole = getattr(self.dom0, method)

        def killed(*given: object, **more: object) -> None:
            if given[:len(arguments)] != arguments:
                return whole(*given, **more)
            if after:
                whole(*given, **more)
            self.left = copy.deepcopy(self.dom0.volumes)
            with sqlite3.connect(self.directory / "journal.sqlite") as now, sqlite3.connect(self.directory / f"left-{len(os.listdir(self.directory))}.sqlite") as kept:
                now.backup(kept)
                self.kept = kept.execute("PRAGMA database_list").fetchone()[2]
            raise Crash

        setattr(self.dom0, method, killed)

    def restart(self) -> None:
        """A new daemon finds what the killed one left: not what its unwinding did since."""
        self.journal.close()
        self.directory = self.directory / "next"
        self.directory.mkdir()
        shutil.copy(self.kept, self.directory / "journal.sqlite")
        self.dom0, self.journal = ScriptedDom0(), Journal(str(self.directory / "journal.sqlite"))
        self.dom0.volumes = self.left

    def have(self, **contents: str) -> None:
        for name, content in contents.items():
            self.dom0.volumes[VG, name.replace("_", ".")] = FakeVolume(Mib(64), content=content)

    @property
    def contents(self) -> dict[str, str]:
        return {lv: volume.content for (_, lv), volume in sorted(self.dom0.volumes.items())}

    def run(self, *steps: Step, cancelled: Callable[[], bool] = lambda: False) -> str:
        job = self.journal.begin("reinstallOS", None, "test", "job", (), len(steps))
        self.journal.started(job)
        return execute(job, Plan("a plan", steps), self.dom0, self.journal, cancelled)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def make(lv: str = "xen01") -> MakeVolume:
    return MakeVolume(why="Make it.", vg=VG, lv=lv, size=Mib(64), tags=("t",), undo=(RemoveVolume(why="Remove it again.", vg=VG, lv=lv),))


def exchange() -> ExchangeVolume:
    back = (ExchangeVolume(why="Put the old one back.", vg=VG, source="xen01.old", target="xen01", keep="xen01.failed"),
            RemoveVolume(why="Remove the one that failed.", vg=VG, lv="xen01.failed"))
    return ExchangeVolume(why="Swap in.", vg=VG, source="xen01.new", target="xen01", keep="xen01.old", undo=back)


FAILING = WriteFile(why="Fail.", path="/x", content="")


def test_each_kind_reaches_the_node(scene: Scene) -> None:
    scene.run(make(), TagVolume(why="Mark it.", vg=VG, lv="xen01", add=("a",), remove=("t",)), RenameVolume(why="Rename it.", vg=VG, source="xen01", target="xen02"))
    assert scene.dom0.volumes[VG, "xen02"] == FakeVolume(Mib(64), tags={"a"})
    scene.run(RemoveVolume(why="Remove it.", vg=VG, lv="xen02", wipe=True))
    assert scene.dom0.volumes == {} and scene.dom0.calls[-1] == ("remove_volume", "vg0/xen02", True)


def test_a_failed_making_never_removes_the_volume_that_was_there(scene: Scene) -> None:
    scene.have(xen01="a tenant's")
    with pytest.raises(Failed, match='Make it: lvcreate ended with code 5: Logical Volume "xen01" already exists'):
        scene.run(make())
    assert scene.contents == {"xen01": "a tenant's"}
    assert recover(scene.dom0, scene.journal)
    assert scene.contents == {"xen01": "a tenant's"}


def test_what_was_made_goes_when_a_later_step_fails(scene: Scene) -> None:
    scene.dom0.breaks["write_file"] = OSError(28, "No space left on device")
    with pytest.raises(Failed) as told:
        scene.run(make(), FAILING)
    assert scene.dom0.volumes == {} and told.value.undone == ("Remove it again.",)


def test_an_open_volume_is_not_removed(scene: Scene) -> None:
    scene.have(xen01="running")
    scene.dom0.volumes[VG, "xen01"].is_open = True
    with pytest.raises(Failed, match="is open, as the disk of a running domU is"):
        scene.run(RemoveVolume(why="Remove it.", vg=VG, lv="xen01"))
    assert scene.contents == {"xen01": "running"}


def test_a_cancelled_wipe_leaves_the_volume(scene: Scene) -> None:
    scene.have(xen01="secret")
    asked = iter((False, True, True))
    with pytest.raises(Cancelled):
        scene.run(RemoveVolume(why="Wipe it.", vg=VG, lv="xen01", wipe=True), cancelled=lambda: next(asked))
    assert scene.contents == {"xen01": "secret"}


# -- exchange -------------------------------------------------------------------------------------


def test_an_exchange_and_its_undo(scene: Scene) -> None:
    scene.have(xen01="old", xen01_new="new")
    scene.run(exchange())
    assert scene.contents == {"xen01": "new", "xen01.old": "old"}
    scene.dom0.volumes.clear()
    scene.have(xen01="old", xen01_new="new")
    scene.dom0.breaks["write_file"] = OSError(28, "No space left on device")
    with pytest.raises(Failed):
        scene.run(exchange(), FAILING)
    assert scene.contents == {"xen01": "old"}


def test_a_second_rename_that_fails_takes_the_first_back(scene: Scene) -> None:
    scene.have(xen01="old", xen01_new="new")
    scene.dom0.breaks["lvrename", "xen01.new"] = Failed("", "lvrename ended with code 5: no")
    with pytest.raises(Failed, match="Swap in: lvrename ended with code 5: no"):
        scene.run(exchange())
    assert scene.contents == {"xen01": "old", "xen01.new": "new"}


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_crash_after_each_rename_and_the_old_one_is_back(scene: Scene, renames: int) -> None:
    scene.have(xen01="old", xen01_new="new")
    scene.cut(*(("_lvrename", VG, "xen01"), ("_lvrename", VG, "xen01.new"), ("write_file", "/x"))[renames])
    with pytest.raises(Crash):
        scene.run(make("xen01.other"), exchange(), FAILING)
    scene.restart()
    if renames == 1:
        assert scene.contents == {"xen01.new": "new", "xen01.old": "old", "xen01.other": ""}, "the moment without a name"
    (fact,) = recover(scene.dom0, scene.journal)
    assert "cleaning up failed" not in fact.reason
    assert scene.contents == {"xen01": "old", **({"xen01.new": "new"} if renames < 2 else {})}


@pytest.mark.parametrize("source", ["xen01", "xen01.old"])
def test_a_crash_within_recovery_is_recovered(scene: Scene, source: str) -> None:
    """The undo of a finished exchange is cut off as well: xen01 to xen01.failed, xen01.old to xen01."""
    scene.have(xen01="old", xen01_new="new")
    scene.cut("write_file", "/x")
    with pytest.raises(Crash):
        scene.run(exchange(), FAILING)
    scene.restart()
    scene.cut("_lvrename", VG, source)
    with pytest.raises(Crash):
        recover(scene.dom0, scene.journal)
    scene.restart()
    recover(scene.dom0, scene.journal)
    assert scene.contents == {"xen01": "old"}


def moved(names: dict[str, str], source: str, target: str, keep: str) -> dict[str, str]:
    """What an exchange makes of names and their contents."""
    def rename(old: str, new: str) -> None:
        assert new not in names
        names[new] = names.pop(old)
    swap(set(names), rename, source, target, keep)
    return names


def test_the_order_of_an_exchange() -> None:
    assert moved({"a": "old", "a.new": "new"}, "a.new", "a", "a.old") == {"a": "new", "a.old": "old"}
    assert moved({"a.old": "old", "a.new": "new"}, "a.new", "a", "a.old") == {"a": "new", "a.old": "old"}, "half-way"
    assert moved({"a": "new", "a.old": "old"}, "a.new", "a", "a.old") == {"a": "new", "a.old": "old"}, "done already"


@pytest.mark.parametrize(("names", "said"), [
    ({"a": "1"}, "no volume a.new"), ({"a.old": "1"}, "no volume a.new"), ({"a": "1", "a.new": "2", "a.old": "3"}, "a volume a.old already")])
def test_an_exchange_that_would_lose_something_changes_nothing(names: dict[str, str], said: str) -> None:
    before = dict(names)
    with pytest.raises(Failed, match=said):
        moved(names, "a.new", "a", "a.old")
    assert names == before


# -- renames --------------------------------------------------------------------------------------


def aside() -> RenameVolume:
    back = RenameVolume(why="Put it back.", vg=VG, source="xen01.kept", target="xen01")
    return RenameVolume(why="Set it aside.", vg=VG, source="xen01", target="xen01.kept", undo=(back,))


@pytest.mark.parametrize("after", [False, True])
def test_a_rename_that_was_cut_off_is_settled_by_what_is_there(scene: Scene, after: bool) -> None:
    scene.have(xen01="a tenant's")
    scene.cut("_lvrename", VG, "xen01", after=after)
    with pytest.raises(Crash):
        scene.run(aside())
    scene.restart()
    assert ("xen01.kept" in scene.contents) is after
    recover(scene.dom0, scene.journal)
    assert scene.contents == {"xen01": "a tenant's"}


@pytest.mark.parametrize("after", [False, True])
def test_a_making_that_was_cut_off_leaves_nothing(scene: Scene, after: bool) -> None:
    scene.cut("make_volume", VG, "xen01", after=after)
    with pytest.raises(Crash):
        scene.run(make())
    scene.restart()
    assert scene.contents == ({"xen01": ""} if after else {})
    recover(scene.dom0, scene.journal)
    assert scene.contents == {}


def test_a_making_that_was_cut_off_where_somebodys_volume_was_leaves_that_one(scene: Scene) -> None:
    scene.have(xen01="a tenant's")
    scene.cut("make_volume", VG, "xen01")
    with pytest.raises(Crash):
        scene.run(make())
    scene.restart()
    recover(scene.dom0, scene.journal)
    assert scene.contents == {"xen01": "a tenant's"}
