"""What setup-host would do, as plans, and its record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dtcxen_soap import hostplan, interfaces, settings
from dtcxen_soap.errors import Misconfigured
from dtcxen_soap.hostfacts import FoundFile, HostFact, HostWish, Made
from dtcxen_soap.hostsetup import Material
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import RemoveFile, Run, WriteFile
from dtcxen_soap.vps import Mib, Secret

CHOSEN = settings.defaults()
MATERIAL = Material(Secret("geheim"), "$2b$12$hash", Secret("private-key"), "CERTIFICATE")
NETWORK = "auto eth0\niface eth0 inet dhcp\n"
BARE: dict[str, Any] = {
    "present": frozenset({"/", "/etc", "/usr", "/usr/share", "/var", "/var/lib", "/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d", interfaces.MAIN, interfaces.PARTS}),
    "files": {interfaces.MAIN: FoundFile(NETWORK, 0o644)}, "interfaces": (interfaces.MAIN,), "cards": frozenset({"eth0", "eth1"}), "bridges": frozenset(),
    "commands": frozenset(hostplan.COMMANDS), "console": "#!/bin/sh\n", "sshd_knows": False, "sshd_trouble": "", "systemd": True}


NO_WISH = HostWish()


def fact(**changed: Any) -> HostFact:
    return HostFact(**{**BARE, **changed})


def steps(wish: HostWish = NO_WISH, made: tuple[Made, ...] = (), **changed: Any) -> list[Any]:
    return list(hostplan.plan(fact(**changed), wish, CHOSEN, MATERIAL, made).steps)


def made_by(wish: HostWish) -> tuple[Made, ...]:
    """What is there after a run; the record itself is no row of it."""
    return hostplan.merged((), tuple(steps(wish)[:-1]))


def test_a_bare_machine_with_all_wishes(golden: Any) -> None:
    plan = hostplan.plan(fact(), HostWish("xenbr0", "eth0", Mib(2048)), CHOSEN, MATERIAL, ())
    golden("plans/setup-host.txt", "\n".join(render(plan)) + "\n")
    assert "geheim" not in str(plan) and "private-key" not in str(plan)


def test_whatever_is_made_has_an_undo_and_a_row_in_the_record() -> None:
    made = steps(HostWish("xenbr0", "eth0", Mib(2048)))
    *_, record = made
    rows = {row["path"] for row in json.loads(record.content)["made"]}
    for step in made[:-1]:
        assert isinstance(step, Run) or (step.undo and step.path in rows), step
    assert "geheim" not in record.content and "private-key" not in record.content and record.mode == 0o600


def test_a_whole_node_has_nothing_to_do() -> None:
    there = frozenset(hostplan.asked_paths(CHOSEN))
    assert not hostplan.plan(fact(present=there, sshd_knows=True), HostWish(), CHOSEN, MATERIAL, ()).steps


def test_a_record_reads_back_and_undoes_the_newest_first() -> None:
    made = made_by(HostWish("xenbr0", "eth0"))
    assert hostplan.read(hostplan.written(made)) == made
    digests = {item.path: item.sha256 for item in made}
    undone = hostplan.undo(made, digests.__getitem__)
    first, *_, last = undone.steps
    assert isinstance(first, WriteFile) and (first.path, first.content) == (interfaces.MAIN, NETWORK)
    assert isinstance(last, RemoveFile) and last.path == hostplan.RECORD
    paths = [step.path for step in undone.steps if not isinstance(step, Run)]
    assert paths.index("/etc/dtc-xen/privkey.pem") < paths.index("/etc/dtc-xen")


def test_of_a_file_that_was_changed_twice_the_first_state_comes_back() -> None:
    first = made_by(HostWish(dom0_memory=Mib(2048)))
    (ours,) = (step for step in steps(HostWish(dom0_memory=Mib(2048))) if isinstance(step, WriteFile) and step.path == hostplan.GRUB_PART)
    assert isinstance(ours.content, str)
    again = steps(HostWish(dom0_memory=Mib(4096)), first, files={**BARE["files"], hostplan.GRUB_PART: FoundFile(ours.content, 0o644)})
    rows = {item.path: item for item in hostplan.read(again[-1].content)}
    assert isinstance(rows[hostplan.GRUB_PART].undo[0], RemoveFile) and "4096M" in next(step.content for step in again if getattr(step, "path", "") == hostplan.GRUB_PART)


@pytest.mark.parametrize("now", ["0" * 64, ""])
def test_what_was_changed_or_removed_since_is_not_touched(now: str) -> None:
    made = made_by(HostWish("xenbr0", "eth0"))
    undone = hostplan.undo(made, lambda path: now)
    assert not [step for step in undone.steps if isinstance(step, WriteFile)]
    assert [step.path for step in undone.steps if isinstance(step, RemoveFile)] == [hostplan.RECORD]
    assert len(undone.notes) == (len([item for item in made if item.sha256]) if now else 0)


@pytest.mark.parametrize("text", [
    "", "{}", "[]", '{"version": 2, "made": []}', '{"version": 1}', '{"version": 1, "made": [{"path": "/x", "sha256": "", "undo": [{"kind": "EndDomu"}]}]}'])
def test_a_record_that_is_not_ours_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured, match="not a record of setup-host"):
        hostplan.read(text)


@pytest.mark.parametrize(("wish", "changed", "why"), [
    (HostWish("xenbr0", "eth9"), {}, "there is no network card eth9, but eth0, eth1"),
    (HostWish("xen br", ""), {}, "'xen br' is no name"), (HostWish("eth1", ""), {}, "eth1 is a network card"),
    (HostWish("xenbr0", "br7"), {"cards": frozenset({"eth0", "br7"}), "bridges": frozenset({"br7"})}, "br7 is a bridge itself"),
    (HostWish("xenbr0", "eth0"), {"commands": frozenset({"ifup", "ifquery"})}, "apt-get install bridge-utils"),
    (HostWish("xenbr0", "eth0"), {"commands": frozenset({"brctl"})}, "not ifupdown's"), (HostWish("xenbr0", "eth0"), {"interfaces": ()}, "not ifupdown's"),
    (HostWish("xenbr0", "eth0"), {"files": {interfaces.MAIN: FoundFile(NETWORK, 0o644, link=True)}}, "is a link"),
    (HostWish("xenbr0", "eth0"), {"files": {interfaces.MAIN: FoundFile(NETWORK, 0o644), "/x": FoundFile(NETWORK, 0o644)}, "interfaces": (interfaces.MAIN, "/x")}, "several files"),
    (HostWish(dom0_memory=Mib(2048)), {"commands": frozenset()}, "no update-grub")])
def test_a_wish_that_cannot_be_granted_is_refused_whole(wish: HostWish, changed: dict[str, Any], why: str) -> None:
    with pytest.raises(Misconfigured, match=why):
        steps(wish, **changed)


def test_sshd_that_is_in_trouble_already_is_left_alone() -> None:
    plan = hostplan.plan(fact(sshd_trouble="line 3: Bad configuration option"), HostWish(), CHOSEN, MATERIAL, ())
    assert not [step for step in plan.steps if getattr(step, "path", "") == hostplan.SSHD_PART] and "line 3" in plan.notes[0]
