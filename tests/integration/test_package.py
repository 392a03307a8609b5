"""The Debian package as Debian builds, checks, installs, upgrades and removes it, in clean Debians 12 and 13 (tools/packagechroots.py); and pipx's.

Every scene begins in a layer of its own over the same clean system, and what it changes is gone afterwards.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import dtcxen_soap
from tests.bundles import make_bundle
from tests.certificates import make_pair
from tests.oldnode import HASHES, PASSWORD
from tools import packagechroots

pytestmark = [pytest.mark.root, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
SCENE = Path(__file__).with_name("packagescene.py")
INSTALL = "apt-get -q install -y --no-install-recommends -o Dpkg::Use-Pty=0 /mnt/dtcxen-soap.deb </dev/null"
OLD_FILES = ("/etc/dtc-xen/dtc-xen.conf", "/etc/dtc-xen/htpasswd", "/etc/dtc-xen/privkey.pem", "/etc/dtc-xen/dtc-xen.cert.cert",
             "/etc/xen/xen01", "/var/lib/dtc-xen/mnt/xen01.img")
SCRIPTS = {"postinst": """\
[ -e /etc/dtc-xen/privkey.pem ] || cp /mnt/old.key /etc/dtc-xen/privkey.pem
[ -e /etc/dtc-xen/dtc-xen.cert.cert ] || cp /mnt/old.crt /etc/dtc-xen/dtc-xen.cert.cert
cp /mnt/old.htpasswd /etc/dtc-xen/htpasswd
chmod 644 /etc/dtc-xen/*
chmod 600 /etc/dtc-xen/dtc-xen.conf
mkdir -p /var/lib/dtc-xen/mnt /var/lib/dtc-xen/ttyssh_home/xen01
chmod 757 /var/lib/dtc-xen/ttyssh_home
""", "prerm": "echo the original is stopped\n"}
"""What the original's maintainer scripts did to a node's secrets."""

Scene = Callable[[str], str]


@pytest.fixture(scope="module", params=packagechroots.SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The .deb of each, made in a copy of this tree by dpkg-buildpackage, and a clean Debian for it: side by side, since downloads and dpkg mostly wait."""
    into = tmp_path_factory.mktemp("built")

    def build(suite: str) -> Path:
        made = packagechroots.package(suite, ROOT, into / suite)
        packagechroots.node(suite, made)
        return made

    with ThreadPoolExecutor() as pool:
        return dict(zip(packagechroots.SUITES, pool.map(build, packagechroots.SUITES), strict=True))


@pytest.fixture(scope="module")
def built(suite: str, builds: dict[str, Path]) -> Path:
    """The package of one Debian."""
    return builds[suite]


@pytest.fixture
def scene(suite: str, built: Path, tmp_path: Path) -> Iterator[Scene]:
    """Runs a script in a clean Debian; what it printed."""
    shutil.copy(built, tmp_path / "dtcxen-soap.deb")
    shutil.copy(SCENE, tmp_path)
    root = packagechroots.node(suite, built)
    yield lambda script: packagechroots.run(root, script, tmp_path)


def test_lintian_finds_no_error(built: Path) -> None:
    """It ends with an error for any, and then there is no package; warnings are about data that is no program here."""
    found = (built.parent / "lintian.txt").read_text().splitlines()
    assert not [line for line in found if line.startswith("E:")]
    assert {line.split()[2] for line in found if line.startswith("W:")} <= {"script-not-executable", "executable-not-elf-or-script"}, found


def test_its_version_is_the_programs() -> None:
    (version,) = re.findall(r"\((.*?)\)", (ROOT / "debian/changelog").read_text().splitlines()[0])
    assert version.replace("~", ".") == dtcxen_soap.__version__


def test_a_new_node_is_installed_serves_and_is_purged_without_a_trace(scene: Scene) -> None:
    told = scene(f"""
        python3 /mnt/packagescene.py files | sort >/mnt/before
        {INSTALL}
        dpkg --audit
        ls -l /etc/systemd/system/multi-user.target.wants/dtcxen-soap.service
        stat -c 'mode %a %n' /etc/dtc-xen/dtc-xen.conf /etc/dtc-xen/htpasswd /etc/dtc-xen/privkey.pem /etc/dtc-xen/admin.password /var/lib/dtc-xen /usr/lib/dtcxen-soap/console
        systemd-analyze verify --man=no dtcxen-soap.service
        systemd-analyze security --offline=true dtcxen-soap.service | tail -n 1
        for name in dtcxen dtcxen-soap dtc_reinstall_os check_dtcxen dtc-xen.conf; do ls /usr/share/man/man?/$name.?.gz; done
        python3 /mnt/packagescene.py served dtc-xen /etc/dtc-xen/admin.password
        sha256sum /etc/dtc-xen/* 2>/dev/null >/mnt/sums || true
        dpkg-deb -R /mnt/dtcxen-soap.deb /tmp/newer && sed -i 's/^Version: .*/Version: 9/' /tmp/newer/DEBIAN/control && dpkg-deb -b /tmp/newer /tmp/newer.deb
        dpkg -i /tmp/newer.deb </dev/null
        sha256sum --check --quiet /mnt/sums && echo the same secrets
        python3 /mnt/packagescene.py served dtc-xen /etc/dtc-xen/admin.password
        dpkg -r dtcxen-soap && ls /etc/dtc-xen/privkey.pem && ! command -v dtcxen
        dpkg -P dtcxen-soap
        python3 /mnt/packagescene.py files | sort >/mnt/after
        diff /mnt/before /mnt/after && echo no trace
        """)
    for mode in ("600 /etc/dtc-xen/dtc-xen.conf", "600 /etc/dtc-xen/htpasswd", "600 /etc/dtc-xen/privkey.pem", "600 /etc/dtc-xen/admin.password",
                 "711 /var/lib/dtc-xen", "755 /usr/lib/dtcxen-soap/console"):
        assert f"mode {mode}\n" in told, told
    assert told.count("\nserved\n") == 2 and "the same secrets" in told and "\nno trace\n" in told, told
    exposure = re.search(r"exposure level for dtcxen-soap.service: ([0-9.]+)", told)
    assert exposure and f"{exposure[1]} (Debian" in (ROOT / "README.md").read_text(), told


def old_package(folder: Path) -> str:
    """The files of a dtc-xen as it was shipped, as a script that makes and installs the package; its key and password are in the folder."""
    certificate, key = make_pair(folder, "old", rsa_bits=2048, days=400)
    assert (certificate.name, key.name) == ("old.crt", "old.key")
    (folder / "old.htpasswd").write_text(f"dtc-xen:{HASHES['apr1']}\nxen01:{HASHES['des']}\n")
    (folder / "old.password").write_text(f"{PASSWORD}\n")
    control = "Package: dtc-xen\nVersion: 0.5.17-1\nArchitecture: all\nMaintainer: somebody <x@example.com>\nDescription: the original\n"
    files = {"control": control, "conffiles": "/etc/dtc-xen/dtc-xen.conf\n", **{name: f"#!/bin/sh\nset -e\n{text}" for name, text in SCRIPTS.items()}}
    for name, text in files.items():
        (folder / f"old.{name}").write_text(text)
    return """
        mkdir -p /tmp/old/DEBIAN /tmp/old/etc/dtc-xen /tmp/old/usr/sbin /tmp/old/usr/share/dtc-xen-os
        for name in control conffiles postinst prerm; do cp /mnt/old.$name /tmp/old/DEBIAN/$name; done
        chmod 755 /tmp/old/DEBIAN/postinst /tmp/old/DEBIAN/prerm
        echo 'soap_server_host=127.0.0.1' >/tmp/old/etc/dtc-xen/dtc-xen.conf
        for name in dtc_setup_vps_disk dtc_reinstall_os dtc-soap-server; do echo '#!/bin/sh' >/tmp/old/usr/sbin/$name; done
        dpkg-deb -b /tmp/old /tmp/old.deb && dpkg -i /tmp/old.deb
        printf 'soap_server_host="127.0.0.1"\\nprovisioning_volgroup=vg0\\n' >/etc/dtc-xen/dtc-xen.conf
        mkdir -p /etc/xen && echo 'name = "xen01"' >/etc/xen/xen01
        echo 'a file system' >/var/lib/dtc-xen/mnt/xen01.img
        """


def test_an_old_node_is_taken_over_with_all_that_it_has(scene: Scene, tmp_path: Path) -> None:
    """No question is asked, nothing is made anew, what others could read is shut; purging keeps a node that is in use."""
    told = scene(f"""
        {old_package(tmp_path)}
        sha256sum {' '.join(OLD_FILES)} >/mnt/sums
        {INSTALL}
        sha256sum --check --quiet /mnt/sums && echo as it was
        stat -c 'mode %a %n' {' '.join(OLD_FILES)} /var/lib/dtc-xen/ttyssh_home
        ls /etc/dtc-xen
        python3 /mnt/packagescene.py served dtc-xen /mnt/old.password
        dpkg-query -W -f 'the original: ${{db:Status-Status}}\\n' dtc-xen
        dpkg -P dtcxen-soap
        sha256sum --check --quiet /mnt/sums && echo still there
        """)
    assert "as it was\n" in told and "the original is stopped" in told and "the original: config-files" in told, told
    for mode in ("600 /etc/dtc-xen/dtc-xen.conf", "600 /etc/dtc-xen/htpasswd", "600 /etc/dtc-xen/privkey.pem", "644 /etc/dtc-xen/dtc-xen.cert.cert",
                 "755 /var/lib/dtc-xen/ttyssh_home"):
        assert f"mode {mode}\n" in told, told
    assert "repaired /etc/dtc-xen/privkey.pem, which was 644" in told and "repaired /var/lib/dtc-xen/ttyssh_home, which was 757" in told, told
    assert "do not purge dtc-xen" in told and "admin.password" not in told.partition("mode ")[2].partition("served")[0], told
    assert "\nserved\n" in told and "this node has VPSes" in told and "\nstill there\n" in told, told


def test_settings_that_name_other_credentials_get_none_beside_them(scene: Scene, tmp_path: Path) -> None:
    """A node of RPM's habits: certificate and key elsewhere."""
    make_pair(tmp_path, "rpm")
    told = scene(f"""
        mkdir -p /etc/dtc-xen /etc/pki && cp /mnt/rpm.crt /mnt/rpm.key /etc/pki/
        printf 'tls_certificate=/etc/pki/rpm.crt\\ntls_key=/etc/pki/rpm.key\\n' >/etc/dtc-xen/dtc-xen.conf
        {INSTALL}
        ls /etc/dtc-xen /var/lib
        """)
    assert "privkey.pem" not in told and "names /etc/dtc-xen/htpasswd, which is not there: dtcxen doctor tells" in told, told


