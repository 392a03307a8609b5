"""The admin's hooks around an operation: <operation>-{pre,post,error}.d/ below config_dir/hooks.

A pre hook that fails vetoes the operation before any change; post hooks only log; error hooks run
after the rollback and learn the failed step. Each gets a clean environment with DTCXEN_* variables
and the request, without secrets, as JSON on standard input.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import HookFact, NeedHooks
from dtcxen_soap.plans import Plan, Run, Step
from dtcxen_soap.requests import Request
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import Secret


def need(operation: str) -> NeedHooks:
    """The survey's part: which hooks there are."""
    return NeedHooks(operation)


def around(plan: Plan, operation: str, request: Request, hooks: HookFact, settings: Settings) -> Plan:
    """The plan with the operation's hooks before, behind and beside it.

    Failed when a hook is not safe to run: a veto that silently does not happen is worse than none.
    """
    if hooks.unsafe:
        raise Failed(f"Run the hooks of {operation}.", "others may write " + ", ".join(hooks.unsafe))
    phases = {phase: _steps(phase, operation, request, hooks, settings) for phase in ("pre", "post", "error")}
    return dataclasses.replace(
        plan, steps=(*phases["pre"], *plan.steps, *phases["post"]), on_error=(*plan.on_error, *phases["error"]))


def _steps(phase: str, operation: str, request: Request, hooks: HookFact, settings: Settings) -> tuple[Step, ...]:
    reasons = {"pre": "Ask the hook {} whether this may go on.", "post": "Tell the hook {} that it is done.", "error": "Tell the hook {} that it failed."}
    vps = getattr(request, "vps", None)
    env = (("DTCXEN_OPERATION", operation), ("DTCXEN_PHASE", phase), ("DTCXEN_VPS", str(vps or "")), ("DTCXEN_VPS_NAME", vps.name if vps else ""))
    return tuple(
        Run(why=reasons[phase].format(program.rpartition("/")[2]), argv=(program,), env=env, stdin=as_json(request),
            timeout_seconds=settings.hook_timeout_seconds, may_fail=phase != "pre")
        for program in hooks.programs.get(phase, ()))


def as_json(request: Request) -> str:
    """The request for a hook's standard input: fields as text, secrets left out."""
    fields = {item.name: getattr(request, item.name) for item in dataclasses.fields(request)}
    return json.dumps({name: _plain(value) for name, value in fields.items() if value is not None and not isinstance(value, Secret)}, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(getattr(value, "interface", getattr(value, "value", value)))
