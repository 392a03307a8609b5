"""Lines of what commands say: cut right, secrets out, nothing that a terminal would obey."""

from __future__ import annotations

import pytest

from dtcxen_soap.output import Lines, Redactor
from dtcxen_soap.vps import Secret


def said(*chunks: bytes, secrets: tuple[str, ...] = ()) -> list[str]:
    lines: list[str] = []
    cutter = Lines(Redactor([Secret(secret) for secret in secrets] + ["not a secret"]), lines.append)
    for chunk in chunks:
        cutter.feed(chunk)
    cutter.end()
    return lines


@pytest.mark.parametrize(("chunks", "lines"), [
    ((b"a\nb\n",), ["a", "b"]),
    ((b"a", b"b\nc"), ["ab", "c"]),
    ((b"10%\r20%\r", b"30%\n"), ["10%", "20%", "30%"]),
    ((b"dos\r", b"\nline\r\n"), ["dos", "line"]),
    ((b"caf\xc3", b"\xa9\n\xff\n"), ["café", "\ufffd"]),
    ((b"\x1b[31mred\x1b[0m \x07bell\ttab\n",), ["red bell\ttab"]),
    ((b"not a secret\n",), ["not a secret"]),
])
def test_lines(chunks: tuple[bytes, ...], lines: list[str]) -> None:
    assert said(*chunks) == lines


@pytest.mark.parametrize("line", ["hunter2", "password hunter2!", "root:hunter2", "'it s' hunter2"])
def test_secrets_are_taken_out_in_every_form(line: str) -> None:
    assert "hunter2" not in said(f"{line}\n".encode(), secrets=("root:hunter2\n",))[0]


def test_quoted_and_many_lined_secrets_are_taken_out() -> None:
    assert said(b"PW='it'\"'\"'s it'\n", secrets=("it's it",)) == ["PW=(redacted)"]
    assert said(b"-----KEY-----\nAAAABBBB\nelse\n", secrets=("-----KEY-----\nAAAABBBB\n",)) == ["(redacted)", "(redacted)", "else"]


@pytest.mark.parametrize("before", [16_380, 16_384, 16_390, 32_760])
def test_an_endless_line_is_cut_but_never_through_a_secret(before: int) -> None:
    lines = said(b"x" * before + b"hun", b"ter2" + b"y" * 40_000, secrets=("hunter2",))
    assert "".join(lines) == "x" * before + "(redacted)" + "y" * 40_000
    assert len(lines) > 1


def test_only_the_last_64_kib_are_kept() -> None:
    cutter = Lines(Redactor([]), lambda line: None)
    for number in range(20_000):
        cutter.feed(f"line {number}\n".encode())
    assert sum(map(len, cutter._tail)) < 65 << 10
    tail = cutter.end()
    assert tail.endswith("line 19998\nline 19999\n") and 60 << 10 < len(tail) <= 64 << 10
