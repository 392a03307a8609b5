"""For tests/twonodes.py only: a Python that finds this first looks for programs in NODE_BIN before all else, and dies or fails where a test says so.

KILL_AT: the daemon kills itself, as kill -9 would, when a job begins that step. NODE_BIN/kill-receiver holds "WORD before" or "WORD
after": the receiver kills itself when it is asked for that, once; a third word is a file that it makes first. NODE_BIN/kill-inside holds "before" or
"after": within the commit, which is on disk then. Of a guest that never boots (`no-boot`) a boot is watched for three seconds; settings have at least ten.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

_bin = os.environ.get("NODE_BIN", "")
_at = int(os.environ.get("KILL_AT", "0"))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _once(name: str) -> str:
    path = Path(_bin) / name
    return path.read_text().strip() if path.exists() else ""


if _bin:
    from dtcxen_soap import movepeer, processes

    processes.PATH = f"{_bin}:{processes.PATH}"
    processes.CLEAN_ENVIRONMENT["PATH"] = processes.PATH
    movepeer.FIRST_WAIT = movepeer.LONGEST_WAIT = 0.1
    from dtcxen_soap import receiver

    _answer, _name = receiver.Receiver._answer, receiver.Receiver._name

    def _killed(self: Any, header: Any) -> None:
        word, when, *more = _once("kill-receiver").split() or ("", "")
        here = word == header.get("do")
        if here:
            (Path(_bin) / "kill-receiver").unlink()
            for path in more:
                Path(path).touch()
        if here and when == "before":
            _die()
        _answer(self, header)
        if here:
            _die()

    def _half(self: Any, record: Any) -> None:
        when = _once("kill-inside")
        (Path(_bin) / "kill-inside").unlink(missing_ok=True)
        if when == "before":
            _die()
        _name(self, record)
        if when:
            _die()

    def _hurried(**words: Any) -> Any:
        return _watch_boot(**{**words, "seconds": 3 if (Path(_bin) / "no-boot").exists() else words["seconds"]})

    _watch_boot = receiver.WatchBoot
    receiver.WatchBoot = _hurried  # type: ignore[assignment, misc]
    receiver.Receiver._answer = _killed  # type: ignore[method-assign]
    receiver.Receiver._name = _half  # type: ignore[method-assign]

if _at:
    from dtcxen_soap.journal import Journal

    _step_started = Journal.step_started

    def _watched(self: Journal, job: int, n: int, *more: Any) -> None:
        _step_started(self, job, n, *more)
        if n == _at:
            _die()

    Journal.step_started = _watched  # type: ignore[method-assign]
