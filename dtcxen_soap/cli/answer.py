"""An answer as a person reads it: a name and a value per line, rows of records as a table."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 10_000
_STYLES = {"running": "green", "failed": "red", "cancelled": "yellow", "interrupted": "red", "mkos": "yellow", "fsck": "yellow", "rescue": "yellow"}
"""Colours of the words that a state may be, where there are colours."""


def show(answer: Any) -> None:
    """Print to standard output: plain text when that is no terminal, so that it can be searched."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDE, soft_wrap=True)
    if not isinstance(answer, dict):
        console.print(Text(text(answer)))
        return
    members = [(name, value) for name, value in answer.items() if value is not None and value != []]
    if len(members) == 1 and not isinstance(members[0][1], list):
        console.print(Text(text(members[0][1])))
        return
    for name, value in members:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            _print(console, _table(value))
        elif isinstance(value, list):
            label = f"{name}: " if len(members) > 1 else ""
            for item in value:
                console.print(Text(label + text(item)))
        else:
            console.print(Text(f"{name}: {text(value)}"))


def _print(console: Console, table: Table) -> None:
    """Without blanks at the ends of lines where no terminal cuts them."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.print(Text(line.rstrip()))


def _table(rows: list[dict[str, Any]]) -> Table:
    """Columns that no row fills are left out."""
    names = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)]
    made = Table(box=None, pad_edge=False, show_edge=False)
    for name in names:
        made.add_column(Text(name), overflow="fold")
    for row in rows:
        made.add_row(*(Text(text(row[name]), _STYLES.get(text(row[name]), "") if name == "state" else "") for name in names))
    return made


def text(value: Any) -> str:
    """One value: times to the second, yes and no, nothing for none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds").removesuffix("+00:00")
    return str(value)
