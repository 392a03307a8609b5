"""What test_package.py does inside a clean Debian, as its root: run there by Debian's own Python, with our package's files on /mnt.

    python3 packagescene.py served USER PASSWORD_FILE    start the daemon as systemd would, call it, reload it, end it
    python3 packagescene.py files                        every file of the machine that somebody could miss, a line each

Not a test itself. Only the standard library; a failed assertion is the exit code.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

VOLATILE = ("/proc", "/sys", "/dev", "/mnt", "/tmp", "/run", "/var/lib/dpkg", "/var/lib/apt", "/var/cache", "/var/log", "/root", "/etc/ld.so.cache",
            "/var/lib/systemd/deb-systemd-helper-enabled")
CONFIG, URL, CERTIFICATE = "/etc/dtc-xen/dtc-xen.conf", "https://127.0.0.1:8089/", "/etc/dtc-xen/dtc-xen.cert.cert"


def files() -> None:
    """Paths only: what changes in a file is the other scenes' matter."""
    for top, directories, names in os.walk("/"):
        directories[:] = [name for name in directories if os.path.join(top, name) not in VOLATILE and name != "__pycache__"]
        for name in (*directories, *names):
            if os.path.join(top, name) not in VOLATILE:
                print(os.path.join(top, name))


def command_of_the_unit() -> list[str]:
    """ExecStart, as the installed unit has it."""
    unit = subprocess.run(["dpkg", "-L", "dtcxen-soap"], capture_output=True, text=True, check=True).stdout.split()
    (path,) = (each for each in unit if each.endswith("/dtcxen-soap.service"))
    (line,) = (line for line in Path(path).read_text().splitlines() if line.startswith("ExecStart="))
    return line.partition("=")[2].split()


def told(systemd: socket.socket, wanted: str, seconds: float = 60) -> list[str]:
    """Everything that systemd is told until it is told this."""
    heard: list[str] = []
    systemd.settimeout(seconds)
    deadline = time.monotonic() + seconds
    while wanted not in heard:
        assert time.monotonic() < deadline, heard
        heard += systemd.recv(4096).decode().split("\n")
    return heard


def ask(*words: str, code: int = 0) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == code, (words, done)
    return done.stdout + done.stderr


def served(user: str, password_file: str) -> None:
    """The whole life of the service, in systemd's place."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("/tmp/notify")
        environment = {**os.environ, "NOTIFY_SOCKET": "/tmp/notify", "WATCHDOG_USEC": "2000000"}
        daemon = subprocess.Popen(command_of_the_unit(), env=environment, stdout=subprocess.PIPE, text=True)
        try:
            assert "READY=1" not in told(systemd, "STATUS=settling what an earlier daemon left")
            told(systemd, "READY=1")
            signed_in = ("--url", URL, "--user", user, "--password-file", password_file, "--ca", CERTIFICATE)
            answered = ask("dtcxen", "call", "testVPSServer", *signed_in)
            assert "OK" in answered, answered
            assert "OK" in ask("/usr/lib/nagios/plugins/check_dtcxen", "-H", "127.0.0.1", "--ca", CERTIFICATE, "--mode", "health")
            assert "hddsize" in ask("/usr/sbin/dtc_setup_vps_disk", "01", "3", "512", "vbd", code=1)
            ask("/usr/sbin/dtc-xen-ping-all-ips", "--password-file", password_file)
            ask("dtcxen", "call", "setSoapPassword", "vps=77", f"password=@{password_file}", *signed_in, code=1)
            audited = ask("dtcxen", "audit", "--json")
            assert "setSoapPassword" in audited and "password=(redacted)" in audited, audited
            told(systemd, "WATCHDOG=1")
            daemon.send_signal(signal.SIGHUP)
            told(systemd, "RELOADING=1")
            told(systemd, "READY=1")
        finally:
            daemon.send_signal(signal.SIGTERM)
        told(systemd, "STOPPING=1")
        assert daemon.wait(30) == 0
    os.unlink("/tmp/notify")
    print("served")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