SYSTEMD = """
export DEBIAN_FRONTEND=noninteractive
dpkg -i /mnt/dtcxen-soap.deb
systemctl is-active dtcxen-soap
systemctl show -P StatusText dtcxen-soap
printf 'toolstack=none\\nmanage_accounts=no\\ndefault_image_type=vbd\\nGATEWAY=192.0.2.1\\nNETMASK=255.255.255.0\\nDNS=192.0.2.53\\n' >>/etc/dtc-xen/dtc-xen.conf
systemctl reload dtcxen-soap
for tenth in $(seq 100); do [ "$(systemctl is-active dtcxen-soap)" = reloading ] || break; sleep 0.1; done
systemctl is-active dtcxen-soap
cp -r /mnt/bundles/small-amd64-1 /usr/share/dtc-xen-os/ && chown -R root:root /usr/share/dtc-xen-os
dtcxen call setupVPSDisk vps=01 diskSizeMib=128 swapSizeMib=64
dtcxen call reinstallOS vps=01 osType=small-amd64-1 ramSizeMib=128 password=@/mnt/old.password nics=192.0.2.11/24
grep -E '^(NoNewPrivs|Seccomp|CapBnd)' /proc/$(systemctl show -P MainPID dtcxen-soap)/status
journalctl -u dtcxen-soap -q -o json DTCXEN_VPS=01 DTCXEN_OPERATION=reinstallOS --output-fields=MESSAGE,DTCXEN_JOB,DTCXEN_CALLER,DTCXEN_OUTCOME,DTCXEN_ARGUMENTS
dtcxen audit --json 01 | grep -c password=.redacted
mkdir /etc/systemd/system/dtcxen-soap.service.d
printf '[Service]\\nWatchdogSec=3\\n' >/etc/systemd/system/dtcxen-soap.service.d/soon.conf
systemctl daemon-reload
systemctl restart dtcxen-soap
sleep 7
echo restarts while it lives: $(systemctl show -P NRestarts dtcxen-soap)
first=$(systemctl show -P MainPID dtcxen-soap)
kill -STOP $first
sleep 5
kill -CONT $first || echo it is gone
for second in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    [ $(systemctl show -P NRestarts dtcxen-soap) = 0 ] || ! systemctl is-active --quiet dtcxen-soap || break
    sleep 1
done
echo restarts once it hung: $(systemctl show -P NRestarts dtcxen-soap)
dtcxen call testVPSServer
journalctl -u dtcxen-soap -q -o cat --no-pager
systemctl stop dtcxen-soap
losetup --list --noheadings
"""


