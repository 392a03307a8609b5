"""The daemon's log: to systemd's journal with fields, else on standard error, with journald's priorities where no human reads along."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

from twisted.logger import STDLibLogObserver, globalLogBeginner

from dtcxen_soap import journald, logfields

_PRIORITIES = ((logging.ERROR, "3"), (logging.WARNING, "4"), (logging.INFO, "6"), (logging.NOTSET, "7"))
_IDENTIFIER = "dtcxen-soap"


def _priority(record: logging.LogRecord) -> str:
    """Syslog's number for its level."""
    return next(number for level, number in _PRIORITIES if record.levelno >= level)


class Lines(logging.Formatter):
    """One record as lines that each carry their priority, or a time where a terminal shows them."""

    def __init__(self, for_terminal: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s" if for_terminal else "%(message)s")
        self._for_terminal = for_terminal

    def format(self, record: logging.LogRecord) -> str:
        """A traceback's lines too: journald takes each line for a message of its own."""
        text = super().format(record)
        if self._for_terminal:
            return text
        prefix = f"<{_priority(record)}>"
        return "\n".join(prefix + line for line in text.splitlines() or [""])


class Entries(logging.Handler):
    """A record as an entry of systemd's journal; what that does not take goes to `otherwise`."""

    def __init__(self, journal: journald.Journald, otherwise: logging.Handler) -> None:
        super().__init__()
        self._journal, self._otherwise = journal, otherwise
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """A traceback is one entry with its message; priority and place are fields."""
        fields = {
            "MESSAGE": self.format(record), "PRIORITY": _priority(record), "SYSLOG_IDENTIFIER": _IDENTIFIER,
            "CODE_FILE": record.pathname, "CODE_LINE": str(record.lineno), "CODE_FUNC": record.funcName or "",
            **getattr(record, logfields.ATTRIBUTE, {})}
        try:
            self._journal.send(fields)
        except OSError:
            self._otherwise.handle(record)


def begin(level: str, stream: TextIO | None = None) -> None:
    """Send all logs, Twisted's too, to `stream` (standard error), or to the journal that it leads to; nothing less important than `level`."""
    stream = stream or sys.stderr
    root = logging.getLogger()
    root.handlers[:] = [_handler(stream)]
    set_level(level)
    logging.getLogger("twisted").setLevel(logging.WARNING)
    logging.getLogger(logfields.AUDIT).setLevel(logging.INFO)
    globalLogBeginner.beginLoggingTo([STDLibLogObserver()], redirectStandardIO=False)


def _handler(stream: TextIO) -> logging.Handler:
    lines = logging.StreamHandler(stream)
    lines.setFormatter(Lines(stream.isatty()))
    if not journald.is_where_it_goes(_number(stream), os.environ):
        return lines
    return Entries(journald.Journald(), lines)


def _number(stream: TextIO) -> int:
    """Its file descriptor; -1 for a stream that is no file."""
    try:
        return stream.fileno()
    except OSError:
        return -1


def set_level(level: str) -> None:
    """Log what is at least this important: debug, info, warning or error. Audited calls are logged whatever this says."""
    logging.getLogger().setLevel(level.upper())
