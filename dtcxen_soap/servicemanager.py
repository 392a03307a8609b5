"""What systemd is told of this service: ready, reloading, stopping, alive. Without systemd nobody is told, and nothing is different.

Source: sd_notify(3), sd_watchdog_enabled(3): one datagram of NAME=value lines to the socket that the environment names.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

_SOCKET, _WATCHDOG, _WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
SEND_SECONDS = 1.0


class ServiceManager:
    """Takes its socket and times out of the environment, so that no program that is started here speaks in our name."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        where = environment.pop(_SOCKET, "")
        self._address = "\0" + where[1:] if where.startswith("@") else where
        self.watchdog_seconds = _watchdog(environment.pop(_WATCHDOG, ""), environment.pop(_WATCHDOG_PID, ""))
        """How long systemd waits for `alive` before it ends us; 0: for ever."""

    def ready(self, status: str) -> None:
        """The service does what it is for, from now on or again; `status` is shown by systemctl status."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Settings are being read again; `ready` says when that is over."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reading settings again")

    def stopping(self) -> None:
        """No more calls are taken."""
        self._tell("STOPPING=1", "STATUS=ending jobs")

    def status(self, status: str) -> None:
        """One line for systemctl status."""
        self._tell(f"STATUS={status}")

    def alive(self) -> None:
        """Wait another `watchdog_seconds` from now."""
        if self.watchdog_seconds:
            self._tell("WATCHDOG=1")

    def _tell(self, *assignments: str) -> None:
        """A manager that does not listen is no reason to stop serving; a ready that it missed it tells itself, by its timeout."""
        if not self._address:
            return
        lines = "\n".join(" ".join(assignment.split("\n")) for assignment in assignments)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(SEND_SECONDS)
                sender.sendto(lines.encode(), self._address)
        except OSError:
            return


def _watchdog(microseconds: str, pid: str) -> float:
    """Seconds; 0 when there is no watchdog, or it is another process's."""
    if not microseconds.isdecimal() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(microseconds) / 1e6
