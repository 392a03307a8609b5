"""The panel's client library as two Debians have it; its PHP script is nusoap.php beside this file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.interop.clients import here

OF_DEBIAN_12 = Path("/opt/debian12/usr/share/php/nusoap")
"""Where tools/debian13.py unpacks it; the panel's own copy differs from it by five lines."""
DEBIANS = ("debian13", "debian12")


def command_of(debian: str, folder: Path) -> Callable[[str], list[str]]:
    """The command that runs a script with this library; an empty folder for a repaired copy."""
    if debian == "debian13":
        return here
    path = repaired(folder)
    return lambda script: ["php", "-d", f"include_path={path}", *here(script)[1:]]


def repaired(folder: Path) -> Path:
    """An include path with Debian 12's library, whose constructors bear their classes' names: PHP 8 calls only those named __construct."""
    files = {path.name: path.read_text(encoding="latin-1") for path in OF_DEBIAN_12.glob("*.php")}
    classes = {name for text in files.values() for name in re.findall(r"^class\s+(\w+)", text, re.MULTILINE)}
    assert "nusoap_client" in classes, f"{OF_DEBIAN_12} holds no nusoap"
    named = re.compile(rf"(function\s+|parent::)({'|'.join(sorted(classes))})(?=\s*\()")
    (folder / "nusoap").mkdir()
    for name, text in files.items():
        (folder / "nusoap" / name).write_text(named.sub(r"\1__construct", text), encoding="latin-1")
    return folder
