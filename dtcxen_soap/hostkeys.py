"""SSH host keys of new systems, one of them made ahead: an RSA key takes tenths of a second, now and then a whole one.

The key waits in memory, is given away once, and the next one is made beside. Whoever comes before it is ready waits for it.
"""

from __future__ import annotations

import concurrent.futures

from dtcxen_soap import certificates
from dtcxen_soap.vps import Secret

Pair = tuple[Secret, str]
"""A private key as OpenSSH keeps it, and the public one without a comment."""


class SpareKeys:
    """One key ahead. Threads may share it: each key is given to one of them."""

    def __init__(self) -> None:
        self._maker = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="host key")
        self._ahead: list[concurrent.futures.Future[Pair]] = []

    def begin(self) -> None:
        """Have one made, unless one waits or is being made."""
        if not self._ahead:
            self._ahead.append(self._maker.submit(certificates.new_ssh_key))

    def take(self, kind: str = "rsa") -> Pair:
        """A key that nobody else has; the next RSA one is begun, while others are made in no time."""
        if kind != "rsa":
            return certificates.new_ssh_key(kind)
        try:
            mine = self._ahead.pop()
        except IndexError:
            mine = self._maker.submit(certificates.new_ssh_key)
        self.begin()
        return mine.result()
