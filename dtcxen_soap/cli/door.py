"""Which daemon is called, and as whom: the options that every command takes which talks to one."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from typing import TYPE_CHECKING

from dtcxen_soap.cli.console import CONFIG, Door, UsageError, first_line, load
from dtcxen_soap.settings import Settings

if TYPE_CHECKING:
    from dtcxen_soap.cli.soap import Node


def add_options(command: argparse.ArgumentParser) -> None:
    """The options."""
    command.add_argument("--config", metavar="FILE", help=f"the node's settings; without --url {CONFIG} when not given")
    command.add_argument("--url", help="the daemon's address, as https://HOST:8089/")
    command.add_argument("--user", help="who signs in; the node's admin when not given")
    command.add_argument("--password-file", metavar="FILE", help="the user's password; else admin.password beside the settings, else asked for")
    command.add_argument("--ca", "--cert", dest="ca", metavar="FILE", help="trust this certificate (PEM); else the node's own, else the system's")


def is_elsewhere(options: argparse.Namespace) -> bool:
    """Whether the options ask for a daemon: one with an address, or one to sign in to."""
    return bool(options.url or options.user or options.password_file)


def node(options: argparse.Namespace, settings: Settings | None, password: str = "") -> Node:
    """The daemon. Unreachable when there is none, or none to be trusted. `password`: where it is known already."""
    from dtcxen_soap.cli import soap as cli_soap
    return cli_soap.Node(of(options, settings, password))


def settings_of(options: argparse.Namespace) -> Settings | None:
    """The settings of the node that is called; none for a node elsewhere."""
    if options.config:
        return load(options.config)
    return None if options.url or not os.access(CONFIG, os.R_OK) else load(CONFIG)


def of(options: argparse.Namespace, settings: Settings | None, password: str = "") -> Door:
    """Where the daemon is, whom it must prove to be, and who we are."""
    if settings is None and not options.url:
        raise UsageError(f"where is the daemon? --config FILE or --url URL ({CONFIG} is not there, or not readable)")
    user = options.user or (settings.admin_user if settings else "dtc-xen")
    trust: str | bool = options.ca or (settings.tls_certificate if settings and os.access(settings.tls_certificate, os.R_OK) else True)
    if isinstance(trust, str):
        os.stat(trust)
    return Door(options.url or _own_url(settings), user, password or _password(options, user, settings), trust)


def _own_url(settings: Settings | None) -> str:
    assert settings is not None
    if not settings.listen_port:
        raise UsageError("the node's listen_port is 0: --url URL says which port it got")
    host = "localhost" if settings.listen_address in ("", "0.0.0.0", "::") else settings.listen_address
    return f"https://{f'[{host}]' if ':' in host else host}:{settings.listen_port}/"


def _password(options: argparse.Namespace, user: str, settings: Settings | None) -> str:
    """From the file that was named, else from the admin's own, else from the terminal."""
    if options.password_file:
        return first_line(options.password_file)
    beside = f"{settings.config_dir}/admin.password" if settings and user == settings.admin_user else ""
    if beside and os.access(beside, os.R_OK):
        return first_line(beside)
    if not sys.stdin.isatty():
        raise UsageError(f"the password of {user} is not known: --password-file FILE")
    return getpass.getpass(f"password of {user}: ")
