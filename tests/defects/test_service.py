"""The original's defects of state and service (21 to 27): what it did, and what happens here instead."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dtcxen_soap import answers, perfdata, settings
from dtcxen_soap.errors import Busy, Failed
from dtcxen_soap.facts import NeedJobs
from dtcxen_soap.jobs import Jobs
from dtcxen_soap.journal import MOST_SAMPLES, Journal
from dtcxen_soap.operations import OPERATIONS, prepare
from dtcxen_soap.perffacts import Counters, Reading, Readings
from dtcxen_soap.plans import Mounted, Plan, Run
from dtcxen_soap.processes import Ran
from dtcxen_soap.survey import performance as survey_performance
from dtcxen_soap.survey.survey import Survey
from dtcxen_soap.vps import VpsId
from dtcxen_soap.wire.legacy import old_reply
from dtcxen_soap.xen import xl
from tests.defects.world import ADMIN, EMPTY, FACTS, RUNNING, SETTINGS, TEXT, decided, plan
from tests.fakes import ScriptedDom0
from tests.unit.survey.test_domu import DOM0_ROW, HEADER
from tests.unit.test_jobs import LONG, Node, error_of, run
from tests.wirekit import Wire, parse, request, xml

VPS = VpsId(1)
UNIT = Path(__file__).parents[2] / "systemd/dtcxen-soap.service"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(str(tmp_path / "journal.sqlite"))
    made.jobs.start()
    yield made
    made.jobs.stop(0)
    made.journal.close()


class Restarted:
    """A daemon over the journal that an earlier one left in the middle of an installation, and the dom0 as it was then."""

    def __init__(self, path: str) -> None:
        self.dom0 = ScriptedDom0({xl.LIST: HEADER + DOM0_ROW}, {"/proc/xen/capabilities": "control_d\n"})
        self.dom0.groups[4711] = 99
        self.dom0.mounts.append(("/m/xen01.img.new", "/m/01", "ext4", ""))
        earlier = Journal(path)
        self.job = earlier.begin("reinstallOS", VPS, "dtc-xen", "job", ("the plan",), 3)
        earlier.started(self.job)
        earlier.step_started(self.job, 2, 3, "Install Debian.", 40)
        earlier.held(self.job, "1", Mounted.__name__, json.dumps({"source": "/m/xen01.img.new", "at": "/m/01"}))
        earlier.process_started(self.job, 4711, 99)
        earlier.close()
        self.journal = Journal(path)
        chosen = settings.load(TEXT).settings
        self.jobs = Jobs(chosen, self.dom0, self.journal, lambda needs: self.survey.fill(needs))
        self.survey = Survey(chosen, self.dom0, self.journal, self.jobs.running)
        self.jobs.start()

    def ask(self, name: str, **given: str) -> Any:
        return self.jobs.submit(prepare(name, tuple(given.items()), SETTINGS, ADMIN, rpc=True)).result(LONG)

    def stop(self) -> None:
        self.jobs.stop(0)
        self.journal.close()


def test_defect_21_a_restart_ends_an_installation_and_says_so(tmp_path: Path) -> None:
    """After a restart the state file's process was nobody's child: the state was deleted while the installation ran on, and a second one could start.

    A crash before the pid was written left a state that faulted for ever.
    """
    daemon = Restarted(str(tmp_path / "journal.sqlite"))
    try:
        assert not daemon.dom0.groups and not daemon.dom0.mounts, "what it had started was ended, and what it had mounted released, before any call"
        assert daemon.ask("getVPSState", vpsname="xen01").state == "Not running"
        job = daemon.journal.job(daemon.job)
        assert job and (job.state, job.reason) == ("interrupted", "the service ended in step 2 of 3: Install Debian.")
    finally:
        daemon.stop()


def test_defect_21_a_second_installation_is_refused_while_one_runs(node: Node) -> None:
    """The state file was read, and written a moment later: two calls at once both began."""
    gate = node.gate("install")
    job = node.call(_kind("reinstallOS"), run("install")).result(LONG).job
    assert gate.begun.wait(LONG) and node.jobs.running(VPS) == "mkos"
    busy = error_of(node.call(_kind("reinstallOS"), run("install")))
    assert isinstance(busy, Busy) and busy.job == job
    gate.open.set()
    assert node.ended(job).state == "done"


def _kind(name: str) -> Any:
    return next(operation.kind for operation in OPERATIONS if operation.name == name)


@pytest.mark.parametrize(("code", "state", "words"), [(0, "done", "the file system is clean"), (1, "done", "errors were found and corrected"),
                                                      (4, "failed", "errors were left that need a person's decision")])
def test_defect_22_the_result_of_a_check_is_kept(node: Node, code: int, state: str, words: str) -> None:
    """A check that ended well was told as running once more, its result was lost; an installation's exit code went to the log alone."""
    (check,) = [step for step in plan("fsckVPSpartition").steps if isinstance(step, Run)]
    node.dom0.answers["e2fsck"] = Ran(code, "")
    job = node.call(_kind("fsckVPSpartition"), check, operation="fsckVPSpartition").result(LONG).job
    told = node.ended(job)
    assert told.state == state and words in told.reason
    assert node.jobs.running(VPS) == ""


