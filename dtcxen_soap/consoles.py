"""What a domU says on its console: out of xenconsoled's log where it keeps one, else from the console itself.

A console is a pseudo terminal, and what one reader takes no other sees; so it is read only while
nobody else has it open, and the owner's session always goes first. Sources: xenconsoled's --log,
xenstore-paths(7), console_codes(4).
"""

from __future__ import annotations

import re

from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.terminals import Terminal
from dtcxen_soap.xen import xl

LOGS = "/var/log/xen/console"
DAEMONS = ("xenconsoled", "qemu", "xen-qemu")
"""They serve consoles; everybody else reads them."""
TAIL_BYTES = 1 << 16
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]+[0-~]|[0-~])")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Console output as lines: without escape sequences and control characters. A part that a sequence was cut in stays odd."""
    return _CONTROL.sub("", re.sub(r"\r+\n?", "\n", _SEQUENCE.sub("", text)))


class Console:
    """One domain's console. `close` it when done."""

    def __init__(self, dom0: Dom0, name: str, domid: int | None) -> None:
        self._dom0, self._name, self._domid = dom0, name, domid
        self._log = f"{LOGS}/guest-{name}.log"
        self._offset = self._size()
        self._terminal: tuple[str, Terminal] | None = None

    def before(self, since: float) -> str:
        """The end of what the log held when this began, if it was written to after `since` (seconds of the epoch)."""
        try:
            if self._dom0.stat(self._log).st_mtime < since:
                return ""
            return _text(self._dom0.read_from(self._log, max(0, self._offset - TAIL_BYTES), TAIL_BYTES))
        except OSError:
            return ""

    def read(self) -> str:
        """What was said since the last call; "" as well where it cannot be heard now."""
        if any(map(_serves, self._dom0.holders(self._log))):
            return self._read_log()
        return self._read_terminal()

    def follow(self, domid: int) -> None:
        """The domain was started anew, under another number and with another terminal."""
        self._domid = domid
        self.close()

    def close(self) -> None:
        """Leave the terminal to others."""
        if self._terminal:
            self._terminal[1].close()
            self._terminal = None

    def _size(self) -> int:
        try:
            return self._dom0.stat(self._log).st_size
        except OSError:
            return 0

    def _read_log(self) -> str:
        self.close()
        self._offset = min(self._offset, self._size())
        said = self._dom0.read_from(self._log, self._offset, TAIL_BYTES)
        self._offset += len(said)
        return _text(said)

    def _read_terminal(self) -> str:
        path = self._terminal[0] if self._terminal else self._path()
        if not path or not all(map(_serves, self._dom0.holders(path))):
            self.close()
            return ""
        if not self._terminal:
            self._terminal = (path, self._dom0.terminal(path))
        return _text(self._terminal[1].read())

    def _path(self) -> str:
        """Xen's console, or what stands in for it in an HVM guest; "" without one."""
        for key in ("console/tty", "serial/0/tty"):
            ran = self._dom0.capture(xl.store(f"/local/domain/{self._domid}/{key}"))
            if ran.code == 0 and ran.output.startswith("/dev/"):
                return ran.output.strip()
        return ""


def _serves(holder: str) -> bool:
    return holder.partition("(")[2].startswith(DAEMONS)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
