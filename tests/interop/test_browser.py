"""The status page in a real Chromium over TLS: how it looks by facts, what it does by itself, and what hostile text cannot do to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap.answers import FreeSpace, Job, JobList, JobLogPart, Ping, PingList, Space, VpsDetails, VpsDisk, VpsState
from dtcxen_soap.calls import Call
from dtcxen_soap.errors import Failed, Missing
from dtcxen_soap.lookfacts import StateFact
from dtcxen_soap.vps import Mib, VpsId
from dtcxen_soap.wire import looks
from tests.interop.served import Served
from tests.wirekit import ADMIN, NOON, PASSWORD

pytestmark = [pytest.mark.machine, pytest.mark.debian13]

HOSTILE = "<script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\"> ' & \u202egnp.exe \x1b[31m"
SEEN = HOSTILE.replace("\u202e", "\\u202e").replace("\x1b", "\\u001b")
LONG = "/very" * 60
RUNNING = Job(7, "03", "reinstallOS", "running", ADMIN, 4, 12, "Unpack the packages of the system.", 20, NOON, NOON, None, "", 4711)
FAILURES = (
    Job(6, "02", "reinstallOS", "failed", ADMIN, 5, 12, HOSTILE, 40, NOON, NOON, NOON, HOSTILE, 100),
    Job(5, "04", "setupVPSDisk", "failed", ADMIN, 1, 3, "x", 0, NOON, NOON, NOON, f"no space left for {LONG}", 0),
    Job(2, None, "housekeeping", "interrupted", "node", 1, 3, "x", 30, NOON, NOON, None, "the daemon was ended", 50))


class Scene:
    """What the engine behind the page says; tests change it."""

    def __init__(self) -> None:
        self.jobs: tuple[Job, ...] = (RUNNING, dataclasses.replace(RUNNING, id=8, vps="01", operation="fsckVPSpartition", state="queued", step=0, percent=0))
        self.asked: list[Call] = []

    def answer(self, call: Call) -> Any:
        self.asked.append(call)
        match call.operation:
            case "vpsStates":
                memory = Mib(2048)
                return (StateFact(VpsId(1), state="blocked", domid=4, memory=Mib(512), vcpus=1), StateFact(VpsId(2), state="blocked", domid=5, memory=memory),
                        StateFact(VpsId(3), busy="mkos"), StateFact(VpsId(4)), StateFact(VpsId(5), state="crashed", domid=9, memory=memory),
                        StateFact(VpsId(6), trouble=f"xl: {HOSTILE}"), StateFact(VpsId(7), state="blocked", rescue=True, domid=11, memory=memory))
            case "pingAllIPs":
                return PingList(tuple(Ping(vps, address, answered, 0.4 if answered else None, 0) for vps, address, answered in (
                    ("01", "192.0.2.10", True), ("01", "2001:db8:1234:5678:9abc:def0:1234:5678", True), ("02", "192.0.2.11", True), ("02", "192.0.2.12", False),
                    ("04", "192.0.2.14", False), ("05", "192.0.2.15", False))))
            case "getFreeSpace":
                return FreeSpace((Space("vbd", f"/srv{LONG}", 40960), Space("lvm", "vg0", 0), Space("lvm", "vg0/thin", 1 << 21)), 3000, 16384)
            case "getVPSState":
                return VpsState("02", "running", 5, 2048, 1, "-b----", 3.5)
            case "infoVPS":
                return VpsDetails("02", "running", True, "pvh-grub", 2048, 1, None, ("192.0.2.11", "192.0.2.12"), (VpsDisk("root", "vbd", "/x", 10240, True),), None)
            case "listJobs":
                live = "queued" in call.needs[0].states  # type: ignore[union-attr]
                return JobList(tuple(job for job in (self.jobs if live else FAILURES) if call.vps is None or job.vps == str(call.vps)))
            case "getJob":
                return FAILURES[0]
            case "getJobLog":
                return JobLogPart(6, "failed", f"1. Make the file system.\n\tit said: {HOSTILE}\n{LONG * 3}\n\x00end\n", 100)
        raise Failed("Look.", f"nothing is known of {call.operation}")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(looks, "JOB_SECONDS", 0.0)
        made = Served(tmp_path_factory.mktemp("served"))
        yield made
        made.close()


@pytest.fixture
def scene(served: Served) -> Scene:
    made = Scene()
    served.engine.outcome = made.answer
    return made


@pytest.fixture(scope="module")
def signed_in(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from tests.interop.browser import Browser
    served.engine.outcome = Scene().answer
    with Browser(tmp_path_factory.mktemp("profile")) as made:
        made.sign_in(served.url, ADMIN, PASSWORD)
        yield made


@pytest.fixture
def browser(signed_in: Any, scene: Scene) -> Iterator[Any]:
    signed_in.look()
    signed_in.complaints()
    yield signed_in


def rows(browser: Any, table: str) -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in browser.run(
        f"return Array.from(document.getElementById('{table}').tBodies[0].rows, row => Array.from(row.cells, cell => cell.textContent))")]


@pytest.mark.parametrize("path", ["", "jobs/6"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(360, 740), (1280, 800)], ids=["phone", "desk"])
def test_it_fits_and_can_be_read(browser: Any, served: Served, size: tuple[int, int], scheme: str, path: str) -> None:
    browser.look(size, scheme)
    browser.driver.get(f"{served.url}{path}")
    assert browser.run("return [innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]") == [size[0], scheme == "dark"]
    assert browser.overflow() <= 0
    assert not browser.faint()
    assert not browser.complaints()
    assert browser.run("return [document.documentElement.lang, document.querySelectorAll('h1').length, document.querySelectorAll('th:not([scope])').length]") == ["en", 1, 0]


def test_rows_are_cards_on_a_phone_and_say_what_each_value_is(browser: Any, served: Served) -> None:
    browser.look((360, 740))
    browser.driver.get(served.url)
    said = "return Array.from(document.querySelectorAll('#vpses tbody tr:first-child td'), cell => getComputedStyle(cell, '::before').content)"
    assert browser.run(said) == ['"State"', '"Memory"', '"Domain"', '"Addresses"', '"Answered"']
    assert browser.run("return getComputedStyle(document.querySelector('#vpses tbody tr')).display") == "block"
    assert {found["role"] for found in roles(browser)} >= {"table", "row", "rowheader", "cell", "columnheader"}


def roles(browser: Any) -> list[dict[str, str]]:
    """What the browser tells a screen reader."""
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    return [{"role": node["role"]["value"], "name": node.get("name", {}).get("value", "")} for node in tree if not node["ignored"]]


def test_what_is_not_known_is_unknown_and_never_green(browser: Any, served: Served) -> None:
    browser.driver.get(served.url)
    found = {row[0]: row[1:] for row in rows(browser, "vpses")}
    assert found["xen01"] == ["running", "512 MiB", "4", "192.0.2.10, 2001:db8:1234:5678:9abc:def0:1234:5678", "2 of 2"]
    assert found["xen02"][-1] == "1 of 2" and found["xen03"][0] == "mkos" and found["xen07"][0] == "running, rescue system" and found["xen07"][-1] == "not pinged"
    assert found["xen06"][0].startswith("unknown: xl: <script>") and found["xen06"][1:3] == ["unknown", "unknown"]
    green = browser.run("return Array.from(document.querySelectorAll('#vpses tbody .good'), cell => cell.parentElement.cells[0].textContent + ' ' + cell.textContent)")
    assert green == ["xen01 running", "xen01 2 of 2", "xen02 running"]


def test_injected_markup_is_text(browser: Any, served: Served) -> None:
    browser.driver.get(served.url)
    drawn = "return [document.querySelectorAll('img, iframe, script:not([src])').length, document.title === document.querySelector('h1').textContent]"
    for _ in range(2):  # as the server drew it, and as the script did
        assert rows(browser, "failures")[0][4:] == ["failed", SEEN]
        assert browser.run(drawn) == [0, True]
        emptied(browser)
        browser.wait(lambda: len(rows(browser, "failures")) == 3)
    assert not browser.complaints()


def emptied(browser: Any) -> None:
    browser.run("for (const body of document.querySelectorAll('tbody')) body.replaceChildren(); shown.clear()")


def test_the_script_draws_what_the_server_drew(browser: Any, served: Served) -> None:
    browser.driver.get(served.url)
    inside = "return Array.from(document.querySelectorAll('tbody'), body => body.innerHTML.replace(/up<.*/, ''))"
    drawn = browser.run(inside)
    emptied(browser)
    assert browser.wait(lambda: all(browser.run(inside)) and browser.run(inside)) == drawn


def test_progress_moves_without_a_reload(browser: Any, served: Served, scene: Scene) -> None:
    scene.jobs = (RUNNING,)
    browser.driver.get(served.url)
    browser.wait(lambda: len(rows(browser, "live")) == 1)
    browser.run("window.untouched = true; document.querySelector('#live a').focus()")
    scene.jobs = (dataclasses.replace(RUNNING, id=9, vps="04"), dataclasses.replace(RUNNING, percent=85, step=11, step_name="Write the addresses."))
    browser.wait(lambda: browser.run("return Array.from(document.querySelectorAll('#live progress'), bar => bar.value)") == [20, 85])
    assert rows(browser, "live")[1] == ["Job 7", "reinstallOS", "xen03", "11 of 12: Write the addresses.", "85 %"]
    assert browser.run("return [window.untouched, document.activeElement.textContent]") == [True, "Job 7"], "it reloaded, or lost the focus"
    scene.jobs = ()
    browser.wait(lambda: rows(browser, "live") == [["none"]])
    assert not browser.complaints()


def test_a_click_on_a_failure_shows_its_log(browser: Any, served: Served, scene: Scene) -> None:
    browser.driver.get(served.url)
    browser.click("Job 6")
    browser.wait(lambda: browser.driver.current_url == f"{served.url}jobs/6")
    log = browser.run("return document.getElementById('log').textContent")
    assert f"it said: {SEEN}" in log and "\\u0000end" in log and log.count("\n") == 4
    assert browser.text("h1") == "Job 6: reinstallOS of VPS 02" and browser.run("return document.querySelectorAll('img').length") == 0
    browser.click("All of it")
    browser.wait(lambda: browser.driver.current_url == served.url)
    assert not browser.complaints()


def test_the_keyboard_reaches_the_links_and_shows_where_it_is(browser: Any, served: Served) -> None:
    browser.driver.get(served.url)
    browser.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyDown", "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9})
    focused = browser.run("const at = document.activeElement; return [at.textContent, getComputedStyle(at).outlineStyle, parseFloat(getComputedStyle(at).outlineWidth) >= 2]")
    assert focused == ["Job 7", "solid", True]


def test_all_is_there_without_scripts_and_fetched_again(browser: Any, served: Served) -> None:
    browser.look((360, 740), scripts=False)
    browser.driver.get(served.url)
    assert "reinstallOS" in browser.text("#live") and "running" in browser.text("#vpses") and "512 MiB" in browser.text("#vpses")
    source = browser.driver.page_source
    assert '<noscript><meta http-equiv="refresh" content="15">' in source.replace("/>", ">").replace("<noscript>\n", "<noscript>")
    browser.look()


def test_a_node_that_is_gone_is_said_to_be(browser: Any, served: Served) -> None:
    browser.driver.get(served.url)
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
    browser.wait(lambda: browser.text("#news").startswith("This is old: the node cannot be asked. As of 20"))
    assert not browser.faint()
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
    browser.run("document.dispatchEvent(new Event('visibilitychange'))")  # as when somebody comes back to the page
    browser.wait(lambda: browser.text("#news").startswith("As of 20"))


def test_a_page_of_others_learns_nothing(browser: Any, served: Served, scene: Scene, tmp_path: Path) -> None:
    """A page of another site, in the browser of somebody who signed in."""
    address = served.url.replace("localhost", "127.0.0.1")
    browser.driver.get(f"{address}healthz")
    scene.asked.clear()
    tried = f"""
        const tell = arguments[arguments.length - 1], url = "{served.url}";
        const frame = document.createElement("iframe"); frame.src = url; document.body.append(frame);
        const script = document.createElement("script"); script.src = url + "status.js"; document.body.append(script);
        const gets = [["cors", "status.json"], ["no-cors", "status.json"], ["no-cors", ""], ["no-cors", "status.js"]].map(([mode, path]) =>
          fetch(url + path, {{mode, credentials: "include"}}).then(() => "read", () => "refused"));
        Promise.all([...gets, new Promise(done => {{ script.onload = () => done("run"); script.onerror = () => done("refused"); }})]).then(tell)"""
    assert browser.driver.execute_async_script(tried) == ["refused"] * 5
    assert not scene.asked, "the engine was asked for a page of others"
    browser.complaints()


def test_an_owner_sees_the_own_vps_only(served: Served, scene: Scene, tmp_path: Path) -> None:
    from tests.interop.browser import Browser
    with Browser(tmp_path) as browser:
        browser.look((360, 740))
        browser.sign_in(served.url, "xen02", PASSWORD)
        assert browser.run("return Array.from(document.querySelectorAll('table'), table => table.id)") == ["own", "live", "failures"]
        assert dict(rows(browser, "own")) == {"State": "running", "Domain": "5", "Memory now": "2.0 GiB", "Addresses": "192.0.2.11, 192.0.2.12",
                                              "Memory configured": "2.0 GiB", "Root disk": "10.0 GiB"}
        assert [row[0] for row in rows(browser, "failures")] == ["Job 6"] and rows(browser, "live") == [["none"]]
        assert {call.operation for call in scene.asked} == {"getVPSState", "infoVPS", "listJobs"} and {call.vps for call in scene.asked} == {VpsId(2)}
        assert browser.overflow() <= 0 and not browser.complaints()


def test_a_vps_that_is_not_there_is_no_failure(served: Served, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests
    session = requests.Session()
    session.trust_env = False
    monkeypatch.setattr(served.engine, "outcome", lambda call: (_ for _ in ()).throw(Missing("no such job")) if "Job" in call.operation[:6] else scene.answer(call))
    reply = session.get(f"{served.url}jobs/6", auth=("xen02", PASSWORD), verify=str(served.certificate), timeout=10)
    assert (reply.status_code, reply.text) == (404, "There is no job 6.\n")
