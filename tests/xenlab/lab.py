"""This project on a real Xen node: installed in the lab's dom0 from the working tree, run by systemd, called from outside over HTTPS.

    python -m tests.xenlab.lab start               boot dom0, install the project, and leave it running
    python -m tests.xenlab.lab install             install the working tree anew, and restart the daemon
    python -m tests.xenlab.lab ssh COMMAND...      run a command in dom0
    python -m tests.xenlab.lab call OPERATION [name=value...]
    python -m tests.xenlab.lab capture SCENE       write what xl, lvs and vgs say now into tests/data/ (a new tool version needs it)
    python -m tests.xenlab.lab stop
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests

from dtcxen_soap import lvm
from dtcxen_soap.vps import VpsId
from dtcxen_soap.xen import xl
from tests import boot
from tests.xenlab import calls
from tests.xenlab.image import ISO, Image, build, chosen
from tests.xenlab.machine import DAEMON_PORT, Machine, NotSo
from tools import packagechroots

ROOT = Path(__file__).resolve().parents[2]
ADMIN, PASSWORD = "dtc-xen", "lab-admin-s3cret"
NETWORK = ipaddress.ip_interface("10.99.0.1/24")
CONFIG = {
    "listen_address": "0.0.0.0", "listen_port": str(DAEMON_PORT), "xen_bridge": "xenbr0", "manage_accounts": "no",
    "GATEWAY": str(NETWORK.ip), "NETMASK": str(NETWORK.netmask), "DNS": str(NETWORK.ip),
    # Under emulation everything takes ten times as long.
    "boot_watch_seconds": "900",
}
DEFAULT_VG = "vg0"
CONFIG_FILE = "/etc/dtc-xen/dtc-xen.conf"
CONSOLES = "/var/log/xen/console"
BOOTED = "XENLAB HVM BOOTED"
INSTALL = "DEBIAN_FRONTEND=noninteractive dpkg --force-unsafe-io -i /root/dtcxen-soap.deb </dev/null"
"""dom0 is offline: it has what the package asks for."""


class Lab(Machine):
    """The lab's dom0 with our daemon in it. VPSes are told by their number."""

    def __init__(self, image: Image) -> None:
        super().__init__(image)
        self.url = f"https://127.0.0.1:{self.daemon_port}/"
        self._session: requests.Session | None = None
        self._service: Any = None
        self._faults = 0

    # -- the project in dom0 ----------------------------------------------------------------------

    def install(self) -> None:
        """The working tree's Debian package in dom0, with settings and the admin's password of ours; it makes the rest, and starts the service."""
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            package = packagechroots.package(self.image.suite, ROOT, Path(scratch, "built")).read_bytes()
        self.push("/root", {"dtcxen-soap.deb": package}, 0o644)
        self.ssh(f"vgs {DEFAULT_VG} >/dev/null 2>&1 || vgcreate -q {DEFAULT_VG} /dev/vdb", 60)
        self.write_settings()
        self.push("/etc/dtc-xen", {"admin.password": f"{PASSWORD}\n".encode()}, 0o600)
        self.ssh(INSTALL, 600)
        self.wait_for_daemon()
        self.times["the project's installation"] = time.monotonic() - started

    def write_settings(self, **changed: str) -> None:
        """The node's settings, these changed; read by a daemon that starts, or on SIGHUP."""
        text = "".join(f"{name}={value}\n" for name, value in {**CONFIG, **changed}.items())
        self.push("/etc/dtc-xen", {"dtc-xen.conf": text.encode()}, 0o600)

    @contextmanager
    def settings(self, **changed: str) -> Iterator[None]:
        """The running daemon with these settings changed, as long as the block lasts."""
        self.write_settings(**changed)
        self._reload()
        try:
            yield
        finally:
            self.write_settings()
            self._reload()

    def _reload(self) -> None:
        """SIGHUP, and wait until the daemon says that it has read its settings."""
        since = self.ssh("date +%s.%N").strip()
        self.ssh("systemctl reload dtcxen-soap")
        self.until("the settings are read", lambda: "were read again" in self.ssh(f"journalctl -u dtcxen-soap -q -o cat --since=@{since}"), 60, tell=self.daemon_log)

    def wait_for_daemon(self, seconds: float = 120) -> None:
        """Until /healthz says that all is well."""
        def healthy() -> bool:
            try:
                return requests.get(f"{self.url}healthz", verify=False, timeout=10).ok
            except requests.RequestException:
                return False
        try:
            import urllib3
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            self.until("the daemon answers", healthy, seconds)
        except AssertionError as error:
            raise NotSo(f"{error}\n{self.daemon_log()}") from None

    def daemon_log(self, lines: int = 60) -> str:
        """The last lines of the service's log."""
        return self.ssh(f"journalctl -u dtcxen-soap -q --no-pager -n {lines}", check=False)

    def daemon_pid(self) -> int:
        """The service's process."""
        return int(self.ssh("systemctl show -P MainPID dtcxen-soap"))

    # -- calls ------------------------------------------------------------------------------------

    @property
    def session(self) -> requests.Session:
        """Trusts the node's own certificate and nothing else, and signs in as its admin."""
        if self._session is None:
            kept = self.run_directory / "certificate.pem"
            kept.write_text(self.ssh("cat /etc/dtc-xen/dtc-xen.cert.cert"))
            self._session = requests.Session()
            self._session.trust_env = False
            self._session.verify = str(kept)
            self._session.auth = (ADMIN, PASSWORD)
        return self._session

    def client(self) -> Any:
        """The node's operations as its WSDL has them."""
        if self._service is None:
            self._service = calls.service(self.session, self.url)
        return self._service

    def rpc(self, operation: str, **parameters: str) -> Any:
        """A call in the old panel's dialect."""
        return calls.rpc(self.session, self.url, operation, **parameters)

    def refusal(self, operation: str, **parameters: Any) -> str:
        """Why the daemon refuses a call; fails if it does not."""
        from zeep.exceptions import Fault
        try:
            answer = getattr(self.client(), operation)(**parameters)
        except Fault as fault:
            return str(fault.message)
        raise NotSo(f"{operation}({parameters}) was not refused: {answer}")

    def wait(self, job: int, seconds: float = 900) -> Any:
        """The job's record once it has ended."""
        deadline = time.monotonic() + seconds
        while (record := self.client().getJob(job=job)).state in ("queued", "running"):
            assert time.monotonic() < deadline, f"job {job} is still {record.state} at {record.stepName}\n{self.job_log(job)}"
            time.sleep(1)
        return record

    def done(self, job: int, seconds: float = 900) -> Any:
        """The job's record; fails with its log unless it did what it was to do."""
        record = self.wait(job, seconds)
        assert record.state == "done", f"job {job} is {record.state}: {record.reason}\n{self.job_log(job)}"
        return record

    def job_log(self, job: int, lines: int = 60) -> str:
        """The end of a job's log."""
        return self.ssh(f"cat /var/lib/dtc-xen/jobs/*{job}*.log | tail -n {lines}", check=False)

    def bundle(self, name: str, script: str) -> None:
        """A bundle whose install_os does this; $VPS_PATH is the tree."""
        text = f"#!/bin/sh\nset -e\n. /usr/share/dtc-xen/dtc-xen-parse-param\n{script}\n"
        self.push(f"/usr/share/dtc-xen-os/{name}", {"install_os": text.encode()}, 0o755)

    # -- VPSes ------------------------------------------------------------------------------------

    def address(self, vps: int) -> str:
        """The address that the VPS of that number gets."""
        return str(NETWORK.network[100 + vps])

    def setup(self, vps: int, disk: int = 1024, swap: int = 64, image_type: str = "lvm") -> Any:
        """Disks for a VPS, in MiB."""
        return self.client().setupVPSDisk(vps=f"{vps:02d}", diskSizeMib=disk, swapSizeMib=swap, imageType=image_type)

    def zeroed(self, vps: int) -> None:
        """Until the VPS's new volumes are overwritten, which goes on after setupVPSDisk has answered; only an installation takes it over."""
        self.until("the new disks are zeroed", lambda: self.state(vps) != "mkos", 300)

    def reinstall(self, vps: int, password: str, os_type: str = "debian-small", ram: int = 256, **more: Any) -> int:
        """Start an installation; the job's number."""
        job = self.client().reinstallOS(
            vps=f"{vps:02d}", osType=os_type, ramSizeMib=ram, password=password, nics=f"{self.address(vps)}/{NETWORK.network.prefixlen}", **more).job
        assert job
        return int(job)

    def booted(self, vps: int, password: str, **more: Any) -> str:
        """Install with start=true; how the job says that it booted.

        Asked twice, and counted as a retry, where Xen tells that the domU died of a triple fault: QEMU's emulation of
        nested virtualisation was seen to hand a guest the hypervisor's own registers. Paravirtual guests never need it.
        """
        self._faults = self.triple_faults()
        job = self.reinstall(vps, password, start=True, **more)
        record = self.wait(job, 1500)
        if record.state == "failed" and self.triple_faults() > self._faults:
            self._faults = self.triple_faults()
            self.retries += 1
            self.client().destroyVPS(vps=f"{vps:02d}")
            job = self.reinstall(vps, password, start=True, **more)
            record = self.wait(job, 1500)
        assert record.state == "done" and record.reason.startswith("booted: "), f"{record.state}: {record.reason}\n{self.job_log(job)}"
        return str(record.reason)

    def triple_faults(self) -> int:
        """How many domains ended so, by Xen's own log."""
        return self.ssh("xl dmesg").count("Triple fault")

    def state(self, vps: int) -> str:
        """What getVPSState says in a word."""
        return str(self.client().getVPSState(vps=f"{vps:02d}").state)

    def console_log(self, vps: int) -> str:
        """Everything that the VPS wrote on its console, escape sequences left out."""
        text = self.ssh(f"cat {CONSOLES}/guest-{VpsId(vps).name}.log", check=False)
        return re.sub(r"\x1b(\[[?0-9;]*[a-zA-Z]|\][^\x07\x1b]*(\x07|\x1b\\))|\r", "", text)

    def ping(self, vps: int, seconds: int = 60) -> None:
        """Until the VPS answers dom0 through the bridge. One ping alone would give up as soon as nobody answers for the address."""
        self.ssh(f"for i in $(seq {seconds}); do ping -q -c 1 -W 1 {self.address(vps)} && exit 0; sleep 1; done; exit 1", 3 * seconds + 20)

    def wait_for_login(self, vps: int, seconds: float = 400) -> None:
        """Until the console asks for a login."""
        name = VpsId(vps).name
        def asked() -> bool:
            assert self.runs(vps), f"{name} is gone:\n{self.console_log(vps)[-3000:]}"
            return self.console_log(vps).rstrip().endswith("login:")
        self.until(f"{name} asks for a login", asked, seconds, every=3, tell=lambda: self.console_log(vps)[-3000:])

    def runs(self, vps: int) -> bool:
        """Whether Xen has a domU of that name."""
        return "yes" in self.ssh(f"xl domid {VpsId(vps).name} >/dev/null 2>&1 && echo yes", check=False)

    @contextmanager
    def signed_in(self, vps: int, password: str) -> Iterator[boot.Console]:
        """Root's shell on the VPS's console; waited for anew, and counted as a retry, when the domU has died of a triple fault meanwhile and starts again."""
        with ExitStack() as opened:
            try:
                console = self._logged_in(vps, password, 60, opened)
            except AssertionError:
                if self.triple_faults() <= self._faults:
                    raise
                self._faults = self.triple_faults()
                self.retries += 1
                self.ping(vps, 200)
                console = self._logged_in(vps, password, 200, opened)
            yield console
            console.type("exit")

    def _logged_in(self, vps: int, password: str, seconds: float, opened: ExitStack) -> boot.Console:
        process = self.spawn(f"exec xl console {VpsId(vps).name}")
        opened.callback(process.communicate)
        opened.callback(process.kill)
        console = boot.Console(process)
        time.sleep(1)
        console.type("")
        console.log_in(password, seconds)
        return console

    def until_measured(self, vps: int) -> list[int]:
        """Until a sample shows the VPS's work on CPU, disk and network; the numbers of the newest samples that were fetched on the way."""
        seen: dict[int, list[str]] = {}

        def measured() -> bool:
            told = self.client().getPerformanceData()
            rows = [row for sample in told.samples or [] for row in sample.vpses]
            seen[told.newest] = [str(row) for row in rows]
            return any(row.vps == f"{vps:02d}" and row.usedCpuSeconds > 0 and row.rootSectors > 1000 and row.netInBytes > 0 < row.netOutBytes for row in rows)

        self.until("a sample that shows its work", measured, 150, every=5, tell=lambda: str(seen))
        return [newest for newest in seen if newest]

    def upload_cd(self, vps: int) -> None:
        """The lab's CD among the VPS's ISOs, as lab.iso."""
        home = f"/var/lib/dtc-xen/ttyssh_home/{VpsId(vps).name}/iso"
        self.ssh(f"mkdir -p {home} && cp {ISO} {home}/lab.iso")

    def wait_for_cd(self, vps: int, *words: str) -> None:
        """Until the CD says on the serial console that it runs, under Xen, and these words."""
        def heard() -> str:
            return self.console_log(vps)[-2000:] + self.ssh("xl list; tail -5 /var/log/xen/qemu-dm-*", check=False)

        self.until("the CD has booted", lambda: BOOTED in self.console_log(vps), 1200, every=3, tell=heard)
        said = next(line for line in self.console_log(vps).splitlines() if BOOTED in line)
        assert all(word in said for word in ("hypervisor=xen", *words)), said

    def remove(self, vps: int) -> None:
        """End and remove a VPS; nothing may be left."""
        self.client().destroyVPS(vps=f"{vps:02d}")
        self.client().killVPSDisk(vps=f"{vps:02d}")
        self.until("nothing is left", lambda: not self.leftovers(vps), 300, tell=lambda: "\n".join(self.leftovers(vps)))

    def leftovers(self, vps: int) -> list[str]:
        """Volumes, image files, configurations, mounts, loop devices and domUs that still belong to a VPS; its lock in the journal excepted."""
        name = VpsId(vps).name
        told = self.ssh(
            f"lvs --noheadings -o lv_full_name | grep -E '/{name}(swap)?([.]|$)'; ls -d /etc/xen/{name} /etc/xen/{name}.* /etc/xen/auto/{name} "
            f"/var/lib/dtc-xen/mnt/{name} /var/lib/dtc-xen/mnt/{name}.* 2>/dev/null; grep -E '[/-]{name}([ ./]|swap|$)' /proc/mounts; losetup -a | grep -w {name}; "
            f"xl list | grep -w ^{name}; true")
        return [line.strip() for line in told.splitlines()]

    def until(self, what: str, ready: Any, seconds: float, every: float = 1, tell: Any = lambda: "") -> None:
        """Ask until `ready()`; fails after so many seconds with what `tell()` says."""
        deadline = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{tell()}"
            time.sleep(every)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Keep how long the block took."""
        started = time.monotonic()
        yield
        self.times[what] = time.monotonic() - started

    def report(self) -> list[str]:
        """What every run must tell: times, what was asked twice, and crashes of programs in dom0."""
        crashes = self.ssh("dmesg | grep -i segfault", check=False).splitlines() if self.pid() else []
        return [*(f"{seconds:6.1f} s  {what}" for what, seconds in self.times.items()),
                f"retries: {self.retries}", *(f"segfault in dom0: {line}" for line in crashes or ["none"])]


def capture(lab: Lab, scene: str) -> list[Path]:
    """What the daemon's own commands say in dom0, as they say it, in files named tool-version-scene."""
    xen = lab.ssh("xl info xen_version").strip().rpartition(".")[0]
    lvm2 = re.findall(r"LVM version:\s+(\d+\.\d+)", lab.ssh("lvm version"))[0]
    written = []
    for argv, name in ((xl.LIST, f"xl-list-{xen}-{scene}.txt"), (("xl", "list", "-l"), f"xl-list-l-{xen}-{scene}.json"), (xl.INFO, f"xl-info-{xen}-{scene}.txt"),
                       (lvm.LVS, f"lvm/lvs-{lvm2}-{scene}.json"), (lvm.VGS, f"lvm/vgs-{lvm2}-{scene}.json")):
        path = ROOT / "tests/data" / name
        path.write_text(lab.ssh(shlex.join(argv)))
        written.append(path)
    return written


def main(words: list[str]) -> int:
    """What the module's docstring says."""
    match words:
        case ["start" | "install"]:
            lab = Lab(build())
            lab.start()
            lab.install()
            print("\n".join([lab.url, *lab.report()]))
        case ["ssh", *command]:
            return subprocess.run([*Lab(chosen()).ssh_command("-S", "none"), *command]).returncode
        case ["call", operation, *given]:
            lab = Lab(chosen())
            print(getattr(lab.client(), operation)(**dict(item.split("=", 1) for item in given)))
        case ["capture", scene]:
            print(*capture(Lab(chosen()), scene), sep="\n")
        case ["stop"]:
            Lab(chosen()).stop()
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
