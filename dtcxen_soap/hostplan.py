"""`dtcxen setup-host`: what makes a bare dom0 a node, and takes it back, as plans. Decides only; survey/host.py looks, cli/setup_host.py asks.

Nothing that is there is made again, and nothing that runs is disturbed: a bridge and dom0's memory are for the next boot. Everything made is
written down with its undo, so that it can be taken back years later. Sources: sshd_config(5), sshd(8) -t, interfaces(5), the Xen
hypervisor's command line (dom0_mem), update-grub(8).
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Callable, Iterator

from dtcxen_soap import accounts, hostsetup, interfaces, settings
from dtcxen_soap.errors import Misconfigured
from dtcxen_soap.hostfacts import FoundFile, HostFact, HostWish, Made
from dtcxen_soap.hostsetup import Layout, Material
from dtcxen_soap.plans import MakeDirectory, Plan, RemoveDirectory, RemoveFile, Run, Step, WriteFile
from dtcxen_soap.settings import Settings
from dtcxen_soap.undorecords import undo_from_record, undo_to_record
from dtcxen_soap.vps import Secret

LAYOUT = Layout("/")
PLACE = "/var/lib/dtcxen-soap"
RECORD = f"{PLACE}/setup-host.json"
SSHD_CONFIG, SSHD_PART = "/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/dtc-xen.conf"
GRUB_PART = "/etc/default/grub.d/dtcxen-dom0-memory.cfg"
COMMANDS = ("sshd", "systemctl", "update-grub", "ifup", "ifquery", "brctl")
TITLE, UNDO_TITLE = "setup-host", "setup-host --undo"
_VERSION = 1


def asked_paths(chosen: Settings) -> tuple[str, ...]:
    """Everything whose presence decides."""
    return (*LAYOUT.files, *LAYOUT.directories, chosen.console_shell, chosen.console_shell.rpartition("/")[0], SSHD_CONFIG, SSHD_PART.rpartition("/")[0],
            GRUB_PART.rpartition("/")[0], interfaces.MAIN, interfaces.PARTS)


def needs_credentials(fact: HostFact, chosen: Settings) -> bool:
    """Whether the settings name the places where we would make them; a node with others has its own."""
    named = (chosen.htpasswd_file, chosen.tls_key, chosen.tls_certificate)
    return LAYOUT.config not in fact.present or named == (LAYOUT.htpasswd, LAYOUT.key, LAYOUT.certificate)


def plan(fact: HostFact, wish: HostWish, chosen: Settings, material: Material, made: tuple[Made, ...]) -> Plan:
    """Everything that this machine lacks. Misconfigured for a wish that cannot be granted; without steps when nothing is lacking."""
    notes: list[str] = []
    steps = (*_files(fact, wish, chosen, material, notes), *_console(fact, chosen), *_sshd(fact, chosen, notes), *_bridge(fact, wish, chosen, notes), *_memory(fact, wish, notes))
    record = (_recorded(merged(made, steps), made),) if steps else ()
    return Plan(title=TITLE, steps=(*steps, *record), notes=tuple(notes))


# -- the parts ------------------------------------------------------------------------------------


def _files(fact: HostFact, wish: HostWish, chosen: Settings, material: Material, notes: list[str]) -> Iterator[Step]:
    """Directories, credentials and settings, as `dtcxen init` makes them; of the settings all but the bridge is left at its default."""
    text = settings.render({"xen_bridge": wish.bridge} if wish.bridge else {})
    credentials = needs_credentials(fact, chosen)
    if not credentials:
        notes.append(f"{LAYOUT.config} names keys and users of its own: none are made")
    for step in hostsetup.steps(LAYOUT, fact.present, material, text):
        if isinstance(step, MakeDirectory):
            yield dataclasses.replace(step, undo=(_no_directory(step.path),))
        elif credentials or step.path == LAYOUT.config:
            yield dataclasses.replace(step, undo=(RemoveFile(why=f"Remove {step.path} again.", path=step.path),))


def _console(fact: HostFact, chosen: Settings) -> Iterator[Step]:
    """The login shell of VPS owners. One that is there is an admin's or a package's to mend."""
    if not chosen.manage_accounts or chosen.console_shell in fact.present:
        return
    yield from _directory(fact, chosen.console_shell.rpartition("/")[0], "Have a place for the console's login shell.")
    yield _file(fact, chosen.console_shell, fact.console, "Let VPS owners have the console of their VPS, and nothing else.", 0o755)


def _sshd(fact: HostFact, chosen: Settings, notes: list[str]) -> Iterator[Step]:
    if not chosen.manage_accounts or fact.sshd_knows or SSHD_CONFIG not in fact.present:
        return
    if fact.sshd_trouble:
        notes.append(f"sshd refuses its configuration as it is, and nothing is added to it: {fact.sshd_trouble}")
        return
    again = _sshd_again(fact)
    yield from _directory(fact, SSHD_PART.rpartition("/")[0], "Have a place for parts of sshd's configuration.")
    yield _file(fact, SSHD_PART, accounts.sshd_config(chosen), "Tell sshd what VPS owners may do.", 0o644, *again)
    yield Run(why="Have sshd check its whole configuration.", argv=("sshd", "-t"))
    yield from again


def _sshd_again(fact: HostFact) -> tuple[Run, ...]:
    """Sessions that are open stay so."""
    return (Run(why="Have sshd read it.", argv=("systemctl", "try-reload-or-restart", "ssh.service")),) if fact.systemd and "systemctl" in fact.commands else ()


def _bridge(fact: HostFact, wish: HostWish, chosen: Settings, notes: list[str]) -> Iterator[Step]:
    """A file for the next boot: a machine's network is not changed under whoever is signed in by it."""
    if not wish.bridge:
        return
    configured = {path: interfaces.names(fact.files[path].text) for path in fact.interfaces}
    if wish.bridge in fact.cards - fact.bridges:
        raise Misconfigured(f"--bridge: {wish.bridge} is a network card, and no bridge")
    if wish.bridge in fact.bridges or any(wish.bridge in found for found in configured.values()):
        notes.append(f"there is a bridge {wish.bridge} already: it is left as it is")
        return
    _refuse_bridge(fact, wish)
    if LAYOUT.config in fact.present and chosen.xen_bridge != wish.bridge:
        notes.append(f"guests join xen_bridge={chosen.xen_bridge or '(the default of xl)'}: set xen_bridge={wish.bridge} in {LAYOUT.config}")
    theirs = [path for path, found in configured.items() if wish.nic in found]
    yield from _directory(fact, interfaces.PARTS, "Have a place for parts of the network's configuration.")
    if theirs:
        step = _moved(fact, wish, theirs)
        notes.append(_difference(fact.files[step.path].text, step))
        yield step
    else:
        path = f"{interfaces.PARTS}/{wish.bridge}"
        yield _file(fact, path, interfaces.alone(wish.bridge, wish.nic), f"Have the bridge {wish.bridge} at the next boot.", 0o644)
    yield Run(why="Have ifupdown read what it will find at the next boot.", argv=("ifquery", wish.bridge))
    notes.append(f"{wish.bridge} comes with the next boot: nothing of the network is changed now. Look at the file, and have another way to this machine at hand")


