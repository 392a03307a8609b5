"""A card's address moves to a bridge above it, in the text of interfaces(5)."""

from __future__ import annotations

import pytest

from dtcxen_soap import interfaces

STATIC = """\
source /etc/network/interfaces.d/*
auto lo
iface lo inet loopback

# The primary network interface
allow-hotplug eth0
iface eth0 inet static
    address 192.0.2.9/24
    gateway 192.0.2.1
iface eth0 inet6 static
    address 2001:db8::9/64
"""
MOVED = """\
source /etc/network/interfaces.d/*
auto lo
iface lo inet loopback

# The primary network interface
auto xenbr0
iface eth0 inet manual

iface xenbr0 inet static
    bridge_ports eth0
    bridge_stp off
    bridge_fd 0
    address 192.0.2.9/24
    gateway 192.0.2.1
iface xenbr0 inet6 static
    address 2001:db8::9/64
"""


def test_addresses_of_both_families_go_to_the_bridge() -> None:
    assert interfaces.bridged(STATIC, "eth0", "xenbr0") == MOVED


@pytest.mark.parametrize(("before", "after"), [
    ("auto lo eth0 eth1\niface eth0 inet dhcp\n",
     "auto lo eth1\nauto br0\niface eth0 inet manual\n\niface br0 inet dhcp\n    bridge_ports eth0\n    bridge_stp off\n    bridge_fd 0\n"),
    ("iface eth0 inet dhcp\n", "iface eth0 inet manual\n\nauto br0\niface br0 inet dhcp\n    bridge_ports eth0\n    bridge_stp off\n    bridge_fd 0\n"),
    ("auto eth0\nallow-hotplug eth0\niface eth0 inet dhcp\n",
     "auto br0\niface eth0 inet manual\n\niface br0 inet dhcp\n    bridge_ports eth0\n    bridge_stp off\n    bridge_fd 0\n"),
    ("auto eth1\niface eth1 inet dhcp\n", "auto eth1\niface eth1 inet dhcp\n")])
def test_whatever_brought_the_card_up_brings_the_bridge_up(before: str, after: str) -> None:
    assert interfaces.bridged(before, "eth0", "br0") == after


@pytest.mark.parametrize(("text", "why"), [
    ("iface eth0:1 inet static\n", "eth0:1 stands on eth0"), ("iface eth0.7 inet dhcp\n", "eth0.7 stands on eth0"),
    ("iface bond0 inet dhcp\n bond-slaves eth0 eth1\n", "used by bond-slaves"), ("iface br1 inet dhcp\n bridge_ports eth0\n", "used by bridge_ports"),
    ("iface vlan5 inet dhcp\n vlan-raw-device eth0\n", "used by vlan-raw-device"), ("iface eth0 inet ppp\n", "configured by ppp"),
    ("iface eth0 inet static inherits x\n", "inherits"), ("iface eth0 inet static\n address \\\n 192.0.2.9\n", "backslash")])
def test_what_a_change_of_text_cannot_move_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        interfaces.bridged(text, "eth0", "xenbr0")


def test_every_configured_interface_is_known() -> None:
    assert interfaces.names(STATIC) == {"lo", "eth0"}


def test_a_bridge_of_its_own() -> None:
    assert interfaces.alone("br0", "") == "# A bridge for the VPSes of this node.\nauto br0\niface br0 inet manual\n    bridge_ports none\n    bridge_stp off\n    bridge_fd 0\n"
    assert "iface eth1 inet manual\n\nauto br0\n" in interfaces.alone("br0", "eth1")
