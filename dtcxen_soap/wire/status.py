"""The status page: what each signed-in caller may see of the node, found out no more often than its looks allow.

Who may see what is the catalogue's to say: whoever may list all VPSes, jobs, pings and free space
gets the whole node, everybody else what getVPSState, infoVPS and listJobs tell of the own VPS. A
job and its log are getJob's and getJobLog's.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime

from dtcxen_soap import operations
from dtcxen_soap.access import Caller
from dtcxen_soap.calls import Call
from dtcxen_soap.errors import DtcxenError, Missing, NotAllowed, Refused
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import VpsId
from dtcxen_soap.wire import looks, statuspage, statusview
from dtcxen_soap.wire.looks import Ask, Looks

PATIENCE_SECONDS = 3.0
LOG_BYTES = 64 << 10
"""What is shown of a log: its end."""
WHOLE_NODE = ("listVPS", "listJobs", "pingAllIPs", "getFreeSpace")
_NODE_LOOKS, _OWN_LOOKS = ("space", "vpses", "pings", "live", "failures"), ("state", "details", "live", "failures")
_JOB = re.compile(r"/jobs/([0-9]{1,18})")
_FOLDER = Path(__file__).parents[1] / "data" / "status"
_STATIC: Mapping[str, tuple[str, bytes]] = {
    "/status.css": ("text/css; charset=utf-8", (_FOLDER / "status.css").read_bytes()),
    "/status.js": ("text/javascript; charset=utf-8", (_FOLDER / "status.js").read_bytes())}


@dataclass(frozen=True)
class Answer:
    """What a browser gets."""

    status: int
    media_type: str
    body: bytes


def serves(path: str) -> bool:
    """Whether a path is one of the page's."""
    return path in ("/", "/status.json", *_STATIC) or bool(_JOB.fullmatch(path))


def refused(path: str, header: Callable[[str], str | None]) -> bool:
    """Whether this comes from a web page that is not ours: those may link to our pages, and get nothing else."""
    if header("origin") is not None:
        return True
    link = header("sec-fetch-mode") == "navigate" and header("sec-fetch-dest") == "document" and (path == "/" or bool(_JOB.fullmatch(path)))
    return header("sec-fetch-site") not in (None, "same-origin", "none") and not link


class Status:
    """One daemon's page. `certificate_ends` is that of the certificate which is served now."""

    def __init__(
            self, settings_of: Callable[[], Settings], node: Looks, certificate_ends: Callable[[], datetime], clock: IReactorTime,
            now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._settings_of, self._node, self._certificate_ends, self._clock, self._now = settings_of, node, certificate_ends, clock, now
        self._owners: dict[VpsId | None, Looks] = {}
        self._begun = clock.seconds()

    async def answer(self, path: str, caller: Caller, ask: Ask) -> Answer:
        """What `caller` gets at a path that is served. `ask` puts a call to the engine."""
        if path in _STATIC:
            return Answer(200, *_STATIC[path])
        if found := _JOB.fullmatch(path):
            return await self._job(int(found[1]), caller, ask)
        page = await self._page(caller, ask)
        if path == "/":
            return Answer(200, statuspage.HTML, await statuspage.html(page))
        return Answer(200, statuspage.JSON, statuspage.as_json(page))

    async def _page(self, caller: Caller, ask: Ask) -> statusview.Page:
        if not self._whole_node(caller):
            return await self._own(caller, ask)
        found = await self._node.answers(ask, PATIENCE_SECONDS, *_NODE_LOOKS)
        return statusview.node(
            platform.node(), caller.name, statusview.Seen(found, self._node.age, self._now()), self._certificate_ends(),
            time.clock_gettime(time.CLOCK_BOOTTIME), self._clock.seconds() - self._begun)

    def _whole_node(self, caller: Caller) -> bool:
        try:
            for name in WHOLE_NODE:
                operations.prepare(name, (), self._settings_of(), caller, rpc=False)
        except NotAllowed:
            return False
        return True

    async def _own(self, caller: Caller, ask: Ask) -> statusview.Page:
        """That a VPS is not on the node is an answer, and not a look that failed."""
        def asked(call: Call) -> defer.Deferred[Any]:
            return ask(call).addErrback(lambda failure: failure.trap(Missing) and failure.value)

        own = self._owners.setdefault(caller.vps, looks.of_an_owner(caller, self._settings_of, self._clock))
        found = await own.answers(asked, PATIENCE_SECONDS, *_OWN_LOOKS)
        return statusview.owned(str(caller.vps), caller.name, statusview.Seen(found, own.age, self._now()))

    async def _job(self, number: int, caller: Caller, ask: Ask) -> Answer:
        """A job and the end of its log; 404 for one that is not there, or not for this caller, which nobody can tell apart."""
        def call(name: str, *more: tuple[str, str]) -> Call:
            return operations.prepare(name, (("job", str(number)), *more), self._settings_of(), caller, rpc=False)

        try:
            record = await ask(call("getJob"))
            begin = max(0, record.log_bytes - LOG_BYTES)
            part = await ask(call("getJobLog", ("fromByte", str(begin))))
        except (Missing, Refused):
            return Answer(404, "text/plain; charset=utf-8", f"There is no job {number}.\n".encode())
        except DtcxenError as error:
            return Answer(503, "text/plain; charset=utf-8", f"The node cannot tell of job {number} now: {statusview.harmless(str(error))}\n".encode())
        text = part.text.partition("\n")[2] if begin else part.text
        earlier = f"The end of it; all of it by: dtcxen log {number}" if begin else ""
        page = statusview.job(record, caller.name, self._now())
        return Answer(200, statuspage.HTML, await statuspage.html(page, page.live, statusview.harmless(text, "\n\t"), earlier))
