"""The edge of LVM with its commands scripted: what is asked, in which order, and what a refusal or a silence leads to."""

from __future__ import annotations

from typing import Any

import pytest

from dtcxen_soap import claims, logicalvolumes
from dtcxen_soap.errors import Cancelled, Failed
from dtcxen_soap.plans import Run
from dtcxen_soap.processes import Ran, Unwatched
from dtcxen_soap.vps import Mib
from tests.fakes import FakeVolume, ScriptedDom0


class Lvm:
    """Stands in for the commands: `fails` has the code and words of one, by its name; lvs tells the volumes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node, self.asked, self.fails = ScriptedDom0(), list[tuple[str, ...]](), dict[str, tuple[int, str]]()
        self.held: list[tuple[str, ...]] = []
        self.node.vgs = {"vg0": 1 << 40}
        monkeypatch.setattr(logicalvolumes, "capture", self.capture)
        monkeypatch.setattr(logicalvolumes, "report", self.report)
        monkeypatch.setattr(logicalvolumes, "run", self.run)
        monkeypatch.setattr(claims, "of", lambda path: self.held.pop(0) if self.held else ())
        monkeypatch.setattr(logicalvolumes.time, "sleep", lambda seconds: None)

    def have(self, *names: str) -> None:
        for name in names:
            self.node.volumes["vg0", name] = FakeVolume(Mib(64))

    def capture(self, argv: tuple[str, ...], seconds: int) -> Ran:
        return Ran(self.fails[argv[0]][0], "") if argv[0] in self.fails else self.node.capture(argv)

    def report(self, argv: tuple[str, ...], seconds: int) -> tuple[int, str]:
        self.asked.append(argv)
        return self.fails.get(argv[0], (0, ""))

    def run(self, step: Run, say: Any, watch: Any) -> Ran:
        self.asked.append(step.argv)
        if watch.cancelled():
            raise Cancelled("cancelled")
        return Ran(*self.fails.get(step.argv[0], (0, "")))

    @property
    def commands(self) -> list[str]:
        return [argv[0] for argv in self.asked]


@pytest.fixture
def lvm(monkeypatch: pytest.MonkeyPatch) -> Lvm:
    return Lvm(monkeypatch)


class Cancelling(Unwatched):
    """Somebody asked for the end."""

    def cancelled(self) -> bool:
        return True


def remove(wipe: bool = False, watch: Unwatched | None = None) -> None:
    logicalvolumes.remove("vg0", "xen01", wipe, watch or Unwatched())


def test_no_answer_is_told_in_lvms_words_and_changes_nothing(lvm: Lvm) -> None:
    lvm.fails["lvs"] = 5, "Volume group vg0 not found"
    for action in (remove, lambda: logicalvolumes.find("vg0", "xen01"), lambda: logicalvolumes.rename("vg0", "a", "b"),
                   lambda: logicalvolumes.exchange("vg0", "a", "b", "c")):
        with pytest.raises(Failed, match="lvs ended with code 5: Volume group vg0 not found"):
            action()
    assert set(lvm.commands) == {"lvs"}


def test_a_refused_command_is_told_with_its_line_and_its_words(lvm: Lvm) -> None:
    lvm.fails["lvcreate"] = 5, 'Volume group "vg0" has insufficient free space'
    with pytest.raises(Failed, match="lvcreate ended with code 5: Volume group .* insufficient free space") as told:
        logicalvolumes.make("vg0", "xen01", Mib(64), "", ())
    assert told.value.command.startswith("lvcreate --yes ") and told.value.command.endswith(" --name xen01 -- vg0")


def test_removing_what_is_gone_is_fine(lvm: Lvm) -> None:
    remove(wipe=True)
    assert lvm.commands == []


def test_zeros_come_before_the_removal(lvm: Lvm) -> None:
    lvm.have("xen01", "xen010")
    remove(wipe=True)
    assert [argv[-1] for argv in lvm.asked] == ["/dev/vg0/xen01", "vg0/xen01"] and lvm.commands == ["blkdiscard", "lvremove"]


def test_what_was_not_overwritten_is_not_removed(lvm: Lvm) -> None:
    lvm.have("xen01")
    lvm.fails["blkdiscard"] = 1, "blkdiscard: /dev/vg0/xen01: BLKZEROOUT ioctl failed: Input/output error"
    with pytest.raises(Failed, match="BLKZEROOUT ioctl failed"):
        remove(wipe=True)
    with pytest.raises(Cancelled):
        remove(wipe=True, watch=Cancelling())
    assert "lvremove" not in lvm.commands


def test_who_holds_it_gets_a_moment_and_is_then_named(lvm: Lvm, monkeypatch: pytest.MonkeyPatch) -> None:
    lvm.have("xen01")
    lvm.held = [("open in pid 9 (blkid)",), ()]
    remove()
    assert lvm.commands == ["lvremove"]
    monkeypatch.setattr(logicalvolumes, "PATIENCE_SECONDS", -1)
    lvm.held = [("open, as the disk of a running domU is",)]
    with pytest.raises(Failed, match="/dev/vg0/xen01 is open, as the disk of a running domU is"):
        remove(wipe=True)
    assert lvm.commands == ["lvremove"], "neither overwritten nor removed"


def test_a_rename_that_happened_is_not_done_again(lvm: Lvm) -> None:
    lvm.have("xen01.kept")
    logicalvolumes.rename("vg0", "xen01", "xen01.kept")
    assert lvm.commands == []
    logicalvolumes.rename("vg0", "xen01.kept", "xen01")
    assert lvm.asked == [("lvrename", "--yes", "--", "vg0", "xen01.kept", "xen01")]


def test_an_exchange_is_two_renames(lvm: Lvm) -> None:
    lvm.have("a", "a.new")
    logicalvolumes.exchange("vg0", "a.new", "a", "a.old")
    assert [argv[-2:] for argv in lvm.asked] == [("a", "a.old"), ("a.new", "a")]


def test_no_tags_no_command(lvm: Lvm) -> None:
    logicalvolumes.tag("vg0", "xen01", (), ())
    logicalvolumes.tag("vg0", "xen01", (), ("dtcxen.unused",))
    assert lvm.asked == [("lvchange", "--deltag", "dtcxen.unused", "--", "vg0/xen01")]
