"""A file os.d/NAME.toml as a Description, or every problem in it at once, each by its file and key.

One table per installer says which keys there are, how each is read and which must be there; a key that
is in none is refused with the nearest one. Nothing of what is read here reaches a shell; what goes into
another file's syntax (apt's one-line sources, dnf.conf) is held to signs that mean nothing there.
"""

from __future__ import annotations

import difflib
import json
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from dtcxen_soap.install import guestkernel
from dtcxen_soap.osfacts import Description, RemoteBundle, RpmDescription, RpmRepository, SuiteDescription
from dtcxen_soap.vps import BootMode, Mib

__all__ = ["BUILT_IN", "SUFFIXES", "Parsed", "parse"]

BUILT_IN = ("debian", "debian-dtc", "manual", "netbsd", "xenhvm")
"""OS types that settings describe; a file cannot."""
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst")
"""How the names of tarballs end; nothing else tells tar(1) how one was packed."""
_MOST_ITEMS = 1000
_MOST_MIB = 1 << 20
_BOOT_MODES = {mode.value: mode for mode in (*guestkernel.MODES, BootMode.DIRECT)}


@dataclass(frozen=True)
class Parsed:
    """`description` is None exactly when there are problems."""

    description: Description | None
    problems: tuple[str, ...]


# -- how values are read; ValueError says what was expected ---------------------------------------

Reader = Callable[[Any], Any]


def _text(pattern: str, expected: str) -> Reader:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(f"expected {expected}")
        return value
    return read


def _words(most: int) -> Reader:
    def read(value: Any) -> str:
        if not isinstance(value, str) or len(value) > most or not value.isprintable():
            raise ValueError(f"expected text of at most {most} printable characters")
        return value
    return read


def _list(item: Reader, *, least: int = 0) -> Reader:
    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not least <= len(value) <= _MOST_ITEMS:
            raise ValueError("expected a list" + (" that is not empty" if least else ""))
        for each in value:
            try:
                item(each)
            except ValueError as error:
                raise ValueError(f"{_shown(each)}: {error}") from None
        return tuple(map(item, value))
    return read


def _one_or_more(item: Reader) -> Reader:
    several = _list(item, least=1)
    return lambda value: several(value if isinstance(value, list) else [value])


def _path(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"/[A-Za-z0-9/._+-]{1,500}", value, re.ASCII) or posixpath.normpath(value) != value:
        raise ValueError("expected the absolute path of a file, of letters, digits and /._+-")
    return value


