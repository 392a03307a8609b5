"""The finer points of doctor's findings: what differs within one check, and what must not be found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dtcxen_soap import settings
from dtcxen_soap.cli.doctor import usable
from dtcxen_soap.upgrade.access import RPM_CERTIFICATE, RPM_KEY
from dtcxen_soap.upgrade.finding import Finding, Severity, counted, listed
from dtcxen_soap.upgrade.numbers import vps_of
from dtcxen_soap.upgradefacts import FoundFile, FoundText
from dtcxen_soap.vps import VpsId
from tests.oldnode import CERTIFICATE, CONF, HASHES, HOMES, HTPASSWD, HVM, KEY, MNT, STATE, OldTree


@pytest.fixture
def old(tmp_path: Path) -> OldTree:
    return OldTree(tmp_path)


def found(old: OldTree, check: str) -> list[Finding]:
    return [finding for finding in old.findings() if finding.check == check]


def one(old: OldTree, check: str) -> Finding:
    (finding,) = found(old, check)
    return finding


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "shell"), [
    ("A=$HOME", True), ("A=\"${HOME}x\"", True), ("A=$(id)", True), ("A=`id`", True),
    ("A='$HOME'", False), ("A=\\$HOME", False), ("A=1 # $HOME", False), ("# A=$HOME", False), ("A=5$", False)])
def test_what_a_shell_would_expand(old: OldTree, line: str, shell: bool) -> None:
    old.add(CONF, line.replace("A=", "XENU_EXTRA_PARM=") + "\n")
    assert bool(found(old, "settings-shell")) == shell


def test_a_line_that_only_a_shell_reads_is_told_once(old: OldTree) -> None:
    old.add(CONF, "listen_port=$PORT\n")
    assert one(old, "settings-shell").where == f"{CONF}:3" and not found(old, "settings-wrong")


def test_wrong_lines_do_not_hide_what_the_others_say() -> None:
    text = "listen_port=x\nstate_dir=/srv/state\njust words\nvps_ram_min_mib=9\nvps_ram_max_mib=5\nmonitor_user=m\n"
    chosen = usable(FoundText(FoundFile("/f"), text))
    assert (chosen.state_dir, chosen.monitor_user, chosen.listen_port) == ("/srv/state", "m", 8089)
    assert usable(None) == settings.defaults()


def test_an_older_file_that_says_nothing_new_may_go(old: OldTree) -> None:
    old.add(CONF, "listen_port=8089\n")
    old.put("/etc/dtc-xen/soap.conf", "soap_server_port=8089\n")
    finding = one(old, "settings-older")
    assert finding.severity is Severity.NOTE and "says nothing that" in finding.what and finding.mend == ("rm -- /etc/dtc-xen/soap.conf",)
    old.put("/etc/dtc-xen/soap.conf", "soap_server_port=9999\nsoap_server_pass_phrase=sesame\n", 0o644)
    assert "otherwise than here" not in one(old, "settings-older").what and "cert_passphrase" in one(old, "settings-older").what
    assert one(old, "settings-open").where == "/etc/dtc-xen/soap.conf", "the passphrase in it opens the key, whoever reads it"
    old.add(CONF, "cert_passphrase=sesame\n")
    assert one(old, "settings-older").what.endswith("dtc-xen.conf says listen_port, and that counts")


def test_a_node_of_before_dtc_xen_conf(old: OldTree) -> None:
    old.at(CONF).unlink()
    old.put("/etc/dtc-xen/soap.conf", "soap_server_port=8089\n")
    assert one(old, "settings-older").mend == (f"printf '%s\\n' listen_port=8089 >> {CONF}",)


def test_among_groups_without_volumes_the_first_is_proposed(old: OldTree) -> None:
    old.replace(CONF, "vbd", "lvm")
    old.machine.vgs.update({"vg1": 1, "vg0": 1})
    assert "provisioning_volgroup=vg0" in one(old, "settings-volgroup").mend[0]


@pytest.mark.parametrize("line", ["", "cert_passphrase=\n", "# cert_passphrase=sesame\n"])
def test_settings_without_a_secret_may_be_read_by_all(old: OldTree, line: str) -> None:
    old.add(CONF, line)
    old.at(CONF).chmod(0o644)
    assert not found(old, "settings-open")


def test_files_of_new_systems_are_taken_over(old: OldTree) -> None:
    old.put("/etc/dtc-xen/motd", "hello")
    assert one(old, "settings-file").taken_over


def test_the_firewall_that_is_there_enforces_what_the_settings_say(old: OldTree) -> None:
    old.add(CONF, "soap_server_allowed_ip=192.0.2.9\n")
    old.put("/etc/init.d/dtc-xen-firewall", "")
    assert not found(old, "settings-firewall")


@pytest.mark.parametrize("line", ["", "provisioning_volgroup=vg0\n"])
def test_one_group_or_a_named_one_is_clear(old: OldTree, line: str) -> None:
    old.replace(CONF, "default_image_type=vbd\n", line)
    old.machine.vgs.update({"vg0": 1, "vg1": 1} if line else {"vg0": 1})
    assert not found(old, "settings-volgroup")


def test_an_archive_still_has_an_old_release(old: OldTree) -> None:
    old.add(CONF, "debian_release=lenny\ndebian_repo=http://archive.debian.org/debian\n")
    assert not found(old, "settings-release")


# -- who gets in ----------------------------------------------------------------------------------


def test_the_pair_of_rpm_systems_is_pointed_to(old: OldTree) -> None:
    for here, there in ((CERTIFICATE, RPM_CERTIFICATE), (KEY, RPM_KEY)):
        old.at(there).parent.mkdir(parents=True)
        shutil.move(old.at(here), old.at(there))
    finding = one(old, "certificate-missing")
    assert RPM_KEY in finding.what and finding.mend == (f"printf '%s\\n' tls_certificate={RPM_CERTIFICATE} tls_key={RPM_KEY} >> {CONF}",)


@pytest.mark.parametrize(("passphrase", "trouble"), [("sesame", ""), ("wrong", "cert_passphrase does not open it")])
def test_a_key_with_a_passphrase(old: OldTree, passphrase: str, trouble: str) -> None:
    old.pair(days=400, passphrase="sesame")
    old.add(CONF, f"cert_passphrase={passphrase}\n")
    assert [trouble in finding.what for finding in found(old, "certificate-unusable")] == ([True] if trouble else [])
    assert all(finding.mend == (f"editor {CONF}",) for finding in found(old, "certificate-unusable"))


def test_a_key_of_another_certificate(old: OldTree, tmp_path: Path) -> None:
    key = old.at(KEY).read_text()
    old.pair(days=400)
    old.put(KEY, key)
    finding = one(old, "certificate-unusable")
    assert "mismatch" in finding.what and str(tmp_path) not in finding.what


def test_copies_of_the_key_are_looked_at_too_and_certificates_are_not_keys(old: OldTree) -> None:
    old.put("/etc/dtc-xen/dtc-xen.cert.key", old.at(KEY).read_text(), 0o644)
    old.at(CERTIFICATE).chmod(0o644)
    assert one(old, "key-open").where == "/etc/dtc-xen/dtc-xen.cert.key"


def test_a_key_behind_a_link_is_judged_by_what_it_is(old: OldTree) -> None:
    old.put("/srv/key", old.at(KEY).read_text(), 0o644)
    old.at(KEY).unlink()
    old.link(KEY, "/srv/key")
    assert one(old, "key-open").where == KEY and not found(old, "certificate-unusable")


def test_monitor_and_admin_are_somebody(old: OldTree) -> None:
    old.add(CONF, "monitor_user=nagios\n")
    old.add(HTPASSWD, f"# comment\n\nnagios:{HASHES['apr1']}\nno colon\n:{HASHES['apr1']}\n")
    assert not found(old, "htpasswd-nobody") and "1 apr1, 2 bcrypt" in one(old, "htpasswd").what


def test_passwords_of_one_kind_were_not_dead(old: OldTree) -> None:
    assert not found(old, "htpasswd-revived")


# -- the original itself --------------------------------------------------------------------------


def test_our_own_daemon_may_listen_and_others_elsewhere(old: OldTree) -> None:
    old.process(5, "/usr/bin/python3", "/usr/bin/dtcxen", "serve", listens=8089)
    assert not found(old, "port-taken")
    old.process(5, "stunnel", listens=8090)
    assert not found(old, "port-taken")


def test_the_original_that_listens_is_told_once(old: OldTree) -> None:
    old.process(5, "/usr/bin/python", "/usr/sbin/dtc-soap-server", listens=8089)
    assert found(old, "old-runs") and not found(old, "port-taken")


def test_our_commands_of_the_originals_names_are_not_the_original(old: OldTree) -> None:
    """The package lays them where the original's were."""
    old.put("/usr/sbin/dtc_reinstall_os", "#!/usr/bin/python3\nfrom dtcxen_soap.cli.legacy import main\n", 0o755)
    old.process(5, "/usr/bin/python3", "/usr/sbin/dtc_reinstall_os", "01")
    assert not found(old, "old-programs") and not found(old, "old-runs")
    old.put("/usr/sbin/dtc_reinstall_os", "#!/bin/bash\n", 0o755)
    assert found(old, "old-programs")


