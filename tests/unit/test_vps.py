"""A wrong noun cannot be built, and a secret does not print."""

from __future__ import annotations

import ipaddress

import pytest

from dtcxen_soap.vps import Address, GuestNetwork, MacAddress, Mib, Nic, Secret, VpsId


def test_vps_id():
    assert [str(VpsId(number)) for number in (1, 99, 100, 9999)] == ["01", "99", "100", "9999"]
    assert VpsId(7).name == "xen07"
    for number in (0, -1, 10000):
        with pytest.raises(ValueError):
            VpsId(number)


def test_mib():
    assert Mib(2).bytes == 2 << 20
    with pytest.raises(ValueError):
        Mib(-1)


def test_secret_prints_redacted():
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}" and secret.reveal() == "hunter2"
    assert secret == Secret("hunter2") != Secret("x") and secret != "hunter2"


@pytest.mark.parametrize("text", ["00:16:3e:10:10", "00:16:3e:10:10:zz", "01:00:5e:00:00:01", "0:1:2:3:4:5", ""])
def test_what_is_no_mac(text):
    with pytest.raises(ValueError):
        MacAddress(text)


def test_gateway_by_version_and_on_link():
    four, six = ipaddress.ip_address("198.51.100.1"), ipaddress.ip_address("2001:db8::1")
    addresses = (Address(ipaddress.ip_interface("192.0.2.10/24")), Address(ipaddress.ip_interface("2001:db8::5/64")))
    network = GuestNetwork(Nic(MacAddress("00:16:3E:10:10:01"), addresses), (four, six), ())
    assert (network.gateway(4), network.gateway(6)) == (four, six)
    assert network.on_link(four) and not network.on_link(six)
