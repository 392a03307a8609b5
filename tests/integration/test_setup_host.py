"""setup-host on a bare Debian 13: a layer over the tests' own one, with network cards of its own; sshd, ifupdown and bridge-utils are the real ones."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.debian13]

ROOT = Path(__file__).resolve().parents[2]
LAYER = (
    "mount -t tmpfs tmpfs /srv", "mkdir /srv/upper /srv/work /srv/root", "mount -t overlay -o lowerdir=/,upperdir=/srv/upper,workdir=/srv/work overlay /srv/root",
    "cd /srv/root", "mount -t proc proc proc", "mount -t sysfs sysfs sys", "mount --bind /dev dev", 'mount --bind "$1" mnt', 'mount --bind "$2" media',
    "mount -t tmpfs tmpfs run", "mount -t tmpfs tmpfs tmp", "mkdir run/sshd run/network", "ip link add eth0 type veth peer name eth1",
    'exec chroot . sh -euc "$3"')
LISTING = """\
import hashlib, os, stat
for top, directories, files in os.walk("/"):
    directories[:] = [name for name in directories if not os.path.ismount(os.path.join(top, name))]
    for name in [".", *files]:
        path = os.path.join(top, name)
        found = os.lstat(path)
        data = ""
        if stat.S_ISREG(found.st_mode):
            data = hashlib.sha256(open(path, "rb").read()).hexdigest() if path.startswith(("/etc", "/var", "/boot")) else found.st_size
        print(path, oct(found.st_mode), found.st_uid, found.st_gid, data)
"""
BEFORE = """\
setup() { python3 -m dtcxen_soap setup-host "$@" </dev/null; }
everything() { python3 /media/listing.py | sort; }
same() { everything >/media/after; diff /media/before /media/after && echo "as before"; }
grep -q sshd_config.d /etc/ssh/sshd_config
rm -rf /usr/lib/dtcxen-soap
test -e /etc/ssh/ssh_host_ed25519_key || ssh-keygen -q -A
printf '%s\\n' 'source /etc/network/interfaces.d/*' 'auto lo eth0' 'iface lo inet loopback' >/etc/network/interfaces
printf '%s\\n' '# the card' 'iface eth0 inet static' '    address 192.0.2.9/24' >>/etc/network/interfaces
everything >/media/before
"""
CUT_OFF = """\
mv /usr/sbin/sshd /usr/sbin/sshd.real
printf '%s\\n' '#!/bin/sh' 'echo >>/run/asked' 'if [ $(wc -l </run/asked) -ne 2 ]; then exec /usr/sbin/sshd.real "$@"; fi' "$1" >/usr/sbin/sshd
chmod 755 /usr/sbin/sshd
everything >/media/before
"""
KILL = """\
for each in /proc/[0-9]*; do
    tr '\\000' ' ' <$each/cmdline | grep -q '^python3 -m dtcxen_soap setup-host' && kill -9 ${each#/proc/}
done
"""

Scene = Callable[[str], str]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Runs a script on a machine that was never a node; what it printed, errors too."""
    (tmp_path / "listing.py").write_text(LISTING)
    (tmp_path / "kill.sh").write_text(KILL)

    def run(script: str) -> str:
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "--net", "--pid", "--fork", "--kill-child", "--",
             "sh", "-euc", "\n".join(LAYER), "sh", str(ROOT), str(tmp_path), BEFORE + script],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root", "PYTHONPATH": "/mnt", "PYTHONPYCACHEPREFIX": "/tmp/pycache"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}"
        return done.stdout

    return run


def test_a_plan_changes_nothing(scene: Scene) -> None:
    told = scene("setup; setup --bridge xenbr0 --nic eth0; same")
    assert told.count("nothing was done; --yes does it") == 2 and told.endswith("as before\n"), told
    assert "Make the service's private key." in told and "At the next boot have eth0 in the bridge xenbr0" in told


