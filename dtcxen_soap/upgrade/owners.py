"""How owners signed in on an old node: console users, their login shell, the sudo rule for all consoles, homes with keys and ISOs."""

from __future__ import annotations

from collections.abc import Iterator

from dtcxen_soap.accounts import GROUP
from dtcxen_soap.settings import Settings
from dtcxen_soap.upgrade.finding import Finding, command, counted, edit, left, listed, problem, taken, warning
from dtcxen_soap.upgrade.numbers import vps_of
from dtcxen_soap.upgradefacts import FoundHome, FoundUser, OldNode
from dtcxen_soap.vps import VpsId

OLD_SHELL = "dtc-xen_userconsole"
_OTHERS_WRITE = 0o022
_ENTER = 0o111


def judge(settings: Settings, node: OldNode, here: frozenset[VpsId]) -> Iterator[Finding]:
    """Everything about owners' ways in; `here` are the VPSes of this node."""
    for line in node.sudo_lines:
        yield problem("sudo", f"{line.path}:{line.number}", f"whoever is in the group opens every console with it: {line.text}",
                      command("visudo", *(() if line.path == "/etc/sudoers" else ("-f", line.path))))
    yield from _top(settings, node)
    yield from _users(settings, node, here)
    for home in node.homes:
        yield from _home(home, here)


def _top(settings: Settings, node: OldNode) -> Iterator[Finding]:
    """Whoever may change the directory of the homes can put a home of his own in the place of another's."""
    file = node.homes_top
    shut = settings.manage_accounts and file is not None and file.mode & _ENTER != _ENTER
    if file is not None and (shut or file.mode & _OTHERS_WRITE or file.uid != node.owner):
        yield problem("homes-open", file.path, f"it must be root's, changed by nobody else, and open for all to enter ({file.mode:04o}, uid {file.uid}): "
                      "until then no console user is made, and sshd trusts no key there", command("chown", "root:root", file.path), command("chmod", "755", file.path))
    if settings.manage_accounts and node.users and not node.console_shell:
        yield warning("console-shell", settings.console_shell, "this daemon's console program is not there: owners reach no console", command("apt-get", "install", "dtcxen-soap"))


def _users(settings: Settings, node: OldNode, here: frozenset[VpsId]) -> Iterator[Finding]:
    homes = {home.file.name: home for home in node.homes}
    gone, strangers = [], []
    for user in node.users:
        vps = vps_of(user.name)
        if vps is None:
            strangers.append(user.name)
        elif vps not in here:
            gone.append(user.name)
        elif settings.manage_accounts:
            yield from _user(user, vps, settings, homes.get(user.name))
    if strangers:
        yield left("user-stranger", "/etc/passwd", f"the original's console is the login shell of {listed(tuple(strangers))}, no VPS's users", command("chsh", strangers[0]))
    if gone:
        removals = (command("userdel", "--", name) for name in gone)
        yield warning("user-gone", "/etc/passwd", f"{counted(len(gone), 'console user')} of VPSes that are not on this node: {listed(tuple(gone))}; "
                      "a new VPS of such a number shuts the earlier user out first", *removals)
    if not settings.manage_accounts and node.users:
        yield left("users-unmanaged", "/etc/passwd", f"manage_accounts=no: {counted(len(node.users), 'console user')} of the original stay as they are")


def _user(user: FoundUser, vps: VpsId, settings: Settings, home: FoundHome | None) -> Iterator[Finding]:
    """Setting the same keys again gives a user of the original all that one of ours has: shell, group, sudo rule, a home that is root's."""
    if user.shell == settings.console_shell and user.group == GROUP:
        yield taken("user", f"/etc/passwd ({user.name})", "its owner opens the console with it")
        return
    with_keys = ("setSshKey", f"vps={vps}", f"keys=@{user.home}/.ssh/authorized_keys")
    words = with_keys if home is not None and home.keys else ("setConsolePassword", f"vps={vps}", "password=-")
    yield warning("user-old-shell", f"/etc/passwd ({user.name})", f"its login shell is {user.shell}: its owner reaches no console until key or password are set anew",
                  command("dtcxen", "call", *words))


def _home(home: FoundHome, here: frozenset[VpsId]) -> Iterator[Finding]:
    path = home.file.path
    vps = vps_of(home.file.name)
    if vps is None or vps not in here:
        if home.isos or home.keys or home.unread_keys:
            what = "of no VPS on this node" if vps else "not the home of a VPS's user"
            yield warning("home-gone", path, f"{what}: {counted(len(home.isos), 'ISO')} and {counted(home.keys + home.unread_keys, 'SSH key')} of somebody who has left",
                          command("rm", "-r", "--", path))
        return
    if home.strange:
        yield warning("home-strange", path, f"neither file nor directory, and never followed: {listed(home.strange)}", command("ls", "-la", "--", path))
    if home.unread_keys:
        yield warning("home-keys2", f"{path}/.ssh/authorized_keys2", f"{counted(home.unread_keys, 'key')} that stand in no authorized_keys: they open nothing from now on",
                      edit(f"{path}/.ssh/authorized_keys2"))
    if home.isos or home.keys:
        yield taken("home", path, f"{counted(len(home.isos), 'ISO')} and {counted(home.keys, 'SSH key')}")
