"""A login on Xen's console: hvc0, for whichever init system the tree has."""

from __future__ import annotations

import re

from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import Step, TreeSymlink, TreeWrite

TTY = "hvc0"
TEXTS = ("etc/inittab", "etc/securetty", "etc/init/tty1.conf")
_UNITS = ("lib/systemd/system/serial-getty@.service", "usr/lib/systemd/system/serial-getty@.service")
GLOBS = (*_UNITS, "etc/init/tty*.conf")
_GETTY = re.compile(r"^(?P<id>[^:#]*):(?P<levels>[0-9]*):respawn:(?P<command>.*\btty[1-6]\b.*)$")
_UPSTART = """\
# {tty} - getty on Xen's console
start on stopped rc RUNLEVEL=[2345]
stop on runlevel [!2345]
respawn
exec /sbin/getty -L {tty} 38400 xterm
"""


def steps(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """A getty on hvc0, and root allowed to sign in there."""
    made: list[Step] = []
    if any(tree.has(unit) for unit in _UNITS):
        made.append(TreeSymlink(
            why="Start a login on the console.", tree=guest.tree, path=f"etc/systemd/system/getty.target.wants/serial-getty@{TTY}.service",
            target="/lib/systemd/system/serial-getty@.service"))
    elif "etc/inittab" in tree.texts:
        made.append(TreeWrite(why="Start a login on the console.", tree=guest.tree, path="etc/inittab", content=inittab(tree.texts["etc/inittab"])))
    elif tree.has("etc/init/tty1.conf"):
        made.append(TreeWrite(why="Start a login on the console.", tree=guest.tree, path=f"etc/init/{TTY}.conf", content=_UPSTART.format(tty=TTY)))
    allowed = tree.texts.get("etc/securetty")
    if allowed is not None and TTY not in allowed.split():
        made.append(TreeWrite(
            why="Let root sign in on the console.", tree=guest.tree, path="etc/securetty", content=f"{allowed.rstrip()}\n{TTY}\n".lstrip("\n"), mode=0o600))
    return tuple(made)


def inittab(text: str) -> str:
    """inittab with one getty, on hvc0; those on virtual terminals, which a domU has not, become comments.

    BusyBox's inittab has no run levels and names the terminal first; System V's has both.
    """
    lines = text.splitlines()
    gettys = [match for line in lines if (match := _GETTY.match(line))]
    if any(re.match(rf"[^#]*\b{TTY}\b", line) for line in lines):
        return text
    busybox = any("::" in line for line in lines) and not any(match["levels"] for match in gettys)
    new = f"{TTY}::respawn:/sbin/getty -L 38400 {TTY} xterm" if busybox else f"x0:2345:respawn:/sbin/getty -L {TTY} 38400 xterm"
    return "\n".join([*(f"#{line}" if _GETTY.match(line) else line for line in lines), new]) + "\n"
