"""Every finding of `dtcxen doctor`: an old node without anything to complain of, spoilt in one way, has exactly what that way brings.

CASES names every check that there is; a test compares it with the source.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dtcxen_soap import upgrade
from dtcxen_soap.upgrade.finding import Finding, Severity
from tests.oldnode import CONF, CONFIG, HASHES, HOMES, HTPASSWD, HVM, KEY, MNT, PROGRAM, STATE, OldTree
from tests.unit.upgrade.test_machine import CASES as OF_THE_MACHINE

PROBLEM, WARNING, NOTE = Severity
ALWAYS = {"settings", "htpasswd", "certificate", "config", "autostart", "disks", "user", "home"}
"""What the good node has: all of it taken over."""


@pytest.fixture
def old(tmp_path: Path) -> OldTree:
    """A node without anything to complain of."""
    return OldTree(tmp_path)


@dataclass(frozen=True)
class Case:
    """What is done to the node, and what the check then says; `brings` are further checks that go with it, `takes` those of the good node that go."""

    spoil: Callable[[OldTree], object]
    severity: Severity
    where: str
    what: str
    mend: str = ""
    brings: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()


def case(spoil: Callable[[OldTree], object], severity: Severity, where: str, what: str, mend: str = "", brings: str = "", takes: str = "") -> Case:
    return Case(spoil, severity, where, what, mend, frozenset(brings.split()), frozenset(takes.split()))


def both(*steps: Callable[[OldTree], object]) -> Callable[[OldTree], object]:
    def spoil(old: OldTree) -> None:
        for step in steps:
            step(old)
    return spoil


def with_user(line: str) -> Callable[[OldTree], object]:
    return lambda old: old.add(HTPASSWD, f"{line}\n")


def two_groups(old: OldTree) -> None:
    """A node on LVM with its volumes in one of two groups, and no word which."""
    old.replace(CONF, "vbd", "lvm")
    old.machine.vgs["archive"] = 1
    old.volume("xen01")


CASES: dict[str, Case] = {
    # settings
    "no-settings": case(lambda old: old.at(CONF).unlink(), PROBLEM, CONF, "does not start", f"install -m 600 /dev/null {CONF}", takes="settings"),
    "settings-shell": case(lambda old: old.add(CONF, "KERNEL_RELEASE=`uname -r`\n"), PROBLEM, f"{CONF}:3", "a shell made something else of `uname -r`", f"editor +3 {CONF}"),
    "settings-wrong": case(lambda old: old.add(CONF, "tls_min_version=9\n"), PROBLEM, f"{CONF}:3", "tls_min_version: '9' is not valid", f"editor +3 {CONF}"),
    "settings-unknown": case(lambda old: old.add(CONF, "BSDKERNELPATH=/boot/netbsd\n"), WARNING, f"{CONF}:3", "unknown setting BSDKERNELPATH", f"editor +3 {CONF}"),
    "settings-old-name": case(lambda old: old.add(CONF, "soap_server_port=8089\n"), NOTE, f"{CONF}:3", "soap_server_port is read as listen_port"),
    "settings-open": case(both(lambda old: old.add(CONF, "cert_passphrase=sesame\n"), lambda old: old.at(CONF).chmod(0o644)), PROBLEM, CONF, "(0644)", f"chmod 600 {CONF}"),
    "settings-older": case(
        lambda old: old.put("/etc/dtc-xen/dtc_create_vps.conf.sh", "#!/bin/sh\nNODE_NUM=1\nLVMNAME=vg0\nXENU_EXTRA_PARM=\"4 quiet\"\nKERNELNAME=old\nGATEWAY=192.0.2.1\n"),
        WARNING, "/etc/dtc-xen/dtc_create_vps.conf.sh", "dtc-xen.conf does not say: provisioning_volgroup, XENU_EXTRA_PARM, KERNELPATH, GATEWAY",
        f"printf '%s\\n' provisioning_volgroup=vg0 'XENU_EXTRA_PARM='\"'\"'4 quiet'\"'\"'' KERNELPATH=/boot/vmlinuz-old GATEWAY=192.0.2.1 >> {CONF}"),
    "settings-now-read": case(lambda old: old.add(CONF, "debian_added_debs=vim\n"), NOTE, CONF, "debian_added_debs was documented and never read", f"editor {CONF}"),
    "settings-sda": case(lambda old: old.add(CONF, "XEN_DOMU_HDD_DEV_TYPE=sda\n"), NOTE, CONF, "xvda and xvdb", f"editor {CONF}"),
    "settings-openvz": case(lambda old: old.add(CONF, "VZ_NO_MOUNT=yes\n"), NOTE, CONF, "OpenVZ", f"editor {CONF}"),
    "settings-release": case(
        lambda old: old.add(CONF, "DEBIAN_RELEASE=lenny\n"), WARNING, CONF, "debian_release=lenny: mirrors no longer have it", f"editor {CONF}"),
    "settings-firewall": case(lambda old: old.add(CONF, "soap_server_allowed_ip=192.0.2.9\n"), WARNING, CONF, "does not enforce it", "192.0.2.9"),
    "settings-volgroup": case(
        two_groups, PROBLEM, CONF, "none of the volume groups archive, vg0", f"printf '%s\\n' provisioning_volgroup=vg0 >> {CONF}", "disk-idle"),
    "settings-file": case(lambda old: old.put("/etc/dtc-xen/sources.list", "deb x"), NOTE, "/etc/dtc-xen/sources.list", "not read", "rm -- /etc/dtc-xen/sources.list"),
    # who gets in
    "htpasswd-missing": case(lambda old: old.at(HTPASSWD).unlink(), PROBLEM, HTPASSWD, "nobody can sign in", f"htpasswd -c -B {HTPASSWD} dtc-xen", takes="htpasswd"),
    "htpasswd-writable": case(lambda old: old.at(HTPASSWD).chmod(0o620), PROBLEM, HTPASSWD, "(0620, ", f"chmod 600 {HTPASSWD}"),
    "htpasswd-open": case(lambda old: old.at(HTPASSWD).chmod(0o644), PROBLEM, HTPASSWD, "read the hashes", f"chmod 600 {HTPASSWD}"),
    "htpasswd-no-admin": case(
        lambda old: old.replace(HTPASSWD, "dtc-xen:", "xen0001:"), PROBLEM, HTPASSWD, "no line of dtc-xen", f"htpasswd -B {HTPASSWD} dtc-xen", "htpasswd-nobody"),
    "htpasswd-twice": case(with_user(f"xen01:{HASHES['bcrypt']}"), WARNING, HTPASSWD, "xen01 has 2 lines: the last one counts", f"editor {HTPASSWD}"),
    "htpasswd-unreadable": case(with_user(f"xen01:{HASHES['md5']}"), PROBLEM, f"{HTPASSWD}:3", "xen01 cannot sign in", f"htpasswd -B {HTPASSWD} xen01", "htpasswd-twice"),
    "htpasswd-des": case(lambda old: old.put(HTPASSWD, f"dtc-xen:{HASHES['des']}\n"), WARNING, f"{HTPASSWD}:1", "first 8 characters", f"htpasswd -B {HTPASSWD} dtc-xen"),
    "htpasswd-sha1": case(lambda old: old.put(HTPASSWD, f"dtc-xen:{HASHES['sha1']}\n"), WARNING, f"{HTPASSWD}:1", "unsalted", f"htpasswd -B {HTPASSWD} dtc-xen"),
    "htpasswd-nobody": case(with_user(f"xen1:{HASHES['bcrypt']}"), WARNING, f"{HTPASSWD}:3", "xen1 is neither", f"htpasswd -D {HTPASSWD} xen1"),
    "htpasswd-gone": case(with_user(f"xen07:{HASHES['bcrypt']}"), WARNING, f"{HTPASSWD}:3", "there is no VPS 07", f"htpasswd -D {HTPASSWD} xen07"),
    "htpasswd-revived": case(
        lambda old: old.put(HTPASSWD, f"dtc-xen:{HASHES['des']}\nxen01:{HASHES['apr1']}\n"), NOTE, HTPASSWD, "could not verify the passwords of xen01", brings="htpasswd-des"),
    "certificate-missing": case(lambda old: old.at(KEY).unlink(), PROBLEM, KEY, "the daemon does not start", f"-keyout {KEY}", takes="certificate"),
    "certificate-unusable": case(lambda old: old.put(KEY, "nonsense"), PROBLEM, KEY, "not a private key in PEM: the daemon does not start", f"-keyout {KEY}", takes="certificate"),
    "certificate-unknown": case(
        lambda old: old.put("/etc/dtc-xen/dtc-xen.cert.cert", "nonsense"), NOTE, "dtc-xen.cert.cert", "not known", brings="certificate-unusable", takes="certificate"),
    "certificate-expired": case(lambda old: old.pair(days=-3), WARNING, "dtc-xen.cert.cert", "it was valid until", "openssl req -x509"),
    "certificate-expires": case(lambda old: old.pair(days=20), WARNING, "dtc-xen.cert.cert", "it is valid until", "openssl req -x509"),
    "certificate-weak": case(lambda old: old.pair(days=400, rsa_bits=1024), WARNING, "dtc-xen.cert.cert", "weak (an RSA key of 1024 bits)", "openssl req -x509"),
    "key-open": case(lambda old: old.at(KEY).chmod(0o640), PROBLEM, KEY, "(0640, ", f"chmod 600 {KEY}"),
    # the original itself
    "old-runs": case(lambda old: old.process(77, "/usr/bin/python", "/usr/sbin/dtc-soap-server", "-D"), PROBLEM, "process 77", "dtc-soap-server -D", "kill 77"),
    "port-taken": case(lambda old: old.process(78, "stunnel", listens=8089), PROBLEM, "port 8089", "process 78, stunnel", "kill 78"),
    "old-starts": case(lambda old: old.link("/etc/rc2.d/S20dtc-xen", "../init.d/dtc-xen"), PROBLEM, "/etc/rc2.d/S20dtc-xen", "at boot", "systemctl disable dtc-xen"),
    "old-programs": case(lambda old: old.put("/usr/sbin/dtc-soap-server", "", 0o755), NOTE, "/usr/sbin/dtc-soap-server", "do not purge", "apt-get remove dtc-xen"),
    "firewall": case(lambda old: old.put("/etc/init.d/dtc-xen-firewall", "", 0o755), NOTE, "/etc/init.d/dtc-xen-firewall", "goes on as it is"),
    "old-log": case(lambda old: old.put("/var/log/dtc-xen.log", "p", 0o644), PROBLEM, "/var/log/dtc-xen.log", "others than root can read it", "shred -u -- /var/log/dtc-xen.log"),
    "old-install-logs": case(lambda old: old.put(f"{MNT}/01.log", "x"), NOTE, MNT, "1 log of", f"rm -- {MNT}/01.log"),
    "link": case(lambda old: old.link("/xen", "/srv/other"), NOTE, "/xen", f"it leads to /srv/other, not to {MNT}"),
    # VPSes
    "config-unreadable": case(lambda old: old.at("/etc/xen/xen03").mkdir(), PROBLEM, "/etc/xen/xen03", "it is no file", "ls -ld -- /etc/xen/xen03"),
    "config-name": case(lambda old: old.put("/etc/xen/xen1", "name='a'\n"), WARNING, "/etc/xen/xen1", "not the name of a VPS", "mv -- /etc/xen/xen1 /etc/xen/xen1.cfg"),
    "config-python": case(lambda old: old.put("/etc/xen/xen01", PROGRAM), PROBLEM, "/etc/xen/xen01", "xl refuses lines 11, 12, 13", "editor +11 /etc/xen/xen01", takes="config"),
    "config-other-name": case(
        lambda old: old.replace("/etc/xen/xen01", '"xen01"', '"web"'), PROBLEM, "/etc/xen/xen01", "its name is 'web'", "editor /etc/xen/xen01", takes="config"),
    "config-beyond": case(
        both(lambda old: old.add(CONF, "max_vps_id=1\n"), lambda old: old.put("/etc/xen/xen02", CONFIG.replace("xen01", "xen02").replace("10:01", "10:02")),
             lambda old: old.put(f"{MNT}/xen02.img", ""), lambda old: old.put(f"{MNT}/xen02.swap.img", "")),
        PROBLEM, "/etc/xen/xen02", "max_vps_id is 1", f"editor {CONF}"),
    "config-lacking": case(lambda old: old.at("/boot/vmlinuz-old").unlink(), PROBLEM, "/etc/xen/xen01", "is not there: /boot/vmlinuz-old", "editor /etc/xen/xen01", takes="config"),
    "config-open": case(
        both(lambda old: old.add("/etc/xen/xen01", "vncpasswd = 'sesame'\n"), lambda old: old.at("/etc/xen/xen01").chmod(0o644)),
        PROBLEM, "/etc/xen/xen01", "(0644)", "chmod 600 -- /etc/xen/xen01", takes="config"),
    "config-screen-default": case(
        lambda old: old.add("/etc/xen/xen01", "vfb = [ 'type=vnc,vncpasswd=XXXX' ]\n"), PROBLEM, "/etc/xen/xen01", "XXXX", "editor /etc/xen/xen01", takes="config"),
    "config-screen": case(
        both(lambda old: old.volume("xen02"), lambda old: old.put("/etc/xen/xen02", HVM), lambda old: old.put("/usr/lib/xen/boot/hvmloader", ""),
             lambda old: old.put(f"{HOMES}/xen02/net.iso", "")),
        PROBLEM, "/etc/xen/xen02", "stands in vfb", "editor /etc/xen/xen02"),
    "config-foreign-disk": case(
        both(lambda old: old.put("/srv/web.img", ""), lambda old: old.replace("/etc/xen/xen01", f"{MNT}/xen01.img", "/srv/web.img")),
        WARNING, "/etc/xen/xen01", "it is started with /srv/web.img", "editor /etc/xen/xen01", "disk-idle"),
    "config-ignored": case(lambda old: old.add("/etc/xen/xen01", "cdrom='/x.iso'\n"), NOTE, "/etc/xen/xen01", "xl ignores cdrom", "editor /etc/xen/xen01"),
    "config-sda": case(lambda old: old.replace("/etc/xen/xen01", ",xvda,", ",sda1,"), NOTE, "/etc/xen/xen01", "xvda and xvdb", "editor /etc/xen/xen01"),
    "config-mac": case(
        both(lambda old: old.put("/etc/xen/xen02", CONFIG.replace("xen01", "xen02")), lambda old: old.put(f"{MNT}/xen02.img", ""),
             lambda old: old.put(f"{MNT}/xen02.swap.img", "")),
        WARNING, "/etc/xen/xen01, /etc/xen/xen02", "00:16:3e:10:10:01", "editor /etc/xen/xen02"),
    "autostart-lacking": case(
        lambda old: old.link("/etc/xen/auto/xen09", "../xen09"), WARNING, "/etc/xen/auto/xen09", "it leads to ../xen09, which is not there", "rm -- /etc/xen/auto/xen09"),
    "state-running": case(
        both(lambda old: old.put(f"{STATE}/states/xen01", "mkos\n99"), lambda old: old.process(99, "/bin/sh", "/x/wrapper", "-c", "dtc_reinstall_os -v")),
        PROBLEM, f"{STATE}/states/xen01", "process 99", "tail --pid=99 -f /dev/null"),
    "state-mkos": case(lambda old: old.put(f"{STATE}/states/xen01", "mkos\n99"), WARNING, f"{STATE}/states/xen01", "no longer runs", f"rm -- {STATE}/states/xen01"),
    "state-fsck": case(lambda old: old.put(f"{STATE}/states/xen01", "fsck\n99"), NOTE, f"{STATE}/states/xen01", "no longer runs", f"rm -- {STATE}/states/xen01"),
    "state-unreadable": case(lambda old: old.put(f"{STATE}/states/xen01", "mkos\n"), WARNING, f"{STATE}/states/xen01", "nobody knows", f"rm -- {STATE}/states/xen01"),
    "fstab-auto": case(
        lambda old: old.add("/etc/fstab", f"{MNT}/xen01.img {MNT}/01 ext3 defaults,loop 0 0\n"), PROBLEM, "/etc/fstab:2", "without noauto",
        "sed --in-place=.before-dtcxen -e 2d /etc/fstab && systemctl daemon-reload"),
    "fstab-stale": case(
        lambda old: old.add("/etc/fstab", f"/dev/mapper/vg0-xen09  {MNT}/09 ext3    defaults,noauto 0 0\n"),
        PROBLEM, "/etc/fstab:2", f"/dev/mapper/vg0-xen09 at {MNT}/09", "-e 2d"),
    "fstab": case(
        lambda old: old.add("/etc/fstab", f"#\n{MNT}/xen01.img {MNT}/01 ext3 defaults,noauto,loop 0 0\n{MNT}/xen01.img {MNT}/01 ext3 loop,noauto 0 0\n"),
        NOTE, "/etc/fstab:3,4", "mounts by itself", "-e 3d -e 4d"),
    "mounted": case(
        lambda old: old.put("/proc/mounts", f"/dev/loop0 {MNT}/01 ext3 rw 0 0\n/dev/loop1 {MNT}/01x ext3 rw 0 0\n"), PROBLEM, f"{MNT}/01", "still mounted", f"umount -- {MNT}/01"),
    "samples": case(
        both(lambda old: old.put(f"{STATE}/perfdata/last-sample.pickle", b"12345"), lambda old: old.put(f"{STATE}/perfdata/sample-1262304000.pickle", b"123")),
        NOTE, f"{STATE}/perfdata", "2 files of performance data, 8 bytes, the oldest of 2010-01-01 00:00Z", f"rm -r -- {STATE}/perfdata"),
    "openvz": case(lambda old: old.put("/etc/vz/conf/101.conf", ""), PROBLEM, "/etc/vz/conf/101.conf", "does not know", "vzlist"),
    "disk-unnamed": case(lambda old: old.volume("xen05", mib=2048), WARNING, "/dev/vg0/xen05", "2048 MiB; VPS 05 has no configuration", "dtcxen plan killVPSDisk vps=05"),
    "disk-idle": case(lambda old: old.volume("xen01swap"), NOTE, "/dev/vg0/xen01swap", "does not name it"),
    "disk-name": case(lambda old: old.put(f"{MNT}/xen01-copy.img", ""), NOTE, f"{MNT}/xen01-copy.img", "nothing here touches it"),
    "volumes-unknown": case(
        lambda old: old.machine.answers.update({"vgs": "{}"}), WARNING, "lvs", "volumes are not known", "lvs"),
    # owners
    "sudo": case(
        lambda old: old.add("/etc/sudoers", "%xenusers       ALL= NOPASSWD: /usr/sbin/xm console xen*\n"), PROBLEM, "/etc/sudoers:2", "xm console xen*", "visudo"),
    "homes-open": case(lambda old: old.at(HOMES).chmod(0o757), PROBLEM, HOMES, "(0757, ", f"chmod 755 {HOMES}"),
    "console-shell": case(lambda old: old.at("/usr/lib/dtcxen-soap/console").unlink(), WARNING, "/usr/lib/dtcxen-soap/console", "reach no console", "apt-get install dtcxen-soap"),
    "user-stranger": case(lambda old: old.add("/etc/passwd", "ann:x:1002:1002::/home/ann:/bin/dtc-xen_userconsole\n"), NOTE, "/etc/passwd", "the login shell of ann", "chsh ann"),
    "user-gone": case(lambda old: old.add("/etc/passwd", "xen07:x:1007:1001::/x:/bin/dtc-xen_userconsole\n"), WARNING, "/etc/passwd", "1 console user of", "userdel -- xen07"),
    "users-unmanaged": case(lambda old: old.add(CONF, "manage_accounts=no\n"), NOTE, "/etc/passwd", "manage_accounts=no: 1 console user", takes="user"),
    "user-old-shell": case(
        lambda old: old.replace("/etc/passwd", "/usr/lib/dtcxen-soap/console", "/bin/dtc-xen_userconsole"), WARNING, "/etc/passwd (xen01)", "/bin/dtc-xen_userconsole",
        f"dtcxen call setSshKey vps=01 keys=@{HOMES}/xen01/.ssh/authorized_keys", takes="user"),
    "home-gone": case(lambda old: old.put(f"{HOMES}/xen07/iso/A.ISO", ""), WARNING, f"{HOMES}/xen07", "1 ISO and 0 SSH keys", f"rm -r -- {HOMES}/xen07"),
    "home-strange": case(lambda old: old.link(f"{HOMES}/xen01/shadow.iso", "/etc/shadow"), WARNING, f"{HOMES}/xen01", "xen01/shadow.iso", f"ls -la -- {HOMES}/xen01"),
    "home-keys2": case(
        lambda old: old.put(f"{HOMES}/xen01/.ssh/authorized_keys2", "ssh-ed25519 AAAA owner\nssh-rsa BBBB old\n"), WARNING, f"{HOMES}/xen01/.ssh/authorized_keys2", "1 key that",
        f"editor {HOMES}/xen01/.ssh/authorized_keys2"),
}


def checks_in_source() -> set[str]:
    """First words of every call that makes a finding."""
    found = set()
    for path in Path(upgrade.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("problem", "warning", "left", "taken", "tell") and path.name != "finding.py":
                word = node.args[0]
                found |= {f"htpasswd-{kind}" for kind in ("des", "sha1")} if isinstance(word, ast.JoinedStr) else {ast.literal_eval(word)}
    return found


def test_every_check_has_a_case() -> None:
    assert checks_in_source() == ALWAYS | set(CASES) | set(OF_THE_MACHINE) | {"toolstack-none"}


def test_a_node_without_anything_to_complain_of(old: OldTree) -> None:
    findings = old.findings()
    assert {finding.check for finding in findings} == ALWAYS
    assert all(finding.taken_over and finding.severity is NOTE and not finding.mend for finding in findings)


@pytest.mark.parametrize("check", CASES)
def test_what_is_spoilt_is_found_where_it_is_and_nothing_else_is(old: OldTree, check: str) -> None:
    case = CASES[check]
    case.spoil(old)
    findings = old.findings()
    found: list[Finding] = [finding for finding in findings if finding.check == check]
    assert len(found) == 1, [finding.check for finding in findings]
    assert found[0].severity is case.severity
    assert case.where in found[0].where and case.what in found[0].what, found[0]
    assert any(case.mend in line for line in found[0].mend) if case.mend else not found[0].mend, found[0].mend
    assert {finding.check for finding in findings} == (ALWAYS - case.takes) | {check} | case.brings


@pytest.mark.parametrize("check", CASES)
def test_what_is_bad_comes_with_a_command_that_mends_it(check: str) -> None:
    case = CASES[check]
    assert case.mend or case.severity is NOTE


def test_findings_come_worst_first(old: OldTree) -> None:
    for check in ("fstab", "htpasswd-des", "mounted", "sudo"):
        CASES[check].spoil(old)
    severities = [finding.severity for finding in old.findings()]
    assert severities == sorted(severities, key=list(Severity).index) and severities[0] is PROBLEM and severities[-1] is NOTE


@pytest.mark.root
@pytest.mark.parametrize(("path", "check"), [(HTPASSWD, "htpasswd-writable"), (KEY, "key-open"), (HOMES, "homes-open")])
def test_what_belongs_to_another_user_is_as_bad_as_what_he_may_write(old: OldTree, path: str, check: str) -> None:
    os.chown(old.at(path), 1001, 1001)
    assert check in {finding.check for finding in old.findings()}
