"""A login on hvc0, the console of a Xen guest, for the three inits that need to be told; and root may use it.

Sources: inittab(5), init(5) of upstart, systemd-getty-generator(8), securetty(5), agetty(8).
"""

from __future__ import annotations

import re

from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.install.originals import keep, kept
from dtcxen_soap.plans import Step, TreeSymlink, TreeWrite

DEVICE = "hvc0"
INITTAB, SECURETTY = "etc/inittab", "etc/securetty"
_UPSTART_JOB = f"etc/init/{DEVICE}.conf"
_UPSTART = ("etc/init/rc.conf", "etc/init/rcS.conf", "etc/init/tty1.conf")
_TEMPLATES = ("usr/lib/systemd/system/serial-getty@.service", "lib/systemd/system/serial-getty@.service")
_WANTED = f"etc/systemd/system/getty.target.wants/serial-getty@{DEVICE}.service"
_GETTYS = ("sbin/getty", "sbin/agetty", "usr/sbin/agetty", "usr/bin/agetty", "sbin/mingetty", "bin/busybox")
TEXTS = (INITTAB, SECURETTY, _UPSTART_JOB)
GLOBS = (*_UPSTART, *_TEMPLATES, _WANTED, *_GETTYS, kept(INITTAB), kept(SECURETTY))

_DEAD = re.compile(r"\b(?:ttyS0|xvc0|console)\b")


def steps(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """What the tree's init needs; nothing when it has none that we know. systemd's generator starts a login on hvc0 too, but not in its first years."""
    made = _securetty(guest, tree)
    template = next((path for path in _TEMPLATES if tree.has(path)), "")
    if template:
        if not tree.has(_WANTED):
            made += (TreeSymlink(why="Offer a login on the console.", tree=guest.tree, path=_WANTED, target=f"/{template}"),)
    elif any(tree.has(path) for path in _UPSTART):
        made += (TreeWrite(why="Offer a login on the console.", tree=guest.tree, path=_UPSTART_JOB, content=_upstart(tree)),)
    elif INITTAB in tree.texts:
        new = inittab(tree.texts[INITTAB], _getty(tree))
        if new != tree.texts[INITTAB]:
            made += (*keep(guest.tree, INITTAB, tree, new),
                     TreeWrite(why="Offer a login on the console.", tree=guest.tree, path=INITTAB, content=new))
    return made


def _getty(tree: TreeFact) -> str:
    """The command of a login on hvc0 by the program that the tree has; -L: no modem is waited for."""
    program = next((path for path in _GETTYS if tree.has(path)), _GETTYS[0])
    if program.endswith("mingetty"):
        return f"/{program} {DEVICE}"
    if program.endswith("busybox"):
        return f"/{program} getty -L 38400 {DEVICE} vt100"
    return f"/{program} -L 38400 {DEVICE} vt100"


def _upstart(tree: TreeFact) -> str:
    return (f"# A login on {DEVICE}, the console of a Xen guest.\n\nstart on stopped rc RUNLEVEL=[2345]\nstop on runlevel [!2345]\n\n"
            f"respawn\nexec {_getty(tree)}\n")


def inittab(old: str, getty: str) -> str:
    """`old` with a login on hvc0, instead of those on a serial port that a PV guest does not have and on the same console by another name."""
    lines = []
    for line in old.splitlines():
        words = line.split(":", 3)
        is_login = len(words) == 4 and not line.startswith("#") and words[2] in ("respawn", "askfirst", "ondemand") and "getty" in words[3]
        if is_login and DEVICE in words[3]:
            return old
        lines.append(f"#{line}" if is_login and _DEAD.search(words[3]) else line)
    return "\n".join((*lines, f"{DEVICE}:2345:respawn:{getty}")) + "\n"


def _securetty(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """Where there is a list of terminals that root may use, the console joins it."""
    old = tree.texts.get(SECURETTY)
    if old is None or DEVICE in old.split():
        return ()
    new = f"{old.rstrip()}\n{DEVICE}\n".lstrip("\n")
    return (*keep(guest.tree, SECURETTY, tree, new),
            TreeWrite(why="Let root sign in on the console.", tree=guest.tree, path=SECURETTY, content=new))
