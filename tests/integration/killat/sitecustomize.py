"""For test_install_killed.py only: a Python that finds this first ends or fails at a chosen step of a job.

KILL_AT: it kills itself, as kill -9 would, when a job begins that step. FAIL_AT_FILE names a file
that holds the number of the step which fails, read anew for each step.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from dtcxen_soap import execute
from dtcxen_soap.errors import Failed
from dtcxen_soap.journal import Journal

_at = int(os.environ.get("KILL_AT", "0"))
_file = os.environ.get("FAIL_AT_FILE", "")
_step_started = Journal.step_started
_do = execute._Execution._do


def _watched(self: Journal, job: int, n: int, *more: Any) -> None:
    _step_started(self, job, n, *more)
    if n == _at:
        os.kill(os.getpid(), signal.SIGKILL)


def _failing(self: execute._Execution, step: Any, n: int, *more: Any) -> None:
    if n == int(Path(_file).read_text()):
        raise Failed(step.why, "made to fail")
    _do(self, step, n, *more)


if _at:
    Journal.step_started = _watched  # type: ignore[method-assign]
if _file:
    execute._Execution._do = _failing  # type: ignore[method-assign]
