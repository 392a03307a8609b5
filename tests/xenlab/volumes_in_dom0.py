"""Runs inside dom0, where the project is installed: the planners' steps on real volumes. `python3 volumes_in_dom0.py CASE`.

Each case makes volumes of VPS 20 and 21 in vg0 and leaves none. What is wrong ends it with a traceback.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dtcxen_soap import disks, logicalvolumes, stores
from dtcxen_soap.answers import DisksReady
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Failed, Refused
from dtcxen_soap.execute import execute
from dtcxen_soap.facts import Facts, TenancyFact
from dtcxen_soap.journal import Journal
from dtcxen_soap.plans import Plan, RemoveVolume, Step, WriteFile
from dtcxen_soap.recover import recover
from dtcxen_soap.requests import KillDisk, SetupDisk
from dtcxen_soap.settings import load
from dtcxen_soap.stores import Store
from dtcxen_soap.survey import volumes as survey_volumes
from dtcxen_soap.vps import ImageType, Mib, VpsId

VG, POOL, VPS, OTHER = "vg0", "volumespool", VpsId(20), VpsId(21)
ROOT = f"/dev/{VG}/xen20"
SECRET = b"an earlier tenant's letter " * 40
PLACE = Path(tempfile.mkdtemp())
DOM0, JOURNAL = Dom0(), Journal(str(PLACE / "journal.sqlite"))
FAILING = WriteFile(why="Fail.", path="/nonexistent/x", content="")


def settings(**more: str) -> Any:
    words = {"provisioning_volgroup": VG, "thin_pool": "none", "provisioning_mount_point": str(PLACE), "xen_config_dir": str(PLACE), **more}
    return load("\n".join(f"{name}={value}" for name, value in words.items())).settings


THICK, THIN = settings(), settings(thin_pool=POOL)


def facts(chosen: Any = THICK, vps: VpsId = VPS) -> Facts:
    """What the survey would find."""
    found = survey_volumes.volumes(DOM0)
    assert not found.fact.trouble, found.fact
    return Facts(
        now=datetime.now(UTC), disks=survey_volumes.disks(DOM0, found, chosen, vps, ()), kept=survey_volumes.all_kept(found),
        leftovers=survey_volumes.leftovers(found, chosen, vps, ()), doomed=survey_volumes.doomed(found), lvm=found.fact, tenancy=TenancyFact(1))


def run(plan: Any) -> Any:
    """Execute a plan, and what it leaves for later; its answer."""
    assert isinstance(plan, Plan), plan
    job = JOURNAL.begin("case", None, "lab", "now", (), 1)
    JOURNAL.started(job)
    try:
        execute(job, plan, DOM0, JOURNAL, lambda: False)
    finally:
        JOURNAL.ended(job, "done")
    return plan.answer


def steps(*each: Step) -> None:
    run(Plan("steps", each))


def request(vps: VpsId = VPS, size: int = 66, swap: int = 0) -> SetupDisk:
    return SetupDisk(vps=vps, disk_size=Mib(size), swap_size=Mib(swap), image_type=ImageType.LVM)


def names() -> list[str]:
    """Volumes of the cases' VPSes."""
    said = subprocess.run(("lvs", "--noheadings", "-o", "lv_name", VG), check=True, capture_output=True, text=True).stdout.split()
    return sorted(name for name in said if name.startswith(("xen20", "xen21")))


