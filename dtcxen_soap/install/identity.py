"""Who the new system is: its host name, and the numbers and keys that no other system may share with it.

An image's machine-id, ssh host keys and random seed are known to everybody who has the image.
Sources: machine-id(5), hosts(5), ssh-keygen(1), dbus-uuidgen(1).
"""

from __future__ import annotations

import dataclasses

from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import Run, Step, TreeHostKey, TreePassword, TreeRemove, TreeSymlink, TreeWrite

HOSTNAME, HOSTS, MACHINE_ID, DBUS_ID = "etc/hostname", "etc/hosts", "etc/machine-id", "var/lib/dbus/machine-id"
_FULL_NAME_TOO = ("etc/HOSTNAME", "etc/mailname")
"""Where SUSE looks for its name, and mail servers for theirs."""
_RED_HAT = "etc/sysconfig"
_SYSTEMD = ("lib/systemd/systemd", "usr/lib/systemd/systemd")
_SEEDS = (
    "var/lib/systemd/random-seed", "var/lib/systemd/credential.secret", "var/lib/urandom/random-seed", "var/lib/random-seed", "var/lib/misc/random-seed",
    "boot/loader/random-seed")
_KEYGEN, _SSHD = "usr/bin/ssh-keygen", ("usr/sbin/sshd", "etc/ssh/sshd_config")
_HOST_KEYS = "etc/ssh/ssh_host_"
_KINDS = ("rsa", "ecdsa", "ed25519")
"""Of host keys that we make."""
_PACKAGE_KEYS = (
    (("etc/ssl/private/ssl-cert-snakeoil.key", "etc/ssl/certs/ssl-cert-snakeoil.pem"), ("/usr/sbin/make-ssl-cert", "generate-default-snakeoil")),
    (("var/lib/cfengine3/ppkeys/localhost.priv", "var/lib/cfengine3/ppkeys/localhost.pub"), ("/usr/bin/cf-key",)),
)
"""Keys that a package made when it was installed, and what of it makes new ones where they are gone: ssl-cert's, cfengine3's."""
TEXTS = (HOSTNAME, HOSTS)
GLOBS = (
    *(path for paths, argv in _PACKAGE_KEYS for path in (*paths, argv[0].lstrip("/"))),
    *_FULL_NAME_TOO, _RED_HAT, MACHINE_ID, DBUS_ID, "var/lib/dbus", *_SYSTEMD, *_SEEDS, _KEYGEN, *_SSHD, f"{_HOST_KEYS}*")

_LOCAL = ("localhost", "localhost.localdomain", "localhost4", "localhost4.localdomain4", "localhost6", "localhost6.localdomain6")
_IPV6_LINES = ("::1\tlocalhost ip6-localhost ip6-loopback", "ff02::1\tip6-allnodes", "ff02::2\tip6-allrouters")