def test_whoever_looks_at_the_program_is_not_the_program(old: OldTree) -> None:
    old.process(5, "vi", "-R", "+5", "/usr/sbin/dtc-soap-server")
    assert not found(old, "old-runs")


def test_a_log_that_only_root_reads_is_less_bad(old: OldTree) -> None:
    old.put("/var/log/dtc-xen.log.1", "x", 0o600)
    assert one(old, "old-log").severity is Severity.WARNING


def test_the_link_that_leads_where_it_did(old: OldTree) -> None:
    old.link("/xen", MNT.removeprefix("/"))
    assert one(old, "link").what == f"not needed here; it leads to {MNT.removeprefix('/')}"
    old.at("/xen").unlink()
    old.at("/xen").mkdir()
    assert "it is no link" in one(old, "link").what


# -- VPSes ----------------------------------------------------------------------------------------


def test_a_configuration_under_the_mapper_name_of_its_volume(old: OldTree) -> None:
    old.put("/etc/xen/xen02", HVM.replace("vfb", "#"))
    old.put("/usr/lib/xen/boot/hvmloader", "")
    old.put(f"{HOMES}/xen02/net.iso", "")
    old.volume("xen02")
    assert not [finding.check for finding in old.findings() if finding.severity is not Severity.NOTE]
    assert "1024 MiB; hvm; 00:16:3e:10:10:02; 192.0.2.21" in found(old, "config")[1].what


