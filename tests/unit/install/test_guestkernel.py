"""A kernel in the VPS's own file system: which, whose, whether the mode can start it, and what GRUB is told."""

from __future__ import annotations

import dataclasses

import pytest

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install import finish, guestkernel
from dtcxen_soap.install.grubmenu import Entry
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import Look, Step, TreeCopy, TreeCopyFile, TreeWrite, walk
from dtcxen_soap.vps import BootMode
from tests.unit.install.guests import bzimage, guest, told, tree, written

MENU, DEFAULTS = "boot/grub/grub.cfg", "etc/default/grub"
XZ, ZSTD, LZ4 = bzimage("xz"), bzimage("zstd"), bzimage("lz4")


def owner(boot: BootMode = BootMode.PVH_GRUB, extra: str = "", **more) -> Guest:
    """VPS 01 with its node's kernel."""
    given = {"kernel_release": "6.1.0-56-amd64", "modules": "/lib/modules/6.1.0-56-amd64", "node_kernel": "/boot/vmlinuz-6.1.0-56-amd64",
             "node_ramdisk": "/boot/initrd.img-6.1.0-56-amd64", **more}
    made = guest(**given)
    return dataclasses.replace(made, vps=dataclasses.replace(made.vps, boot=boot, extra=extra))


def having(kernels: dict[str, bytes], *paths: str, texts: dict[str, str] | None = None) -> TreeFact:
    """A tree with these kernels and paths."""
    return dataclasses.replace(tree(texts, *kernels, *paths), heads=kernels)


DEBIAN = having({"boot/vmlinuz-6.1.0-9-amd64": XZ, "boot/vmlinuz-6.1.0-50-amd64": XZ}, "boot/initrd.img-6.1.0-9-amd64", "boot/initrd.img-6.1.0-50-amd64", "usr/sbin/update-grub")
EMPTY = having({})


def after(fact: TreeFact, steps: tuple[Step, ...], kernel: bytes = XZ) -> TreeFact:
    """The tree once the steps were done."""
    copied = {step.path: kernel for step in steps if isinstance(step, TreeCopyFile)}
    texts = written(steps)
    return TreeFact({**fact.texts, **texts}, fact.paths | texts.keys() | copied.keys(), {**fact.heads, **{path: head for path, head in copied.items() if "vmlinuz" in path}})


@pytest.mark.parametrize("mode", guestkernel.MODES)
def test_a_debian_with_its_own_kernel(mode: BootMode, golden) -> None:
    """The same for all three: the menu is read by each of them."""
    golden("guestkernel/own.txt", told(guestkernel.steps(owner(mode, "earlyprintk=xen"), DEBIAN)))


def test_the_nodes_kernel_is_copied_in_with_its_modules_and_looked_at(golden) -> None:
    steps = guestkernel.steps(owner(), EMPTY)
    look = steps[-1]
    assert isinstance(look, Look) and (look.texts, look.globs, look.heads) == (guestkernel.TEXTS, guestkernel.GLOBS, guestkernel.HEADS)
    golden("guestkernel/copied.txt", told((*steps, *look.decide(after(EMPTY, steps)))))


def test_what_the_node_has_not_is_not_copied() -> None:
    steps = guestkernel.steps(owner(node_ramdisk="", modules=""), EMPTY)
    assert [type(step) for step in steps] == [TreeCopyFile, Look]
    look = steps[-1]
    assert isinstance(look, Look) and "initrd" not in written(look.decide(after(EMPTY, steps)))[MENU]


def test_without_any_kernel_it_is_told_which_mode_would_do() -> None:
    with pytest.raises(Failed, match="boot mode pv-grub has nothing to start.* boot mode direct"):
        guestkernel.steps(owner(BootMode.PV_GRUB, node_kernel=""), EMPTY)


@pytest.mark.parametrize("mode", [BootMode.DIRECT, BootMode.HVM, BootMode.NETBSD])
def test_other_modes_need_nothing(mode: BootMode) -> None:
    assert guestkernel.steps(owner(mode), DEBIAN) == guestkernel.steps(owner(mode), EMPTY) == ()


def test_modules_of_the_node_only_for_those_who_run_its_kernel() -> None:
    def copied(mode: BootMode, fact: TreeFact) -> list[str]:
        system = dataclasses.replace(fact, paths=fact.paths | {"etc/network", "sbin/ifup"})
        return [step.source for step in walk(finish.finish(owner(mode))(system)) if isinstance(step, TreeCopy)]
    assert copied(BootMode.DIRECT, DEBIAN) == copied(BootMode.DIRECT, EMPTY) == copied(BootMode.PVH_GRUB, EMPTY) == ["/lib/modules/6.1.0-56-amd64"]
    assert copied(BootMode.PVH_GRUB, DEBIAN) == copied(BootMode.HVM, DEBIAN) == []


