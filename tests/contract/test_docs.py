"""README and docs/ say what is there: commands that parse, settings that exist, links that lead somewhere, messages that the source says."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from dtcxen_soap import requests, settings
from dtcxen_soap.cli import legacy as cli_legacy
from dtcxen_soap.cli import main as cli
from dtcxen_soap.cli import monitoring as cli_monitoring
from dtcxen_soap.cli.console import UsageError
from dtcxen_soap.install import contract
from dtcxen_soap.operations import OPERATIONS, find
from tools import manpages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "README.md", *sorted(DOCS.glob("*.md")))}
SOURCE = sorted((ROOT / "dtcxen_soap").rglob("*.py"))
PARSE_PARAM = (ROOT / "dtcxen_soap/data/overlay/share/dtc-xen/dtc-xen-parse-param").read_text()
OVERLAY = {path.name for path in (ROOT / "dtcxen_soap/data/overlay/sbin").iterdir()}
CONSOLE = re.compile(r"(?:\$ )?(?:\S*/)?(dtcxen|check_dtcxen|dtc[_-][\w-]+)((?: .*)?)$")
ELLIPSIS = "..."


# -- commands -------------------------------------------------------------------------------------


def blocks(text: str) -> Iterator[str]:
    """The lines of fenced and of indented blocks, continued ones joined; a list's own continuation lines are no block."""
    fenced = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line.strip()


def command_lines() -> list[tuple[str, str]]:
    """Each page's lines that call one of our commands."""
    return [(name, line) for name, text in PAGES.items() for line in blocks(text) if CONSOLE.match(line) and not line.startswith("dtcxen: ")]


def is_usage(line: str) -> bool:
    """A line of a list of commands: what it is for stands behind blanks."""
    return "  " in line or "| bash" in line


def judge_usage(line: str) -> None:
    """The subcommands and options that a usage line names are there."""
    words = re.split(r" {2,}", line)[0].removeprefix("dtcxen ")
    parsers = manpages._commands(cli.parser())
    names = [re.split(r"[ \[]", part)[0] for part in words.split(" | ")]
    assert names and all(name in parsers for name in names), line
    known = {option for name in names for action in parsers[name]._actions for option in action.option_strings}
    assert set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", words)) <= known, line


def judge_dtcxen(line: str, words: list[str]) -> None:
    """A command line parses, and so do the operation and the parameters that it names."""
    words = [word for word in words if word != ELLIPSIS]
    if "--help" in words:
        assert words[0] in manpages._commands(cli.parser()) or words == ["--help"]
        words = [word for word in words if word != "--help"]
        if len(words) < 2:
            return
    options = cli._parse(words)
    if words[0] in ("call", "plan"):
        judge_operation(line, options)


