"""`dtcxen receive-vps`: the node that a VPS moves to, as the other one finds it behind ssh. One session, by standard input and output.

What has arrived is told by a record on disk, so that a session may end at any byte and another one go on. A
record has one owner: the session that offered or attached last; an earlier one whose connection hangs does
nothing any more. Commit is one file (arrival.kept_path), written before the VPS gets its name.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from dtcxen_soap import accounts, actions, arrival, disks, movewords, nodelock, plans
from dtcxen_soap.blocks import BlockDisk, hash_of
from dtcxen_soap.dom0 import Dom0, Unwatched
from dtcxen_soap.errors import DtcxenError, Failed
from dtcxen_soap.facts import Facts, NeedAccounts, NeedDisks, NeedDomu
from dtcxen_soap.journal import Journal
from dtcxen_soap.movepipe import Cut, Pipe
from dtcxen_soap.movewords import CHUNK_BYTES, HASH_BYTES, PROTOCOL, WINDOW_CHUNKS, Garbled, Header, Offer
from dtcxen_soap.plans import Step, Symlink, WatchBoot
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey.survey import Survey
from dtcxen_soap.vps import DiskRole, VpsId
from dtcxen_soap.xen.configread import parse

IDLE_SECONDS = 300.0
"""A sender that says nothing for so long is gone; what has arrived stays for the next session."""
STILL_SECONDS = 5.0
RECEIVING, STARTING = "receiving", "starting"
_PRIVATE, _PRIVATE_DIRECTORY = 0o600, 0o700
_PURPOSE = "migrateVPS"


@dataclass(frozen=True)
class Record:
    """What has arrived, and how far it is. `verified` are the disks whose digests were told since their last write; `session` whose it is."""

    offer: Offer
    paths: tuple[tuple[DiskRole, str], ...]
    config: str
    phase: str
    session: str
    owned: bool = False

    def text(self) -> str:
        """As it is kept."""
        return json.dumps({
            "offer": self.offer.header("offer"), "paths": [[role.value, path] for role, path in self.paths], "config": self.config, "phase": self.phase,
            "session": self.session, "owned": self.owned})

    @classmethod
    def of(cls, text: str) -> Record:
        """As it was kept, by us; Failed for anything else."""
        try:
            made = json.loads(text)
            paths = tuple((DiskRole(role), str(path)) for role, path in made["paths"])
            return cls(movewords.offer(made["offer"]), paths, str(made["config"]), str(made["phase"]), str(made["session"]), bool(made["owned"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Failed("", f"the record of what has arrived is damaged: {error}") from error


class Receiver:
    """One session. Raises nothing for what the other end does wrong: it is told, and the session ends."""

    def __init__(self, settings: Settings, dom0: Dom0, journal: Journal, survey: Survey, pipe: Pipe) -> None:
        self._settings, self._dom0, self._journal, self._survey, self._pipe = settings, dom0, journal, survey, pipe
        self._session = secrets.token_hex(8)
        self._record: Record | None = None
        self._trouble = ""
        self._open: dict[DiskRole, BlockDisk] = {}

    def serve(self) -> bool:
        """Answer until the other end closes, or something is wrong; whether it ended well."""
        try:
            while (header := self._pipe.receive()) is not None:
                self._answer(header)
            return True
        except Cut:
            return False
        except (Garbled, DtcxenError, OSError) as error:
            self._say_failed(error)
            return False
        finally:
            self._close()

    def _say_failed(self, error: Exception) -> None:
        tail = error.tail if isinstance(error, Failed) else ""
        with contextlib.suppress(Cut, DtcxenError):
            self._pipe.send({"failed": str(error)[:4000] or type(error).__name__, **({"tail": tail[-4000:]} if tail else {})})

    def _answer(self, header: Header) -> None:
        do = movewords.text(header, "do", 20)
        answers: dict[str, Callable[[Header], None]] = {
            "hello": self._hello, "judge": self._judge, "offer": self._offer, "attach": self._attach, "have": self._have, "put": self._put, "zero": self._zero, "sync": self._sync,
            "digest": self._digest, "arrive": self._arrive, "start": self._start, "keep": self._keep, "drop": self._drop}
        if do not in answers:
            raise Garbled("do: nothing that can be asked")
        answers[do](header)

    # -- who talks about what

    def _hello(self, header: Header) -> None:
        if movewords.number(header, "protocol", 0, 1 << 30) != PROTOCOL:
            raise Failed("", f"this node speaks protocol {PROTOCOL} of moves, the other one {header['protocol']}: the same version on both is needed")
        if not self._dom0.is_root():
            raise Failed("", "the receiver must be root")
        self._pipe.send({"protocol": PROTOCOL})

    def _attach(self, header: Header) -> None:
        """Go on with what an earlier session began."""
        vps, transfer = movewords.vps(header), movewords.transfer(header)
        with self._locked(vps):
            record = self._read(vps)
            if record is None or record.offer.transfer != transfer:
                raise Failed("", f"nothing of this move of VPS {vps} is here")
            self._take(record)
        self._pipe.send({"attached": True})

    def _take(self, record: Record) -> None:
        self._close()
        self._write(replace(record, session=self._session))

    def _mine(self) -> Record:
        """The record, read anew: another session may have taken it, or somebody removed it."""
        if self._record is None:
            raise Garbled("no VPS was offered or attached in this session")
        found = self._read(self._record.offer.vps)
        if found is None or found.session != self._session:
            raise Failed("", f"VPS {self._record.offer.vps} is not this session's any more")
        self._record = found
        return found

    # -- the offer

    def _offer(self, header: Header) -> None:
        """Judge it, and make the disks; or go on with a copy of the same VPS from the same node."""
        offer = movewords.offer(header)
        self._dom0.make_directory(arrival.notes_dir(self._settings), _PRIVATE_DIRECTORY)
        with self._locked(offer.vps):
            before, begun = self._begun(offer)
            if before and begun and not all(self._dom0.exists(path) for _, path in before.paths):
                self._let_go(before)
                before, begun = None, False
            facts = self._survey.fill(arrival.needs(offer))
            taken, against = self._judged(offer, facts, before, begun)
            if not against:
                record = Record(offer, tuple(taken.paths.items()), taken.config, RECEIVING, self._session, owned=bool(before and before.owned))
                self._make(record, facts, begun)
        self._pipe.send({"against": list(against)[:50], "begun": begun})

    def _judge(self, header: Header) -> None:
        """What would speak against an offer now, for whoever only plans; nothing is made, and nobody's copy is taken over."""
        offer = movewords.offer(header)
        before, begun = self._begun(offer)
        _, against = self._judged(offer, self._survey.fill(arrival.needs(offer)), before, begun)
        self._pipe.send({"against": list(against)[:50]})

    def _begun(self, offer: Offer) -> tuple[Record | None, bool]:
        """What has arrived of a VPS of that number, and whether it is of this very one."""
        before = self._read(offer.vps)
        return before, before is not None and before.phase == RECEIVING and before.offer.shape == offer.shape

    def _judged(self, offer: Offer, facts: Facts, before: Record | None, begun: bool) -> tuple[arrival.Taken, tuple[str, ...]]:
        taken, against = arrival.judge(offer, self._settings, facts, begun=begun)
        if before and not begun:
            against = (f"VPS {offer.vps} is arriving here from another node, or in another form: killVPSDisk lets go of that", *against)
        return taken, against

    def _make(self, record: Record, facts: Facts, begun: bool) -> None:
        """The record first: it is what names the disks to whoever must remove them."""
        offer = record.offer
        self._write(record)
        self._journal.block(offer.vps, "it is arriving from another node: killVPSDisk would let go of what has come")
        if begun:
            return
        try:
            self._do(arrival.make_steps(offer, self._settings, facts))
        except (DtcxenError, OSError):
            self._let_go(record)
            raise
        self._audit(offer.vps, "arriving", f"from {offer.source}")

    # -- chunks

    def _disk(self, header: Header) -> BlockDisk:
        """The disk that is meant, open."""
        role = movewords.role(header)
        record = self._mine()
        if record.phase != RECEIVING:
            raise Failed("", "the VPS is started already: its disks are not written any more")
        if role not in self._open:
            path = dict(record.paths).get(role)
            size = next((disk.size_bytes for disk in record.offer.disks if disk.role is role), 0)
            if path is None or not size:
                raise Garbled("disk: none that was offered")
            self._open[role] = BlockDisk(path, size, write=True)
        return self._open[role]

    def _have(self, header: Header) -> None:
        disk = self._disk(header)
        self._raise_trouble()
        at = movewords.number(header, "at", 0, disk.chunks - 1)
        count = movewords.number(header, "count", 1, min(WINDOW_CHUNKS, disk.chunks - at))
        self._pipe.send({"bytes": count * HASH_BYTES}, b"".join(disk.hash(at + n) for n in range(count)))

    def _put(self, header: Header) -> None:
        """Not answered: what was wrong is told with the next answer."""
        size = movewords.number(header, "bytes", 1, CHUNK_BYTES)
        data = self._pipe.raw(size)
        disk = self._disk(header)
        at = movewords.number(header, "at", 0, disk.chunks - 1)
        if movewords.text(header, "hash", HASH_BYTES * 2) != hash_of(data).hex():
            raise Failed("", f"chunk {at} is not what its hash says")
        self._try(lambda: disk.write(at, data))

    def _zero(self, header: Header) -> None:
        disk = self._disk(header)
        at = movewords.number(header, "at", 0, disk.chunks - 1)
        self._try(lambda: disk.write(at, bytes(disk.length_of(at))))

    def _sync(self, header: Header) -> None:
        disk = self._disk(header)
        self._raise_trouble()
        disk.sync()
        self._pipe.send({"synced": True})

    def _digest(self, header: Header) -> None:
        disk = self._disk(header)
        self._raise_trouble()
        disk.zero_tail()
        with self._saying_so():
            digest = disk.digest(lambda: False)
        self._pipe.send({"sha256": digest})

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, Failed) as error:
            self._trouble = self._trouble or str(error)

    def _raise_trouble(self) -> None:
        if self._trouble:
            raise Failed("", f"a disk could not be written: {self._trouble}")

    # -- what starts it, and who signs in

    def _arrive(self, header: Header) -> None:
        owner = movewords.owner(header)
        with self._locked(self._mine().offer.vps):
            record = self._mine()
            vps, settings = record.offer.vps, self._settings
            self._dom0.write_file(arrival.config_path(vps, settings), record.config.encode(), _PRIVATE)
            facts = self._survey.fill((NeedDisks(vps), NeedDomu(vps), NeedAccounts(vps)))
            self._write(replace(record, owned=True))
            self._do(arrival.owner_steps(vps, owner, settings, facts))
            if owner.console and accounts.managed(settings, facts) and not accounts.obstacles(vps, settings, facts):
                self._dom0.set_account_password(accounts.users(vps, settings), owner.console, accounts.lock(settings))
            if owner.soap:
                self._dom0.set_htpasswd(settings.htpasswd_file, vps.name, owner.soap, accounts.lock(settings))
            self._do(arrival.used_steps(dict(record.paths)))
        self._pipe.send({"arrived": True})

    # -- start, keep, drop

    def _start(self, header: Header) -> None:
        """Start it, and answer once it has booted. The record tells beforehand that it may run."""
        seconds = movewords.number(header, "seconds", 1, movewords.MOST_BOOT_SECONDS)
        with self._locked(self._mine().offer.vps):
            record = self._mine()
            vps = record.offer.vps
            if not self._dom0.exists(arrival.config_path(vps, self._settings)) or not record.offer.runs:
                raise Garbled("start: its configuration has not come, or it is not to run")
            self._close()
            facts = self._survey.fill((*arrival.needs(record.offer),))
            if facts.domu.state or facts.domu.trouble:
                raise Failed("", facts.domu.trouble or f"{vps.name} runs here already")
            self._write(replace(record, phase=STARTING))
            self._do(arrival.start_steps(vps, record.config, self._settings, facts))
        watched = WatchBoot(why=f"Watch {vps.name} boot.", vps=vps, addresses=parse(record.config).addresses, seconds=seconds)
        with self._saying_so():
            outcome = actions.perform(watched, self._dom0, self._journal, _WhileMine(self._is_mine))
        self._pipe.send({"started": outcome or "started"})

    def _is_mine(self) -> bool:
        assert self._record is not None
        found = self._read(self._record.offer.vps)
        return found is not None and found.session == self._session

    def _keep(self, header: Header) -> None:
        """Commit: from this file's fsync on the VPS is this node's."""
        with self._locked(self._mine().offer.vps):
            record = self._mine()
            vps = record.offer.vps
            if (record.phase != STARTING if record.offer.runs else not self._dom0.exists(arrival.config_path(vps, self._settings))):
                raise Garbled("keep: the VPS has not been started, or its configuration has not come")
            self._dom0.write_file(arrival.kept_path(record.offer.transfer, self._settings), f"{vps}\n".encode(), _PRIVATE)
            self._name(record)
        self._pipe.send({"kept": True})

    def _name(self, record: Record) -> None:
        """Give it its name here; every step is fine when an earlier session did it."""
        vps, settings, dom0 = record.offer.vps, self._settings, self._dom0
        arriving = arrival.config_path(vps, settings)
        if dom0.exists(arriving):
            dom0.rename_file(arriving, disks.config_path(vps, settings))
        if record.offer.auto:
            dom0.make_directory(f"{settings.xen_config_dir}/auto", 0o755)
            self._do((Symlink(why="Start the VPS with the node.", path=disks.auto_path(vps, settings), target=f"../{vps.name}"),))
        self._journal.next_tenancy(vps)
        self._journal.block(vps, "")
        dom0.remove_file(arrival.record_path(vps, settings))
        self._audit(vps, "arrived", f"from {record.offer.source}")

    def _drop(self, header: Header) -> None:
        """Let go of it, unless it is kept; either way the old node learns whose it is."""
        vps, transfer = movewords.vps(header), movewords.transfer(header)
        self._close()
        self._dom0.make_directory(arrival.notes_dir(self._settings), _PRIVATE_DIRECTORY)
        with self._locked(vps):
            record = self._read(vps)
            mine = record if record and record.offer.transfer == transfer else None
            kept = self._dom0.exists(arrival.kept_path(transfer, self._settings))
            if mine and kept:
                self._name(mine)
            elif mine:
                with self._saying_so():
                    self._let_go(mine)
        self._record = None
        self._pipe.send({"kept": kept})

    def _let_go(self, record: Record) -> None:
        """Remove all that has arrived, its domU first. Nothing is removed while that may still run."""
        self._close()
        vps, settings = record.offer.vps, self._settings
        self._write(replace(record, session=self._session))
        facts = self._survey.fill((NeedDisks(vps), NeedDomu(vps), NeedAccounts(vps)))
        self._do(arrival.drop_steps(vps, dict(record.paths), settings, facts, started=record.phase == STARTING, owned=record.owned))
        self._journal.block(vps, "")
        self._dom0.remove_file(arrival.record_path(vps, settings))
        self._audit(vps, "dropped", f"from {record.offer.source}")

    # -- the machine

    def _do(self, steps: tuple[Step, ...]) -> None:
        """Steps one after the other; whoever drops the record undoes them."""
        for step in steps:
            if isinstance(step, plans.Run):
                actions.run(step, self._dom0, lambda line: None, Unwatched())
            elif not isinstance(step, plans.Look | plans.Hold):
                actions.perform(step, self._dom0, self._journal, Unwatched())

    def _read(self, vps: VpsId) -> Record | None:
        try:
            return Record.of(self._dom0.read_text(arrival.record_path(vps, self._settings)))
        except FileNotFoundError:
            return None

    def _write(self, record: Record) -> None:
        self._dom0.write_file(arrival.record_path(record.offer.vps, self._settings), record.text().encode(), _PRIVATE)
        self._record = record

    @contextlib.contextmanager
    def _locked(self, vps: VpsId) -> Iterator[None]:
        with nodelock.held(arrival.lock_path(vps, self._settings)):
            yield

    def _close(self) -> None:
        for disk in self._open.values():
            disk.__exit__()
        self._open.clear()

    def _audit(self, vps: VpsId, outcome: str, detail: str) -> None:
        self._journal.audit(caller="root", peer=os.environ.get("SSH_CONNECTION", "").partition(" ")[0], operation=_PURPOSE, vps=vps, detail=detail, outcome=outcome)

    @contextlib.contextmanager
    def _saying_so(self) -> Iterator[None]:
        """Tell the other end every few seconds that work goes on."""
        over = threading.Event()

        def say() -> None:
            with contextlib.suppress(Cut):
                while not over.wait(STILL_SECONDS):
                    self._pipe.send({"still": int(time.monotonic())})

        teller = threading.Thread(target=say, daemon=True)
        teller.start()
        try:
            yield
        finally:
            over.set()
            teller.join()


class _WhileMine(Unwatched):
    """A Watch that ends when another session has taken the VPS."""

    def __init__(self, mine: Callable[[], bool]) -> None:
        self._mine = mine

    def cancelled(self) -> bool:
        return not self._mine()


