"""A node as the original dtc-xen leaves it, as files below a directory: for tests of `dtcxen doctor` and of the upgrade.

`OldTree(directory)` is one without anything to complain of; a test spoils what it is about. Paths
are the node's own ("/etc/xen/xen01"). Everything in it is made up here.
"""

from __future__ import annotations

import hashlib
import os
import stat
import warnings
from datetime import datetime
from pathlib import Path

from dtcxen_soap.cli.doctor import tls_trouble, usable
from dtcxen_soap.survey import upgrade as survey_upgrade
from dtcxen_soap.tree import Tree
from dtcxen_soap.upgrade import report
from dtcxen_soap.upgrade.finding import Finding
from dtcxen_soap.upgradefacts import OldNode
from dtcxen_soap.vps import Mib
from tests.certificates import make_pair
from tests.fakes import FakeVolume, ScriptedDom0

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from passlib.hash import apr_md5_crypt, bcrypt, des_crypt, ldap_sha1, md5_crypt, sha256_crypt, sha512_crypt

PASSWORD = "a long password"
CONF = "/etc/dtc-xen/dtc-xen.conf"
HTPASSWD = "/etc/dtc-xen/htpasswd"
CERTIFICATE, KEY = "/etc/dtc-xen/dtc-xen.cert.cert", "/etc/dtc-xen/privkey.pem"
STATE, MNT, HOMES = "/var/lib/dtc-xen", "/var/lib/dtc-xen/mnt", "/var/lib/dtc-xen/ttyssh_home"
CONSOLE = "/usr/lib/dtcxen-soap/console"
HASHES = {
    "bcrypt": bcrypt.using(rounds=4).hash(PASSWORD), "apr1": apr_md5_crypt.hash(PASSWORD), "sha1": ldap_sha1.hash(PASSWORD),
    "sha256": sha256_crypt.using(rounds=1000).hash(PASSWORD),
    "sha512": sha512_crypt.using(rounds=5000).hash(PASSWORD), "des": des_crypt.hash(PASSWORD), "md5": md5_crypt.hash(PASSWORD), "plain": PASSWORD}
CONFIG = """\
kernel = "/boot/vmlinuz-old"
memory = 512
name = "xen01"
#cpu = -1
vif = [ 'mac=00:16:3e:10:10:01, ip=192.0.2.11 192.0.2.12' ]
disk = [ 'file:/var/lib/dtc-xen/mnt/xen01.img,xvda,w','file:/var/lib/dtc-xen/mnt/xen01.swap.img,xvdb,w' ]

root = "/dev/xvda ro"
# Sets runlevel 4.
extra = "4 TERM=xterm xencons=tty console=tty1"
"""
"""As the original's scripts write one: xm's syntax, which is Python's and xl's at once."""
PROGRAM = CONFIG + "import os\narch = os.uname()[4]\nif arch == 'x86_64':\n    vcpus = 2\n"
"""And as an admin made one of it who knew that xm ran it."""
HVM = """\
kernel = "/usr/lib/xen/boot/hvmloader"
builder = 'hvm'
memory = 1024
name = "xen02"
vif = [ 'type=ioemu, mac=00:16:3e:10:10:02, ip=192.0.2.21' ]
disk=[ 'phy:/dev/mapper/vg0-xen02,ioemu:hda,w','file:/var/lib/dtc-xen/ttyssh_home/xen02/net.iso,hdb:cdrom,r' ]
vfb = [ "type=vnc,vncdisplay=21,vncpasswd=sesame" ]
nographic=0
vnc=1
boot="c"
serial='pty'
"""


