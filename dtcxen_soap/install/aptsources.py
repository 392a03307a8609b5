"""A node's own apt sources, read: one-line files (*.list) and deb822 ones (*.sources).

What cannot be used to install from is left out: sources switched off, source packages, other
architectures, installation media, and keys that are written into the file itself instead of named.
Options that lower apt's guard (trusted=yes) are not taken over: signatures are always demanded.
Source: sources.list(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dtcxen_soap.facts import AptSource

_FILE_NAME = re.compile(r"[A-Za-z0-9_.-]+\.(list|sources)")
_INLINE_KEY = "-----BEGIN"
_OFF = {"no", "false", "without", "off", "disable"}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "i386", "i586": "i386", "armv7l": "armhf", "ppc64le": "ppc64el"}


def architecture(machine: str) -> str:
    """Debian's word for a machine as uname(2) says it."""
    return _ARCHITECTURES.get(machine, machine)


def parse(files: Mapping[str, str], machine_architecture: str) -> tuple[AptSource, ...]:
    """The sources of files by name, in the order of the names given, each once; files that apt would not read are left out."""
    found: list[AptSource] = []
    for name, text in files.items():
        if _FILE_NAME.fullmatch(name):
            found += (parse_deb822 if name.endswith(".sources") else parse_lines)(text, machine_architecture)
    return tuple(dict.fromkeys(found))


# -- one line each --------------------------------------------------------------------------------------

_LINE = re.compile(r"deb[ \t]+(?:\[(?P<options>[^]]*)\][ \t]*)?(?P<uri>[^ \t[]+)[ \t]+(?P<suite>[^ \t]+)(?P<components>.*)")


def parse_lines(text: str, machine_architecture: str) -> Iterator[AptSource]:
    """`deb [options] uri suite components` per line, `#` begins a comment."""
    for line in text.splitlines():
        match = _LINE.fullmatch(line.partition("#")[0].strip())
        if not match or match["uri"].startswith("cdrom:"):
            continue
        options = _options(match["options"] or "")
        if _serves(machine_architecture, options):
            yield AptSource(match["uri"], match["suite"], tuple(match["components"].split()), options.get("signed-by", ""))


def _options(text: str) -> dict[str, str]:
    """name=value words; also name+=value and name-=value, which are kept under `name+` and `name-`."""
    return {name: value for name, equals, value in (word.partition("=") for word in text.split()) if equals}


def _serves(machine_architecture: str, options: Mapping[str, str]) -> bool:
    """Whether a source is for this architecture: all are, unless it names others or takes this one away."""
    named, taken = (re.split(r"[,\s]+", options.get(name, "")) for name in ("arch", "arch-"))
    return (named == [""] or machine_architecture in named) and machine_architecture not in taken


# -- deb822 -------------------------------------------------------------------------------------------


def parse_deb822(text: str, machine_architecture: str) -> Iterator[AptSource]:
    """Stanzas of fields; each combination of URI and suite is a source."""
    for fields in _stanzas(text):
        options = {"arch": fields.get("architectures", ""), "arch-": fields.get("architectures-remove", "")}
        signed_by = fields.get("signed-by", "")
        off = fields.get("enabled", "yes").strip().lower() in _OFF or "deb" not in fields.get("types", "").split()
        if off or _INLINE_KEY in signed_by or not _serves(machine_architecture, options):
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                if not uri.startswith("cdrom:"):
                    yield AptSource(uri, suite, tuple(fields.get("components", "").split()), ",".join(signed_by.split()))


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    """Fields by their name in lower case, values of several lines joined by newlines; comments may stand anywhere."""
    fields: dict[str, str] = {}
    name = ""
    for line in (*text.splitlines(), ""):
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t":
            if name:
                fields[name] += "\n" + line.strip()
        elif ":" in line:
            given, _, value = line.partition(":")
            name = given.strip().lower()
            fields[name] = value.strip()
