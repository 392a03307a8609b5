"""Asks the device model of a domU: QMP over the socket that xl gives each one for statistics, beside its own.

Only questions are asked. Another program that asks at the same moment (xentop) is waited for, but
not for long. Sources: QMP's specification, xenstat's use of the same socket.
"""

from __future__ import annotations

import json
import socket
from typing import Any

SECONDS = 1.0
_LONGEST_LINE = 1 << 20


def ask(path: str, *questions: str) -> tuple[Any, ...]:
    """The answer to each question, in order. OSError when nobody answers in time, ValueError when it is no answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(SECONDS)
        connection.connect(path)
        with connection.makefile("rb") as lines:
            _line(lines)
            return tuple(_answer(connection, lines, question) for question in ("qmp_capabilities", *questions))[1:]


def _answer(connection: socket.socket, lines: Any, question: str) -> Any:
    """What comes back for one question; events that come between are nothing to us."""
    connection.sendall(json.dumps({"execute": question}).encode() + b"\r\n")
    while "event" in (line := _line(lines)):
        pass
    if "return" not in line:
        raise ValueError(f"no answer to {question}: {line}")
    return line["return"]


def _line(lines: Any) -> dict[str, Any]:
    text = lines.readline(_LONGEST_LINE)
    if not text.endswith(b"\n"):
        raise ConnectionError("the device model ended the connection, or says too much")
    line = json.loads(text)
    if not isinstance(line, dict):
        raise ValueError("this is not QMP")
    return line