def test_a_volume_of_another_group_under_a_vpses_name_is_that_vpses(old: OldTree) -> None:
    old.volume("xen01", vg="vg-a-b")
    old.replace("/etc/xen/xen01", f"file:{MNT}/xen01.img", "phy:/dev/mapper/vg--a--b-xen01")
    assert not found(old, "config-foreign-disk") and one(old, "disk-idle").where == f"{MNT}/xen01.img"


def test_without_lvms_word_no_volume_is_called_foreign(old: OldTree) -> None:
    old.volume("xen01")
    old.replace("/etc/xen/xen01", f"file:{MNT}/xen01.img", "phy:/dev/vg0/xen01")
    old.machine.answers["lvs"] = "nonsense"
    assert not found(old, "config-foreign-disk") and found(old, "volumes-unknown")


@pytest.mark.parametrize("name", ["xen01.img.new", "xen01.swap.img.old", "kept", "xen01.img.failed"])
def test_what_this_daemon_left_is_no_ones_foreign_disk(old: OldTree, name: str) -> None:
    old.put(f"{MNT}/{name}", "")
    for volume in ("xen01.kept.1.20300101T000000Z", "xen01.doomed.20300101T000000000000Z", "xen02.new"):
        old.volume(volume)
    assert not [finding for finding in old.findings() if finding.check.startswith("disk-")]


def test_one_card_twice_in_one_configuration_is_its_own_business(old: OldTree) -> None:
    old.replace("/etc/xen/xen01", "vif = [", "vif = [ 'mac=00:16:3e:10:10:01',")
    assert not found(old, "config-mac")


def test_a_check_that_runs_is_waited_for_and_a_number_used_again_is_not(old: OldTree) -> None:
    old.put(f"{STATE}/states/xen01", "fsck\n9\n")
    old.process(9, "/sbin/fsck.ext3", "-p", "/dev/lvm1/xen01")
    assert found(old, "state-running")
    old.process(9, "sshd")
    assert found(old, "state-fsck")
    old.put(f"{STATE}/states/xen01", "dance\n9\n")
    assert found(old, "state-unreadable")


def test_a_directory_of_the_states_is_nothing(old: OldTree) -> None:
    old.at(f"{STATE}/states/xen01").mkdir(parents=True)
    assert not [finding for finding in old.findings() if finding.check.startswith("state")]


def test_the_swap_of_a_vps_is_named_by_its_configuration_through_the_link(old: OldTree) -> None:
    old.link("/xen", MNT)
    old.replace("/etc/xen/xen01", f"file:{MNT}/xen01.swap.img", "file:/xen/xen01.swap.img")
    assert not found(old, "config-foreign-disk") and not found(old, "disk-idle")


def test_only_trees_of_vpses_are_still_mounted(old: OldTree) -> None:
    old.put("/proc/mounts", "".join(f"/dev/x {MNT}{name} ext3 rw 0 0\n" for name in ("", "/01", "/01x", "/kept", "/01/proc")))
    assert one(old, "mounted").where == f"{MNT}/01"


def test_a_configuration_without_an_end_is_not_read(old: OldTree) -> None:
    old.put("/etc/xen/xen02", "#" * (5 << 20))
    assert "it cannot be read (File too large)" in one(old, "config-unreadable").what


def test_fstab_lines_of_others_are_not_ours(old: OldTree) -> None:
    old.add("/etc/fstab", f"/dev/sdb1 {MNT} ext4 defaults 0 2\n#/dev/x {MNT}/01 ext3 defaults 0 0\n/dev/sdc1 /srv ext4 defaults 0 2\n")
    assert not [finding for finding in old.findings() if finding.check.startswith("fstab")]


