"""The WSDL is the committed one, and its schema agrees with the parser and with every reply."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from dtcxen_soap import settings as configuration
from dtcxen_soap import valuetypes
from dtcxen_soap.operations import Form, forms
from dtcxen_soap.valuetypes import ValueType
from dtcxen_soap.wire import wsdl
from dtcxen_soap.wire.xmlnames import TNS, XSD, legal
from tests.wirekit import ANSWERS, SAMPLES, Wire

COMMITTED = Path(__file__).parents[2] / "wsdl" / "dtcxen.wsdl"
NODE = configuration.load("NETMASK=255.255.255.0\nBROADCAST=192.0.2.255").settings
FORMS = forms(rpc=False)
TYPES = sorted({item.type.name: item.type for form in FORMS for item in form.parameters if not item.rpc_only}.items())


@functools.cache
def interface() -> etree._Element:
    return etree.fromstring(wsdl.default())


def _schema_element() -> etree._Element:
    return etree.fromstring(etree.tostring(next(interface().iter(f"{{{XSD}}}schema"))))


@functools.cache
def schema() -> etree.XMLSchema:
    """The WSDL's schema, with an element probe-T for each simple type T."""
    root = _schema_element()
    for item in root.findall(f"{{{XSD}}}simpleType"):
        etree.SubElement(root, f"{{{XSD}}}element", name=f"probe-{item.get('name')}", type=f"tns:{item.get('name')}")
    etree.SubElement(root, f"{{{XSD}}}element", name="probe-Flag", type="xs:boolean")
    return etree.XMLSchema(etree.fromstring(etree.tostring(root)))


def accepts(type: ValueType, text: str) -> bool:
    probe = etree.Element(f"{{{TNS}}}probe-{type.name}")
    probe.text = text
    return bool(schema().validate(etree.fromstring(etree.tostring(probe))))


def parses(type: ValueType, text: str) -> bool:
    try:
        type.parse(text, NODE)
    except ValueError:
        return False
    return True


def test_the_committed_wsdl_is_generated_from_the_catalogue() -> None:
    assert COMMITTED.read_bytes() == wsdl.default(), "python -m dtcxen_soap.wire.wsdl > wsdl/dtcxen.wsdl"


def test_every_form_is_published_with_its_help() -> None:
    ports = interface().find("{*}portType")
    assert ports is not None
    published = {item.get("name"): item.findtext("{*}documentation") for item in ports}
    assert list(published) == [form.name for form in FORMS]
    assert all(text and form.operation.help in text for form, text in zip(FORMS, published.values(), strict=True))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_parameter_is_published_with_its_type(form: Form) -> None:
    sequence = _schema_element().find(f"{{{XSD}}}complexType[@name='{form.name}']/{{{XSD}}}sequence")
    published = [] if sequence is None else [(item.get("name"), item.get("type"), item.get("minOccurs", "1")) for item in sequence]
    wanted = [item for item in form.parameters if not item.rpc_only]
    assert published == [(item.name(form.old), "xs:boolean" if item.type.name == "Flag" else f"tns:{item.type.name}", "0" if item.optional else "1")
                         for item in wanted]


def _interesting(type: ValueType) -> st.SearchStrategy[str]:
    facets = type.facets(NODE)
    numbers = st.integers(facets.minimum - 1, facets.maximum + 1).map(str)
    odd = st.text(st.sampled_from("0123456789+-. ,/:abfxenXE\t\n\r\u00a0\u0085\u2003\u0661\u00e4\x7f\x9f\ufeff\U0001f600"), max_size=12)
    words = st.sampled_from(("", " ", "01", "xen01", "true", " true", "1 ", "lvm", "lvm ", "192.0.2.10", "192.0.2.10,255.255.255.0,192.0.2.255", "::1", SAMPLES[type.name]))
    matching = st.from_regex(re.compile(facets.pattern, re.ASCII), fullmatch=True) if facets.pattern else st.nothing()
    padded = st.tuples(st.sampled_from((" ", "\u00a0", "\n", "")), words | numbers, st.sampled_from((" ", "\u2003", "\n", ""))).map("".join)
    return words | numbers | odd | padded | matching


@pytest.mark.parametrize("type", [type for _, type in TYPES], ids=[name for name, _ in TYPES])
@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_the_parser_takes_the_schema_takes(type: ValueType, data: Any) -> None:
    text = data.draw(_interesting(type))
    if legal(text) and parses(type, text):
        assert accepts(type, text)


@pytest.mark.parametrize("type", [type for _, type in TYPES], ids=[name for name, _ in TYPES])
def test_samples_are_taken_by_both(type: ValueType) -> None:
    assert parses(type, SAMPLES[type.name]) and accepts(type, SAMPLES[type.name])


@pytest.mark.parametrize("blank", ["\u00a0", "\u2003", "\u0085", "\u3000"])
@pytest.mark.parametrize("type", [type for _, type in TYPES], ids=[name for name, _ in TYPES])
def test_blanks_beyond_ascii_are_blanks_to_neither(type: ValueType, blank: str) -> None:
    sample = SAMPLES[type.name]
    for text in (blank + sample, sample + blank, f"{sample}{blank}{sample}"):
        assert parses(type, text) <= accepts(type, text)


@pytest.mark.parametrize(("type", "text"), [
    (valuetypes.VPS, ""), (valuetypes.VPS, "00001"), (valuetypes.VPS, "xen"), (valuetypes.DISK_SIZE, "3"), (valuetypes.DISK_SIZE, ""), (valuetypes.SWAP_SIZE, "-1"),
    (valuetypes.PASSWORD, ""), (valuetypes.PASSWORD, "a\tb"), (valuetypes.PASSWORD, "x" * 256), (valuetypes.PASSWORD, "a\x85b"), (valuetypes.IMAGE_TYPE, "LVM"),
    (valuetypes.HOSTNAME, "-a"), (valuetypes.NICS, "eth0"), (valuetypes.RAM_SIZE, "128M"), (valuetypes.JOB_ID, "0"),
])
def test_limits_stand_in_the_schema(type: ValueType, text: str) -> None:
    assert not parses(type, text) and not accepts(type, text)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_request_and_reply_is_valid(form: Form, tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    parameters = tuple((item.name(form.old), SAMPLES[item.type.name].replace("&", "&amp;")) for item in form.parameters if not item.rpc_only)
    request = etree.fromstring(f'<{form.name} xmlns="{TNS}">' + "".join(f"<{name}>{text}</{name}>" for name, text in parameters) + f"</{form.name}>")
    assert schema().validate(request), schema().error_log
    reply = wire.call(form.name, *parameters, rpc=False)
    assert reply.status == 200, reply.fault
    body = reply.root[0][0]
    assert schema().validate(etree.fromstring(etree.tostring(body))), schema().error_log


def test_every_answer_has_a_sample() -> None:
    assert {form.operation.answer for form in FORMS} <= set(ANSWERS)
