"""setConsolePassword, setSshKey, setSoapPassword, and the accounts behind them: made with a VPS, removed with it.

A VPS's owner has two system users on the node. xenNN opens the console, by a login shell that does
nothing else and a sudo rule for exactly that; xenNN-iso uploads ISOs by SFTP, shut into the home
that both share. The home is root's, so nobody plants a link in it; only iso/ in it is the uploader's.
The SOAP user xenNN is a line in htpasswd, and no system user.

Sources: sudoers(5) (files with a dot in their names are not read), sshd_config(5), sshd(8).
"""

from __future__ import annotations

from dtcxen_soap import isoquota
from dtcxen_soap.accountfacts import AccountFact
from dtcxen_soap.answers import AccessChanged
from dtcxen_soap.errors import Failed, Missing, ParameterFault, Refused
from dtcxen_soap.facts import Facts, Need, NeedAccounts, NeedDisks, NeedKeys
from dtcxen_soap.plans import (
    AccountPassword,
    HtpasswdLine,
    MakeAccount,
    MakeHome,
    Plan,
    RemoveAccount,
    RemoveBelow,
    RemoveFile,
    RenameFile,
    Run,
    Step,
    WriteFile,
    WriteKeys,
)
from dtcxen_soap.requests import ConsolePassword, SoapPassword, SshKey
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import DiskRole, VpsId

GROUP, UPLOAD_GROUP = "xenusers", "xenisos"
NO_SHELL = "/usr/sbin/nologin"
XL = "/usr/sbin/xl"
SUDOERS = "/etc/sudoers.d"
_RULE_MODE = 0o440


def console_user(vps: VpsId) -> str:
    """Who opens the console."""
    return vps.name


def upload_user(vps: VpsId) -> str:
    """Who uploads ISOs."""
    return f"{vps.name}-iso"


def users(vps: VpsId, settings: Settings) -> tuple[str, ...]:
    """The system users that a VPS's owner has on this node."""
    return (console_user(vps), upload_user(vps)) if settings.iso_upload else (console_user(vps),)


def home(vps: VpsId, settings: Settings) -> str:
    """The home of both users; the ISOs lie in iso/ of it."""
    return f"{settings.ttyssh_home}/{vps.name}"


def lock(settings: Settings) -> str:
    """The node's lock for system users and htpasswd, whoever changes them for whichever VPS."""
    return f"{settings.state_dir}/accounts.lock"


def sudo_rule_path(vps: VpsId) -> str:
    """The file of the one sudo rule of a VPS's console user."""
    return f"{SUDOERS}/dtc-xen-{vps.name}"


def sudo_rule(vps: VpsId) -> str:
    """This very command with these very words; sudo compares them one by one."""
    return f"# The console of {vps.name}, for its owner. Written by dtcxen; killVPSDisk removes it.\n{console_user(vps)} ALL=(root) NOPASSWD: {XL} console {vps.name}\n"


def sshd_config(settings: Settings) -> str:
    """What sshd must be told of both kinds of users: a file of sshd_config.d.

    The forced command also stands in for subsystems: with internal-sftp no login shell would be asked.
    """
    alike = "    AuthorizedKeysFile .ssh/authorized_keys\n    DisableForwarding yes\n    PermitTunnel no\n    PermitUserRC no\n"
    return (
        "# Owners of VPSes on a DTC-Xen node: xenNN opens the console, xenNN-iso uploads ISOs, and neither does anything else.\n"
        "# Put this file into /etc/ssh/sshd_config.d/, then: sshd -t && systemctl reload ssh\n"
        f"Match Group {GROUP}\n    ForceCommand {settings.console_shell}\n{alike}"
        f"Match Group {UPLOAD_GROUP}\n    ChrootDirectory %h\n    ForceCommand internal-sftp -d /iso -u 0077\n    PermitTTY no\n{alike}"
        "Match all\n")


# -- making and removing --------------------------------------------------------------------------


def managed(settings: Settings, facts: Facts) -> bool:
    """Whether owners have system users here: consoles need domUs."""
    return settings.manage_accounts and facts.domu.toolstack


def obstacles(vps: VpsId, settings: Settings, facts: Facts) -> tuple[str, ...]:
    """Why the node's system users of a VPS cannot be made, in clauses."""
    strangers = (f"the node has a user {name} that is no console user" for name in users(vps, settings)
                 if (found := facts.accounts.users.get(name)) and not _ours(found, settings))
    return *facts.accounts.lacking, *strangers


