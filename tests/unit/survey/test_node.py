"""The node as an installation sees it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dtcxen_soap.facts import AptSource, NodeFact
from dtcxen_soap.install.debootstrap import DEBIAN_KEYRING
from dtcxen_soap.processes import Ran
from dtcxen_soap.settings import load
from dtcxen_soap.survey.node import apt_sources, node
from dtcxen_soap.xen import xl
from tests.fakes import ScriptedDom0

DATA = Path(__file__).parents[2] / "data"
SETTINGS = load(
    "config_dir=/conf\nbsd_kernel_path=/srv/netbsd\nbsd_install_kernel_path=/srv/absent\n"
    "KERNELPATH=/srv/kernel\nINITRDPATH=/srv/absent\nKMOD_PATH=/srv/modules\ndebian_keyring=/srv/keys.gpg").settings
FILES = {
    "/etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "/etc/os-release": 'NAME="Debian GNU/Linux"\nVERSION_CODENAME=bookworm\nID=debian\n',
    "/boot/vmlinuz-6.1.0-1-amd64": "", "/boot/initrd.img-6.1.0-1-amd64": "", "/boot/config-6.1.0-1-amd64": "", "/boot/grub/grub.cfg": "",
    "/lib/modules/6.1.0-1-amd64/modules.dep": "", "/srv/kernel": "", "/srv/modules/modules.dep": "", "/srv/keys.gpg": "", "/srv/own.asc": "",
    DEBIAN_KEYRING: "", "/etc/apt/keyrings/firm.asc": "",
    "/etc/apt/sources.list": "deb http://deb.example.org/debian bookworm main\n",
    "/etc/apt/sources.list.d/own.sources": "Types: deb\nURIs: http://own.example.org/\nSuites: bookworm\nComponents: main\nSigned-By: /srv/own.asc\n",
    "/etc/apt/sources.list.d/gone.sources.save": "Types: deb\nURIs: http://gone.example.org/\nSuites: bookworm\nComponents: main\n",
    "/conf/motd": "Welcome\n", "/conf/authorized_keys2": "ssh-ed25519 AAAA root@node\n", "/conf/dtc-xen.conf": "",
}


def test_all_of_it() -> None:
    dom0 = ScriptedDom0(files=FILES)
    dom0.installed = frozenset({"mkfs.ext4", "mmdebstrap", "emacs"})
    sources = (AptSource("http://deb.example.org/debian", "bookworm", ("main",)), AptSource("http://own.example.org/", "bookworm", ("main",), "/srv/own.asc"))
    assert node(dom0, SETTINGS) == NodeFact(
        "node.example.com", "0123456789abcdef0123456789abcdef", "bookworm", "6.1.0-test",
        frozenset({"/boot/vmlinuz-6.1.0-1-amd64", "/boot/initrd.img-6.1.0-1-amd64", "/lib/modules/6.1.0-1-amd64", "/srv/kernel", "/srv/modules"}),
        frozenset({"mkfs.ext4", "mmdebstrap"}), sources,
        frozenset({DEBIAN_KEYRING, "/srv/keys.gpg", "/srv/own.asc", "/etc/apt/keyrings/firm.asc"}),
        {"motd": "Welcome\n", "authorized_keys2": "ssh-ed25519 AAAA root@node\n"})


def test_a_bare_node() -> None:
    fact = node(ScriptedDom0(), SETTINGS)
    assert (fact.node_id, fact.release, fact.kernels, fact.apt_sources, fact.keyrings, fact.texts) == ("", "", frozenset(), (), frozenset(), {})


def test_a_postinstall_script_that_others_could_have_written(tmp_path: Path) -> None:
    script = tmp_path / "post"
    script.write_text("#!/bin/sh\n")
    settings = load(f"custom_postinstall_script={script}").settings
    for mode, unsafe in ((0o755, ()), (0o775, (str(script),)), (0o757, (str(script),))):
        script.chmod(mode)
        assert node(ScriptedDom0(), settings).unsafe_postinstall == unsafe


XEN = {"/proc/xen/capabilities": "control_d\n"}


def test_what_can_stand_before_a_guests_kernel() -> None:
    there = ("/usr/lib/grub-xen/grub-i386-xen_pvh.bin", "/usr/lib/grub-xen/grub-x86_64-xen.bin", "/usr/lib/xen-4.17/bin/pygrub")
    others = ("/usr/lib/grub-xen/grub-i386-xen.bin", "/usr/lib/xen-4.17/bin/xl", "/usr/lib/xenfoo/bin/pygrub", "/usr/bin/pygrub")
    assert node(ScriptedDom0(files=dict.fromkeys((*there, *others), "")), SETTINGS).loaders == frozenset(there)


def test_whether_pvh_and_hvm_guests_can_run() -> None:
    real = (DATA / "xl-info-4.17-three-domus.txt").read_text()
    assert node(ScriptedDom0({xl.INFO: real}, XEN), SETTINGS).hvm
    without = re.sub("^(virt_caps +: ).*", r"\1pv", real, flags=re.MULTILINE)
    assert "virt_caps              : pv\n" in without and not node(ScriptedDom0({xl.INFO: without}, XEN), SETTINGS).hvm
    assert not node(ScriptedDom0({xl.INFO: Ran(127, "")}, XEN), SETTINGS).hvm
    dom0 = ScriptedDom0({xl.INFO: real})
    assert not node(dom0, SETTINGS).hvm and ("capture", xl.INFO) not in dom0.calls, "no Xen: nobody asks xl"


def test_kernels_of_netbsd_that_are_there() -> None:
    assert node(ScriptedDom0(files={"/srv/netbsd": ""}), SETTINGS).kernels == {"/srv/netbsd"}


def test_quoted_release_and_none() -> None:
    assert node(ScriptedDom0(files={"/etc/os-release": 'VERSION_CODENAME="trixie"\n'}), SETTINGS).release == "trixie"
    assert node(ScriptedDom0(files={"/etc/os-release": "ID=opensuse\nBUILD='\n"}), SETTINGS).release == ""


def test_sources_are_for_this_machine() -> None:
    other = "arm64" if os.uname().machine != "aarch64" else "amd64"
    files = {"/etc/apt/sources.list": f"deb [arch={other}] http://deb.example.org/debian bookworm main\n"}
    assert apt_sources(ScriptedDom0(files=files)) == ()
    own = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    assert len(apt_sources(ScriptedDom0(files={path: text.replace(other, own) for path, text in files.items()}))) == 1
