"""`make run`: a node that does its main job before your eyes, and then is yours to try.

It uses nothing but what a user has: `dtcxen init`, `dtcxen serve`, `dtcxen call`. Every call is printed
first, ready to paste. VPS 01 is installed once; later runs serve at once.
"""

from __future__ import annotations

import argparse
import os
import secrets
import select
import shlex
import signal
import subprocess
import sys
from pathlib import Path

START_SECONDS, STOP_SECONDS = 60, 90
_DTCXEN = os.path.relpath(Path(sys.executable).with_name("dtcxen"))


class Ended(Exception):
    """The demonstration cannot go on; the reason was told."""


def call(config: Path, *words: str) -> None:
    """One call to the daemon as a user would type it."""
    argv = [_DTCXEN, "call", "--config", str(config), *words]
    print(f"\n$ {shlex.join(argv)}", flush=True)
    if subprocess.run(argv, stdin=subprocess.DEVNULL).returncode != 0:
        raise Ended(f"that call failed; the daemon's log and {config.parents[2] / 'var/lib/dtc-xen/jobs'} say why")


def serve(config: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the daemon, in a group of its own so that Ctrl-C reaches us first; it, and its address once it listens."""
    daemon = subprocess.Popen([_DTCXEN, "serve", "--config", str(config)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, process_group=0)
    assert daemon.stdout is not None
    ready, _, _ = select.select([daemon.stdout], [], [], START_SECONDS)
    line = daemon.stdout.readline() if ready else ""
    if not line.startswith("listening on "):
        stop(daemon)
        raise Ended("the daemon did not start; it said why above")
    return daemon, line.removeprefix("listening on ").strip()


def stop(daemon: subprocess.Popen[str]) -> int:
    """End the daemon as its service manager would, and wait for it."""
    if daemon.poll() is None:
        daemon.send_signal(signal.SIGTERM)
    try:
        return daemon.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        daemon.kill()
        return daemon.wait()


def install(node: Path, config: Path) -> None:
    """The main job: disks for VPS 01, and Debian on them."""
    password = node / "vps01.root-password"
    if not password.exists():
        with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(12) + "\n")
    call(config, "setupVPSDisk", "vps=01", "diskSizeMib=2048", "swapSizeMib=256", "imageType=vbd")
    call(config, "reinstallOS", "vps=01", "osType=debian", "ramSizeMib=512", f"password=@{password}",
         "nics=192.0.2.10/24", "gateway=192.0.2.1", "dns=192.0.2.53", "hostname=xen01.example.com")


def tell(node: Path, config: Path, url: str) -> None:
    """What a newcomer needs to go on."""
    sample = shlex.join([_DTCXEN, "call", "--config", str(config), "listJobs"])
    print(f"""
VPS 01     {node}/var/lib/dtc-xen/mnt/xen01.img, root's password in {node}/vps01.root-password
WSDL       {url}?wsdl
admin      dtc-xen, password in {config.parent}/admin.password
trust      {config.parent}/dtc-xen.cert.cert
a call     {sample}
serving on {url} until Ctrl-C""", flush=True)


def main() -> int:
    """Make, serve, install unless it is done, tell, and go on serving."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--node", default="run", help="the node's directory")
    options.add_argument("--port", default="8089", help="its port, when it is made")
    chosen = options.parse_args()
    if os.geteuid() != 0:
        print("an installation mounts file systems: run this as root (make serve needs no root to look around)", file=sys.stderr)
        return 1
    node = Path(chosen.node)
    config = node / "etc/dtc-xen/dtc-xen.conf"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not config.exists() and subprocess.run([_DTCXEN, "init", str(node), "--port", chosen.port]).returncode != 0:
        return 1
    try:
        daemon, url = serve(config)
    except Ended as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    try:
        if not (node / "etc/xen/xen01").exists():
            install(node, config)
        tell(node, config, url)
        return daemon.wait()
    except Ended as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopping", flush=True)
        return 0
    finally:
        stop(daemon)


if __name__ == "__main__":
    sys.exit(main())
