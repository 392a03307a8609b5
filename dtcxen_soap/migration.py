"""migrateVPS: a VPS moves to another node, which has agreed before anything stops.

Its disks are compared and sent by chunks, read again and compared whole; then this node gives the VPS up, the
other one starts it, watches its boot and takes it for good. Whatever goes wrong before that lets the
other node remove all that arrived, and brings the VPS back here. After it, the disks stay here for
keep_old_disk_hours under names that nothing starts.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from dtcxen_soap import accounts, disks, lvm, power, stores
from dtcxen_soap.answers import JobStarted
from dtcxen_soap.errors import Failed, Missing, ParameterFault, Refused
from dtcxen_soap.facts import DiskFact, Facts, Need, NeedAccounts, NeedDisks, NeedDomu, NeedTenancy
from dtcxen_soap.movefacts import NeedMove
from dtcxen_soap.movesteps import AskPeer, DropAtPeer, GiveUp, KeepAtPeer, SendDisk, SendOwner, StartAgain, StartAtPeer, StopDomu, TakeBack
from dtcxen_soap.movewords import MOST_CONFIG_BYTES, DiskOffer, Offer
from dtcxen_soap.planprint import paste
from dtcxen_soap.plans import NextTenancy, Plan, RemoveFile, Run, Step
from dtcxen_soap.requests import Migrate
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import DiskRole, Mib, VpsId
from dtcxen_soap.xen.configread import parse

OPERATION = "migrateVPS"
SSH_PORT = 22
STOP_SECONDS = 180
RECEIVER = ("dtcxen", "receive-vps")
"""What is asked for at the other node; its authorized_keys may force it."""
_OPTIONS = ("BatchMode=yes", "StrictHostKeyChecking=yes", "GlobalKnownHostsFile=none", "IdentitiesOnly=yes", "ConnectTimeout=15", "ServerAliveInterval=15",
            "ServerAliveCountMax=4", "ForwardAgent=no", "ClearAllForwardings=yes", "ControlPath=none", "PermitLocalCommand=no", "UpdateHostKeys=no",
            "PasswordAuthentication=no", "LogLevel=ERROR")


def needs(request: Migrate, settings: Settings) -> tuple[Need, ...]:
    """The VPS, how its owner signs in, and what a move needs."""
    return NeedDisks(request.vps), NeedDomu(request.vps), NeedTenancy(request.vps), NeedAccounts(request.vps), NeedMove(request.vps)


def peer(to_host: str, settings: Settings) -> tuple[str, ...]:
    """The command that reaches the receiver of a node: ssh with its own files of keys, no configuration of anybody's, and fixed words."""
    host, port = split(to_host)
    options = tuple(word for option in (*_OPTIONS, f"UserKnownHostsFile={settings.migrate_known_hosts}") for word in ("-o", option))
    return ("ssh", "-F", "none", "-T", *options, "-i", settings.migrate_key, "-p", str(port), "-l", "root", "--", host, *RECEIVER)


def _reached_by(command: tuple[str, ...]) -> str:
    return f"the other node is reached by: {paste(command)}"


def split(to_host: str) -> tuple[str, int]:
    """Host and port; ValueError for a port that is none."""
    host, colon, port = to_host.rpartition(":") if not to_host.endswith("]") else (to_host, "", "")
    if not colon:
        host, port = to_host, ""
    number = int(port) if port else SSH_PORT
    if not 1 <= number <= 65535:
        raise ValueError("no port number")
    return host.removeprefix("[").removesuffix("]"), number


def plan(request: Migrate, settings: Settings, facts: Facts) -> Plan | JobStarted:
    """The move; or, with settle, what brings one that was cut off to its end."""
    if request.settle:
        return _settle(request, settings, facts)
    _refuse(request, settings, facts)
    move = _Move(request, settings, facts)
    where = f"VPS {request.vps} to {request.to_host}" + (f" as VPS {move.number}" if move.number != request.vps else "")
    steps = (move.asked(), *move.first_pass(), *move.stopped(), *move.sent(), *move.handed_over(), *move.started(), move.kept(), *move.afterwards())
    then = "it runs there" if move.runs else "it is there, and does not run"
    outcome = f"moved to {request.to_host}: {then}; its disks stay here for {settings.keep_old_disk_hours} hours"
    return Plan(f"move {where}", steps, notes=(_reached_by(move.peer),), outcome=outcome)


# -- what speaks against it -------------------------------------------------------------------------