def _refuse_bridge(fact: HostFact, wish: HostWish) -> None:
    """What would leave the machine without a network."""
    for option, name in (("--bridge", wish.bridge), ("--nic", wish.nic)):
        if name and not interfaces.NAME.fullmatch(name):
            raise Misconfigured(f"{option}: {name!r} is no name of an interface")
    if {"ifup", "ifquery"} - fact.commands or interfaces.MAIN not in fact.interfaces:
        raise Misconfigured("--bridge: this machine's network is not ifupdown's (apt-get install ifupdown), and for others setup-host writes nothing: make the bridge there")
    if "brctl" not in fact.commands:
        raise Misconfigured("--bridge: ifupdown makes bridges with bridge-utils only: apt-get install bridge-utils")
    if wish.nic and wish.nic not in fact.cards:
        raise Misconfigured(f"--nic: there is no network card {wish.nic}, but {', '.join(sorted(fact.cards)) or 'none at all'}")
    if wish.nic in fact.bridges:
        raise Misconfigured(f"--nic: {wish.nic} is a bridge itself")
    for path in fact.interfaces if wish.nic else ():
        try:
            interfaces.check(fact.files[path].text, wish.nic)
        except ValueError as error:
            raise Misconfigured(f"--nic: {path}: {error}: put the bridge there by hand") from None


def _difference(before: str, step: WriteFile) -> str:
    """What an admin reads before the network of a machine changes."""
    assert isinstance(step.content, str)
    return "\n".join((f"{step.path} will be:", *difflib.unified_diff(before.splitlines(), step.content.splitlines(), step.path, f"{step.path}.new", lineterm="")))


def _moved(fact: HostFact, wish: HostWish, theirs: list[str]) -> WriteFile:
    if len(theirs) > 1:
        raise Misconfigured(f"--nic: {wish.nic} is configured by several files: {', '.join(theirs)}: put the bridge there by hand")
    path, found = theirs[0], fact.files[theirs[0]]
    if found.link:
        raise Misconfigured(f"--nic: {path} is a link: put the bridge there by hand")
    text = interfaces.bridged(found.text, wish.nic, wish.bridge)
    return _file(fact, path, text, f"At the next boot have {wish.nic} in the bridge {wish.bridge}, and its address on the bridge.", found.mode)


