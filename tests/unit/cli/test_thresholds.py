"""Ranges, states and performance data: what the Monitoring Plugins guidelines say, and how others read it."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtcxen_soap.cli.thresholds import Figure, Range, State, judge, parse, performance_data

NUMBERS = st.one_of(st.integers(-10**6, 10**6).map(str), st.decimals(-10**4, 10**4, places=3).map(lambda number: f"{number:f}"))
VALUES = st.one_of(st.integers(-10**6, 10**6).map(float), st.floats(-10**6, 10**6))


@st.composite
def ranges(draw: st.DrawFn) -> str:
    """Any range that the guidelines' grammar allows, its start not after its end."""
    one, two = sorted((draw(NUMBERS), draw(NUMBERS)), key=float)
    positive = two if float(two) >= 0 else two.lstrip("-")
    return draw(st.sampled_from(("", "@"))) + draw(st.sampled_from((positive, f"{one}:", f"~:{two}", f"{one}:{two}", f":{positive}", "~:")))


@pytest.mark.parametrize(("text", "silent", "loud"), [  # the guidelines' own table, with values at and beside each end
    ("10", (0, 5, 10), (-1, -0.001, 10.001, 11)),
    ("10:", (10, 11, 1e12), (9.999, 0, -5)),
    ("~:10", (10, 0, -1e12), (10.001, 11)),
    ("10:20", (10, 15, 20), (9.999, 20.001)),
    ("@10:20", (9.999, 20.001), (10, 15, 20)),
    ("0", (0,), (1, -1)), ("-5:-1.5", (-5, -2, -1.5), (-1, -6)), ("~:", (0, -1e12, 1e12), ()), ("@0", (1, -1), (0,)), (":7", (0, 7), (-1, 8))])
def test_the_guidelines_examples(text: str, silent: tuple[float, ...], loud: tuple[float, ...]) -> None:
    threshold = parse(text)
    assert not any(threshold.alerts(value) for value in silent) and all(threshold.alerts(value) for value in loud)


@pytest.mark.parametrize("text", [
    "", "@", ":", "@:", "~", "@~", "10:~", "20:10", "1:2:3", "10 ", " 10", "1e3", "nan", "inf", "~:inf", "0x10", "1,5", "10:x", "@@1", "--1", "+1", "\u0661", "-1", "1" * 65])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a range"):
        parse(text)


@given(ranges(), VALUES)
def test_a_range_means_what_it_says(text: str, value: float) -> None:
    """Against a reading of our own that shares nothing with the parser."""
    body = text.removeprefix("@")
    start, colon, end = body.partition(":")
    if not colon:
        start, end = "0", body
    above = start == "~" or value >= float(start or "0")
    below = end == "" or value <= float(end)
    assert parse(text).alerts(value) is ((above and below) is text.startswith("@"))
    assert parse(text).text == text


@given(st.text(alphabet="@~:-.0123456789 e", max_size=12))
def test_what_is_read_is_of_the_grammar(text: str) -> None:
    try:
        threshold = parse(text)
    except ValueError:
        return
    assert threshold.start <= threshold.end and not math.isnan(threshold.start + threshold.end) or threshold.start == -math.inf
    assert re.fullmatch(r"@?((~|-?[\d.]+)?:)?(-?[\d.]+)?", text)


@pytest.mark.machine
@pytest.mark.debian13
@given(ranges(), VALUES)
def test_nagiosplugin_reads_ranges_as_we_do(text: str, value: float) -> None:
    nagiosplugin = pytest.importorskip("nagiosplugin")
    assert parse(text).alerts(value) is not nagiosplugin.Range(text).match(value)


def test_the_gravest_of_what_is_judged_counts() -> None:
    low, high = Figure("a", 5), Figure("b", 50)
    assert judge((low, high), parse("10"), parse("40")) is State.CRITICAL
    assert judge((low, high), parse("10"), parse("60")) is State.WARNING
    assert judge((low, Figure("b", 50, judged=False)), parse("10"), parse("40")) is State.OK
    assert judge((low, high), None, None) is State.OK and judge((), parse("0"), parse("0")) is State.OK


def test_states_are_the_guidelines_codes() -> None:
    assert [(state.name, int(state)) for state in State] == [("OK", 0), ("WARNING", 1), ("CRITICAL", 2), ("UNKNOWN", 3)]


@pytest.mark.parametrize(("figure", "told"), [
    (Figure("time", 0.01234567, "s", most=10), "time=0.012346s;1;~:5;0;10"),
    (Figure("/srv/a b", 4096, "MB"), "'/srv/a b'=4096MB;1;~:5;0"),
    (Figure("it's=|", 1, least=None), "'it''s__'=1;1;~:5"),
    (Figure("rtt", 0, "s", judged=False), "rtt=0s;;;0"),
    (Figure("days", -3.5, least=None, judged=False), "days=-3.5"),
    (Figure("tiny", 1e-9), "tiny=0;1;~:5;0"), (Figure("huge", 1e15), "huge=1000000000000000;1;~:5;0"), (Figure("minus", -1e-9), "minus=0;1;~:5;0")])
def test_performance_data(figure: Figure, told: str) -> None:
    assert performance_data((figure,), parse("1"), parse("~:5")) == told


LABEL = r"(?:[\w.-]+|'(?:[^'=|]|'')+')"
DATUM = re.compile(rf"{LABEL}=-?[0-9]+(\.[0-9]+)?(s|MB)?(;[@~:0-9.-]*){{0,2}}(;[0-9.-]*){{0,2}}")


@given(st.text(min_size=1, max_size=20), VALUES, st.sampled_from(("", "s", "MB")), ranges())
def test_performance_data_is_of_the_guidelines_form(label: str, value: float, unit: str, text: str) -> None:
    told = performance_data((Figure(label, value, unit),), parse(text), None)
    assert DATUM.fullmatch(told), told


@pytest.mark.machine
@pytest.mark.debian13
@pytest.mark.parametrize("text", ["10", "10:", "~:10", "10:20", "@10:20"])
def test_nagiosplugin_writes_ranges_that_we_read(text: str) -> None:
    nagiosplugin = pytest.importorskip("nagiosplugin")
    assert isinstance(parse(str(nagiosplugin.Range(text))), Range)
