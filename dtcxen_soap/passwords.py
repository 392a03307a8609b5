"""Hashes of passwords that we set: the guest's root (SHA-512 crypt) and SOAP users (bcrypt).

Nothing of the guest runs for it. Source: crypt(5) of libxcrypt, passlib's documentation.
"""

from __future__ import annotations

from passlib.hash import bcrypt, sha512_crypt

from dtcxen_soap.vps import Secret

GUEST_ROUNDS = 100_000
HTPASSWD_COST = 12
BCRYPT_LIMIT_BYTES = 72


def hash_for_guest(secret: Secret) -> str:
    """A line's second field in etc/shadow; "$6$" is read by every Linux guest since 2008.

    ValueError for an empty password or one with a NUL, which no guest could take.
    """
    text = secret.reveal()
    if not text or "\0" in text:
        raise ValueError("a password must not be empty or hold a NUL character")
    return str(sha512_crypt.using(rounds=GUEST_ROUNDS).hash(text))


def hash_for_htpasswd(secret: Secret) -> str:
    """What follows the colon in htpasswd. ValueError beyond bcrypt's 72 bytes: the rest would not count."""
    text = secret.reveal()
    if not text or "\0" in text:
        raise ValueError("a password must not be empty or hold a NUL character")
    if len(text.encode()) > BCRYPT_LIMIT_BYTES:
        raise ValueError(f"a SOAP password must not be longer than {BCRYPT_LIMIT_BYTES} bytes")
    return str(bcrypt.using(rounds=HTPASSWD_COST, ident="2b").hash(text))
