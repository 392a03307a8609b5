"""Foreign SOAP clients as tests use them, each a script: a list of calls goes in, what the client made of each reply comes out."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from dtcxen_soap.access import Caller, Role
from dtcxen_soap.calls import Call
from dtcxen_soap.operations import Form, prepare
from dtcxen_soap.wire.xmlnames import camel, scrub
from tests.interop.served import Served
from tests.wirekit import ADMIN, ANSWERS, SAMPLES

FOLDER = Path(__file__).parent
Called = tuple[str, dict[str, Any]]


AS_THE_ORIGINAL: dict[str, Any] = {
    "setupLVMDisks": "OK", "killVPS": None, "reinstallVPSos": "OK, started mkos.", "reportInstalledIso": ["a.iso", "b.ISO"],
    "getVPSState": ["domain", ["id", "xen01"], ["domid", 3], ["maxmem", 128], ["vcpus", 1], ["state", "-b----"], ["cpuseconds", 51.5]],
    "getVPSInstallLog": "line 1\n\nline 2 <x> & y   [0m\n", "getInstallableOS": ["centos", "netbsd"], "testVPSServer": "OK",
    "fsckVPSpartition": "OK", "writeXenHVMconf": "OK", "changeBSDkernel": "OK", "changeVPSxmPassword": "OK", "changeVPSsshKey": "OK", "changeVPSsoapPassword": "OK",
    "getInstallableAPP": ["wordpress"],
    "getCollectedPerformanceData": [{name: {
        "timestamp": 1795348800.0, "cpu_time": 251.5, "diff_cpu_time": 51.5, "net_inbytes": 838375767, "diff_net_inbytes": 10, "net_outbytes": 324328402389,
        "diff_net_outbytes": 20, "filesystem_sectors": 5134, "diff_filesystem_sectors": 8, "swap_sectors": 0, "diff_swap_sectors": 0} for name in ("xen01", "xen02")}],
    "startVPS": ["OK", "Started xen01"], "shutdownVPS": ["OK", "Started xen01"], "destroyVPS": ["OK", "Started xen01"],
    "listStartedVPS": [["xen01", "3", "256", "1", "-b----", "37.8"], ["xen02", "4", "128", "1", "r-----", "0.4"]]}
"""What a client without a WSDL reads under each old name, for the answers of tests/wirekit.py: shapes of the original daemon."""


INTERPRETERS = {".php": "php", ".pl": "perl", ".py": sys.executable}
FROM_PYPI = "/opt/from-pypi"
"""Where the tests' Debian 13 has the clients that Debian has not (tools/debian13.py)."""


def here(script: str) -> list[str]:
    """The command of a script where its language is on this machine."""
    return [INTERPRETERS[Path(script).suffix], str(FOLDER / script)]


def outcomes(script: str, calls: Sequence[Called], command: Callable[[str], list[str]] = here, **node: str) -> list[dict[str, Any]]:
    """What `script` tells of each call; `node` says whom it calls and as whom."""
    given = {**node, "calls": [(operation, parameters) for operation, parameters in calls]}
    trusted = {"SSL_CERT_FILE": node["certificate"], "PYTHONPATH": FROM_PYPI} if script.endswith(".py") else {}
    done = subprocess.run(command(script), input=json.dumps(given), capture_output=True, text=True, timeout=120, env={**os.environ, **trusted})
    assert done.returncode == 0 and done.stdout.startswith("["), done.stdout + done.stderr
    told: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(told) == len(calls)
    return told


def sample(form: Form) -> Called:
    """A call of that form with a value for each parameter."""
    return form.name, {item.name(form.old): SAMPLES[item.type.name] for item in form.parameters if not item.rpc_only}


def through(served: Served, every: Sequence[Form], call: Callable[[Sequence[Called]], list[dict[str, Any]]]) -> dict[str, tuple[dict[str, Any], Any]]:
    """Call each form with its sample; of each what the client made of the reply, and the request that the service read."""
    served.engine.calls.clear()
    told = call([sample(form) for form in every])
    requests = {each.operation: asked(each) for each in served.engine.calls}
    return {form.name: (outcome, requests.get(form.name)) for form, outcome in zip(every, told, strict=True)}


def asked(call: Call) -> Any:
    """The request that a call was made of."""
    return inspect.getclosurevars(call.decide).nonlocals["request"]


def meant(served: Served, form: Form, rpc: bool, parameters: dict[str, Any] | None = None) -> Any:
    """The request that a form's sample stands for, or these parameters."""
    given = sample(form)[1] if parameters is None else parameters
    return asked(prepare(form.name, tuple(given.items()), served.settings, Caller(ADMIN, Role.ADMIN), rpc=rpc))


def encoded(form: Form) -> Any:
    """What a client without a WSDL reads of the table's answer to that form; a record of one list is that list."""
    if form.old:
        return AS_THE_ORIGINAL[form.name]
    found = shape(ANSWERS[form.operation.answer])
    only, *others = found.values()
    return only if isinstance(only, list) and not others else found


def without_absent(value: Any) -> Any:
    """A literal reply leaves out what is not there: null members, and lists of nothing."""
    if isinstance(value, dict):
        return {name: without_absent(item) for name, item in value.items() if item is not None and item != []}
    return [without_absent(item) for item in value] if isinstance(value, list) else scrub(value) if isinstance(value, str) else value


def shape(value: Any) -> Any:
    """An answer as clients have it: structs, lists, null, numbers and text; times are text."""
    if dataclasses.is_dataclass(value):
        return {camel(item.name): shape(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [shape(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value


def as_text(value: Any) -> Any:
    """The same with every simple value as text, for clients that know no types; true is "1"."""
    if isinstance(value, dict):
        return {name: as_text(item) for name, item in value.items()}
    if isinstance(value, list):
        return [as_text(item) for item in value]
    return value if value is None else str(int(value)) if isinstance(value, bool) else str(value)