def _refuse(request: Migrate, settings: Settings, facts: Facts) -> None:
    """Raise what this node knows to speak against it; the other node is asked by the first step."""
    vps = request.vps
    disks.refuse_unknown(facts, vps, OPERATION)
    if facts.move.unsettled:
        _refused("vps", f"a move of VPS {vps} to {_note(facts)['host']} has no known end", f"settle=true toHost={_note(facts)['host']}")
    power.refuse_unready(OPERATION, vps, facts)
    if facts.move.lacking:
        raise Failed(f"{OPERATION}: reach another node", "; ".join(facts.move.lacking))
    if facts.disk(DiskRole.ROOT) is None:
        raise Missing(f"{OPERATION}: VPS {vps} has no root disk")
    if facts.domu.rescue:
        raise Failed(f"{OPERATION}: look at VPS {vps}", "its rescue system runs: leaveRescue first")
    if facts.domu.state in ("dying", "shutdown", "crashed", "paused"):
        raise Failed(f"{OPERATION}: look at VPS {vps}", f"{vps.name} is {facts.domu.state}: destroyVPS, or let it run")
    if not facts.domu.state:
        disks.refuse_in_use(facts, vps, OPERATION)
    if len(facts.move.config.encode(errors="surrogateescape")) > MOST_CONFIG_BYTES or not facts.move.config.isascii():
        raise Failed(f"{OPERATION}: read the configuration of VPS {vps}", "it is too long, or not plain ASCII")
    _refuse_other_disks(vps, facts)


def _refuse_other_disks(vps: VpsId, facts: Facts) -> None:
    """A CD in its drive, a seed or an admin's further disk would be left behind: that is the admin's to settle."""
    mine = {path for disk in _disks(facts) for path in _names(disk.path)}
    others = [path for path in parse(facts.move.config).paths if path not in mine]
    if others:
        _refused("vps", f"its configuration names {', '.join(others)}, which does not move with it", "a VPS with nothing but its own root and swap disk")
    named = set(parse(facts.move.config).paths)
    if left := [disk.path for disk in _disks(facts) if not named & set(_names(disk.path))]:
        _refused("vps", f"its configuration does not name its disk {', '.join(left)}", "a configuration that names its disks, or no such disk")


def _refused(parameter: str, problem: str, expected: str) -> None:
    raise Refused(ParameterFault(OPERATION, parameter, "InvalidParameter", problem, expected))


def _names(path: str) -> tuple[str, ...]:
    """The names under which a configuration may have a disk: a volume has two."""
    name = lvm.split_path(path)
    return (path, lvm.mapper_path(*name)) if name else (path,)


def _disks(facts: Facts) -> tuple[DiskFact, ...]:
    """Root and swap, those first that the configuration names: of a VPS with disks of both kinds, the others stay."""
    found = (facts.disk(role) for role in (DiskRole.ROOT, DiskRole.SWAP))
    return tuple(disk for disk in found if disk)


# -- the move ---------------------------------------------------------------------------------------


