"""What doctor calls taken over, the daemon's own readers really take; what it calls left, they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.settings import Settings, load
from dtcxen_soap.survey import accounts as survey_accounts
from dtcxen_soap.survey import disks as survey_disks
from dtcxen_soap.survey import domu as survey_domu
from dtcxen_soap.survey import isos as survey_isos
from dtcxen_soap.survey import rescue as survey_rescue
from dtcxen_soap.upgrade.finding import Severity
from dtcxen_soap.vps import VpsId
from dtcxen_soap.wire import htpasswd, tls
from tests.oldnode import CERTIFICATE, CONF, CONFIG, HASHES, HOMES, HTPASSWD, KEY, MNT, PASSWORD, PROGRAM, STATE, OldTree

VPS = VpsId(1)


@pytest.fixture
def old(tmp_path: Path) -> OldTree:
    return OldTree(tmp_path)


def settings_of(old: OldTree) -> Settings:
    """The old node's settings with its paths as they really are here."""
    paths = {"htpasswd_file": HTPASSWD, "tls_certificate": CERTIFICATE, "tls_key": KEY, "state_dir": STATE, "provisioning_mount_point": MNT, "ttyssh_home": HOMES,
             "xen_config_dir": "/etc/xen", "config_dir": "/etc/dtc-xen", "console_shell": "/usr/lib/dtcxen-soap/console"}
    return load(old.at(CONF).read_text() + "toolstack=none\n" + "".join(f"{name}={old.at(path)}\n" for name, path in paths.items())).settings


@pytest.mark.parametrize("kind", HASHES)
def test_a_password_is_taken_over_exactly_when_it_is_verified(old: OldTree, kind: str) -> None:
    old.put(HTPASSWD, f"dtc-xen:{HASHES[kind]}\n")
    refused = [finding for finding in old.findings() if finding.check == "htpasswd-unreadable"]
    entries = htpasswd.read(str(old.at(HTPASSWD)))
    assert entries.verify(b"dtc-xen", PASSWORD.encode()) == (not refused)
    assert entries.verify(b"dtc-xen", PASSWORD[:8].encode() + b" otherwise") == (kind == "des"), "as doctor says of DES, and of nothing else"
    assert not entries.verify(b"dtc-xen", b"wrong")


def test_of_two_lines_the_last_one_counts(old: OldTree) -> None:
    old.put(HTPASSWD, f"dtc-xen:{HASHES['apr1']}\ndtc-xen:{HASHES['md5']}\n")
    assert "the last one counts" in next(finding.what for finding in old.findings() if finding.check == "htpasswd-twice")
    assert not htpasswd.read(str(old.at(HTPASSWD))).verify(b"dtc-xen", PASSWORD.encode())


@pytest.mark.parametrize("words", [{"rsa_bits": 1024, "days": -3}, {"days": -3}, {"days": 400}, {"rsa_bits": 2048, "days": 400, "passphrase": "sesame"}])
def test_a_certificate_is_taken_over_exactly_when_it_loads(old: OldTree, words: dict[str, int | str]) -> None:
    old.pair(**words)
    old.add(CONF, "cert_passphrase=sesame\n" if "passphrase" in words else "")
    assert "certificate" in {finding.check for finding in old.findings()}
    assert tls.context(settings_of(old))


@pytest.mark.parametrize("text", [CONFIG, PROGRAM, CONFIG.replace(" = ", "="), CONFIG.replace("'", '"')], ids=["written", "program", "tight", "double"])
def test_a_configuration_is_read_by_the_daemon_as_doctor_tells_it(old: OldTree, text: str) -> None:
    old.put("/etc/xen/xen01", text)
    for name in ("xen1", "xen001", "xen01.bak"):
        old.put(f"/etc/xen/{name}", text)
    ((vps, config),) = survey_domu.configured(Dom0(), settings_of(old))
    told = next(each for each in old.look().configs if each.file.name == "xen01")
    assert vps == VPS and (config.memory, config.boot, config.macs, config.addresses) == (told.memory, told.boot, told.macs, told.addresses)
    assert config.memory == 512 and [str(address) for address in config.addresses] == ["192.0.2.11", "192.0.2.12"]
    assert tuple((disk.device, disk.path) for disk in config.disks) == told.disks
    assert {finding.where for finding in old.findings() if finding.check == "config-name"} == {"/etc/xen/xen1", "/etc/xen/xen001"}


