"""The htpasswd file: whose password is right. Verified once, then remembered until the file changes.

Hashes are read through passlib: bcrypt (what we write), Apache's MD5, {SHA}, SHA-256 and SHA-512
crypt, and the DES crypt of old nodes. A remembered password is kept as an HMAC under a key of this
process only, so that neither memory nor a core file tells it.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # passlib 1.7 imports crypt
    from passlib.context import CryptContext

log = logging.getLogger(__name__)

LONGEST_BCRYPT_PASSWORD = 72
MOST_REMEMBERED = 4096
_BCRYPT = ("$2a$", "$2b$", "$2y$")
_CONTEXT = CryptContext(schemes=["bcrypt", "apr_md5_crypt", "ldap_sha1", "sha256_crypt", "sha512_crypt", "des_crypt"])
# Verified when the file names nobody, so that this costs what a wrong password costs: bcrypt of random bytes.
_NOBODY = "$2b$10$BV.ri1fbiFm9SVlBpFvkwOa9XokAdSRv3hL1LG4BLaY6kb1vIql4."


@dataclass(frozen=True)
class Entries:
    """The file's users and hashes as they were when `stamp` (mtime, inode, size) was true."""

    stamp: tuple[int, int, int] | None = None
    hashes: Mapping[bytes, str] = field(default_factory=dict)

    def verify(self, user: bytes, password: bytes) -> bool:
        """Whether the password is the user's. Slow on purpose, and as slow for a user who is not there."""
        known = self.hashes.get(user)
        template = known or next(iter(self.hashes.values()), _NOBODY)
        return matches(password, template) and known is not None


def matches(password: bytes, hashed: str) -> bool:
    """Whether `password` has this hash; a hash that cannot be read matches nothing."""
    if hashed.startswith(_BCRYPT) and len(password) > LONGEST_BCRYPT_PASSWORD:
        return False
    try:
        return bool(_CONTEXT.verify(password, hashed))
    except ValueError:
        return False


def read(path: str) -> Entries:
    """The file's entries; no entries, and a warning, when it cannot be read."""
    try:
        with open(path, "rb") as file:
            stamp = _stamp(os.fstat(file.fileno()))
            lines = file.read().splitlines()
    except OSError as error:
        log.warning("htpasswd: %s: nobody can sign in", error)
        return Entries()
    pairs = (line.strip().partition(b":") for line in lines if line.strip() and not line.startswith(b"#"))
    return Entries(stamp, {user: hashed.decode("ascii", "replace") for user, colon, hashed in pairs if colon and user})


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


class Htpasswd:
    """The file as it is now, and the passwords that it was found to agree with."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._entries = Entries()
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()

    def entries(self) -> Entries:
        """The entries, read again if the file has changed; then nothing is remembered any more."""
        try:
            stamp = _stamp(os.stat(self.path))
        except OSError:
            stamp = None
        if stamp != self._entries.stamp:
            self._right.clear()
            self._entries = read(self.path)
        return self._entries

    def remembers(self, user: bytes, password: bytes) -> bool:
        """Whether this password was verified since the file changed last. Fast."""
        self.entries()
        return self._digest(user, password) in self._right

    def remember(self, entries: Entries, user: bytes, password: bytes) -> None:
        """Remember a password that `entries` verified, unless the file has changed meanwhile."""
        if self.entries() is not entries:
            return
        self._right[self._digest(user, password)] = None
        if len(self._right) > MOST_REMEMBERED:
            self._right.popitem(last=False)

    def _digest(self, user: bytes, password: bytes) -> bytes:
        return hmac.new(self._key, b"%d:%b%b" % (len(user), user, password), hashlib.sha256).digest()
