"""What the survey finds of a system's first boot: the admin's snippets, and who could have changed them."""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap.vps import Secret


@dataclass(frozen=True)
class NeedFirstboot:
    """What every new system runs once, at its first boot: Facts.firstboot."""


@dataclass(frozen=True)
class Snippet:
    """A program that a system runs once, and what it is called there. Its bytes, as text with surrogates, may hold secrets."""

    name: str
    content: Secret


@dataclass(frozen=True)
class FirstbootFact:
    """The admin's snippets in the order of their names.

    `unsafe` is what others than root could have changed, `problems` why some cannot be used; either keeps every installation from beginning.
    """

    snippets: tuple[Snippet, ...] = ()
    unsafe: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
