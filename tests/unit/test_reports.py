"""Answers of the reading operations."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime

import pytest

from dtcxen_soap import answers, reports
from dtcxen_soap import requests as req
from dtcxen_soap.errors import Missing
from dtcxen_soap.facts import DomuFact, Facts, IsoFact, JobFact, NeedJobs, NeedStarted, PingFact, StartedFact
from dtcxen_soap.lookfacts import LogPart, NeedJobLog
from dtcxen_soap.settings import load
from dtcxen_soap.vps import Mib, VpsId

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SETTINGS = load("iso_quota_mib=10").settings
STATE = req.GetState(vps=VpsId(1))


@pytest.mark.parametrize(("facts", "word"), [
    (Facts(), "Not running"), (Facts(busy="mkos", domu=DomuFact(True, "running")), "mkos"), (Facts(busy="fsck"), "fsck"),
    (Facts(domu=DomuFact(True, trouble="xl ended with code 1")), "NOTOK - xl ended with code 1"),
    (Facts(domu=DomuFact(True, "blocked", 3, Mib(128), 1, 1.5)), "running")])
def test_state(facts, word):
    assert reports.state(STATE, SETTINGS, facts).state == word


def test_a_running_domu_is_told_with_xls_own_letters():
    found = DomuFact(True, "blocked", 3, Mib(128), 1, 1.5, flags="-b----")
    assert reports.state(STATE, SETTINGS, Facts(domu=found)) == answers.VpsState("01", "running", 3, 128, 1, "-b----", 1.5)


def test_isos_tell_use_and_quota():
    listed = reports.isos(req.ListIsos(vps=VpsId(1)), SETTINGS, Facts(isos=(IsoFact("a.iso", 5, NOW), IsoFact("b.ISO", 7, NOW))))
    assert ([iso.name for iso in listed.isos], listed.used_bytes, listed.quota_bytes) == (["a.iso", "b.ISO"], 12, 10 << 20)


def test_the_library_is_told_apart_and_is_nobodys_use_of_space():
    own, shelf, same = IsoFact("a.iso", 5, NOW), IsoFact("b.iso", 7, NOW, library=True), IsoFact("a.iso", 9, NOW, library=True)
    listed = reports.isos(req.ListIsos(vps=VpsId(1)), SETTINGS, Facts(isos=(own, shelf, same)))
    assert [(iso.name, iso.size_bytes, iso.library) for iso in listed.isos] == [("a.iso", 5, False), ("b.iso", 7, True), ("a.iso", 9, True)]
    assert listed.used_bytes == 5


def test_what_runs_is_listed_as_it_was_found():
    row = StartedFact("xen01", 3, Mib(256), 1, "blocked", "-b----", 37.8)
    assert reports.started(req.NoParameters(), SETTINGS, Facts(started=(row,))).domus == (answers.Started("xen01", 3, 256, 1, "blocked", "-b----", 37.8),)
    assert reports.started_needs(req.NoParameters(), SETTINGS) == (NeedStarted(),)


@pytest.mark.parametrize(("sent", "received", "loss"), [(3, 3, 0), (3, 0, 100), (3, 1, 67), (1, 0, 100)])
def test_ping_loss(sent, received, loss):
    fact = PingFact(VpsId(1), ipaddress.ip_address("192.0.2.10"), sent, received, 1.0 if received else None)
    (ping,) = reports.pings(req.PingAll(), SETTINGS, Facts(pings=(fact,))).pings
    assert (ping.loss_percent, ping.answered) == (loss, received > 0)


def test_missing_things_are_missing():
    with pytest.raises(Missing, match="no job 7"):
        reports.job(req.GetJob(job=7), SETTINGS, Facts())
    with pytest.raises(Missing, match="VPS 01 has no installation log"):
        reports.install_log(req.GetInstallLog(vps=VpsId(1)), SETTINGS, Facts())


def test_an_owner_sees_only_its_own_jobs():
    assert reports.only_of((NeedJobs(job=7),), VpsId(1)) == (NeedJobs(job=7, owner=VpsId(1)),)


def test_a_job_without_a_vps():
    assert reports.job(req.GetJob(job=1), SETTINGS, Facts(jobs=(JobFact(1, None, 0, "purge", "done", "node", NOW),))).vps is None


LOG = req.GetJobLog(job=7, from_byte=5)
JOB = JobFact(7, VpsId(1), 1, "reinstallOS", "running", "admin", NOW)


def test_a_log_is_told_from_where_the_last_call_ended():
    assert reports.job_log_needs(LOG, SETTINGS) == (NeedJobs(job=7), NeedJobLog(7, 5))
    assert reports.job_log(LOG, SETTINGS, Facts(jobs=(JOB,), job_log=LogPart("a\n", 7))) == answers.JobLogPart(7, "running", "a\n", 7)


def test_a_queued_job_has_no_log_yet_and_the_log_of_a_job_that_is_not_seen_is_missing():
    assert reports.job_log(LOG, SETTINGS, Facts(jobs=(JOB,))) == answers.JobLogPart(7, "running", "", 5)
    with pytest.raises(Missing, match="no job 7"):
        reports.job_log(LOG, SETTINGS, Facts(job_log=LogPart("another's", 9)))