def test_a_start_link_of_one_vps_and_none_of_another(old: OldTree) -> None:
    old.link("/etc/xen/auto/xen09", "../xen09")
    assert one(old, "autostart").what.endswith(": xen01")


@pytest.mark.parametrize("name", ["xen01.previous", "xen01.kept", "xl.conf", "xend-config.sxp"])
def test_other_files_beside_the_configurations_are_not_looked_at(old: OldTree, name: str) -> None:
    old.put(f"/etc/xen/{name}", "import os")
    assert len([finding for finding in old.findings() if finding.check.startswith("config")]) == 1


# -- owners ---------------------------------------------------------------------------------------


def test_an_owner_without_keys_needs_a_password(old: OldTree) -> None:
    old.at(f"{HOMES}/xen01/.ssh/authorized_keys").unlink()
    old.replace("/etc/passwd", "/usr/lib/dtcxen-soap/console", "/bin/sh")
    assert one(old, "user-old-shell").mend == ("dtcxen call setConsolePassword vps=01 password=-",)


def test_the_right_shell_in_another_group_is_not_ours_yet(old: OldTree) -> None:
    old.replace("/etc/group", "xenusers:x:1001", "others:x:1001")
    assert found(old, "user-old-shell")


@pytest.mark.parametrize(("line", "wide"), [
    ("%xenusers ALL= NOPASSWD: /usr/sbin/xl console xen*", True), ("xen01 ALL=(root) NOPASSWD: /usr/sbin/xl console xen01", False), ("# xl console xen*", False),
    ("%xenusers ALL=NOPASSWD: /usr/sbin/xl console xen[0-9][0-9]", True), ("%xenusers ALL=NOPASSWD: /usr/sbin/xl console xen0?", True), ("a ALL=/bin/foo xen*", False)])
@pytest.mark.parametrize("path", ["/etc/sudoers", "/etc/sudoers.d/dtc"])
def test_rules_for_more_than_one_console(old: OldTree, line: str, wide: bool, path: str) -> None:
    old.put(path, line + "\n", 0o440)
    assert bool(found(old, "sudo")) == wide
    assert all((f"-f {path}" in finding.mend[0]) == (path != "/etc/sudoers") for finding in found(old, "sudo"))


@pytest.mark.parametrize("name", ["dtc.conf", "dtc~"])
def test_files_that_sudo_does_not_read(old: OldTree, name: str) -> None:
    old.put(f"/etc/sudoers.d/{name}", "%xenusers ALL=NOPASSWD: /usr/sbin/xl console xen*\n")
    assert not found(old, "sudo")


def test_an_empty_home_of_a_former_vps_is_nobodys(old: OldTree) -> None:
    old.at(f"{HOMES}/xen07/.ssh").mkdir(parents=True)
    old.at(f"{HOMES}/.isos").mkdir()
    assert not found(old, "home-gone")
    old.put(f"{HOMES}/lost/x.iso", "")
    assert "not the home of a VPS's user" in one(old, "home-gone").what


@pytest.mark.parametrize(("gone", "what"), [
    (("net.iso",), ["0 ISOs and 1 SSH key"]), ((".ssh/authorized_keys",), ["1 ISO and 0 SSH keys"]), (("net.iso", ".ssh/authorized_keys"), [])])
def test_a_home_is_what_is_in_it(old: OldTree, gone: tuple[str, ...], what: list[str]) -> None:
    for name in gone:
        old.at(f"{HOMES}/xen01/{name}").unlink()
    assert [finding.what for finding in found(old, "home")] == what


@pytest.mark.parametrize("mode", [0o700, 0o775])
def test_homes_that_sshd_cannot_reach_or_others_may_change(old: OldTree, mode: int) -> None:
    old.at(HOMES).chmod(mode)
    assert found(old, "homes-open")


# -- words ----------------------------------------------------------------------------------------


def test_words() -> None:
    assert (counted(1, "key"), counted(0, "key")) == ("1 key", "0 keys")
    assert listed(tuple("abc"), 2) == "a, b and 1 more"
    assert (vps_of("xen01"), vps_of("xen1"), vps_of("01"), vps_of("xen100"), vps_of("xen0")) == (VpsId(1), None, None, VpsId(100), None)


def test_homes_may_be_shut_where_nobody_signs_in(old: OldTree) -> None:
    old.at(HOMES).chmod(0o700)
    assert found(old, "homes-open")
    old.add(CONF, "manage_accounts=no\n")
    assert not found(old, "homes-open")
    old.at(HOMES).chmod(0o777)
    assert found(old, "homes-open"), "but nobody else may change them"
