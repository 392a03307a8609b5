"""What the mount of the homes means for an owner's quota, and what is run to keep it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from dtcxen_soap import accounts, isoquota, mounts
from dtcxen_soap.accountfacts import AccountFact, AccountsFact, QuotaFact
from dtcxen_soap.plans import RemoveAccount, Run, Step, walk
from dtcxen_soap.quotasteps import MarkProject
from dtcxen_soap.settings import load
from dtcxen_soap.vps import Mib, VpsId
from tests.unit.test_accounts import COMPLETE, facts

VPS = VpsId(1)
BOTH = frozenset(isoquota.COMMANDS)


@pytest.mark.parametrize(("options", "commands", "kind"), [
    ("rw,prjquota", BOTH, "project"), ("rw,attr2,pquota", BOTH, "project"), ("rw,usrquota,prjquota", BOTH, "project"), ("rw,quota,usrquota", BOTH, "user"),
    ("rw,usrjquota=aquota.user,jqfmt=vfsv1", BOTH, "user"), ("rw,prjquota", set(), ""), ("rw,usrquota", set(), ""), ("rw,noquota", BOTH, ""), ("rw", BOTH, "")])
def test_what_a_file_system_keeps(options: str, commands: frozenset[str], kind: str) -> None:
    assert isoquota.found(frozenset(options.split(",")), "/h", frozenset(commands)).kind == kind


def test_a_line_of_mountinfo_tells_the_file_systems_own_options() -> None:
    found = mounts._parse("36 25 253:1 / /var/lib/dtc-xen rw,noatime shared:1 - ext4 /dev/mapper/vg0-homes rw,prjquota,errors=remount-ro")
    assert found.options == {"rw", "prjquota", "errors=remount-ro"} and found.at == "/var/lib/dtc-xen"


def test_where_the_kernel_names_no_mount_above_no_quota_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a chroot that is no mount point of its own."""
    monkeypatch.setattr(mounts, "table", lambda: (mounts.Mount("/proc", "proc", "0:5", frozenset({"rw"})),))
    assert mounts.mount_of("/var/lib/dtc-xen") == mounts.Mount("/", "", "", frozenset())


def argvs(found: AccountsFact, more: str = "iso_quota_mib=100") -> list[tuple[str, ...]]:
    settings = load(f"ttyssh_home=/h\nhtpasswd_file=/p\nstate_dir=/s\n{more}").settings
    steps = [step for step in walk(accounts.ensure_steps(VPS, settings, facts(found))) if isinstance(step, MarkProject) or isinstance(step, Run) and step.argv[0] in BOTH]
    assert all(step.may_fail for step in steps), "an installation does not hang on it: what is booted is judged in any case"
    return [step.argv if isinstance(step, Run) else ("mark", step.top, step.path, str(step.project)) for step in steps]


def test_a_project_of_its_own_or_the_uploaders_quota_or_nothing() -> None:
    kinds = {kind: argvs(dataclasses.replace(COMPLETE, quota=QuotaFact(kind, "/h"))) for kind in ("project", "user", "")}
    assert kinds["project"] == [("mark", "/h", "xen01/iso", "800001"), ("setquota", "-P", "800001", "0", "102400", "0", "2000", "/h")]
    assert kinds["user"] == [("setquota", "-u", "xen01-iso", "0", "102400", "0", "2000", "/h")] and kinds[""] == []
    assert argvs(dataclasses.replace(COMPLETE, quota=QuotaFact("project", "/h")), "iso_quota_mib=0")[1][3:7] == ("0", "0", "0", "0"), "no limit takes one off"
    assert argvs(dataclasses.replace(COMPLETE, quota=QuotaFact("project", "/h")), "iso_quota_mib=1\niso_upload=no") == []


def freed(found: AccountsFact, steps: Callable[..., tuple[Step, ...]] = accounts.remove_steps) -> list[Step]:
    return list(walk(steps(VPS, load("ttyssh_home=/homes\nhtpasswd_file=/p\nstate_dir=/s").settings, facts(found))))


def test_a_vps_that_goes_leaves_no_limit_to_the_next_of_its_number() -> None:
    last = freed(dataclasses.replace(COMPLETE, quota=QuotaFact("project", "/h")))[-1]
    assert isinstance(last, Run) and last.argv == ("setquota", "-P", "800001", "0", "0", "0", "0", "/h") and last.may_fail
    assert isoquota.limit_steps(VPS, "u", "/d", Mib(1), QuotaFact()) == ()


@pytest.mark.parametrize("steps", [accounts.remove_steps, accounts.shut_out_steps])
def test_a_user_that_goes_leaves_no_limit_to_the_next_of_its_uid(steps: Callable[..., tuple[Step, ...]]) -> None:
    """useradd gives a uid that is free again to whomever it makes next, and quotas are the uid's."""
    done = freed(dataclasses.replace(COMPLETE, quota=QuotaFact("user", "/h")), steps)
    ours = [index for index, step in enumerate(done) if isinstance(step, Run) and step.argv == ("setquota", "-u", "xen01-iso", "0", "0", "0", "0", "/h")]
    gone = [index for index, step in enumerate(done) if isinstance(step, RemoveAccount) and step.user == "xen01-iso"]
    assert len(ours) == len(gone) == 1 and ours < gone, "while its name is still known"
    stranger = dataclasses.replace(COMPLETE, quota=QuotaFact("user", "/h"), users={"xen01-iso": AccountFact("xen01-iso", 33, "admins", "/home/x", "/bin/sh")})
    assert not [step for step in freed(stranger, steps) if isinstance(step, Run)], "another's user keeps its own"


@pytest.mark.parametrize("there", [True, False])
def test_a_user_that_a_failed_plan_takes_back_leaves_no_limit_either(there: bool) -> None:
    found = dataclasses.replace(COMPLETE if there else AccountsFact(), quota=QuotaFact("user", "/h"))
    settings = load("ttyssh_home=/h\nstate_dir=/s\niso_quota_mib=9").settings
    (limit,) = [step for step in walk(accounts.ensure_steps(VPS, settings, facts(found))) if isinstance(step, Run) and step.argv[0] == "setquota"]
    undone = [step.argv[1:5] for step in limit.undo if isinstance(step, Run)]
    assert undone == ([] if there else [("-u", "xen01-iso", "0", "0")]), "one who was there before keeps what is kept now"


def test_a_node_that_has_no_uploads_any_more_frees_the_uid() -> None:
    found = dataclasses.replace(COMPLETE, quota=QuotaFact("user", "/h"))
    done = list(walk(accounts.ensure_steps(VPS, load("ttyssh_home=/h\nstate_dir=/s\niso_upload=no").settings, facts(found))))
    argvs_and_kinds = [step.argv[:3] if isinstance(step, Run) else type(step).__name__ for step in done]
    assert argvs_and_kinds.index(("setquota", "-u", "xen01-iso")) == argvs_and_kinds.index("RemoveAccount") - 1
