"""What every tree gets, as golden step lists for systems of four kinds; and what must never happen on the way."""

from __future__ import annotations

import dataclasses

import pytest

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install import finish
from dtcxen_soap.plans import Look, Run, Secret, TreePassword, TreeWrite
from tests.unit.install.guests import TREE, guest, told, tree, written

DEBIAN_12 = tree(
    {"etc/fstab": "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n", "etc/hostname": "node\n", "etc/resolv.conf": "nameserver 10.0.0.1\n", "etc/network/interfaces": "source x\n",
     "etc/motd": "free software\n"},
    "etc/network", "etc/network/interfaces.d", "usr/sbin/ifup", "sbin/ifup", "lib/systemd/systemd", "usr/lib/systemd/systemd", "etc/machine-id", "var/lib/dbus",
    "var/lib/dbus/machine-id", "usr/bin/ssh-keygen", "usr/sbin/sshd", "etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_rsa_key.pub", "root/.ssh",
    "lib/systemd/system/serial-getty@.service", "usr/lib/systemd/system/serial-getty@.service", "sbin/agetty", "var/lib/systemd/random-seed")

LENNY = tree(
    {"etc/fstab": "# fstab\nproc /proc proc defaults 0 0\n/dev/sda1 / ext3 errors=remount-ro 0 1\n/dev/sda2 none swap sw 0 0\n/dev/sda3 /home ext3 defaults 0 2\n"
                  "/dev/hdc /media/cdrom0 udf,iso9660 user,noauto 0 0\n",
     "etc/hostname": "stacklet\n", "etc/hosts": "127.0.0.1 localhost\n127.0.1.1 stacklet.local stacklet\n10.9.8.7 files\n", "etc/network/interfaces": "auto lo\n",
     "etc/inittab": "id:2:initdefault:\nsi::sysinit:/etc/init.d/rcS\n1:2345:respawn:/sbin/getty 38400 tty1\nT0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n",
     "etc/securetty": "console\ntty1\n",
     "boot/grub/menu.lst": "# kopt=root=/dev/sda1 ro\n# groot=(hd0,0)\ntitle Debian\nroot\t\t(hd0,0)\nkernel\t\t/boot/vmlinuz root=/dev/sda1 ro\n"},
    "etc/network", "sbin/ifup", "sbin/getty", "etc/udev/rules.d/70-persistent-net.rules", "etc/motd", "etc/motd.tail", "usr/bin/ssh-keygen", "usr/sbin/sshd",
    "var/lib/dbus", "var/lib/dbus/machine-id")

CENTOS_6 = tree(
    {"etc/inittab": "id:3:initdefault:\n", "etc/sysconfig/network": "NETWORKING=yes\nHOSTNAME=old\nNOZEROCONF=yes\n", "etc/securetty": "console\nhvc0\n",
     "boot/grub/grub.conf": "title CentOS\n\troot (hd0,0)\n\tkernel /boot/vmlinuz ro root=UUID=1-2 rootfstype=ext3 console=ttyS0,115200\n"},
    "etc/sysconfig", "etc/sysconfig/network-scripts", "etc/sysconfig/network-scripts/ifup", "etc/sysconfig/network-scripts/ifcfg-eth1",
    "etc/init/rc.conf", "sbin/agetty", "sbin/mingetty")

UBUNTU_22 = tree(
    {"etc/fstab": "LABEL=cloudimg-rootfs\t/\t ext4\tdiscard,errors=remount-ro\t0 1\nLABEL=UEFI\t/boot/efi\tvfat\tumask=0077\t0 1\n",
     "boot/grub/grub.cfg": "menuentry 'Ubuntu' {\n\tset root='hd0,gpt1'\n\tif [ x = xy ]; then\n\t  search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt1 1-2\n\telse\n"
                           "\t  search --no-floppy --fs-uuid --set=root 1-2\n\tfi\n\tlinux /boot/vmlinuz root=PARTUUID=3-4 ro console=tty1 console=ttyS0\n}\n",
     "etc/default/grub": 'GRUB_CMDLINE_LINUX="root=LABEL=x rootflags=subvol=@ quiet"\n', "root/.ssh/authorized_keys": "ssh-rsa OLD a@b\n"},
    "etc/netplan", "usr/sbin/netplan", "etc/netplan/50-cloud-init.yaml", "lib/systemd/systemd", "usr/lib/systemd/systemd", "lib/systemd/systemd-networkd", "etc/resolv.conf",
    "etc/systemd/system/multi-user.target.wants/systemd-resolved.service", "etc/cloud/cloud.cfg.d", "lib/systemd/system/serial-getty@.service", "etc/machine-id", "root/.ssh")