class Unattached(Dom0):
    """The machine, without the question which loop devices there are."""

    def loop_devices_of(self, path: str) -> tuple[str, ...]:
        return ()


def test_disks_are_those_of_the_daemon(old: OldTree) -> None:
    for name in ("xen1.img", "xen01-copy.img", "xen010.img", "xen02.swap.img", "xen100.img"):
        old.put(f"{MNT}/{name}", "")
    told = {disk.path: disk.vps for disk in old.look().disks}
    for number in (1, 2, 10, 100):
        mine = {fact.path.removeprefix(str(old.directory)) for fact in survey_disks.disks(Unattached(), settings_of(old), VpsId(number))}
        assert mine == {path for path, vps in told.items() if vps == VpsId(number)}
    assert told[f"{MNT}/xen1.img"] is None and told[f"{MNT}/xen01-copy.img"] is None and len(told) == 7


def test_isos_and_keys_of_a_home_are_the_daemons(old: OldTree) -> None:
    old.put(f"{HOMES}/xen01/net.iso", b"\0" * 32769 + b"CD001")
    old.put(f"{HOMES}/xen01/.ssh/authorized_keys2", "ssh-rsa BBBB second\n")
    assert [iso.name for iso in survey_isos.isos(settings_of(old), VPS)] == ["net.iso"]
    assert survey_rescue.owner_keys(Dom0(), settings_of(old), VPS) == ("ssh-ed25519 AAAA owner",), "and none of authorized_keys2, as doctor says"
    assert {finding.check for finding in old.findings()} >= {"home", "home-keys2"}


@pytest.mark.root
@pytest.mark.parametrize("mode", [0o755, 0o757, 0o700, 0o775, 0o711])
def test_homes_are_open_exactly_when_no_console_user_can_be_made(old: OldTree, mode: int) -> None:
    old.at(HOMES).chmod(mode)
    lacking = [text for text in survey_accounts.accounts_of(Dom0(), settings_of(old), VPS).lacking if text.startswith(f"{old.at(HOMES)} must be root's")]
    assert bool(lacking) == ("homes-open" in {finding.check for finding in old.findings()})


def test_settings_under_their_old_names_are_taken_over(old: OldTree) -> None:
    old.put(CONF, "soap_server_host=127.0.0.1\nsoap_server_port=8090\nsoap_server_dtcxen_user=panel\nVPS_MOUNTPOINT=/srv/mnt\nDEBIAN_REPOS=\"http://deb.example.org/debian\"\n")
    told = {finding.what for finding in old.findings() if finding.check == "settings-old-name"}
    read = load(old.at(CONF).read_text()).settings
    assert told == {"soap_server_host is read as listen_address", "soap_server_port is read as listen_port", "soap_server_dtcxen_user is read as admin_user",
                    "VPS_MOUNTPOINT is read as provisioning_mount_point", "DEBIAN_REPOS is read as debian_repo"}
    assert (read.listen_port, read.admin_user, read.provisioning_mount_point, read.debian_repo) == (8090, "panel", "/srv/mnt", "http://deb.example.org/debian")


def test_nothing_that_was_left_is_called_taken_over(old: OldTree) -> None:
    for path, text in ((f"{STATE}/states/xen01", "mkos\n9"), (f"{STATE}/perfdata/last-sample.pickle", "x"), (f"{MNT}/01.log", "x")):
        old.put(path, text)
    old.add("/etc/fstab", f"{MNT}/xen01.img {MNT}/01 ext3 defaults,noauto,loop 0 0\n")
    left = {finding.check for finding in old.findings() if not finding.taken_over}
    assert left == {"state-mkos", "samples", "old-install-logs", "fstab"}
    assert all(finding.severity is not Severity.PROBLEM for finding in old.findings())
