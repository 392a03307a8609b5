"""What blkid says of a disk, in DiskFact's words; no answer is never taken for "nothing"."""

from __future__ import annotations

import pytest

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import DiskFact
from dtcxen_soap.processes import Ran
from dtcxen_soap.survey import content as survey_content
from dtcxen_soap.vps import DiskRole
from tests.fakes import ScriptedDom0


@pytest.mark.parametrize(("ran", "content"), [
    (Ran(0, "DEVNAME=/m/a=b.img\nTYPE=ext4\n"), "ext4"), (Ran(0, "DEVNAME=/m/a\nPTTYPE=dos\n"), "partitions (dos)"), (Ran(0, "DEVNAME=/m/a\nTYPE=LVM2_member\n"), "LVM2_member"),
    (Ran(0, "DEVNAME=/m/a\nTYPE=ext4\nPTTYPE=dos\n"), "ext4 and partitions (dos)"), (Ran(2, ""), ""), (Ran(8, ""), survey_content.SEVERAL),
])
def test_content(ran: Ran, content: str) -> None:
    dom0 = ScriptedDom0({"blkid": ran})
    assert survey_content.content(dom0, "/m/a") == content
    ((_, argv),) = dom0.calls
    assert isinstance(argv, tuple) and argv[-2:] == ("--", "/m/a")


@pytest.mark.parametrize(("ran", "why"), [(Ran(127, ""), "blkid is not installed"), (Ran(4, "usage"), "blkid ended with code 4"), (Ran(124, ""), "code 124")])
def test_no_answer_is_a_failure(ran: Ran, why: str) -> None:
    with pytest.raises(Failed, match=why):
        survey_content.content(ScriptedDom0({"blkid": ran}), "/m/a")


def test_every_disk_is_told_and_else_unchanged() -> None:
    disks = (DiskFact(DiskRole.ROOT, "/m/a", 5, False, "held"), DiskFact(DiskRole.SWAP, "/m/b", 6, True))
    dom0 = ScriptedDom0({"blkid": lambda argv: "TYPE=ext4\n" if argv[-1] == "/m/a" else Ran(2, "")})
    told = survey_content.told(dom0, disks)
    assert [disk.content for disk in told] == ["ext4", ""] and [(disk.path, disk.in_use, disk.blank) for disk in told] == [("/m/a", "held", False), ("/m/b", "", True)]
