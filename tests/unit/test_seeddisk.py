"""What an HVM guest is told on its seed disk: golden texts, what later calls go on with, what no other tenant is told, and what goes back when a call fails."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap import cloudseed, disks, hvm, seeddisk
from dtcxen_soap.accountfacts import KeyFact
from dtcxen_soap.errors import Failed, Refused
from dtcxen_soap.facts import Facts, TenancyFact
from dtcxen_soap.firstbootfacts import FirstbootFact, SeedFact, Snippet
from dtcxen_soap.planprint import render
from dtcxen_soap.plans import Plan, RemoveBelow, RemoveFile, Run, WriteFile
from dtcxen_soap.processes import Ran
from dtcxen_soap.requests import HvmConfig, KillDisk, parse
from dtcxen_soap.settings import load
from dtcxen_soap.vps import Secret
from dtcxen_soap.xen import config
from tests.fakes import ScriptedDom0
from tests.unit.test_hvm import AGAIN, FACTS, NEW, NODE, NOW, OLD, VPS, carried_out

SETTINGS = load(
    "state_dir=/s\nxen_config_dir=/x\nttyssh_home=/homes\nGATEWAY=192.0.2.1\nNETMASK=255.255.255.0\nDNS=192.0.2.53\nvps_domain=example.net\nfirstboot_timeout_seconds=600").settings
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@example"
SCRIPT = "#!/bin/sh\necho geheim\n"
SNIPPETS = (Snippet("10-cfengine", Secret("#!/bin/sh\necho geheim2\n")), Snippet("20-b", Secret(b"\x7fELF\xff\x00".decode(errors="surrogateescape"))))
ABLE = dataclasses.replace(FACTS, node=dataclasses.replace(NODE, commands=frozenset({"xorriso"})))
EARLIER = SeedFact(True, True, "xen50-0-20260101T000000Z", (KEY,), Secret(SCRIPT))


NOTHING = SeedFact()


def facts(seed: SeedFact = NOTHING, snippets: tuple[Snippet, ...] = (), **changed: Any) -> Facts:
    return dataclasses.replace(ABLE, firstboot=FirstbootFact(snippets, seed=seed), **changed)


def asked(words: dict[str, str] = NEW, **changed: str) -> HvmConfig:
    return parse(HvmConfig, "writeXenHVMconf", tuple((words | changed).items()), SETTINGS, old="vpsname" in words, rpc=True)


def planned(request: HvmConfig, found: Facts) -> Plan:
    plan = hvm.plan(request, SETTINGS, found)
    assert "geheim" not in repr(plan) and "geheim" not in "\n".join(render(plan))
    return plan


def told(plan: Plan) -> dict[str, str]:
    """The files that are written, secrets too, by their names."""
    return {step.path.rpartition("/")[2]: step.content if isinstance(step.content, str) else step.content.reveal()
            for step in plan.steps if isinstance(step, WriteFile) and "/seeds/" in step.path}


def test_all_that_a_guest_is_told(golden: Any) -> None:
    plan = planned(asked(sshKeys=KEY, userData=SCRIPT), facts(snippets=SNIPPETS))
    golden("plans/hvm-seed.txt", "\n".join(render(plan)) + "\n")
    files = told(plan)
    for name in (cloudseed.META_DATA, cloudseed.NETWORK_CONFIG, cloudseed.VENDOR_DATA):
        golden(f"seed/{name}", files[name].partition("put run ")[0])
    assert files["user-data"] == SCRIPT and json.loads(files["told"]) == {"instance": "xen50-0-20261123T120000Z", "keys": [KEY], "user_data": SCRIPT}
    configured = next(str(step.content) for step in plan.steps if isinstance(step, WriteFile) and step.path == "/x/xen50.new")
    golden("xen/hvm-seed.cfg", configured)
    assert config.parse(configured).iso == "" and config.parse(configured).paths[-1] == "/s/seeds/xen50.iso"


def test_all_of_it_is_roots_alone() -> None:
    plan = planned(asked(sshKeys=KEY, userData=SCRIPT), facts(snippets=SNIPPETS))
    modes = {step.path: step.mode for step in plan.steps if getattr(step, "path", "").startswith("/s/seeds") and hasattr(step, "mode")}
    assert set(modes.values()) == {0o600, 0o700} and modes["/s/seeds"] == modes["/s/seeds/xen50.work"] == 0o700


def test_a_guest_that_is_told_nothing_has_no_such_disk() -> None:
    plan = planned(asked(), FACTS)
    assert not told(plan) and "seeds" not in "\n".join(render(plan))


def test_the_nodes_snippets_reach_every_hvm_guest_also_by_the_panels_call() -> None:
    files = told(planned(asked(OLD | {"vncpassword": "no_vnc"}), facts(snippets=SNIPPETS)))
    assert files["user-data"] == "#cloud-config\n{}\n" and "put waiting/1-10-cfengine" in files["vendor-data"] and "public-keys" not in files["meta-data"]


def test_the_disk_after_the_iso_goes_on_with_what_was_told_before() -> None:
    files = told(planned(asked(OLD | {"vncpassword": "no_vnc", "howtoboot": "hdd"}), facts(EARLIER)))
    assert json.loads(files["told"]) == {"instance": EARLIER.instance, "keys": [KEY], "user_data": SCRIPT} and files["user-data"] == SCRIPT


@pytest.mark.parametrize("changed", [{"boot": "debian.iso"}, {"sshKeys": KEY + "2"}, {"userData": "#!/bin/true\n"}], ids=repr)
def test_an_iso_or_new_words_are_a_new_installation(changed: dict[str, str]) -> None:
    files = told(planned(asked(**changed), facts(EARLIER)))
    assert json.loads(files["meta-data"])["instance-id"] == "xen50-0-20261123T120000Z"
    assert json.loads(files["meta-data"])["public-keys"] == [changed.get("sshKeys", KEY)]
    later = told(planned(asked(**changed), facts(EARLIER, now=NOW.replace(second=1))))
    assert later["meta-data"] != files["meta-data"]


def test_another_tenant_is_told_nothing_of_the_one_before() -> None:
    later = facts(EARLIER, tenancy=TenancyFact(1))
    plan = planned(asked(), later)
    assert not told(plan) and {step.path for step in plan.steps if isinstance(step, RemoveFile)} >= {"/s/seeds/xen50.iso", "/s/seeds/xen50.told"}
    own = told(planned(asked(sshKeys=KEY + "2"), later))
    assert SCRIPT not in own.values() and json.loads(own["told"])["keys"] == [KEY + "2"]


def test_killing_the_vps_forgets_it() -> None:
    plan = disks.plan_kill(KillDisk(vps=VPS), SETTINGS, dataclasses.replace(AGAIN, disks=()))
    assert isinstance(plan, Plan)
    assert {step.path for step in plan.steps if isinstance(step, RemoveFile | RemoveBelow)} >= {"/s/seeds/xen50.iso", "/s/seeds/xen50.told", "seeds/xen50.work"}


def test_what_speaks_against_it() -> None:
    with pytest.raises(Refused, match="cannot make the disk that tells the guest.*the package xorriso"):
        hvm.plan(asked(sshKeys=KEY), SETTINGS, FACTS)
    with pytest.raises(Refused, match="sshKeys: key 1: ssh-keygen cannot read it"):
        hvm.plan(asked(sshKeys=KEY), SETTINGS, dataclasses.replace(ABLE, keys=(KeyFact(problem="ssh-keygen cannot read it"),)))
    with pytest.raises(Failed, match="could have changed them: /c/a"):
        hvm.plan(asked(), SETTINGS, dataclasses.replace(ABLE, firstboot=FirstbootFact(unsafe=("/c/a",))))
    with pytest.raises(Refused, match="userData: unknown parameter"):
        asked(OLD, userData=SCRIPT)


@pytest.mark.parametrize("broken", ["xorriso", "/s/seeds/xen50.work/seed.iso", "/s/seeds/xen50.work/told", "/x/xen50.new"])
def test_a_call_that_fails_leaves_the_disk_and_what_was_told_as_they_were(tmp_path: Path, broken: str) -> None:
    plan = planned(asked(sshKeys=KEY + "2"), facts(EARLIER, domu=AGAIN.domu))
    dom0 = ScriptedDom0(files=dict.fromkeys(("/s/seeds/xen50.iso", "/s/seeds/xen50.told", "/x/xen50"), "old"))

    def make(argv: tuple[str, ...]) -> Ran:
        dom0.files["/s/seeds/xen50.work/seed.iso"] = b"new"
        return Ran(int(broken == "xorriso"), "")

    dom0.answers["xorriso"] = make
    dom0.breaks["exchange_file", broken] = OSError(28, "No space left on device")
    with pytest.raises(Failed, match="xorriso ended with code 1" if broken == "xorriso" else "No space left"):
        carried_out(plan, dom0, tmp_path)
    assert {path: dom0.files[path] for path in ("/s/seeds/xen50.iso", "/s/seeds/xen50.told", "/x/xen50")} == dict.fromkeys(
        ("/s/seeds/xen50.iso", "/s/seeds/xen50.told", "/x/xen50"), b"old")


def test_nothing_of_the_work_stays(tmp_path: Path) -> None:
    plan = planned(asked(sshKeys=KEY), facts())
    assert isinstance(plan.steps[-2], RemoveBelow) and plan.steps[-2].may_fail
    (made,) = [step for step in plan.steps if isinstance(step, Run)]
    assert made.argv[-2:] == ("/s/seeds/xen50.work/seed.iso", "/s/seeds/xen50.work/files") and made.argv[0] == seeddisk.PROGRAM
