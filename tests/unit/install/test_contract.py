"""What a bundle's tarball may hold, by a table of archives that mean harm and one of archives that do not; and the scripts' flags."""

from __future__ import annotations

import ipaddress
import itertools

import pytest

from dtcxen_soap.facts import Member
from dtcxen_soap.install import contract
from dtcxen_soap.install.contract import judge, script_argv
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.vps import Address, BootMode, Disk, DiskRole, GuestNetwork, ImageType, MacAddress, Mib, Nic, Secret, Vps, VpsId


def file(name: str, size: int = 10) -> Member:
    return Member(name, "file", "", size, 0o644)


def directory(name: str) -> Member:
    return Member(name, "directory", "", 0, 0o755)


def link(name: str, target: str) -> Member:
    return Member(name, "symlink", target, 0, 0o777)


def hard(name: str, target: str) -> Member:
    return Member(name, "hardlink", target)


def device(name: str) -> Member:
    return Member(name, "device", "", 0, 0o660)


ETC = (directory("etc"), file("etc/fstab"))
LONG = "/".join(["d" * 250] * 17)

HOSTILE = {
    "absolute name": ([file("/etc/passwd")], "absolute"),
    "absolute name with many slashes": ([file("//etc/passwd")], "absolute"),
    "dots in front": ([file("../etc/passwd")], "has .."),
    "dots inside": ([file("var/../../etc/passwd")], "has .."),
    "dots behind": ([directory("var/..")], "has .."),
    "dots that stay inside": ([file("var/../etc/x")], "has .."),
    "dots after a dot": ([file("./../x")], "has .."),
    "newline in a name": ([file("etc/a\nb")], "control character"),
    "escape sequence in a name": ([file("etc/\x1b[2J")], "control character"),
    "NUL in a name": ([file("etc/passwd\0.png")], "control character"),
    "unicode line separator": ([file("etc/a\u2028b")], "control character"),
    "name beyond PATH_MAX": ([file(LONG)], "more than 4095"),
    "through an absolute link": ([link("a", "/etc"), file("a/passwd")], "through the link 'a', which leads to '/etc'"),
    "through an absolute link to the tree's own place": ([link("run", "/var/run"), file("run/x")], "through the link"),
    "through a link with dots": ([link("a", "../.."), file("a/x")], "leads out"),
    "through a link that leaves only at the end": ([directory("usr/share"), link("usr/share/a", "../../.."), file("usr/share/a/x")], "leads out"),
    "through two links, each harmless alone": ([link("a", "."), link("a/b", ".."), file("b/x")], "leads out"),
    "a link made through a link": ([directory("usr/bin"), link("bin", "usr/bin"), link("bin/a", "/etc"), file("usr/bin/a/passwd")], "through the link 'usr/bin/a'"),
    "a directory through a link": ([link("a", "/tmp"), directory("a/b")], "through the link"),
    "a link through a link": ([link("a", "/tmp"), link("a/b", "c")], "through the link"),
    "a device through a link": ([link("dev", "/dev"), device("dev/sda")], "through the link"),
    "through links that go round": ([link("a", "b"), link("b", "a"), file("a/x")], "go round"),
    "through a link to itself": ([link("a", "a"), file("a/x")], "go round"),
    "file replaced by a link, then written through": ([file("a"), link("a", "/etc"), file("a/passwd")], "is a symlink and was a file before"),
    "directory replaced by a link": ([directory("a"), link("a", "/etc"), file("a/passwd")], "is a symlink and was a directory before"),
    "a directory that no member named replaced by a link": ([file("a/b"), link("a", "/etc")], "is a symlink and was a directory before"),
    "link replaced by a directory": ([link("a", "/etc"), directory("a"), file("a/passwd")], "is a directory and was a symlink before"),
    "link replaced by a file": ([link("a", "/etc/passwd"), file("a")], "is a file and was a symlink before"),
    "link that leads elsewhere later": ([directory("x"), link("a", "x"), link("a", "/etc"), file("a/passwd")], "led elsewhere"),
    "the same link by another spelling": ([link("./a", "x"), link("a", "/etc")], "led elsewhere"),
    "hard link to an absolute name": ([hard("x", "/etc/shadow")], "hard link to '/etc/shadow', out of the tree"),
    "hard link with dots": ([hard("x", "../../etc/shadow")], "out of the tree"),
    "hard link through a link": ([link("a", "/etc"), hard("x", "a/shadow")], "out of the tree"),
    "hard link to what is not there": ([hard("x", "etc/shadow")], "no file of the archive"),
    "hard link to what comes later": ([hard("x", "y"), file("y")], "no file of the archive"),
    "hard link to a directory": ([hard("x", "etc")], "no file of the archive"),
    "hard link to the tree itself": ([hard("x", ".")], "no file of the archive"),
    "hard link that takes a link elsewhere": ([directory("a/b"), link("a/b/l", "../.."), hard("l", "a/b/l"), file("l/x")], "leads out"),
    "hard link to a link, then written through": ([link("a", "/etc"), hard("b", "a"), file("b/passwd")], "through the link 'b'"),
    "hard link to a device, out of dev": ([device("dev/sda"), hard("home/x", "dev/sda")], "device"),
    "device outside dev": ([device("home/user/sda")], "device, and not in dev/"),
    "dev itself a device": ([device("dev")], "device, and not in dev/"),
    "device that says dev only at the end": ([device("home/dev")], "device, and not in dev/"),
    "device in dev through a link": ([directory("home"), link("dev", "home"), device("dev/sda")], "device, and not in dev/"),
    "below a file": ([file("a"), file("a/b")], "lies below 'a', which is a file"),
    "below a device": ([device("dev/x"), file("dev/x/y")], "lies below 'dev/x'"),
    "the tree itself a link": ([link(".", "/etc")], "stands for the tree itself"),
    "the tree itself without a name": ([file("")], "stands for the tree itself"),
    "a link to nothing": ([link("a", "")], "link to nothing"),
    "files without end": ([file("a", 1 << 50)], "more than 1048576 MiB"),
    "files that together have no end": ([file(str(number), 1 << 39) for number in range(3)], "more than 1048576 MiB"),
}


