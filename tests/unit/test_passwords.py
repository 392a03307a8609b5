"""Hashes that we make: readable by guests and by our own htpasswd, never truncated in silence."""

from __future__ import annotations

import pytest
from passlib.hash import bcrypt, sha512_crypt

from dtcxen_soap.passwords import hash_for_guest, hash_for_htpasswd
from dtcxen_soap.vps import Secret


@pytest.mark.parametrize("text", ["secret", "mit Ümläuten €", "a" * 255, "quote'\"$\\:"])
def test_a_guest_can_verify_its_hash(text: str) -> None:
    hashed = hash_for_guest(Secret(text))
    assert hashed.startswith("$6$") and ":" not in hashed and "\n" not in hashed
    assert sha512_crypt.verify(text, hashed) and not sha512_crypt.verify(text + "x", hashed)
    assert hash_for_guest(Secret(text)) != hashed


def test_htpasswd_hashes_are_bcrypt() -> None:
    hashed = hash_for_htpasswd(Secret("geheim"))
    assert hashed.startswith("$2b$") and bcrypt.verify("geheim", hashed)


def test_what_bcrypt_would_cut_is_refused() -> None:
    assert hash_for_htpasswd(Secret("é" * 36))
    with pytest.raises(ValueError, match="SOAP password must not be longer than 72 bytes") as caught:
        hash_for_htpasswd(Secret("é" * 36 + "a"))
    assert "é" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "a\0b"])
def test_what_no_crypt_can_take_is_refused(text: str) -> None:
    for make in (hash_for_guest, hash_for_htpasswd):
        with pytest.raises(ValueError, match="must not be empty or hold"):
            make(Secret(text))
