"""Make Spyne 2.14 importable and quiet; import this before anything of Spyne.

The release on PyPI bundles an old `six` whose import hook lacks `find_spec`, which Python 3.12
asks for, and its SOAP protocol imports `cgi`, which Python 3.13 dropped. Debian's package carries
its own repair and is left as it is. Spyne also logs whole request bodies and collects garbage
once a second: neither is wanted in a daemon that receives passwords.
"""

from __future__ import annotations

import email.message
import importlib
import importlib.machinery
import importlib.util
import logging
import sys
import types
from pathlib import Path
from typing import Any

_SIX = "spyne.util.six"


def _repair_six(root: Path) -> None:
    """Give the bundled six's import hook the method that Python 3.12 and later ask for."""
    path = root / "util" / "six.py"
    if sys.version_info < (3, 12) or _SIX in sys.modules or not path.is_file():
        return
    spec = importlib.util.spec_from_file_location(_SIX, path)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules[_SIX] = module
    spec.loader.exec_module(module)
    hook: Any = type(getattr(module, "_importer", None))
    if hasattr(hook, "find_spec") or not hasattr(hook, "load_module"):
        return

    def find_spec(self: Any, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name in self.known_modules else None

    hook.find_spec = find_spec
    hook.create_module = lambda self, spec: self.load_module(spec.name)
    hook.exec_module = lambda self, module: None


def _parse_header(line: str) -> tuple[str, dict[str, str]]:
    """What cgi.parse_header did: the value of a header, and its parameters."""
    message = email.message.Message()
    message["content-type"] = line
    value, *parameters = message.get_params() or [("", "")]
    return value[0], dict(parameters)


def _import_without_cgi() -> None:
    """Import the SOAP protocol while a `cgi` of one function stands in; it does not stay."""
    if "cgi" in sys.modules or importlib.util.find_spec("cgi") is not None:
        return
    stand_in = types.ModuleType("cgi")
    stand_in.parse_header = _parse_header  # type: ignore[attr-defined]
    sys.modules["cgi"] = stand_in
    try:
        importlib.import_module("spyne.protocol.soap")
    finally:
        del sys.modules["cgi"]


def repair() -> None:
    """Do what this Python and this Spyne need; nothing where they agree already."""
    found = importlib.util.find_spec("spyne")
    if found is None or not found.submodule_search_locations:
        raise ImportError("Spyne is not installed")
    _repair_six(Path(found.submodule_search_locations[0]))
    _import_without_cgi()
    logging.getLogger("spyne").setLevel(logging.CRITICAL + 1)
    importlib.import_module("spyne.const").MIN_GC_INTERVAL = float("inf")  # type: ignore[attr-defined]


repair()
