"""The node admin's own files in every system: motd, root's .bashrc and ssh keys, as /etc/dtc-xen has them; and the owner's keys.

VPS_HOSTNAME in motd and bashrc becomes the host name, as in the original.
"""

from __future__ import annotations

from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import Step, TreeDirectory, TreeWrite

MOTD, MOTD_TAIL, BASHRC, SSH = "etc/motd", "etc/motd.tail", "root/.bashrc", "root/.ssh"
KEY_FILES = (f"{SSH}/authorized_keys", f"{SSH}/authorized_keys2")
TEXTS = (MOTD, *KEY_FILES)
GLOBS = (MOTD_TAIL, SSH)
_PLACEHOLDER = "VPS_HOSTNAME"


def steps(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """One write for each text that the admin has."""
    return (*_motd(guest, tree), *_bashrc(guest), *_keys(guest, tree))


def _motd(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """Debian before 2013 makes /etc/motd at each boot of motd.tail; there it is a link to what is not there yet."""
    if guest.motd is None:
        return ()
    text = guest.motd.replace(_PLACEHOLDER, guest.short_hostname)
    made_at_boot = tree.has(MOTD_TAIL) or (tree.has(MOTD) and MOTD not in tree.texts)
    return (TreeWrite(why="Greet with the node's motd.", tree=guest.tree, path=MOTD_TAIL if made_at_boot else MOTD, content=text),)


def _bashrc(guest: Guest) -> tuple[Step, ...]:
    if guest.bashrc is None:
        return ()
    text = guest.bashrc.replace(_PLACEHOLDER, guest.short_hostname)
    return (TreeWrite(why="Give root the node's bashrc.", tree=guest.tree, path=BASHRC, content=text),)


def _keys(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """The admin's keys and the owner's join what is there, in both files: sshd of today may read only the one, that of 2010 both."""
    keys = "\n".join((*(guest.authorized_keys or "").strip().splitlines(), *guest.owner_keys))
    if not keys:
        return ()
    made: tuple[Step, ...] = (TreeDirectory(why="Have a place for root's ssh keys.", tree=guest.tree, path=SSH, mode=0o700),)
    whose = " and ".join(name for name, has in (("the node's admin", guest.authorized_keys), ("the owner", guest.owner_keys)) if has)
    for path in KEY_FILES:
        text = _joined(tree.texts.get(path, ""), keys)
        made += (TreeWrite(why=f"Let {whose} sign in by key: /{path}.", tree=guest.tree, path=path, content=text, mode=0o600),)
    return made


def _joined(old: str, new: str) -> str:
    return "".join(f"{line}\n" for line in dict.fromkeys((*old.splitlines(), *new.splitlines())))
