"""Our dtc-xen-parse-param and dtc-xen_domUconf_* under the shells that bundles meet: what they set, and what they write."""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dtcxen_soap.install.contract import script_argv
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.vps import Address, BootMode, Disk, DiskRole, GuestNetwork, ImageType, MacAddress, Mib, Nic, Secret, Vps, VpsId

pytestmark = pytest.mark.machine

OVERLAY = Path(__file__).parents[2] / "dtcxen_soap/data/overlay"
PARAM = OVERLAY / "share/dtc-xen/dtc-xen-parse-param"
SHELLS = [shell for shell in (("sh",), ("dash",), ("busybox", "sh"), ("bash",), ("bash", "--posix")) if shutil.which(shell[0])]
VARIABLES = (
    "VPS_PATH", "VPSMEM", "DISTRO", "MAC_ADDR", "VPSNUM", "ALL_IPADDRS", "FIRST_IP", "NICS", "NUM_NIC", "GATEWAY", "VPS_FQDN", "VPS_DOMAIN", "NODE_FQDN", "DNS",
    "VIRT_TYPE", "KERNELPATH", "KERNEL_RELEASE", "KMOD_PATH", "INITRDPATH", "VNC_PASSWORD", "BOOT_ISO", "IMAGE_TYPE", "LVMNAME", "FSTAB_LVMNAME",
    "XEN_DOMU_HDD_DEV_TYPE", "XENU_EXTRA_PARM", "FW_PARAMS", "FW_NICS_CMD", "NICS6", "GATEWAY6", "VPSNAME", "VPSHOSTNAME")

EVERY_FLAG = {
    "--disk-type": ("IMAGE_TYPE", "lvm"), "--xen-domu-hdd-dev-type": ("XEN_DOMU_HDD_DEV_TYPE", "sda"), "-os": ("DISTRO", "lenny"), "-ram": ("VPSMEM", "512"),
    "-path": ("VPS_PATH", "/mnt/01"), "-vpsid": ("VPSNUM", "01"), "--vps-fqdn": ("VPS_FQDN", "mx.xen01.node.example"), "--vps-domain": ("VPS_DOMAIN", "xen01.node.example"),
    "--node-fqdn": ("NODE_FQDN", "node.example"), "-dns": ("DNS", "192.0.2.53,192.0.2.54"), "-gw": ("GATEWAY", "192.0.2.1"), "--virt-type": ("VIRT_TYPE", "xen"),
    "--kernel": ("KERNELPATH", "/boot/vmlinuz"), "--kernel-release": ("KERNEL_RELEASE", "2.6.26-2-xen-686"), "--kmod-path": ("KMOD_PATH", "/lib/modules/x"),
    "--initrd": ("INITRDPATH", "/boot/initrd"), "--mac": ("MAC_ADDR", "00:16:3e:10:10:01"), "--vnc-pass": ("VNC_PASSWORD", "s3cret"), "--boot-iso": ("BOOT_ISO", "a.iso"),
    "--lvm-name": ("LVMNAME", "vg-a-b"), "--xenu_extra_parm": ("XENU_EXTRA_PARM", "panic=5"), "-gw6": ("GATEWAY6", "fe80::1")}


