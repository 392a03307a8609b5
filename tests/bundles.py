"""A bundle of 2010 for tests that install one: the scripts of tests/data/bundles/2010-style and a small, real system.

The system is busybox with the links and files that an image of that time had: sda1 in its fstab and
menu.lst, tty gettys, another card's name, an absolute link, a hard link, device nodes.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

SCRIPTS = Path(__file__).with_name("data") / "bundles/2010-style"
TARBALL = "busybox.i386-1.0-20100412.tar.gz"
APPLETS = ("sh", "ls", "cat", "mount", "login", "hostname", "ps", "sleep")
FILES = {
    "etc/fstab": "# /etc/fstab\nproc /proc proc defaults 0 0\n/dev/sda1 / ext3 errors=remount-ro 0 1\n/dev/sda2 none swap sw 0 0\n",
    "etc/hostname": "stacklet\n",
    "etc/hosts": "127.0.0.1 localhost stacklet\n127.0.1.1 stacklet.local stacklet\n",
    "etc/inittab": "::sysinit:/etc/init.d/rcS\ntty1::respawn:/sbin/getty 38400 tty1\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\nshadow:x:42:\n",
    "etc/shadow": "root:*:14000:0:99999:7:::\n",
    "etc/securetty": "tty1\ntty2\n",
    "etc/init.d/rcS": "#!/bin/sh\nmount -a\n",
    "etc/network/interfaces": "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n",
    "etc/udev/rules.d/70-persistent-net.rules": 'SUBSYSTEM=="net", ATTR{address}=="00:16:3e:aa:bb:cc", NAME="eth0"\n',
    "boot/grub/menu.lst": "default 0\n# kopt=root=/dev/sda1 ro\ntitle Linux\nroot (hd0,0)\nkernel /boot/vmlinuz root=/dev/sda1 ro\n",
}


def make_bundle(directory: Path) -> Path:
    """Make the bundle at `directory`, which names it; nobody but root may write in it."""
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    for script in SCRIPTS.iterdir():
        shutil.copy(script, directory / script.name)
        (directory / script.name).chmod(0o755)
    with tarfile.open(directory / TARBALL, "w:gz") as archive:
        write_system(archive)
    (directory / TARBALL).chmod(0o644)
    return directory


def write_system(archive: tarfile.TarFile) -> None:
    """All members of the small system, names as `tar -C image .` writes them, owners by number."""
    for name in (".", "./bin", "./sbin", "./dev", "./proc", "./sys", "./tmp", "./root", "./var", "./var/log", "./etc"):
        _add(archive, name, tarfile.DIRTYPE, mode=0o1777 if name == "./tmp" else 0o755)
    busybox = Path(shutil.which("busybox") or "/bin/busybox")
    _add(archive, "./bin/busybox", tarfile.REGTYPE, busybox.read_bytes(), 0o755)
    for library in _libraries(busybox):
        _add(archive, f".{library}", tarfile.REGTYPE, library.read_bytes(), 0o755)
    _add(archive, "./bin/sh", tarfile.LNKTYPE, link="./bin/busybox")
    for applet in APPLETS[1:]:
        _add(archive, f"./bin/{applet}", tarfile.SYMTYPE, link="busybox")
    for applet in ("init", "getty", "ifup", "chpasswd"):
        _add(archive, f"./sbin/{applet}", tarfile.SYMTYPE, link="/bin/busybox")
    _add(archive, "./var/run", tarfile.SYMTYPE, link="/run")
    _add(archive, "./var/log/nobody", tarfile.REGTYPE, b"", owner=65534)
    for name, (major, minor) in {"console": (5, 1), "null": (1, 3), "tty1": (4, 1)}.items():
        _add(archive, f"./dev/{name}", tarfile.CHRTYPE, mode=0o600, device=(major, minor))
    for name, text in FILES.items():
        mode = 0o640 if name == "etc/shadow" else 0o755 if "init.d" in name else 0o644
        _add(archive, f"./{name}", tarfile.REGTYPE, text.encode(), mode)


def _libraries(program: Path) -> list[Path]:
    """The shared libraries that a program needs; none of a static one."""
    said = subprocess.run(["ldd", str(program)], capture_output=True, text=True).stdout
    return sorted({Path(word) for word in said.split() if word.startswith("/") and Path(word).is_file()})


def _add(archive: tarfile.TarFile, name: str, kind: bytes, data: bytes = b"", mode: int = 0o777, link: str = "", owner: int = 0, device: tuple[int, int] = (0, 0)) -> None:
    item = tarfile.TarInfo(name)
    item.type, item.mode, item.linkname, item.size, item.mtime = kind, mode, link, len(data), 1271000000
    item.uid = item.gid = owner
    item.devmajor, item.devminor = device
    archive.addfile(item, io.BytesIO(data))
