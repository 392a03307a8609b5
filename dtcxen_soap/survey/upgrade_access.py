"""Who gets in on an old node: htpasswd, certificate and keys, console users, sudo rules, homes. Hashes and keys stay where they are."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator

from dtcxen_soap import certificates, rescueseed
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey.upgrade_files import Place
from dtcxen_soap.upgrade.access import RPM_KEY
from dtcxen_soap.upgrade.numbers import vps_of
from dtcxen_soap.upgrade.owners import OLD_SHELL
from dtcxen_soap.upgradefacts import FoundCertificate, FoundFile, FoundHome, FoundLine, FoundUser, HtpasswdLine, OldNode

_HASHES = (
    ("bcrypt", r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}"), ("apr1", r"\$apr1\$[^$]{1,8}\$[./A-Za-z0-9]{22}"), ("sha1", r"\{SHA\}[A-Za-z0-9+/]{27}="),
    ("sha256", r"\$5\$(rounds=[0-9]+\$)?[^$]{0,16}\$[./A-Za-z0-9]{43}"), ("sha512", r"\$6\$(rounds=[0-9]+\$)?[^$]{0,16}\$[./A-Za-z0-9]{86}"),
    ("des", r"[./A-Za-z0-9]{13}"))
_PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")
_CONSOLES = re.compile(r"(?:^|[\s/])x[ml]\s+console\s+\S*[*?\[]")
_LONGEST_KEY_FILE = 1 << 20


def look(found: OldNode, place: Place, settings: Settings, tls: Callable[[Settings], str]) -> OldNode:
    """The same node with everything about signing in."""
    certificate, key = place.text(settings.tls_certificate), place.file(settings.tls_key, follow=True)
    top = place.tree.root.rstrip("/")
    there = dataclasses.replace(settings, tls_certificate=f"{top}{place.real(settings.tls_certificate)}", tls_key=f"{top}{place.real(settings.tls_key)}")
    return dataclasses.replace(
        found, htpasswd=place.file(settings.htpasswd_file, follow=True), htpasswd_lines=tuple(_htpasswd(place, settings.htpasswd_file)),
        certificate_file=certificate.file if certificate else None, certificate=_certificate(certificate.text) if certificate else FoundCertificate(),
        key_file=key, tls_trouble=tls(there).replace(f"{top}/", "/") if certificate and key else "", key_copies=tuple(_key_files(place, settings)),
        users=tuple(_users(place)), console_shell=place.file(settings.console_shell, follow=True) is not None, sudo_lines=tuple(_sudo(place)),
        homes_top=place.file(settings.ttyssh_home, follow=True), homes=tuple(_homes(place, settings)))


def _htpasswd(place: Place, path: str) -> Iterator[HtpasswdLine]:
    """Its lines as the service reads them."""
    for number, line in enumerate(place.lines(path), 1):
        user, colon, hashed = line.strip().partition(":")
        if line.strip() and not line.startswith("#") and colon and user:
            yield HtpasswdLine(number, user, next((kind for kind, pattern in _HASHES if re.fullmatch(pattern, hashed, re.ASCII)), ""))


def _certificate(text: str) -> FoundCertificate:
    return certificates.described(text.encode(errors="surrogateescape"))


def _key_files(place: Place, settings: Settings) -> Iterator[FoundFile]:
    """Every file that holds a private key of the service, or a copy of it."""
    paths = [file.path for file in place.files(settings.config_dir) if file.kind == "file" and file.size <= _LONGEST_KEY_FILE]
    for path in dict.fromkeys((settings.tls_key, *paths, RPM_KEY)):
        text = place.text(path)
        if text is not None and _PRIVATE_KEY.search(text.text):
            yield text.file


# -- owners ---------------------------------------------------------------------------------------


def _users(place: Place) -> Iterator[FoundUser]:
    """Users named as console users are, and all whose login shell is the original's console (passwd(5), group(5))."""
    groups = {words[2]: words[0] for words in (line.split(":") for line in place.lines("/etc/group")) if len(words) > 2}
    for words in (line.split(":") for line in place.lines("/etc/passwd")):
        if len(words) > 6 and words[2].isdecimal() and (vps_of(words[0]) or words[6].rpartition("/")[2] == OLD_SHELL):
            yield FoundUser(words[0], int(words[2]), groups.get(words[3], words[3]), words[5], words[6])


def _sudo(place: Place) -> Iterator[FoundLine]:
    """Rules that open more than one console. sudo reads files of sudoers.d without a dot or a tilde at the end (sudoers(5))."""
    beside = (file.path for file in place.files("/etc/sudoers.d") if "." not in file.name and not file.name.endswith("~"))
    for path in ("/etc/sudoers", *beside):
        for number, line in enumerate(place.lines(path), 1):
            if not line.lstrip().startswith("#") and _CONSOLES.search(line):
                yield FoundLine(path, number, " ".join(line.split()))


def _homes(place: Place, settings: Settings) -> Iterator[FoundHome]:
    for file in place.files(settings.ttyssh_home):
        if file.name.startswith("."):
            continue
        inside = tuple(each for path in (file.path, f"{file.path}/iso", f"{file.path}/.ssh") for each in _in(place, path))
        strange = tuple(each.path.removeprefix(f"{settings.ttyssh_home}/") for each in (file, *inside) if each.kind not in ("file", "directory"))
        isos = tuple(each.name for each in inside if each.kind == "file" and each.name.lower().endswith(".iso"))
        first, second = (_keys(place, f"{file.path}/.ssh/{name}") for name in ("authorized_keys", "authorized_keys2"))
        yield FoundHome(file, isos, len(first), len(second - first), strange)


def _in(place: Place, path: str) -> tuple[FoundFile, ...]:
    """What is in a directory that owners may have planted: never behind a link."""
    file = place.file(path)
    return place.files(path) if file is not None and file.kind == "directory" else ()


def _keys(place: Place, path: str) -> frozenset[str]:
    """The keys of a file, unless it or its directory is a link: then they are somebody else's."""
    file = next((file for file in _in(place, path.rpartition("/")[0]) if file.path == path), None)
    if file is None or file.kind != "file" or file.size > _LONGEST_KEY_FILE:
        return frozenset()
    return frozenset(rescueseed.keys("\n".join(place.lines(path))))
