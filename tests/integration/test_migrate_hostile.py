"""The other end of a move lies, floods, talks nonsense or closes early: it is told so, and nothing of this node changes, hangs or grows."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as some

from dtcxen_soap import movepeer, moving, processes
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Failed
from dtcxen_soap.journal import Journal
from dtcxen_soap.movepipe import Pipe
from dtcxen_soap.movesteps import AskPeer, DropAtPeer, KeepAtPeer, SendDisk, StartAtPeer, TakeBack
from dtcxen_soap.movewords import DiskOffer, Offer, render
from dtcxen_soap.processes import Unwatched
from dtcxen_soap.receiver import Receiver
from dtcxen_soap.settings import load
from dtcxen_soap.survey.survey import Survey
from dtcxen_soap.vps import DiskRole, ImageType, VpsId

pytestmark = [pytest.mark.root, pytest.mark.slow]
CONFIG = 'name = "xen01"\nkernel = "{kernel}"\nmemory = 64\ndisk = [ "format=raw,vdev=xvda,access=w,target=/old/xen01.img" ]\n'


class Here:
    """A node that receives, below one directory, in this process."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for name in ("state", "mnt", "xen", "homes"):
            (place / name).mkdir()
        self.kernel = place / "vmlinuz"
        self.kernel.write_text("")
        self.settings = load("\n".join((
            f"state_dir={place}/state", f"provisioning_mount_point={place}/mnt", f"xen_config_dir={place}/xen", f"ttyssh_home={place}/homes",
            f"htpasswd_file={place}/htpasswd", f"KERNELPATH={self.kernel}", "toolstack=none", "manage_accounts=no", "default_image_type=vbd", "overcommit=yes"))).settings
        self.journal = Journal(self.settings.journal_path, self.settings.job_log_dir)
        self.survey = Survey(self.settings, Dom0(), self.journal, lambda vps: "")

    def hears(self, data: bytes, seconds: float = 20) -> list[dict[str, Any]]:
        """What it answers to these bytes and a closed connection."""
        (reading, to), (back, writing) = os.pipe(), os.pipe()
        receiver = Receiver(self.settings, Dom0(), self.journal, self.survey, Pipe(reading, writing, seconds, lambda: False))

        def serve() -> None:
            receiver.serve()
            os.close(writing)
            os.close(reading)

        def speak() -> None:
            try:
                with os.fdopen(to, "wb") as sent:
                    sent.write(data)
            except BrokenPipeError:
                return

        threads = [threading.Thread(target=work) for work in (serve, speak)]
        for thread in threads:
            thread.start()
        with os.fdopen(back, "rb") as answers:
            said = answers.read()
        for thread in threads:
            thread.join(seconds)
            assert not thread.is_alive(), "it hangs"
        return [json.loads(line) for line in said.split(b"\n") if line.startswith(b"{")]

    def offer(self, **changed: Any) -> dict[str, Any]:
        made = Offer("ab" * 16, VpsId(1), VpsId(1), "old:/s", ImageType.VBD, (DiskOffer(DiskRole.ROOT, 2 << 20),), CONFIG.format(kernel=self.kernel), False, False)
        return {**made.header("offer"), **changed}

    def tree(self) -> dict[str, str]:
        """All files but the journal's, by what they hold."""
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in self.place.rglob("*")
                if path.is_file() and "journal" not in path.name and "hypothesis" not in str(path)}


HELLO = render({"do": "hello", "protocol": 1})
ATTACH = render({"do": "attach", "vps": 1, "transfer": "ab" * 16})


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\n\r\n", b"\0" * 1000, b"{}\n", b'{"do":"rm"}\n', b'{"do":["hello"]}\n', b"x" * (1 << 20), b'{"do":"hello","protocol":2}\n', HELLO + HELLO[:-5],
    HELLO + render({"do": "have", "disk": "xvda", "at": 0, "count": 1}), HELLO + render({"do": "put", "disk": "xvda", "at": 0, "bytes": 1 << 40, "hash": ""}),
    HELLO + render({"do": "put", "disk": "xvda", "at": 0, "bytes": 5, "hash": ""}) + b"12345", HELLO + ATTACH, HELLO + render({"do": "keep"}),
    HELLO + render({"do": "start", "seconds": 1}),
    HELLO + render({"do": "arrive", "keys": [], "console": "", "soap": ""}), HELLO + render({"do": "drop", "vps": 1, "transfer": "../../etc/passwd" * 2})],
    ids=lambda data: repr(data[:40]))
def test_nonsense_changes_nothing(here: Here, data: bytes) -> None:
    before = here.tree()
    here.hears(data)
    assert here.tree() == before and os.listdir(here.place / "mnt") == []


