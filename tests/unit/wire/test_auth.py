"""Who signs in, what it costs, and who has to wait for it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from passlib import hash as hashes
from twisted.internet import defer
from twisted.internet.task import Clock

from dtcxen_soap import settings
from dtcxen_soap.access import Caller, Role
from dtcxen_soap.vps import VpsId
from dtcxen_soap.wire import auth, htpasswd
from dtcxen_soap.wire.auth import Authenticator, Credentials, WrongCredentials, credentials

PASSWORD = "s3cr\u00e9t"
MANY = {
    "bcrypt": hashes.bcrypt.using(rounds=4), "apr1": hashes.apr_md5_crypt, "sha": hashes.ldap_sha1, "sha256": hashes.sha256_crypt.using(rounds=1000),
    "sha512": hashes.sha512_crypt.using(rounds=1000), "des": hashes.des_crypt, "2y": hashes.bcrypt.using(rounds=4, ident="2y"),
}


class Node:
    """An htpasswd file, an Authenticator, a clock, and verifications that are counted and end when told."""

    def __init__(self, folder: Path, users: dict[str, str], **changed: Any) -> None:
        self.path = folder / "htpasswd"
        self.write(users)
        text = "\n".join(f"{name}={value}" for name, value in {"htpasswd_file": self.path, **changed}.items())
        self.settings = settings.load(text).settings
        self.clock = Clock()
        self.verified: list[Callable[[], None]] = []
        self.count = 0
        self.at_once = True
        self.auth = Authenticator(lambda: self.settings, self._verify, self.clock)

    def write(self, users: dict[str, str]) -> None:
        self.path.write_text("# users\n\n" + "".join(f"{user}:{hashed}\n" for user, hashed in users.items()))

    def _verify(self, work: Callable[[], bool]) -> defer.Deferred[bool]:
        self.count += 1
        if self.at_once:
            return defer.maybeDeferred(work)
        waiting: defer.Deferred[bool] = defer.Deferred()
        self.verified.append(lambda: waiting.callback(work()))
        return waiting

    def ask(self, user: str, password: str | bytes = PASSWORD, peer: str = "192.0.2.9") -> list[Any]:
        """The outcome, once there is one: a Caller or "wrong"."""
        outcome: list[Any] = []
        given = Credentials(user.encode(), password if isinstance(password, bytes) else password.encode())
        answering = defer.Deferred.fromCoroutine(self.auth.authenticate(given, peer))

        def failed(failure: Any) -> None:
            failure.trap(WrongCredentials)
            outcome.append("wrong")

        answering.addCallbacks(outcome.append, failed)
        return outcome


@pytest.fixture(scope="module")
def admin_hash() -> str:
    return str(hashes.sha512_crypt.using(rounds=1000).hash(PASSWORD))


@pytest.fixture
def node(tmp_path: Path, admin_hash: str) -> Node:
    return Node(tmp_path, {"dtc-xen": admin_hash, "watch": admin_hash, "xen07": admin_hash, "other": admin_hash}, monitor_user="watch")


@pytest.mark.parametrize("scheme", MANY)
def test_every_hash_of_old_nodes_is_read(scheme: str, tmp_path: Path) -> None:
    node = Node(tmp_path, {"dtc-xen": MANY[scheme].hash(PASSWORD)})
    assert node.ask("dtc-xen") == [Caller("dtc-xen", Role.ADMIN, "192.0.2.9")]
    assert node.ask("dtc-xen", "Xrong") == [] and not htpasswd.matches(b"Xrong", MANY[scheme].hash(PASSWORD))


@pytest.mark.parametrize("hashed", ["", "*", "plain", "$2b$04$short", "$apr1$", "{SHA}", "{SSHA}x", "$9$x$y"])
def test_a_hash_that_cannot_be_read_matches_nothing(hashed: str) -> None:
    assert not htpasswd.matches(hashed.encode(), hashed)


@pytest.mark.parametrize("password", [b"a\x00b", b"\xff\xfe", b"", b"x" * 5000])
@pytest.mark.parametrize("scheme", MANY)
def test_odd_passwords_are_wrong_not_errors(scheme: str, password: bytes) -> None:
    assert not htpasswd.matches(password, MANY[scheme].hash(PASSWORD))


def test_bcrypt_does_not_take_the_first_72_bytes_for_all() -> None:
    long = "x" * 72
    hashed = MANY["bcrypt"].hash(long)
    assert htpasswd.matches(long.encode(), hashed) and not htpasswd.matches(long.encode() + b"y", hashed)


def test_names_are_roles(node: Node) -> None:
    assert node.ask("watch") == [Caller("watch", Role.MONITOR, "192.0.2.9")]
    assert node.ask("xen07") == [Caller("xen07", Role.OWNER, "192.0.2.9", VpsId(7))]
    assert auth.caller(b"xen7", "", node.settings) is None and auth.caller(b"07", "", node.settings) is None


def test_other_names_of_the_file_are_refused(node: Node) -> None:
    outcome = node.ask("other")
    node.clock.advance(1)
    assert outcome == ["wrong"]


def test_a_password_is_verified_once(node: Node) -> None:
    for peer in ("192.0.2.9", "192.0.2.10", "192.0.2.9"):
        assert isinstance(node.ask("dtc-xen", peer=peer)[0], Caller)
    assert node.count == 1


def test_a_changed_file_forgets(node: Node, admin_hash: str) -> None:
    assert node.ask("dtc-xen")
    node.write({"dtc-xen": hashes.des_crypt.hash("other")})
    outcome = node.ask("dtc-xen")
    node.clock.advance(1)
    assert outcome == ["wrong"]
    os.unlink(node.path)
    outcome = node.ask("dtc-xen", "other")
    node.clock.advance(2)
    assert outcome == ["wrong"]
    node.write({"dtc-xen": admin_hash})
    assert isinstance(node.ask("dtc-xen", peer="192.0.2.77")[0], Caller)


def test_a_file_that_changes_while_a_password_is_verified_is_not_remembered(node: Node, admin_hash: str) -> None:
    node.at_once = False
    node.ask("dtc-xen")
    node.write({"dtc-xen": admin_hash, "more": "x"})
    node.ask("xen07", peer="192.0.2.10")
    node.verified.pop(0)()
    node.ask("dtc-xen")
    assert node.count == 3


def test_a_reload_forgets_and_takes_the_new_file(node: Node, tmp_path: Path) -> None:
    assert node.ask("dtc-xen")
    node.auth.reload()
    node.ask("dtc-xen")
    assert node.count == 2


def test_passwords_are_not_kept(node: Node) -> None:
    node.ask("dtc-xen")
    assert PASSWORD.encode() not in repr(vars(node.auth._file)).encode() and PASSWORD not in repr(Credentials(b"u", PASSWORD.encode()))


def test_failures_delay_more_each_time_up_to_32_times(node: Node) -> None:
    waited = []
    for number in range(8):
        outcome = node.ask("dtc-xen", f"wrong{number}")
        seconds = 0
        while not outcome:
            node.clock.advance(1)
            seconds += 1
        waited.append(seconds)
    assert waited == [1, 2, 4, 8, 16, 32, 32, 32]


def test_failures_of_one_peer_delay_no_other(node: Node) -> None:
    guess = node.ask("dtc-xen", "wrong", peer="198.51.100.1")
    assert isinstance(node.ask("dtc-xen", peer="192.0.2.9")[0], Caller) and guess == []
    again = node.ask("dtc-xen", peer="198.51.100.1")
    assert isinstance(again[0], Caller), "remembered credentials are answered at once, whoever brings them"


def test_a_failing_peer_waits_for_its_turn(node: Node) -> None:
    first = node.ask("dtc-xen", "wrong")
    second = node.ask("dtc-xen")
    assert second == [] and node.count == 1
    node.clock.advance(1)
    assert first == ["wrong"] and isinstance(second[0], Caller) and node.count == 2


def test_failures_of_a_user_count_from_all_peers(node: Node) -> None:
    for number in range(4):
        node.ask("dtc-xen", "wrong", peer=f"198.51.100.{number}")
    late = node.ask("dtc-xen", "wrong", peer="198.51.100.200")
    node.clock.advance(15)
    assert late == []
    node.clock.advance(1)
    assert late == ["wrong"]


def test_ipv6_peers_are_counted_by_their_network(node: Node) -> None:
    node.ask("dtc-xen", "wrong", peer="2001:db8::1")
    second = node.ask("xen07", "wrong", peer="2001:db8::ffff:2")
    node.clock.advance(1)
    assert node.count == 2 and second == []
    node.clock.advance(2)
    assert second == ["wrong"]


def test_success_forgives(node: Node) -> None:
    node.ask("xen07", "wrong")
    node.clock.advance(1)
    assert isinstance(node.ask("xen07")[0], Caller)
    outcome = node.ask("xen07", "wrong")
    node.clock.advance(1)
    assert outcome == ["wrong"]


def test_failures_are_forgotten_in_time_and_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    failures = auth.Failures(lambda: now[0])
    assert [failures.add("a"), failures.add("a", "b"), failures.count("b")] == [1, 2, 1]
    now[0] = auth.FORGET_AFTER_SECONDS + 1
    assert failures.count("a") == 0 and failures.add("a") == 1
    monkeypatch.setattr(auth, "MOST_REMEMBERED_FAILURES", 3)
    for name in "bcde":
        failures.add(name)
    assert failures.count("a") == 0 and failures.count("e") == 1


def test_a_peer_cannot_pile_up_attempts(node: Node) -> None:
    node.at_once = False
    outcomes = [node.ask("dtc-xen", f"wrong{number}") for number in range(auth.MOST_WAITING_PER_PEER + 2)]
    assert outcomes[-1] == ["wrong"] and outcomes[-2] == [] and node.count == 1


def test_a_turn_ends_with_its_last_visitor(node: Node) -> None:
    node.ask("dtc-xen", "wrong")
    node.clock.advance(1)
    assert node.auth._turns == {}


def test_a_peer_that_leaves_its_queue_blocks_nobody(node: Node) -> None:
    node.at_once = False
    given = Credentials(b"dtc-xen", b"wrong")
    first, second = (defer.Deferred.fromCoroutine(node.auth.authenticate(given, "192.0.2.9")) for _ in range(2))
    third = node.ask("dtc-xen")
    for leaving in (second, first):
        leaving.addErrback(lambda failure: failure.trap(defer.CancelledError) and None)
        leaving.cancel()
    node.verified.pop()()
    assert isinstance(third[0], Caller)


def test_unknown_users_cost_what_wrong_passwords_cost(tmp_path: Path) -> None:
    node = Node(tmp_path, {"dtc-xen": hashes.bcrypt.using(rounds=8).hash(PASSWORD)})
    entries = node.auth._file.entries()

    def seconds(user: bytes) -> float:
        took = []
        for _ in range(3):
            started = time.perf_counter()
            assert not entries.verify(user, b"wrong")
            took.append(time.perf_counter() - started)
        return min(took)

    assert seconds(b"nobody") > seconds(b"dtc-xen") / 2
    assert not htpasswd.Entries().verify(b"dtc-xen", b"wrong") and not entries.verify(b"nobody", PASSWORD.encode())


@pytest.mark.parametrize("header", [None, "", "Bearer x", "Digest x"])
def test_other_schemes_are_challenged(header: str | None) -> None:
    assert credentials(header) is None


def test_a_password_may_hold_colons() -> None:
    assert credentials("basic dTphOmI=") == Credentials(b"u", b"a:b")
