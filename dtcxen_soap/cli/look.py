"""`dtcxen states`, `jobs`, `log` and `cancel`: what an admin asks a node many times a day, from the node itself or from elsewhere."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dtcxen_soap.calls import Kind
from dtcxen_soap.cli import call as cli_call
from dtcxen_soap.cli import door as cli_door
from dtcxen_soap.cli.console import CONFIG, FAILED, OK, Caller, UsageError, remark
from dtcxen_soap.errors import Missing
from dtcxen_soap.operations import find

LIVE = ("queued", "running")
POLL_SECONDS = 0.5
_WHERE = """\
On the node, no daemon is needed: its journal and the machine are read, and nothing is written. With --url, --user
or --password-file the daemon is asked, as by dtcxen call."""
_STATES = f"""\
examples:
  dtcxen states
  dtcxen states --url https://node.example.com:8089/ --ca node.pem --password-file ./admin --json

A line per VPS that has a configuration, a disk or a domU. {_WHERE}"""
_JOBS = f"""\
examples:
  dtcxen jobs
  dtcxen jobs xen01 --limit 5
  dtcxen jobs --json

Newest first. {_WHERE}"""
_LOG = f"""\
examples:
  dtcxen log 12
  dtcxen log -f xen01
  dtcxen log 01 -n 20

A number without a zero before it is a job; 01 and xen01 are a VPS, whose latest long job (an installation, a check) is
meant. With -f the exit code says whether the job did what it was to do. {_WHERE}"""
_CANCEL = """\
examples:
  dtcxen cancel 12
  dtcxen cancel 12 --no-follow

The daemon ends the job and undoes what it did. Exit code 1 if it had ended already, or could not be cancelled any more."""
_JOB_COLUMNS = ("id", "vps", "operation", "state", "progress", "step", "created", "seconds", "caller", "reason")


def add_to(commands: Any) -> None:
    """The subcommands."""
    states = commands.add_parser("states", help="the state of every VPS", description="Show the state of every VPS of the node.", epilog=_STATES)
    jobs = commands.add_parser("jobs", help="the jobs of the node or of a VPS", description="Show the jobs of the node, or of one VPS.", epilog=_JOBS)
    jobs.add_argument("vps", metavar="VPS", nargs="?", help="only this VPS's jobs, 01 or xen01")
    jobs.add_argument("--limit", metavar="N", help="at most so many, 20 when not given", default="20")
    log = commands.add_parser("log", help="print or follow the log of a job", description="Print the log of a job, or of the latest one of a VPS.", epilog=_LOG)
    log.add_argument("target", metavar="JOB|VPS", help="a job's number, or a VPS as 01 or xen01")
    log.add_argument("-f", "--follow", action="store_true", help="go on until the job has ended")
    log.add_argument("-n", "--lines", metavar="N", type=_count, default=0, help="only the last N lines of what is there")
    cancel = commands.add_parser("cancel", help="end a job and undo what it did", description="End a job, and wait until what it did is undone.", epilog=_CANCEL)
    cancel.add_argument("job", metavar="JOB", help="the job's number")
    cancel.add_argument("--no-follow", action="store_true", help="do not wait for the job to end")
    for command, run in ((states, run_states), (jobs, run_jobs), (log, run_log), (cancel, run_cancel)):
        cli_door.add_options(command)
        command.set_defaults(run=run)
    for command in (states, jobs, cancel):
        command.add_argument("--json", action="store_true", help="print the answer as JSON")


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of lines")
    return int(text)


@contextmanager
def _answerer(options: argparse.Namespace) -> Iterator[Caller]:
    """The node itself, or the daemon that the options ask for."""
    if cli_door.is_elsewhere(options):
        yield cli_door.node(options, cli_door.settings_of(options))
        return
    from dtcxen_soap.cli import local as cli_local
    with cli_local.here(options.config or CONFIG) as node:
        yield node


def run_states(options: argparse.Namespace) -> int:
    """Ask, and tell."""
    with _answerer(options) as node:
        answer = node.call("listVPS", [])
    _tell(answer, answer["vpses"], options.json, "no VPS on this node")
    return OK


def run_jobs(options: argparse.Namespace) -> int:
    """Ask, and tell."""
    if options.vps == "":
        raise UsageError("VPS is empty: leave it out for all jobs of the node")
    values = [("vps", options.vps)] if options.vps is not None else []
    with _answerer(options) as node:
        answer = node.call("listJobs", [*values, ("limit", options.limit)])
    _tell(answer, [_row(record) for record in answer["jobs"]], options.json, "no jobs")
    return OK


def _tell(answer: Any, rows: list[dict[str, Any]], as_json: bool, none: str) -> None:
    """All of the answer for programs; for people the rows."""
    if as_json:
        cli_call.show(answer, True)
    elif rows:
        cli_call.show({"rows": rows}, False)
    else:
        remark(none)


def _row(record: dict[str, Any]) -> dict[str, Any]:
    """A job in one line: how far it is as long as it runs, and the reason once it failed."""
    begin, end = record["started"], record["ended"]
    shown = {
        **record,
        "progress": f"{record['percent']} %" if record["state"] in LIVE else "",
        "step": f"{record['step']}/{record['steps']} {record['stepName']}" if record["step"] and record["state"] != "done" else "",
        "seconds": f"{(end - begin).total_seconds():.0f}" if begin and end else "",
        "reason": " ".join((record["reason"] or "").split()),
    }
    return {name: shown[name] for name in _JOB_COLUMNS}


# -- log ------------------------------------------------------------------------------------------


def run_log(options: argparse.Namespace) -> int:
    """Print what is there, then what comes."""
    with _answerer(options) as node:
        job = _job(options.target, node)
        if not options.follow:
            _print(_so_far(node, job)[0], options.lines)
            return OK
        text, at, state = _so_far(node, job)
        _print(text, options.lines)
        return _follow(node, job, at, state)


def follow(node: Caller, job: int) -> int:
    """All of a job's log, until it has ended; the exit code says how."""
    text, at, state = _so_far(node, job)
    _print(text)
    return _follow(node, job, at, state)


