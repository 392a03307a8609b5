"""The lab's dom0 under QEMU's software emulation: started, reached over ssh, ended. Neither KVM nor privileges are needed.

Every start is from a clean slate: a copy of dom0's disk, and new, empty disks for LVM. With KEEP=1 in
the environment it is left running, and taken over as it is by the next run.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.xenlab.image import Image

MEMORY_MIB, DOM0_MIB, CPUS = 4096, 1536, 2
LVM_DISKS = {"vdb": 16 << 30, "vdc": 8 << 30}
START_SECONDS = 420
DAEMON_PORT = 8089

_CPU = (
    # AMD's, for nested virtualisation (SVM). Xen panics in mwait_idle with `monitor`; dom0 crashes with `smap`; a PVH guest died on xsave, avx or rdtscp.
    "EPYC,-monitor,-smap,-rdtscp,-xsave,-xsaveopt,-xsavec,-xgetbv1,-avx,-avx2,-f16c,-fma,"
    # What the emulation does not have: left in, QEMU warns of each.
    "-rdseed,-sha-ni,-fxsr-opt,-misalignsse,-3dnowprefetch,-osvw,-topoext,-nrip-save")
_XEN = f"console=com1 com1=115200,8n1 dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M dom0_max_vcpus={CPUS} spec-ctrl=no xpti=no bootscrub=0"
_LINUX = "root=/dev/vda rw console=hvc0 net.ifnames=0 mitigations=off audit=0 nowatchdog"


class NotSo(AssertionError):
    """dom0 did not do what was asked; the text holds its words."""


class Machine:
    """dom0 of one image. `retries` counts what had to be asked twice; `times` holds seconds by what took them."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.run_directory = image.directory / "run"
        self.times: dict[str, float] = {}
        self.retries = 0
        self._state = self.run_directory / "machine.json"
        self._sockets = tempfile.TemporaryDirectory(prefix="xenlab")
        self.ssh_port, self.daemon_port = self._ports()

    def _ports(self) -> tuple[int, int]:
        """Of the machine that runs, else free ones of this machine's loopback."""
        if self._state.exists():
            state = json.loads(self._state.read_text())
            if self.pid():
                return state["ssh"], state["daemon"]
        return _free_port(), _free_port()

    def pid(self) -> int | None:
        """QEMU's process, if it is still the one of this very lab."""
        try:
            pid = int((self.run_directory / "qemu.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            return None
        return pid if str(self.run_directory / "root.raw") in command else None

    def start(self) -> None:
        """Boot a fresh dom0 and wait until ssh and Xen's daemons answer; nothing is done where one runs."""
        if self.pid():
            return
        started = time.monotonic()
        shutil.rmtree(self.run_directory, ignore_errors=True)
        self.run_directory.mkdir(parents=True)
        subprocess.run(["cp", "--sparse=always", str(self.image.root), str(self.run_directory / "root.raw")], check=True)
        for name, size in LVM_DISKS.items():
            with (self.run_directory / f"{name}.raw").open("w") as file:
                file.truncate(size)
        self._state.write_text(json.dumps({"ssh": self.ssh_port, "daemon": self.daemon_port}))
        subprocess.run(self._qemu(), check=True, stdin=subprocess.DEVNULL)
        self._wait_until_up()
        self.times["dom0's start"] = time.monotonic() - started

    def _qemu(self) -> list[str]:
        disks = []
        for name in ("root", *LVM_DISKS):
            disks += ["-drive", f"file={self.run_directory}/{name}.raw,format=raw,if=none,id={name},cache=unsafe,discard=unmap",
                      "-device", f"virtio-blk-pci,drive={name}"]
        boot = self.image.boot
        forwards = f"hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22,hostfwd=tcp:127.0.0.1:{self.daemon_port}-:{DAEMON_PORT}"
        return [
            "qemu-system-x86_64", "-name", "xenlab", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", _CPU, "-smp", str(CPUS), "-m", str(MEMORY_MIB),
            "-kernel", f"{boot}/xen", "-append", _XEN, "-initrd", f"{boot}/vmlinuz {_LINUX},{boot}/initrd.img", *disks,
            "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
            "-netdev", f"user,id=net,restrict=on,{forwards}", "-device", "virtio-net-pci,netdev=net,romfile=",
            "-chardev", f"file,id=com1,path={self.run_directory}/console.log", "-serial", "chardev:com1",
            "-D", f"{self.run_directory}/qemu.log", "-daemonize", "-pidfile", f"{self.run_directory}/qemu.pid"]

    def _wait_until_up(self) -> None:
        """ssh answers before Xen's daemons do: xl must answer too."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.ssh("xl list", 30)
                return
            except NotSo as error:
                console = (self.run_directory / "console.log").read_text(errors="replace")[-3000:]
                assert self.pid(), f"QEMU ended:\n{console}"
                assert time.monotonic() < deadline, f"dom0 does not answer after {START_SECONDS} s: {error}\n{console}"
                time.sleep(1)

    # -- over ssh ---------------------------------------------------------------------------------

    def ssh_command(self, *options: str) -> list[str]:
        """ssh as root into dom0; one connection carries all calls, since each handshake costs a second under emulation."""
        return ["ssh", "-q", "-i", str(self.image.key), "-p", str(self.ssh_port), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
                "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15",
                "-o", "ControlMaster=auto", "-o", "ControlPersist=yes", "-o", f"ControlPath={self._sockets.name}/%p", *options, "root@127.0.0.1"]

    def ssh(self, command: str, seconds: int = 120, stdin: bytes = b"", check: bool = True) -> str:
        """What a shell command in dom0 prints. A cut ssh leaves its command running, so dom0 itself ends it in time."""
        inside = f"timeout {seconds} sh -c {shlex.quote(command)}"
        try:
            done = subprocess.run([*self.ssh_command(), inside], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds + 60)
        except subprocess.TimeoutExpired as error:
            raise NotSo(f"{command}: no end within {seconds} s: {error.output!r}") from None
        text = done.stdout.decode(errors="replace")
        if done.returncode == 255 and not self.pid():
            pytest.exit(f"QEMU has ended: {(self.run_directory / 'qemu.log').read_text(errors='replace')}", 1)
        if check and done.returncode != 0:
            raise NotSo(f"{command}: exit code {done.returncode}\n{text}")
        return text

    def push(self, directory: str, files: dict[str, bytes], mode: int = 0o644) -> None:
        """Files into a directory of dom0, owned by root; names are relative to it."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, data in files.items():
                item = tarfile.TarInfo(name)
                item.size, item.mode = len(data), mode
                archive.addfile(item, io.BytesIO(data))
        place = shlex.quote(directory)
        self.ssh(f"mkdir -p {place} && tar -C {place} -xf -", stdin=packed.getvalue())

    def spawn(self, command: str, **options: Any) -> subprocess.Popen[bytes]:
        """A command in dom0 on a terminal of its own, its input and output as pipes of ours."""
        return subprocess.Popen([*self.ssh_command("-tt", "-e", "none", "-S", "none"), command], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)

    # -- the end ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Power dom0 off, or end QEMU where it does not go: by its PID only. The disks are thrown away with the next start."""
        if not (pid := self.pid()):
            return
        self.ssh("systemctl poweroff", 20, check=False)
        if not self._ended(30):
            os.kill(pid, signal.SIGKILL)
            assert self._ended(10), f"QEMU {pid} does not end"
        self.close()

    def close(self) -> None:
        """End the ssh connection that is kept open."""
        subprocess.run([*self.ssh_command("-O", "exit")], stdin=subprocess.DEVNULL, capture_output=True)
        self._sockets.cleanup()

    def _ended(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.pid() and time.monotonic() < deadline:
            time.sleep(0.5)
        return not self.pid()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
