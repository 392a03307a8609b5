"""MAC addresses: the original's for 01 to 99, stable and alone beyond."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtcxen_soap.settings import load
from dtcxen_soap.vps import MacAddress, VpsId
from dtcxen_soap.xen.mac import mac_for

SETTINGS = load("").settings


def mac(number, taken=None, node="node-a", settings=SETTINGS):
    return mac_for(VpsId(number), settings, node, taken or {})


def test_the_number_is_pasted_as_the_last_byte():
    assert [mac(1), mac(10), mac(99)] == ["00:16:3e:10:10:01", "00:16:3e:10:10:10", "00:16:3e:10:10:99"]
    assert mac(7, settings=load("vps_mac_prefix=00:16:3E:AA:BB").settings) == "00:16:3e:aa:bb:07"


def test_another_vps_with_that_address_is_named():
    with pytest.raises(ValueError, match="00:16:3e:10:10:01 .*xen02 has it"):
        mac(1, {MacAddress("00:16:3e:10:10:01"): "xen02"})
    assert mac(1, {MacAddress("00:16:3e:10:10:01"): "xen01"}) == "00:16:3e:10:10:01"


def test_a_group_address_as_prefix_is_refused():
    with pytest.raises(ValueError, match="multicast"):
        mac(1, settings=load("vps_mac_prefix=01:16:3e:10:10").settings)


@given(st.integers(100, 9999), st.text())
def test_beyond_99_it_is_locally_administered_unicast_and_the_same_each_time(number, node):
    found = mac(number, node=node)
    assert int(found[:2], 16) & 0b11 == 0b10
    assert mac(number, node=node) == found


def test_nodes_and_numbers_differ():
    assert len({mac(number, node=node) for number in range(100, 1100) for node in ("a", "b")}) == 2000


def test_an_address_of_another_vps_is_left_to_it_and_the_second_choice_is_kept():
    first = mac(100)
    second = mac(100, {first: "xen200"})
    assert second != first
    assert mac(100, {first: "xen200", second: "xen100"}) == second
    assert mac(100, {second: "xen100"}) == second, "though the first is free again"
    assert mac(100, {first: "xen100"}) == first


def test_when_every_choice_is_taken_it_says_so():
    class All(dict):
        def get(self, key, default=None):
            return "xen200"

        def __contains__(self, key):
            return True

    with pytest.raises(ValueError, match="belong to other VPSes"):
        mac(100, All({MacAddress("02:00:00:00:00:01"): "x"}))