class _Move:
    """One move's steps, in their order."""

    def __init__(self, request: Migrate, settings: Settings, facts: Facts) -> None:
        self._request, self._settings, self._facts, self._vps = request, settings, facts, request.vps
        self._disks, self.runs = _disks(facts), bool(facts.domu.state)
        self.number = request.to_vps or request.vps
        self.peer = peer(request.to_host, settings)
        self._to: dict[str, Any] = {"peer": self.peer, "transfer": facts.move.transfer, "number": self.number.number}
        self._start = self._started_here() if self.runs else {}

    def asked(self) -> Step:
        """Everything that the other end knows to speak against it is known after this."""
        facts = self._facts
        offer = Offer(
            facts.move.transfer, self.number, self._vps, facts.move.source, self._disks[0].image_type,
            tuple(DiskOffer(disk.role, disk.size_bytes) for disk in self._disks), facts.move.config, self.runs, facts.move.auto)
        host = self._request.to_host
        drop = DropAtPeer(why=f"Have {host} remove what has arrived there.", **self._to)
        return AskPeer(why=f"Ask {host} whether it can take the VPS, and have it make the disks.", peer=self.peer, offer=offer, undo=(drop,))

    def first_pass(self) -> tuple[Step, ...]:
        """While it runs; what changes is sent again later."""
        return self._sends("Send the {} disk while the VPS runs.", verify=False) if self.runs and self._request.copy_first else ()

    def stopped(self) -> tuple[Step, ...]:
        """Down, by asking; and nobody else at the disks."""
        free = disks.must_be_free(self._vps, tuple(disk.path for disk in self._disks), self._facts)
        if not self.runs:
            return (free,)
        again = StartAgain(why=f"Start {self._vps.name} here again.", name=self._vps.name, config=disks.config_path(self._vps, self._settings), **self._start)
        seconds = self._request.stop_seconds or STOP_SECONDS
        return StopDomu(why=f"Shut {self._vps.name} down.", vps=self._vps, seconds=seconds, force=bool(self._request.force), undo=(again,)), free

    def sent(self) -> tuple[Step, ...]:
        """Disks, then what starts them and who signs in."""
        move = self._facts.move
        owner = SendOwner(why="Send the configuration, and how the owner signs in.", keys=move.keys, console=move.console, soap=move.soap, **self._to)
        return *self._sends("Send the {} disk, and compare both ends.", verify=True), owner

    def handed_over(self) -> tuple[Step, ...]:
        """From here on nothing on this node starts it, whatever happens to this node."""
        vps, settings, host = self._vps, self._settings, self._request.to_host
        config, moved = disks.config_path(vps, settings), disks.moved_config_path(vps, settings)
        aside = tuple((disk.path, self._kept(disk)) for disk in self._disks)
        moves = ((config, moved), *aside)
        auto = disks.auto_path(vps, settings) if self._facts.move.auto else ""
        note = disks.move_note_path(vps, settings)
        back = TakeBack(
            why=f"Take VPS {vps} back, once {host} has let go of it.", name=vps.name, note=note, auto=auto, moves=moves,
            config=config if self.runs else "", **self._start, **self._to)
        text = json.dumps({"host": host, **{item.name: getattr(back, item.name) for item in dataclasses.fields(back) if item.name in _NOTED}}) + "\n"
        return (
            RemoveFile(why="Let go of the configuration of an earlier move.", path=moved),
            GiveUp(why="Give the VPS up: nothing here can start it any more.", vps=vps, note=note, text=text, auto=auto, moves=moves,
                   reason=f"it is on its way to {host}: migrateVPS settle=true asks whose it is", undo=(back,)))

    def started(self) -> tuple[Step, ...]:
        """Its boot there, watched."""
        if not self.runs:
            return ()
        seconds = self._settings.boot_watch_seconds
        return (StartAtPeer(why=f"Have {self._request.to_host} start it, and watch its boot.", seconds=seconds, weight=2, **self._to),)

    def kept(self) -> Step:
        """The end of what can be undone."""
        return KeepAtPeer(why=f"Have {self._request.to_host} take the VPS for good.", name=self._vps.name, note=disks.move_note_path(self._vps, self._settings), **self._to)

    def afterwards(self) -> tuple[Step, ...]:
        """What is left of it here: ways in go, ISOs stay, and the number is free."""
        vps, settings = self._vps, self._settings
        steps: tuple[Step, ...] = (
            *accounts.shut_out_steps(vps, settings, self._facts), *disks.forget_seed(vps, settings),
            NextTenancy(why="Hide this tenant's jobs, logs and disks from the next one.", vps=vps))
        return tuple(dataclasses.replace(step, may_fail=True) for step in steps)

    def _sends(self, why: str, *, verify: bool) -> tuple[Step, ...]:
        words = {DiskRole.ROOT: "root", DiskRole.SWAP: "swap"}
        return tuple(SendDisk(
            why=why.format(words[disk.role]), role=disk.role, path=disk.path, size_bytes=disk.size_bytes, verify=verify, weight=max(2, disk.size_bytes >> 30),
            **self._to) for disk in self._disks)

    def _kept(self, disk: DiskFact) -> str:
        assert self._facts.now is not None
        return stores.of(disk, self._settings, self._facts).kept(disk.path, self._facts.tenancy.number, self._facts.now)

    def _started_here(self) -> dict[str, Any]:
        """How power.py would start it, as an undo step keeps it."""
        domu = self._facts.domu
        steps = power.start_steps(self._vps, domu.config_memory or domu.max_memory or Mib(0), domu.boot, self._settings, self._facts)
        runs = [step for step in steps if isinstance(step, Run)]
        return {"env": runs[-1].env, "scope": runs[-1].scope, "before": runs[0].argv if len(runs) > 1 else ()}


# -- settling ---------------------------------------------------------------------------------------

_NOTED = ("transfer", "number", "name", "note", "auto", "moves", "config", "env", "scope", "before")


def _settle(request: Migrate, settings: Settings, facts: Facts) -> Plan:
    """Ask the other node whose it is, and act on that."""
    if not facts.move.unsettled:
        raise Missing(f"{OPERATION}: VPS {request.vps} has no move whose end is not known")
    note = _note(facts)
    if note["host"] != request.to_host:
        _refused("toHost", f"VPS {request.vps} was moving to {note['host']}", note["host"])
    fields = {name: _tuples(note[name]) for name in _NOTED}
    back = TakeBack(why=f"Take VPS {request.vps} back, once {note['host']} has let go of it.", peer=peer(request.to_host, settings), **fields)
    return Plan(f"settle the move of VPS {request.vps} to {note['host']}", (back,))


def _note(facts: Facts) -> dict[str, Any]:
    """What GiveUp wrote; Failed when somebody has changed it."""
    try:
        made = json.loads(facts.move.unsettled)
        if all(name in made for name in ("host", *_NOTED)):
            return dict(made)
    except (ValueError, TypeError):
        pass
    raise Failed(f"{OPERATION}: read the note of the move", "it is damaged; the node it went to knows whether it has the VPS")


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
