"""Finishing a tree: what each kind of system gets, decided from its facts alone."""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install import console, finish, identity
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import Run, TreeCopy, TreePassword, TreeRemove, TreeSymlink, TreeWrite
from dtcxen_soap.vps import Address, BootMode, Disk, DiskRole, GuestNetwork, ImageType, MacAddress, Mib, Nic, Secret, Vps, VpsId

NIC = Nic(MacAddress("00:16:3e:10:10:01"), (Address(ipaddress.ip_interface("2001:db8::5/64")), Address(ipaddress.ip_interface("192.0.2.10/24"))))
DISKS = (Disk(DiskRole.ROOT, ImageType.VBD, "/m/xen01.img"), Disk(DiskRole.SWAP, ImageType.VBD, "/m/xen01.swap.img"))
GUEST = Guest(
    vps=Vps(VpsId(1), Mib(256), DISKS, NIC, BootMode.DIRECT), tree="/m/01", os_type="debian", hostname="mail.example.org",
    network=GuestNetwork(NIC, (ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("2001:db8::1")), (ipaddress.ip_address("192.0.2.53"),)),
    password=Secret("r00t"), fstype="ext4")
DEBIAN = TreeFact(
    {"etc/fstab": "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n", "etc/hosts": "127.0.0.1 localhost\n192.0.2.99 nas\n127.0.1.1 old old.example\n", "etc/securetty": "tty1\n"},
    frozenset({
        "etc/network", "sbin/ifup", "lib/systemd/systemd", "lib/systemd/system/serial-getty@.service", "etc/machine-id", "var/lib/dbus/machine-id",
        "etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_rsa_key.pub", "etc/ssh/ssh_host_ed25519_key", "usr/bin/ssh-keygen", "etc/ssh/sshd_config",
        "var/lib/systemd/random-seed", "etc/mailname", "etc/udev/rules.d/70-persistent-net.rules"}))


def written(steps):
    return {step.path: step.content for step in steps if isinstance(step, TreeWrite)}


def test_a_debian():
    steps = finish.look(GUEST).decide(DEBIAN)
    files = written(steps)
    assert files["etc/fstab"].startswith("/dev/xvda / ext4 errors=remount-ro 0 1\n/dev/xvdb none swap sw 0 0\n")
    assert files["etc/hostname"] == "mail\n" and files["etc/mailname"] == "mail.example.org\n"
    assert files["etc/machine-id"] == ""
    assert "192.0.2.10 mail.example.org mail\n" in files["etc/hosts"] and "192.0.2.99 nas" in files["etc/hosts"] and "old.example" not in files["etc/hosts"]
    assert files["etc/securetty"] == "tty1\nhvc0\n"
    assert "192.0.2.10" in files["etc/network/interfaces"] and "nameserver 192.0.2.53" in files["etc/resolv.conf"]
    removed = {step.path for step in steps if isinstance(step, TreeRemove)}
    assert {"etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_rsa_key.pub", "var/lib/systemd/random-seed", "etc/udev/rules.d/70-persistent-net.rules"} <= removed
    kinds = [step.argv[3] for step in steps if isinstance(step, Run)]
    assert kinds == ["ed25519", "rsa"] and all(step.chroot == "/m/01" and step.contained for step in steps if isinstance(step, Run))
    links = {step.path: step.target for step in steps if isinstance(step, TreeSymlink)}
    assert links["etc/systemd/system/getty.target.wants/serial-getty@hvc0.service"] == "/lib/systemd/system/serial-getty@.service"
    assert links["var/lib/dbus/machine-id"] == "/etc/machine-id"
    assert [step.password for step in steps if isinstance(step, TreePassword)] == [Secret("r00t")]


def test_every_step_stays_in_its_tree():
    assert {step.chroot if isinstance(step, Run) else step.tree for step in finish.look(GUEST).decide(DEBIAN)} == {"/m/01"}