def steps(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """Host name, root's password, machine-id; shared seeds and keys go."""
    return (*_name(guest, tree), _password(guest), *_machine_id(guest, tree), *_forget(guest, tree))


def _password(guest: Guest) -> Step:
    return TreePassword(why="Set root's password.", tree=guest.tree, user="root", password=guest.password)


# -- the name -------------------------------------------------------------------------------------


def _name(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """Red Hat's family has the full name in etc/hostname, others the short one."""
    name = guest.hostname if tree.has(_RED_HAT) else guest.short_hostname
    names = hosts(tree.texts.get(HOSTS, ""), tree.texts.get(HOSTNAME, "").strip(), guest)
    return (
        TreeWrite(why=f"Name the system {name}.", tree=guest.tree, path=HOSTNAME, content=name + "\n"),
        TreeWrite(why=f"Let the system know {guest.hostname} as its own name.", tree=guest.tree, path=HOSTS, content=names),
        *(TreeWrite(why=f"Name it in /{path} too.", tree=guest.tree, path=path, content=guest.hostname + "\n") for path in _FULL_NAME_TOO if tree.has(path)))


def hosts(old: str, old_name: str, guest: Guest) -> str:
    """`old` with the VPS's own address and name, without what the image said of itself (`old_name`, 127.0.1.1)."""
    own = {"127.0.1.1", *(str(address.ip) for address in guest.network.nic.addresses)}
    stale = {name for name in (old_name, old_name.partition(".")[0]) if name and name not in _LOCAL}
    kept = [line for line in (_without(line, own, stale) for line in old.splitlines()) if line is not None]
    first = [] if any(_names(line, "127.0.0.1") for line in kept) else ["127.0.0.1\tlocalhost"]
    names = " ".join(dict.fromkeys((guest.hostname, guest.short_hostname)))
    lines = first + kept
    place = next((number for number, line in enumerate(lines) if _names(line, "127.0.0.1")), 0) + 1
    lines.insert(place, f"{guest.first_address or '127.0.1.1'}\t{names}")
    if not any(_names(line, "::1") for line in lines):
        lines += _IPV6_LINES
    return "\n".join(lines) + "\n"


def _names(line: str, address: str) -> list[str]:
    """The names that a line gives to `address`; none when it is about another one."""
    words = line.partition("#")[0].split()
    return words[1:] if words and words[0] == address else []


def _without(line: str, own: set[str], stale: set[str]) -> str | None:
    """A line of the old hosts as it stays; None when nothing of it does."""
    text, sign, comment = line.partition("#")
    words = text.split()
    if not words:
        return line
    if words[0] in own:
        return None
    left = [word for word in words[1:] if word not in stale and not any(word.startswith(f"{name}.") for name in stale)]
    if len(left) == len(words) - 1:
        return line
    return f"{words[0]}\t{' '.join(left)}{' ' + sign + comment if sign else ''}" if left else None


# -- numbers and keys -----------------------------------------------------------------------------


def _machine_id(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """Empty for systemd, which fills it at its first boot; elsewhere D-Bus makes a missing one when it starts."""
    systemd = any(tree.has(path) for path in _SYSTEMD)
    made: tuple[Step, ...] = ()
    if systemd or tree.has(MACHINE_ID):
        made += (TreeWrite(why="Let the first boot make a machine-id.", tree=guest.tree, path=MACHINE_ID, content="", mode=0o444),)
    if systemd and tree.has("var/lib/dbus"):
        made += (TreeSymlink(why="Give D-Bus the same machine-id.", tree=guest.tree, path=DBUS_ID, target="/etc/machine-id"),)
    elif tree.has(DBUS_ID):
        made += (TreeRemove(why="Let D-Bus make an id of its own.", tree=guest.tree, path=DBUS_ID),)
    return made


def _forget(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """What everybody with the image knows."""
    keys = sorted(path for path in tree.paths if path.startswith(_HOST_KEYS))
    seeds = [path for path in _SEEDS if tree.has(path)]
    return (
        *(TreeRemove(why=f"Remove a key that the image's other systems have too: /{path}.", tree=guest.tree, path=path) for path in keys),
        *(TreeRemove(why=f"Remove a seed that the image's other systems have too: /{path}.", tree=guest.tree, path=path) for path in seeds))


def package_keys(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """New keys where a package's own were made once for all systems of the image. Without the package's program nothing would make them: they stay."""
    made: list[Step] = []
    for paths, argv in _PACKAGE_KEYS:
        if tree.has(paths[0]) and tree.has(argv[0].lstrip("/")):
            made += [TreeRemove(why=f"Remove a key that the image's other systems have too: /{path}.", tree=guest.tree, path=path) for path in paths if tree.has(path)]
            made.append(Run(why=f"Make it anew by {argv[0]}.", argv=argv, chroot=guest.tree, contained=True, timeout_seconds=120, may_fail=True))
    return tuple(made)


def host_keys(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """New ssh host keys: made by us where we know how, else by the guest's own ssh-keygen, confined to the tree.

    They are made now since nothing would at the first boot: Debian's sshd does not start without
    any, and its keys come from the package's configuration only. Where there is systemd, OpenSSH reads the keys
    that we make, and of a kind that only the image had ssh-keygen makes one. Elsewhere RSA first, by words that every OpenSSH knows; then -A (of 2011), which may fail.
    """
    if not tree.has(_KEYGEN) or not (any(map(tree.has, _SSHD)) or any(path.startswith(_HOST_KEYS) for path in tree.paths)):
        return ()
    every = Run(why="Make ssh host keys of all other kinds that it knows.", argv=(f"/{_KEYGEN}", "-A"), chroot=guest.tree, contained=True, timeout_seconds=120)
    if any(tree.has(path) for path in _SYSTEMD):
        had = {path.removeprefix(_HOST_KEYS).removesuffix("_key") for path in tree.paths if path.startswith(_HOST_KEYS) and path.endswith("_key")}
        return *(_host_key(guest, kind) for kind in _KINDS), *(() if had.issubset(_KINDS) else (every,))
    rsa = ("/usr/bin/ssh-keygen", "-q", "-t", "rsa", "-b", "3072", "-N", "", "-C", f"root@{guest.short_hostname}", "-f", f"/{_HOST_KEYS}rsa_key")
    own = Run(why="Make the system's own ssh host key.", argv=rsa, chroot=guest.tree, contained=True, timeout_seconds=120)
    return own, dataclasses.replace(every, may_fail=True)


def _host_key(guest: Guest, kind: str) -> Step:
    why = f"Give the system an ssh host key of its own: {kind}."
    return TreeHostKey(why=why, tree=guest.tree, path=f"{_HOST_KEYS}{kind}_key", comment=f"root@{guest.short_hostname}", kind=kind)
