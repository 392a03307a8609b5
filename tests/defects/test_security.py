"""The original's security defects (1 to 11): what it did, and what happens here instead."""

from __future__ import annotations

import collections
import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest
from passlib import hash as hashes

from dtcxen_soap import accountfiles, hostsetup
from dtcxen_soap.accountfacts import AccountsFact
from dtcxen_soap.errors import Failed, Refused
from dtcxen_soap.facts import Member
from dtcxen_soap.install import debootstrap
from dtcxen_soap.operations import Form, forms
from dtcxen_soap.osfacts import BundleFact
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import (
    CheckTarball,
    HtpasswdLine,
    MakeAccount,
    Mounted,
    NextTenancy,
    Plan,
    RemoveAccount,
    RemoveBelow,
    RemoveFile,
    RemoveVolume,
    RenameVolume,
    Run,
    TreePassword,
    WriteFile,
    WriteKeys,
)
from dtcxen_soap.vps import Secret
from dtcxen_soap.xen import configread
from tests.defects.world import CHANGING, FACTS, HOSTILE_ISO, NODE, SETTINGS, commands, domu_config, everything, plan, planned, seen, words
from tests.wirekit import ADMIN, Wire, parse, request, xml

EVERY = forms(rpc=True)
INJECTED = ("x;touch /pwned", "$(touch /pwned)", "`touch /pwned`", "x|touch /pwned", "x' touch /pwned '", 'x" touch /pwned "', "--help", "x&touch", "x>/pwned")


@pytest.mark.parametrize("form", CHANGING, ids=lambda form: form.name)
def test_the_world_of_these_tests_can_do_everything(form: Form) -> None:
    """Or what follows would prove nothing."""
    made = planned(form)
    assert isinstance(made, Plan), made


@pytest.mark.parametrize("form", EVERY, ids=lambda form: form.name)
def test_defect_01_no_word_of_a_caller_reaches_a_shell_or_a_command(form: Form) -> None:
    """Passwords, sizes, addresses, ISO names and image types went unquoted into a root shell."""
    for item in form.parameters:
        for text in INJECTED if item.type.facets(SETTINGS).base != "boolean" else ():
            made = planned(form, **{item.name(form.old): text})
            runs = commands(made) if isinstance(made, Plan) else ()
            assert not [run.argv for run in runs if any(text in word for word in seen(run))], f"{item.field} is taken, and a command is given it"
            assert not [run.argv for run in runs if run.argv[:2] in (("sh", "-c"), ("bash", "-c"))]


@pytest.mark.parametrize("howtoboot", ["hdd", "a.iso", HOSTILE_ISO])
@pytest.mark.parametrize("vncpassword", ["no_vnc", "a\"b'c\\n", "','w'];x"])
def test_defect_02_nothing_adds_a_line_or_a_disk_to_a_configuration(howtoboot: str, vncpassword: str) -> None:
    """The names of uploaded ISOs, addresses and passwords were pasted into a file that xm ran as Python; with xl a quote still adds a disk."""
    made = plan("writeXenHVMconf", howtoboot=howtoboot, vncpassword=vncpassword)
    text = domu_config(made)
    found = configread.parse(text)
    cd = () if howtoboot == "hdd" else ("/homes/.isos/xen01.iso",)
    assert found.paths == ("/dev/vg-a/xen01", "/dev/vg-a/xen01swap", *cd)
    plain = domu_config(plan("writeXenHVMconf", howtoboot="hdd" if howtoboot == "hdd" else "a.iso", vncpassword="no_vnc" if vncpassword == "no_vnc" else "plain"))
    assert "sda" not in text and configread.texts(text).keys() == configread.texts(plain).keys()
    assert configread.texts(text).get("vncpasswd", "no_vnc") == vncpassword