TREES = {"debian-12": DEBIAN_12, "lenny": LENNY, "centos-6": CENTOS_6, "ubuntu-22": UBUNTU_22}
ADMIN = {"motd": "Welcome to VPS_HOSTNAME\n", "bashrc": "PS1=VPS_HOSTNAME\n", "authorized_keys": "ssh-ed25519 NEW admin\n"}


@pytest.mark.parametrize("name", TREES)
def test_every_step_for_a_system_of_each_kind(name: str, golden) -> None:
    golden(f"finish/{name}.txt", told(finish.finish(guest(**ADMIN))(TREES[name])))


@pytest.mark.parametrize("name", TREES)
def test_finishing_a_finished_tree_changes_no_text(name: str) -> None:
    before = TREES[name]
    first = written(finish.finish(guest(**ADMIN))(before))
    after = TreeFact({**before.texts, **first}, before.paths | first.keys())
    again = written(finish.finish(guest(**ADMIN))(after))
    assert {path: text for path, text in again.items() if first.get(path) != text} == {}
    assert not [path for path in again if path.endswith(".dtcxen-orig")]


def test_the_look_carries_all_that_its_rooms_read() -> None:
    step = finish.look(guest())
    assert isinstance(step, Look) and step.tree == TREE
    assert {"etc/fstab", "boot/grub/menu.lst", "etc/hosts", "etc/resolv.conf", "etc/inittab", "root/.ssh/authorized_keys"} <= set(step.texts)
    assert {"etc", "etc/ssh/ssh_host_*", "etc/netplan", "usr/bin/ssh-keygen", "etc/fstab.dtcxen-orig"} <= set(step.globs)
    assert not any(path.startswith("/") for path in (*step.texts, *step.globs))


def test_a_tree_without_a_system_is_no_system() -> None:
    with pytest.raises(Failed, match="no /etc"):
        finish.finish(guest())(TreeFact({}, frozenset()))


def test_no_secret_stands_in_any_step_but_the_one_that_hashes_it() -> None:
    steps = finish.finish(guest(**ADMIN))(DEBIAN_12)
    assert [step.password for step in steps if isinstance(step, TreePassword)] == [Secret("geheim")]
    assert "geheim" not in repr(steps)


def test_the_guests_own_programs_run_chrooted_contained_and_last() -> None:
    steps = finish.finish(guest())(dataclasses.replace(DEBIAN_12, paths=DEBIAN_12.paths | {"etc/ssh/ssh_host_dsa_key"}))
    ran = [step for step in steps if isinstance(step, Run)]
    assert ran and all(step.chroot == TREE and step.contained for step in ran) and list(steps[-len(ran):]) == ran
    assert not [step for tree in (CENTOS_6, DEBIAN_12) for step in finish.finish(guest())(tree) if isinstance(step, Run)]


def test_a_bundles_own_network_gets_name_servers_and_loses_old_card_names() -> None:
    steps = finish.finish(guest(), own_network=True)(LENNY)
    paths = written(steps)
    assert "etc/network/interfaces" not in paths and paths["etc/resolv.conf"].endswith("nameserver 192.0.2.53\nnameserver 192.0.2.54\n")
    assert "remove etc/udev/rules.d/70-persistent-net.rules" in told(steps)
    unknown = tree({}, "etc/resolv.conf")
    assert "etc/resolv.conf" not in written(finish.finish(guest(), own_network=True)(unknown)), "systemd-resolved's link is left alone"
    with pytest.raises(Failed, match="setup_network"):
        finish.finish(guest())(unknown)


def test_modules_only_where_there_are_some() -> None:
    assert "copy /lib/modules/6.1 into lib/modules" in told(finish.finish(guest())(DEBIAN_12))
    assert "copy" not in told(finish.finish(guest(modules=""))(DEBIAN_12))


def test_menus_that_may_hold_passwords_are_for_root_only() -> None:
    modes = {step.path: step.mode for step in finish.finish(guest())(LENNY) if isinstance(step, TreeWrite)}
    assert modes["boot/grub/menu.lst"] == modes["boot/grub/menu.lst.dtcxen-orig"] == 0o600
