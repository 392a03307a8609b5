"""The daemon's log on standard error, with journald's priorities where no human reads along."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from twisted.logger import STDLibLogObserver, globalLogBeginner

_PRIORITIES = ((logging.ERROR, "<3>"), (logging.WARNING, "<4>"), (logging.INFO, "<6>"), (logging.NOTSET, "<7>"))


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
        priority = next(prefix for level, prefix in _PRIORITIES if record.levelno >= level)
        return "\n".join(priority + line for line in text.splitlines() or [""])


def begin(level: str, stream: TextIO | None = None) -> None:
    """Send all logs, Twisted's too, to `stream` (standard error); nothing less important than `level`."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines(stream.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    logging.getLogger("twisted").setLevel(logging.WARNING)
    globalLogBeginner.beginLoggingTo([STDLibLogObserver()], redirectStandardIO=False)


def set_level(level: str) -> None:
    """Log what is at least this important: debug, info, warning or error."""
    logging.getLogger().setLevel(level.upper())
