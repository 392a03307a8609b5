"""Which lines of an old configuration xl will not read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtcxen_soap.xen.xlsyntax import refused_lines

TAKEN = (
    "", "\n", "# only words\n", "name = 'xen01'\nmemory = 512 # MiB\n", "a = 1; b = \"2\"\n;\n", "memory = 0x20\nvcpus = 08\n", "extra += 'x'\n", "a=''",
    "disk = [ 'phy:/dev/vg/xen01,xvda,w',\n  # swap\n 'phy:/dev/vg/xen01swap,xvdb,w', ]\n", "vif = []\nlists = [ [ 1, '2' ], [\n] ]\n", "a = 'it\\'s \\\\ \\012'\n")
PYTHON = (
    "import os\n", "name = 'xen' + '01'\n", "memory = 256 * 2\n", "disk = ('a', 'b')\n", "x = None\n", "def f():\n  return 1\n", "if 1:\n  name = 'a'\n", "name = '''a'''\n",
    "a = 'b' 'c'\n", "a = -1\n", "a = 1.5\n", "Memory = 5\n", "name = 'a'\r\n", "disk = [ 'a'\n", "print name\n", "a =\n", "a = [,]\n", "a = ['b',,]\n", "name = 'a' # no end")


@pytest.mark.parametrize("text", TAKEN)
def test_what_xl_takes(text: str) -> None:
    assert refused_lines(text) == ()


@pytest.mark.parametrize("text", PYTHON)
def test_what_xl_refuses(text: str) -> None:
    assert refused_lines(text)


def test_each_line_is_named_and_the_good_ones_between_are_not() -> None:
    assert refused_lines("import os\nname = 'a'\narch = os.uname()[4]\nif arch:\n    memory = 5\ndisk = [ 'a',\n 'b' + 'c' ]\nvcpus = 1\n") == (1, 3, 4, 7)


@given(st.text() | st.text("a='\"[],;\n#+\\1 "))
def test_any_text_is_read_to_its_end(text: str) -> None:
    lines = refused_lines(text)
    assert all(1 <= number <= text.count("\n") + 1 for number in lines) and list(lines) == sorted(set(lines))
