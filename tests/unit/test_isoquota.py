"""What the mount of the homes means for an owner's quota, and what is run to keep it."""

from __future__ import annotations

import dataclasses

import pytest

from dtcxen_soap import accounts, isoquota, mounts
from dtcxen_soap.accountfacts import AccountsFact, QuotaFact
from dtcxen_soap.plans import Run, walk
from dtcxen_soap.settings import load
from dtcxen_soap.vps import Mib, VpsId
from tests.unit.test_accounts import COMPLETE, facts

VPS = VpsId(1)
BOTH = frozenset(isoquota.COMMANDS)


@pytest.mark.parametrize(("options", "commands", "kind"), [
    ("rw,prjquota", BOTH, "project"), ("rw,attr2,pquota", BOTH, "project"), ("rw,usrquota,prjquota", BOTH, "project"), ("rw,quota,usrquota", BOTH, "user"),
    ("rw,usrjquota=aquota.user,jqfmt=vfsv1", BOTH, "user"), ("rw,prjquota", {"setquota"}, ""), ("rw,usrquota", {"chattr"}, ""), ("rw,noquota", BOTH, ""), ("rw", BOTH, "")])
def test_what_a_file_system_keeps(options: str, commands: frozenset[str], kind: str) -> None:
    assert isoquota.found(frozenset(options.split(",")), "/h", frozenset(commands)).kind == kind


def test_a_line_of_mountinfo_tells_the_file_systems_own_options() -> None:
    found = mounts._parse("36 25 253:1 / /var/lib/dtc-xen rw,noatime shared:1 - ext4 /dev/mapper/vg0-homes rw,prjquota,errors=remount-ro")
    assert found.options == {"rw", "prjquota", "errors=remount-ro"} and found.at == "/var/lib/dtc-xen"


def argvs(found: AccountsFact, more: str = "iso_quota_mib=100") -> list[tuple[str, ...]]:
    settings = load(f"ttyssh_home=/h\nhtpasswd_file=/p\nstate_dir=/s\n{more}").settings
    steps = [step for step in walk(accounts.ensure_steps(VPS, settings, facts(found))) if isinstance(step, Run) and step.argv[0] in isoquota.COMMANDS]
    assert all(step.may_fail for step in steps), "an installation does not hang on it: what is booted is judged in any case"
    return [step.argv for step in steps]


def test_a_project_of_its_own_or_the_uploaders_quota_or_nothing() -> None:
    kinds = {kind: argvs(dataclasses.replace(COMPLETE, quota=QuotaFact(kind, "/h"))) for kind in ("project", "user", "")}
    assert kinds["project"] == [("chattr", "-p", "800001", "+P", "--", "/h/xen01/iso"), ("setquota", "-P", "800001", "0", "102400", "0", "0", "/h")]
    assert kinds["user"] == [("setquota", "-u", "xen01-iso", "0", "102400", "0", "0", "/h")] and kinds[""] == []
    assert argvs(dataclasses.replace(COMPLETE, quota=QuotaFact("project", "/h")), "iso_quota_mib=0")[1][3:5] == ("0", "0"), "no limit takes one off"
    assert argvs(dataclasses.replace(COMPLETE, quota=QuotaFact("project", "/h")), "iso_quota_mib=1\niso_upload=no") == []


def test_a_vps_that_goes_leaves_no_limit_to_the_next_of_its_number() -> None:
    (step,) = isoquota.free_steps(VPS, QuotaFact("project", "/h"))
    assert isinstance(step, Run) and step.argv == ("setquota", "-P", "800001", "0", "0", "0", "0", "/h")
    assert isoquota.free_steps(VPS, QuotaFact("user", "/h")) == isoquota.limit_steps(VPS, "u", "/d", Mib(1), QuotaFact()) == ()
