"""How a command ends: each kind of error has an exit code of its own, and is told on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from dtcxen_soap.cli.console import FAILED, INTERRUPTED, UNREACHABLE, USAGE, Unreachable, UsageError, complain
from dtcxen_soap.errors import DtcxenError, Failed, Misconfigured, Refused


def told(run: Callable[[], int]) -> int:
    """Run it; every error that has an exit code is told on standard error."""
    try:
        code = run()
        sys.stdout.flush()
        return code
    except UsageError as error:
        complain(str(error))
        return USAGE
    except Unreachable as error:
        complain(str(error))
        return UNREACHABLE
    except DtcxenError as error:
        for line in _lines(error):
            complain(line)
        return FAILED
    except OSError as error:
        return _machine_says(error)
    except KeyboardInterrupt:
        return INTERRUPTED


def _lines(error: DtcxenError) -> list[str]:
    """An error as an admin reads it: a line per fault or problem, a failure in full."""
    if isinstance(error, Refused):
        return [str(fault) for fault in error.faults]
    if isinstance(error, Misconfigured):
        return list(error.problems)
    return [error.in_full()] if isinstance(error, Failed) else str(error).splitlines()


def _machine_says(error: OSError) -> int:
    """A file that cannot be read or written. Whoever closed our output wanted no more: no complaint then."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return FAILED