def test_what_a_file_was_is_kept_beside_it_once():
    tree = TreeFact({"etc/fstab": "/dev/sda1 / ext3 defaults 0 1\n", "boot/grub/menu.lst": "kernel /vmlinuz root=/dev/sda1\n"}, frozenset())
    files = written(finish.steps(GUEST, tree))
    assert files["etc/fstab.dtcxen-orig"] == "/dev/sda1 / ext3 defaults 0 1\n"
    assert files["boot/grub/menu.lst"] == "kernel /vmlinuz root=/dev/xvda\n" and "boot/grub/menu.lst.dtcxen-orig" in files
    again = TreeFact({path: str(text) for path, text in files.items()}, frozenset())
    assert not [path for path in written(finish.steps(GUEST, again)) if path.endswith(".dtcxen-orig")]


def test_without_a_network_system_it_is_a_failure_unless_others_write_it():
    bare = TreeFact({}, frozenset())
    with pytest.raises(Failed, match="setup_network"):
        finish.look(GUEST).decide(bare)
    assert "etc/resolv.conf" not in written(finish.look(GUEST, network=False).decide(bare))


def test_the_admins_texts_and_keys():
    guest = dataclasses.replace(GUEST, motd="hello\n", bashrc="alias l=ls\n", authorized_keys="ssh-ed25519 AAAA admin\n")
    steps = finish.steps(guest, DEBIAN)
    files = written(steps)
    assert (files["etc/motd"], files["root/.bashrc"]) == ("hello\n", "alias l=ls\n")
    assert files["root/.ssh/authorized_keys"] == files["root/.ssh/authorized_keys2"]
    assert {step.mode for step in steps if isinstance(step, TreeWrite) and step.path.startswith("root/.ssh/")} == {0o600}
    assert "etc/motd" not in written(finish.steps(GUEST, DEBIAN))


def test_modules_of_the_kernel_that_boots_it():
    guest = dataclasses.replace(GUEST, kernel_release="6.1.0-1-amd64", modules="/lib/modules/6.1.0-1-amd64")
    (copy,) = [step for step in finish.steps(guest, DEBIAN) if isinstance(step, TreeCopy)]
    assert (copy.source, copy.into) == ("/lib/modules/6.1.0-1-amd64", "lib/modules")


@pytest.mark.parametrize(("old", "line"), [
    ("id:2:initdefault:\n1:2345:respawn:/sbin/getty 38400 tty1\n2:23:respawn:/sbin/getty 38400 tty2\n", "x0:2345:respawn:/sbin/getty -L hvc0 38400 xterm"),
    ("::sysinit:/etc/rc\ntty1::respawn:/sbin/getty 38400 tty1\n", "hvc0::respawn:/sbin/getty -L 38400 hvc0 xterm"),
    ("::sysinit:/etc/rc\n", "hvc0::respawn:/sbin/getty -L 38400 hvc0 xterm")])
def test_inittab(old, line):
    new = console.inittab(old)
    assert new.splitlines()[-1] == line
    assert not [row for row in new.splitlines() if "tty1" in row and not row.startswith("#")]
    assert console.inittab(new) == new


def test_upstart_and_red_hat():
    tree = TreeFact({"etc/init/tty1.conf": "exec getty tty1\n"}, frozenset({"etc/init/tty1.conf", "etc/sysconfig"}))
    files = written(finish.steps(GUEST, tree))
    assert "exec /sbin/getty -L hvc0" in files["etc/init/hvc0.conf"] and files["etc/hostname"] == "mail.example.org\n"


def test_an_image_without_host_keys_gets_the_usual_kinds():
    tree = TreeFact({}, frozenset({"usr/bin/ssh-keygen", "etc/ssh/sshd_config"}))
    assert [step.argv[3] for step in identity.steps(GUEST, tree) if isinstance(step, Run)] == ["rsa", "ecdsa", "ed25519"]
    assert not [step for step in identity.steps(GUEST, TreeFact({}, frozenset())) if isinstance(step, Run)]
