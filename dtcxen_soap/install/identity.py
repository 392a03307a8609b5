"""Who the guest is: its names, and what no two systems may share (machine id, SSH host keys, random seeds)."""

from __future__ import annotations

import re

from dtcxen_soap.facts import TreeFact
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import Run, Step, TreeRemove, TreeSymlink, TreeWrite

TEXTS = ("etc/hosts",)
GLOBS = (
    "etc/hostname", "etc/HOSTNAME", "etc/mailname", "etc/sysconfig", "etc/machine-id", "var/lib/dbus/machine-id", "etc/ssh/ssh_host_*", "etc/ssh/sshd_config",
    "usr/bin/ssh-keygen", "lib/systemd/systemd", "usr/lib/systemd/systemd", "var/lib/systemd/random-seed", "var/lib/urandom/random-seed")
_KEY = re.compile(r"etc/ssh/ssh_host_([a-z0-9]+)_key$")
_DEFAULT_KEYS = ("rsa", "ecdsa", "ed25519")


def steps(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """Everything that makes this system itself and no copy of another."""
    return (*_names(guest, tree), *_machine_id(guest, tree), *_seeds(guest, tree), *_host_keys(guest, tree))


def _names(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """Host name and hosts. Red Hat's family writes the full name into etc/hostname, the others the short one."""
    name = guest.hostname if tree.has("etc/sysconfig") else guest.short_hostname
    made: list[Step] = [
        TreeWrite(why="Name the system.", tree=guest.tree, path="etc/hostname", content=name + "\n"),
        TreeWrite(why="Let the system find itself by name.", tree=guest.tree, path="etc/hosts", content=hosts(guest, tree.texts.get("etc/hosts", "")))]
    if tree.has("etc/mailname"):
        made.append(TreeWrite(why="Name its mail.", tree=guest.tree, path="etc/mailname", content=guest.hostname + "\n"))
    if tree.has("etc/HOSTNAME"):
        made.append(TreeWrite(why="Name the system for its old scripts.", tree=guest.tree, path="etc/HOSTNAME", content=guest.hostname + "\n"))
    return tuple(made)


def hosts(guest: Guest, old: str) -> str:
    """etc/hosts: localhost, the VPS under its own address, and lines of the image that speak of neither."""
    ours = ["127.0.0.1 localhost", f"{guest.first_address or '127.0.1.1'} {' '.join(dict.fromkeys((guest.hostname, guest.short_hostname)))}",
            "::1 localhost ip6-localhost ip6-loopback", "ff02::1 ip6-allnodes", "ff02::2 ip6-allrouters"]
    taken = {line.split()[0] for line in ours} | {"127.0.1.1"}
    kept = [line for line in old.splitlines() if (words := line.split("#")[0].split()) and words[0] not in taken and guest.short_hostname not in words[1:]]
    return "\n".join([*ours, *kept]) + "\n"


def _machine_id(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """An empty machine-id: systemd makes one at the first boot. D-Bus follows it."""
    if not (tree.has("etc/machine-id") or tree.has("lib/systemd/systemd") or tree.has("usr/lib/systemd/systemd")):
        if not tree.has("var/lib/dbus/machine-id"):
            return ()
        return (TreeRemove(why="Let D-Bus make a new machine id.", tree=guest.tree, path="var/lib/dbus/machine-id"),)
    made: tuple[Step, ...] = (TreeWrite(why="Let the first boot make a machine id.", tree=guest.tree, path="etc/machine-id", content="", mode=0o444),)
    if tree.has("var/lib/dbus/machine-id"):
        made += (TreeSymlink(why="Let D-Bus share the machine id.", tree=guest.tree, path="var/lib/dbus/machine-id", target="/etc/machine-id"),)
    return made


def _seeds(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    return tuple(TreeRemove(why="Forget the image's random seed.", tree=guest.tree, path=path) for path in sorted(tree.paths) if path.endswith("/random-seed"))


def _host_keys(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """New host keys of the kinds that were there. Nothing in a Debian makes them at boot, and without them sshd does not start."""
    old = sorted(path for path in tree.paths if path.startswith("etc/ssh/ssh_host_"))
    made: list[Step] = [TreeRemove(why="Remove a host key that others may have.", tree=guest.tree, path=path) for path in old]
    kinds = [match[1] for path in old if (match := _KEY.match(path))]
    if tree.has("usr/bin/ssh-keygen") and tree.has("etc/ssh/sshd_config"):
        for kind in kinds or _DEFAULT_KEYS:
            argv = ("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"root@{guest.short_hostname}", "-f", f"/etc/ssh/ssh_host_{kind}_key")
            made.append(Run(why=f"Make a host key of its own ({kind}).", argv=argv, chroot=guest.tree, contained=True, timeout_seconds=120))
    return tuple(made)
