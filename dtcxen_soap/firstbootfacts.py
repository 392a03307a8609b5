"""What the survey finds of a system's first boot: the admin's snippets, and who could have changed them."""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap.vps import Secret, VpsId


@dataclass(frozen=True)
class NeedFirstboot:
    """What every new system runs once, at its first boot: Facts.firstboot. With `vps` also what the seed disk of that VPS told it, with `os_type` the appliance of that name."""

    vps: VpsId | None = None
    os_type: str = ""


@dataclass(frozen=True)
class Snippet:
    """A program that a system runs once, and what it is called there. Its bytes, as text with surrogates, may hold secrets."""

    name: str
    content: Secret


@dataclass(frozen=True)
class SeedFact:
    """The seed disk of an HVM guest: whether it is there (`disk`), and what we wrote down of it (`told`): the installation that it is of, keys, and data."""

    disk: bool = False
    told: bool = False
    instance: str = ""
    keys: tuple[str, ...] = ()
    user_data: Secret | None = None


@dataclass(frozen=True)
class AppFact:
    """An appliance of app_dir: the OS type that it `depends` on, whether it has a `folder`, and why it must not or cannot be used, if so."""

    name: str
    path: str
    depends: str = ""
    folder: bool = False
    unsafe: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class FirstbootFact:
    """The admin's snippets in the order of their names.

    `unsafe` is what others than root could have changed, `problems` why some cannot be used; either keeps every installation from beginning.
    """

    snippets: tuple[Snippet, ...] = ()
    unsafe: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    seed: SeedFact = SeedFact()
    app: AppFact | None = None
