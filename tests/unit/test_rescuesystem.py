"""What goes into the rescue system, and what stays out."""

from __future__ import annotations

import os

import pytest

from dtcxen_soap import rescuesystem
from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import AptSource, NodeFact
from dtcxen_soap.settings import load

SETTINGS = load("install_timeout_minutes=7").settings
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
NODE = NodeFact(
    "node", "id", "bookworm", "6.1.0", commands=frozenset({"mmdebstrap", "unshare", "chroot", "zstd", "gzip"}),
    apt_sources=(AptSource("http://mirror.example/debian", "bookworm", ("main",)),), keyrings=frozenset({KEYRING}))


def test_it_is_made_of_the_nodes_own_sources_and_verified() -> None:
    step = rescuesystem.bootstrap("/w/tree.tar", SETTINGS, NODE)
    assert step.argv[0] == "mmdebstrap" and step.argv[-3:] == ("bookworm", "/w/tree.tar", f"deb [signed-by={KEYRING}] http://mirror.example/debian bookworm main")
    assert any(word.startswith("--include=") and "openssh-server" in word for word in step.argv)
    assert step.contained and step.timeout_seconds == 420
    with pytest.raises(Failed, match="nothing could be verified"):
        rescuesystem.bootstrap("/w/tree.tar", SETTINGS, NodeFact("n", "i", "bookworm", "6", commands=NODE.commands, apt_sources=NODE.apt_sources))


@pytest.mark.parametrize(("kernel", "program", "made"), [
    ("CONFIG_RD_GZIP=y\nCONFIG_RD_ZSTD=y\n", "zstd", "/w/initrd.zst"), ("", "zstd", "/w/initrd.zst"), ("# CONFIG_RD_ZSTD is not set\n", "gzip", "/w/initrd.gz"),
])
def test_the_kernel_says_how_it_may_be_compressed(kernel: str, program: str, made: str) -> None:
    step, path = rescuesystem.compress("/w/initrd", kernel, NODE)
    assert (step.argv[0], step.argv[-2:], path) == (program, ("--", "/w/initrd"), made)
    with pytest.raises(Failed, match=f"lacks {program}"):
        rescuesystem.compress("/w/initrd", kernel, NodeFact("n", "i", "", ""))


@pytest.mark.parametrize("path", [
    "bin", "usr/bin/bash", "usr/sbin/xfs_repair", "usr/lib/x86_64-linux-gnu/libc.so.6", "etc/shadow", "dev", "proc", "tmp", "var/lib/dpkg", "var/log", "root/.bashrc",
    "usr/share/terminfo", "lib/terminfo", "etc/pam.d/login", "usr/sbin/sshd", "etc/lvm/lvm.conf",
])
def test_what_goes_in(path: str) -> None:
    assert rescuesystem.keeps(path)


@pytest.mark.parametrize("path", [
    "dev/null", "usr/share/doc", "usr/share/doc/bash/copyright", "usr/lib/python3.11/os.py", "usr/lib/x86_64-linux-gnu/perl-base/strict.pm", "var/lib/dpkg/status",
    "usr/lib/x86_64-linux-gnu/libicudata.so.72", "etc/ssh/ssh_host_ed25519_key", "etc/ssh/ssh_host_rsa_key.pub", "init", "etc/inittab", "etc/machine-id", "etc/motd",
    "usr/sbin/reboot", "etc/ssh/sshd_config", "usr/lib/udev/hwdb.d/x",
])
def test_what_stays_out(path: str) -> None:
    assert not rescuesystem.keeps(path)


def test_modules_bring_what_they_need() -> None:
    needs = {"btrfs": ("raid6_pq", "xor"), "raid6_pq": (), "xor": (), "i915": ("drm",), "drm": (), "xen_blkfront": (), "gone": ()}
    assert rescuesystem.modules(needs) == ("btrfs", "raid6_pq", "xen_blkfront", "xor")
    assert rescuesystem.modules({"xfs": ("libcrc32c",)}) == ("xfs",)


def test_each_of_our_files_is_there_and_a_shell_script_begins_as_one() -> None:
    assert {name for _, name, _ in rescuesystem.OWN} == set(os.listdir(rescuesystem.DATA))
    for _, name, mode in rescuesystem.OWN:
        with open(f"{rescuesystem.DATA}/{name}") as file:
            assert file.readline().startswith("#!/bin/sh" if mode == 0o755 else "#"), name
