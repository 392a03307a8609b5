"""Appliances: which OS type lies below, what its first boot finds and runs, and that root's password lies nowhere that others read."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dtcxen_soap import requests as req
from dtcxen_soap.errors import Failed, Refused
from dtcxen_soap.facts import BundleFact, Facts
from dtcxen_soap.firstbootfacts import AppFact, FirstbootFact, Snippet
from dtcxen_soap.install import reinstall
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import Look, Run, Step, TreeCopy, TreeCopyFile, TreeWrite, walk
from dtcxen_soap.settings import Settings, load
from dtcxen_soap.vps import Secret
from tests.unit.install.guests import told
from tests.unit.install.test_finish import DEBIAN_12
from tests.unit.install.test_reinstall import AGAIN, CONFIG, NODE, SETTINGS, request

APP = AppFact("wiki", "/a/wiki", "debian", True)
KEYRING = "/usr/share/keyrings/panel.gpg"
WITH_PANEL = load(f'{CONFIG}dtc_panel_source="deb [signed-by={KEYRING}] https://panel.example/debian stable main"\n').settings
PANEL_NODE = dataclasses.replace(NODE, keyrings=NODE.keyrings | {KEYRING})
HOME = "var/lib/dtcxen-firstboot"


def facts(app: AppFact | None = None, **changed: Any) -> Facts:
    return dataclasses.replace(AGAIN, firstboot=FirstbootFact((Snippet("50-admin", Secret("#!/bin/sh\n")),), app=app), **changed)


def finished(os_type: str, found: Facts, settings: Settings = SETTINGS) -> tuple[Step, ...]:
    """The steps in the tree, of the panel's own call."""
    plan = reinstall.plan(request(ostype=os_type), settings, found)
    assert "hunter2" not in repr(plan) and "hunter2" not in "\n".join(render(plan))
    (look,) = [step for step in walk(plan.steps) if isinstance(step, Look)]
    steps = look.decide(DEBIAN_12)
    assert "hunter2" not in repr(steps)
    return steps


def of_first_boot(steps: tuple[Step, ...]) -> str:
    shown = [step for step in steps if isinstance(step, TreeCopyFile | TreeCopy) and not step.source.startswith("/lib/modules") or (
        isinstance(step, TreeWrite) and ("firstboot/" in step.path or "dtc-panel" in step.path) and not step.path.endswith("/run"))]
    scripts = [step.content.reveal() for step in shown if isinstance(step, TreeWrite) and "/waiting/2-" in step.path and isinstance(step.content, Secret)]
    return told(tuple(shown)) + "\n" + "".join(scripts)


def test_an_appliance_is_what_it_depends_on_and_its_first_boot(golden: Any) -> None:
    steps = finished("wiki", facts(APP))
    golden("firstboot/appliance.txt", of_first_boot(steps))
    secret = {step.path: step for step in steps if isinstance(step, TreeWrite)}[f"{HOME}/password"]
    assert (secret.content, secret.mode) == (Secret("hunter2"), 0o600)
    plan = reinstall.plan(request(ostype="wiki"), SETTINGS, facts(APP))
    assert any(isinstance(step, Run) and step.argv[0] == "mmdebstrap" for step in walk(plan.steps)) and plan.title == "install wiki on VPS 01"


def test_it_comes_between_the_admins_snippets_and_the_owners_script() -> None:
    asked = req.parse(req.Reinstall, "reinstallOS", list({
        "vps": "01", "osType": "wiki", "ramSizeMib": "128", "password": "hunter2", "nics": "192.0.2.10/24", "userData": "#!/bin/sh"}.items()), SETTINGS, old=False, rpc=True)
    (look,) = [step for step in walk(reinstall.plan(asked, SETTINGS, facts(APP)).steps) if isinstance(step, Look)]
    waiting = [step.path.rpartition("/")[2] for step in look.decide(DEBIAN_12) if isinstance(step, TreeWrite) and "/waiting/" in step.path]
    assert waiting == ["1-50-admin", "2-wiki", "3-owner"] == sorted(waiting)


def test_an_appliance_on_a_bundle() -> None:
    bundle = BundleFact("lenny", "/o/lenny", frozenset({"install_os"}), ())
    node = dataclasses.replace(NODE, commands=NODE.commands | {"unshare", "sh"})
    plan = reinstall.plan(request(ostype="wiki"), SETTINGS, facts(dataclasses.replace(APP, depends="lenny", folder=False), bundle=bundle, node=node))
    (script,) = [step for step in walk(plan.steps) if isinstance(step, Run) and step.argv[0] == "/o/lenny/install_os"]
    assert script.argv[script.argv.index("-os") + 1] == "lenny", "as the original told it"


@pytest.mark.parametrize(("app", "problem"), [
    (dataclasses.replace(APP, unsafe=("/a/wiki/setup-script can be written by others than root",)), "could have changed it: /a/wiki/setup-script"),
    (dataclasses.replace(APP, problems=("/a/wiki/setup-script is not there",)), "setup-script is not there")])
def test_one_that_must_not_be_used_is_refused_at_once(app: AppFact, problem: str) -> None:
    with pytest.raises(Failed, match=problem):
        reinstall.plan(request(ostype="wiki"), SETTINGS, facts(app))


def test_one_on_what_the_node_cannot_install() -> None:
    with pytest.raises(Refused, match="'etch' cannot be installed here"):
        reinstall.plan(request(ostype="wiki"), SETTINGS, facts(dataclasses.replace(APP, depends="etch")))


# -- debian-dtc -----------------------------------------------------------------------------------


def test_debian_with_the_panel(golden: Any) -> None:
    steps = finished("debian-dtc", facts(node=PANEL_NODE), WITH_PANEL)
    golden("firstboot/debian-dtc.txt", of_first_boot(steps))
    answers = {step.path: step for step in steps if isinstance(step, TreeWrite)}[f"{HOME}/debconf"]
    assert answers.mode == 0o600 and isinstance(answers.content, Secret) and answers.content.reveal().splitlines() == [
        "dtc-postfix-courier dtc/conf_admpass password hunter2", "dtc-postfix-courier dtc/main_domainname string example.net",
        "dtc-postfix-courier dtc/conf_ipaddr string 192.0.2.10", "dtc-postfix-courier dtc/conf_mysqlautoconfig boolean true",
        "dtc-postfix-courier dtc/conf_use_cyrus boolean false", "postfix postfix/main_mailer_type select Internet Site",
        "postfix postfix/mailname string xen01.example.net"]


def test_a_node_without_the_panels_source_says_so() -> None:
    with pytest.raises(Refused, match="reinstallVPSos: ostype: debian-dtc: this node does not know where|osType: debian-dtc: this node does not know where"):
        reinstall.plan(request(ostype="debian-dtc"), SETTINGS, facts())


@pytest.mark.parametrize(("source", "problem"), [
    ("deb https://panel.example/debian stable main", "no line of sources.list with signed-by"), ("nonsense", "no line of sources.list"),
    ("deb [signed-by=/gone.gpg] https://panel.example/debian stable main", "keyring /gone.gpg of dtc_panel_source is not among")])
def test_unsigned_packages_are_not_installed(source: str, problem: str) -> None:
    with pytest.raises(Failed, match=problem):
        reinstall.plan(request(ostype="debian-dtc"), load(f'{CONFIG}dtc_panel_source="{source}"\n').settings, facts(node=PANEL_NODE))
