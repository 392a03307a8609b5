"""Completion in a real bash, and in a real zsh: the words as typed, and what the shell would offer behind them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dtcxen_soap.cli import completion as cli_completion
from dtcxen_soap.cli import legacy as cli_legacy
from dtcxen_soap.cli.main import parser
from dtcxen_soap.operations import OPERATIONS, forms

pytestmark = pytest.mark.machine

# What bash does when TAB is pressed: COMP_WORDS as its own COMP_WORDBREAKS takes a line apart, then the function of the first word.
_TAB = r"""
source "$1"; shift
line="$1"
COMP_WORDS=()
for word in $line; do
    while [[ "$word" == *=* ]]; do COMP_WORDS+=("${word%%=*}" "="); word="${word#*=}"; done
    [ -n "$word" ] && COMP_WORDS+=("$word")
done
[[ "$line" == *" " || "$line" == *"=" ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
read -r _ _ function _ <<< "$(complete -p "${COMP_WORDS[0]}")"
"$function"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("completion") / "dtcxen"
    made.write_text(subprocess.run([sys.executable, "-m", "dtcxen_soap", "completion", "bash"], capture_output=True, text=True, check=True).stdout)
    return made


def offered(script: Path, line: str, where: Path | None = None) -> set[str]:
    done = subprocess.run(["bash", "--norc", "-c", _TAB, "bash", str(script), line], capture_output=True, text=True, cwd=where)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return set(done.stdout.split())


def test_bash_finds_no_fault_in_it(script: Path) -> None:
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("line", "words"), [
    ("dtcxen ca", {"call", "cancel"}), ("dtcxen completion ", {"bash", "zsh"}), ("dtcxen log -", {"-h", "--help", "-f", "--follow", "-n", "--lines", "--config", "--url", "--user",
     "--password-file", "--ca", "--cert"}),
    ("dtcxen call setupV", {"setupVPSDisk"}), ("dtcxen call --json setupV", {"setupVPSDisk"}), ("dtcxen call --user setupVPSDisk setupL", {"setupLVMDisks"}),
    ("dtcxen plan setupVPSDisk ", {"vps=", "diskSizeMib=", "swapSizeMib=", "imageType=", "planOnly="}),
    ("dtcxen call setupVPSDisk vps=01 sw", {"swapSizeMib="}), ("dtcxen call setupVPSDisk imageType=", {"lvm", "vbd"}), ("dtcxen call setupVPSDisk vps=01 imageType=v", {"vbd"}),
    ("dtcxen call reinstallOS planOnly=", {"true", "false"}), ("dtcxen call setupLVMDisks im", {"imagetype="}), ("dtcxen call nonesuch ", set()),
    ("dtcxen call reinstallOS vps=", set()),
    ("dtc_setup_vps_disk 01 2048 256 ", {"lvm", "vbd"}), ("dtc_setup_vps_disk --plan 01 2048 256 l", {"lvm"}), ("dtc_setup_vps_disk --config f 01 2048 256 l", {"lvm"}),
    ("dtc_setup_vps_disk 01 ", set()), ("dtc_change_bsd_kernel 01 64 ", {"normal", "install"}), ("dtc_reinstall_os -vpsid 01 --v",
     {"--vps-fqdn", "--vnc-pass", "--virt-type", "--vps-domain"}),
    ("dtc_reinstall_os --disk-type ", {"lvm", "vbd"}), ("dtc-xen-client https://n/ getVPSI", {"getVPSInstallLog"}), ("dtc_kill_vps_disk --pl", {"--plan"})])
def test_what_is_offered(script: Path, line: str, words: set[str]) -> None:
    assert offered(script, line) == words


def test_files_where_a_file_is_wanted(script: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    assert offered(script, "dtcxen serve --config s", tmp_path) == {"secret"}
    assert offered(script, "dtcxen call reinstallOS password=@s", tmp_path) == {"@secret"}
    assert offered(script, "dtc_kill_vps_disk --config s", tmp_path) == {"secret"}


def test_every_command_operation_and_parameter_is_there(script: Path) -> None:
    commands = next(action for action in parser()._actions if action.dest == "command" or hasattr(action, "choices") and action.choices).choices
    assert offered(script, "dtcxen ") == {*commands, "--help", "--version"}
    assert offered(script, "dtcxen call ") == {name for row in OPERATIONS for name in (row.name, row.old_name) if name}
    for form in forms(rpc=False):
        assert offered(script, f"dtcxen call {form.name} ") == {f"{item.name(form.old)}=" for item in form.parameters if not item.rpc_only}
    for command in cli_legacy.COMMANDS:
        offered(script, f"{command.name} ")


def test_a_word_with_a_quote_stays_a_word() -> None:
    made = cli_completion.script(parser()._subparsers._group_actions[0].choices, {"x": (("it's", "$(touch y)"),)})  # type: ignore[union-attr,arg-type]
    assert shlex.quote("it's $(touch y)") in made


def test_zsh_reads_it_too(tmp_path: Path) -> None:
    zsh = shutil.which("zsh")
    assert zsh, "tools/apt-test.txt and tools/chroot-packages.txt name it"
    made = tmp_path / "dtcxen.zsh"
    made.write_text(subprocess.run([sys.executable, "-m", "dtcxen_soap", "completion", "zsh"], capture_output=True, text=True, check=True).stdout)
    tab = f"source {made}; COMP_WORDS=(dtcxen call setupVPSDisk imageType=v); COMP_CWORD=3; emulate ksh -c 'setopt no_warn_create_global; _dtcxen'; print -l -- $COMPREPLY"
    done = subprocess.run([zsh, "-f", "-c", tab], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TERM": "dumb"})
    assert (done.stdout.split(), done.stderr) == (["imageType=lvm", "imageType=vbd"], ""), "zsh itself takes those that fit what was typed"
