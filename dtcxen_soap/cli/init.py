"""`dtcxen init DIR`: carry out what hostsetup.py plans."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
from datetime import UTC, datetime
from typing import Any

from dtcxen_soap import hostsetup, settings
from dtcxen_soap.cli.console import OK, UsageError, first_line, remark, say
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Misconfigured
from dtcxen_soap.hostsetup import Lacking, Layout, Material
from dtcxen_soap.plans import MakeDirectory
from dtcxen_soap.vps import Secret

DEFAULT_PORT = 8089
_XEN = "/proc/xen/capabilities"
_OTHERS_WRITE = 0o022
_EXAMPLES = """\
examples:
  dtcxen init ./node
  dtcxen init /srv/node --port 0 --admin-password-file ./secret

what is there is kept: a second init changes nothing. Nothing is written outside DIR."""


def add_to(commands: Any) -> None:
    """The subcommand."""
    command = commands.add_parser("init", help="make a self-contained node below a directory", description="Make a self-contained node below DIR.", epilog=_EXAMPLES)
    command.add_argument("directory", metavar="DIR", help="made if it is not there")
    command.add_argument("--port", type=_port, default=None, metavar="N", help=f"port of the service, {DEFAULT_PORT} when not given; 0: any free port at each start")
    command.add_argument("--admin-password-file", metavar="F", help="take the admin's password from F, instead of inventing one")
    command.set_defaults(run=run)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, expected 0 to 65535")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Make what is lacking, and say what was made and what was kept."""
    dom0 = Dom0()
    try:
        layout = Layout(os.path.abspath(options.directory))
    except ValueError as error:
        raise UsageError(str(error)) from None
    refuse_strangers(layout, dom0)
    present = frozenset(path for path in (*layout.files, *layout.directories) if dom0.exists(path))
    made_now = material(layout, hostsetup.lacking(layout, present), options.admin_password_file, dom0)
    port = DEFAULT_PORT if options.port is None else options.port
    steps = hostsetup.plan(layout, present, made_now, port, _is_dom0(dom0))
    for step in steps:
        if isinstance(step, MakeDirectory):
            dom0.make_directory(step.path, step.mode)
        else:
            content = step.content.reveal() if isinstance(step.content, Secret) else step.content
            dom0.write_file(step.path, content.encode(), step.mode)
    _tell(layout, present, options, dom0)
    return OK


def refuse_strangers(layout: Layout, dom0: Dom0) -> None:
    """A directory that somebody else may change is no place for keys: a link there could lead us anywhere."""
    for path in layout.directories:
        if dom0.exists(path):
            found = dom0.stat(path)
            if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE:
                raise Misconfigured(f"{path}: others own it or may write to it; choose a directory of your own")


def _is_dom0(dom0: Dom0) -> bool:
    return dom0.exists(_XEN) and "control_d" in dom0.read_text(_XEN)


def material(layout: Layout, lacking: Lacking, password_file: str | None, dom0: Dom0) -> Material:
    """Passwords, hashes, keys and certificates, for what is lacking only; each costs time or chance."""
    from dtcxen_soap import certificates, passwords
    password = Secret("")
    if lacking.password:
        password = Secret(first_line(password_file) if password_file else secrets.token_urlsafe(18))
    elif lacking.htpasswd:
        password = Secret(dom0.read_text(layout.password).removesuffix("\n"))
    try:
        hashed = passwords.hash_for_htpasswd(password) if lacking.htpasswd else ""
    except ValueError as error:
        raise Misconfigured(str(error)) from None
    key = certificates.new_key() if lacking.key else Secret("")
    certificate = ""
    if lacking.certificate:
        try:
            names = hostsetup.certificate_names(dom0.hostname())
            certificate = certificates.self_signed(key if lacking.key else Secret(dom0.read_text(layout.key)), names, datetime.now(UTC))
        except ValueError as error:
            raise Misconfigured(f"{layout.key}: {error}") from None
    return Material(password, hashed, key, certificate)


def _tell(layout: Layout, present: frozenset[str], options: argparse.Namespace, dom0: Dom0) -> None:
    """What was made, what was kept although the command line says otherwise, and what comes next."""
    for path in layout.files:
        if path in present:
            say(f"kept   {path}")
        elif dom0.exists(path):
            say(f"made   {path}")
    served = settings.examine(dom0.read_text(layout.config)).texts["listen_port"]
    if options.port is not None and str(options.port) != served:
        remark(f"the port stays {served}: {layout.config} was there and is kept")
    if options.admin_password_file and (layout.password in present or layout.htpasswd in present):
        remark("the admin's password stays as it was: the credentials were there and are kept")
    say(f"admin: {hostsetup.ADMIN}, password in {layout.password}" if dom0.exists(layout.password) else f"admin: as {layout.htpasswd} says")
    say(f"next:  dtcxen serve --config {shlex.quote(layout.config)}")
