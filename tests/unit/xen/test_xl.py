"""What xl says, read: rows by name, the state in a word, the memory limit out of JSON."""

from __future__ import annotations

import json

import pytest

from dtcxen_soap.vps import Mib
from dtcxen_soap.xen import xl

TABLE = """\
Name                                        ID   Mem VCPUs\tState\tTime(s)
Domain-0                                     0  2047     2     r-----     412.7
xen01                                        3   512     1     -b----      37.9
xen02                                        4  1024     4     ------    9120.0
xen03                                        5   256     1     --p---       0.0
xen04                                        6   256     1     ---s--       1.5
xen05                                        7   256     1     ---sc-       1.5
xen06                                        8     0     1     ---s-d      12.3
xen07                                        9   256     1     ---sr-       1.5
two words                                   10   256     1     -b----       2.5
(null)                                      11     0     1     --ps-d       4.4
xen100                                   12345 131072   128     -b---- 1234567.8
"""
"""Rows as xl 4.17 formats them, one per state."""
HEADER = TABLE.splitlines()[0]


def test_a_row_is_read_whole() -> None:
    assert xl.parse_table(TABLE)["xen02"] == xl.Domain(4, Mib(1024), 4, "running", 9120.0)
    assert xl.parse_table(TABLE)["xen100"] == xl.Domain(12345, Mib(131072), 128, "blocked", 1234567.8)


@pytest.mark.parametrize(("name", "state"), [
    ("Domain-0", "running"), ("xen01", "blocked"), ("xen02", "running"), ("xen03", "paused"), ("xen04", "shutdown"), ("xen05", "crashed"),
    ("xen06", "dying"), ("xen07", "shutdown"), ("two words", "blocked"), ("(null)", "dying")])
def test_the_gravest_flag_is_the_state(name: str, state: str) -> None:
    assert xl.parse_table(TABLE)[name].state == state


def test_a_watchdogs_end_is_a_crash() -> None:
    assert xl.parse_table(TABLE.replace("---sc-", "---sw-"))["xen05"].state == "crashed"


@pytest.mark.parametrize("text", ["", "\n", "libxl: error", f"{HEADER}\nxen01 is somewhere", f"{HEADER}\nxen01 1 2"])
def test_what_is_no_table_is_not_taken_for_an_empty_one(text: str) -> None:
    with pytest.raises(ValueError):
        xl.parse_table(text)


def test_no_domain_but_the_header() -> None:
    assert xl.parse_table(HEADER + "\n") == {}


def test_the_memory_limit_comes_from_the_configuration() -> None:
    def row(domid: int | None, **info: object) -> dict[str, object]:
        return {"domid": domid, "config": {"c_info": {"type": "pv", "name": "xen01"}, "b_info": info, "disks": []}}
    listing = [row(3, max_memkb=1048576, target_memkb=524288, avail_vcpus=[0, 1]), row(0), row(None, max_memkb=4096), row(5, max_memkb=-1)]
    assert xl.parse_max_memory(json.dumps(listing)) == {3: Mib(1024)}
    assert xl.parse_max_memory(json.dumps(listing[0])) == {3: Mib(1024)}
    assert xl.parse_max_memory("[]") == xl.parse_max_memory("null") == xl.parse_max_memory('["x", 1]') == {}
    with pytest.raises(ValueError):
        xl.parse_max_memory("xen01 is an invalid domain identifier (rc=-6)")


def test_info_is_read_by_name() -> None:
    info = xl.parse_info("host                   : node1\nfree_memory            : 1234\nvirt_caps              : pv hvm\nxen_caps               :\n"
                         "xen_commandline        : placeholder com1=115200,8n1:x dom0_mem=2G\nnonsense\n")
    assert info == {"host": "node1", "free_memory": "1234", "virt_caps": "pv hvm", "xen_caps": "",
                    "xen_commandline": "placeholder com1=115200,8n1:x dom0_mem=2G"}


def test_names_stand_behind_the_options() -> None:
    assert xl.details("xen01") == ("xl", "list", "--long", "--", "xen01")
