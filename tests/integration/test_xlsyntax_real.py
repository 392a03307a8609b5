"""What we say xl refuses is what Xen's own parser (libxlutil) refuses."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dtcxen_soap.xen.xlsyntax import refused_lines
from tests.integration.test_xlconfig_real import LIBRARIES, Xl
from tests.unit.xen.test_xlsyntax import PYTHON, TAKEN

pytestmark = [pytest.mark.machine, pytest.mark.debian13, pytest.mark.skipif(not LIBRARIES, reason="libxlutil is not installed (Debian: libxenmisc4.17)")]
PARTS = ("name", "disk", "a.b_1", "X", "=", "+=", "==", "[", "]", ",", ";", "\n", "\n", " ", "\t", "#", "# c\n", "'x'", '"y"', "'", '"', "''", "1", "0x1f", "08", "1A", "-",
         "'\\n'", "'\\012'", "'\\x41'", "'a\\'b'", "(", ")", "{", "import os", "if x:", "é", "'é'", "\r\n", "%", "+", "\\\n", "\f")


def taken(text):
    """Whether xl reads it."""
    try:
        Xl(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("text", [*TAKEN, *PYTHON])
def test_known_files(text):
    assert taken(text) == (not refused_lines(text))


@given(st.lists(st.sampled_from(PARTS)).map("".join))
@example("name = 'a'\nname = 1 2\n")
def test_any_file_that_ends_with_a_line(text):
    assert taken(f"{text}\n") == (not refused_lines(f"{text}\n"))