def ran(command: str) -> None:
    """An admin's command; it must succeed."""
    subprocess.run(shlex.split(command), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def write(path: str, data: bytes = SECRET, at: int = 8 << 20) -> None:
    with open(path, "r+b") as device:
        device.seek(at)
        device.write(data)
        os.fsync(device)


def shows(path: str) -> bool:
    """Whether the secret can be read from a device."""
    return SECRET in Path(path).read_bytes()


def store() -> Store:
    return stores.chosen(ImageType.LVM, "case", "imageType", THICK, facts())


def refused(kind: type[Exception], said: str, action: Any) -> None:
    try:
        action()
    except kind as error:
        assert said in str(error), error
    else:
        raise AssertionError(f"not refused: {said}")


# -- cases ----------------------------------------------------------------------------------------


def case_setup() -> None:
    """Answered at once, overwritten later; what an earlier owner wrote is gone; then nothing is left to do."""
    plan = disks.plan_setup(request(swap=33), THICK, facts())
    assert isinstance(plan, Plan) and run(plan) == DisksReady(True, (ROOT, f"{ROOT}swap"))
    write(ROOT)
    assert [(disk.blank, disk.unzeroed, disk.size_bytes >> 20) for disk in facts().disks] == [(True, True, 68), (True, True, 36)]
    assert plan.later is not None and shows(ROOT)
    run(plan.later)
    assert not shows(ROOT) and [(disk.blank, disk.unzeroed) for disk in facts().disks] == [(True, False)] * 2
    assert disks.plan_setup(request(swap=33), THICK, facts()) == DisksReady(False, (ROOT, f"{ROOT}swap"))
    ran(f"mkfs.ext4 -q -F {ROOT}")
    assert not facts().disks[0].blank, "used without our knowing"


def case_wiped() -> None:
    """A removed volume's blocks show nothing to whoever gets them next. Without wipe_disks they do: so this can see it."""
    for wipe, seen in (("no", True), ("yes", False)):
        chosen = settings(wipe_disks=wipe)
        steps(*store().make(ROOT, Mib(66), "Make.", zero=False))
        write(ROOT)
        plan = disks.plan_kill(KillDisk(vps=VPS), chosen, facts())
        assert isinstance(plan, Plan) and plan.leaves_work is (wipe == "yes")
        run(plan)
        assert [name.startswith("xen20.doomed.") for name in names()] == ([True] if wipe == "yes" else [])
        assert facts().disks == () and disks.plan_setup(request(), chosen, facts()), "the number is free at once"
        if wipe == "yes":
            run(disks.plan_purge(chosen, facts()))
        assert names() == []
        ran(f"lvcreate --yes -Zn -Wn -L 66m -n xen21 {VG}")
        assert shows(f"/dev/{VG}/xen21") is seen
        ran(f"dd if=/dev/zero of=/dev/{VG}/xen21 bs=1M count=68 conv=fsync")
        ran(f"lvremove --yes {VG}/xen21")


def _old_and_new() -> None:
    for name, content in (("", b"old " * 200), (".new", b"new " * 200)):
        steps(*store().make(ROOT + name, Mib(16), "Make.", zero=False))
        write(ROOT + name, content, 0)


def _content() -> bytes:
    return Path(ROOT).read_bytes()[:4]


def _exchange() -> tuple[Step, ...]:
    return store().exchange(f"{ROOT}.new", ROOT, f"{ROOT}.old", "Swap in.", "Swap out.")


def case_exchange() -> None:
    """Names move, contents stay with their volume; a later failure moves them back."""
    _old_and_new()
    refused(Failed, "Fail", lambda: steps(*_exchange(), FAILING))
    assert _content() == b"old " and names() == ["xen20"]
    steps(*store().make(f"{ROOT}.new", Mib(16), "Make.", zero=False))
    write(f"{ROOT}.new", b"new " * 200, 0)
    steps(*_exchange())
    assert _content() == b"new " and names() == ["xen20", "xen20.old"]
    assert [left.path for left in facts().leftovers] == [f"{ROOT}.old"]


def case_killed() -> None:
    """The daemon is killed between the two renames of an exchange; the next one puts the old volume back."""
    _old_and_new()
    if (child := os.fork()) == 0:
        whole = logicalvolumes.swap

        def cut(known: set[str], rename: Any, *words: str) -> None:
            done: list[str] = []

            def once(old: str, new: str) -> None:
                if done:
                    os._exit(9)
                done.append(old)
                rename(old, new)
            whole(known, once, *words)

        logicalvolumes.swap = cut
        own = Journal(JOURNAL.path)
        job = own.begin("case", None, "lab", "job", (), 1)
        own.started(job)
        execute(job, Plan("exchange", _exchange()), DOM0, own, lambda: False)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert names() == ["xen20.new", "xen20.old"], "the moment without a name"
    (fact,) = recover(DOM0, JOURNAL)
    assert fact.state == "interrupted" and "cleaning up failed" not in fact.reason, fact
    assert names() == ["xen20", "xen20.new"] and _content() == b"old "


def case_open() -> None:
    """What anything has open is told, and neither removed nor overwritten."""
    steps(*store().make(ROOT, Mib(64), "Make."))
    ran(f"mkfs.ext4 -q -F {ROOT}")
    handle = os.open(ROOT, os.O_RDONLY)
    assert "open in" in facts().disks[0].in_use
    refused(Failed, "is open in", lambda: steps(RemoveVolume(why="Remove.", vg=VG, lv="xen20", wipe=True)))
    os.close(handle)
    at = PLACE / "mnt"
    at.mkdir()
    ran(f"mount {ROOT} {at}")
    try:
        assert facts().disks[0].in_use == f"mounted on {at}"
        refused(Failed, f"mounted on {at}", lambda: steps(RemoveVolume(why="Remove.", vg=VG, lv="xen20")))
    finally:
        ran(f"umount {at}")
    assert facts().disks[0].in_use == "" and names() == ["xen20"]


def case_aside() -> None:
    """setupLVMDisks sets a foreign disk aside; housekeeping keeps it for its time, then wipes it; another VPS's stay."""
    steps(*store().make(f"/dev/{VG}/xen21", Mib(16), "Make.", zero=False), *store().make(ROOT, Mib(64), "Make.", zero=False), *store().used(ROOT), *store().used(ROOT))
    assert run(disks.plan_setup_replacing(request(), THICK, facts())).created
    (kept,) = facts().kept
    assert kept.path.startswith(f"{ROOT}.kept.1.") and disks.plan_purge(THICK, facts()) is None
    run(disks.plan_purge(settings(keep_old_disk_hours="0"), facts()))
    assert names() == ["xen20", "xen21"] and facts().kept == ()
    run(disks.plan_kill(KillDisk(vps=VPS), settings(wipe_disks="no"), facts()))
    assert names() == ["xen21"]


def case_thin() -> None:
    """A thin volume costs nothing, is blank while it has no data, and goes at once; a pool that does not zero is refused."""
    ran(f"lvcreate --yes --type thin-pool -L 128m -n {POOL} {VG}")
    try:
        refused(Refused, "MiB more than thin pool", lambda: disks.plan_setup(request(size=200), THIN, facts(THIN)))
        over = settings(thin_pool=POOL, overcommit="yes")
        plan = disks.plan_setup(request(size=1 << 20), over, facts(over))
        assert isinstance(plan, Plan) and plan.later is None
        run(plan)
        assert [(disk.blank, disk.pool, disk.unzeroed) for disk in facts(THIN).disks] == [(True, POOL, False)]
        write(ROOT, b"x")
        assert not facts(THIN).disks[0].blank, "64 KiB of 1 TiB"
        ran(f"lvchange --zero n {VG}/{POOL}")
        refused(Refused, "does not zero new blocks", lambda: disks.plan_setup(request(OTHER), THIN, facts(THIN, OTHER)))
        plan = disks.plan_kill(KillDisk(vps=VPS), THIN, facts(THIN))
        assert isinstance(plan, Plan) and not plan.leaves_work
        run(plan)
        assert names() == []
    finally:
        ran(f"lvremove --yes {VG}/{POOL}")


def case_taken() -> None:
    """A name that is taken, and room that is not there: LVM's own words, and nothing is lost."""
    steps(*store().make(ROOT, Mib(16), "Make.", zero=False))
    write(ROOT)
    refused(Failed, "already exists", lambda: steps(*store().make(ROOT, Mib(16), "Make.", zero=False)))
    assert names() == ["xen20"] and shows(ROOT)
    refused(Failed, "nsufficient free space", lambda: steps(*store().make(f"/dev/{VG}/xen21", Mib(1 << 24), "Make.", zero=False)))
    assert names() == ["xen20"]


def clean() -> None:
    for name in names():
        ran(f"lvremove --yes {VG}/{name}")


if __name__ == "__main__":
    clean()
    begun = time.monotonic()
    try:
        globals()[f"case_{sys.argv[1]}"]()
    finally:
        clean()
        JOURNAL.close()
    sys.stdout.write(f"done in {time.monotonic() - begun:.1f} s\n")