def judge_operation(line: str, options: argparse.Namespace) -> None:
    form = find(options.operation, rpc=False)
    assert form, f"{line}: there is no operation {options.operation}"
    known = {name for old in (False, True) for item in requests.parameters(form.operation.request, old) if (name := item.name(old))}
    told = {value.partition("=")[0] for value in options.values}
    assert told <= known, f"{line}: {told - known} are no parameters"


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_every_command_line_parses(page: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = CONSOLE.match(line)
    assert found
    program, rest = found[1], found[2]
    try:
        if program == "dtcxen":
            judge_usage(line) if is_usage(line) else judge_dtcxen(line, shlex.split(rest))
        elif program == "check_dtcxen":
            cli_monitoring.parser().parse_args(shlex.split(rest))
        else:
            assert program in OVERLAY | {command.name for command in cli_legacy.COMMANDS}
    except (SystemExit, UsageError) as error:
        pytest.fail(f"{page}: {line}: {error} {capsys.readouterr().err}")


def test_commands_are_found_and_bad_ones_are_not_believed() -> None:
    assert len(command_lines()) > 60
    with pytest.raises((SystemExit, UsageError, AssertionError)):
        judge_dtcxen("", ["call", "--frobnicate", "listJobs"])
    with pytest.raises(AssertionError):
        judge_dtcxen("", ["call", "startVPS", "vpz=01"])
    with pytest.raises(AssertionError):
        judge_usage("dtcxen jobs [--colour]    what")


# -- settings -------------------------------------------------------------------------------------


@cache
def known_words() -> frozenset[str]:
    """Settings with their old names, and every name, keyword and whole text of the source."""
    found = {name for row in settings.TABLE for name in (row.name, *row.old)}
    for path in SOURCE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {node.value, *re.findall(r"[A-Za-z_0-9-]+", node.value)} if len(node.value) < 200 else set()
    return frozenset(found)


def spans(text: str) -> list[str]:
    """What stands between backticks, outside of blocks."""
    plain = re.sub(r"(?ms)^```.*?^```$", "", text)
    return re.findall(r"`([^`\n]+)`", plain)


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_is_named_exists(page: str) -> None:
    names = {row.name for row in settings.TABLE} | {name for row in settings.TABLE for name in row.old}
    section = PAGES[page].partition("## How it is built")[0]
    for span in spans(section):
        if given := re.fullmatch(r"([a-z][a-z0-9]*(?:_[a-z0-9]+)+)=(\S*)", span):
            assert given[1] in names, f"{page}: {span}"
        elif re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", span):
            assert span in names or span in known_words(), f"{page}: {span} is no setting, and nothing else that the source knows"


# -- links ----------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in re.findall(r"(?m)^#+ (.*)$", text)}


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        goal = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert goal.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(goal.read_text()), f"{page}: {target}"


def test_every_document_is_listed_at_both_doors() -> None:
    for path in DOCS.glob("*.md"):
        if path.name != "README.md":
            assert f"({path.name})" in PAGES["docs/README.md"] and f"(docs/{path.name})" in PAGES["README.md"], path.name


# -- messages -------------------------------------------------------------------------------------


@cache
def said() -> tuple[str, ...]:
    """Every text of the source, with ... where a value goes in."""
    found = []
    for path in SOURCE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(part.value) if isinstance(part, ast.Constant) else ELLIPSIS for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value.replace("{}", ELLIPSIS))
    return tuple(found)


def is_said(message: str) -> bool:
    """Whether a text of the source holds the message; what it has at its ends as ... may be anything."""
    return any(message in text for text in said()) or any(message.strip(". ") in text for text in said())


@pytest.mark.parametrize("message", re.findall(r"(?m)^> (.*)$", PAGES["docs/troubleshooting.md"]))
def test_every_message_is_one_that_the_source_says(message: str) -> None:
    assert is_said(message), message


def test_an_invented_message_is_not_said() -> None:
    assert not is_said("the flux capacitor is ... full")


# -- bundles and hooks ----------------------------------------------------------------------------


def test_every_variable_and_flag_of_a_bundle_script_is_documented() -> None:
    page = PAGES["docs/bundles.md"]
    taken = dict(re.findall(r"(?m)^\t(-\S+)\) (?:dtcxen_add_)?([A-Za-z0-9_]+)", PARSE_PARAM))
    cleared = re.findall(r"\b([A-Z][A-Z0-9_]*)=", PARSE_PARAM.partition("dtcxen_clear() {")[2].partition("}")[0])
    made = ("FSTAB_LVMNAME", "VPSNAME", "VPSHOSTNAME", "FW_PARAMS")
    assert len(taken) > 20 and len(cleared) > 25
    for word in (*taken, *cleared, *made):
        assert f"`{word}`" in page, word
    for flag, variable in taken.items():
        assert variable in ("nic", "nic6") or f"| `{flag}` | `{variable}` |" in page, flag
    assert all(f"`{script}`" in page for script in contract.SCRIPTS)


def test_every_variable_of_a_hook_is_documented() -> None:
    source = "".join((ROOT / "dtcxen_soap" / name).read_text() for name in ("hooks.py", "execute.py"))
    given = set(re.findall(r'"(DTCXEN_[A-Z_]+)"', source))
    assert len(given) == 6 and all(f"`{name}`" in PAGES["docs/hooks.md"] for name in given)


# -- operations -----------------------------------------------------------------------------------


def test_readme_names_every_operation_once() -> None:
    section = PAGES["README.md"].partition("\n## Operations\n")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("|")][2:]
    assert sorted(name.strip() for row in rows for name in row[2].split(",")) == sorted(operation.name for operation in OPERATIONS)


def test_every_fault_code_is_one_that_is_sent() -> None:
    codes = set(re.findall(r"`(?:Client|Server)\.(\w+)`", PAGES["docs/operations.md"]))
    assert len(codes) > 10
    for code in codes:
        assert code in said() or any(text.endswith(f".{code}") for text in said()), code
