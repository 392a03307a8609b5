"""The files that are written from the tables say what the tables say."""

from __future__ import annotations

import subprocess

import pytest

from dtcxen_soap import requests, settings
from dtcxen_soap.cli import legacy as cli_legacy
from dtcxen_soap.cli import main as cli
from dtcxen_soap.operations import OPERATIONS
from tools import documents, manpages


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


def test_the_pages_name_every_command_operation_and_parameter() -> None:
    page, service = manpages.dtcxen(), manpages.daemon()
    for name, command in manpages._commands(cli.parser()).items():
        assert f".SS dtcxen {manpages.roff(name)}\n" in page
        assert all(manpages.roff(option) in page for action in command._actions for option in action.option_strings if action.dest != "help")
    for row in OPERATIONS:
        assert row.help in page.replace("\\-", "-") and f".B {row.name}\n" in service and row.old_name in page and row.old_name in service
        assert all(f".BI {item.wire}= {item.type.name}\n" in page for item in requests.parameters(row.request, rpc=False))
    assert all(f".B {manpages.roff(command.name)} " in page for command in cli_legacy.COMMANDS)


@pytest.mark.machine
@pytest.mark.parametrize("page", ["dtc-xen.conf.5", "dtcxen.1", "dtcxen-soap.8"])
def test_man_reads_the_page_without_a_warning(page: str) -> None:
    done = subprocess.run(["groff", "-man", "-ww", "-z", str(documents.ROOT / "man" / page)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
