"""What xl says, read from what it really said: rows, the state in a word, limits out of JSON, the words of a failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dtcxen_soap.vps import Mib
from dtcxen_soap.xen import xl

DATA = Path(__file__).parents[2] / "data"
TABLE = (DATA / "xl-list-4.17-pv-pvh-hvm.txt").read_text()
HEADER = TABLE.splitlines()[0]
ROW = next(line for line in TABLE.splitlines() if line.startswith("test-pv "))
INFO = (DATA / "xl-info-4.17-no-domu.txt").read_text()
ERRORS = (DATA / "xl-errors-4.17.txt").read_text()


def tables(name: str) -> list[tuple[xl.Domain, ...]]:
    """Each of the tables that one file holds."""
    return [xl.parse_table(f"Name  ID   Mem{rows}") for rows in (DATA / name).read_text().split("Name                                        ID   Mem")[1:]]


def test_rows_are_read_whole() -> None:
    assert xl.parse_table(TABLE) == (
        xl.Domain("Domain-0", 0, Mib(1536), 2, "running", "r-----", 444.6), xl.Domain("test-pv", 1, Mib(256), 1, "blocked", "-b----", 37.8),
        xl.Domain("test-pvh", 2, Mib(256), 1, "blocked", "-b----", 105.2), xl.Domain("test-hvm", 3, Mib(256), 1, "running", "r-----", 148.9))
    assert [domain.name for domain in xl.parse_table((DATA / "xl-list-4.17-dom0-only.txt").read_text())] == ["Domain-0"]


@pytest.mark.parametrize(("flags", "state"), [
    ("r-----", "running"), ("-b----", "blocked"), ("------", "running"), ("--p---", "paused"), ("---s--", "shutdown"), ("---sr-", "shutdown"),
    ("--ps--", "shutdown"), ("---sc-", "crashed"), ("---sw-", "crashed"), ("---s-d", "dying"), ("--ps-d", "dying"), ("---s?-", "shutdown")])
def test_the_gravest_flag_is_the_state(flags: str, state: str) -> None:
    (domain,) = xl.parse_table(f"{HEADER}\n{ROW.replace('-b----', flags)}\n")
    assert (domain.state, domain.flags) == (state, flags)


def test_a_name_may_hold_blanks_and_numbers_be_long() -> None:
    row = ROW.replace("test-pv ", "two 1 w ").replace("    1   256     1", "12345 131072   128").replace("37.8", "1234567.8")
    (domain,) = xl.parse_table(f"{HEADER}\n{row}\n")
    assert (domain.name, domain.domid, domain.memory, domain.vcpus, domain.cpu_seconds) == ("two 1 w", 12345, Mib(131072), 128, 1234567.8)


def test_a_domain_that_is_destroyed_loses_its_name_before_it_goes() -> None:
    seen = [next(((domain.name, domain.state) for domain in table if domain.domid == 2), None) for table in tables("xl-list-4.17-while-one-is-destroyed.txt")]
    assert list(dict.fromkeys(seen)) == [("test-pvh", "blocked"), ("test-pvh", "paused"), (xl.NAMELESS, "paused"), None]


def test_a_domain_that_shuts_down_keeps_its_name_to_the_end() -> None:
    rows = [line for line in (DATA / "xl-list-4.17-while-one-shuts-down.txt").read_text().splitlines() if line.startswith("test-pv ")]
    states = [domain.state for domain in xl.parse_table("\n".join([HEADER, *rows]))]
    assert list(dict.fromkeys(states)) == ["running", "blocked", "shutdown"] and states[-3:] == ["shutdown"] * 3


@pytest.mark.parametrize("text", ["", "\n", "libxl: error", f"{HEADER}\nxen01 is somewhere", f"{HEADER}\nxen01 1 2", ERRORS])
def test_what_is_no_table_is_not_taken_for_an_empty_one(text: str) -> None:
    with pytest.raises(ValueError):
        xl.parse_table(text)


def test_a_domain_by_its_whole_name() -> None:
    assert xl.parse_table(HEADER + "\n") == ()
    found = xl.named(xl.parse_table(TABLE), "test-pv")
    assert found and found.domid == 1 and xl.named(xl.parse_table(TABLE), "test-p") is None


def test_the_limit_of_memory_and_the_kernel_come_from_the_configuration() -> None:
    found = xl.parse_details((DATA / "xl-list-l-4.17-pv-pvh-hvm.json").read_text())
    linux = "/boot/vmlinuz-6.1.0-56-amd64"
    assert found == {0: xl.Details(Mib(1536)), 1: xl.Details(Mib(256), linux), 2: xl.Details(Mib(256), linux), 3: xl.Details(Mib(256))}
    assert xl.parse_details((DATA / "xl-list-l-4.17-one-pv.json").read_text()) == {1: found[1]}


def test_odd_details_are_left_out() -> None:
    def row(domid: int | None, **build: object) -> dict[str, object]:
        return {"domid": domid, "config": {"c_info": {"name": "xen01"}, "b_info": build}}
    listing = [row(0), row(None, max_memkb=4096), row(5, max_memkb=-1, kernel=3), {"domid": 6}, "x", 1]
    assert xl.parse_details(json.dumps(listing)) == {0: xl.Details(), 5: xl.Details()}
    assert xl.parse_details(json.dumps(row(1, max_memkb=1024))) == {1: xl.Details(Mib(1))}
    assert xl.parse_details("[]") == xl.parse_details("null") == {}
    with pytest.raises(ValueError):
        xl.parse_details("xen01 is an invalid domain identifier (rc=-6)")


def test_info_is_read_by_name() -> None:
    info = xl.parse_info(INFO)
    assert (info["free_memory"], info["total_memory"], info["xen_version"], info["xen_changeset"]) == ("2516", "4095", "4.17.7", "")
    assert info["virt_caps"] == "pv hvm hap gnttab-v1 gnttab-v2" and "dom0_mem=1536M,max:1536M" in info["xen_commandline"]


@pytest.mark.parametrize(("conf", "commandline", "expected"), [
    ("", "", True), ("", "console=com1 dom0_mem=1536M,max:1536M", False), ("", "dom0_mem=max:2G", False), ("", "dom0_max_vcpus=2 nodom0_mem=1", True),
    ("autoballoon=\"on\"\n", "dom0_mem=1G", True), ("autoballoon = 1", "dom0_mem=1G", True), ("autoballoon='off'", "", False), ("autoballoon=0", "", False),
    ("#autoballoon=\"off\"\n", "", True), ("autoballoon=\"off\"\nautoballoon=\"auto\"\n", "", True), ("  autoballoon=\"auto\"", "dom0_mem=1G", False)])
def test_ballooning_as_xl_conf_and_the_boot_line_say(conf: str, commandline: str, expected: bool) -> None:
    assert xl.ballooning(conf, commandline) is expected


def test_the_words_of_a_failure_without_places_in_the_source() -> None:
    exists = "\n".join(line for line in ERRORS.splitlines() if line.startswith("libxl: error"))
    assert xl.words(exists).startswith('Domain 4:Domain with name "test-pv" already exists.; Domain 4:cannot make domain: -6; ')
    assert xl.words((DATA / "xl-create-4.17-no-kernel.txt").read_text()) == (
        "failed to open file '/boot/nosuch': No such file or directory: Internal error; xc_dom_kernel_file failed: No such file or directory; "
        "Domain 8:cannot (re-)build domain: -3")
    assert xl.words("nosuch is an invalid domain identifier (rc=-6)\n") == "nosuch is an invalid domain identifier (rc=-6)"
    assert xl.words("Failed to read config file: /root/nosuch: No such file or directory") == "Failed to read config file: /root/nosuch: No such file or directory"
    assert xl.words("xc: error: panic: x.c:1: no memory\n\n") == "no memory" and xl.words(" \n") == "" and len(xl.words("x" * 5000)) == 1000


def test_what_a_monitor_said_of_a_restart() -> None:
    log = (DATA / "xl-monitor-4.17-restart-failed.txt").read_text()
    assert xl.monitor_words(log).endswith("Domain 14:unable to add disk devices; Domain 14:Non-existant domain")
    assert xl.monitor_words(log + "Waiting for domain xen40 (domid 15) to die [pid 6959]\nDomain 15 has been destroyed.\n") == "", "that was long ago"
    assert xl.monitor_words("") == ""


def test_names_stand_behind_the_options() -> None:
    for argv in (xl.details("xen01"), xl.shutdown("xen01"), xl.reboot("xen01"), xl.destroy("xen01"), xl.domid("xen01"), xl.console("xen01")):
        assert argv[0] == "xl" and argv[-2:] == ("--", "xen01")
    assert xl.create("/etc/xen/a=b/xen01") == ("xl", "create", "--quiet", "--defconfig=/etc/xen/a=b/xen01")
    assert "-F" in xl.shutdown("xen01") and "-F" in xl.reboot("xen01")


@pytest.mark.parametrize(("ram", "vcpus", "more"), [(1, 1, 6), (256, 1, 7), (512, 4, 12), (65536, 8, 524)])
def test_a_domu_needs_more_than_its_ram(ram: int, vcpus: int, more: int) -> None:
    assert xl.overhead(Mib(ram), vcpus) == more
