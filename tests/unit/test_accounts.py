"""Plans of how owners sign in: what is made, what is removed, and whom nothing of it touches."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from dtcxen_soap import accounts, disks
from dtcxen_soap.accountfacts import AccountFact, AccountsFact, KeyFact
from dtcxen_soap.answers import AccessChanged, DisksRemoved
from dtcxen_soap.errors import Failed, Missing, Refused
from dtcxen_soap.facts import DiskFact, DomuFact, Facts, Room, TenancyFact
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import HtpasswdLine, MakeAccount, Plan, RemoveAccount, RemoveBelow, RemoveFile, Run, WriteFile
from dtcxen_soap.requests import ConsolePassword, KillDisk, SetupDisk, SoapPassword, SshKey
from dtcxen_soap.settings import load
from dtcxen_soap.vps import DiskRole, Mib, Secret, VpsId

TEXT = "provisioning_mount_point=/m\nxen_config_dir=/x\nttyssh_home=/homes\nstate_dir=/s\nhtpasswd_file=/e/htpasswd\ndefault_image_type=vbd\n"
SETTINGS = load(TEXT).settings
VPS = VpsId(1)
PASSWORD = ConsolePassword(vps=VPS, password=Secret("hush hush"))
SOAP = SoapPassword(vps=VPS, password=Secret("hush hush"))
KEYS = SshKey(vps=VPS, keys=("ssh-ed25519 AAAAone", "ssh-rsa AAAAtwo me"))
ROOT = DiskFact(DiskRole.ROOT, "/m/xen01.img", 1 << 30, False)
CONSOLE = AccountFact("xen01", 1001, "xenusers", "/homes/xen01", "/usr/lib/dtcxen-soap/console")
UPLOAD = AccountFact("xen01-iso", 1002, "xenisos", "/homes/xen01", "/usr/sbin/nologin")
NONE = AccountsFact()
COMPLETE = AccountsFact({"xen01": CONSOLE, "xen01-iso": UPLOAD}, accounts.sudo_rule(VPS), True, True)


def facts(found=NONE, toolstack=True, disk=(ROOT,), **more):
    return Facts(now=datetime(2026, 1, 2, tzinfo=UTC), disks=disk, room=Room(1 << 40), domu=DomuFact(True, toolstack=toolstack), accounts=found, **more)


def kinds(plan):
    assert isinstance(plan, Plan)
    return [type(step).__name__ for step in plan.steps]


def test_the_first_password_makes_users_home_and_rule(golden):
    plan = accounts.plan_password(PASSWORD, SETTINGS, facts())
    golden("plans/console-password-first.txt", "\n".join(render(plan)) + "\n")
    assert plan.answer == AccessChanged("01", ("xen01", "xen01-iso"))
    assert "hush" not in "\n".join(render(plan)) + repr(plan)


def test_the_next_one_changes_the_password_alone(golden):
    plan = accounts.plan_password(PASSWORD, SETTINGS, facts(COMPLETE))
    assert kinds(plan) == ["MakeHome", "AccountPassword"]


def test_keys(golden):
    plan = accounts.plan_keys(KEYS, SETTINGS, facts(COMPLETE, keys=(KeyFact("SHA256:a"), KeyFact("SHA256:b"))))
    golden("plans/ssh-keys.txt", "\n".join(render(plan)) + "\n")
    assert plan.answer == AccessChanged("01", ("xen01", "xen01-iso"), ("SHA256:a", "SHA256:b"))


def test_each_key_that_ssh_keygen_cannot_read_is_told():
    with pytest.raises(Refused) as refused:
        accounts.plan_keys(KEYS, SETTINGS, facts(COMPLETE, keys=(KeyFact(problem="ssh-keygen cannot read it"), KeyFact("SHA256:b"))))
    assert str(refused.value) == "setSshKey: keys: key 1: ssh-keygen cannot read it, expected an SSH public key that ssh-keygen reads"


def test_the_soap_password_is_no_system_users(golden):
    for settings in (SETTINGS, dataclasses.replace(SETTINGS, manage_accounts=False)):
        plan = accounts.plan_soap_password(SOAP, settings, facts(AccountsFact(lacking=("the node lacks sudo",))))
        assert [line for line in render(plan) if "HtpasswdLine" in line] == ["   HtpasswdLine path=/e/htpasswd user=xen01 password=(redacted)"] and len(plan.steps) == 1


@pytest.mark.parametrize(("settings", "toolstack", "why"), [("manage_accounts=no", True, "manage_accounts=no"), ("", False, "toolstack")])
def test_without_consoles_there_are_no_users_but_the_rescue_system_has_keys(settings, toolstack, why):
    chosen, found = load(TEXT + settings).settings, facts(toolstack=toolstack, keys=(KeyFact("SHA256:a"), KeyFact("SHA256:b")))
    with pytest.raises(Missing, match=f"no console users .{why}"):
        accounts.plan_password(PASSWORD, chosen, found)
    assert kinds(accounts.plan_keys(KEYS, chosen, found)) == ["MakeHome", "WriteKeys"]
    assert accounts.ensure_steps(VPS, chosen, found) == () and accounts.notes(VPS, chosen, found) == ()


def test_what_the_node_lacks_is_told_and_an_installation_goes_on():
    found = facts(AccountsFact(lacking=("the node lacks sudo: install the packages", "no shell")), keys=())
    for plan, request in ((accounts.plan_password, PASSWORD), (accounts.plan_keys, KEYS)):
        with pytest.raises(Failed, match="have the users of xen01: the node lacks sudo: install the packages; no shell"):
            plan(request, SETTINGS, found)
    assert accounts.ensure_steps(VPS, SETTINGS, found) == ()
    assert accounts.notes(VPS, SETTINGS, found) == ("no console user is made: the node lacks sudo: install the packages; no shell",)


@pytest.mark.parametrize("stranger", [AccountFact("xen01", 1001, "staff", "/home/xen01", "/bin/sh"), AccountFact("xen01", 0, "xenusers", "/homes/xen01", "/bin/sh")])
def test_a_stranger_of_that_name_is_neither_changed_nor_removed(stranger):
    found = facts(AccountsFact({"xen01": stranger}))
    with pytest.raises(Failed, match="the node has a user xen01 that is no console user"):
        accounts.plan_password(PASSWORD, SETTINGS, found)
    assert accounts.remove_steps(VPS, SETTINGS, found) == () == accounts.ensure_steps(VPS, SETTINGS, found)


@pytest.mark.parametrize("change", [{"shell": "/usr/bin/dtc-xen_userconsole"}, {"group": "users"}, {"home": "/homes/old"}, {"closed": True}], ids=str)
def test_a_user_of_the_original_is_taken_over_and_never_undone(change):
    found = dataclasses.replace(COMPLETE, users={"xen01": dataclasses.replace(CONSOLE, **change), "xen01-iso": UPLOAD})
    made, = (step for step in accounts.ensure_steps(VPS, SETTINGS, facts(found)) if isinstance(step, MakeAccount))
    assert made.user == "xen01" and made.undo == ()


def test_new_users_are_undone():
    made = [step for step in accounts.ensure_steps(VPS, SETTINGS, facts()) if isinstance(step, MakeAccount)]
    assert [undo.user for step in made for undo in step.undo if isinstance(undo, RemoveAccount)] == ["xen01", "xen01-iso"]


def test_the_rule_counts_only_once_visudo_read_it():
    steps = accounts.ensure_steps(VPS, SETTINGS, facts(dataclasses.replace(COMPLETE, sudo_rule="%xenusers ALL=NOPASSWD: /usr/sbin/xm console xen*\n")))
    written = next(step for step in steps if isinstance(step, WriteFile))
    place = steps.index(written)
    assert "." in written.path.rpartition("/")[2], "sudo reads no file with a dot in its name"
    assert isinstance(steps[place + 1], Run) and steps[place + 1].argv == ("visudo", "--check", "--file", written.path)
    assert type(steps[-1]).__name__ == "RenameFile" and written.mode == 0o440
    assert written.content.splitlines()[-1] == "xen01 ALL=(root) NOPASSWD: /usr/sbin/xl console xen01"


def test_an_upload_user_goes_when_uploads_do():
    off = dataclasses.replace(SETTINGS, iso_upload=False)
    steps = accounts.ensure_steps(VPS, off, facts(COMPLETE))
    assert [step.user for step in steps if isinstance(step, RemoveAccount)] == ["xen01-iso"] and not [step for step in steps if isinstance(step, MakeAccount)]
    assert accounts.users(VPS, off) == ("xen01",)


@pytest.mark.parametrize(("plan", "request_"), [(accounts.plan_password, PASSWORD), (accounts.plan_keys, KEYS), (accounts.plan_soap_password, SOAP)])
def test_a_vps_that_is_not_there_is_given_no_way_in(plan, request_):
    nobody = dataclasses.replace(facts(disk=()), domu=DomuFact(False, toolstack=True))
    with pytest.raises(Missing, match="VPS 01 has neither a root disk nor a configuration"):
        plan(request_, SETTINGS, nobody)


# -- removal --------------------------------------------------------------------------------------


def test_kill_removes_every_way_in(golden):
    plan = disks.plan_kill(KillDisk(vps=VPS), SETTINGS, facts(COMPLETE))
    golden("plans/kill-with-accounts.txt", "\n".join(render(plan)) + "\n")
    order = kinds(plan)
    home = next(place for place, step in enumerate(plan.steps) if isinstance(step, RemoveBelow) and step.path == "xen01")
    assert home < order.index("NextTenancy"), "who is let in no more cannot meet the next tenancy"


@pytest.mark.parametrize("left", [AccountsFact(soap_password=True), AccountsFact(home=True), AccountsFact({"xen01-iso": UPLOAD}), AccountsFact(sudo_rule="x")], ids=repr)
def test_kill_again_removes_whatever_is_left(left):
    plan = disks.plan_kill(KillDisk(vps=VPS), SETTINGS, dataclasses.replace(facts(left, disk=()), domu=DomuFact(False)))
    assert isinstance(plan, Plan) and len(accounts.remove_steps(VPS, SETTINGS, facts(left))) == 1
    assert disks.plan_kill(KillDisk(vps=VPS), SETTINGS, dataclasses.replace(facts(disk=()), domu=DomuFact(False))) == DisksRemoved(())


def test_kill_touches_nobody_whose_name_begins_alike():
    plan = disks.plan_kill(KillDisk(vps=VpsId(10)), SETTINGS, facts(AccountsFact(
        {"xen10": AccountFact("xen10", 1001, "xenusers", "/homes/xen10", "")}, "rule", True, True), disk=()))
    touched = [getattr(step, name) for step in plan.steps for name in ("user", "path") if hasattr(step, name)]
    assert {"xen10", "/etc/sudoers.d/dtc-xen-xen10"} <= set(touched) and not [word for word in touched if "xen100" in word or word.endswith("xen1")]


SETUP = SetupDisk(vps=VPS, disk_size=Mib(2048), swap_size=Mib(0))


def test_a_new_vps_lets_no_earlier_tenant_in_but_keeps_isos():
    """The original's killVPS left user, keys and password behind."""
    for planner in (disks.plan_setup, disks.plan_setup_replacing):
        plan = planner(SETUP, SETTINGS, dataclasses.replace(facts(COMPLETE, disk=()), domu=DomuFact(False)))
        assert [step.user for step in plan.steps if isinstance(step, RemoveAccount)] == ["xen01", "xen01-iso"]
        assert [step.path for step in plan.steps if isinstance(step, RemoveBelow)] == ["xen01/.ssh"]
        assert any(isinstance(step, HtpasswdLine) and step.password is None for step in plan.steps)
        assert any(isinstance(step, RemoveFile) and step.path == "/etc/sudoers.d/dtc-xen-xen01" for step in plan.steps)


def test_another_tenants_disk_that_is_set_aside_takes_its_accounts_along():
    plan = disks.plan_setup_replacing(SETUP, SETTINGS, facts(COMPLETE, tenancy=TenancyFact(3)))
    assert [step.path for step in plan.steps if isinstance(step, RemoveBelow)] == ["xen01", "seeds/xen01.work"]
    assert kinds(plan).index("AllocateFile") < kinds(plan).index("RemoveAccount"), "last: what fails before is put back"


def test_ones_own_unused_disks_are_nobody_elses():
    blank = DiskFact(DiskRole.ROOT, "/m/xen01.img", 2 << 30, True)
    for planner in (disks.plan_setup, disks.plan_setup_replacing):
        assert not isinstance(planner(SETUP, SETTINGS, facts(COMPLETE, disk=(blank,))), Plan)
        more = planner(dataclasses.replace(SETUP, swap_size=Mib(64)), SETTINGS, facts(COMPLETE, disk=(blank,)))
        assert "RemoveAccount" not in kinds(more)
