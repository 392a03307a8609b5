"""What VPSes used between two looks, and the samples until they were delivered: nothing is counted that was not seen, nothing is lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dtcxen_soap import journal as journals
from dtcxen_soap import perfdata, sampler
from dtcxen_soap.domus import XEN_CAPABILITIES
from dtcxen_soap.journal import Journal
from dtcxen_soap.perffacts import Counters, Reading, Readings, Usage
from dtcxen_soap.survey import performance as survey_performance
from dtcxen_soap.vps import VpsId
from dtcxen_soap.xen import xl
from tests.fakes import Ran, ScriptedDom0

ONE, TWO = VpsId(1), VpsId(2)
OLD, NEW = Counters(100.0, 1000, 2000, 300, 40), Counters(151.5, 1500, 2600, 370, 48)
TABLE = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n"
ROWS = "Domain-0                                     0  1536     2     r-----     201.9\nxen01                                        7   256     1     -b----      33.0\n"


def readings(counters: Counters = NEW, domid: int = 7, boot: str = "a") -> Readings:
    return Readings(boot, {ONE: Reading(domid, counters)})


@pytest.mark.parametrize(("before", "used"), [
    (readings(OLD), Counters(51.5, 500, 600, 70, 8)),
    (None, Counters()),
    (readings(OLD, domid=6), NEW),
    (readings(OLD, boot="b"), NEW),
    (Readings("a", {TWO: Reading(7, OLD)}), NEW),
    (readings(Counters(200.0, 1000, 3000, 300, 40)), Counters(0, 500, 0, 70, 8)),
], ids=["a minute", "never looked before", "started anew", "the node too", "did not run", "a counter went back"])
def test_what_was_used(before: Readings | None, used: Counters) -> None:
    assert perfdata.usages(before, readings()) == (Usage(ONE, NEW, used),)


def test_one_row_for_each_domu_by_number() -> None:
    now = Readings("a", {TWO: Reading(8, Counters()), ONE: Reading(7, NEW)})
    assert [(usage.vps, usage.used) for usage in perfdata.usages(readings(OLD), now)] == [(ONE, Counters(51.5, 500, 600, 70, 8)), (TWO, Counters())]


def node(rows: str = ROWS, **files: str) -> ScriptedDom0:
    dom0 = ScriptedDom0()
    dom0.files[XEN_CAPABILITIES] = b"control_d\n"
    dom0.files[survey_performance.BOOT_ID] = b"1b2c\n"
    for path, text in files.items():
        dom0.files[path] = f"{text}\n".encode()
    dom0.answers[xl.LIST] = TABLE + rows
    return dom0


def backend(name: str, read: int, written: int) -> dict[str, str]:
    directory = f"{survey_performance.DISKS}/{name}/statistics"
    return {f"{directory}/rd_sect": str(read), f"{directory}/wr_sect": str(written)}


def card(name: str, received: int, sent: int) -> dict[str, str]:
    directory = f"{survey_performance.NETWORK}/{name}/statistics"
    return {f"{directory}/rx_bytes": str(received), f"{directory}/tx_bytes": str(sent)}


def test_what_a_backend_receives_its_guest_has_sent_and_every_card_counts() -> None:
    dom0 = node(**card("vif7.0", 10, 200), **card("vif7.1", 1, 3), **card("vif7.0-emu", 5, 7), **card("vif70.0", 999, 999), **card("xenbr0", 999, 999),
                **backend("vbd-7-51712", 100, 20), **backend("vbd-7-51728", 3, 4), **backend("vbd-70-51712", 999, 999), **backend("vbd-7-51744", 999, 999))
    assert survey_performance.readings(dom0, "auto") == Readings("1b2c", {ONE: Reading(7, Counters(33.0, 210, 16, 120, 7))})


def drive(device: str, file: str, count: int, **more: object) -> tuple[dict[str, object], dict[str, object]]:
    return ({"device": device, "removable": False, "inserted": {"file": file, "ro": False}, **more}, {"device": device, "stats": {"rd_bytes": 512 * count, "wr_bytes": 512}})


def test_an_image_file_is_served_by_qemu_which_is_asked() -> None:
    drives = [drive("xvda", "/srv/xen01.img", 9), drive("xvdb", "/srv/xen01.swap.img", 3),
              drive("hdc", "/srv/a.iso", 900, inserted={"file": "/srv/a.iso", "ro": True}), drive("hdd", "", 900, inserted=None, removable=True)]
    said = {"query-block": [each for each, _ in drives], "query-blockstats": [stats for _, stats in drives]}
    found = survey_performance.readings(node(**{survey_performance.DEVICE_MODEL.format(7): json.dumps(said)}), "auto").of[ONE].counters
    assert (found.root_sectors, found.swap_sectors) == (10, 4)


@pytest.mark.parametrize("said", [{"query-block": 1, "query-blockstats": []}, {"query-block": [{}], "query-blockstats": [{"stats": {}}]}])
def test_what_a_qemu_does_not_tell_is_counted_in_by_the_next_sample(said: object, journal: Journal) -> None:
    model = survey_performance.DEVICE_MODEL.format(7)

    def told(count: int) -> str:
        asked, stats = drive("xvda", "/srv/xen01.img", count)
        return json.dumps({"query-block": [asked], "query-blockstats": [stats]})

    for answer in (json.dumps(said), told(100), told(130), json.dumps(said), told(150)):
        sampler.sample(node(**{model: answer}), journal, "auto")
    assert [sample.usages[0].used.root_sectors for sample in journal.samples(10)] == [0, 30, 0, 20], "the first look of all told nothing"


def test_a_domu_that_began_while_its_qemu_was_silent_is_counted_later() -> None:
    before, silent = Readings("a", {}), Readings("a", {ONE: Reading(7, Counters(1.0))}, frozenset({ONE}))
    settled = perfdata.settled(before, silent)
    assert settled == Readings("a", {}) and perfdata.settled(readings(domid=6), silent) == Readings("a", {})
    assert perfdata.usages(settled, readings()) == (Usage(ONE, NEW, NEW),)


def test_a_domu_without_a_card_used_nothing_of_another() -> None:
    rows = ROWS + "xen02                                        8   256     1     -b----      1.0\n"
    found = survey_performance.readings(node(rows, **card("vif7.0", 10, 200)), "auto").of
    assert (found[ONE].counters.net_in_bytes, found[TWO].counters) == (200, Counters(1.0))


def test_only_vpses_are_measured() -> None:
    rows = ROWS + "xen1                                         8   256     1     -b----      1.0\nstubdom                                      9    32     1     -b----      1.0\n"
    assert set(survey_performance.readings(node(rows), "auto").of) == {ONE}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(str(tmp_path / "journal.sqlite"), clock=lambda: datetime(2026, 1, 2, tzinfo=UTC))


def test_a_sampler_goes_on_where_another_daemon_ended(journal: Journal, tmp_path: Path) -> None:
    sampler.sample(node(**card("vif7.0", 10, 200)), journal, "auto")
    journal.close()
    again = Journal(str(tmp_path / "journal.sqlite"))
    sampler.sample(node(**card("vif7.0", 15, 260)), again, "auto")
    first, second = again.samples(10)
    assert first.usages[0].used == Counters() and second.usages[0].used == Counters(0.0, 60, 5, 0, 0)
    assert second.number > first.number and first.at == datetime(2026, 1, 2, tzinfo=UTC)


def test_a_look_that_failed_is_counted_by_the_next_one(journal: Journal) -> None:
    sampler.sample(node(**card("vif7.0", 10, 200)), journal, "auto")
    broken = node()
    broken.answers[xl.LIST] = Ran(1, "cannot open libxc handle")
    sampler.sample(broken, journal, "auto")
    sampler.sample(node(**card("vif7.0", 15, 260)), journal, "auto")
    assert [sample.usages[0].used.net_in_bytes for sample in journal.samples(10)] == [0, 60]


def test_a_node_without_domus_keeps_no_sample(journal: Journal) -> None:
    sampler.sample(ScriptedDom0(), journal, "auto")
    sampler.sample(node(ROWS.splitlines(keepends=True)[0]), journal, "auto")
    assert journal.samples(10) == () and journal.readings() == Readings("1b2c", {})
    sampler.sample(node(**card("vif7.0", 10, 200)), journal, "auto")
    assert journal.samples(10)[0].usages[0].used == Counters(33.0, 200, 10), "it was started since"


def test_what_was_delivered_is_dropped_and_nothing_else(journal: Journal) -> None:
    for count in range(5):
        journal.keep_sample(readings(), perfdata.usages(None, readings(Counters(float(count)))))
    oldest = journal.samples(2)
    journal.drop_samples(oldest[-1].number)
    assert [sample.usages[0].total.cpu_seconds for sample in journal.samples(10)] == [2.0, 3.0, 4.0]
    journal.drop_samples(journal.samples(10)[-1].number)
    journal.keep_sample(readings(), perfdata.usages(None, readings()))
    assert journal.samples(1)[0].number == 6, "numbers are never used twice: a late word of delivery drops no newer sample"


def test_nobody_fetches_and_the_journal_stays_small(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MOST_SAMPLES", 3)
    for count in range(10):
        journal.keep_sample(readings(), perfdata.usages(None, readings(Counters(float(count)))))
    assert [sample.usages[0].total.cpu_seconds for sample in journal.samples(100)] == [7.0, 8.0, 9.0]