def test_a_refused_offer_leaves_nothing(here: Here) -> None:
    for changed in ({"config": 'name = "xen01"\ndisk = [ "phy:/dev/sda,xvdc,w" ]\n'}, {"vps": 9999}, {"disks": [{"disk": "xvda", "size": 1 << 50}]}):
        answers = here.hears(HELLO + render(here.offer(**changed)))
        assert answers[1]["against"], answers
    assert os.listdir(here.place / "mnt") == [] and os.listdir(here.place / "xen") == [] and not list((here.place / "state/moves").glob("*.arriving"))


@pytest.mark.parametrize("header", [
    {"do": "put", "disk": "xvda", "at": 2, "bytes": 4, "hash": hashlib.sha256(b"data").hexdigest()}, {"do": "put", "disk": "xvda", "at": -1, "bytes": 4, "hash": ""},
    {"do": "put", "disk": "xvdb", "at": 0, "bytes": 4, "hash": ""}, {"do": "put", "disk": "xvda", "at": 0, "bytes": 4, "hash": "lie"},
    {"do": "put", "disk": "xvda", "at": 0, "bytes": 4, "hash": hashlib.sha256(b"data").hexdigest()},
    {"do": "zero", "disk": "xvda", "at": 1 << 70}, {"do": "have", "disk": "xvda", "at": 0, "count": 1 << 30}, {"do": "keep"}, {"do": "start", "seconds": 1 << 40}],
    ids=str)
def test_a_disk_is_written_nowhere_else(here: Here, header: dict[str, Any]) -> None:
    assert here.hears(HELLO + render(here.offer()))[1] == {"against": [], "begun": False}
    answers = here.hears(HELLO + ATTACH + render(header) + b"data" + render({"do": "have", "disk": "xvda", "at": 0, "count": 1}))
    assert "failed" in answers[-1], answers
    disk = here.place / "mnt/xen01.img"
    assert os.listdir(here.place / "mnt") == ["xen01.img"] and disk.read_bytes() == bytes(2 << 20) and os.listdir(here.place / "xen") == []
    assert here.hears(HELLO + render({"do": "drop", "vps": 1, "transfer": "cd" * 16}))[-1] == {"kept": False} and disk.exists(), "another move's number"
    here.hears(HELLO + render({"do": "drop", "vps": 1, "transfer": "ab" * 16}))
    assert not disk.exists()


def test_a_stale_session_does_nothing_any_more(here: Here) -> None:
    """Whoever attached last has it: a connection that hung and comes back is told so."""
    here.hears(HELLO + render(here.offer()))
    (reading, to), (back, writing) = os.pipe(), os.pipe()
    stale = Receiver(here.settings, Dom0(), here.journal, here.survey, Pipe(reading, writing, 20, lambda: False))
    thread = threading.Thread(target=stale.serve)
    thread.start()
    os.write(to, HELLO + ATTACH)
    said = b""
    while b"attached" not in said:
        said += os.read(back, 65536)
    here.hears(HELLO + ATTACH)
    os.write(to, render({"do": "zero", "disk": "xvda", "at": 0}))
    thread.join(20)
    assert b"not this session's any more" in os.read(back, 65536)
    for handle in (reading, to, back, writing):
        os.close(handle)


def test_one_that_only_plans_makes_nothing(here: Here) -> None:
    before = here.tree()
    assert here.hears(HELLO + render(here.offer(do="judge")))[1] == {"against": []}
    (refused,) = here.hears(HELLO + render(here.offer(do="judge", vps=9999)))[1]["against"]
    assert "max_vps_id" in refused
    assert here.tree() == before and os.listdir(here.place / "mnt") == [] and not (here.place / "state/moves").exists()
    here.hears(HELLO + render(here.offer()))
    begun = here.tree()
    assert here.hears(HELLO + render(here.offer(do="judge")))[1] == {"against": []}, "it is its own copy"
    assert "arriving here" in here.hears(HELLO + render(here.offer(do="judge", source="third:/s")))[1]["against"][0]
    assert here.tree() == begun, "whose it is stays"


WORDS = ("hello", "judge", "offer", "attach", "have", "put", "zero", "sync", "digest", "arrive", "start", "keep", "drop")
FIELDS = some.fixed_dictionaries({"do": some.sampled_from(WORDS)}, optional={
    "vps": some.sampled_from((1, 2, 0, "1", 10 ** 30)), "transfer": some.sampled_from(("ab" * 16, "cd" * 16, "..")), "disk": some.sampled_from(("xvda", "xvdb", "../x")),
    "at": some.sampled_from((0, 1, 2, -1)), "count": some.sampled_from((1, 2, 3, 10 ** 9)), "bytes": some.sampled_from((0, 1, 4, 1 << 20, 1 << 40)),
    "hash": some.text(max_size=4), "keys": some.lists(some.text(max_size=8), max_size=2), "console": some.just(""), "soap": some.sampled_from(("", "x:y", "$2b$x")),
    "seconds": some.integers(), "protocol": some.sampled_from((1, 2))})


