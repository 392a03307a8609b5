"""`dtcxen completion bash`: what a shell needs to complete our words, made of the same tables as the commands themselves.

The script asks nobody: names, options and words to choose from are written into it; the VPSes and
ISOs of a node are not known to it. zsh reads it through its own emulation of bash's completion.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from typing import Any

from dtcxen_soap import requests, settings
from dtcxen_soap.cli.console import OK, say
from dtcxen_soap.operations import forms
from dtcxen_soap.requests import Parameter

_EXAMPLES = """\
examples:
  dtcxen completion bash > /etc/bash_completion.d/dtcxen
  source <(dtcxen completion bash)
  source <(dtcxen completion zsh)"""
_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"

Commands = dict[str, argparse.ArgumentParser]
Originals = dict[str, tuple[tuple[str, ...], ...]]
"""Per name of the original's the words that may stand at each place; one place for all: flags."""


def add_to(commands: Any) -> None:
    """The subcommand."""
    command = commands.add_parser(
        "completion", help="print what a shell needs to complete these words", description="Print a script with which a shell completes our words.", epilog=_EXAMPLES)
    command.add_argument("shell", metavar="SHELL", choices=("bash", "zsh"), help="bash or zsh")
    command.set_defaults(run=run, commands=commands)


def run(options: argparse.Namespace) -> int:
    """Print it."""
    from dtcxen_soap.cli import legacy as cli_legacy
    say(script(options.commands.choices, cli_legacy.completions(), options.shell).rstrip())
    return OK


def script(commands: Commands, originals: Originals, shell: str = "bash") -> str:
    """The whole script."""
    return (_ZSH if shell == "zsh" else "") + _SCRIPT.format(
        names=" ".join(commands), options=_cases(_options(commands)), files="|".join(sorted(set(_files(commands)))), choices=_cases(_choices(commands)),
        operations=" ".join(form.name for form in forms(rpc=False)), parameters=_cases(_parameters()), values=_cases(_values()), originals=_original_cases(originals),
        names_of_originals=" ".join(originals))


def _cases(rows: Iterator[tuple[str, str]]) -> str:
    """Branches of a case: the pattern, and the words that it offers."""
    return "\n".join(f"        {pattern}) echo {shlex.quote(words)} ;;" for pattern, words in rows)


def _options(commands: Commands) -> Iterator[tuple[str, str]]:
    for name, command in commands.items():
        yield name, " ".join(option for action in command._actions for option in action.option_strings)


def _files(commands: Commands) -> Iterator[str]:
    """Options whose value is a file or a directory."""
    return (option for command in commands.values() for action in command._actions if action.metavar in ("FILE", "DIR", "F") for option in action.option_strings)


def _choices(commands: Commands) -> Iterator[tuple[str, str]]:
    """Commands whose one word is chosen from a few."""
    return ((name, " ".join(map(str, action.choices))) for name, command in commands.items() for action in command._actions if action.choices and not action.option_strings)


def _parameters() -> Iterator[tuple[str, str]]:
    for form in forms(rpc=False):
        names = [item.name(form.old) for item in _of(form.operation.request, form.old)]
        if names:
            yield form.name, " ".join(f"{name}=" for name in names)


def _values() -> Iterator[tuple[str, str]]:
    """Words that a parameter may be, by operation and name; the limits are those of default settings."""
    plain = settings.defaults()
    for form in forms(rpc=False):
        for item in _of(form.operation.request, form.old):
            words = [word for word in item.type.facets(plain).choices if not re.fullmatch("[01]", word)]
            if words:
                yield f"{form.name}:{item.name(form.old)}", " ".join(words)


def _of(request: type[requests.Request], old: bool) -> tuple[Parameter, ...]:
    return requests.parameters(request, old, rpc=False)


def _original_cases(originals: Originals) -> str:
    def rows() -> Iterator[tuple[str, str]]:
        for name, places in originals.items():
            for number, words in enumerate(places, 1):
                if words:
                    yield f"{name}:{number if len(places) > 1 else '*'}", " ".join(words)
    return _cases(rows())


