"""The admin's first-boot snippets: which there are, whether anybody else could have written them, and what is in them."""

from __future__ import annotations

import os

from dtcxen_soap.firstbootfacts import FirstbootFact, Snippet
from dtcxen_soap.nodefiles import read_bytes
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey_programs import executables, writable_by_others
from dtcxen_soap.vps import Secret

MOST_SNIPPETS = 64
MOST_BYTES = 256 << 10
"""Of one snippet; a quarter of a mebibyte is a long script."""


def firstboot(settings: Settings) -> FirstbootFact:
    """Executable files of firstboot_dir with a name that run-parts(8) would take, in its order. An unsafe one is named and never read."""
    directory = settings.firstboot_dir
    paths = tuple(executables(directory))
    unsafe = tuple(dict.fromkeys(part for path in paths for part in writable_by_others(path, directory)))
    if unsafe:
        return FirstbootFact(unsafe=unsafe)
    if len(paths) > MOST_SNIPPETS:
        return FirstbootFact(problems=(f"{directory} has {len(paths)} snippets, more than {MOST_SNIPPETS}",))
    read = tuple(_read(path) for path in paths)
    return FirstbootFact(tuple(each for each in read if isinstance(each, Snippet)), problems=tuple(each for each in read if isinstance(each, str)))


def _read(path: str) -> Snippet | str:
    """The snippet, or what is wrong with it."""
    try:
        content = read_bytes(path, MOST_BYTES)
    except OSError as error:
        return f"{path} has more than {MOST_BYTES >> 10} KiB" if os.path.getsize(path) > MOST_BYTES else f"{path} cannot be read: {error.strerror}"
    if not content.startswith((b"#!", b"\x7fELF")):
        return f"{path} begins with neither #! nor as a program does: no system would run it"
    return Snippet(os.path.basename(path), Secret(content.decode(errors="surrogateescape")))