@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.lists(FIELDS.map(render) | some.binary(max_size=30), max_size=6), some.booleans())
def test_whatever_is_said_stays_within_the_vps_that_was_offered(here: Here, said: list[bytes], offered: bool) -> None:
    begin = HELLO + (render(here.offer()) if offered else b"")
    here.hears(begin + b"".join(said))
    names = {path.name for path in (*(here.place / "mnt").iterdir(), *(here.place / "xen").iterdir()) if path.is_file()}
    assert names <= {"xen01.img", "xen01.arriving", "xen01"} and not list((here.place / "homes").glob("xen0[2-9]*"))
    here.hears(HELLO + render({"do": "drop", "vps": 1, "transfer": "ab" * 16}))
    for path in (here.place / "mnt/xen01.img", here.place / "xen/xen01"):
        path.unlink(missing_ok=True)
    for path in (here.place / "state/moves").glob("*"):
        path.unlink()


# -- a hostile receiver -----------------------------------------------------------------------------

PEERS = {
    "closes at once": "pass",
    "talks nonsense": "sys.stdout.write('Last login: today\\n')",
    "never ends a line": "[sys.stdout.write('x' * 65536) for _ in range(200)]",
    "another protocol": "say(protocol=2)",
    "nested": "sys.stdout.write('[' * 200000 + '\\n')",
    "says no, with control characters": "say(failed='no\\x1b[2J\\x07')",
    "closes after hello": "say(protocol=1)",
    "garbage after hello": "say(protocol=1); say(x=1); say(bytes=10**15); sys.stdout.write('y' * 100000)",
    "has all, and lies": "say(protocol=1); say(); say(bytes=64); out(hashes()); say(); say(sha256='0' * 64)",
    "has all, and lies wrongly": "say(protocol=1); say(); say(bytes=64); out(hashes()); say(); say(sha256=7)",
    "never answers": "say(protocol=1); time.sleep(60)",
    "is for ever at work": "say(protocol=1)\nwhile True: say(still=1); time.sleep(0.2)",
}
PRELUDE = """
import hashlib, json, sys, time
def say(**words): sys.stdout.write(json.dumps(words) + "\\n"); sys.stdout.flush()
def out(data): sys.stdout.flush(); sys.stdout.buffer.write(data); sys.stdout.buffer.flush()
def hashes():
    data = open(%r, "rb").read()
    return b"".join(hashlib.sha256(data[at:at + (1 << 20)]).digest() for at in (0, 1 << 20))
"""


@pytest.mark.parametrize("name", PEERS)
def test_a_hostile_receiver_gets_an_error_and_no_more(here: Here, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = here.place / "mnt/xen01.img"
    disk.write_bytes(os.urandom(2 << 20))
    note = here.place / "state/note"
    note.write_text("x")
    before = here.tree()
    monkeypatch.setattr(movepeer, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(movepeer, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(moving, "START_SECONDS", -4.5)
    monkeypatch.setattr(movepeer, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(movepeer, "LONGEST_WAIT", 0.01)
    monkeypatch.setattr(movepeer, "MOST_CUTS_IN_A_ROW", 2)
    monkeypatch.setattr(processes, "TERM_SECONDS", 0.1)
    monkeypatch.setattr(processes, "last_words", functools.partial(processes.last_words, seconds=0.1))
    to: dict[str, Any] = {"peer": (sys.executable, "-c", PRELUDE % str(disk) + PEERS[name]), "transfer": "ab" * 16, "number": 1}
    offer = Offer("ab" * 16, VpsId(1), VpsId(1), "old:/s", ImageType.VBD, (DiskOffer(DiskRole.ROOT, 2 << 20),), "x", False, False)
    steps = (
        SendDisk(why="Send.", role=DiskRole.ROOT, path=str(disk), size_bytes=2 << 20, verify=True, **to), AskPeer(why="Ask.", peer=to["peer"], offer=offer),
        StartAtPeer(why="Start.", seconds=5, **to), KeepAtPeer(why="Keep.", name="xen01", note=str(note), **to), DropAtPeer(why="Drop.", **to),
        TakeBack(why="Back.", name="xen01", note=str(note), auto="", moves=((str(disk), f"{disk}.away"),), **to))
    for step in steps:
        begun = time.monotonic()
        if "has all" in name and not isinstance(step, SendDisk):
            continue
        with pytest.raises(Failed) as failed:
            moving.perform(step, Dom0(), here.journal, Unwatched())
        assert time.monotonic() - begun < 20
        assert "\x1b" not in failed.value.in_full() and "\x07" not in failed.value.in_full() and len(failed.value.in_full()) < 10000
    assert here.tree() == before
