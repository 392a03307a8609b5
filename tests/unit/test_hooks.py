"""Hooks: order, environment, no secret, and a refusal where one is not safe."""

from __future__ import annotations

import json

import pytest

from dtcxen_soap import hooks
from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import HookFact
from dtcxen_soap.plans import MakeDirectory, Plan, Run
from dtcxen_soap.requests import Reinstall, parse
from dtcxen_soap.settings import load

SETTINGS = load("DNS=192.0.2.53\nGATEWAY=192.0.2.1\nhook_timeout_seconds=7").settings
REQUEST = parse(Reinstall, "op", [("vps", "01"), ("osType", "debian"), ("ramSizeMib", "128"), ("password", "hunter2"), ("nics", "192.0.2.10/24")], SETTINGS, old=False, rpc=False)
PLAN = Plan("p", (MakeDirectory(why="d", path="/d"),))


def test_pre_before_post_behind_error_beside():
    found = HookFact({"pre": ("/h/10-ask", "/h/20-ask"), "post": ("/h/10-tell",), "error": ("/h/10-alas",)})
    plan = hooks.around(PLAN, "reinstallOS", REQUEST, found, SETTINGS)
    assert [step.argv[0] if isinstance(step, Run) else "work" for step in plan.steps] == ["/h/10-ask", "/h/20-ask", "work", "/h/10-tell"]
    runs = [step for step in (*plan.steps, *plan.on_error) if isinstance(step, Run)]
    assert [step.may_fail for step in runs] == [False, False, True, True]
    assert {step.timeout_seconds for step in runs} == {7}
    assert dict(runs[0].env) == {"DTCXEN_OPERATION": "reinstallOS", "DTCXEN_PHASE": "pre", "DTCXEN_VPS": "01", "DTCXEN_VPS_NAME": "xen01"}


def test_the_request_without_its_secret():
    text = hooks.as_json(REQUEST)
    assert "hunter2" not in text
    assert json.loads(text) == {"vps": "01", "os_type": "debian", "ram": 128, "nics": ["192.0.2.10/24"]}


def test_an_unsafe_hook_stops_the_operation():
    with pytest.raises(Failed, match="others may write /h/10-ask"):
        hooks.around(PLAN, "reinstallOS", REQUEST, HookFact(unsafe=("/h/10-ask",)), SETTINGS)


def test_no_hooks_no_change():
    assert hooks.around(PLAN, "reinstallOS", REQUEST, HookFact(), SETTINGS) == PLAN
