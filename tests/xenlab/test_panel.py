"""The panel's day on a real node, through the panel's own client library: nusoap, from the tests' Debian 13."""

from __future__ import annotations

from typing import Any

import pytest

from tests.interop.clients import outcomes
from tests.xenlab.image import BUNDLE
from tests.xenlab.lab import ADMIN, NETWORK, PASSWORD, Lab

pytestmark = pytest.mark.xenlab("full")

VPS, NAME = 7, "xen07"


def test_the_panel_makes_runs_and_deletes_a_vps(lab: Lab, debian13: Any) -> None:
    def panel(operation: str, **parameters: str) -> Any:
        (told,) = outcomes("nusoap.php", [(operation, parameters)], lambda name: debian13.command(["php", f"/mnt/tests/interop/{name}"]),
                           url=lab.url, user=ADMIN, password=PASSWORD)
        assert told["error"] is False, told
        return told["result"]

    assert panel("testVPSServer") == "OK" and BUNDLE in panel("getInstallableOS")
    assert panel("setupLVMDisks", vpsname="07", hddsize="1024", swapsize="64", imagetype="lvm") == "OK"
    assert panel("reinstallVPSos", vpsname="07", ostype=BUNDLE, ramsize="256", password="Sesam0effneDich", gateway=str(NETWORK.ip), dns=str(NETWORK.ip),
                 nics=f"{lab.address(VPS)},{NETWORK.netmask},{NETWORK.network.broadcast_address}") == "OK, started mkos."
    assert panel("getVPSState", vpsname="07") == "mkos"
    lab.until("it is installed", lambda: panel("getVPSState", vpsname="07") != "mkos", 900, every=5, tell=lambda: panel("getVPSInstallLog", vpsname="07", numlines="20"))
    assert panel("getVPSState", vpsname="07") == "Not running", panel("getVPSInstallLog", vpsname="07", numlines="20")
    assert panel("startVPS", vpsname="07") == ["OK", f"Started {NAME}"]
    assert panel("startVPS", vpsname="07").startswith("NOTOK - ")
    lab.ping(VPS, 400)
    assert [row[0] for row in panel("listStartedVPS")] == [NAME]
    state = panel("getVPSState", vpsname="07")
    assert state[0] == "domain" and ["id", NAME] in state and len(dict(state[1:])["state"]) == 6
    assert panel("destroyVPS", vpsname="07") == ["OK", f"Destroyed {NAME}"]
    assert panel("killVPS", vpsname="07", imagetype="lvm") in (None, "")
    assert panel("getVPSState", vpsname="07") == "Not running"
    lab.until("nothing is left", lambda: not lab.leftovers(VPS), 300, tell=lambda: "\n".join(lab.leftovers(VPS)))
