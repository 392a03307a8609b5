"""Texts of GRUB: our menu, what an image's menu starts, and update-grub's settings edited word by word."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dtcxen_soap.errors import Failed
from dtcxen_soap.install import grubmenu
from dtcxen_soap.install.grubmenu import Entry

TOLD = ("console=hvc0", "net.ifnames=0", "nomodeset")


def test_words_are_ours_and_the_nodes_each_once() -> None:
    assert grubmenu.words("") == ("console=hvc0", "net.ifnames=0")
    assert grubmenu.words("net.ifnames=0  earlyprintk=xen module.a=b,c") == ("console=hvc0", "net.ifnames=0", "earlyprintk=xen", "module.a=b,c")


@pytest.mark.parametrize("extra", ["a;reboot", "$(x)", "a=\"b", "a{", "x'y", "a|b", "a\\b", "#x", "é=1"])
def test_words_that_grub_would_understand_in_its_own_way_are_refused(extra: str) -> None:
    with pytest.raises(Failed, match="XENU_EXTRA_PARM"):
        grubmenu.words(extra)


def test_our_menu_has_nothing_that_pygrub_trips_over() -> None:
    text = grubmenu.render(Entry("boot/vmlinuz-6.1", "boot/initrd.img-6.1"), TOLD)
    assert grubmenu.for_pygrub(text) and "insmod" not in text and "set root" not in text
    assert grubmenu.entry(text) == Entry("boot/vmlinuz-6.1", "boot/initrd.img-6.1")
    assert "    linux /boot/vmlinuz-6.1 root=/dev/xvda ro console=hvc0 net.ifnames=0 nomodeset\n" in text
    assert grubmenu.telling(text, TOLD) == text
    assert "initrd" not in grubmenu.render(Entry("boot/vmlinuz"), TOLD)


DEBIAN = """set default="0"
menuentry 'Debian GNU/Linux' --class debian {
\tset root='hd0'
\tsearch --no-floppy --file --set=root /etc/fstab
\techo\t'Loading Linux 6.1 ...'
\tlinux\t/boot/vmlinuz-6.1 root=/dev/xvda ro  quiet
\tinitrd\t/boot/initrd.img-6.1
}
menuentry 'older' {
\tlinux\t/boot/vmlinuz-5.10 root=/dev/xvda ro single console=hvc0
}
menuentry 'memory test' {
\tlinux16\t/boot/memtest86+.bin
}
"""


def test_what_a_menu_starts_is_its_first_entry() -> None:
    assert grubmenu.entry(DEBIAN) == Entry("boot/vmlinuz-6.1", "boot/initrd.img-6.1")
    assert grubmenu.entry(DEBIAN.partition("menuentry 'older'")[2]) == Entry("boot/vmlinuz-5.10")
    assert grubmenu.entry("linux /boot/a\nlinux /boot/b\ninitrd /boot/c\n") == Entry("boot/a"), "the ramdisk is a later entry's"
    assert grubmenu.entry("linux ($root)/vmlinuz a\ninitrd (hd0,1)/boot//initrd x") == Entry("vmlinuz", "boot/initrd")


@pytest.mark.parametrize("text", ["", "# linux /boot/a", "blscfg\nlinux /boot/a", "linux16 /boot/a", "linuxefi /boot/a\nlinux /boot/b", "multiboot /boot/xen\nlinux /boot/b"])
def test_entries_of_other_grubs_are_none(text: str) -> None:
    assert grubmenu.entry(text) is None


def test_an_old_menu() -> None:
    text = "default 0\n# kernel /no\ntitle Debian\nroot (hd0)\nkernel\t\t/boot/vmlinuz-2.6 root=/dev/xvda ro\ninitrd\t\t/boot/initrd.img-2.6\n"
    assert grubmenu.old_entry(text) == Entry("boot/vmlinuz-2.6", "boot/initrd.img-2.6")
    assert "root=/dev/xvda ro console=hvc0 net.ifnames=0 nomodeset\ninitrd" in grubmenu.telling(text, TOLD)
    assert grubmenu.old_entry("title x\nroot (hd0)\n") is None


@pytest.mark.parametrize(("root", "read"), [("'hd0'", True), ('"hd0,msdos1"', True), ("hd0,gpt1", True), ("(hd0)", True), ("'xen/xvda'", False), ("'(xen/xvda)'", False),
                                            ("$root", False), ("lvm/vg-root", False), ("/dev/xvda", True)])
def test_which_menus_pygrub_reads(root: str, read: bool) -> None:
    """As GrubConf.py of Xen 4.17 takes them, tried with it: what it does not know ends in a ValueError, and pygrub finds no kernel at all."""
    assert grubmenu.for_pygrub(f"menuentry 'x' {{\n\tset root={root}\n}}\n") is read


def test_kernels_are_told_what_they_lack_and_nothing_else_changes() -> None:
    new = grubmenu.telling(DEBIAN, TOLD)
    assert "ro  quiet console=hvc0 net.ifnames=0 nomodeset\n" in new and "single console=hvc0 net.ifnames=0 nomodeset\n" in new
    assert grubmenu.telling(new, TOLD) == new and grubmenu.telling("linux /a b  \n", ("b",)) == "linux /a b  \n"
    assert [line for line in new.splitlines() if "linux\t" not in line] == [line for line in DEBIAN.splitlines() if "linux\t" not in line]


SETTINGS = {
    "none": None,
    "debian": 'GRUB_DEFAULT=0\nGRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n#GRUB_TERMINAL=console\n',
    "fedora": "GRUB_TERMINAL_OUTPUT='console'\nGRUB_CMDLINE_LINUX='root=/dev/xvda rd.lvm=0'  # kept\nGRUB_DISABLE_OS_PROBER=false\nGRUB_TERMINAL=serial",
    "unquoted": "export GRUB_CMDLINE_LINUX=quiet\n",
    "twice": 'GRUB_CMDLINE_LINUX="first"\nGRUB_CMDLINE_LINUX="console=hvc0 last"\n',
    "shell": 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX `echo /x` net.ifnames=0"\n',
    "empty": "",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_shell_reads_the_settings_that_were_meant(name: str, golden, tmp_path: Path) -> None:
    new = grubmenu.defaults(SETTINGS[name], TOLD)
    golden(f"grub-defaults/{name}.txt", new)
    assert grubmenu.defaults(new, TOLD) == new


@pytest.mark.machine
@pytest.mark.parametrize("name", SETTINGS)
def test_sh_takes_them_so(name: str, tmp_path: Path) -> None:
    (tmp_path / "grub").write_text(grubmenu.defaults(SETTINGS[name], TOLD))
    asked = '. ./grub; echo "$GRUB_TERMINAL $GRUB_DISABLE_OS_PROBER $GRUB_DISABLE_LINUX_UUID"; echo $GRUB_CMDLINE_LINUX'
    told = subprocess.run(["sh", "-e", "-c", asked], cwd=tmp_path, capture_output=True, text=True)
    first, second = told.stdout.splitlines()
    assert first == "console true true" and set(TOLD) <= set(second.split())
    if name == "fedora":
        assert second.split()[:2] == ["root=/dev/xvda", "rd.lvm=0"]
    if name == "twice":
        assert "first" not in second and "last" in second
