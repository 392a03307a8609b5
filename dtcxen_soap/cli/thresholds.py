"""Ranges, figures and states as the Monitoring Plugins guidelines have them: what alerts, and how it is written.

A range is [@]start:end. A value outside of it alerts, with @ one inside; both ends belong to it.
"start:" has no upper end, "~:end" no lower one, "end" begins at 0. Source: the guidelines'
"Threshold and Ranges", "Performance data" and "Plugin Return Codes".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

_NUMBER = r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_RANGE = re.compile(rf"(?P<inside>@)?(?:(?P<start>~|{_NUMBER})?(?P<colon>:))?(?P<end>{_NUMBER})?", re.ASCII)
_LONGEST = 64


class State(IntEnum):
    """A plugin's exit codes."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True)
class Range:
    """A threshold; `text` is how it was given, and how performance data tell it."""

    start: float
    end: float
    inside: bool
    text: str

    def alerts(self, value: float) -> bool:
        """Whether this value is one to be told of."""
        return (self.start <= value <= self.end) is self.inside


def parse(text: str) -> Range:
    """A range of a command line; ValueError says what is wrong with it."""
    match = _RANGE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or (match["start"] is None and match["end"] is None):
        raise ValueError(f"{text[:_LONGEST]!r} is not a range, expected [@][start:][end] as 10, 10:, ~:10, 10:20 or @10:20")
    start = -math.inf if match["start"] == "~" else float(match["start"] or 0)
    end = math.inf if match["end"] is None else float(match["end"])
    if start > end:
        raise ValueError(f"{text!r} is not a range: it begins after its end")
    return Range(start, end, bool(match["inside"]), text)


@dataclass(frozen=True)
class Figure:
    """One measured value. `unit` is one of the guidelines' (s, MB, %, c or none); only what is `judged` is held to the thresholds."""

    label: str
    value: float
    unit: str = ""
    least: float | None = 0
    most: float | None = None
    judged: bool = True


def judge(figures: Iterable[Figure], warning: Range | None, critical: Range | None) -> State:
    """The gravest state of all figures that are judged."""
    values = [figure.value for figure in figures if figure.judged]
    for threshold, state in ((critical, State.CRITICAL), (warning, State.WARNING)):
        if threshold and any(threshold.alerts(value) for value in values):
            return state
    return State.OK


def performance_data(figures: Iterable[Figure], warning: Range | None, critical: Range | None) -> str:
    """'label'=value[unit];[warn];[crit];[min];[max] of each, without empty fields at its end."""
    return " ".join(_performance(figure, warning, critical) for figure in figures)


def _performance(figure: Figure, warning: Range | None, critical: Range | None) -> str:
    thresholds = [threshold.text if threshold and figure.judged else "" for threshold in (warning, critical)]
    bounds = ["" if bound is None else _number(bound) for bound in (figure.least, figure.most)]
    label = re.sub(r"[=|\x00-\x1f\x7f]|[^\S ]", "_", figure.label).replace("'", "''")
    quoted = label if re.fullmatch(r"[\w.-]+", label, re.ASCII) else f"'{label}'"
    return ";".join([f"{quoted}={_number(figure.value)}{figure.unit}", *thresholds, *bounds]).rstrip(";")


def _number(value: float) -> str:
    """Digits and a point only: neither exponents nor more than six places."""
    return f"{round(value, 6) + 0.0:.6f}".rstrip("0").rstrip(".")
