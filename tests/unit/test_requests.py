"""Strict parsing: a shifted, missing, empty or wrong parameter is refused by name, all faults at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dtcxen_soap import requests as req
from dtcxen_soap.errors import Refused
from dtcxen_soap.operations import OPERATIONS
from dtcxen_soap.settings import load
from dtcxen_soap.vps import ImageType, Mib, Secret, VpsId

SETTINGS = load("DNS=192.0.2.53\nNETMASK=255.255.255.0\nBROADCAST=192.0.2.255\nGATEWAY='192.0.2.1 2001:db8::1'").settings
SETUP = {"vpsname": "01", "hddsize": "2048", "swapsize": "256", "imagetype": "vbd"}
INSTALL = {
    "vpsname": "01", "ostype": "debian", "ramsize": "128", "password": "r00t", "nics": "192.0.2.10,255.255.255.0,192.0.2.255+192.0.2.11,255.255.255.0",
    "gateway": "192.0.2.1", "dns": "192.0.2.53,192.0.2.54"}


def parse(request, given, *, old=True, rpc=True, settings=SETTINGS, operation="op"):
    return req.parse(request, operation, list(given.items()), settings, old=old, rpc=rpc)


def faults(request, given, **how):
    with pytest.raises(Refused) as caught:
        parse(request, given, **how)
    return [(fault.parameter, fault.kind) for fault in caught.value.faults]


def test_the_panels_words_become_values():
    made = parse(req.SetupDisk, SETUP)
    assert (made.vps, made.disk_size, made.swap_size, made.image_type) == (VpsId(1), Mib(2048), Mib(256), ImageType.VBD)


@pytest.mark.parametrize("text", ["01", "1", "xen01", "0001", "xen1"])
def test_one_vps_however_it_is_written(text):
    assert parse(req.GetState, {"vpsname": text}).vps == VpsId(1)


@pytest.mark.parametrize("text", ["", "0", "00", "30000", "xen", "XEN01", "01 ", "-1", "1000", "xenxen01", "01\n", "٠١", "0x1", "../1"])
def test_what_is_no_vps(text):
    assert faults(req.GetState, {"vpsname": text}) == [("vpsname", "InvalidParameter")]


def test_the_seeds_shift_is_refused_in_every_position():
    """An empty id made `"" 30000 512 lvm` a 512 MB volume for a VPS called 30000."""
    assert faults(req.SetupDisk, SETUP | {"vpsname": ""}) == [("vpsname", "InvalidParameter")]
    shifted = dict(zip(SETUP, ["30000", "512", "lvm", ""], strict=True))
    assert faults(req.SetupDisk, shifted) == [("vpsname", "InvalidParameter"), ("swapsize", "InvalidParameter")]


@pytest.mark.parametrize(("name", "value"), [
    ("hddsize", "3"), ("hddsize", "0"), ("hddsize", "-5"), ("hddsize", "1e3"), ("hddsize", "9" * 19), ("hddsize", "20G"), ("hddsize", ""),
    ("swapsize", "4096"), ("imagetype", "LVM"), ("imagetype", "vbd;reboot")])
def test_wrong_sizes_and_types(name, value):
    assert faults(req.SetupDisk, SETUP | {name: value}) == [(name, "InvalidParameter")]


def test_every_fault_is_told_at_once():
    found = faults(req.SetupDisk, {"vpsnam": "01", "hddsize": "x", "swapsize": None})
    assert found == [("vpsnam", "UnknownParameter"), ("vpsname", "MissingParameter"), ("hddsize", "InvalidParameter"), ("swapsize", "NilParameter")]


def test_faults_say_what_is_expected():
    with pytest.raises(Refused, match=r"op: hddsize: '3': too small, expected a whole number of MiB from 64 to 16777216"):
        parse(req.SetupDisk, SETUP | {"hddsize": "3"})


def test_repeated_parameter():
    given = [*SETUP.items(), ("hddsize", "999")]
    with pytest.raises(Refused, match="hddsize: given more than once"):
        req.parse(req.SetupDisk, "op", given, SETTINGS, old=True, rpc=True)


def test_order_matters_in_the_literal_dialect_only():
    backwards = dict(reversed(SETUP.items()))
    assert parse(req.SetupDisk, backwards).vps == VpsId(1)
    assert {kind for _, kind in faults(req.SetupDisk, backwards, rpc=False)} == {"ParameterOrder"}


def test_a_secret_is_never_quoted():
    with pytest.raises(Refused) as caught:
        parse(req.Reinstall, INSTALL | {"password": "hunter2\x07"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(parse(req.Reinstall, INSTALL | {"password": "hunter2"}))


@pytest.mark.parametrize("password", ["a", "$(touch /x);'\"`", "pä ß€", "x" * 255, "a:b", " "])
def test_any_printable_password(password):
    assert parse(req.Reinstall, INSTALL | {"password": password}).password == Secret(password)


@pytest.mark.parametrize("password", ["", "x" * 256, "a\nb", "a\tb", "\x7f"])
def test_passwords_that_are_none(password):
    assert faults(req.Reinstall, INSTALL | {"password": password}) == [("password", "InvalidParameter")]


@pytest.mark.parametrize(("nics", "expected"), [
    ("192.0.2.10", ["192.0.2.10/24"]), ("192.0.2.10/25", ["192.0.2.10/25"]), ("192.0.2.10,255.255.255.128", ["192.0.2.10/25"]),
    ("192.0.2.10,255.255.255.0,192.0.2.255\n192.0.2.11", ["192.0.2.10/24", "192.0.2.11/24"]), ("192.0.2.10 2001:db8::5/64", ["192.0.2.10/24", "2001:db8::5/64"]),
    ("192.0.2.10/32", ["192.0.2.10/32"])])
def test_nics(nics, expected):
    given = INSTALL | {"nics": nics, "gateway": "192.0.2.1"}
    made = parse(req.Reinstall, given, settings=load("DNS=192.0.2.53\nNETMASK=255.255.255.0\nonlink_gateway=yes").settings)
    assert [str(address.interface) for address in made.addresses] == expected


def test_a_soap_array_of_nics_is_a_list_of_nics():
    made = parse(req.Reinstall, INSTALL | {"nics": ("192.0.2.10", "192.0.2.11")})
    assert len(made.addresses) == 2
    assert faults(req.Reinstall, INSTALL | {"ramsize": ("128", "256")}) == [("ramsize", "ParameterType")]


@pytest.mark.parametrize("nics", [
    "", " ", "+", "192.0.2.256", "192.0.2.10,255.0.255.0", "192.0.2.10,0.0.0.255", "192.0.2.10,255.255.255.0,198.51.100.255", "192.0.2.0", "192.0.2.255",
    "192.0.2.10+192.0.2.10", "127.0.0.1", "224.0.0.1", "0.0.0.0", "::1/64", "2001:db8::5,255.255.255.0", "192.0.2.10/33", "192.0.2.10/0",
    "192.0.2.10/24,255.255.255.0", "eth0", "192.0.2.10;reboot", "192.0.2.10/24/24", "fe80::1%eth0"])
def test_wrong_nics(nics):
    found = faults(req.Reinstall, INSTALL | {"nics": nics})
    assert {name for name, _ in found} == {"nics"}


def test_addresses_must_lie_in_the_nodes_networks():
    inside = load("DNS=192.0.2.53\nnode_networks=192.0.2.0/28").settings
    assert faults(req.Reinstall, INSTALL | {"nics": "192.0.2.130/24"}, settings=inside) == [("nics", "InvalidParameter")]
    assert parse(req.Reinstall, INSTALL | {"nics": "192.0.2.10/24"}, settings=inside).addresses


@pytest.mark.parametrize("gateway", ["198.51.100.1", "192.0.2.10", "2001:db8::1", "192.0.2.1,192.0.2.2", "gw"])
def test_wrong_gateways(gateway):
    assert ("gateway", "InvalidParameter") in faults(req.Reinstall, INSTALL | {"gateway": gateway})


def test_an_outside_gateway_is_the_admins_choice():
    onlink = load("DNS=192.0.2.53\nonlink_gateway=yes").settings
    made = parse(req.Reinstall, INSTALL | {"gateway": "198.51.100.1"}, settings=onlink)
    assert [str(gateway) for gateway in made.gateways(onlink)] == ["198.51.100.1"]


def test_the_nodes_gateway_completes_the_callers_where_it_serves():
    both = parse(req.Reinstall, INSTALL | {"nics": "192.0.2.10/24 2001:db8::5/64"})
    assert [str(gateway) for gateway in both.gateways(SETTINGS)] == ["192.0.2.1", "2001:db8::1"]
    elsewhere = parse(req.Reinstall, INSTALL | {"nics": "192.0.2.10/24 2001:db8:9::5/64"})
    assert [str(gateway) for gateway in elsewhere.gateways(SETTINGS)] == ["192.0.2.1"]


@pytest.mark.parametrize("absent", [None, ""])
def test_the_nodes_gateway_and_dns_fill_in(absent):
    made = parse(req.Reinstall, INSTALL | {"gateway": absent, "dns": absent})
    assert [str(gateway) for gateway in made.gateways(SETTINGS)] == ["192.0.2.1"]
    assert [str(server) for server in made.dns(SETTINGS)] == ["192.0.2.53"]
    bare = load("").settings
    assert faults(req.Reinstall, INSTALL | {"gateway": absent, "dns": absent}, settings=bare) == [("dns", "InvalidParameter"), ("gateway", "InvalidParameter")]


def test_the_sign_up_form():
    form = {"vpsname": "01", "ostype": "debian", "hddsize": "10240", "ramsize": "128", "ipaddr": "192.0.2.10", "password": "r00tPass"}
    made = parse(req.Reinstall, form)
    assert made.expected_disk == Mib(10240)
    assert [(str(address.interface), str(address.broadcast)) for address in made.addresses] == [("192.0.2.10/24", "192.0.2.255")]
    assert faults(req.Reinstall, form | {"nics": "192.0.2.11"}) == [("ipaddr", "InvalidParameter")]
    assert {("hddsize", "UnknownParameter"), ("ipaddr", "UnknownParameter")} <= set(faults(req.Reinstall, form, rpc=False))


def test_without_any_address_nics_is_what_is_missing():
    assert faults(req.Reinstall, {name: value for name, value in INSTALL.items() if name != "nics"}) == [("nics", "MissingParameter")]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("old", [False, True])
def test_no_operation_takes_an_unknown_parameter_or_position(operation, old):
    for name in ("__numeric_0", "param0", "v1", "c-gensym3", ""):
        assert (name, "UnknownParameter") in faults(operation.request, {name: "01"}, old=old)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_required_parameters_are_required(operation):
    for parameter in req.parameters(operation.request):
        if not parameter.optional:
            assert (parameter.wire, "MissingParameter") in faults(operation.request, {}, old=False)
            assert (parameter.wire, "NilParameter") in faults(operation.request, {parameter.wire: None}, old=False)
            assert (parameter.wire, "ParameterType") in faults(operation.request, {parameter.wire: req.Malformed("a structure")}, old=False)


@hypothesis_settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*INSTALL, "hddsize", "ipaddr", "x"]), st.one_of(st.none(), st.text(max_size=40), st.sampled_from(list(INSTALL.values())))))
def test_whatever_comes_is_a_request_or_refused(given):
    try:
        made = parse(req.Reinstall, given)
    except Refused as refusal:
        assert refusal.faults and all(fault.parameter and fault.problem for fault in refusal.faults)
    else:
        assert made.addresses and made.gateways(SETTINGS)


ED25519, RSA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7+/abc=="


@pytest.mark.parametrize(("text", "keys"), [
    (ED25519, (ED25519,)), (f"  {RSA}   me@home, \u00fc \n\n{ED25519}\n{ED25519}\r\n", (f"{RSA} me@home, \u00fc", ED25519)),
    ((ED25519, RSA), (ED25519, RSA)), ("sk-ssh-ed25519@openssh.com AAAAGnNr me", ("sk-ssh-ed25519@openssh.com AAAAGnNr me",)),
    ("ecdsa-sha2-nistp256\tAAAAE2Vj", ("ecdsa-sha2-nistp256 AAAAE2Vj",))])
def test_keys_are_read_line_by_line(text, keys):
    assert parse(req.SshKey, {"vpsname": "xen01", "keystring": text}).keys == keys


@pytest.mark.parametrize("text", [
    "", "ssh-rsa", "AAAAB3NzaC1yc2E=", f'command="id" {RSA}', f"restrict,pty {RSA}", f"environment=\"A=b\" {RSA}", f"# {RSA}", f"{RSA}\nnonsense", f"{RSA}; id",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----", "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1l",
    f"{RSA}\x00", f"{RSA}\x1b[0m", f"{RSA} a\x85{RSA}", "\n".join(f"ssh-rsa AAAAB3NzaC1yc2E{number}" for number in range(21))])
def test_what_is_no_key_or_more_than_one_is_refused(text):
    """No options: what a key may do is the node's to say."""
    assert faults(req.SshKey, {"vpsname": "01", "keystring": text}) == [("keystring", "InvalidParameter")]


def test_a_soap_password_that_bcrypt_would_cut_is_refused():
    """Without telling it."""
    assert parse(req.SoapPassword, {"vpsname": "01", "password": "x" * 72}).password == Secret("x" * 72)
    for password in ("x" * 73, "\u20ac" * 25):
        with pytest.raises(Refused) as refused:
            parse(req.SoapPassword, {"vpsname": "01", "password": password})
        assert "password: " in str(refused.value) and password not in str(refused.value)
    assert parse(req.ConsolePassword, {"vpsname": "01", "password": "\u20ac" * 200}).password.reveal()
