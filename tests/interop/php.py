"""PHP's SOAP clients as tests use them: a list of calls goes in, what PHP made of each reply comes out."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from dtcxen_soap.operations import Form
from dtcxen_soap.wire.xmlnames import camel
from tests.wirekit import ANSWERS, SAMPLES

FOLDER = Path(__file__).parent
Called = tuple[str, dict[str, Any]]


AS_THE_ORIGINAL: dict[str, Any] = {
    "setupLVMDisks": "OK", "killVPS": None, "reinstallVPSos": "OK, started mkos.", "reportInstalledIso": ["a.iso", "b.ISO"],
    "getVPSState": ["domain", ["id", "xen01"], ["domid", 3], ["maxmem", 128], ["vcpus", 1], ["state", "-b----"], ["cpuseconds", 51.5]],
    "getVPSInstallLog": "line 1\n\nline 2 <x> & y   [0m\n", "getInstallableOS": ["centos", "netbsd"], "testVPSServer": "OK",
    "fsckVPSpartition": "OK", "writeXenHVMconf": "OK", "changeBSDkernel": "OK",
    "startVPS": ["OK", "Started xen01"], "shutdownVPS": ["OK", "Started xen01"], "destroyVPS": ["OK", "Started xen01"],
    "listStartedVPS": [["xen01", "3", "256", "1", "-b----", "37.8"], ["xen02", "4", "128", "1", "r-----", "0.4"]]}
"""What a client without a WSDL reads under each old name, for the answers of tests/wirekit.py: shapes of the original daemon."""


def here(script: str) -> list[str]:
    """The command of a script where PHP is on this machine."""
    return ["php", str(FOLDER / script)]


def outcomes(script: str, calls: Sequence[Called], command: Callable[[str], list[str]] = here, **node: str) -> list[dict[str, Any]]:
    """What `script` tells of each call; `node` says whom it calls and as whom."""
    given = {**node, "calls": [(operation, parameters) for operation, parameters in calls]}
    done = subprocess.run(command(script), input=json.dumps(given), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("["), done.stdout + done.stderr
    told: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(told) == len(calls)
    return told


def sample(form: Form) -> Called:
    """A call of that form with a value for each parameter."""
    return form.name, {item.name(form.old): SAMPLES[item.type.name] for item in form.parameters if not item.rpc_only}


def encoded(form: Form) -> Any:
    """What a client without a WSDL reads of the table's answer to that form; a record of one list is that list."""
    if form.old:
        return AS_THE_ORIGINAL[form.name]
    found = shape(ANSWERS[form.operation.answer])
    only, *others = found.values()
    return only if isinstance(only, list) and not others else found


def shape(value: Any) -> Any:
    """An answer as PHP has it: structs, lists, null, numbers and text; times are text."""
    if dataclasses.is_dataclass(value):
        return {camel(item.name): shape(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [shape(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
