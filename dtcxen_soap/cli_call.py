"""`dtcxen call OPERATION name=value...`: one call to a daemon over SOAP, through its WSDL, as any client would make it."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from typing import Any

from dtcxen_soap import requests
from dtcxen_soap import settings as conf
from dtcxen_soap.cli_console import CONFIG, FAILED, OK, VALUES_HELP, Door, UsageError, add_operation, first_line, form_of, given, load, operation_lines, remark, wants_help
from dtcxen_soap.errors import Refused
from dtcxen_soap.operations import Form
from dtcxen_soap.settings import Settings

_EXAMPLES = f"""\
examples:
  dtcxen call --config ./node/etc/dtc-xen/dtc-xen.conf setupVPSDisk vps=01 diskSizeMib=2048 swapSizeMib=256
  dtcxen call --config ./node/etc/dtc-xen/dtc-xen.conf reinstallOS vps=01 osType=debian ramSizeMib=512 \\
      password=@./secret nics=192.0.2.10/24 gateway=192.0.2.1 dns=192.0.2.53
  dtcxen call --url https://node.example.com:8089/ --ca node.pem --password-file ./admin listJobs --json

a node's settings tell where it listens, its certificate and who its admin is; --url and the others say so
for a node elsewhere. A call that starts a job follows it to its end, unless --no-follow is given.

{VALUES_HELP}

{operation_lines()}"""


def add_to(commands: Any) -> None:
    """The subcommand."""
    command = commands.add_parser(
        "call", add_help=False, help="call a daemon over SOAP", description="Call a daemon over SOAP, and follow the job that this starts.", epilog=_EXAMPLES)
    add_operation(command)
    command.add_argument("--config", metavar="FILE", help=f"the node's settings; without --url {CONFIG} when not given")
    command.add_argument("--url", help="the daemon's address, as https://HOST:8089/")
    command.add_argument("--user", help="who signs in; the node's admin when not given")
    command.add_argument("--password-file", metavar="FILE", help="the user's password; else admin.password beside the settings, else asked for")
    command.add_argument("--ca", "--cert", dest="ca", metavar="FILE", help="trust this certificate (PEM); else the node's own, else the system's")
    command.add_argument("--no-follow", action="store_true", help="do not wait for the job to end")
    command.add_argument("--json", action="store_true", help="print the answer as JSON; of a job that was followed, its last record")
    command.set_defaults(run=run, command=command)


def run(options: argparse.Namespace) -> int:
    """One call, and the job it may start."""
    if wants_help(options, options.command):
        return OK
    form = form_of(options.operation)
    settings = _settings(options)
    values = given(form, options.values)
    _refuse_misnamed(form, values, settings or conf.defaults())
    door = _door(options, settings)
    from dtcxen_soap import cli_follow, cli_soap
    node = cli_soap.Node(door)
    answer = node.call(form.name, values)
    job = answer.get("job") if form.operation.kind.value == "job" and isinstance(answer, dict) else None
    if job is None or options.no_follow:
        _show(answer, options.json)
        return OK
    remark(f"job {job} was started")
    record = cli_follow.follow(lambda: node.call("getJob", [("job", str(job))]), on_terminal=sys.stderr.isatty())
    if options.json:
        _show(record, True)
    return OK if cli_follow.tell(record) else FAILED


def _show(answer: Any, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(answer, indent=2, default=str, ensure_ascii=False) + "\n")
    else:
        from dtcxen_soap import cli_answer
        cli_answer.show(answer)


def _settings(options: argparse.Namespace) -> Settings | None:
    """The settings of the node that is called; none for a node elsewhere."""
    if options.config:
        return load(options.config)
    return None if options.url or not os.access(CONFIG, os.R_OK) else load(CONFIG)


def _refuse_misnamed(form: Form, values: list[tuple[str, str]], settings: Settings) -> None:
    """Names that no schema holds cannot be sent: told here, with every other fault of the call.

    What is well named is sent, right or wrong: the node's own limits count.
    """
    known = {item.name(form.old): item for item in requests.parameters(form.operation.request, form.old, rpc=False)}
    names = [name for name, _ in values]
    missing = [name for name, item in known.items() if not item.optional and name not in names]
    flags = [name for name, value in values if name in known and known[name].type.facets(settings).base == "boolean" and value not in ("true", "false", "1", "0")]
    if missing or flags or len(set(names)) < len(names) or not set(names) <= set(known):
        requests.parse(form.operation.request, form.name, values, settings, old=form.old, rpc=False)
        raise Refused


def _door(options: argparse.Namespace, settings: Settings | None) -> Door:
    """Where the daemon is, whom it must prove to be, and who we are."""
    if settings is None and not options.url:
        raise UsageError(f"where is the daemon? --config FILE or --url URL ({CONFIG} is not there, or not readable)")
    user = options.user or (settings.admin_user if settings else "dtc-xen")
    trust: str | bool = options.ca or (settings.tls_certificate if settings and os.access(settings.tls_certificate, os.R_OK) else True)
    if isinstance(trust, str):
        os.stat(trust)
    return Door(options.url or _own_url(settings), user, _password(options, user, settings), trust)


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
