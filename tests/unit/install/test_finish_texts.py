"""The texts that finishing rewrites, line by line: fstab, boot files, hosts, inittab."""

from __future__ import annotations

import pytest

from dtcxen_soap.install import adminfiles, bootfiles, console, fstab, identity
from dtcxen_soap.plans import Run, TreeHostKey, TreeRemove, TreeSymlink
from tests.unit.install.guests import guest, tree, written

ROOT = "/dev/xvda\t/\text4\terrors=remount-ro\t0 1"
SWAP = "/dev/xvdb\tnone\tswap\tsw\t0 0"

FSTAB_LINES = {
    "/dev/sda1 / ext3 defaults 0 1": None,
    "UUID=6a-7b / ext4 errors=remount-ro 0 1": None,
    "rootfs / rootfs rw 0 0": None,
    "/dev/sda2 none swap sw 0 0": None,
    "UUID=6a-7b swap swap defaults 0 0": None,
    "/dev/mapper/vg-swap none swap sw 0 0": None,
    "/swapfile none swap sw 0 0": "/swapfile none swap sw 0 0",
    "/dev/zram0 none swap sw 0 0": "/dev/zram0 none swap sw 0 0",
    "# a comment": "# a comment",
    "#/dev/sda9 /old ext3 defaults": "#/dev/sda9 /old ext3 defaults",
    "tmpfs /tmp tmpfs size=64m 0 0": "tmpfs /tmp tmpfs size=64m 0 0",
    "files.example:/srv /srv nfs _netdev 0 0": "files.example:/srv /srv nfs _netdev 0 0",
    "/srv/a /srv/b none bind 0 0": "/srv/a /srv/b none bind 0 0",
    "/dev/sda3 /home ext3 defaults 0 2": "# not a disk of this VPS: /dev/sda3 /home ext3 defaults 0 2",
    "LABEL=UEFI /boot/efi vfat defaults 0 1": "# not a disk of this VPS: LABEL=UEFI /boot/efi vfat defaults 0 1",
    "/dev/vg0/home /home ext3 defaults 0 2": "# not a disk of this VPS: /dev/vg0/home /home ext3 defaults 0 2",
    "/dev/nvme0n1p2 /data xfs defaults 0 2": "# not a disk of this VPS: /dev/nvme0n1p2 /data xfs defaults 0 2",
    "/dev/xvdc /data ext4 nofail 0 2": "/dev/xvdc /data ext4 nofail 0 2",
    "/dev/hdc /media/cdrom iso9660 user,noauto 0 0": "/dev/hdc /media/cdrom iso9660 user,noauto 0 0",
    "/dev/fd0 /media/floppy auto rw,user 0 0": "/dev/fd0 /media/floppy auto rw,user 0 0",
    "none /dev/shm tmpfs defaults 0 0": "none /dev/shm tmpfs defaults 0 0",
}


@pytest.mark.parametrize("line, stays", FSTAB_LINES.items(), ids=[str(number) for number in range(len(FSTAB_LINES))])
def test_a_line_of_the_old_fstab(line: str, stays: str | None) -> None:
    lines = fstab.render("# first\n" + line, "ext4", True, own_mounts=False).splitlines()
    assert lines == ["# first", *([stays] if stays else []), ROOT, SWAP]


def test_no_swap_disk_no_swap_line_and_other_file_systems_are_not_checked() -> None:
    assert fstab.render("", "xfs", False, own_mounts=False).splitlines()[1:] == ["/dev/xvda\t/\txfs\tdefaults\t0 0"]


def test_old_inits_find_the_kernels_file_systems_in_it_once() -> None:
    text = fstab.render("proc /proc proc nodev 0 0\n", "ext3", False, own_mounts=True)
    assert text.count("/proc") == 1 and "devpts\t/dev/pts\tdevpts" in text and "sysfs\t/sys\tsysfs" in text
    assert fstab.render(text, "ext3", False, own_mounts=True) == text