def _url(*schemes: str, without: str = "") -> Reader:
    """An address without credentials, which would end up in logs; `without` are signs that the file it goes into would misread."""
    expected = f"an address that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}"

    def read(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(rf"({'|'.join(schemes)})://[\x21-\x7e]{{1,1000}}", value, re.ASCII):
            raise ValueError(f"expected {expected}")
        try:
            parts = urlsplit(value)
        except ValueError as error:
            raise ValueError(f"{error}, expected {expected}") from None
        if "@" in parts.netloc:
            raise ValueError("user and password in an address would end up in logs, expected one without")
        if parts.scheme == "file" and (parts.netloc or parts.path in ("", "/")):
            raise ValueError("expected file:/// and the path of a file or directory of this node")
        if parts.scheme != "file" and not parts.hostname:
            raise ValueError(f"no host is named, expected {expected}")
        if bad := sorted(set(value) & set(without)):
            raise ValueError(f"{''.join(bad)} must be written as %XX")
        return value
    return read


def _tarball(value: Any) -> str:
    url: str = _url("https", "http", "file")(value)
    if not urlsplit(url).path.endswith(SUFFIXES):
        raise ValueError(f"expected an address whose path ends in {', '.join(SUFFIXES)}")
    return url


def _sha256(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Fa-f]{64}", value):
        raise ValueError("expected 64 hexadecimal digits, as sha256sum prints them")
    return value.lower()


def _boot_mode(value: Any) -> BootMode:
    if not isinstance(value, str) or value not in _BOOT_MODES:
        raise ValueError(f"expected one of {', '.join(_BOOT_MODES)}")
    return _BOOT_MODES[value]


def _true_false(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _mib(value: Any) -> Mib:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_MIB:
        raise ValueError(f"expected a whole number of MiB from 1 to {_MOST_MIB}")
    return Mib(value)


_SUITE = _text(r"[a-z0-9][a-z0-9.+-]{0,63}(/[a-z0-9.+-]{1,64})?", "a release's or suite's name, in lower case")
_COMPONENT = _text(r"[a-z0-9][a-z0-9./-]{0,63}", "a component's name")
_DEB = _text(r"[a-z0-9][a-z0-9+.-]{1,99}", "a package's name")
_RPM = _text(r"[A-Za-z0-9][A-Za-z0-9.+_:~-]{0,199}", "a package's name")
_GROUP = _text(r"\^?[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "a group's id, as `dnf group list --ids` shows it")
_RELEASEVER = _text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", "a release as $releasever is to be")
_REPOSITORY = _text(r"(?!main$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a name of letters, digits and ._-, not main")
_DNF_LIST = _url("https", "http", "file")
_DNF_URL = _url("https", "http", "file", without=",")
"""dnf takes a comma in baseurl for the end of one of several."""
_APT_URL = _url("https", "http", "file", without="[]")


# -- which keys there are -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Key:
    read: Reader
    required: bool = False


_COMMON = {"label": _Key(_words(100)), "help": _Key(_words(1000)), "boot_mode": _Key(_boot_mode)}
_REPOSITORY_KEYS = {
    "name": _Key(_REPOSITORY, True), "gpgkey": _Key(_one_or_more(_path), True), "baseurl": _Key(_one_or_more(_DNF_URL)), "mirrorlist": _Key(_DNF_LIST),
    "metalink": _Key(_DNF_LIST), "repo_gpgcheck": _Key(_true_false)}
_WAYS = ("baseurl", "mirrorlist", "metalink")
_INSTALLERS: dict[str, tuple[type[Any], dict[str, _Key]]] = {
    "debootstrap": (SuiteDescription, {
        "release": _Key(_SUITE, True), "mirror": _Key(_APT_URL, True), "components": _Key(_list(_COMPONENT, least=1), True), "keyring": _Key(_path, True),
        "more_suites": _Key(_list(_SUITE)), "packages": _Key(_list(_DEB)), "kernel_packages": _Key(_list(_DEB))}),
    "dnf": (RpmDescription, {
        "releasever": _Key(_RELEASEVER, True), "repositories": _Key(lambda value: value, True), "packages": _Key(_list(_RPM, least=1), True),
        "groups": _Key(_list(_GROUP)), "kernel_packages": _Key(_list(_RPM)), "rpm_database": _Key(_path)}),
    "bundle": (RemoteBundle, {"url": _Key(_tarball, True), "sha256": _Key(_sha256, True), "most_mib": _Key(_mib)}),
}


# -- a file ---------------------------------------------------------------------------------------


def parse(data: bytes, name: str, where: str) -> Parsed:
    """The description that a file holds for OS type `name`. Raises nothing."""
    problems: list[str] = []
    if name in BUILT_IN:
        problems.append(f"{where}: {name} is built in, and described by the settings: choose another name")
    table = _table(data, where, problems)
    found = _described(table, name, where, problems) if table is not None else None
    return Parsed(None if problems else found, tuple(problems))


def _table(data: bytes, where: str, problems: list[str]) -> dict[str, Any] | None:
    """The file as TOML; None, with the problem, when it is none."""
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError:
        problems.append(f"{where}: not UTF-8")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        problems.append(f"{where}: not TOML: {error}")
    return None


def _described(table: dict[str, Any], name: str, where: str, problems: list[str]) -> Description | None:
    installer = table.pop("installer", None)
    if not isinstance(installer, str) or installer not in _INSTALLERS:
        given = "it is missing" if installer is None else f"{_shown(installer)} is not valid"
        problems.append(f"{where}: installer: {given}, expected one of {', '.join(_INSTALLERS)}")
        return None
    kind, keys = _INSTALLERS[installer]
    values = _values(table, _COMMON | keys, where, problems)
    if "repositories" in values:
        values["repositories"] = _repositories(values["repositories"], where, problems)
    if problems:
        return None
    made: Description = kind(name=name, **values)
    return made


def _values(table: Mapping[str, Any], keys: Mapping[str, _Key], where: str, problems: list[str]) -> dict[str, Any]:
    """The values of a table by its keys; whatever is wrong is added to `problems`."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in keys:
            problems.append(f"{where}: {_shown_key(key)}: unknown{_near(key, keys)}")
            continue
        try:
            values[key] = keys[key].read(value)
        except ValueError as error:
            problems.append(f"{where}: {key}: {'' if isinstance(value, list | dict) else _shown(value) + ' is not valid, '}{error}")
    problems += [f"{where}: {key}: it is missing" for key, row in keys.items() if row.required and key not in table]
    return values


def _repositories(value: Any, where: str, problems: list[str]) -> tuple[RpmRepository, ...]:
    """The tables [[repositories]]; none when there is something wrong with any."""
    if not isinstance(value, list) or not value or len(value) > _MOST_ITEMS or not all(isinstance(each, dict) for each in value):
        problems.append(f"{where}: repositories: expected at least one table [[repositories]]")
        return ()
    before = len(problems)
    made = []
    for number, table in enumerate(value, 1):
        place = f"{where}: repositories, number {number}"
        values = _values(table, _REPOSITORY_KEYS, place, problems)
        if sum(way in table for way in _WAYS) != 1:
            problems.append(f"{place}: exactly one of {', '.join(_WAYS)} must be there")
        made.append(values)
    if len(problems) > before:
        return ()
    problems += [f"{where}: repositories: {name} is there more than once" for name in _repeated(each["name"] for each in made)]
    return tuple(RpmRepository(**each) for each in made)


def _repeated(names: Iterable[str]) -> list[str]:
    every = list(names)
    return sorted({name for name in every if every.count(name) > 1})


def _near(key: str, keys: Mapping[str, _Key]) -> str:
    """A hint at the key that was meant: one with a like name, else one of another installer."""
    known = {"installer", *keys}
    if near := difflib.get_close_matches(key.lower(), known, 1, 0.6):
        return f"; did you mean {near[0]}?"
    others = [installer for installer, (_, more) in _INSTALLERS.items() if key in more]
    return f"; that is for installer {' or '.join(others)}" if others else ""


def _shown(value: Any) -> str:
    """A value that nobody vouches for, on one line and not too long."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = ascii(str(value))
    return text if len(text) <= 80 else f"{text[:77]}..."


def _shown_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", key) else _shown(key)