def _follow(node: Caller, job: int, at: int, state: str) -> int:
    """What comes, until the job has ended and all of it was told."""
    while state in LIVE:
        time.sleep(POLL_SECONDS)
        text, at, state = _so_far(node, job, at)
        _print(text)
    from dtcxen_soap.cli import follow as cli_follow
    return OK if cli_follow.tell(node.call("getJob", [("job", str(job))])) else FAILED


def _so_far(node: Caller, job: int, at: int = 0) -> tuple[str, int, str]:
    """All that is in the log from a byte on, where to go on, and the job's state, which was so before the last look."""
    parts: list[str] = []
    while True:
        part = node.call("getJobLog", [("job", str(job)), ("fromByte", str(at))])
        at = part["nextByte"]
        if not part["text"]:
            return "".join(parts), at, part["state"]
        parts.append(part["text"])


def _print(text: str, lines: int = 0) -> None:
    kept = text.splitlines(keepends=True)
    sys.stdout.writelines(deque(kept, lines) if lines else kept)
    sys.stdout.flush()


def _job(target: str, node: Caller) -> int:
    """The number of the job that is meant."""
    if re.fullmatch("[1-9][0-9]*", target, re.ASCII):
        return int(target)
    records = node.call("listJobs", [("vps", target)])["jobs"]
    long = [record for record in records if (form := find(record["operation"], rpc=False)) and form.operation.kind is Kind.JOB]
    chosen = next(iter(long or records), None)
    if chosen is None:
        raise Missing(f"VPS {target} has no jobs")
    remark(f"job {chosen['id']} ({chosen['operation']}), {chosen['state']}")
    number: int = chosen["id"]
    return number


# -- cancel ---------------------------------------------------------------------------------------


def run_cancel(options: argparse.Namespace) -> int:
    """Ask the daemon to end it, and wait for that. A job that did what it was to do after all was not cancelled."""
    node = cli_door.node(options, cli_door.settings_of(options))
    answer = node.call("cancelJob", [("job", options.job)])
    if not answer["cancelled"] or options.no_follow:
        cli_call.show(answer, options.json)
        if not answer["cancelled"]:
            remark(f"job {options.job} had ended already")
        return OK if answer["cancelled"] else FAILED
    from dtcxen_soap.cli import follow as cli_follow
    record = cli_follow.follow(lambda: node.call("getJob", [("job", options.job)]), on_terminal=sys.stderr.isatty())
    if options.json:
        cli_call.show(record, True)
    cli_follow.tell(record)
    return OK if record["state"] == "cancelled" else FAILED