_SCRIPT = """\
# Written by `dtcxen completion`: completion of dtcxen and of the original's commands, for bash, and for zsh by bashcompinit.

_dtcxen_options() {{
    case "$1" in
{options}
    esac
}}

_dtcxen_choices() {{
    case "$1" in
{choices}
    esac
}}

_dtcxen_parameters() {{
    case "$1" in
{parameters}
    esac
}}

_dtcxen_values() {{
    case "$1" in
{values}
    esac
}}

_dtcxen_original_words() {{
    case "$1" in
{originals}
    esac
}}

# The words up to the cursor, name=value put together again where the shell took it apart.
_dtcxen_read() {{
    _dtcxen_words=()
    local glue="" word position
    for ((position = 0; position <= COMP_CWORD; position++)); do
        word="${{COMP_WORDS[position]}}"
        if [ "$word" = "=" ] && [ "${{#_dtcxen_words[@]}}" -gt 0 ]; then
            _dtcxen_words[${{#_dtcxen_words[@]}}-1]+="="
            glue=1
        elif [ -n "$glue" ]; then
            _dtcxen_words[${{#_dtcxen_words[@]}}-1]+="$word"
            glue=""
        else
            _dtcxen_words+=("$word")
        fi
    done
}}

_dtcxen_offer() {{
    COMPREPLY=($(compgen -W "$1" -- "$2"))
    if [ "${{#COMPREPLY[@]}}" -gt 0 ] && [ "${{COMPREPLY[0]: -1}}" = "=" ]; then
        compopt -o nospace 2> /dev/null
    fi
    return 0
}}

# A value behind name=: the shell replaces what follows the = only. A file follows @.
_dtcxen_offer_value() {{
    local given="${{3#*=}}"
    case "$given" in
        @*) COMPREPLY=($(compgen -P @ -f -- "${{given#@}}")) ;;
        *) _dtcxen_offer "$(_dtcxen_values "$1:$2")" "$given" ;;
    esac
    if [ "${{COMP_WORDBREAKS/=/}}" = "$COMP_WORDBREAKS" ]; then
        COMPREPLY=("${{COMPREPLY[@]/#/$2=}}")
    fi
}}

_dtcxen() {{
    local _dtcxen_words command="" operation="" word last before position
    _dtcxen_read
    COMPREPLY=()
    last="${{_dtcxen_words[${{#_dtcxen_words[@]}}-1]}}"
    before="${{_dtcxen_words[${{#_dtcxen_words[@]}}-2]}}"
    for ((position = 1; position < ${{#_dtcxen_words[@]}} - 1; position++)); do
        word="${{_dtcxen_words[position]}}"
        case "${{_dtcxen_words[position-1]}}" in
            {files}|--url|--user|--limit|--lines|--port|-n) continue ;;
        esac
        case "$word" in
            -*|*=*) ;;
            *) if [ -z "$command" ]; then command="$word"; elif [ -z "$operation" ]; then operation="$word"; fi ;;
        esac
    done
    case "$before" in
        {files}) COMPREPLY=($(compgen -f -- "$last")); compopt -o filenames 2> /dev/null; return 0 ;;
    esac
    if [ -z "$command" ]; then
        _dtcxen_offer "{names} --help --version" "$last"
    elif [ "${{last:0:1}}" = "-" ]; then
        _dtcxen_offer "$(_dtcxen_options "$command")" "$last"
    elif [ "$command" = call ] || [ "$command" = plan ]; then
        case "$operation:$last" in
            :*) _dtcxen_offer "{operations}" "$last" ;;
            *=*) _dtcxen_offer_value "$operation" "${{last%%=*}}" "$last" ;;
            *) _dtcxen_offer "$(_dtcxen_parameters "$operation")" "$last" ;;
        esac
    elif [ -z "$operation" ]; then
        _dtcxen_offer "$(_dtcxen_choices "$command")" "$last"
    fi
    return 0
}}

_dtcxen_original() {{
    local last="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" name="${{COMP_WORDS[0]##*/}}" place="$COMP_CWORD" position
    COMPREPLY=()
    for ((position = 1; position < COMP_CWORD; position++)); do
        case "${{COMP_WORDS[position]}}" in
            --plan) place=$((place - 1)) ;;
            --config|--ca|--password-file) place=$((place - 2)); position=$((position + 1)) ;;
            *) break ;;
        esac
    done
    case "$before" in
        --config|--ca|--password-file) COMPREPLY=($(compgen -f -- "$last")); return 0 ;;
        --disk-type) _dtcxen_offer "lvm vbd" "$last"; return 0 ;;
    esac
    _dtcxen_offer "$(_dtcxen_original_words "$name:$place")" "$last"
}}

complete -F _dtcxen dtcxen
complete -F _dtcxen_original {names_of_originals}
"""