TOKENS = {
    "kernel /vmlinuz root=/dev/sda1 ro": "kernel /vmlinuz root=/dev/xvda ro",
    "kernel /vmlinuz root=/dev/hda3 ro": "kernel /vmlinuz root=/dev/xvda ro",
    "linux /vmlinuz root=UUID=a-b ro": "linux /vmlinuz root=/dev/xvda ro",
    "linux /vmlinuz root=/dev/mapper/vg-root ro": "linux /vmlinuz root=/dev/xvda ro",
    "# kopt=root=LABEL=/ ro": "# kopt=root=/dev/xvda ro",
    'GRUB_CMDLINE_LINUX="root=/dev/vda1 quiet"': 'GRUB_CMDLINE_LINUX="root=/dev/xvda quiet"',
    "append root=/dev/sda1": "append root=/dev/xvda",
    "x resume=/dev/sda2 y": "x resume=/dev/xvdb y",
    "RESUME=UUID=a-b": "RESUME=/dev/xvdb",
    "x rootfstype=ext3 y": "x rootfstype=ext4 y",
    "x rootflags=subvol=@ y": "x y",
    "(hd0)\t/dev/sda": "(hd0)\t/dev/xvda",
    "root (hd0,0)": "root (hd0)",
    "# groot=(hd0,0)": "# groot=(hd0)",
    "set root='hd0,msdos1'": "set root='hd0'",
    "x console=tty0 console=ttyS0,115200n8 quiet": "x console=tty0 console=ttyS0,115200n8 console=hvc0 quiet",
    "x console=hvc0 console=tty0": "x console=hvc0 console=tty0",
    "nfsroot=10.0.0.1:/x root=/dev/nfs": "nfsroot=10.0.0.1:/x root=/dev/xvda",
    "title sda1 of old": "title sda1 of old",
    "/dev/sda10 and /dev/sda1p and /dev/sdab": "/dev/sda10 and /dev/sda1p and /dev/sdab",
    "netconsole=x root=x noroot=/dev/sda1x": "netconsole=x root=x noroot=/dev/sda1x",
    "root=ZFS=tank": "root=ZFS=tank",
}


@pytest.mark.parametrize("old, new", TOKENS.items(), ids=[str(number) for number in range(len(TOKENS))])
def test_a_token_of_a_boot_file(old: str, new: str) -> None:
    assert bootfiles.rename(old, "ext4", True) == new
    assert bootfiles.rename(new, "ext4", True) == new


def test_without_swap_nothing_is_resumed() -> None:
    assert bootfiles.rename("RESUME=UUID=a\n", "ext4", False) == "RESUME=none\n"


def test_grub_finds_its_root_by_a_file() -> None:
    found = "search --no-floppy --file --set=root /etc/fstab"
    assert bootfiles.rename("\tsearch --no-floppy --fs-uuid --set=root a-b\n", "ext4", True, by_grub2=True) == f"\t{found}\n"
    assert bootfiles.rename("  set root='hd0,1'\n  linux x\n", "ext4", True, by_grub2=True) == f"  set root='hd0'\n  {found}\n  linux x\n"
    assert bootfiles.rename("search --set=root x\n", "ext4", True) == "search --set=root x\n"


def test_boot_files_that_do_not_change_are_not_written_and_not_kept() -> None:
    assert bootfiles.steps(guest(), tree({"boot/grub/menu.lst": "kernel x root=/dev/xvda\n"})) == ()
    first = bootfiles.steps(guest(), tree({"boot/grub/menu.lst": "root=/dev/sda1\n"}))
    assert list(written(first)) == ["boot/grub/menu.lst.dtcxen-orig", "boot/grub/menu.lst"]
    again = bootfiles.steps(guest(), tree({"boot/grub/menu.lst": "root=/dev/sda1\n"}, "boot/grub/menu.lst.dtcxen-orig"))
    assert list(written(again)) == ["boot/grub/menu.lst"]


# -- hosts, numbers, keys -------------------------------------------------------------------------

OWN = "192.0.2.10\tmail.example.org mail"