# -- which kernel ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("names", "newest"), [
    (("6.1.0-9-amd64", "6.1.0-50-amd64", "5.10.0-99-amd64"), "6.1.0-50-amd64"),
    (("6.9-rc7", "6.9", "6.8"), "6.9"), (("6.9-rc7", "6.8"), "6.9-rc7"), (("0-rescue-0a1b", "5.14.0-1.el9.x86_64"), "5.14.0-1.el9.x86_64"),
    (("6.1.0-5-amd64.old", "6.1.0-4-amd64"), "6.1.0-4-amd64"), (("6.1.0-5-amd64.dpkg-new", "6.1.0-4-amd64"), "6.1.0-4-amd64"), (("$(reboot)", "5"), "5")])
def test_the_newest_kernel_by_its_release(names: tuple[str, ...], newest: str) -> None:
    for order in (names, names[::-1]):
        found = guestkernel.newest(having({f"boot/vmlinuz-{name}": XZ for name in order}))
        assert found == Entry(f"boot/vmlinuz-{newest}")


@pytest.mark.parametrize(("kernel", "ramdisk"), [
    ("boot/vmlinuz-6.1-amd64", "boot/initrd.img-6.1-amd64"), ("boot/vmlinuz-5.14.el9", "boot/initramfs-5.14.el9.img"), ("boot/vmlinuz-2.6.18", "boot/initrd-2.6.18.img"),
    ("boot/vmlinuz-6.4-default", "boot/initrd-6.4-default"), ("boot/vmlinuz-virt", "boot/initramfs-virt"), ("boot/vmlinuz-linux", "boot/initramfs-linux.img"),
    ("boot/vmlinuz", "boot/initrd.img")])
def test_the_ramdisk_as_each_family_names_it(kernel: str, ramdisk: str) -> None:
    assert guestkernel.newest(having({kernel: XZ}, ramdisk, "boot/initrd.img-other")) == Entry(kernel, ramdisk)


def test_a_kernel_that_leads_nowhere_is_none() -> None:
    assert guestkernel.newest(tree({}, "boot/vmlinuz-6.1")) is None and guestkernel.newest(having({"vmlinuz": XZ, "boot/vmlinux-6.1": XZ})) is None


# -- whether the mode can start it ----------------------------------------------------------------


def test_a_kernel_that_the_mode_cannot_read_fails_with_what_can() -> None:
    with pytest.raises(Failed, match="/boot/vmlinuz-6.8 cannot be started with boot mode pv-grub: .*zstd.* pvh-grub, pygrub, direct"):
        guestkernel.steps(owner(BootMode.PV_GRUB), having({"boot/vmlinuz-6.8": ZSTD}))
    assert guestkernel.steps(owner(BootMode.PYGRUB), having({"boot/vmlinuz-6.8": ZSTD}))


def test_the_nodes_kernel_is_judged_too() -> None:
    steps = guestkernel.steps(owner(BootMode.PV_GRUB), EMPTY)
    look = steps[-1]
    assert isinstance(look, Look)
    with pytest.raises(Failed, match="lz4"):
        look.decide(after(EMPTY, steps, LZ4))
    with pytest.raises(Failed, match="is no kernel there"):
        look.decide(EMPTY)


def test_the_kernel_of_the_images_menu_is_the_one_that_is_judged() -> None:
    fact = having({"boot/vmlinuz-1": ZSTD, "boot/vmlinuz-2": XZ}, texts={MENU: "linux /boot/vmlinuz-1 ro\n"})
    with pytest.raises(Failed, match="vmlinuz-1 cannot"):
        guestkernel.steps(owner(BootMode.PV_GRUB), fact)


# -- the image's menu -----------------------------------------------------------------------------

IMAGES = "menuentry 'Linux' {\n\tset root='hd0'\n\tlinux /boot/vmlinuz-6.1 root=/dev/xvda ro quiet\n\tinitrd /boot/initrd.img-6.1\n}\n"


def test_a_menu_that_starts_a_kernel_which_is_there_stays(golden) -> None:
    fact = having({"boot/vmlinuz-6.1": XZ}, "boot/initrd.img-6.1", texts={MENU: IMAGES, DEFAULTS: 'GRUB_CMDLINE_LINUX="quiet"\n'})
    for mode in guestkernel.MODES:
        golden("guestkernel/images-menu.txt", told(guestkernel.steps(owner(mode), fact)))


