"""`dtcxen audit`: who changed what on this node, from its journal; no daemon is needed, and nothing is written.

The rows only grow: the journal itself refuses to change or drop one (journal.py). With systemd each
is in the system's journal too, beyond this program's reach, as entries with the field DTCXEN_CALLER.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from dtcxen_soap.cli import call as cli_call
from dtcxen_soap.cli import local as cli_local
from dtcxen_soap.cli.console import CONFIG, OK, UsageError, load, remark
from dtcxen_soap.vps import VpsId

if TYPE_CHECKING:
    from dtcxen_soap.journal import AuditRow

MOST = 1_000_000
_EXAMPLES = """\
examples:
  dtcxen audit
  dtcxen audit xen01 --limit 5
  dtcxen audit --json

Newest first: every call that changed something or was refused while it tried, with what it said; secrets are left out.
Without VPS also the node's own calls. On the node, as root; no daemon is needed. The system's journal has the same
for as long as it is kept: journalctl -u dtcxen-soap DTCXEN_VPS=01."""


def add_to(commands: Any) -> None:
    """The subcommand."""
    command = commands.add_parser("audit", help="who changed what, when and from where", description="Show the changing calls of this node.", epilog=_EXAMPLES)
    command.add_argument("vps", metavar="VPS", nargs="?", type=_vps, help="only calls about this VPS, 01 or xen01")
    command.add_argument("--limit", metavar="N", type=_limit, default=100, help="at most so many, 100 when not given")
    command.add_argument("--config", metavar="FILE", default=CONFIG, help=f"the node's settings, {CONFIG} when not given")
    command.add_argument("--json", action="store_true", help="print the rows as JSON")
    command.set_defaults(run=run)


def _vps(text: str) -> VpsId:
    try:
        return VpsId.parse(text)
    except ValueError as error:
        raise UsageError(f"VPS: {text!r}: {error}") from None


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= MOST):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST}")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Print the rows, all of each for programs."""
    with cli_local.journal_of(load(options.config)) as journal:
        found = [_row(row) for row in journal.audited(options.limit, options.vps)]
    if options.json:
        cli_call.show({"audit": found}, True)
    elif found:
        cli_call.show({"rows": [{**row, "vps": row["vps"] or "", "job": row["job"] or ""} for row in found]}, False)
    else:
        remark("no changing calls yet")
    return OK


def _row(row: AuditRow) -> dict[str, Any]:
    """A row under the names that the answers of the service use."""
    return {
        "at": row.at, "caller": row.caller, "peer": row.peer, "operation": row.operation, "vps": str(row.vps) if row.vps else None,
        "arguments": row.arguments, "outcome": row.outcome, "job": row.job, "title": row.detail}