def test_systemd_runs_restrains_reloads_and_restarts_it(suite: str, built: Path, tmp_path: Path) -> None:
    """Debian's own systemd in a clean Debian: a system is installed under the unit's restrictions, and a daemon that hangs is ended and begun again."""
    shutil.copy(built, tmp_path / "dtcxen-soap.deb")
    make_bundle(tmp_path / "bundles/small-amd64-1")
    (tmp_path / "old.password").write_text("root-of-the-guest\n")
    said = packagechroots.booted(packagechroots.node(suite, built), SYSTEMD, tmp_path, 150)
    assert "\nlistening on https://0.0.0.0:8089/\n" in said and said.count("\nactive\n") == 2, said
    assert re.search("NoNewPrivs:\t1\n", said) and re.search("Seccomp:\t2\n", said), said
    entries = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [entry["DTCXEN_OUTCOME"] for entry in entries if "DTCXEN_OUTCOME" in entry] == ["queued", "done"], said
    queued = entries[0]
    assert (queued["DTCXEN_CALLER"], queued["DTCXEN_JOB"]) == ("dtc-xen", entries[1]["DTCXEN_JOB"]) and "password=(redacted)" in queued["DTCXEN_ARGUMENTS"], queued
    assert "restarts while it lives: 0\n" in said and "restarts once it hung: 1\n" in said, said
    assert "Fatal Python error: Aborted" in said and "root-of-the-guest" not in said, said
    assert said.rpartition("losetup")[2].count("\n") <= 3 and "/var/lib/dtc-xen" not in said.rpartition("losetup")[2], said


@pytest.mark.machine
def test_pipx_installs_it_as_well(tmp_path: Path) -> None:
    """pipx itself, into a clean environment; its commands run without anything of ours on the path."""
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", ".venv*", ".cache", "run", "build", "*.egg-info"))
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "pipx"], check=True)
    subprocess.run([tmp_path / "pipx/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "pipx"], check=True)
    places = {"PIPX_HOME": str(tmp_path / "home"), "PIPX_BIN_DIR": str(tmp_path / "bin"), "PIPX_MAN_DIR": str(tmp_path / "man"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([tmp_path / "pipx/bin/pipx", "install", str(source)], env=places, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (["dtcxen", "--version"], ["dtcxen", "wsdl"], ["dtc_reinstall_os", "--help"]):
        shown = subprocess.run([tmp_path / "bin" / words[0], *words[1:]], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
        assert shown.returncode == 0 and shown.stdout, (words, shown)