class Machine(ScriptedDom0):
    """This very node, as `dtcxen doctor` sees it: files of a directory, LVM of a table."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def tree(self, root: str) -> Tree:  # type: ignore[override]
        """The files are real; only their root is elsewhere."""
        return Tree(str(self.directory))


class OldTree:
    """The files, ready to be spoilt; `machine` has its volumes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.machine = Machine(directory)
        directory.chmod(0o755)
        self.put("/etc/dtc-xen/dtc-xen.conf", "listen_address=127.0.0.1\ndefault_image_type=vbd\n")
        self.put(HTPASSWD, f"dtc-xen:{HASHES['bcrypt']}\nxen01:{HASHES['bcrypt']}\n")
        self.pair(days=400)
        self.put("/etc/xen/xen01", CONFIG)
        self.put("/boot/vmlinuz-old", "kernel")
        self.link("/etc/xen/auto/xen01", "../xen01")
        self.put(f"{MNT}/xen01.img", "root file system")
        self.put(f"{MNT}/xen01.swap.img", "swap")
        self.put("/etc/fstab", "UUID=1234 / ext4 defaults 0 1\n", 0o644)
        self.put("/etc/passwd", f"root:x:0:0:root:/root:/bin/bash\nxen01:x:1001:1001::{HOMES}/xen01:{CONSOLE}\n", 0o644)
        self.put("/etc/group", "root:x:0:\nxenusers:x:1001:\n", 0o644)
        self.put("/etc/sudoers", "root ALL=(ALL:ALL) ALL\n", 0o440)
        self.put("/etc/sudoers.d/dtc-xen-xen01", "xen01 ALL=(root) NOPASSWD: /usr/sbin/xl console xen01\n", 0o440)
        self.put(CONSOLE, "#!/bin/sh\n", 0o755)
        self.put(f"{HOMES}/xen01/.ssh/authorized_keys", "# mine\nssh-ed25519 AAAA owner\n", 0o644)
        self.put(f"{HOMES}/xen01/net.iso", "an ISO", 0o644)

    def at(self, path: str) -> Path:
        """Where a path of the node really is."""
        return self.directory / path.lstrip("/")

    def put(self, path: str, text: str | bytes, mode: int = 0o600) -> None:
        """Write a file, parents with 0755."""
        real = self.at(path)
        real.parent.mkdir(parents=True, exist_ok=True)
        real.write_bytes(text.encode(errors="surrogateescape") if isinstance(text, str) else text)
        real.chmod(mode)

    def add(self, path: str, text: str) -> None:
        """Add lines to a file."""
        with self.at(path).open("a") as file:
            file.write(text)

    def replace(self, path: str, old: str, new: str) -> None:
        """Change a file's text."""
        text = self.at(path).read_text()
        assert old in text
        self.at(path).write_text(text.replace(old, new))

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        self.at(path).unlink(missing_ok=True)
        self.at(path).symlink_to(target)

    def pair(self, **words: int | str) -> None:
        """A new certificate and key."""
        certificate, key = make_pair(self.directory, **words)  # type: ignore[arg-type]
        self.put(CERTIFICATE, certificate.read_bytes())
        self.put(KEY, key.read_bytes())
        certificate.unlink()
        key.unlink()

    def volume(self, name: str, vg: str = "vg0", mib: int = 1024) -> None:
        """A logical volume, with its two devices."""
        self.machine.vgs.setdefault(vg, 1 << 30)
        self.machine.volumes[vg, name] = FakeVolume(Mib(mib))
        self.put(f"/dev/{vg}/{name}", "")
        self.put(f"/dev/mapper/{vg.replace('-', '--')}-{name}", "")

    def process(self, pid: int, *argv: str, listens: int = 0) -> None:
        """A process, as /proc tells of it; it may listen on a port."""
        self.put(f"/proc/{pid}/cmdline", "\0".join(argv) + "\0")
        if listens:
            self.link(f"/proc/{pid}/fd/3", f"socket:[{pid}9]")
            self.put("/proc/net/tcp", "  sl  local_address rem_address   st\n"
                     f"   0: 0100007F:{listens:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 {pid}9 1 0 100 0 0 10 0\n")

    # -- what doctor sees

    def look(self, now: datetime | None = None) -> OldNode:
        """The facts."""
        settings = usable(survey_upgrade.conf(self.machine, CONF, "/"))
        return survey_upgrade.look(self.machine, settings, CONF, "/", tls_trouble, now)

    def findings(self) -> tuple[Finding, ...]:
        """All of them."""
        return report.judge(usable(survey_upgrade.conf(self.machine, CONF, "/")), self.look())

    def snapshot(self) -> dict[str, tuple[object, ...]]:
        """Everything that a change of anything would change."""
        found = {}
        for top, directories, files in os.walk(self.directory):
            for name in (*directories, *files):
                path = os.path.join(top, name)
                status = os.lstat(path)
                data = hashlib.sha256(Path(path).read_bytes()).hexdigest() if stat.S_ISREG(status.st_mode) else os.readlink(path) if stat.S_ISLNK(status.st_mode) else ""
                found[os.path.relpath(path, self.directory)] = (oct(status.st_mode), status.st_uid, status.st_gid, status.st_size, status.st_mtime_ns, data)
        return found