@pytest.mark.parametrize("members, reason", HOSTILE.values(), ids=HOSTILE)
def test_an_archive_that_means_harm_is_refused(members: list[Member], reason: str) -> None:
    for archive in ([*ETC, *members], [*members, *ETC]):
        verdict = judge(iter(archive))
        assert reason in verdict, verdict
        assert verdict.isprintable() and len(verdict) < 400


WITHOUT_ETC = {
    "empty": [],
    "one directory too high": [directory("image"), directory("image/etc"), file("image/etc/fstab")],
    "etc is a file": [file("etc")],
    "etc is a link out": [link("etc", "/etc")],
    "etc is a link to nothing": [link("etc", "usr/etc")],
    "only the name begins so": [file("etcetera/x")],
}


@pytest.mark.parametrize("members", WITHOUT_ETC.values(), ids=WITHOUT_ETC)
def test_an_archive_without_etc_is_no_system(members: list[Member]) -> None:
    assert "no directory etc/" in judge(members)
    assert judge(members, whole_system=False) == ""


HARMLESS = {
    "names with a dot in front": [directory("."), directory("./etc"), file("./etc/fstab")],
    "no directories told": [file("etc/fstab")],
    "merged usr": [directory("usr/bin"), link("bin", "usr/bin"), file("bin/sh"), link("sbin", "./usr/../usr/sbin"), file("sbin/init"), *ETC],
    "absolute links that nobody writes through": [link("var/run", "/run"), link("etc/mtab", "/proc/self/mounts"), link("etc/alternatives/vi", "/usr/bin/vim")],
    "links out that nobody writes through": [link("etc/x", "../../../../etc"), link("var/lock", "../run/lock")],
    "hard links": [file("usr/bin/perl"), hard("usr/bin/perl5.10.1", "usr/bin/perl"), hard("./usr/bin/p", "./usr/bin/perl"), *ETC],
    "hard link through a link inside": [link("bin", "usr/bin"), file("usr/bin/gzip"), hard("usr/bin/gunzip", "bin/gzip"), *ETC],
    "devices": [device("dev/console"), device("dev/pts/0"), device("lib/udev/devices/null"), device("var/spool/postfix/dev/random"), *ETC],
    "a fifo": [Member("var/spool/postfix/public/pickup", "fifo"), *ETC],
    "members told twice": [*ETC, *ETC, link("a", "b"), link("a", "b")],
    "etc by a link inside": [directory("usr/etc"), link("etc", "usr/etc")],
    "names beyond ASCII": [file("etc/ssl/F\u0151tan\u00fas\u00edtv\u00e1ny.crt"), file("etc/\udce9"), file("etc/with blank")],
    "three dots": [file("etc/..."), file("etc/..x")],
}