def _memory(fact: HostFact, wish: HostWish, notes: list[str]) -> Iterator[Step]:
    if not wish.dom0_memory:
        return
    if "update-grub" not in fact.commands:
        raise Misconfigured("--dom0-memory: this machine has no update-grub: give the hypervisor dom0_mem=... by its own boot loader")
    amount = f"{int(wish.dom0_memory)}M"
    text = f'# What dom0 keeps for itself: it neither gives it to guests nor takes more.\nGRUB_CMDLINE_XEN_DEFAULT="$GRUB_CMDLINE_XEN_DEFAULT dom0_mem={amount},max:{amount}"\n'
    if GRUB_PART in fact.files and fact.files[GRUB_PART].text == text:
        return
    again = Run(why="Have the boot loader's menu say so.", argv=("update-grub",), timeout_seconds=600, patient=True)
    yield from _directory(fact, GRUB_PART.rpartition("/")[0], "Have a place for parts of the boot loader's settings.")
    yield _file(fact, GRUB_PART, text, f"Let dom0 have {amount} of memory from the next boot on.", 0o644, again)
    yield again
    notes.append("dom0's memory changes with the next boot")


def _directory(fact: HostFact, path: str, why: str) -> Iterator[Step]:
    if path not in fact.present:
        yield MakeDirectory(why=why, path=path, undo=(_no_directory(path),))


def _no_directory(path: str) -> Step:
    return RemoveDirectory(why=f"Remove {path} again if nothing is in it.", path=path)


def _file(fact: HostFact, path: str, text: str, why: str, mode: int, *after: Step) -> WriteFile:
    """Write it; the undo brings back what was there, and then does what makes others hear of it."""
    was = fact.files.get(path)
    back: Step = _as_it_was(path, was) if was else RemoveFile(why=f"Remove {path} again.", path=path)
    return WriteFile(why=why, path=path, content=text, mode=mode, undo=(back, *after))


def _as_it_was(path: str, was: FoundFile) -> Step:
    return WriteFile(why=f"Have {path} as it was.", path=path, content=was.text, mode=was.mode)


# -- the record -----------------------------------------------------------------------------------


def merged(before: tuple[Made, ...], steps: tuple[Step, ...]) -> tuple[Made, ...]:
    """What was made before and now; of a file that was made or changed twice, the undo of the first time."""
    found = {item.path: item for item in before}
    for step in steps:
        if isinstance(step, WriteFile | MakeDirectory):
            first = found.get(step.path)
            found[step.path] = Made(step.path, _digest(step), first.undo if first else step.undo)
    return tuple(found.values())


def _digest(step: WriteFile | MakeDirectory) -> str:
    if isinstance(step, MakeDirectory):
        return ""
    text = step.content.reveal() if isinstance(step.content, Secret) else step.content
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _recorded(made: tuple[Made, ...], before: tuple[Made, ...]) -> Step:
    """The record as a step; its undo is the record as it was."""
    back: Step = WriteFile(why="Have the record as it was.", path=RECORD, content=written(before), mode=0o600) if before else RemoveFile(why="Remove the record.", path=RECORD)
    return WriteFile(why="Keep a record, by which all of it can be taken back.", path=RECORD, content=written(made), mode=0o600, undo=(back,))


def written(made: tuple[Made, ...]) -> str:
    """The record as text."""
    rows = [{"path": item.path, "sha256": item.sha256, "undo": [undo_to_record(step) for step in item.undo]} for item in made]
    return json.dumps({"version": _VERSION, "made": rows}, indent=1) + "\n"


def read(text: str) -> tuple[Made, ...]:
    """The record of a text. Misconfigured when it is not one of ours."""
    try:
        found = json.loads(text)
        if found["version"] != _VERSION:
            raise ValueError(f"version {found['version']!r}")
        return tuple(Made(str(row["path"]), str(row["sha256"]), tuple(undo_from_record(step) for step in row["undo"])) for row in found["made"])
    except (ValueError, KeyError, TypeError) as error:
        raise Misconfigured(f"{RECORD}: not a record of setup-host: {error!r}") from None


def undo(made: tuple[Made, ...], digest: Callable[[str], str]) -> Plan:
    """Everything taken back, newest first. `digest` tells a file's SHA-256, "" where there is none; what was changed since is somebody's work, and stays."""
    steps: list[Step] = []
    kept = []
    for item in reversed(made):
        now = digest(item.path) if item.sha256 else ""
        if item.sha256 and now and now != item.sha256:
            kept.append(item)
        elif not item.sha256 or now:
            steps += (dataclasses.replace(step, may_fail=True) if isinstance(step, Run) else step for step in item.undo)
    notes = tuple(f"{item.path} was changed since: it stays" for item in kept)
    last = (RemoveFile(why="Remove the record.", path=RECORD),) if made else ()
    return Plan(title=UNDO_TITLE, steps=(*steps, *last), notes=notes)