@pytest.mark.parametrize("parameter", ["allipaddrs", "ramsize"])
@pytest.mark.parametrize("operation", ["writeXenHVMconf", "changeBSDkernel"])
def test_defect_02_and_what_is_no_address_or_number_is_refused(operation: str, parameter: str) -> None:
    """The other words that went into the configuration as they came."""
    for text in ("192.0.2.1'] disk=['phy:/dev/sda,xvda,w", '128"\nroot="x', "128; import os"):
        with pytest.raises(Refused, match=f"^{operation}: {parameter}: "):
            plan(operation, **{parameter: text})


def test_defect_03_keys_and_passwords_are_roots_alone() -> None:
    """Its package's last act was chmod 644 on every file below /etc/dtc-xen, the private key and htpasswd too; homes were 0757.

    Modes are set when a file is made, never afterwards; a package's script has nothing to mend.
    """
    material = hostsetup.Material(Secret("pass"), "hash", Secret("key"), "certificate")
    steps = hostsetup.plan(hostsetup.Layout("/n"), (), material, 8089, xen=True)
    files = {step.path: step.mode for step in steps if isinstance(step, WriteFile)}
    assert set(files) == set(hostsetup.Layout("/n").files) and set(files.values()) == {0o600}
    assert all(step.mode == 0o700 for step in steps if not isinstance(step, WriteFile))


@pytest.mark.parametrize("hasher", [hashes.des_crypt, hashes.apr_md5_crypt, hashes.ldap_sha1, hashes.sha512_crypt.using(rounds=1000), hashes.bcrypt.using(rounds=4)])
def test_defect_04_every_kind_of_hash_signs_in_also_with_a_colon(hasher: Any, tmp_path: Path) -> None:
    """It knew DES alone, so that a password set with a newer htpasswd, or with a colon in it, never matched."""
    wire = Wire(tmp_path, f"{ADMIN}:{hasher.hash('a:b:c')}\n")
    assert wire.post(xml("testVPSServer"), password="a:b:c").status == 200


def test_defect_04_all_of_a_password_counts_and_a_wrong_one_waits(tmp_path: Path) -> None:
    """Eight characters were compared, and guessing cost nothing. (A DES hash that an old file holds cannot tell more: the doctor names it.)"""
    wire = Wire(tmp_path, f"{ADMIN}:{hashes.bcrypt.using(rounds=4).hash('12345678-and-more')}\n")
    protocol, transport = wire.connect()
    protocol.dataReceived(request(xml("testVPSServer"), password="12345678-and-less"))
    assert transport.value() == b"", "no answer yet"
    wire.clock.advance(60)
    assert parse(transport.value()).fault == "SOAP-ENV:Client.Authentication: Authorization failed."


SECRET = 'S3c&r"t`$(x)'[:8]
SCRIPT = collections.defaultdict(str, UserData="#!/bin/sh\n")
"""How a secret of a type must begin."""


@pytest.mark.parametrize("form", [form for form in CHANGING if any(item.secret for item in form.parameters)], ids=lambda form: form.name)
def test_defect_05_a_password_is_in_no_command_plan_or_journal(form: Form) -> None:
    """Passwords stood in the process list, in the environment, in an init script of mode 755 inside the guest and in the debug log."""
    made = planned(form, **{item.name(form.old): SCRIPT[item.type.name] + SECRET for item in form.parameters if item.secret})
    assert isinstance(made, Plan), made
    assert SECRET not in repr(made) and SECRET not in "\n".join(render(made))
    assert not [run.argv for run in commands(made) if any(SECRET in word for word in seen(run))]


