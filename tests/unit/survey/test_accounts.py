"""What the survey reads of system users, htpasswd and keys, and what it finds lacking."""

from __future__ import annotations

import pytest

from dtcxen_soap import accounts
from dtcxen_soap.accountfacts import AccountFact, KeyFact
from dtcxen_soap.errors import Failed
from dtcxen_soap.processes import Ran
from dtcxen_soap.settings import load
from dtcxen_soap.survey import accounts as survey_accounts
from dtcxen_soap.vps import VpsId
from tests.fakes import ScriptedDom0

SETTINGS = load("ttyssh_home=/var/lib/dtc-xen/homes\nhtpasswd_file=/e/htpasswd").settings
PASSWD = "root:x:0:0::/root:/bin/sh\nxen01:x:1001:990::/var/lib/dtc-xen/homes/xen01:/console\nxen010:x:1003:990::/h:/s\nxen01-iso:x:1002:77::/h:/s\n+\nbroken:x\n"
FILES = {
    "/etc/passwd": PASSWD, "/etc/group": "root:x:0:\nxenusers:x:990:\n", "/etc/shadow": "xen01:*:19000:0:99999:7:::\nxen01-iso:!:19000:0:99999:7::1:\n",
    "/e/htpasswd": "admin:a\n xen01:b\n", SETTINGS.console_shell: "#!/bin/sh\n", accounts.sudo_rule_path(VpsId(1)): "rule\n",
    "/var/lib/dtc-xen/homes/xen01/iso/a.iso": "x", "/etc/ssh/sshd_config": "UsePAM yes\n", "/etc/ssh/sshd_config.d/dtc-xen.conf": accounts.sshd_config(SETTINGS),
}


@pytest.fixture
def dom0() -> ScriptedDom0:
    dom0 = ScriptedDom0(files=FILES)
    dom0.memory.modes[SETTINGS.console_shell] = 0o755
    return dom0


def lacking(dom0: ScriptedDom0) -> str:
    return "; ".join(survey_accounts.accounts_of(dom0, SETTINGS, VpsId(1)).lacking)


def test_all_that_is_there(dom0: ScriptedDom0) -> None:
    found = survey_accounts.accounts_of(dom0, SETTINGS, VpsId(1))
    assert found.users == {
        "xen01": AccountFact("xen01", 1001, "xenusers", "/var/lib/dtc-xen/homes/xen01", "/console"), "xen01-iso": AccountFact("xen01-iso", 1002, "77", "/h", "/s", True)}
    assert (found.sudo_rule, found.home, found.soap_password, found.lacking) == ("rule\n", True, True, ())


def test_a_name_that_begins_alike_is_another(dom0: ScriptedDom0) -> None:
    found = survey_accounts.accounts_of(dom0, SETTINGS, VpsId(10))
    assert (dict(found.users), found.sudo_rule, found.home, found.soap_password) == ({}, "", False, False)


def test_a_bare_machine() -> None:
    dom0 = ScriptedDom0()
    dom0.installed = frozenset({"useradd"})
    found = survey_accounts.accounts_of(dom0, SETTINGS, VpsId(1))
    assert not found.users and not found.soap_password
    assert "the node lacks usermod, userdel, groupadd, chpasswd, visudo, sudo" in found.lacking[0] and "login shell" in found.lacking[1] and len(found.lacking) == 2
    no = load("manage_accounts=no").settings
    assert survey_accounts.accounts_of(dom0, no, VpsId(1)).lacking == ()


@pytest.mark.parametrize(("path", "mode", "owner"), [
    (SETTINGS.console_shell, 0o644, 0), (SETTINGS.console_shell, 0o775, 0), (SETTINGS.console_shell, 0o757, 0), (SETTINGS.console_shell, 0o755, 33),
    ("/var/lib/dtc-xen/homes", 0o757, 0), ("/var/lib/dtc-xen", 0o700, 0), ("/var/lib", 0o775, 0), ("/var", 0o755, 1000)])
def test_what_sshd_would_not_trust_is_told(dom0: ScriptedDom0, path: str, mode: int, owner: int) -> None:
    assert lacking(dom0) == ""
    dom0.memory.modes[path], dom0.memory.owners[path] = mode, (owner, owner)
    assert path in lacking(dom0)


@pytest.mark.parametrize(("text", "fine"), [
    ("", False), ("Match Group xenusers\n ForceCommand x\n", False), ("#Match Group xenusers\n#Match Group xenisos\n", False),
    ("match  group XenUsers\nMatch Group xenisos", True), ("Match Group xenusersX\nMatch Group xenisos\n", False)])
def test_an_sshd_that_was_told_nothing_is_told_of(dom0: ScriptedDom0, text: str, fine: bool) -> None:
    del dom0.files["/etc/ssh/sshd_config.d/dtc-xen.conf"]
    dom0.files["/etc/ssh/sshd_config"] = text.encode()
    assert ("sshd is not told" not in lacking(dom0)) is fine
    dom0.files["/etc/ssh/sshd_config.d/dtc-xen.conf.bak"] = FILES["/etc/ssh/sshd_config.d/dtc-xen.conf"].encode()
    assert ("sshd is not told" not in lacking(dom0)) is fine, "sshd reads *.conf only"


def test_without_sshd_nobody_must_be_told(dom0: ScriptedDom0) -> None:
    for path in ("/etc/ssh/sshd_config.d/dtc-xen.conf", "/etc/ssh/sshd_config"):
        del dom0.files[path]
    assert lacking(dom0) == ""


@pytest.mark.parametrize(("ran", "fact"), [
    (Ran(0, "256 SHA256:abc+/ me (ED25519)\n"), KeyFact("SHA256:abc+/")), (Ran(255, "(stdin) is not a public key file."), KeyFact(problem="ssh-keygen cannot read it")),
    (Ran(0, "?"), KeyFact(problem="ssh-keygen cannot read it"))])
def test_ssh_keygen_judges_by_standard_input(dom0: ScriptedDom0, ran: Ran, fact: KeyFact) -> None:
    dom0.answers["ssh-keygen"] = ran
    assert survey_accounts.keys(dom0, ("ssh-ed25519 AAAA me",)) == (fact,)
    assert dom0.ran[0].stdin == "ssh-ed25519 AAAA me\n" and dom0.ran[0].argv == ("ssh-keygen", "-l", "-f", "-")


def test_without_ssh_keygen_it_is_the_nodes_fault(dom0: ScriptedDom0) -> None:
    dom0.answers["ssh-keygen"] = Ran(127, "")
    with pytest.raises(Failed, match="install openssh-client"):
        survey_accounts.keys(dom0, ("ssh-ed25519 AAAA me",))


def test_who_is_not_root_may_still_plan(dom0: ScriptedDom0) -> None:
    """For root a file that cannot be read is no file that is not there."""
    for path in ("/etc/shadow", "/e/htpasswd", accounts.sudo_rule_path(VpsId(1))):
        dom0.breaks["read_bytes", path] = PermissionError(13, "Permission denied", path)
    with pytest.raises(PermissionError):
        survey_accounts.accounts_of(dom0, SETTINGS, VpsId(1))
    dom0.root = False
    found = survey_accounts.accounts_of(dom0, SETTINGS, VpsId(1))
    assert not found.sudo_rule and not found.soap_password and not found.users["xen01-iso"].closed