def test_hosts_of_an_image_that_had_another_name() -> None:
    old = "127.0.0.1 localhost old.site old # image\n127.0.1.1 old\n10.0.0.1 db\n10.0.0.2 older\n192.0.2.11 somebody\n10.0.0.3 old.site\n::1 localhost\n"
    assert identity.hosts(old, "old", guest()).splitlines() == ["127.0.0.1\tlocalhost # image", OWN, "10.0.0.1 db", "10.0.0.2 older", "::1 localhost"]


def test_hosts_of_nothing() -> None:
    assert identity.hosts("", "", guest()).splitlines()[:3] == ["127.0.0.1\tlocalhost", OWN, "::1\tlocalhost ip6-localhost ip6-loopback"]
    assert "2001:db8::5\tmail.example.org mail" in identity.hosts("", "", guest("2001:db8::5/64"))
    assert identity.hosts("", "", guest(hostname="mail")).splitlines()[1] == "192.0.2.10\tmail"


def test_an_image_called_localhost_keeps_its_loopback() -> None:
    assert identity.hosts("127.0.0.1 localhost localhost.localdomain\n", "localhost.localdomain", guest()).startswith("127.0.0.1 localhost localhost.localdomain\n" + OWN)


def test_names_where_this_family_looks_for_them() -> None:
    assert written(identity.steps(guest(), tree({}, "etc/HOSTNAME")))["etc/HOSTNAME"] == "mail.example.org\n"
    debian, red_hat = (written(identity.steps(guest(), tree({}, path))) for path in ("etc/mailname", "etc/sysconfig"))
    assert (debian["etc/mailname"], debian["etc/hostname"]) == ("mail.example.org\n", "mail\n")
    assert red_hat["etc/hostname"] == "mail.example.org\n" and "etc/mailname" not in red_hat


def test_machine_id_by_what_the_tree_has() -> None:
    systemd = identity.steps(guest(), tree({}, "lib/systemd/systemd", "var/lib/dbus"))
    assert [step.mode for step in systemd if getattr(step, "path", "") == "etc/machine-id"] == [0o444] and written(systemd)["etc/machine-id"] == ""
    assert [step.target for step in systemd if isinstance(step, TreeSymlink)] == ["/etc/machine-id"]
    sysv = identity.steps(guest(), tree({}, "var/lib/dbus", "var/lib/dbus/machine-id"))
    assert "etc/machine-id" not in written(sysv) and [step.path for step in sysv if isinstance(step, TreeRemove)] == ["var/lib/dbus/machine-id"]


@pytest.mark.parametrize("paths, count", [((), 0), (("usr/bin/ssh-keygen",), 0), (("usr/sbin/sshd",), 0), (("usr/bin/ssh-keygen", "usr/sbin/sshd"), 2),
                                          (("usr/bin/ssh-keygen", "etc/ssh/sshd_config"), 2), (("usr/bin/ssh-keygen", "etc/ssh/ssh_host_dsa_key"), 2)])
def test_host_keys_are_made_where_they_are_used_and_can_be(paths: tuple[str, ...], count: int) -> None:
    made = identity.host_keys(guest(), tree({}, *paths))
    assert len(made) == count
    if made:
        assert made[0].argv[-2:] == ("-f", "/etc/ssh/ssh_host_rsa_key") and not made[0].may_fail and made[1].argv[-1] == "-A" and made[1].may_fail


@pytest.mark.parametrize(("had", "made"), [
    ((), ["rsa", "ecdsa", "ed25519"]), (("ed25519",), ["rsa", "ecdsa", "ed25519"]), (("rsa", "dsa"), ["rsa", "ecdsa", "ed25519", "-A"])])
def test_where_there_is_systemd_keys_are_ours_and_of_other_kinds_the_guests(had: tuple[str, ...], made: list[str]) -> None:
    paths = ("usr/bin/ssh-keygen", "usr/sbin/sshd", "lib/systemd/systemd", *(f"etc/ssh/ssh_host_{kind}_key{end}" for kind in had for end in ("", ".pub", "-cert.pub")))
    steps = identity.host_keys(guest(), tree({}, *paths))
    assert [step.kind if isinstance(step, TreeHostKey) else step.argv[-1] for step in steps if isinstance(step, TreeHostKey | Run)] == made
    assert all((step.path, step.comment) == (f"etc/ssh/ssh_host_{step.kind}_key", "root@mail") for step in steps if isinstance(step, TreeHostKey))
    assert all(step.chroot and step.contained and not step.may_fail for step in steps if isinstance(step, Run))


