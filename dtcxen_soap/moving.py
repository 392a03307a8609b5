"""What the steps of a move do on the node that the VPS leaves (movesteps.py says what each is for)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from dtcxen_soap import domus, lvm, movepeer, movesteps, movewords, plans
from dtcxen_soap.blocks import BlockDisk
from dtcxen_soap.dom0 import Dom0, Watch
from dtcxen_soap.errors import Failed
from dtcxen_soap.journal import Journal
from dtcxen_soap.movepeer import Peer
from dtcxen_soap.movepipe import Cut
from dtcxen_soap.planprint import paste
from dtcxen_soap.processes import Unwatched, unheard
from dtcxen_soap.vps import VpsId
from dtcxen_soap.xen import xl

START_SECONDS = 300
TAKE_BACK_TRIES = 3
"""A daemon that starts asks as well, and must not take long to."""
_NOTE_MODE, _NOTES_MODE = 0o600, 0o700
Told = Callable[[str, float], None]
"""Hears what is worth a line of the log ("" for nothing), and which share of the step is done."""


def untold(text: str, share: float) -> None:
    """For steps that nobody follows."""


def perform(step: movesteps.Moving, dom0: Dom0, journal: Journal, watch: Watch, told: Told = untold) -> str:
    """Do one step; what it found out, in words."""
    match step:
        case movesteps.SendDisk():
            return _send(step, watch, told)
        case movesteps.StopDomu():
            _stop(step, dom0, watch)
        case movesteps.StartAgain():
            _start(step, dom0)
        case movesteps.GiveUp():
            _give_up(step, dom0, journal)
        case movesteps.TakeBack():
            return _take_back(step, dom0, journal, watch, told)
        case movesteps.KeepAtPeer():
            _talk(step, watch, told)
            _forget(step, dom0, journal)
        case _:
            return _talk(step, watch, told)
    return ""


# -- over the connection ------------------------------------------------------------------------------


def _talk(step: movesteps.AskPeer | movesteps.DropAtPeer | movesteps.SendOwner | movesteps.StartAtPeer | movesteps.KeepAtPeer, watch: Watch, told: Told) -> str:
    """The steps that are a question or two; the other node is the one that works."""
    try:
        with movepeer.connected(step.peer, watch) as peer:
            match step:
                case movesteps.AskPeer():
                    return _ask(step, peer)
                case movesteps.DropAtPeer():
                    _drop(step, peer)
                case movesteps.SendOwner():
                    _attach(step, peer)
                    peer.done(step.owner.header("arrive"), "arrived")
                case movesteps.StartAtPeer():
                    _attach(step, peer)
                    return movepeer.plain(peer.ask({"do": "start", "seconds": step.seconds}, step.seconds + START_SECONDS), "started")
                case movesteps.KeepAtPeer():
                    _attach(step, peer)
                    peer.done({"do": "keep"}, "kept")
    except Cut as error:
        raise Failed("", str(error), paste(step.peer)) from error
    return ""


def would_refuse(step: movesteps.AskPeer, watch: Watch) -> tuple[str, ...]:
    """What the other node says to speak against it now, for whoever only plans: nothing is made there. Failed when it cannot be asked."""
    try:
        with movepeer.connected(step.peer, watch) as peer:
            return _against(peer.ask(step.offer.header("judge")))
    except Cut as error:
        raise Failed("", str(error), paste(step.peer)) from error


def _ask(step: movesteps.AskPeer, peer: Peer) -> str:
    """The offer; what speaks against it there is one failure."""
    if against := _against(peer.ask(step.offer.header("offer"))):
        raise Failed("", f"it cannot take it: {'; '.join(against)}")
    return ""


def _against(answer: movewords.Header) -> tuple[str, ...]:
    return tuple(movepeer.plain({"why": item}, "why") for item in movewords.items(answer, "against", 100))


def _drop(step: movesteps.DropAtPeer | movesteps.TakeBack, peer: Peer) -> bool:
    """Whether the receiver has let go of it: False when the VPS is its own for good."""
    answer = peer.ask({"do": "drop", "transfer": step.transfer, "vps": step.number})
    return not movewords.flag(answer, "kept")


def _attach(step: movesteps.SendDisk | movesteps.SendOwner | movesteps.StartAtPeer | movesteps.KeepAtPeer, peer: Peer) -> None:
    peer.done({"do": "attach", "transfer": step.transfer, "vps": step.number}, "attached")


def _send(step: movesteps.SendDisk, watch: Watch, told: Told) -> str:
    """All of a disk, over as many connections as it takes."""
    parts = 2 if step.verify else 1
    with BlockDisk(step.path, step.size_bytes) as disk:
        sending = _Sending(lambda at: told("", at / max(1, disk.chunks) / parts))

        def work(peer: Peer) -> None:
            _attach(step, peer)
            with sending.further():
                sending.sent += movepeer.send_missing(peer, disk, step.role, sending.reached[0], sending.reach)
                if step.verify:
                    read = movepeer.compare(peer, disk, step.role, watch.cancelled, lambda at: told("", 0.5 + at / max(1, disk.chunks) / 2))
                    told(f"both ends have the SHA-256 {read}", 1.0)

        movepeer.patiently(step.peer, watch, work, lambda text: told(text, 0.0))
        told(f"{movepeer.mib(sending.sent)} of {movepeer.mib(disk.chunks)} MiB were sent, the rest was there already", 1.0)
    return ""


class _Sending:
    """How far a disk is: before which chunk nothing is lacking there, and how many, negative, are lacking behind it."""

    def __init__(self, share: Callable[[int], None]) -> None:
        self._share = share
        self.reached, self.sent = (0, -movewords.WINDOW_CHUNKS - 1), 0

    def reach(self, at: int, lacking: int) -> None:
        """What the other end has now."""
        self.reached = max(self.reached, (at, -lacking))
        self._share(self.reached[0])

    @contextlib.contextmanager
    def further(self) -> Iterator[None]:
        """A cut in here after which more is there than before it is Further."""
        before = self.reached
        try:
            yield
        except Cut as error:
            raise (movepeer.Further if self.reached > before else Cut)(str(error)) from error


# -- the domU -----------------------------------------------------------------------------------------


def _stop(step: movesteps.StopDomu, dom0: Dom0, watch: Watch) -> None:
    ran = dom0.run(plans.Run(why=step.why, argv=xl.shutdown(step.vps.name)), unheard, watch)
    try:
        if ran.code and domus.domain(dom0, step.vps.name):
            raise Failed("", xl.words(ran.output) or f"xl ended with code {ran.code}")
        domus.wait_gone(plans.WaitGone(why=step.why, vps=step.vps, seconds=step.seconds), dom0, watch)
    except Failed as error:
        if not step.force:
            raise Failed("", f"{error.reason}; it was asked to shut down, and may still do so: startVPS starts it again then") from error
        domus.end(plans.EndDomu(why=step.why, vps=step.vps), dom0, watch)


def _start(step: movesteps.StartAgain | movesteps.TakeBack, dom0: Dom0) -> None:
    """As power.py starts it; one that runs stays, and without a configuration there is nothing to start."""
    if not step.config or not dom0.exists(step.config) or domus.domain(dom0, step.name):
        return
    before = (plans.Run(why=step.why, argv=step.before),) if step.before else ()
    for run in (*before, plans.Run(why=step.why, argv=xl.create(step.config), env=step.env, scope=step.scope, timeout_seconds=START_SECONDS)):
        ran = dom0.run(run, unheard, Unwatched())
        if ran.code:
            raise Failed("", xl.words(ran.output) or f"{run.argv[0]} ended with code {ran.code}", paste(run.argv), ran.output)


# -- whose it is --------------------------------------------------------------------------------------


def _give_up(step: movesteps.GiveUp, dom0: Dom0, journal: Journal) -> None:
    """The note first: whoever finds it knows whom to ask."""
    dom0.make_directory(os.path.dirname(step.note), _NOTES_MODE)
    dom0.write_file(step.note, step.text.encode(), _NOTE_MODE)
    journal.block(step.vps, step.reason)
    for source, target in step.moves:
        _rename(source, target, dom0)
    if step.auto:
        dom0.remove_file(step.auto)


def _take_back(step: movesteps.TakeBack, dom0: Dom0, journal: Journal, watch: Watch, told: Told) -> str:
    """Nothing happens here before the other node has answered."""
    if not dom0.exists(step.note):
        return ""
    if not _let_go(step, watch, told):
        _forget(step, dom0, journal)
        return f"VPS {step.number:02d} is the other node's for good: it stays there, and its old disks here are kept for a while"
    for source, target in reversed(step.moves):
        if _there(target, dom0) and not _there(source, dom0):
            _rename(target, source, dom0)
    if step.auto:
        dom0.symlink(step.auto, f"../{step.name}")
    _forget(step, dom0, journal)
    _start(step, dom0)
    return f"{step.name} is here again"


def _forget(step: movesteps.TakeBack | movesteps.KeepAtPeer, dom0: Dom0, journal: Journal) -> None:
    """Whose it is is known: the number here is free to be used as it is."""
    journal.block(VpsId.parse(step.name), "")
    dom0.remove_file(step.note)


def _let_go(step: movesteps.TakeBack, watch: Watch, told: Told) -> bool:
    """What the other node says; Failed while it says nothing."""
    answers: list[bool] = []

    def work(peer: Peer) -> None:
        answers.append(_drop(step, peer))

    try:
        movepeer.patiently(step.peer, watch, work, lambda text: told(text, 0.0), TAKE_BACK_TRIES)
    except Failed as error:
        raise Failed("", f"{error.reason}; until the other node says whose it is, the VPS starts nowhere: migrateVPS settle=true asks again", error.command) from error
    return answers[-1]


def _rename(source: str, target: str, dom0: Dom0) -> None:
    """A file or a volume."""
    (old, new) = lvm.split_path(source), lvm.split_path(target)
    if old and new:
        dom0.rename_volume(old[0], old[1], new[1])
    else:
        dom0.rename_file(source, target)


def _there(path: str, dom0: Dom0) -> bool:
    name = lvm.split_path(path)
    return dom0.volume_exists(*name) if name else dom0.exists(path)
