"""The daemon's log lines, for journald and for people."""

from __future__ import annotations

import logging
import sys

import pytest

from dtcxen_soap.daemonlog import Lines


def record(level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord("x", level, "x.py", 1, text, (), None)


@pytest.mark.parametrize(("level", "prefix"), [(logging.DEBUG, "<7>"), (logging.INFO, "<6>"), (logging.WARNING, "<4>"), (logging.ERROR, "<3>"), (logging.CRITICAL, "<3>")])
def test_every_line_has_its_priority(level: int, prefix: str) -> None:
    assert Lines(for_terminal=False).format(record(level, "one\ntwo")) == f"{prefix}one\n{prefix}two"


def test_a_traceback_has_one_on_each_line() -> None:
    failed = record(logging.ERROR, "broken")
    try:
        raise KeyError("x")
    except KeyError:
        failed.exc_info = sys.exc_info()
    lines = Lines(for_terminal=False).format(failed).splitlines()
    assert len(lines) > 2 and all(line.startswith("<3>") for line in lines)


def test_people_get_a_time_instead() -> None:
    assert Lines(for_terminal=True).format(record(logging.INFO, "one")).endswith(" INFO one")