def _ours(account: AccountFact, settings: Settings) -> bool:
    """Whether a user of a console user's name is one, or was one of the original's."""
    return account.uid != 0 and (account.group in (GROUP, UPLOAD_GROUP) or account.home.startswith(f"{settings.ttyssh_home}/"))


def ensure_steps(vps: VpsId, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """Make what is lacking of the owner's users, home and sudo rule; nothing where the node makes none, or cannot."""
    if not managed(settings, facts) or obstacles(vps, settings, facts):
        return ()
    uploader = upload_user(vps) if settings.iso_upload else ""
    accounts = [_account(console_user(vps), GROUP, settings.console_shell, f"console of VPS {vps}", vps, settings, facts)]
    if uploader:
        accounts.append(_account(uploader, UPLOAD_GROUP, NO_SHELL, f"ISO upload of VPS {vps}", vps, settings, facts))
    elif upload_user(vps) in facts.accounts.users:
        accounts.append(_gone(upload_user(vps), vps, settings, facts))
    made = MakeHome(why="Have a home that only root changes, and a place for ISOs.", top=settings.ttyssh_home, name=vps.name, uploader=uploader)
    quota = isoquota.limit_steps(vps, uploader, settings.ttyssh_home, settings.iso_quota_mib, facts.accounts.quota,
                                 new=uploader not in facts.accounts.users) if uploader else ()
    return *(step for steps in accounts for step in steps), made, *quota, *_sudo_steps(vps, facts)


def notes(vps: VpsId, settings: Settings, facts: Facts) -> tuple[str, ...]:
    """What an installation tells of accounts that it cannot make."""
    lacking = obstacles(vps, settings, facts) if managed(settings, facts) else ()
    return (f"no console user is made: {'; '.join(lacking)}",) if lacking else ()


def _account(user: str, group: str, shell: str, comment: str, vps: VpsId, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    found = facts.accounts.users.get(user)
    if found == AccountFact(user, found.uid if found else 0, group, home(vps, settings), shell):
        return ()
    undo = () if found else (_remove_account(user, settings),)
    return (MakeAccount(
        why=f"Have the user {user}, {comment}.", user=user, group=group, home=home(vps, settings), login=shell, comment=comment, lock=lock(settings), undo=undo),)


def _remove_account(user: str, settings: Settings) -> RemoveAccount:
    return RemoveAccount(why=f"Let {user} in no more, end what it runs, and remove it.", user=user, lock=lock(settings))


def _gone(user: str, vps: VpsId, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """Remove a user of ours that is there, and what was kept for its uid."""
    quota = isoquota.free_user_steps(user, facts.accounts.quota) if user == upload_user(vps) else ()
    return *quota, _remove_account(user, settings)


def _sudo_steps(vps: VpsId, facts: Facts) -> tuple[Step, ...]:
    """The rule counts only once visudo has read it: before that its name has a dot."""
    path, rule = sudo_rule_path(vps), sudo_rule(vps)
    new = f"{path}.new"
    if facts.accounts.sudo_rule == rule:
        return ()
    return (
        WriteFile(why="Write the sudo rule of the console, where sudo does not look.", path=new, content=rule, mode=_RULE_MODE,
                  undo=(RemoveFile(why="Remove the sudo rule.", path=new),)),
        Run(why="See whether sudo understands it.", argv=("visudo", "--check", "--file", new)),
        RemoveFile(why="Let go of an earlier rule.", path=path),
        RenameFile(why="Put the sudo rule in force.", source=new, target=path, undo=(RemoveFile(why="Take the sudo rule back.", path=path),)))


def remove_steps(vps: VpsId, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """Remove all by which the owner signs in, and the home with keys and ISOs; nothing where nothing is left."""
    remove_home = RemoveBelow(
        why="Remove the home.", top=settings.ttyssh_home, path=vps.name, destroys=f"the ISOs and SSH keys of {vps.name}")
    quota = isoquota.free_steps(vps, facts.accounts.quota) if facts.accounts.home else ()
    return *_shut_out(vps, settings, facts), *((remove_home,) if facts.accounts.home else ()), *quota


def shut_out_steps(vps: VpsId, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """Let an earlier tenant of the number in no more. ISOs stay: the admin may have put them there for the next one."""
    remove_keys = RemoveBelow(why="Remove an earlier tenant's SSH keys.", top=settings.ttyssh_home, path=f"{vps.name}/.ssh")
    return *_shut_out(vps, settings, facts), *((remove_keys,) if facts.accounts.home else ())


def _shut_out(vps: VpsId, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """A user of that name that is not ours stays."""
    found = facts.accounts
    rule = (RemoveFile(why="Take the sudo rule of the console back.", path=sudo_rule_path(vps)),) if found.sudo_rule else ()
    mine = tuple(step for user, account in found.users.items() if _ours(account, settings) for step in _gone(user, vps, settings, facts))
    soap = HtpasswdLine(why=f"Remove the SOAP password of {vps.name}.", path=settings.htpasswd_file, user=vps.name, lock=lock(settings))
    return *rule, *mine, *((soap,) if found.soap_password else ())


# -- the operations -------------------------------------------------------------------------------


def needs(request: ConsolePassword | SoapPassword, settings: Settings) -> tuple[Need, ...]:
    """Whether the VPS is there, and how its owner signs in."""
    return NeedDisks(request.vps), NeedAccounts(request.vps)


def key_needs(request: SshKey, settings: Settings) -> tuple[Need, ...]:
    """The same, and what ssh-keygen says of the keys."""
    return NeedDisks(request.vps), NeedAccounts(request.vps), NeedKeys(request.keys)


def plan_password(request: ConsolePassword, settings: Settings, facts: Facts) -> Plan:
    """One password for the console and for uploads. Raises Missing or Failed where this node has no such users."""
    vps = request.vps
    _refuse_nobodys("setConsolePassword", vps, facts)
    if not managed(settings, facts):
        raise Missing(f"setConsolePassword: this node has no console users ({'toolstack' if settings.manage_accounts else 'manage_accounts=no'})")
    _refuse_unready("setConsolePassword", vps, settings, facts)
    names = users(vps, settings)
    password = AccountPassword(why=f"Set the password of {' and '.join(names)}.", users=names, password=request.password, lock=lock(settings))
    return Plan(f"set the console password of VPS {vps}", (*ensure_steps(vps, settings, facts), password), AccessChanged(str(vps), names))


def plan_keys(request: SshKey, settings: Settings, facts: Facts) -> Plan:
    """Replace the keys that open console, uploads and rescue system. Without system users they are for the rescue system alone."""
    vps = request.vps
    _refuse_nobodys("setSshKey", vps, facts)
    refuse_bad_keys("setSshKey", "keys", facts)
    if managed(settings, facts):
        _refuse_unready("setSshKey", vps, settings, facts)
        ready, names = ensure_steps(vps, settings, facts), users(vps, settings)
    else:
        ready, names = (MakeHome(why="Have a home that only root changes.", top=settings.ttyssh_home, name=vps.name),), ()
    write = WriteKeys(why=f"Write the SSH keys of {vps.name}, in the place of all earlier ones.", top=settings.ttyssh_home, name=vps.name, keys=request.keys)
    return Plan(f"set the SSH keys of VPS {vps}", (*ready, write), AccessChanged(str(vps), names, tuple(key.fingerprint for key in facts.keys)))


def refuse_bad_keys(operation: str, parameter: str, facts: Facts) -> None:
    """Raise Refused with each key that ssh-keygen could not read."""
    bad = [(number, key.problem) for number, key in enumerate(facts.keys, 1) if key.problem]
    if bad:
        raise Refused(*(ParameterFault(
            operation, parameter, "InvalidParameter", f"key {number}: {problem}", "an SSH public key that ssh-keygen reads") for number, problem in bad))


def plan_soap_password(request: SoapPassword, settings: Settings, facts: Facts) -> Plan:
    """The owner's line in htpasswd."""
    vps = request.vps
    _refuse_nobodys("setSoapPassword", vps, facts)
    line = HtpasswdLine(
        why=f"Set the SOAP password of {vps.name}.", path=settings.htpasswd_file, user=vps.name, password=request.password, lock=lock(settings))
    return Plan(f"set the SOAP password of VPS {vps}", (line,), AccessChanged(str(vps), (vps.name,)))


def _refuse_nobodys(operation: str, vps: VpsId, facts: Facts) -> None:
    """Raise Missing for a VPS that is not on this node: the number's next tenant must not find a way in that somebody else knows."""
    if facts.disk(DiskRole.ROOT) is None and not facts.domu.configured:
        raise Missing(f"{operation}: VPS {vps} has neither a root disk nor a configuration on this node")


def _refuse_unready(operation: str, vps: VpsId, settings: Settings, facts: Facts) -> None:
    if lacking := obstacles(vps, settings, facts):
        raise Failed(f"{operation}: have the users of {vps.name}.", "; ".join(lacking))
