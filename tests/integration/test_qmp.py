"""The questions to a device model, over a real socket; at its other end a script that speaks as QEMU 7.2 does."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from dtcxen_soap import qmp

pytestmark = pytest.mark.machine

GREETING = {"QMP": {"version": {"qemu": {"micro": 9, "minor": 2, "major": 7}, "package": "Debian 1:7.2"}, "capabilities": ["oob"]}}
EVENT = {"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RTC_CHANGE", "data": {"offset": 0}}


class Model:
    """Says these lines to the questions that it is asked; silent once it has none."""

    def __init__(self, path: Path, *said: Any) -> None:
        self.path, self.said, self.asked = str(path), list(said), list[Any]()
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen(1)
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self.server.accept()
        with connection, connection.makefile("rwb") as lines:
            while self.said:
                for each in self.said.pop(0):
                    lines.write((json.dumps(each) if isinstance(each, dict) else each).encode() + b"\r\n")
                lines.flush()
                if not (line := lines.readline()):
                    return
                self.asked.append(json.loads(line))


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "qmp"


def test_each_question_gets_its_answer_and_events_are_passed_over(path: Path) -> None:
    model = Model(path, [GREETING], [{"return": {}}], [EVENT, EVENT, {"return": [1]}], [{"return": [2]}, EVENT], [])
    assert qmp.ask(str(path), "query-block", "query-blockstats") == ([1], [2])
    assert model.asked == [{"execute": "qmp_capabilities"}, {"execute": "query-block"}, {"execute": "query-blockstats"}]


@pytest.mark.parametrize("said", [
    ([GREETING], [{"error": {"class": "GenericError", "desc": "no"}}]), (["no JSON"],), (["[]"],)])
def test_what_is_no_answer_is_told(path: Path, said: tuple[Any, ...]) -> None:
    Model(path, *said)
    with pytest.raises(ValueError):
        qmp.ask(str(path), "query-block")


def test_nobody_is_waited_for_for_long(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qmp, "SECONDS", 0.2)
    with pytest.raises(FileNotFoundError):
        qmp.ask(str(path), "query-block")
    Model(path, [GREETING], [])
    with pytest.raises(OSError):
        qmp.ask(str(path), "query-block")
