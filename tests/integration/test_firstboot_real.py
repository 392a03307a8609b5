"""First boots that make something of a system, in the tests' Debian 13: the cfengine example with Debian's cf-agent, appliances, debian-dtc with apt; systemd's word on the unit.

The real finishing steps write into a folder; in a mount namespace it is laid over the chroot, and the real runner is started there.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap import firstboot as runner
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.facts import AptSource
from dtcxen_soap.firstbootfacts import AppFact, Snippet
from dtcxen_soap.install import appliance, firstboot
from dtcxen_soap.settings import load
from dtcxen_soap.vps import Secret
from tests.integration.test_guestkernel import do
from tests.unit.install.guests import guest

pytestmark = [pytest.mark.machine, pytest.mark.root, pytest.mark.debian13, pytest.mark.slow]
EXAMPLE = Path(__file__).parents[2] / "etc/dtc-xen/firstboot.d.examples/cfengine"
OVER = """set -e
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
for dir in /etc /root /usr /var; do
    mkdir -p /run/upper$dir /run/work$dir
    mount -t overlay -o lowerdir=$dir,upperdir=/run/upper$dir,workdir=/run/work$dir overlay $dir
done
cp -a "$TREE/." /
"""
"""Whatever is written is in memory, and gone with the namespace."""


def booted(tree: Path, before: str, after: str) -> str:
    """What is said when the runner has run, between two scripts."""
    script = f"{OVER}{before}\nset +e\nsh /var/lib/dtcxen-firstboot/run >/run/said 2>&1\necho code $?\ncat /run/said /var/log/dtcxen-firstboot.log\n{after}"
    done = subprocess.run(
        ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--", "sh", "-c", script], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=300, env={"PATH": os.environ["PATH"], "TREE": str(tree)})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder that passes for a system with systemd."""
    made = tmp_path / "tree"
    (made / "usr/lib/systemd").mkdir(parents=True)
    (made / "usr/lib/systemd/systemd").touch()
    return made


def told(tree: Path, **more: Any) -> None:
    """Finish the folder as a tree."""
    asked = guest(tree=str(tree), snippet_seconds=120, **more)
    do((*appliance.steps(asked, Dom0().tree(str(tree)).look((), (), ())), *firstboot.steps(asked, Dom0().tree(str(tree)).look(firstboot.TEXTS, firstboot.GLOBS, ()))), str(tree))
    (tree / "usr/lib/systemd/systemd").unlink()


def test_the_example_bootstraps_debians_cfengine(tree: Path) -> None:
    """The hub's policy is there on this system, which is its own hub; cf-agent says so, obeys it, and leaves its daemons running."""
    told(tree, snippets=(Snippet("1-50-cfengine", Secret(EXAMPLE.read_text())),))
    policy = """ip link set lo up
ip address add 192.0.2.8/32 dev lo
rm -rf /var/lib/cfengine3/masterfiles/*
cat >/var/lib/cfengine3/masterfiles/promises.cf <<'END'
body common control { bundlesequence => { "site" }; version => "test"; }
bundle agent site { files: "/run/from-policy" create => "true"; }
END
cp /var/lib/cfengine3/masterfiles/promises.cf /var/lib/cfengine3/masterfiles/update.cf
cp /var/lib/cfengine3/ppkeys/localhost.pub /run/packages.pub"""
    said = booted(tree, policy, """ls /run/from-policy; cat /var/lib/cfengine3/policy_server.dat
cmp -s /run/packages.pub /var/lib/cfengine3/ppkeys/localhost.pub && echo the same key
for pid in /proc/[0-9]*; do cat $pid/comm 2>/dev/null; done; ls -d /var/lib/dtcxen-firstboot 2>&1; true""")
    assert "code 0\n" in said and "Bootstrap to '192.0.2.8' completed successfully!" in said and "1-50-cfengine: done" in said, said
    assert "\n/run/from-policy\n192.0.2.8\n" in said and "the same key" not in said, "each system has a key of its own"
    assert {"cf-execd", "cf-serverd"} <= set(said.splitlines()), "what it started stays"
    assert "cannot access '/var/lib/dtcxen-firstboot'" in said


