"""Appliances: a system, and what its first boot makes of it. Those of app_dir as the original had them, and debian-dtc, Debian with the panel.

An appliance of app_dir has `depends` (the OS type below it), `setup-script` and maybe `setup-folder`. As ever the two
come into /root of the VPS, as dtc-xen-appliance-setup and setup-folder, and the script gets root's password as its one argument. It
lies in a file that only root reads until the first boot is over, and never in an init script that all can read.

debian-dtc gets the panel's packages from dtc_panel_source, since no Debian of today has them, and debconf's answers
by a file of the same kind. Source: dtc_reinstall_os and its scripts of 0.5, debconf-set-selections(1), sources.list(5).
"""

from __future__ import annotations

from collections.abc import Iterator

from dtcxen_soap import firstboot
from dtcxen_soap.errors import Failed, ParameterFault, Refused
from dtcxen_soap.facts import AptSource, NodeFact, TreeFact
from dtcxen_soap.firstbootfacts import AppFact, Snippet
from dtcxen_soap.install import aptsources, debootstrap
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import Step, TreeCopy, TreeCopyFile, TreeWrite
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import Secret

DTC = "debian-dtc"
SCRIPT, FOLDER = "setup-script", "setup-folder"
TEXTS = ()
GLOBS = ()
_SETUP = "root/dtc-xen-appliance-setup"
_SOURCES = "etc/apt/sources.list.d/dtc-panel.list"
_KEYRING = "usr/share/keyrings/dtc-panel"
_PANEL_INSTALLER = "/usr/share/dtc/admin/install/install"


def base(os_type: str, app: AppFact | None) -> str:
    """The OS type that is installed for what was asked."""
    if app is not None:
        return app.depends
    return debootstrap.OS_TYPE if os_type == DTC else os_type


def refuse_unready(os_type: str, app: AppFact | None, settings: Settings, node: NodeFact) -> None:
    """Raise Refused or Failed, before anything is touched, when it must not be used or could not do its part."""
    why = f"Install the appliance {os_type}."
    if app is not None and app.unsafe:
        raise Failed(why, f"its script would run as root, and others than root could have changed it: {'; '.join(app.unsafe)}")
    if app is not None and app.problems:
        raise Failed(why, "; ".join(app.problems))
    if app is None and os_type == DTC:
        if not settings.dtc_panel_source:
            raise Refused(ParameterFault(
                "reinstallOS", "osType", "InvalidParameter", f"{DTC}: this node does not know where the panel's packages come from",
                "dtc_panel_source in the node's configuration"))
        panel_source(settings, node)


def panel_source(settings: Settings, node: NodeFact) -> AptSource:
    """Where the panel comes from. Failed, for the admin to mend, when it is no signed source, or the node lacks its keyring."""
    found = tuple(aptsources.parse_lines(settings.dtc_panel_source, "any"))
    why = f"Install {DTC}."
    if len(found) != 1 or not found[0].signed_by:
        raise Failed(why, "dtc_panel_source is no line of sources.list with signed-by: nothing could be verified")
    if found[0].signed_by not in node.keyrings:
        raise Failed(why, f"the keyring {found[0].signed_by} of dtc_panel_source is not among the node's keyrings: nothing could be verified")
    return found[0]


# -- what the first boot runs ---------------------------------------------------------------------


def snippets(os_type: str, app: AppFact | None, settings: Settings) -> tuple[Snippet, ...]:
    """The appliance's part of the first boot."""
    text = _app_script(app) if app else _dtc_script(settings) if os_type == DTC else ""
    return (Snippet(firstboot.order(firstboot.APPLIANCE, os_type), Secret(text)),) if text else ()


def _app_script(app: AppFact) -> str:
    return (f"#!/bin/sh\n# The appliance {app.name}: its script gets root's password, as in the original.\ncd /root || exit 1\n"
            f'exec /{_SETUP} "$(cat {firstboot.PASSWORD_FILE})"\n')


def _dtc_script(settings: Settings) -> str:
    return f"""\
#!/bin/sh
# Installs the DTC panel; debconf's answers were written when this system was installed.
set -e
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
debconf-set-selections {firstboot.DIRECTORY}/{firstboot.ANSWERS}
rm -f {firstboot.DIRECTORY}/{firstboot.ANSWERS}
apt-get -q -o DPkg::Lock::Timeout=300 update
apt-get -q -y -o DPkg::Lock::Timeout=300 -o APT::Install-Recommends=false install -- {" ".join(settings.dtc_panel_packages)}
if [ -x {_PANEL_INSTALLER} ]; then {_PANEL_INSTALLER}; fi
"""


def private(os_type: str, app: AppFact | None, guest: Guest) -> tuple[Snippet, ...]:
    """Files with secrets that these read, beside them and gone with them."""
    if app is not None:
        return (Snippet(firstboot.PASSWORD_FILE.rpartition("/")[2], guest.password),)
    return (Snippet(firstboot.ANSWERS, Secret("".join(f"{line}\n" for line in _answers(guest)))),) if os_type == DTC else ()


def _answers(guest: Guest) -> Iterator[str]:
    """The panel's own questions, and those of the mail server that it brings."""
    panel, domain = "dtc-postfix-courier", guest.domain or guest.hostname
    yield f"{panel} dtc/conf_admpass password {guest.password.reveal()}"
    yield f"{panel} dtc/main_domainname string {domain}"
    yield f"{panel} dtc/conf_ipaddr string {guest.first_address or ''}"
    yield f"{panel} dtc/conf_mysqlautoconfig boolean true"
    yield f"{panel} dtc/conf_use_cyrus boolean false"
    yield "postfix postfix/main_mailer_type select Internet Site"
    yield f"postfix postfix/mailname string {guest.hostname}"


# -- what it finds in the tree --------------------------------------------------------------------


def steps(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """The files of an appliance, or the panel's source with its key."""
    return (*_app_files(guest), *_panel_files(guest))


def _app_files(guest: Guest) -> tuple[Step, ...]:
    if guest.appliance is None:
        return ()
    path = guest.appliance.path
    script = TreeCopyFile(why=f"Have the script of the appliance {guest.appliance.name}.", tree=guest.tree, source=f"{path}/{SCRIPT}", path=_SETUP, mode=0o700)
    folder = TreeCopy(why="Have the files of the appliance.", tree=guest.tree, source=f"{path}/{FOLDER}", into="root")
    return (script, folder) if guest.appliance.folder else (script,)


def _panel_files(guest: Guest) -> tuple[Step, ...]:
    source = guest.panel_source
    if source is None:
        return ()
    keyring = f"{_KEYRING}.{'asc' if source.signed_by.endswith('.asc') else 'gpg'}"
    line = f"deb [signed-by=/{keyring}] {source.uri} {source.suite} {' '.join(source.components)}".rstrip()
    return (
        TreeCopyFile(why="Have the key that the panel's packages are signed with.", tree=guest.tree, source=source.signed_by, path=keyring),
        TreeWrite(why="Tell apt where the panel comes from.", tree=guest.tree, path=_SOURCES, content=f"# Written by dtcxen when this system was installed.\n{line}\n"))