@pytest.mark.parametrize("fact", [
    having({"boot/vmlinuz-6.1": XZ}, texts={MENU: IMAGES}), having({"boot/vmlinuz-6.2": XZ}, "boot/initrd.img-6.1", texts={MENU: IMAGES}),
    having({"boot/vmlinuz-6.2": XZ}, texts={MENU: "blscfg\n"})], ids=["no ramdisk", "no kernel", "of another GRUB"])
def test_a_menu_that_starts_nothing_is_kept_aside_and_ours_takes_its_place(fact: TreeFact) -> None:
    steps = guestkernel.steps(owner(), fact)
    texts = written(steps)
    assert texts[f"{MENU}.dtcxen-orig"] == fact.texts[MENU] and "Written by dtcxen" in texts[MENU] and "console=hvc0 net.ifnames=0\n" in texts[MENU]
    assert {step.mode for step in steps if isinstance(step, TreeWrite) and step.path.startswith(MENU)} == {0o600}


def test_a_root_that_pygrub_does_not_understand_costs_the_menu_its_place_only_there() -> None:
    fact = having({"boot/vmlinuz-6.1": XZ}, "boot/initrd.img-6.1", texts={MENU: IMAGES.replace("hd0", "xen/xvda")})
    assert "set root" in written(guestkernel.steps(owner(BootMode.PV_GRUB), fact))[MENU]
    assert "set root" not in written(guestkernel.steps(owner(BootMode.PYGRUB), fact))[MENU]


def test_a_menu_lst_serves_pygrub_only() -> None:
    lst = "title x\nroot (hd0)\nkernel /boot/vmlinuz-2.6.32 root=/dev/xvda ro\n"
    fact = having({"boot/vmlinuz-2.6.32": bzimage("gzip", "2.6.32")}, texts={"boot/grub/menu.lst": lst})
    pygrub, grub = (written(guestkernel.steps(owner(mode), fact)) for mode in (BootMode.PYGRUB, BootMode.PV_GRUB))
    assert MENU not in pygrub and "ro console=hvc0 net.ifnames=0\n" in pygrub["boot/grub/menu.lst"]
    assert "linux /boot/vmlinuz-2.6.32 " in grub[MENU] and "boot/grub/menu.lst" not in grub


def test_settings_of_update_grub_only_where_something_reads_them() -> None:
    kernel = {"boot/vmlinuz-6.1": XZ}
    assert DEFAULTS not in written(guestkernel.steps(owner(), having(kernel)))
    assert "net.ifnames=0" in written(guestkernel.steps(owner(), having(kernel, "usr/sbin/grub2-mkconfig")))[DEFAULTS]


# -- as a room of finish --------------------------------------------------------------------------


def test_finish_asks_for_heads_and_names_the_disks_before_the_kernels_are_told(golden) -> None:
    look = finish.look(owner())
    assert isinstance(look, Look) and set(guestkernel.HEADS) <= set(look.heads) and set(guestkernel.GLOBS) <= set(look.globs)
    fact = having({"boot/vmlinuz-6.1": XZ}, "boot/initrd.img-6.1", "etc/network", "sbin/ifup",
                  texts={MENU: IMAGES.replace("/dev/xvda", "UUID=1-2").replace("hd0", "hd0,gpt1"), DEFAULTS: 'GRUB_CMDLINE_LINUX="root=/dev/sda1"\n'})
    steps = look.decide(fact)
    final = written(steps)
    assert "root=/dev/xvda ro quiet console=hvc0 net.ifnames=0\n" in final[MENU] and '"root=/dev/xvda console=hvc0 net.ifnames=0"' in final[DEFAULTS]
    assert final[f"{MENU}.dtcxen-orig"] == fact.texts[MENU] and final[f"{DEFAULTS}.dtcxen-orig"] == fact.texts[DEFAULTS]
    again = written(look.decide(after(fact, steps)))
    assert not {MENU, DEFAULTS, f"{MENU}.dtcxen-orig"} & again.keys()


@pytest.mark.parametrize("fact", [DEBIAN, EMPTY], ids=["own", "copied"])
def test_what_was_done_once_is_not_done_again(fact: TreeFact) -> None:
    steps = guestkernel.steps(owner(), fact)
    done = after(fact, steps)
    if isinstance(steps[-1], Look):
        done = after(done, steps[-1].decide(done))
    assert guestkernel.steps(owner(), done) == ()
