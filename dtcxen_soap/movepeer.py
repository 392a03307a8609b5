"""The receiver on the other node, as the node that sends a VPS talks to it: one connection, questions and answers.

What it says is believed as far as it is of the protocol, and never more than its answers mean: it
cannot make this node read, write or start anything that the plan does not name.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from dtcxen_soap import movewords, processes
from dtcxen_soap.blocks import BlockDisk, hash_of
from dtcxen_soap.dom0 import Watch
from dtcxen_soap.errors import Failed
from dtcxen_soap.movepipe import Cut, Pipe
from dtcxen_soap.movewords import CHUNK_BYTES, HASH_BYTES, PROTOCOL, WINDOW_CHUNKS, Garbled, Header
from dtcxen_soap.planprint import paste
from dtcxen_soap.vps import DiskRole

IDLE_SECONDS = 90.0
"""The receiver says every few seconds that it is still at work."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
MOST_CUTS_IN_A_ROW = 6
ANSWER_SECONDS = 900.0
"""A receiver that only ever says that it is at work is not waited for longer."""
SLOWEST_BYTES_PER_SECOND = 5 << 20
_SAID = 2000


class Peer:
    """One connection to the receiver."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def ask(self, header: Header, seconds: float = 0.0) -> Header:
        """One question; its answer. Failed with the receiver's words, Cut when it is gone, or takes longer than `seconds` (0: ANSWER_SECONDS)."""
        self._pipe.send(header)
        return self.answer(seconds)

    def done(self, header: Header, word: str) -> None:
        """A question whose only good answer is that it is done."""
        answer = self.ask(header)
        if not movewords.flag(answer, word):
            raise Failed("", f"the other node says that it is not {word}")

    def tell(self, header: Header, raw: bytes = b"") -> None:
        """Something that is answered by what is asked next."""
        self._pipe.send(header, raw)

    def answer(self, seconds: float = 0.0) -> Header:
        """The next answer."""
        most = seconds or ANSWER_SECONDS
        deadline = time.monotonic() + most
        while True:
            if time.monotonic() > deadline:
                raise Cut(f"the other node is at work for more than {most:.0f} seconds")
            header = self._pipe.receive()
            if header is None:
                raise Cut("the other node closed the connection")
            if "still" in header:
                continue
            if "failed" in header:
                raise Failed("", plain(header, "failed"), tail=plain(header, "tail") if "tail" in header else "")
            return header

    def raw(self, size: int) -> bytes:
        """The bytes behind an answer."""
        return self._pipe.raw(size)


def plain(header: Header, name: str) -> str:
    """What a peer says for people, without control characters."""
    value = movewords.text(header, name, movewords.MOST_HEADER_BYTES)
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in value)[:_SAID]


@contextlib.contextmanager
def connected(command: tuple[str, ...], watch: Watch) -> Iterator[Peer]:
    """Connect, and agree on the protocol. Cut when it cannot be reached or vanishes; Failed when it says no, or talks nonsense."""
    with processes.conversing(command, watch) as process:
        assert process.stdin and process.stdout
        peer = Peer(Pipe(process.stdout.fileno(), process.stdin.fileno(), IDLE_SECONDS, watch.cancelled))
        try:
            answer = peer.ask({"do": "hello", "protocol": PROTOCOL})
            movewords.number(answer, "protocol", PROTOCOL, PROTOCOL)
            yield peer
        except Garbled as error:
            raise Failed("", f"the other node talks nonsense: {error}", paste(command)) from error
        except Cut as error:
            raise type(error)(_why(error, process)) from error


def _why(error: Cut, process: processes.Conversed) -> str:
    said = processes.last_words(process)
    return f"{error}{f' ({said})' if said else ''}"


def patiently(command: tuple[str, ...], watch: Watch, work: Callable[[Peer], None], say: Callable[[str], None], most_cuts: int = MOST_CUTS_IN_A_ROW) -> None:
    """Have `work` done over one connection, and over another one when that is cut; Failed when cuts in a row bring it no further (Further says that one did)."""
    cuts, wait = 0, FIRST_WAIT
    while True:
        try:
            with connected(command, watch) as peer:
                work(peer)
            return
        except Further as error:
            cuts, wait, reason = 1, FIRST_WAIT, str(error)
        except Cut as error:
            cuts, reason = cuts + 1, str(error)
        if cuts >= most_cuts:
            raise Failed("", f"the connection was cut {cuts} times in a row: {reason}", paste(command))
        say(f"{reason}; connecting again in {wait:.0f} s")
        _sleep(wait, watch)
        wait = min(LONGEST_WAIT, wait * 2)


class Further(Cut):
    """A cut after some of the work was done."""


def _sleep(seconds: float, watch: Watch) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not watch.cancelled():
        time.sleep(0.1)


# -- disks ------------------------------------------------------------------------------------------


def send_missing(peer: Peer, disk: BlockDisk, role: DiskRole, start: int, reached: Callable[[int, int], None]) -> int:
    """Send the chunks from `start` on that the receiver has not; how many those were.

    `reached` hears, window by window, before which chunk nothing is lacking, and how many are lacking behind it.
    """
    sent = 0
    for at in range(start, disk.chunks, WINDOW_CHUNKS):
        count = min(WINDOW_CHUNKS, disk.chunks - at)
        answer = peer.ask({"do": "have", "disk": role.value, "at": at, "count": count})
        movewords.number(answer, "bytes", count * HASH_BYTES, count * HASH_BYTES)
        theirs = peer.raw(count * HASH_BYTES)
        lacking = [at + n for n in range(count) if theirs[n * HASH_BYTES:(n + 1) * HASH_BYTES] != disk.hash(at + n)]
        reached(at, len(lacking))
        for chunk in lacking:
            _send(peer, disk, role, chunk)
        sent += len(lacking)
    peer.done({"do": "sync", "disk": role.value}, "synced")
    reached(disk.chunks, 0)
    return sent


def _send(peer: Peer, disk: BlockDisk, role: DiskRole, at: int) -> None:
    """One chunk; of zeros only that it is."""
    data = disk.chunk(at)
    if data.count(0) == len(data):
        peer.tell({"do": "zero", "disk": role.value, "at": at})
    else:
        peer.tell({"do": "put", "disk": role.value, "at": at, "bytes": len(data), "hash": hash_of(data).hex()}, data)


def compare(peer: Peer, disk: BlockDisk, role: DiskRole, cancelled: Callable[[], bool], read: Callable[[int], None]) -> str:
    """Have both ends read the whole disk; the SHA-256 that they agree on. Failed when they do not."""
    peer.tell({"do": "digest", "disk": role.value})
    mine = disk.digest(cancelled, read)
    theirs = movewords.sha256(peer.answer(ANSWER_SECONDS + disk.size_bytes / SLOWEST_BYTES_PER_SECOND))
    if mine != theirs:
        raise Failed("", f"the {role.value} disk there has the SHA-256 {theirs}, here it is {mine}: nothing is moved")
    return mine


def mib(chunks: int) -> int:
    """Chunks in MiB."""
    return chunks * CHUNK_BYTES >> 20
