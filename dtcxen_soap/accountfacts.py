"""What the survey finds of accounts: how a VPS's owner signs in on this node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class AccountFact:
    """A system user of this node; `closed`: it has expired, so nobody gets in."""

    user: str
    uid: int
    group: str
    home: str
    shell: str
    closed: bool = False


@dataclass(frozen=True)
class QuotaFact:
    """Which quotas the file system of the homes keeps ("project", else "user", else ""), and where it is mounted."""

    kind: str = ""
    mount_point: str = ""


@dataclass(frozen=True)
class AccountsFact:
    """How the owner of one VPS signs in: its system users by name, the text of their sudo rule, and whether there is a home and a SOAP password.

    `lacking` says, in clauses, what the node lacks for system users to work.
    """

    users: Mapping[str, AccountFact] = field(default_factory=dict)
    sudo_rule: str = ""
    home: bool = False
    soap_password: bool = False
    lacking: tuple[str, ...] = ()
    quota: QuotaFact = QuotaFact()


@dataclass(frozen=True)
class KeyFact:
    """ssh-keygen's word on one public key: its fingerprint, or what is wrong with it."""

    fingerprint: str = ""
    problem: str = ""