def test_a_node_is_made_once_and_taken_back_to_the_byte(scene: Scene) -> None:
    told = scene("""\
setup --yes
python3 -m dtcxen_soap check >/dev/null && echo settings are right
stat -c '%a %U %n' /etc/dtc-xen/* /usr/lib/dtcxen-soap/console /etc/ssh/sshd_config.d/dtc-xen.conf /var/lib/dtc-xen /var/lib/dtcxen-soap/*
sshd -T -C user=x,host=y,addr=192.0.2.1 >/dev/null && echo sshd is right
everything >/media/first
setup --yes
everything >/media/second
diff /media/first /media/second && echo nothing twice
setup --undo
diff /media/first /media/second
setup --undo --yes
same
setup --undo --yes
same
""")
    assert "settings are right\n" in told and "sshd is right\n" in told and "nothing twice\n" in told, told
    for line in ("600 root /etc/dtc-xen/privkey.pem", "600 root /etc/dtc-xen/dtc-xen.conf", "600 root /etc/dtc-xen/admin.password", "755 root /usr/lib/dtcxen-soap/console",
                 "644 root /etc/ssh/sshd_config.d/dtc-xen.conf", "711 root /var/lib/dtc-xen", "600 root /var/lib/dtcxen-soap/setup-host.json"):
        assert f"{line}\n" in told, told
    assert "admin: dtc-xen, password in /etc/dtc-xen/admin.password" in told and "left to you: Xen: this machine does not run as a Xen dom0" in told
    assert told.count("as before\n") == 2 and told.endswith("to do\nas before\n"), told


def test_the_card_comes_up_in_the_bridge_and_the_bridge_has_its_address(scene: Scene) -> None:
    told = scene("""\
setup --yes --bridge xenbr0 --nic eth0
ip -br link show type bridge && echo no bridge now
cat /etc/network/interfaces
ifup xenbr0 2>&1
ip -br -4 addr show xenbr0
ls /sys/class/net/xenbr0/brif
ifdown xenbr0
setup --yes --bridge xenbr0 --nic eth0 | grep already
grep '^xen_bridge=xenbr0' /etc/dtc-xen/dtc-xen.conf
setup --undo --yes
rm -f /run/network/*
same
""")
    assert "# the card\niface eth0 inet manual\n\niface xenbr0 inet static\n    bridge_ports eth0\n" in told, told
    assert "192.0.2.9/24" in told.partition("no bridge now")[2] and "\neth0\n" in told and told.endswith("as before\n"), told


def test_what_would_cost_the_machine_its_network_is_refused(scene: Scene) -> None:
    told = scene("""\
refused() { setup --yes "$@" && exit 9; same; }
refused --bridge xenbr0 --nic eth9
refused --bridge 'xenbr0 eth0'
refused --nic eth0
refused --bridge eth0 --nic eth0
refused --dom0-memory 100
refused --dom0-memory 2048
refused --undo --bridge xenbr0
printf 'iface eth0:0 inet static\\n    address 192.0.2.10/24\\n' >/etc/network/interfaces.d/more
everything >/media/before
refused --bridge xenbr0 --nic eth0
""")
    for text in ("there is no network card eth9, but eth0, eth1", "'xenbr0 eth0' is no name of an interface", "--nic is for a --bridge", "eth0 is a network card, and no bridge",
                 "512 to 1048576", "no update-grub", "--undo takes no other option", "eth0:0 stands on eth0"):
        assert text in told, told
    assert told.count("as before\n") == 8, told


def test_dom0s_memory_is_in_the_boot_menu_from_then_on(scene: Scene) -> None:
    """update-grub itself looks for disks, which a chroot has none of: a stand-in makes the menu of the same settings."""
    told = scene("""\
mkdir -p /etc/default/grub.d /boot/grub
printf '%s\\n' '#!/bin/sh' 'GRUB_CMDLINE_XEN_DEFAULT=quiet' 'for each in /etc/default/grub.d/*.cfg; do [ ! -e $each ] || . $each; done' \\
    'echo "multiboot2 /boot/xen.gz $GRUB_CMDLINE_XEN_DEFAULT" >/boot/grub/grub.cfg' '[ ! -e /run/broken ]' >/usr/sbin/update-grub
chmod 755 /usr/sbin/update-grub
update-grub
everything >/media/before
touch /run/broken
setup --yes --dom0-memory 2048 && exit 9
rm /run/broken
update-grub; same
setup --yes --dom0-memory 2048 >/dev/null; cat /boot/grub/grub.cfg
setup --yes --dom0-memory 4096 >/dev/null; cat /boot/grub/grub.cfg
setup --yes --dom0-memory 4096 | tail -n 1 >/dev/null
setup --undo --yes
cat /boot/grub/grub.cfg
same
""")
    assert "quiet dom0_mem=2048M,max:2048M\n" in told and "quiet dom0_mem=4096M,max:4096M\n" in told and told.count("as before\n") == 2, told


