"""The original's command names, for hands and cron jobs that know them: one program that looks at its own name.

Each takes the original's arguments. They are checked by the same types as the requests, so that a
shifted word is refused under the parameter's name; what they ask for is then carried out by the
daemon of this node, whose locks hold. Options of ours stand before the original's words.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from dtcxen_soap import operations, requests, settings
from dtcxen_soap.access import Caller, Role
from dtcxen_soap.calls import Call
from dtcxen_soap.cli import call as cli_call
from dtcxen_soap.cli import door as cli_door
from dtcxen_soap.cli import flags as cli_flags
from dtcxen_soap.cli import outcome, setup_host
from dtcxen_soap.cli.console import CONFIG, FAILED, OK, UsageError, complain, form_of, load, remark, say
from dtcxen_soap.cli.flags import Asked
from dtcxen_soap.errors import Misconfigured, ParameterFault, Refused
from dtcxen_soap.operations import Form
from dtcxen_soap.settings import Settings

CONSOLE = settings.defaults().console_shell
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_OPTIONS = {
    "--plan": "print what would be done, and stop",
    "--config FILE": f"the node's settings, {CONFIG} when not given",
    "--password-file FILE": "the admin's password; else admin.password beside the settings",
    "--ca FILE": "trust this certificate (PEM); else the node's own",
    "--help": "this text",
}


@dataclass(frozen=True)
class Command:
    """One of the original's names. `run` gets our options and the original's words."""

    name: str
    usage: str
    help: str
    run: Callable[[Command, argparse.Namespace, list[str]], int]
    operation: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command whose name this program has been called by; its exit code, as those of dtcxen."""
    words = list(sys.argv if arguments is None else arguments)
    return outcome.told(lambda: _run(os.path.basename(words[0]), words[1:]))


def _run(name: str, words: list[str]) -> int:
    command = next((item for item in COMMANDS if item.name == name), None)
    if command is None:
        raise UsageError(f"{name!r} is none of the original's commands: {', '.join(item.name for item in COMMANDS)}")
    options, rest = _ours(command, words)
    if options.help:
        say(help_of(command))
        return OK
    return command.run(command, options, rest)


def help_of(command: Command) -> str:
    """Its help; of a command with flags, what each of them means."""
    lines = [f"usage: {command.name} [OPTIONS] {command.usage}".rstrip(), "", command.help, ""]
    lines += [f"  {flag.name:24} {flag.help}" for flag in _FLAGS.get(command.name, ())]
    if command.run is not _console:
        lines += ["", "options, before all other words:", *(f"  {name:24} {text}" for name, text in _OPTIONS.items())]
    return "\n".join(lines).rstrip()