def test_defect_23_a_slow_call_delays_nobody(tmp_path: Path) -> None:
    """The server had one thread: a long lvcreate or dd kept every other caller waiting."""
    wire = Wire(tmp_path)
    wire.engine.held = []
    protocol, transport = wire.connect()
    protocol.dataReceived(request(xml("setupLVMDisks", ("vpsname", "01"), ("hddsize", "1024"), ("swapsize", "0"))))
    waiting, wire.engine.held = wire.engine.held, None
    assert wire.call("getVPSState", ("vpsname", "02")).status == 200 and transport.value() == b""
    waiting[0].set_result(answers.DisksReady(True, ("/dev/vg-a/xen01",)))
    assert parse(transport.value()).status == 200


def test_defect_23_the_service_has_no_pid_file_that_could_be_wrong() -> None:
    """init and logrotate knew different pid files, so the daemon never heard that its log was rotated: it wrote on to a closed file."""
    unit = UNIT.read_text()
    assert "PIDFile" not in unit and "ExecReload=/bin/kill -HUP $MAINPID" in unit
    assert not [row.name for row in settings.TABLE if "pid" in row.name or row.name.startswith("log_file")]


def test_defect_25_the_fields_of_a_state_stand_where_the_panel_looks() -> None:
    """They came in a dictionary's order, so that the panel's "VM id" could show the name."""
    told = old_reply(answers.VpsState("01", "running", 3, 128, 1, "-b----", 51.5))
    assert told == ["domain", ["id", "xen01"], ["domid", 3], ["maxmem", 128], ["vcpus", 1], ["state", "-b----"], ["cpuseconds", 51.5]]


@pytest.mark.parametrize("operation", ["startVPS", "shutdownVPS", "destroyVPS"])
def test_defect_26_what_xl_refuses_is_no_success(operation: str, tmp_path: Path) -> None:
    """Start and stop answered OK whatever xm said."""
    wire = Wire(tmp_path)

    def fail(call: Any) -> Any:
        raise Failed("Start xen01.", "libxl: error: not enough memory")

    wire.engine.outcome = fail
    assert wire.call(operation, ("vpsname", "xen01")).result.text == "NOTOK - libxl: error: not enough memory"


def test_defect_26_xls_exit_code_counts() -> None:
    """So xl's code must be one of success, and what runs already, or does not run, is told without asking xl."""
    for name, facts in (("startVPS", FACTS), ("shutdownVPS", RUNNING)):
        (command,) = [step for step in plan(name, facts).steps if isinstance(step, Run)]
        assert command.argv[0] == "xl" and command.ok_codes == (0,)
    for name, facts, told in (("startVPS", RUNNING, "running already"), ("shutdownVPS", FACTS, "is not running")):
        with pytest.raises(Failed, match=told):
            decided(name, {"vpsname": "xen01"}, facts)