# -- console --------------------------------------------------------------------------------------


def test_inittab_gets_one_login_on_the_console_and_loses_those_that_cannot_work() -> None:
    old = "id:2:initdefault:\nT0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n1:2345:respawn:/sbin/getty 38400 tty1\nco:2345:respawn:/sbin/getty 38400 console\n"
    new = console.inittab(old, "/sbin/getty -L 38400 hvc0 vt100")
    assert new.splitlines() == [
        "id:2:initdefault:", "#T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100", "1:2345:respawn:/sbin/getty 38400 tty1", "#co:2345:respawn:/sbin/getty 38400 console",
        "hvc0:2345:respawn:/sbin/getty -L 38400 hvc0 vt100"]
    assert console.inittab(new, "x") == new


@pytest.mark.parametrize("program, command", [
    ("sbin/getty", "/sbin/getty -L 38400 hvc0 vt100"), ("sbin/agetty", "/sbin/agetty -L 38400 hvc0 vt100"), ("sbin/mingetty", "/sbin/mingetty hvc0"),
    ("bin/busybox", "/bin/busybox getty -L 38400 hvc0 vt100")])
def test_the_login_program_is_one_that_the_tree_has(program: str, command: str) -> None:
    steps = console.steps(guest(), tree({"etc/inittab": "x\n"}, program))
    assert written(steps)["etc/inittab"].endswith(f"hvc0:2345:respawn:{command}\n")
    assert f"exec {command}\n" in written(console.steps(guest(), tree({"etc/inittab": "x\n"}, program, "etc/init/rc.conf")))["etc/init/hvc0.conf"]


def test_root_may_use_the_console_where_there_is_a_list() -> None:
    assert written(console.steps(guest(), tree({"etc/securetty": "tty1\n\n"})))["etc/securetty"] == "tty1\nhvc0\n"
    assert written(console.steps(guest(), tree({"etc/securetty": ""})))["etc/securetty"] == "hvc0\n"
    assert console.steps(guest(), tree({"etc/securetty": "hvc0\n"})) == () == console.steps(guest(), tree())


# -- the admin's files ----------------------------------------------------------------------------


def test_keys_join_what_is_there() -> None:
    steps = adminfiles.steps(guest(authorized_keys="b\na\n"), tree({"root/.ssh/authorized_keys": "a\nc"}))
    assert written(steps) == {"root/.ssh/authorized_keys": "a\nc\nb\n", "root/.ssh/authorized_keys2": "b\na\n"}
    assert adminfiles.steps(guest(authorized_keys="\n"), tree()) == () == adminfiles.steps(guest(), tree())


@pytest.mark.parametrize("fact, path", [
    (tree(), "etc/motd"), (tree({"etc/motd": "x"}), "etc/motd"), (tree({}, "etc/motd"), "etc/motd.tail"), (tree({"etc/motd": "x"}, "etc/motd.tail"), "etc/motd.tail")])
def test_motd_goes_where_the_boot_does_not_overwrite_it(fact, path: str) -> None:
    assert written(adminfiles.steps(guest(motd="VPS_HOSTNAME!\n"), fact)) == {path: "mail!\n"}


def test_keys_that_packages_made_for_all_systems_of_an_image_are_made_anew() -> None:
    key, program = "etc/ssl/private/ssl-cert-snakeoil.key", "usr/sbin/make-ssl-cert"
    remove, run = identity.package_keys(guest(), tree({}, key, program))
    assert isinstance(remove, TreeRemove) and remove.path == key
    assert isinstance(run, Run) and run.chroot and run.contained and run.argv == ("/usr/sbin/make-ssl-cert", "generate-default-snakeoil")
    assert identity.package_keys(guest(), tree({}, key)) == () and identity.package_keys(guest(), tree({}, program)) == (), "nothing is removed that nobody could make anew"
