"""`dtcxen doctor`: what an upgrade from the original dtc-xen finds on this node, and what its machine lacks. Reads only."""

from __future__ import annotations

import argparse
import json
import logging
import os
from typing import Any

from dtcxen_soap import settings
from dtcxen_soap.cli.console import CONFIG, FAILED, OK, UsageError, complain, remark, say
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import Misconfigured
from dtcxen_soap.settings import Settings
from dtcxen_soap.survey import machine as survey_machine
from dtcxen_soap.survey import upgrade as survey_upgrade
from dtcxen_soap.upgrade import report
from dtcxen_soap.upgrade.finding import Finding, Severity, counted
from dtcxen_soap.upgradefacts import FoundText

_EXAMPLES = """\
examples:
  dtcxen doctor
  dtcxen doctor --json
  dtcxen doctor --root /mnt/old-node

Each finding says what was found, where, whether it is taken over or left as it is, and the command that mends it.
Nothing is changed, and none of the commands is run. Exit code 1 if there is any problem; warnings and notes alone are 0."""
_NEEDS_ROOT = "only root can look at all of a node, and half a look would be taken for a whole one"


def add_to(commands: Any) -> None:
    """The subcommand."""
    command = commands.add_parser(
        "doctor", help="tell what is wrong with this node, and what an upgrade from the original finds", epilog=_EXAMPLES,
        description="Tell what must be mended on this node: its machine (Xen, bridge, volumes, space, programs, service), and what the original dtc-xen left on it.")
    command.add_argument("--config", metavar="FILE", default=CONFIG, help=f"the node's settings, {CONFIG} when not given")
    command.add_argument("--root", metavar="DIR", default="/", help="look at a copy of a node's files below DIR (a backup, a mounted disk), not at this node")
    command.add_argument("--json", action="store_true", help="the findings as JSON")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look, judge, tell."""
    dom0, root = Dom0(), os.path.realpath(options.root)
    if not os.path.isdir(root):
        raise UsageError(f"--root {options.root}: not a directory")
    if root == "/" and not dom0.is_root():
        complain(_NEEDS_ROOT)
        return FAILED
    path = os.path.abspath(options.config)
    chosen = usable(survey_upgrade.conf(dom0, path, root))
    machine = survey_machine.look(dom0, chosen) if root == "/" else None
    findings = report.judge(chosen, survey_upgrade.look(dom0, chosen, path, root, tls_trouble), machine)
    _tell_json(findings) if options.json else _tell(findings)
    return FAILED if any(finding.severity is Severity.PROBLEM for finding in findings) else OK


def usable(conf: FoundText | None) -> Settings:
    """The settings as far as they can be read: without the lines that are wrong, which are findings of their own."""
    lines = conf.text.splitlines() if conf else []
    while (found := settings.examine("\n".join(lines), "conf")).settings is None:
        wrong = {number for problem in found.problems for number in _lines_of(problem, lines)}
        if not wrong:
            return settings.defaults()
        lines = ["" if number in wrong else line for number, line in enumerate(lines, 1)]
    return found.settings


def _lines_of(problem: str, lines: list[str]) -> list[int]:
    """Numbers of the lines that a problem is about: the one that it names, else those of the settings that it speaks of."""
    place = problem.split(":")[1].strip()
    if place.isdecimal():
        return [int(place)]
    return [number for number, line in enumerate(lines, 1) if (key := line.partition("=")[0].strip()) and key in problem.split()]


def tls_trouble(chosen: Settings) -> str:
    """Why the service could not use its certificate and key, by trying it; "" when it can."""
    from dtcxen_soap.wire import tls
    quiet = logging.getLogger(tls.__name__)
    before, quiet.disabled = quiet.disabled, True
    try:
        tls.context(chosen)
    except Misconfigured as error:
        return str(error)
    finally:
        quiet.disabled = before
    return ""


# -- telling --------------------------------------------------------------------------------------


def _tell(findings: tuple[Finding, ...]) -> None:
    """A paragraph per finding; how many there are is for people only."""
    for finding in findings:
        say(_plain(f"{finding.severity.value}: {finding.where}: {finding.what}"))
        say(f"    {'taken over' if finding.taken_over else 'left as it is'}{'; to change that:' if finding.mend else ''}")
        for line in finding.mend:
            say(f"        {line}")
    numbers = (counted(sum(finding.severity is severity for finding in findings), severity.value) for severity in Severity)
    remark(f"dtcxen doctor: {', '.join(numbers)}; nothing was changed")


def _plain(text: str) -> str:
    """Names on an old node may hold what a terminal obeys."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _tell_json(findings: tuple[Finding, ...]) -> None:
    rows = [{"check": finding.check, "severity": finding.severity.value, "where": finding.where, "what": finding.what, "takenOver": finding.taken_over,
             "mend": list(finding.mend)} for finding in findings]
    counts = {f"{severity.value}s": sum(finding.severity is severity for finding in findings) for severity in Severity}
    say(json.dumps({"findings": rows, **counts}, indent=2))