def table(shell: tuple[str, ...], *words: str, before: str = "", options: str = "-eu") -> tuple[dict[str, str], str]:
    """The variables after sourcing with these words as "$@", which must have stayed as they were; and what was said on stderr."""
    show = "".join(f'printf "%s=%s\\0" {name} "${{{name}}}"\n' for name in VARIABLES)
    script = f'set {options}\n{before}\n. "$PARAM"\n{show}printf "words=%s\\0" "$*"\n'
    done = subprocess.run([*shell, "-c", script, "script", *words], env={"PARAM": str(PARAM), "PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(item.split("=", 1) for item in done.stdout.split("\0") if item)
    assert found.pop("words") == " ".join(words)
    return found, done.stderr


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param  # type: ignore[no-any-return]


def test_every_flag_sets_its_variable_and_no_other(shell: tuple[str, ...]) -> None:
    words = [word for flag, (_, value) in EVERY_FLAG.items() for word in (flag, value)]
    found, said = table(shell, *words, "-nic", "192.0.2.10,255.255.255.0,192.0.2.255", "-nic", "192.0.2.11,255.255.255.0,192.0.2.255",
                        "-nic6", "2001:db8::5/64", "-nic6", "2001:db8::6/64")
    assert said == ""
    assert found == {variable: value for variable, value in EVERY_FLAG.values()} | {
        "NICS": "192.0.2.10,255.255.255.0,192.0.2.255\n192.0.2.11,255.255.255.0,192.0.2.255", "NUM_NIC": "2", "ALL_IPADDRS": "192.0.2.10 192.0.2.11",
        "FIRST_IP": "192.0.2.10", "FW_NICS_CMD": "-nic 192.0.2.10,255.255.255.0,192.0.2.255 -nic 192.0.2.11,255.255.255.0,192.0.2.255",
        "NICS6": "2001:db8::5/64\n2001:db8::6/64", "FSTAB_LVMNAME": "vg--a--b", "VPSNAME": "xen01", "VPSHOSTNAME": "xen01",
        "FW_PARAMS": "--disk-type lvm --xen-domu-hdd-dev-type sda -os lenny -ram 512 -path /mnt/01 -vpsid 01 --vps-fqdn mx.xen01.node.example "
                     "--vps-domain xen01.node.example --node-fqdn node.example -nic 192.0.2.10,255.255.255.0,192.0.2.255 -nic 192.0.2.11,255.255.255.0,192.0.2.255 "
                     "-dns 192.0.2.53,192.0.2.54 -gw 192.0.2.1 --virt-type xen --kernel /boot/vmlinuz --kernel-release 2.6.26-2-xen-686 --kmod-path /lib/modules/x "
                     "--initrd /boot/initrd --mac 00:16:3e:10:10:01 --vnc-pass s3cret --boot-iso a.iso --lvm-name vg-a-b --xenu_extra_parm panic=5 "
                     "-nic6 2001:db8::5/64 -nic6 2001:db8::6/64 -gw6 fe80::1"}


@pytest.mark.parametrize("flag", EVERY_FLAG)
def test_a_value_that_is_missing_or_empty_takes_nothing_from_the_next(shell: tuple[str, ...], flag: str) -> None:
    variable, _ = EVERY_FLAG[flag]
    after = [item for item in (("-ram", "512"), ("-gw", "192.0.2.1")) if item[0] != flag]
    rest = [word for item in after for word in item]
    for words in ([flag, *rest], [flag, "", *rest], [*rest, flag]):
        found, said = table(shell, *words)
        assert found[variable] == ("xvd" if variable == "XEN_DOMU_HDD_DEV_TYPE" else "")
        assert all(found[EVERY_FLAG[other][0]] == value for other, value in after) and said == ""
        assert flag not in found["FW_PARAMS"].split() or variable == "XEN_DOMU_HDD_DEV_TYPE"


def test_an_empty_nic_is_none_and_one_without_a_mask_is_one(shell: tuple[str, ...]) -> None:
    found, _ = table(shell, "-nic", "", "-nic", "-nic6", "", "-nic", "192.0.2.10", "-gw", "192.0.2.1")
    assert (found["NICS"], found["NUM_NIC"], found["FIRST_IP"], found["NICS6"], found["GATEWAY"]) == ("192.0.2.10", "1", "192.0.2.10", "", "192.0.2.1")


def test_unknown_words_are_told_and_skipped(shell: tuple[str, ...]) -> None:
    found, said = table(shell, "stray", "-ram", "512", "--new-flag", "value", "-dns", "--other", "-gw", "192.0.2.1", "x y")
    assert (found["VPSMEM"], found["DNS"], found["GATEWAY"]) == ("512", "", "192.0.2.1")
    assert [line.split("'")[1] for line in said.splitlines()] == ["stray", "--new-flag", "value", "--other", "x y"]


def test_forwarded_unquoted_the_parameters_stay_the_same(shell: tuple[str, ...]) -> None:
    argv = script_argv("x", guest("192.0.2.10/24", "192.0.2.11/24", "2001:db8::5/64", extra="panic=5 -quiet console=hvc0"))[1:]
    found, _ = table(shell, *argv)
    again, said = table(shell, *found["FW_PARAMS"].split())
    assert again == found and said == "" and found["XENU_EXTRA_PARM"] == "panic=5 -quiet console=hvc0"


def test_sourced_again_without_words_nothing_changes(shell: tuple[str, ...]) -> None:
    first, _ = table(shell, "-path", "/mnt/01", "-ram", "512")
    again, _ = table(shell, before=f'set -- -path /mnt/01 -ram 512\n. "{PARAM}"\nset --')
    assert again == first


def test_values_are_never_run_or_expanded(shell: tuple[str, ...], tmp_path: Path) -> None:
    evil = f"$(touch {tmp_path}/x)`touch {tmp_path}/x`;*'\""
    found, _ = table(shell, "-os", evil, "-dns", evil, "-nic", evil, "--lvm-name", "a-" + evil)
    assert found["DISTRO"] == found["DNS"] == found["NICS"] == evil and found["FSTAB_LVMNAME"] == "a--" + evil.replace("-", "--") and not (tmp_path / "x").exists()


# -- the scripts that bundles call ----------------------------------------------------------------


def guest(*addresses: str, tree: str = "/mnt/01", gateways: tuple[str, ...] = ("192.0.2.1",), extra: str = "") -> Guest:
    nic = Nic(MacAddress("00:16:3e:10:10:01"), tuple(Address(ipaddress.ip_interface(each)) for each in addresses))
    network = GuestNetwork(nic, tuple(map(ipaddress.ip_address, gateways)), (ipaddress.ip_address("192.0.2.53"), ipaddress.ip_address("192.0.2.54")))
    vps = Vps(VpsId(1), Mib(512), (Disk(DiskRole.ROOT, ImageType.VBD, "/d/xen01.img"),), nic, BootMode.DIRECT, "/boot/vmlinuz", "/boot/initrd", extra)
    return Guest(vps=vps, tree=tree, os_type="lenny", hostname="mail.example.org", network=network, password=Secret("x"), fstype="ext4", kernel_release="6.1", node="node.example")


@pytest.fixture
def run(shell: tuple[str, ...], tmp_path: Path):
    """Run one of the scripts as a command, or sourced, with the overlay's files at the paths that they have in real life."""
    def call(name: str, made: Guest, sourced: bool = False, code: int = 0) -> str:
        folder = tmp_path / "overlay"
        shutil.copytree(OVERLAY, folder, dirs_exist_ok=True)
        for path in (folder / "sbin").iterdir():
            path.write_text(path.read_text().replace("/usr/share/dtc-xen/", f"{folder}/share/dtc-xen/"))
        program = str(folder / "sbin" / name)
        command = [*shell, "-c", f'set -eu; . {folder}/share/dtc-xen/dtc-xen-parse-param; . {program}', "setup_network"] if sourced else [*shell, program]
        done = subprocess.run([*command, *script_argv(program, made)[1:]], capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done.stderr
    return call


def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    (made / "etc").mkdir(parents=True)
    return made


@pytest.mark.parametrize("sourced", [False, True])
def test_the_network_of_debian(run, tmp_path: Path, sourced: bool) -> None:
    root = tree(tmp_path)
    run("dtc-xen_domUconf_network_debian", guest("192.0.2.10/26", "198.51.100.7/24", tree=str(root)), sourced)
    assert (root / "etc/network/interfaces").read_text() == (
        "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n\taddress 192.0.2.10\n\tnetmask 255.255.255.192\n\tnetwork 192.0.2.0\n"
        "\tbroadcast 192.0.2.63\n\tgateway 192.0.2.1\n\nauto eth0:1\niface eth0:1 inet static\n\taddress 198.51.100.7\n\tnetmask 255.255.255.0\n"
        "\tnetwork 198.51.100.0\n\tbroadcast 198.51.100.255\n")
    assert (root / "etc/resolv.conf").read_text() == "nameserver 192.0.2.53\nnameserver 192.0.2.54\n"
    assert (root / "etc/resolv.conf").stat().st_mode & 0o777 == 0o644


def test_a_gateway_outside_and_ipv6_on_debian(run, tmp_path: Path) -> None:
    root = tree(tmp_path)
    run("dtc-xen_domUconf_network_debian", guest("192.0.2.10/32", "2001:db8::5/64", "2001:db8::6/64", tree=str(root), gateways=("198.51.100.1", "fe80::1")))
    text = (root / "etc/network/interfaces").read_text()
    assert "\tgateway" not in text and "post-up ip route replace default via 198.51.100.1 dev eth0" in text
    assert ("iface eth0 inet6 static\n\taddress 2001:db8::5\n\tnetmask 64\n\tpost-up ip -6 addr replace 2001:db8::6/64 dev eth0\n"
            "\tpost-up ip -6 route replace fe80::1 dev eth0\n\tpost-up ip -6 route replace default via fe80::1 dev eth0\n") in text


@pytest.mark.parametrize("sourced", [False, True])
def test_the_network_of_red_hat(run, tmp_path: Path, sourced: bool) -> None:
    root = tree(tmp_path)
    run("dtc-xen_domUconf_network_redhat", guest("192.0.2.10/24", "192.0.2.11/24", "2001:db8::5/64", "2001:db8::6/64", tree=str(root), gateways=("192.0.2.1", "fe80::1")), sourced)
    scripts = root / "etc/sysconfig/network-scripts"
    assert (scripts / "ifcfg-eth0").read_text() == (
        "DEVICE=eth0\nBOOTPROTO=static\nONBOOT=yes\nIPADDR=192.0.2.10\nNETMASK=255.255.255.0\nNETWORK=192.0.2.0\nBROADCAST=192.0.2.255\n"
        "IPV6INIT=yes\nIPV6_AUTOCONF=no\nIPV6ADDR=2001:db8::5/64\nIPV6ADDR_SECONDARIES=\"2001:db8::6/64\"\nIPV6_DEFAULTGW=fe80::1%eth0\n")
    assert "DEVICE=eth0:1\n" in (scripts / "ifcfg-eth0:1").read_text() and "IPV6" not in (scripts / "ifcfg-eth0:1").read_text()
    assert (root / "etc/sysconfig/network").read_text() == "NETWORKING=yes\nNETWORKING_IPV6=yes\nHOSTNAME=mail.example.org\nGATEWAY=192.0.2.1\n"
    assert not (scripts / "route-eth0").exists()


def test_only_ipv6_and_a_gateway_outside_on_red_hat(run, tmp_path: Path) -> None:
    root = tree(tmp_path)
    scripts = root / "etc/sysconfig/network-scripts"
    run("dtc-xen_domUconf_network_redhat", guest("2001:db8::5/64", tree=str(root), gateways=("2001:db8::1",)))
    assert "IPADDR" not in (scripts / "ifcfg-eth0").read_text() and "IPV6_DEFAULTGW=2001:db8::1\n" in (scripts / "ifcfg-eth0").read_text()
    run("dtc-xen_domUconf_network_redhat", guest("192.0.2.10/32", tree=str(root), gateways=("198.51.100.1",)))
    assert (scripts / "route-eth0").read_text() == "198.51.100.1/32 dev eth0\ndefault via 198.51.100.1 dev eth0\n"
    assert "GATEWAY" not in (root / "etc/sysconfig/network").read_text()


def test_the_standard_files(run, tmp_path: Path) -> None:
    root = tree(tmp_path)
    run("dtc-xen_domUconf_standard", guest("192.0.2.10/24", tree=str(root)))
    assert (root / "etc/fstab").read_text().startswith("/dev/xvda\t/\tauto\tdefaults\t0 1\n/dev/xvdb\tnone\tswap\tsw\t0 0\n")
    assert (root / "etc/hostname").read_text() == "mail\n" and "192.0.2.10\tmail.example.org mail\n" in (root / "etc/hosts").read_text()


def test_a_link_of_the_tree_is_replaced_and_never_followed(run, tmp_path: Path) -> None:
    root, outside = tree(tmp_path), tmp_path / "outside"
    outside.write_text("dom0's")
    for name in ("fstab", "hosts", "hostname", "resolv.conf"):
        (root / "etc" / name).symlink_to(outside)
    run("dtc-xen_domUconf_standard", guest("192.0.2.10/24", tree=str(root)))
    run("dtc-xen_domUconf_network_debian", guest("192.0.2.10/24", tree=str(root)))
    assert outside.read_text() == "dom0's" and not (root / "etc/hosts").is_symlink() and not (root / "etc/resolv.conf").is_symlink()


def test_a_directory_that_leads_out_is_refused(run, tmp_path: Path) -> None:
    root, outside = tmp_path / "tree", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "etc").symlink_to(outside)
    assert "etc leads out of" in run("dtc-xen_domUconf_standard", guest("192.0.2.10/24", tree=str(root)), code=1)
    assert "leads out of" in run("dtc-xen_domUconf_network_debian", guest("192.0.2.10/24", tree=str(root)), code=1)
    assert not list(outside.iterdir())


def test_the_scripts_can_be_executed() -> None:
    assert all(os.access(path, os.X_OK) for path in (OVERLAY / "sbin").iterdir())