def test_sshds_refusal_takes_all_of_it_back(scene: Scene) -> None:
    told = scene(f"set -- 'echo it is wrong; exit 255'\n{CUT_OFF}\nsetup --yes && exit 9\nrm -f /run/asked\nsame")
    assert "it is wrong" in told and "undone" in told and told.endswith("as before\n"), told


def test_killed_in_the_middle_the_next_run_puts_it_back(scene: Scene) -> None:
    told = scene(f"""\
set -- 'sh /media/kill.sh; exit 1'
{CUT_OFF}
setup --yes || echo "ended with $?"
test -e /etc/dtc-xen/privkey.pem && echo half a node
setup 2>&1 | grep 'cut off'
setup --undo --yes 2>&1 | tail -n 3
same
""")
    assert "ended with 137" in told and "half a node\n" in told and "may have been cut off" in told and told.endswith("as before\n"), told


def test_the_originals_name_does_the_same(scene: Scene) -> None:
    told = scene("""\
legacy() { python3 -c 'import sys; from dtcxen_soap.cli import legacy; sys.exit(legacy.main(["dtc-xen_finish_install", *sys.argv[1:]]))' "$@"; }
legacy --plan; same
legacy >/dev/null
ls /etc/dtc-xen/privkey.pem
""")
    assert "as before\n" in told and told.endswith("/etc/dtc-xen/privkey.pem\n"), told


def test_what_was_changed_since_stays(scene: Scene) -> None:
    told = scene("""\
setup --yes >/dev/null
echo 'other:$2b$12$x' >>/etc/dtc-xen/htpasswd
touch /var/lib/dtc-xen/mnt/xen01.img
setup --undo --yes
ls /etc/dtc-xen /var/lib/dtc-xen/mnt
""")
    assert "note: /etc/dtc-xen/htpasswd was changed since: it stays" in told and "/var/lib/dtc-xen/mnt is not empty and stays" in told, told
    assert told.endswith("/etc/dtc-xen:\nhtpasswd\n\n/var/lib/dtc-xen/mnt:\nxen01.img\n"), told


def test_keys_and_settings_that_are_there_are_kept(scene: Scene) -> None:
    told = scene("""\
mkdir -m 700 /etc/dtc-xen
printf 'tls_key=/etc/own.key\\ntls_certificate=/etc/own.crt\\nxen_bridge=br7\\n' >/etc/dtc-xen/dtc-xen.conf
everything >/media/before
setup --yes --bridge xenbr0
ls /etc/dtc-xen | grep privkey && exit 9
ls /etc/dtc-xen
setup --undo --yes >/dev/null
same
""")
    assert "names keys and users of its own: none are made" in told and "guests join xen_bridge=br7" in told, told
    assert "\ndtc-xen.conf\n" in told and told.endswith("as before\n"), told


def test_a_node_that_serves_is_not_taken_from_under_its_daemon(scene: Scene) -> None:
    told = scene("""\
setup --yes >/dev/null
python3 -m dtcxen_soap serve --config /etc/dtc-xen/dtc-xen.conf >/tmp/log 2>&1 &
for i in $(seq 100); do grep -q 'listening on' /tmp/log && break; sleep 0.1; done
setup --undo --yes && exit 9
ls /etc/dtc-xen/privkey.pem
kill $!; wait $! || true
setup --undo --yes | tail -n 1
""")
    assert "a daemon serves this node: systemctl disable --now dtcxen-soap" in told and "/etc/dtc-xen/privkey.pem\n" in told and "done: " in told, told
