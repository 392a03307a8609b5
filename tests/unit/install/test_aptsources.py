"""A node's apt sources: what apt would use to install from, and no more."""

from __future__ import annotations

import pytest

from dtcxen_soap.facts import AptSource
from dtcxen_soap.install.aptsources import architecture, parse, parse_deb822, parse_lines

URI = "http://deb.example.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PLAIN = AptSource(URI, "bookworm", ("main",))


def lines(text: str) -> list[AptSource]:
    return list(parse_lines(text, "amd64"))


def stanzas(text: str) -> list[AptSource]:
    return list(parse_deb822(text, "amd64"))


@pytest.mark.parametrize(("line", "source"), [
    (f"deb {URI} bookworm main", PLAIN),
    (f"  deb\t{URI}  bookworm   main contrib  # ours", AptSource(URI, "bookworm", ("main", "contrib"))),
    (f"deb [signed-by={KEYRING}] {URI} bookworm main", AptSource(URI, "bookworm", ("main",), KEYRING)),
    (f"deb [ arch=i386,amd64  signed-by={KEYRING} ] {URI} bookworm main", AptSource(URI, "bookworm", ("main",), KEYRING)),
    (f"deb [arch=amd64]{URI} bookworm main", PLAIN),
    (f"deb [arch+=i386] {URI} bookworm main", PLAIN),
    (f"deb [arch-=i386 trusted=yes] {URI} bookworm main", PLAIN),
    ("deb http://local.example.org/ ./", AptSource("http://local.example.org/", "./", ())),
])
def test_one_line_sources(line: str, source: AptSource) -> None:
    assert lines(line) == [source]


@pytest.mark.parametrize("line", [
    "", f"# deb {URI} bookworm main", f"deb-src {URI} bookworm main", f"deb [arch=arm64] {URI} bookworm main", f"deb [arch-=amd64] {URI} bookworm main",
    "deb cdrom:[Debian GNU/Linux 12.5.0 _Bookworm_ - Official amd64]/ bookworm main", "deb cdrom:x bookworm main", f"deb {URI}", "rpm x y z",
    f"deb [signed-by={KEYRING} {URI} bookworm main"])
def test_lines_that_are_no_source_to_install_from(line: str) -> None:
    assert lines(line) == []


def test_deb822_with_all_that_may_stand_in_it() -> None:
    text = f"""
# Written by the installer
Types: deb deb-src
# a comment within
URIs: {URI} http://mirror.example.org/debian
suites: bookworm
# a comment: within a value
 bookworm-updates
Components: main
\tcontrib
Signed-By: {KEYRING}

Types: deb
URIs: http://security.example.org/
Suites: bookworm-security
Components: main
Enabled: yes
"""
    both = ("main", "contrib")
    assert stanzas(text) == [
        *(AptSource(uri, suite, both, KEYRING) for uri in (URI, "http://mirror.example.org/debian") for suite in ("bookworm", "bookworm-updates")),
        AptSource("http://security.example.org/", "bookworm-security", ("main",))]


@pytest.mark.parametrize("more", [
    "Enabled: no", "Enabled: FALSE", "enabled:\n off", "Types: deb-src", "Architectures: arm64 i386", "Architectures-Remove: amd64",
    "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY865UxYJKwYBBAHaRw8BAQdAd7Z0srwuhlB6JKFkcf4HU4SSS/xcRfwEQWzr\n -----END PGP PUBLIC KEY BLOCK-----",
    "URIs: cdrom:[Debian]/", "URIs:", "Suites:"])
def test_deb822_that_is_no_source_to_install_from(more: str) -> None:
    stanza = f"Types: deb\nURIs: {URI}\nSuites: bookworm\nComponents: main\n"
    assert stanzas(stanza) == [PLAIN]
    assert stanzas(stanza + more) == []


def test_deb822_names_keys_on_lines_of_their_own_too() -> None:
    stanza = f"Types: deb\nURIs: {URI}\nSuites: bookworm\nComponents: main\nArchitectures: amd64\nSigned-By:\n {KEYRING}\n"
    assert stanzas(stanza) == [AptSource(URI, "bookworm", ("main",), KEYRING)]


def test_a_stray_continuation_or_word_harms_nothing() -> None:
    assert stanzas(f" lost\nnonsense\nTypes: deb\nURIs: {URI}\nSuites: bookworm\nComponents: main") == [PLAIN]


def test_files_by_their_names_each_source_once() -> None:
    line = f"deb {URI} bookworm main"
    stanza = f"Types: deb\nURIs: {URI}\nSuites: trixie\nComponents: main\n"
    files = {"sources.list": line, "a.sources": stanza, "b.list": line, "c.list.save": "deb http://old.example.org/ x main", "d e.list": "deb http://odd.example.org/ x main"}
    assert parse(files, "amd64") == (PLAIN, AptSource(URI, "trixie", ("main",)))


def test_machines_have_debian_names() -> None:
    assert [architecture(machine) for machine in ("x86_64", "aarch64", "riscv64")] == ["amd64", "arm64", "riscv64"]
