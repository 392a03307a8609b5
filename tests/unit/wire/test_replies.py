"""What goes back: the original's replies under old names, plain structs under new ones, one fault for all that is wrong."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from passlib.hash import des_crypt

from dtcxen_soap import answers
from dtcxen_soap.operations import OPERATIONS, find
from dtcxen_soap.vps import Secret
from dtcxen_soap.wire.encoding import encode
from dtcxen_soap.wire.xmlnames import ENC, XSI, local
from tests.wirekit import ANSWERS, NOON, RECORDED, SAMPLES, Wire, xml

ORIGINAL = RECORDED.parent / "original-replies"
STATE = answers.VpsState("01", "running", 3, 128, 1, "-b----", 51.5)


def decoded(element: etree._Element) -> Any:
    """A reply's value as the panel's client makes it."""
    attributes = {local(name): text for name, text in element.attrib.items()}
    kind = attributes.get("type", "").rpartition(":")[2]
    if attributes.get("nil") in ("true", "1") or attributes.get("null") == "1":
        return None
    if kind == "Array":
        return [decoded(child) for child in element]
    if len(element):
        return {local(child.tag): decoded(child) for child in element}
    return {"int": int, "integer": int, "double": float, "boolean": lambda text: text == "true"}.get(kind, str)(element.text or "")


@pytest.mark.parametrize(("operation", "parameters", "answer", "file"), [
    ("startVPS", {"vpsname": "xen01"}, answers.PowerDone("01", "Started xen01"), "tuple_startVPS"),
    ("killVPS", {"vpsname": "01"}, answers.DisksRemoved(("/dev/vg/xen01",)), "none_killVPS"),
    ("getVPSState", {"vpsname": "xen01"}, STATE, "nested_getVPSState"),
    ("getVPSState", {"vpsname": "xen01"}, answers.VpsState("01", "Not running"), "notrunning_getVPSState"),
    ("getVPSState", {"vpsname": "xen01"}, answers.VpsState("01", "fsck"), "fsck_getVPSState"),
    ("getVPSInstallLog", {"vpsname": "01", "numlines": "2"}, answers.InstallLog("line 1\nline 2 <x> & y\n"), "log_getVPSInstallLog"),
    ("getVPSInstallLog", {"vpsname": "01", "numlines": "2"}, answers.InstallLog(""), "emptylog_getVPSInstallLog"),
    ("getInstallableOS", {}, answers.InstallableOs(("debian", "centos", "netbsd")), "list_strings_getInstallableOS"),
    ("reportInstalledIso", {"vpsname": "xen01"}, answers.IsoList((), 0, 0), "empty_reportInstalledIso"),
    ("reportInstalledIso", {"vpsname": "xen01"}, answers.IsoList((answers.Iso("one.iso", 1, NOON),), 1, 0), "list1_reportInstalledIso"),
    ("reportInstalledIso", {"vpsname": "xen01"}, answers.IsoList(
        (answers.Iso("debian-5.iso", 1, NOON), answers.Iso("freebsd-7.iso", 1, NOON, True), answers.Iso("debian-5.iso", 2, NOON, True)), 1, 9), "list2_reportInstalledIso"),
])
def test_old_names_get_the_originals_reply(operation: str, parameters: dict[str, str], answer: Any, file: str, tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    wire.engine.outcome = lambda call: answer
    original = etree.fromstring((ORIGINAL / f"{file}.http").read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")[2])
    expected = next(item for item in original.iter() if local(item.tag) == "Result")
    reply = wire.call(operation, *parameters.items())
    assert decoded(reply.result) == decoded(expected)
    assert reply.root[0][0].tag == f"{operation}Response"


def test_a_log_is_ascii_for_the_panel_and_whole_for_others(tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    wire.engine.outcome = lambda call: answers.InstallLog("caf\u00e9?\r\x1b[0m\nzwei\n")
    assert decoded(wire.call("getVPSInstallLog", ("vpsname", "01")).result) == "caf ?\n [0m\n\nzwei\n".replace("?\n", "?\r")
    assert wire.call("getVPSInstallLog", ("vps", "01"), rpc=False).text("text").startswith("caf\u00e9?")


@pytest.mark.parametrize("operation", [item for item in OPERATIONS if item.name != item.old_name], ids=lambda item: item.name)
def test_new_names_get_plain_structs(operation: Any, tmp_path: Path) -> None:
    form = find(operation.name, rpc=True)
    assert form is not None
    parameters = [(item.wire, SAMPLES[item.type.name].replace("&", "&amp;")) for item in form.parameters if not item.rpc_only]
    found = decoded(Wire(tmp_path).call(operation.name, *parameters).result)
    answer = ANSWERS[operation.answer]
    if isinstance(answer, answers.JobList):
        assert [row["id"] for row in found] == [7, 6] and found[0]["stepName"] == "Make the file system." and found[1]["vps"] is None
    elif isinstance(answer, answers.PingList):
        assert found[0] == {"vps": "01", "address": "192.0.2.10", "answered": True, "rttMs": 0.4, "lossPercent": 0} and found[1]["rttMs"] is None
    elif isinstance(answer, answers.InstallableOs):
        assert found == ["centos", "netbsd"]
    elif isinstance(answer, answers.InstallableApps):
        assert found == ["wordpress"]
    elif isinstance(answer, answers.VpsList):
        assert [row["vps"] for row in found] == ["01", "02"] and found[1]["domid"] is None
    elif isinstance(answer, answers.IsoList):
        assert found["isos"][0] == {"name": "a.iso", "sizeBytes": 5 << 30, "changed": "2026-11-22T12:00:00+00:00", "library": False} and found["quotaBytes"] == 0
    else:
        assert isinstance(found, dict) and not any("_" in name for name in found)


def test_only_known_values_are_encoded() -> None:
    root = etree.Element("r")
    with pytest.raises(TypeError):
        encode(root, "x", Secret("s"))
    encode(root, "list", ("a", 1))
    encode(root, "texts", ("a", "b"))
    assert all(item.get(f"{{{XSI}}}type") == "SOAP-ENC:Array" for item in root[1:])
    assert [item.get(f"{{{ENC}}}arrayType") for item in root[1:]] == ["xsd:anyType[2]", "xsd:string[2]"]


def test_all_faults_of_a_request_come_at_once_with_detail(tmp_path: Path) -> None:
    reply = Wire(tmp_path).call("reinstallVPSos", ("vpsname", "01"), ("ostype", "debian"), ("ramsize", "3"), ("password", "s3\tcret"), ("nic", "x"))
    told = reply.text("faultstring").split("; ")
    entries = [{local(item.tag): item.text for item in entry} for entry in reply.root.iter("{urn:dtc-xen}fault")]
    assert [entry["parameter"] for entry in entries] == ["nic", "ramsize", "password"]
    assert [entry["kind"] for entry in entries] == ["UnknownParameter", "InvalidParameter", "InvalidParameter"]
    assert told == [f"reinstallVPSos: {entry['parameter']}: {entry['problem']}, expected {entry['expected']}" for entry in entries]
    assert b"s3" not in reply.body


def test_literal_parameters_keep_their_order_and_rpc_ones_need_not(tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    swapped = (("swapSizeMib", "1"), ("diskSizeMib", "100"), ("vps", "1"))
    assert "ParameterOrder" in wire.call("setupVPSDisk", *swapped, rpc=False).fault
    assert wire.call("setupVPSDisk", *swapped).status == 200


def _with_types(size: str, flag: str, rpc: bool) -> bytes:
    """setupVPSDisk with xsi:type on two of its parameters."""
    plain = xml("setupVPSDisk", ("vps", "01"), ("diskSizeMib", "1024"), ("swapSizeMib", "0"), ("planOnly", "1"), rpc=rpc)
    typed = f' xmlns:i="{XSI}" i:type="xsd:%s">'
    return plain.replace(b"<diskSizeMib>", b"<diskSizeMib" + (typed % size).encode()).replace(b"<planOnly>", b"<planOnly" + (typed % flag).encode())


@pytest.mark.parametrize("rpc", [True, False])
def test_a_flag_may_be_typed_as_boolean_and_a_number_may_not(rpc: bool, tmp_path: Path) -> None:
    wire = Wire(tmp_path)
    assert wire.post(_with_types("int", "boolean", rpc)).status == 200
    assert "setupVPSDisk: diskSizeMib: a boolean where a text or number is expected" in wire.post(_with_types("boolean", "boolean", rpc)).fault


def test_owners_are_told_what_they_may_not_do(tmp_path: Path) -> None:
    wire = Wire(tmp_path, f"xen02:{des_crypt.hash('s3cret')}\n")
    assert wire.call("getVPSState", ("vpsname", "xen02"), user="xen02").status == 200
    assert wire.call("getVPSState", ("vpsname", "02"), user="xen02").status == 200
    assert "Client.NotAllowed" in wire.call("getVPSState", ("vpsname", "xen01"), user="xen02").fault
    assert "Client.NotAllowed" in wire.call("killVPS", ("vpsname", "02"), user="xen02").fault


def test_no_request_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(tmp_path)
    with caplog.at_level(logging.DEBUG):
        wire.call("reinstallVPSos", ("vpsname", "01"), ("password", "hunter2"), ("ramsize", "hunter2"), ("hunter2", "x"))
        wire.post(b"<hunter2")
        wire.call("reinstallVPSos", ("password", "<b>hunter2</b>"))
    assert "hunter2" not in caplog.text
