"""The repairs of Spyne, shown on stand-ins for the Pythons that need them."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import types
from pathlib import Path

import pytest

from dtcxen_soap.wire import spynefix

OLD_SIX = """
class Importer:
    def __init__(self):
        self.known_modules = {"spyne.util.six.moves": None}
    def load_module(self, name):
        import sys, types
        return sys.modules.setdefault(name, types.ModuleType(name))
_importer = Importer()
"""


@pytest.fixture
def six(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "util").mkdir()
    monkeypatch.delitem(sys.modules, "spyne.util.six", raising=False)
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    return tmp_path / "util" / "six.py"


def test_the_bundled_six_learns_to_find_modules(six: Path) -> None:
    six.write_text(OLD_SIX)
    spynefix._repair_six(six.parent.parent)
    hook = sys.modules["spyne.util.six"]._importer  # type: ignore[attr-defined]
    assert hook.find_spec("other") is None
    module = importlib.util.module_from_spec(hook.find_spec("spyne.util.six.moves"))
    hook.exec_module(module)
    assert module.__name__ == "spyne.util.six.moves"
    del sys.modules["spyne.util.six.moves"]


def test_a_repaired_six_is_left_as_it_is(six: Path) -> None:
    six.write_text(OLD_SIX.replace("known_modules =", "find_spec = self.known_modules =").replace("def load_module", "def find_spec(self): pass\n    def load_module"))
    spynefix._repair_six(six.parent.parent)
    assert not hasattr(type(sys.modules["spyne.util.six"]._importer), "exec_module")  # type: ignore[attr-defined]


def test_an_older_python_needs_no_repair(six: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    six.write_text(OLD_SIX)
    monkeypatch.setattr(sys, "version_info", (3, 11, 7))
    spynefix._repair_six(six.parent.parent)
    assert "spyne.util.six" not in sys.modules


def test_cgi_stands_in_only_while_spyne_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[types.ModuleType] = []
    monkeypatch.delitem(sys.modules, "cgi", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(importlib, "import_module", lambda name: seen.append(sys.modules["cgi"]))
    spynefix._import_without_cgi()
    assert seen[0].parse_header('text/xml; charset="utf-8"') == ("text/xml", {"charset": "utf-8"})
    assert "cgi" not in sys.modules


def test_spyne_logs_nothing() -> None:
    assert not logging.getLogger("spyne.protocol.xml.invalid").isEnabledFor(logging.CRITICAL)
