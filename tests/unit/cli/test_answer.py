"""What an answer looks like where no terminal is."""

from __future__ import annotations

import pytest

from dtcxen_soap.cli import answer


def test_a_table_ends_where_its_words_end(capsys: pytest.CaptureFixture[str]) -> None:
    answer.show({"jobs": [{"id": 1, "state": "failed", "reason": "x" * 200}, {"id": 22, "state": "done", "reason": ""}]})
    assert capsys.readouterr().out == "id  state   reason\n1   failed  " + "x" * 200 + "\n22  done\n"
