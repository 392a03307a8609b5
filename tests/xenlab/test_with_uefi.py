"""The last of the lab: an HVM guest by UEFI, under which QEMU's emulation itself may end.

QEMU 7.2 (Debian 12's) raises a virtual interrupt without its lock when a nested guest writes CR8, and
ends with an assertion in tcg_handle_interrupt. The lab then stops and says so: it is no word on us.
"""

from __future__ import annotations

import pytest

from tests.xenlab.lab import Lab

pytestmark = pytest.mark.xenlab("full")


def test_uefi_boots_the_same_cd(lab: Lab) -> None:
    lab.setup(52, disk=128)
    lab.zeroed(52)
    lab.upload_cd(52)
    lab.client().writeXenHVMconf(vps="52", ramSizeMib=512, addresses=lab.address(52), vncPassword="no_vnc", boot="lab.iso", firmware="uefi")
    with lab.timed("start to the CD's words, hvm with UEFI"):
        lab.client().startVPS(vps="52")
        lab.wait_for_cd(52, "firmware=uefi")
    assert lab.ssh("ss -Hltn | awk '{print $4}' | grep ':59'; true") == ""
    lab.remove(52)
