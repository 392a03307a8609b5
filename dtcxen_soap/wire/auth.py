"""Who is calling: Basic credentials to a Caller, slow only for those who guess.

Right credentials that were verified before are answered at once, whatever others do. Unknown ones
are verified in a bounded pool given from outside, one at a time per peer; after a wrong one that
peer waits, longer with each failure in a row of the peer or of the user. Nothing blocks: waiting
is the reactor's.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from dtcxen_soap.access import Caller, Role
from dtcxen_soap.logfields import about
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import VpsId
from dtcxen_soap.wire.htpasswd import Htpasswd

log = logging.getLogger(__name__)

MOST_DOUBLINGS = 5
MOST_REMEMBERED_FAILURES = 4096
MOST_WAITING_PER_PEER = 32
FORGET_AFTER_SECONDS = 900

Verify = Callable[[Callable[[], bool]], "defer.Deferred[bool]"]


class WrongCredentials(Exception):
    """The user or the password is wrong, or the user is nobody here."""


@dataclass(frozen=True)
class Credentials:
    """What a client sent, as bytes: clients differ in their encodings. Never printed."""

    user: bytes
    password: bytes = field(repr=False)


def credentials(header: str | None) -> Credentials | None:
    """Read an Authorization header. None when there is none of Basic's, and so a challenge is due."""
    scheme, _, encoded = (header or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        raise WrongCredentials from None
    if not colon:
        raise WrongCredentials
    return Credentials(user, password)


def caller(user: bytes, peer: str, settings: Settings) -> Caller | None:
    """What a user of the htpasswd file is to this node; None for a name that is nothing here."""
    name = user.decode("utf-8", "replace")
    if name == settings.admin_user:
        return Caller(name, Role.ADMIN, peer)
    if settings.monitor_user and name == settings.monitor_user:
        return Caller(name, Role.MONITOR, peer)
    try:
        vps = VpsId.parse(name)
    except ValueError:
        return None
    return Caller(name, Role.OWNER, peer, vps) if name == vps.name else None


class Failures:
    """Failures in a row per peer and per user. Bounded: the oldest are forgotten, as are those of long ago."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts: OrderedDict[str | bytes, tuple[int, float]] = OrderedDict()
        self._clock = clock

    def count(self, key: str | bytes) -> int:
        """Failures of `key` in a row."""
        number, last = self._counts.get(key, (0, 0.0))
        return number if self._clock() - last < FORGET_AFTER_SECONDS else 0

    def add(self, *keys: str | bytes) -> int:
        """Count one more failure of each; the highest of the counts."""
        for key in keys:
            number = self.count(key) + 1
            self._counts[key] = (number, self._clock())
            self._counts.move_to_end(key)
        while len(self._counts) > MOST_REMEMBERED_FAILURES:
            self._counts.popitem(last=False)
        return max(self.count(key) for key in keys)

    def forgive(self, *keys: str | bytes) -> None:
        """Forget the failures of each."""
        for key in keys:
            self._counts.pop(key, None)


class Authenticator:
    """Tells Callers from strangers."""

    def __init__(self, settings_of: Callable[[], Settings], verify: Verify, clock: IReactorTime) -> None:
        self._settings_of, self._verify, self._clock = settings_of, verify, clock
        self._file = Htpasswd(settings_of().htpasswd_file)
        self._failures = Failures(clock.seconds)
        self._turns: dict[str, defer.DeferredLock] = {}

    def reload(self) -> None:
        """Read the htpasswd file again, and verify everybody again."""
        self._file = Htpasswd(self._settings_of().htpasswd_file)

    async def authenticate(self, given: Credentials, peer: str) -> Caller:
        """The Caller of these credentials; raises WrongCredentials, when it is time to say so."""
        if self._htpasswd().remembers(given.user, given.password):
            return self._known(given, peer)
        network = _network(peer)
        turn = self._turns.setdefault(network, defer.DeferredLock())
        if len(turn.waiting) >= MOST_WAITING_PER_PEER:
            raise WrongCredentials
        await turn.acquire()
        try:
            return await self._in_turn(given, peer, network)
        finally:
            turn.release()
            if not turn.locked and not turn.waiting:
                self._turns.pop(network, None)

    async def _in_turn(self, given: Credentials, peer: str, network: str) -> Caller:
        file = self._htpasswd()
        if file.remembers(given.user, given.password):
            return self._known(given, peer)
        entries = file.entries()
        right = await self._verify(lambda: entries.verify(given.user, given.password))
        if right and caller(given.user, peer, self._settings_of()):
            file.remember(entries, given.user, given.password)
            self._failures.forgive(network, given.user)
            return self._known(given, peer)
        failures = self._failures.add(network, given.user)
        user = given.user.decode("utf-8", "replace")[:64]
        log.warning("wrong credentials of user %r from %s, %d in a row", user, peer, failures, extra=about(caller=user, peer=peer, outcome="WrongCredentials"))
        await deferLater(self._clock, self._delay(failures), lambda: None)
        raise WrongCredentials

    def _known(self, given: Credentials, peer: str) -> Caller:
        found = caller(given.user, peer, self._settings_of())
        if found is None:
            raise WrongCredentials
        return found

    def _htpasswd(self) -> Htpasswd:
        """The file that the settings name now."""
        path = self._settings_of().htpasswd_file
        if path != self._file.path:
            self._file = Htpasswd(path)
        return self._file

    def _delay(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row: doubled with each, up to 32 times."""
        return self._settings_of().auth_failure_delay_ms / 1000 * (1 << min(failures - 1, MOST_DOUBLINGS))


def _network(peer: str) -> str:
    """The address that failures are counted by: an IPv6 peer owns its whole /64."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else peer
