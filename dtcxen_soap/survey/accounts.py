"""How a VPS's owner signs in on this node: system users, sudo rule, SOAP password; and ssh-keygen's word on public keys."""

from __future__ import annotations

import os
import re
import stat

from dtcxen_soap import accounts, isoquota
from dtcxen_soap.accountfacts import AccountFact, AccountsFact, KeyFact, QuotaFact
from dtcxen_soap.dom0 import Dom0, Unwatched
from dtcxen_soap.errors import Failed
from dtcxen_soap.plans import Run
from dtcxen_soap.processes import NOT_FOUND, unheard
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import VpsId

COMMANDS = ("useradd", "usermod", "userdel", "groupadd", "chpasswd", "visudo", "sudo")
SSHD, SSHD_PARTS = "/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d"
_FINGERPRINT = re.compile(r"[0-9]+ ((?:SHA256|MD5):\S+)")
_MOST_BYTES = 1 << 24


def accounts_of(dom0: Dom0, settings: Settings, vps: VpsId) -> AccountsFact:
    """The users of this VPS that the node's own files name; what other sources of users know is useradd's to refuse."""
    return AccountsFact(
        users(dom0, (accounts.console_user(vps), accounts.upload_user(vps))), _text(dom0, accounts.sudo_rule_path(vps)),
        dom0.exists(accounts.home(vps, settings)), _signs_in(dom0, settings.htpasswd_file, vps.name), tuple(_lacking(dom0, settings)) if settings.manage_accounts else (),
        _quota(dom0, settings))


def _quota(dom0: Dom0, settings: Settings) -> QuotaFact:
    """What the file system of the homes would keep."""
    at, options = dom0.mount_of(settings.ttyssh_home)
    return isoquota.found(options, at, dom0.commands(isoquota.COMMANDS))


def users(dom0: Dom0, names: tuple[str, ...]) -> dict[str, AccountFact]:
    """Those of `names` that are system users, by name (passwd(5), group(5), shadow(5))."""
    groups = {words[2]: words[0] for words in _table(dom0, "/etc/group") if len(words) > 2}
    closed = {words[0] for words in _table(dom0, "/etc/shadow") if len(words) > 7 and words[7]}
    return {words[0]: AccountFact(words[0], int(words[2]), groups.get(words[3], words[3]), words[5], words[6], words[0] in closed)
            for words in _table(dom0, "/etc/passwd") if len(words) > 6 and words[0] in names and words[2].isdecimal()}


def _table(dom0: Dom0, path: str) -> list[list[str]]:
    return [line.split(":") for line in _text(dom0, path).splitlines()]


def _signs_in(dom0: Dom0, path: str, user: str) -> bool:
    return any(line.strip().partition(":")[0] == user for line in _text(dom0, path).splitlines())


def _lacking(dom0: Dom0, settings: Settings) -> list[str]:
    """Programs, the login shell, and a way to the homes that sshd trusts: all of it root's, and to be entered by all."""
    absent = [name for name in COMMANDS if name not in dom0.commands(COMMANDS)]
    found = [f"the node lacks {', '.join(absent)}: install the packages"] if absent else []
    if not _safe(dom0, settings.console_shell, program=True):
        found.append(f"the console's login shell {settings.console_shell} is not there, or not root's alone")
    if not sshd_knows(dom0):
        found.append(f"sshd is not told what the groups {accounts.GROUP} and {accounts.UPLOAD_GROUP} may do: put dtcxen's dtc-xen.conf into {SSHD_PARTS}")
    path = settings.ttyssh_home
    while path not in ("/", ""):
        if dom0.exists(path) and not _safe(dom0, path, program=False):
            found.append(f"{path} must be root's, changed by nobody else, and open for all to enter: sshd trusts no other (chmod 755)")
        path = os.path.dirname(path)
    return found


def sshd_knows(dom0: Dom0) -> bool:
    """Whether sshd has blocks for both groups: without, forwarding would be open, and SFTP the way to all that others may read. No sshd is fine."""
    texts = [_text(dom0, SSHD), *(_text(dom0, f"{SSHD_PARTS}/{name}") for name in dom0.listdir(SSHD_PARTS) if name.endswith(".conf"))]
    blocks = (re.compile(rf"^\s*Match\s+Group\s+{group}\s*$", re.IGNORECASE | re.MULTILINE) for group in (accounts.GROUP, accounts.UPLOAD_GROUP))
    return not dom0.exists(SSHD) or all(any(block.search(text) for text in texts) for block in blocks)


def _safe(dom0: Dom0, path: str, *, program: bool) -> bool:
    """Whether root owns it, only root may change it, and all may execute it, or enter the directory."""
    try:
        status = dom0.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    kind = stat.S_ISREG(status.st_mode) if program else stat.S_ISDIR(status.st_mode)
    return kind and status.st_uid == 0 and not status.st_mode & 0o022 and status.st_mode & 0o111 == 0o111


def _text(dom0: Dom0, path: str) -> str:
    """A file's text; "" where there is none, or where only root may read it and we are not: such a survey is for `dtcxen plan` alone."""
    try:
        return dom0.read_text(path, _MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except PermissionError:
        if dom0.is_root():
            raise
        return ""


def keys(dom0: Dom0, lines: tuple[str, ...]) -> tuple[KeyFact, ...]:
    """ssh-keygen's word on each line, given by standard input. Failed where it is not installed."""
    return tuple(_key(dom0, line) for line in lines)


def _key(dom0: Dom0, line: str) -> KeyFact:
    step = Run(why="Ask ssh-keygen about a key.", argv=("ssh-keygen", "-l", "-f", "-"), stdin=f"{line}\n", timeout_seconds=30)
    ran = dom0.run(step, unheard, Unwatched())
    if ran.code == NOT_FOUND:
        raise Failed("See whether the SSH keys are some.", "the node lacks ssh-keygen: install openssh-client")
    if ran.code or not (match := _FINGERPRINT.match(ran.output)):
        return KeyFact(problem="ssh-keygen cannot read it")
    return KeyFact(match[1])
