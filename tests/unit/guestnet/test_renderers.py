"""Every renderer on every kind of network, held to golden files, and what must be true of all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtcxen_soap.guestnet import ifcfg, ifupdown, keyfile, netplan, networkd, resolvconf
from tests.networks import CASES, MAC

RENDERERS = {
    "ifupdown": ifupdown.render,
    "ifcfg": ifcfg.render,
    "netplan": netplan.render,
    "networkd": lambda network: (*networkd.render(network), networkd.link(network)),
    "keyfile": keyfile.render,
    "resolvconf": lambda network: (resolvconf.render(network),),
}
GOLDEN = Path(__file__).parents[2] / "golden" / "guestnet"
HAS_NO_BROADCAST = ("netplan", "keyfile", "resolvconf")


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("case", CASES)
def test_files_are_the_golden_ones(case, renderer, golden):
    files = RENDERERS[renderer](CASES[case])
    for file in files:
        golden(f"guestnet/{case}/{renderer}/{file.path}", file.text)
    kept = {str(path.relative_to(GOLDEN / case / renderer)) for path in (GOLDEN / case / renderer).rglob("*") if path.is_file()}
    assert kept == {file.path for file in files}


@pytest.mark.parametrize("renderer", [name for name in RENDERERS if name != "resolvconf"])
@pytest.mark.parametrize("case", CASES)
def test_every_address_gateway_and_server_is_there(case, renderer):
    network = CASES[case]
    text = "\n".join(file.text for file in RENDERERS[renderer](network))
    versions = {address.version for address in network.nic.addresses}
    assert all(str(address.ip) in text for address in network.nic.addresses)
    assert all(str(gateway) in text for gateway in network.gateways)
    assert all(str(server) in text for server in network.dns if server.version in versions)


@pytest.mark.parametrize("renderer", RENDERERS)
def test_an_own_broadcast_address_is_written_where_the_format_can(renderer):
    text = "\n".join(file.text for file in RENDERERS[renderer](CASES["own-broadcast"]))
    assert ("192.0.2.127" in text) is (renderer not in HAS_NO_BROADCAST)


def test_no_format_names_the_card_but_by_its_address_where_it_can():
    for render in (netplan.render, networkd.render, keyfile.render):
        text = render(CASES["one-ipv4"])[0].text.lower()
        assert MAC in text
        assert "name=" not in text and "set-name" not in text


def test_files_that_may_hold_secrets_elsewhere_are_readable_by_root_only():
    assert [render(CASES["one-ipv4"])[0].mode for render in (netplan.render, keyfile.render)] == [0o600, 0o600]


def test_the_gateway_goes_with_the_address_beside_it():
    stanza = ifupdown.render(CASES["two-networks"])[0].text.partition("auto eth0:1")[0]
    assert "192.0.2.10" in stanza and "gateway 192.0.2.1\n" in stanza


def test_old_ifupdown_never_sees_a_second_stanza_of_one_family_nor_a_source_line():
    text = ifupdown.render(CASES["both-versions"])[0].text
    assert text.count("iface eth0 inet6") == 1 and "source" not in text
    assert "\nsource /etc/network/interfaces.d/*\n" in ifupdown.render(CASES["both-versions"], source=True)[0].text


def test_red_hats_general_file_keeps_what_is_not_about_the_network():
    old = "NETWORKING=no\nHOSTNAME=old\nGATEWAY=10.0.0.1\nNOZEROCONF=yes\n"
    kept = ifcfg.render(CASES["one-ipv4"], old)[0]
    assert kept.path == "etc/sysconfig/network"
    assert kept.text == "HOSTNAME=old\nNOZEROCONF=yes\nNETWORKING=yes\nNETWORKING_IPV6=no\n"
    assert ifcfg.render(CASES["ipv6-only"], old, "mail.example.com")[0].text == "NOZEROCONF=yes\nNETWORKING=yes\nNETWORKING_IPV6=yes\nHOSTNAME=mail.example.com\n"


def test_resolv_conf_holds_every_server_and_warns_of_those_not_asked():
    text = resolvconf.render(CASES["many-dns"]).text
    assert text.count("nameserver ") == 5 and "first 3 only" in text
    assert "first 3 only" not in resolvconf.render(CASES["one-ipv4"]).text
