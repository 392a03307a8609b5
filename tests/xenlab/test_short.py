"""The short lab: a VPS's whole life on LVM, with the node's kernel and with GRUB of its own, as the panel and its owner see it."""

from __future__ import annotations

import pytest

from tests.xenlab.calls import Fault
from tests.xenlab.image import BUNDLE
from tests.xenlab.lab import Lab

pytestmark = pytest.mark.xenlab("short")

VPS, NAME = 5, "xen05"
PASSWORD = "pa$$ w'or\"d;5"


def test_the_node_serves_what_it_says(lab: Lab) -> None:
    assert lab.rpc("testVPSServer") == "OK"
    assert BUNDLE in lab.rpc("getInstallableOS")
    assert lab.ssh("systemctl is-active dtcxen-soap; dtcxen check --config /etc/dtc-xen/dtc-xen.conf >/dev/null && echo right").split() == ["active", "right"]


def test_a_system_with_the_nodes_kernel_runs_pings_and_lets_root_in(lab: Lab) -> None:
    with lab.timed("installation, direct"):
        made = lab.setup(VPS)
        assert made.created and made.disks == [f"/dev/vg0/{NAME}", f"/dev/vg0/{NAME}swap"]
        lab.done(lab.reinstall(VPS, PASSWORD, bootMode="direct"))
    assert lab.rpc("getVPSState", vpsname="05") == "Not running"
    with lab.timed("start to login, direct"):
        assert lab.rpc("startVPS", vpsname="05") == ["OK", f"Started {NAME}"]
        lab.wait_for_login(VPS)
    lab.ping(VPS)
    state = lab.rpc("getVPSState", vpsname="05")
    assert state[0] == "domain" and ["id", NAME] in state and ["maxmem", "256"] in state
    assert [row.name for row in lab.client().listStartedVPS()] == [NAME]
    with lab.timed("sign-in and commands"), lab.signed_in(VPS, PASSWORD) as root:
        assert root.run("id -u; hostname; findmnt -no SOURCE /; swapon --noheadings --show=NAME").split() == ["0", NAME, "/dev/xvda", "/dev/xvdb"]
        assert lab.address(VPS) in root.run("ip -br addr show eth0")


def test_what_would_hurt_a_running_system_is_refused(lab: Lab) -> None:
    assert "running" in lab.refusal("reinstallOS", vps="05", osType=BUNDLE, ramSizeMib=256, password="other", nics=f"{lab.address(VPS)}/24")
    assert "running" in lab.refusal("killVPSDisk", vps="05")
    assert "running" in lab.refusal("fsckVPSpartition", vps="05")
    with pytest.raises(Fault, match="running"):
        lab.rpc("setupLVMDisks", vpsname="05", hddsize="512", swapsize="64", imagetype="lvm")
    assert lab.rpc("startVPS", vpsname="05").startswith("NOTOK - ")
    lab.ping(VPS)


def test_it_shuts_down_and_is_gone(lab: Lab) -> None:
    with lab.timed("shutdown"):
        assert lab.rpc("shutdownVPS", vpsname="05") == ["OK", f"Shutdown {NAME}"]
        lab.until(f"{NAME} is gone", lambda: not lab.runs(VPS), 120)
    assert lab.state(VPS) == "Not running"
    assert lab.rpc("shutdownVPS", vpsname="05").startswith("NOTOK - ")


def test_a_reinstallation_with_grub_of_its_own_ends_as_booted(lab: Lab) -> None:
    with lab.timed("installation and start to login, pvh-grub"):
        lab.booted(VPS, "another one", bootMode="pvh-grub")
    lab.ping(VPS)
    assert 'type = "pvh"' in lab.ssh(f"cat /etc/xen/{NAME}").replace("'", '"')
    with lab.signed_in(VPS, "another one") as root:
        assert "xvda" in root.run("cat /proc/cmdline")


def test_what_it_used_is_measured_and_fetched_once(lab: Lab) -> None:
    numbers = lab.until_measured(VPS)
    assert lab.client().getPerformanceData(count=1).newest not in numbers, "what was fetched is there no more"


def test_nothing_is_left_of_it_once_it_was_removed(lab: Lab) -> None:
    assert lab.rpc("destroyVPS", vpsname="05") == ["OK", f"Destroyed {NAME}"]
    assert not lab.runs(VPS)
    assert lab.rpc("killVPS", vpsname="05", imagetype="lvm") is None
    lab.until("nothing is left", lambda: not lab.leftovers(VPS), 300, tell=lambda: "\n".join(lab.leftovers(VPS)))
    assert lab.client().listStartedVPS() in (None, [])
