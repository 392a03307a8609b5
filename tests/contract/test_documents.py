"""The files that are written from the tables say what the tables say."""

from __future__ import annotations

import subprocess

import pytest

from dtcxen_soap import settings
from tools import documents


@pytest.mark.parametrize("name", documents.documents())
def test_what_is_committed_is_what_is_written(name: str) -> None:
    assert (documents.ROOT / name).read_bytes() == documents.documents()[name], "make documents"


def test_the_man_page_names_every_setting_and_its_old_names() -> None:
    page = documents.man_page()
    for row in settings.TABLE:
        assert f".B {row.name}\n".replace("-", "\\-") in page
        assert all(old.replace("-", "\\-") in page for old in row.old)


@pytest.mark.parametrize(("text", "roff"), [(".dot first", "\\&.dot first"), ("'quote", "\\&'quote"), ("a-b", "a\\-b"), ("back\\slash", "back\\eslash")])
def test_troff_takes_text_literally(text: str, roff: str) -> None:
    assert documents._roff(text) == roff


@pytest.mark.machine
def test_man_reads_the_page_without_a_warning() -> None:
    done = subprocess.run(["groff", "-man", "-ww", "-z", str(documents.ROOT / "man/dtc-xen.conf.5")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