def _ours(command: Command, words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our own options, which stand in front: behind them every word is the original's, whatever it looks like."""
    options = argparse.Namespace(plan=False, help=False, config=None, password_file=None, ca=None, url=None, user=None)
    rest = list(words)
    if command.run is _console:
        return options, rest
    while rest and rest[0] in ("--plan", "--help", "-h", "--config", "--password-file", "--ca"):
        word = rest.pop(0)
        if word in ("--plan", "--help", "-h"):
            setattr(options, "plan" if word == "--plan" else "help", True)
        elif not rest:
            raise UsageError(f"{command.name}: {word}: FILE is missing")
        else:
            setattr(options, word[2:].replace("-", "_"), rest.pop(0))
    return options, rest


def _wrong_usage(command: Command, problem: str) -> UsageError:
    return UsageError(f"{command.name}: {problem}\nusage: {command.name} [OPTIONS] {command.usage}\n{command.name} --help says more")


# -- words by position ----------------------------------------------------------------------------


def _by_position(command: Command, options: argparse.Namespace, words: list[str]) -> int:
    """The parameters of an operation in the original's order, which is the requests'."""
    form = form_of(command.operation)
    chosen = load(options.config or CONFIG)
    values = _paired(command, form, words)
    _warn_of_secrets(form, values)
    label = {item.name(form.old): item.old for item in form.parameters}
    return _carry_out(command, Asked(form.name, tuple(values), label), chosen, options)


def _paired(command: Command, form: Form, words: list[str]) -> list[tuple[str, str]]:
    """Each word under its parameter's name. An optional one may be left out at the end only: nothing moves up."""
    items = _positional(form)
    names = [item.name(form.old) for item in items]
    if len(words) > len(names):
        raise _wrong_usage(command, f"{len(words) - len(names)} too many, expected {' '.join(item.old or item.wire for item in items) or 'none'}")
    lacking = [item.old or item.wire for item in items[len(words):] if not item.optional]
    if lacking:
        raise _wrong_usage(command, f"{', '.join(lacking)}: missing")
    return list(zip(names, words, strict=False))


def _positional(form: Form) -> list[requests.Parameter]:
    """The parameters that the original had; all of an operation that it had not."""
    return [item for item in requests.parameters(form.operation.request, form.old, rpc=False) if item.old or not form.operation.old_name]


def _warn_of_secrets(form: Form, values: Sequence[tuple[str, str]]) -> None:
    secret = {item.name(form.old) for item in form.parameters if item.secret}
    for name, value in values:
        if name in secret and value not in ("", "no_vnc"):
            complain(f"warning: {name} on a command line can be read by every user of this machine; dtcxen call {form.name} {name}=@FILE cannot")


def _carry_out(command: Command, asked: Asked, chosen: Settings, options: argparse.Namespace) -> int:
    """Check it here, with every fault under the caller's own words; then print the plan, or have the daemon do it."""
    form = form_of(asked.operation)
    call = _checked(command, form, asked, chosen)
    _refuse_other_disks(command, asked, options, chosen)
    if options.plan:
        return _print_plan(call, chosen)
    options.config = options.config or CONFIG
    node = cli_door.node(options, chosen)
    if not asked.verbose:
        return cli_call.carry_out(node, form, list(asked.values), follow=True, as_json=False)
    from dtcxen_soap.cli import look as cli_look
    return cli_look.follow(node, node.call(form.name, list(asked.values))["job"])


def _checked(command: Command, form: Form, asked: Asked, chosen: Settings) -> Call:
    try:
        return operations.prepare(form.name, asked.values, chosen, Caller(chosen.admin_user, Role.ADMIN, command.name), rpc=False)
    except Refused as error:
        raise Refused(*(
            dataclasses.replace(fault, operation=command.name, parameter=asked.label.get(fault.parameter, fault.parameter)) for fault in error.faults)) from None


def _refuse_other_disks(command: Command, asked: Asked, options: argparse.Namespace, chosen: Settings) -> None:
    """--disk-type chose where to install; here an installation goes onto the disk that the VPS has."""
    if not asked.image_type:
        return
    from dtcxen_soap.cli import local as cli_local
    vps = dict(asked.values)["vps"]
    with cli_local.survey(chosen) as looked:
        disks = cli_local.Here(chosen, looked).call("infoVPS", [("vps", vps)])["disks"]
    kinds = sorted({disk["imageType"] for disk in disks})
    if kinds and asked.image_type not in kinds:
        raise Refused(ParameterFault(
            command.name, "--disk-type", "InvalidParameter", f"{asked.image_type[:64]!r}: the disks of VPS {vps} are {' and '.join(kinds)}", " or ".join(kinds)))


def _print_plan(call: Call, chosen: Settings) -> int:
    from dtcxen_soap.cli import plan as cli_plan
    for line in cli_plan.lines_of(call, chosen):
        say(line)
    return OK


# -- flags ----------------------------------------------------------------------------------------


def _by_flags(command: Command, options: argparse.Namespace, words: list[str]) -> int:
    if not words:
        raise _wrong_usage(command, "-vpsid, -ram, -nic and -os are missing")
    chosen = load(options.config or CONFIG)
    if "-pass" in words or "--vnc-pass" in words:
        complain("warning: a password on a command line can be read by every user of this machine; dtc_reinstall_os takes it from the environment too, as PASSWORD")
    asked = cli_flags.read(command.name, words, _FLAGS[command.name], chosen, os.environ.get("PASSWORD", ""))
    return _carry_out(command, asked, chosen, options)


_FLAGS = {"dtc_reinstall_os": cli_flags.OF_REINSTALL, "dtc-xen_domU_gen_xen_conf": cli_flags.OF_CONFIG}


def completions() -> dict[str, tuple[tuple[str, ...], ...]]:
    """Per command, the words that may stand at each place; of one with flags, those that may stand at any."""
    return {command.name: _words_of(command) for command in COMMANDS}


def _words_of(command: Command) -> tuple[tuple[str, ...], ...]:
    ours = tuple(name.partition(" ")[0] for name in _OPTIONS)
    if command.name in _FLAGS:
        return ((*ours, *(flag.name for flag in _FLAGS[command.name]), *((cli_flags.VERBOSE,) if command.name == "dtc_reinstall_os" else ())),)
    if command.operation:
        plain = settings.defaults()
        first, *others = [item.type.facets(plain).choices for item in _positional(form_of(command.operation))]
        return ((*ours, *first), *others)
    return ((ours, (tuple(form.name for form in operations.forms(rpc=False)))) if command.run is _client else ((),) if command.run is _console else (ours, ()))


# -- what only reads ------------------------------------------------------------------------------


def _volgroup(command: Command, options: argparse.Namespace, words: list[str]) -> int:
    """The name alone on standard output, since scripts take it from there."""
    if words:
        raise _wrong_usage(command, f"{words[0]!r} is one word too many")
    from dtcxen_soap import stores
    from dtcxen_soap.dom0 import Dom0
    from dtcxen_soap.survey import volumes as survey_volumes
    dom0, chosen = Dom0(), load(options.config or CONFIG)
    if not dom0.is_root():
        raise Misconfigured("only root is told by LVM which volume groups there are")
    found = survey_volumes.volumes(dom0)
    if found.fact.trouble:
        raise Misconfigured(found.fact.trouble)
    try:
        say(stores.chosen_group(chosen, found.fact.groups).name)
    except ValueError as error:
        raise Misconfigured(str(error)) from None
    return OK


def _ping(command: Command, options: argparse.Namespace, words: list[str]) -> int:
    """A row per address; the exit code is 0 only if all answered."""
    if words:
        raise _wrong_usage(command, f"{words[0]!r} is one word too many")
    from dtcxen_soap.cli import local as cli_local
    with cli_local.here(options.config or CONFIG) as node:
        answer = node.call("pingAllIPs", [])
    if not answer["pings"]:
        remark("no VPS of this node has an address")
        return OK
    cli_call.show(answer, False)
    return OK if all(row["answered"] for row in answer["pings"]) else FAILED


# -- the rest -------------------------------------------------------------------------------------


def _client(command: Command, options: argparse.Namespace, words: list[str]) -> int:
    """URL, method and its arguments in order, as the original's; a daemon that cannot prove itself is not called."""
    if len(words) < 2:
        raise _wrong_usage(command, "URL and METHOD are missing" if not words else "METHOD is missing")
    address, name, *rest = words
    form = form_of(name)
    values = _paired(command, form, rest)
    cli_call.refuse_misnamed(form, values, settings.defaults())
    target = _target(command, address)
    if options.plan:
        shown = (f"{key}={'(redacted)' if key in {item.name(form.old) for item in form.parameters if item.secret} else repr(value)}" for key, value in values)
        say(" ".join(("would call", form.name, f"of {target.hostname}", *shown)))
        return OK
    _warn_of_secrets(form, values)
    host = f"[{target.hostname}]" if ":" in (target.hostname or "") else target.hostname
    options.url = f"https://{host}:{target.port or 8089}{target.path or '/'}"
    options.user = unquote(target.username) if target.username else None
    if options.ca is None and target.hostname in _LOCAL_NAMES and os.access(options.config or CONFIG, os.R_OK):
        options.ca = load(options.config or CONFIG).tls_certificate
    password = unquote(target.password) if target.password else ""
    if password:
        complain("warning: a password in an address can be read by every user of this machine; --password-file FILE cannot")
    return cli_call.carry_out(cli_door.node(options, None, password), form, values, follow=False, as_json=False)


def _target(command: Command, address: str) -> SplitResult:
    """The address, which is not repeated where it is wrong: it may hold a password."""
    try:
        target = urlsplit(address)
        if target.scheme == "https" and target.hostname and target.port != 0:
            return target
    except ValueError:
        pass
    raise _wrong_usage(command, "the first word is no address, expected https://USER:PASSWORD@HOST:8089/")


def _finish_install(command: Command, options: argparse.Namespace, words: list[str]) -> int:
    """The original made the console's rule of sudo, sshd's rule and a link, unasked; its heir tells what it does, and keeps a record."""
    if words:
        raise _wrong_usage(command, f"{words[0]!r} is one word too many")
    return setup_host.run(argparse.Namespace(yes=not options.plan, bridge="", nic="", dom0_memory=None, admin_password_file=None, undo=False))


def _console(command: Command, options: argparse.Namespace, words: list[str]) -> int:
    """The login shell of console users of old nodes: what they get is the console program of today, which takes no words."""
    if not os.access(CONSOLE, os.X_OK):
        complain(f"{CONSOLE} is not there: this node has no consoles for owners")
        return FAILED
    os.execv(CONSOLE, (CONSOLE, *words))


COMMANDS: tuple[Command, ...] = (
    Command("dtc_setup_vps_disk", "vpsname hddsize swapsize [imagetype]", "Make the disks of a VPS, sizes in MiB; disks that it had are set aside, as by setupLVMDisks.",
            _by_position, "setupLVMDisks"),
    Command("dtc_kill_vps_disk", "vpsname [imagetype]", "Remove whatever disks a VPS has, and all else of it.", _by_position, "killVPS"),
    Command("dtc_reinstall_os", "[-v] -vpsid ID -ram MIB -nic IP[,NETMASK[,BROADCAST]]... -os TYPE [-pass PASSWORD] [-gw IP] [-dns IP,...] [MORE]",
            "Install an operating system on the disks of a VPS, and wait for its end; -v prints the log meanwhile.", _by_flags),
    Command("dtc_write_xenhvm_conf", "vpsname ramsize allipaddrs vncpassword howtoboot",
            "Configure a VPS as an HVM guest; addresses separated by blanks in one word, vncpassword may be no_vnc, howtoboot hdd or an ISO's name.",
            _by_position, "writeXenHVMconf"),
    Command("dtc_change_bsd_kernel", "vpsname ramsize kerneltype allipaddrs", "Configure a VPS with the node's NetBSD kernel: normal, or install.",
            _by_position, "changeBSDkernel"),
    Command("dtc-xen-volgroup", "", "Print the volume group in which disks are made.", _volgroup),
    Command("dtc-xen-ping-all-ips", "", "Ping every address of every VPS; exit code 1 if any does not answer.", _ping),
    Command("dtc-xen_domU_gen_xen_conf", "-vpsid ID -ram MIB -nic IP... -os xenhvm|netbsd [MORE]",
            "Write the configuration of a guest that installs itself. That of any other is written by its installation.", _by_flags),
    Command("dtc-xen-client", "https://USER:PASSWORD@HOST:8089/ METHOD [ARGUMENT...]", "Call a daemon, old or new names, arguments in order; does not wait for jobs.", _client),
    Command("dtc-xen_userconsole", "", "The console of the VPS whose user calls it.", _console),
    Command("dtc-xen_finish_install", "", "Make whatever this machine lacks to be a node, as dtcxen setup-host --yes.", _finish_install),
    Command("dtc-xen_migrate", "vpsid node [remoteVpsid]", "Move a VPS to another node, by ssh with migrate_key; it is started there if it ran.", _by_position, "migrateVPS"),
)
