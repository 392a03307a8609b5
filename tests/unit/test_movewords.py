"""The protocol of moves: what is sent comes as it was, and whatever else comes is Garbled, never anything worse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from dtcxen_soap import movewords
from dtcxen_soap.movewords import DiskOffer, Garbled, Offer, Owner
from dtcxen_soap.vps import DiskRole, ImageType, VpsId

OFFER = Offer(
    "0" * 32, VpsId(7), VpsId(1), "node:/state", ImageType.LVM, (DiskOffer(DiskRole.ROOT, 5 << 20), DiskOffer(DiskRole.SWAP, 1)), "name = 1\n", True, False)
JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(), lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner), max_leaves=8)


def changed(**more: Any) -> dict[str, Any]:
    return {**OFFER.header("offer"), **more}


def test_an_offer_comes_as_it_was_sent() -> None:
    assert movewords.offer(movewords.parse(movewords.render(OFFER.header("offer")).rstrip())) == OFFER
    assert [disk.chunks for disk in OFFER.disks] == [5, 1]


def test_an_owner_comes_as_it_was_sent_and_shows_no_hash() -> None:
    owner = Owner(("ssh-ed25519 AAAA me",), "$6$salt$hash", "$2b$12$hash")
    assert movewords.owner(movewords.parse(movewords.render(owner.header("arrive")).rstrip())) == owner
    assert "hash" not in repr(owner)


@pytest.mark.parametrize("line", [
    b"", b"x", b"[]", b"1", b'{"a":1,"a":2}', b'{"a":NaN}', b"\xff\xfe", b"[" * 100000, b'{"a":' * 100000, b"{" + b" " * (1 << 18) + b"}", b"{}{}"])
def test_a_line_that_is_none(line: bytes) -> None:
    with pytest.raises(Garbled):
        movewords.parse(line)


@pytest.mark.parametrize("wrong", [
    {"transfer": "../../etc"}, {"transfer": "0" * 31}, {"transfer": "A" * 32}, {"transfer": 7}, {"vps": 0}, {"vps": 10000}, {"vps": "1"}, {"vps": True}, {"vps": 1.0},
    {"was": -1}, {"source": ""}, {"source": "a\nb"}, {"source": "x" * 201}, {"imageType": "zfs"}, {"imageType": None}, {"runs": 1}, {"auto": "no"},
    {"config": "x" * 65537}, {"config": "a\0b"}, {"config": "\ud800"}, {"disks": []}, {"disks": {}}, {"disks": [1]}, {"disks": [{"disk": "xvdb", "size": 1}]},
    {"disks": [{"disk": "xvda", "size": 0}]}, {"disks": [{"disk": "xvda", "size": 1 << 51}]}, {"disks": [{"disk": "../x", "size": 1}]},
    {"disks": [{"disk": "xvda", "size": 1}] * 2}, {"disks": [{"disk": "xvda", "size": 1}] * 3}])
def test_an_offer_that_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(Garbled):
        movewords.offer(changed(**wrong))


@pytest.mark.parametrize("wrong", [
    {"keys": ["a\nb"]}, {"keys": [""]}, {"keys": ["k"] * 21}, {"keys": "k"}, {"keys": [1]}, {"console": "a:b"}, {"console": "a b"}, {"soap": "x\ny"}, {"soap": None},
    {"soap": "x" * 513}])
def test_an_owner_that_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(Garbled):
        movewords.owner({**Owner().header("arrive"), **wrong})


@given(some.binary(max_size=300) | some.dictionaries(some.sampled_from(("do", "vps", "disks", "transfer", "size")), JSON).map(lambda value: json.dumps(value).encode()))
def test_no_line_is_worse_than_garbled(line: bytes) -> None:
    try:
        header = movewords.parse(line)
    except Garbled:
        return
    for read in (movewords.offer, movewords.owner, movewords.vps, movewords.transfer, movewords.role, movewords.sha256):
        try:
            read(header)
        except Garbled:
            continue


@given(some.sampled_from(sorted(OFFER.header("offer"))), JSON)
def test_no_field_is_worse_than_garbled(name: str, value: Any) -> None:
    try:
        movewords.offer(changed(**{name: value}))
    except Garbled:
        return