@pytest.mark.parametrize("members", HARMLESS.values(), ids=HARMLESS)
def test_an_ordinary_system_passes(members: list[Member]) -> None:
    assert judge(members) == ""


def test_no_more_is_read_than_the_first_bad_member() -> None:
    def endless():
        yield from ETC
        yield file("../x")
        raise AssertionError("read on")
    assert "has .." in judge(endless())


def test_an_archive_of_endless_members_ends() -> None:
    members = (file(f"etc/{number}", 0) for number in itertools.count())
    assert judge(members, most_members=1000) == "it has more than 1000 members"


def test_links_that_would_fill_the_memory_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "MOST_LINK_CHARACTERS", 5000)
    assert "one link too many" in judge(link(f"etc/{number}", "x" * 100) for number in itertools.count())


def test_the_size_is_a_parameter() -> None:
    assert judge([*ETC, file("big", 5 << 20)], most_bytes=4 << 20) == "its files need more than 4 MiB"
    assert judge([*ETC, file("big", 5 << 20)], most_bytes=6 << 20) == ""


# -- flags ----------------------------------------------------------------------------------------


def guest(*addresses: str, gateways: tuple[str, ...] = ("192.0.2.1",), image_type: ImageType = ImageType.VBD, path: str = "/d/xen01.img", **more: object) -> Guest:
    nic = Nic(MacAddress("00:16:3e:10:10:01"), tuple(Address(ipaddress.ip_interface(each)) for each in addresses or ("192.0.2.10/24",)))
    network = GuestNetwork(nic, tuple(map(ipaddress.ip_address, gateways)), (ipaddress.ip_address("192.0.2.53"), ipaddress.ip_address("2001:db8::53")))
    vps = Vps(VpsId(1), Mib(512), (Disk(DiskRole.ROOT, image_type, path),), nic, BootMode.DIRECT, "/boot/vmlinuz-6.1", "", "panic=5 quiet")
    words = {"vps": vps, "tree": "/mnt/01", "os_type": "lenny-i386", "hostname": "mail.example.org", "network": network, "password": Secret("x"), "fstype": "ext4",
             "kernel_release": "6.1", "modules": "", "node": "node.example.com"}
    return Guest(**words | more)  # type: ignore[arg-type]


def test_the_flags_of_the_original_in_its_order_and_no_empty_one() -> None:
    assert script_argv("/b/install_os", guest("192.0.2.10/24", "192.0.2.11/24")) == (
        "/b/install_os", "--disk-type", "vbd", "--xen-domu-hdd-dev-type", "xvd", "-os", "lenny-i386", "-ram", "512", "-path", "/mnt/01", "-vpsid", "01",
        "--vps-fqdn", "mail.example.org", "--vps-domain", "example.org", "--node-fqdn", "node.example.com",
        "-nic", "192.0.2.10,255.255.255.0,192.0.2.255", "-nic", "192.0.2.11,255.255.255.0,192.0.2.255", "-dns", "192.0.2.53,2001:db8::53", "-gw", "192.0.2.1",
        "--virt-type", "xen", "--kernel", "/boot/vmlinuz-6.1", "--kernel-release", "6.1", "--mac", "00:16:3e:10:10:01", "--xenu_extra_parm", "panic=5 quiet")


def test_a_volume_names_its_group_and_ipv6_has_flags_of_its_own_behind_the_others() -> None:
    argv = script_argv("x", guest("2001:db8::5/64", "192.0.2.10/24", gateways=("192.0.2.1", "fe80::1"), image_type=ImageType.LVM, path="/dev/vg-x/xen01"))
    assert argv[-8:] == ("--lvm-name", "vg-x", "--xenu_extra_parm", "panic=5 quiet", "-nic6", "2001:db8::5/64", "-gw6", "fe80::1")
    assert argv.count("-nic") == 1


def test_no_password_is_told() -> None:
    assert "geheim" not in " ".join(script_argv("x", guest(password=Secret("geheim"))))