def test_an_appliance_gets_roots_password_and_its_files(tree: Path, tmp_path: Path) -> None:
    app = tmp_path / "app/wiki"
    (app / "setup-folder").mkdir(parents=True)
    (app / "setup-folder/page").write_text("welcome\n")
    (app / "setup-script").write_text('#!/bin/sh\necho "in `pwd` with $# word"; printf %s "$1" >/run/password; cat setup-folder/page\n')
    fact = AppFact("wiki", str(app), "debian", True)
    password = Secret("ge`heim $(x) '\"")
    asked = guest(password=password)
    told(tree, appliance=fact, snippets=appliance.snippets("wiki", fact, load("").settings), private=appliance.private("wiki", fact, asked))
    assert [path for path in tree.rglob("*") if path.is_file() and "heim" in path.read_text() and path.stat().st_mode & 0o077] == []
    said = booted(tree, "", "cat /run/password; grep -rl heim /etc /root /var/lib/dtcxen-firstboot 2>/dev/null; true")
    assert "\nin /root with 1 word\nwelcome\n" in said and "code 0\n" in said and said.splitlines()[-1] == password.reveal(), said


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    file = tmp_path / "dtcxen-firstboot.service"
    file.write_text(runner.unit(3, 900))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- debian-dtc -----------------------------------------------------------------------------------

PANEL = """#!/bin/sh
echo "the panel installs itself"
"""


def repository(home: Path) -> None:
    """A signed repository with a package that passes for the panel, and its keyring."""
    package = home / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "usr/share/dtc/admin/install").mkdir(parents=True)
    (package / "DEBIAN/control").write_text("Package: dtc-toaster\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: stands for the panel\n")
    (package / "usr/share/dtc/admin/install/install").write_text(PANEL)
    (package / "usr/share/dtc/admin/install/install").chmod(0o755)
    repo = home / "repo"
    repo.mkdir()
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(package), str(repo / "dtc-toaster.deb")], check=True, capture_output=True)
    deb = (repo / "dtc-toaster.deb").read_bytes()
    listed = f"{(package / 'DEBIAN/control').read_text()}Filename: ./dtc-toaster.deb\nSize: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}\n".encode()
    (repo / "Packages.gz").write_bytes(gzip.compress(listed))
    packed = (repo / "Packages.gz").read_bytes()
    (repo / "Release").write_text(
        f"Suite: stable\nDate: {subprocess.run(['date', '-Ru'], capture_output=True, text=True, check=True).stdout}"
        f"SHA256:\n {hashlib.sha256(listed).hexdigest()} {len(listed)} Packages\n {hashlib.sha256(packed).hexdigest()} {len(packed)} Packages.gz\n")
    keys = {"GNUPGHOME": str(home / "gnupg"), "PATH": os.environ["PATH"]}
    (home / "gnupg").mkdir(mode=0o700)
    gpg = ("gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "")
    subprocess.run([*gpg, "--quick-generate-key", "panel@example.org", "rsa3072", "sign", "never"], check=True, env=keys, capture_output=True)
    subprocess.run([*gpg, "--output", str(home / "panel.gpg"), "--export"], check=True, env=keys, capture_output=True)
    subprocess.run([*gpg, "--output", str(repo / "InRelease"), "--clearsign", str(repo / "Release")], check=True, env=keys, capture_output=True)
    subprocess.run(["gpgconf", "--kill", "all"], env=keys, check=False, capture_output=True)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "altered"])
def test_debian_dtc_installs_the_panel_from_its_signed_source(tree: Path, tmp_path: Path, signed: bool) -> None:
    repository(tmp_path)
    if not signed:
        release = tmp_path / "repo/InRelease"
        release.write_text(release.read_text().replace("Suite: stable", "Suite: sid", 1))
    asked = guest()
    source = AptSource(f"copy:{tmp_path}/repo", "./", (), f"{tmp_path}/panel.gpg")
    told(tree, panel_source=source, snippets=appliance.snippets("debian-dtc", None, load("").settings), private=appliance.private("debian-dtc", None, asked))
    only = "find /etc/apt/sources.list.d -type f ! -name dtc-panel.list -delete; rm -f /etc/apt/sources.list\necho 'APT::Sandbox::User \"root\";' >/etc/apt/apt.conf.d/99test"
    said = booted(tree, only, "grep -A3 conf_admpass /var/cache/debconf/passwords.dat; stat -c %a /var/cache/debconf/passwords.dat; dpkg -l dtc-toaster | tail -1; true")
    assert ("the panel installs itself" in said and "2-debian-dtc: done" in said and "code 0\n" in said) is signed, said
    assert ("ii  dtc-toaster" in said) is signed
    assert "Value: geheim" in said and "\n600\n" in said