def test_defect_27_what_a_command_said_is_kept(node: Node) -> None:
    """The error output of setupLVMDisks was thrown away ("THIS IS FAIL"), and an installation's log went past the log."""
    made = plan("setupLVMDisks", EMPTY, imagetype="lvm")
    lvcreate = run("lvcreate")
    node.dom0.answers["lvcreate"] = Ran(5, "Insufficient free space: 512 extents needed, but only 3 available")
    error = error_of(node.call(_kind("setupVPSDisk"), lvcreate))
    assert isinstance(made, Plan) and isinstance(error, Failed) and "only 3 available" in error.in_full()
    (job,) = node.journal.jobs(NeedJobs())
    assert "only 3 available" in job.reason and "only 3 available" in Path(job.log_path).read_text()


def test_defect_27_no_path_is_fixed_when_it_is_built() -> None:
    """/var/lib/dtc-xen was written into the program by its Makefile."""
    default = settings.defaults()
    assert default.provisioning_mount_point.startswith("/var/lib/dtc-xen"), "the original's, unless the node says otherwise"
    assert "/var/lib" not in repr([plan("setupLVMDisks", EMPTY, imagetype="vbd"), plan("reinstallVPSos"), plan("killVPS"), plan("writeXenHVMconf")])


def test_defect_27_what_is_the_panels_own_is_left_to_it() -> None:
    """Its log polls every two seconds and its monthly totals count one sample of sixty: both stand in the panel's code, and no reply can mend them.

    What can be done here: a state that is asked for costs one look at the toolstack and no more.
    """
    needs = prepare("getVPSState", (("vpsname", "xen01"),), SETTINGS, ADMIN, rpc=True).needs
    assert [type(need).__name__ for need in needs] == ["NeedDomu"]


def test_defect_24_nobody_is_billed_what_is_not_his_own_or_not_of_this_minute() -> None:
    """A domU without a card was billed the bytes of the one before it, the first sample all since its start; only vif.0 counted, file-backed disks as 0."""
    net, disks = survey_performance.NETWORK, survey_performance.DISKS
    dom0 = ScriptedDom0()
    dom0.files.update({survey_performance.BOOT_ID: b"x", f"{net}/vif3.0/statistics/tx_bytes": b"100", f"{net}/vif3.1/statistics/tx_bytes": b"11",
                   f"{disks}/vbd-3-51712/statistics/rd_sect": b"7"})
    dom0.answers[xl.LIST] = "Name ID Mem VCPUs State Time(s)\nxen01 3 128 1 -b---- 2.0\nxen02 4 128 1 -b---- 3.0\n"
    now = survey_performance.readings(dom0, "xl")
    first, second = perfdata.usages(None, now)
    assert (first.total.net_in_bytes, first.total.root_sectors, second.total.net_in_bytes) == (111, 7, 0)
    assert first.used == second.used == Counters()


def test_defect_24_samples_outlive_a_daemon_and_wait_for_their_reader(tmp_path: Path) -> None:
    """They were deleted before they were delivered, piled up when nobody fetched them, and the thread died of a slow look."""
    journal = Journal(str(tmp_path / "journal.sqlite"))
    for seconds in (1.0, 2.0):
        now = Readings("x", {VpsId(1): Reading(3, Counters(seconds))})
        journal.keep_sample(now, perfdata.usages(journal.readings(), now))
    journal.close()
    again = Journal(str(tmp_path / "journal.sqlite"))
    assert [sample.usages[0].used.cpu_seconds for sample in again.samples(64)] == [0.0, 1.0] and len(again.samples(64)) == 2, "asking drops nothing"
    again.drop_samples(again.samples(1)[0].number)
    assert len(again.samples(64)) == 1 and MOST_SAMPLES == 10080


def test_every_defect_has_a_test() -> None:
    """By number: legacy facts 1 to 27."""
    from tests.defects import test_parameters, test_security, test_service
    named = {int(name.split("_")[2]) for module in (test_security, test_parameters, test_service)
             for name, test in inspect.getmembers(module, inspect.isfunction) if name.startswith("test_defect_")}
    assert named == set(range(1, 28))