@pytest.mark.parametrize("form", [form for form in EVERY if any(item.secret for item in form.parameters)], ids=lambda form: form.name)
def test_defect_05_nor_in_a_log_or_a_fault(form: Form, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At debug=1 whole messages were printed, and the log of exceptions held their arguments."""
    caplog.set_level(logging.DEBUG)
    wire = Wire(tmp_path)
    for text in ("s3cr3t-word", "s3cr3t-word\t" + "x" * 300, "s3cr3t-word\x7f"):
        secrets = {item.name(form.old): SCRIPT[item.type.name] + text for item in form.parameters if item.secret}
        reply = wire.call(form.name, *(words(form) | secrets).items())
        assert "s3cr3t-word" not in reply.fault + reply.body.decode()
    wire.post(b"<e:Envelope><password>s3cr3t-word</password>")
    assert "s3cr3t-word" not in caplog.text


def test_defect_06_the_guest_never_hears_roots_password() -> None:
    """`chroot sh -c "echo root:$PASSWORD | chpasswd"`: the password was code, run as root."""
    made = plan("reinstallVPSos", password=SECRET)
    (password,) = [step for step in everything(made) if isinstance(step, TreePassword)]
    assert password.password.reveal() == SECRET
    ran = commands(made)
    assert ran and not [run for run in ran if run.chroot or run.stdin or SECRET in " ".join(run.argv)]


def test_defect_07_a_leaked_shell_opens_no_other_console() -> None:
    """`%xenusers ALL=NOPASSWD: /usr/sbin/xm console xen*`: whoever got out of the console program, as CVE-2009-4011 did, opened everybody's."""
    made = plan("changeVPSxmPassword", dataclasses.replace(FACTS, accounts=AccountsFact()))
    rules = [step for step in everything(made) if isinstance(step, WriteFile) and step.path.startswith("/etc/sudoers.d/")]
    (rule,) = [line for step in rules for line in str(step.content).splitlines() if not line.startswith("#")]
    assert rule == "xen01 ALL=(root) NOPASSWD: /usr/sbin/xl console xen01" and {step.mode for step in rules} == {0o440}
    runs = [run.argv for run in commands(made)]
    assert runs == [("visudo", "--check", "--file", rules[0].path)] and "." in rules[0].path, "sudo reads it only once visudo has"
    consoles = [step for step in everything(made) if isinstance(step, MakeAccount) and step.user == "xen01"]
    assert [(step.group, step.login) for step in consoles] == [("xenusers", SETTINGS.console_shell)]


def test_defect_08_nothing_of_a_tenant_is_left_for_the_next() -> None:
    """killVPS removed the volumes: user, keys, SOAP password, ISOs, configuration and fstab line stayed, and the next tenant shared its console.

    There is no fstab line here that could stay: nothing is mounted by one.
    """
    made = plan("killVPS")
    kinds = everything(made)
    assert {step.user for step in kinds if isinstance(step, RemoveAccount)} == {"xen01", "xen01-iso"}
    assert [(step.user, step.password) for step in kinds if isinstance(step, HtpasswdLine)] == [("xen01", None)]
    assert [(step.top, step.path) for step in kinds if isinstance(step, RemoveBelow)] == [("/s", "seeds/xen01.work"), ("/homes", "xen01")]
    gone = {step.path for step in kinds if isinstance(step, RemoveFile)}
    assert gone >= {"/x/xen01", "/x/auto/xen01", "/x/xen01.previous", "/x/xen01.kept", "/homes/.isos/xen01.iso", "/s/seeds/xen01.iso", "/s/seeds/xen01.told",
                   "/etc/sudoers.d/dtc-xen-xen01"}
    volumes = {getattr(step, "source", "") or getattr(step, "lv", "") for step in kinds if isinstance(step, RenameVolume | RemoveVolume)}
    assert volumes >= {"xen01", "xen01swap", "xen01.kept.3.20260101T000000Z"}
    assert any(isinstance(step, NextTenancy) for step in kinds), "which hides its jobs and logs"


def test_defect_09_a_guests_file_system_is_mounted_without_devices_and_its_code_contained() -> None:
    """Guests' file systems were mounted with every option that they had, and their programs ran in a bare chroot.

    That the node's kernel mounts what a guest has written cannot be had otherwise, so it does not: only a file system made by the same plan is mounted.
    """
    for made in map(planned, CHANGING):
        assert isinstance(made, Plan), made
        steps = everything(made)
        for number, hold in enumerate(steps):
            if isinstance(hold, Mounted):
                assert "nosuid" in hold.options and "nodev" in hold.options
                assert any(isinstance(step, Run) and step.argv[0].startswith("mkfs.") and step.argv[-1] == hold.source for step in steps[:number])
                assert all(step.contained for step in hold.steps if isinstance(step, Run))
        assert all(run.contained for run in commands(made) if run.chroot)


def test_defect_10_what_is_installed_was_signed_or_verified() -> None:
    """debootstrap ran without asking for a keyring, CentOS's keys came over http, tarballs were unpacked as they were."""
    (install,) = [run for run in commands(plan("reinstallVPSos", ostype="debian")) if run.argv[0] == "mmdebstrap"]
    assert f"--keyring={debootstrap.DEBIAN_KEYRING}" in install.argv and not [word for word in install.argv if "no-check" in word or "trusted=yes" in word]
    bare = dataclasses.replace(FACTS, node=dataclasses.replace(NODE, keyrings=frozenset()))
    with pytest.raises(Failed, match="nothing could be verified"):
        plan("reinstallVPSos", bare, ostype="debian")
    with pytest.raises(Refused, match="ostype: 'centos' cannot be installed here"):
        plan("reinstallVPSos", ostype="centos")


def test_defect_10_a_tarball_is_judged_before_anything_is_touched() -> None:
    """Tarballs were unpacked as they came. (Signing remote bundles is none of these defects: theirs lay on the node.)"""
    lone = dataclasses.replace(FACTS, bundle=BundleFact("lenny", "/os/lenny", frozenset(), ("lenny.tar.gz",)), node=dataclasses.replace(
        NODE, commands=NODE.commands | {"unshare", "sh", "gzip"}))
    first, *others = everything(plan("reinstallVPSos", lone, ostype="lenny"))
    assert isinstance(first, CheckTarball) and first.path == "/os/lenny/lenny.tar.gz"
    assert first.judge([Member("../root/.ssh/authorized_keys", "file")]) and not first.judge([Member("etc", "directory")])
    (unpack,) = [step for step in others if isinstance(step, Run) and step.argv[0] == "tar"]
    assert unpack.contained and unpack.confinement and unpack.confinement.writable == ("/m/01",)


def test_defect_10_a_screen_has_a_password_or_is_roots_alone() -> None:
    """Without a password an HVM guest's screen got the word XXXX, on whatever address Xen chose."""
    open_screen, none = domu_config(plan("writeXenHVMconf", vncpassword="gu3ssMe")), domu_config(plan("writeXenHVMconf", vncpassword="no_vnc"))
    assert 'vnclisten = "127.0.0.1"' in open_screen and 'vncpasswd = "gu3ssMe"' in open_screen
    assert 'vnclisten = "unix:/s/screens/xen01.vnc"' in none and "XXXX" not in none + open_screen


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKeyKeyKeyKeyKeyKeyKeyKeyKeyKeyKeyKeyKey owner"


@pytest.mark.root
@pytest.mark.parametrize("planted", ["directory", "file"])
def test_defect_11_a_key_is_written_through_no_link(planted: str, tmp_path: Path) -> None:
    """authorized_keys was opened by its path, through directories of the VPS's owner: a link there made root write wherever it led."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "authorized_keys").write_text("root's own\n")
    home = tmp_path / "homes/xen01"
    home.mkdir(parents=True)
    if planted == "directory":
        (home / ".ssh").symlink_to(victim)
    else:
        (home / ".ssh").mkdir()
        (home / ".ssh/authorized_keys").symlink_to(victim / "authorized_keys")
    (step,) = [step for step in everything(plan("changeVPSsshKey")) if isinstance(step, WriteKeys)]
    accountfiles.write_keys(str(tmp_path / "homes"), step.name, (KEY,))
    assert (victim / "authorized_keys").read_text() == "root's own\n" and sorted(path.name for path in victim.iterdir()) == ["authorized_keys"]
    assert (home / ".ssh/authorized_keys").read_text() == KEY + "\n" and not (home / ".ssh").is_symlink()
