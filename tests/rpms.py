"""Real RPM repositories for tests: a small busybox system and one package more, signed by a key, by another, or not at all.

Made with rpmbuild, gpg, rpmsign and createrepo_c, so only where those are (the tests' Debian 13).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SYSTEM, EXTRA = "small-system", "small-extra"
_SYSTEM_SPEC = """\
Name: small-system
Version: 9
Release: 1
Summary: A system of one program
License: MIT
BuildArch: noarch
AutoReqProv: no
%global __os_install_post %{nil}
%global _binaries_in_noarch_packages_terminate_build 0
%description
What a VPS needs to be chrooted into.
%install
cd %{buildroot}
mkdir -p bin sbin dev proc sys root tmp etc/sysconfig/network-scripts usr/bin var/lib/rpm
cp /usr/bin/busybox bin/busybox
for name in sh ls cat stat; do ln -s busybox bin/$name; done
ln -s /bin/busybox sbin/init
ln -s /bin/busybox sbin/getty
echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd
echo 'root:x:0:' >etc/group
echo 'root:*:19000:0:99999:7:::' >etc/shadow
echo '::sysinit:/bin/true' >etc/inittab
echo 'CentOS release 9 (Test)' >etc/redhat-release
echo 'NETWORKING=yes' >etc/sysconfig/network
touch etc/sysconfig/network-scripts/ifup
%post -p /bin/sh
stat -c '%%F' /dev/null >/etc/post-install
[ -e /proc/self/stat ] && echo proc >>/etc/post-install
echo nothing 2>/dev/null
%files
%dir /bin
%dir /sbin
%dir /dev
%dir /proc
%dir /sys
%dir /root
%dir /tmp
%dir /etc
/etc/*
/bin/*
/sbin/*
"""
_EXTRA_SPEC = """\
Name: small-extra
Version: 1
Release: 1
Summary: One file
License: MIT
BuildArch: noarch
%description
Something to add.
%install
mkdir -p %{buildroot}/etc
echo extra >%{buildroot}/etc/small-extra
%files
/etc/small-extra
"""


class Workshop:
    """Keys and packages below `directory`; `repository` makes one more repository of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._home = directory / "home"
        self._home.mkdir(parents=True, mode=0o700)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self._home), "LANG": "C.UTF-8", "GNUPGHOME": str(self._home)}
        for name in ("mine", "others"):
            self.run("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", f"{name} <{name}@example.org>", "rsa2048", "sign", "never")
            self.key(name).write_text(self.run("gpg", "--armor", "--export", f"{name}@example.org"))
            self.key(name).chmod(0o644)
        for name, spec in ((SYSTEM, _SYSTEM_SPEC), (EXTRA, _EXTRA_SPEC)):
            (directory / f"{name}.spec").write_text(spec)
            self.run("rpmbuild", "-bb", "--quiet", "--define", f"_topdir {directory}/build", f"{directory}/{name}.spec")

    def run(self, *argv: str) -> str:
        """Run one of the tools with keys of ours; its output."""
        done = subprocess.run(argv, env=self.environment, cwd=self.directory, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
        assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
        return done.stdout

    def key(self, name: str) -> Path:
        """The public key."""
        return self.directory / f"{name}.asc"

    def repository(self, name: str, *packages: str, signed: str = "mine", metadata_signed: str = "") -> Path:
        """A repository of these packages, signed by a key, or "" by none; perhaps also its metadata."""
        made = self.directory / "repositories" / name
        made.mkdir(parents=True)
        for package in packages:
            for built in (self.directory / "build/RPMS/noarch").glob(f"{package}-*.rpm"):
                shutil.copy(built, made)
        if signed:
            self.run("rpmsign", "--addsign", "--define", "__gpg /usr/bin/gpg", "--define", f"_gpg_name {signed}@example.org", *map(str, made.glob("*.rpm")))
        self.run("createrepo_c", "--quiet", str(made))
        if metadata_signed:
            self.run("gpg", "--batch", "--quiet", "--armor", "--local-user", f"{metadata_signed}@example.org", "--detach-sign", f"{made}/repodata/repomd.xml")
        return made

    def end(self) -> None:
        """Let gpg's agent go."""
        subprocess.run(["gpgconf", "--kill", "all"], env=self.environment, timeout=30)
