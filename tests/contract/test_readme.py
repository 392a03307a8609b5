"""README's table of operations says what the catalogue does: every operation, its old name, and who may call it."""

from __future__ import annotations

import re
from pathlib import Path

from dtcxen_soap.access import Access
from dtcxen_soap.operations import OPERATIONS

README = Path(__file__).parents[2] / "README.md"
HEAD = ["operation", "the panel's name", "who may call it", "what it does"]
WHO = {
    Access.ADMIN: "admin", Access.OWNER: "admin, owner", Access.READ_OWN: "admin, monitor, owner", Access.READ_ALL: "admin, monitor", Access.ANYONE: "anyone"}
Row = tuple[str, str, str]


def rows() -> list[list[str]]:
    """The table's rows below its head, cell by cell."""
    section = README.read_text().partition("\n## Operations\n")[2].partition("\n## ")[0]
    head, _, *others = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    assert head == HEAD
    return others


def told() -> list[Row]:
    """Each operation that README names, with the old name and the callers that stand in its row."""
    found = []
    for row in rows():
        assert len(row) == len(HEAD), f"{row}: one cell too many or too few"
        names, old, who, _ = ([word.strip() for word in cell.split(",")] for cell in row)
        of_old = names if old == ["the same"] else old * len(names) if old == [""] else old
        found += [(name, old_name, ", ".join(who)) for name, old_name in zip(names, of_old, strict=True)]
    return found


def test_every_operation_stands_there_once_with_its_old_name_and_its_callers() -> None:
    assert sorted(told()) == sorted((operation.name, operation.old_name, WHO[operation.access]) for operation in OPERATIONS)


def test_every_row_says_what_the_operation_does() -> None:
    assert all(re.search(r"\w{3}", row[3]) for row in rows())
