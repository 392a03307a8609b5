"""At start: pay what an earlier daemon's jobs still owe, and tell the truth about them.

First every process group that they left is ended, since a writer in a tree would keep its mount
busy; then, newest job and newest debt first, holds are released and undo steps run as a rollback
would have run them. Each debt leaves the journal once it is paid, so a recovery that is itself
killed goes on where it was.
"""

from __future__ import annotations

import os

from dtcxen_soap import actions, plans
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import DtcxenError
from dtcxen_soap.execute import Following
from dtcxen_soap.facts import JobFact
from dtcxen_soap.joblog import JobLog
from dtcxen_soap.journal import LIVE, Held, Journal, OwedUndo, Unfinished
from dtcxen_soap.undorecords import undo_from_record

HALF_MADE = ".dtcxen-"
"""How nodefiles.py names a file that is not whole yet."""


def recover(dom0: Dom0, journal: Journal) -> tuple[JobFact, ...]:
    """Settle every unfinished job and mark it interrupted; the jobs that were, newest first.

    A debt that cannot be paid is told in the job's reason and log, and never stops the others.
    What stays held (a busy mount) is tried again at the next start.
    """
    left = journal.unfinished()
    for item in left:
        for pid, start_time in item.processes:
            dom0.end_group(pid, start_time)
            journal.process_ended(item.job.id, pid)
    for item in left:
        with journal.log(item.job.id) as log:
            _settle(item, dom0, journal, log)
    return tuple(fact for item in left if item.job.state in LIVE and (fact := journal.job(item.job.id)))


def _settle(item: Unfinished, dom0: Dom0, journal: Journal, log: JobLog) -> None:
    job = item.job
    log.write("The service started again and settles what this job left.")
    troubles: list[str] = []
    for debt in item.owed:
        what = f"{debt.kind} {debt.detail}" if isinstance(debt, Held) else str(debt.record.get("why"))
        try:
            _pay(debt, job.id, dom0, journal, log)
        except (DtcxenError, OSError) as error:
            troubles.append(f"{what}: {error}")
            log.write(f"FAILED TO CLEAN UP: {troubles[-1]}")
    if job.state in LIVE:
        where = f"in step {job.step} of {job.steps}: {job.step_name}" if job.step else "before its first step"
        reason = f"the service ended {where}" + (f"; cleaning up failed: {'; '.join(troubles)}" if troubles else "")
        journal.ended(job.id, "interrupted", reason)
        log.write(f"interrupted: {reason}")


def _pay(debt: Held | OwedUndo, job: int, dom0: Dom0, journal: Journal, log: JobLog) -> None:
    if isinstance(debt, Held):
        log.write(f"release: {debt.kind} {debt.detail}")
        actions.release(debt, dom0, log.write)
        journal.released(job, debt.hold_id)
        return
    step = undo_from_record(debt.record)
    if debt.intended:
        _sweep(step, dom0, log)
    if isinstance(step, plans.Run):
        # A command may not be repeatable: at most once, whatever happens to this recovery.
        journal.undo_done(job, debt.record)
        log.write(f"undo: {step.why}")
        actions.run(step, dom0, log.output, Following(job, journal))
        return
    if _due(step, dom0) and not isinstance(step, plans.Look | plans.Hold):
        log.write(f"undo: {step.why}")
        if found := actions.perform(step, dom0, journal, Following(job, journal)):
            log.write(found)
    journal.undo_done(job, debt.record)


def _due(step: plans.Step, dom0: Dom0) -> bool:
    """Whether there is something to move back: a crash may have come before the move, or after its undo."""
    match step:
        case plans.RenameFile() | plans.ExchangeFile():
            return dom0.exists(step.source)
        case plans.RenameVolume() | plans.ExchangeVolume():
            return dom0.volume_exists(step.vg, step.source)
    return True


def _sweep(step: plans.Step, dom0: Dom0, log: JobLog) -> None:
    """Remove half-made files beside what a cut-off step was making: nobody else writes there before we take calls."""
    if not isinstance(step, plans.RemoveFile | plans.WriteFile):
        return
    directory = os.path.dirname(step.path)
    for name in dom0.listdir(directory):
        if name.startswith(HALF_MADE):
            log.write(f"remove half-made {directory}/{name}")
            dom0.remove_file(f"{directory}/{name}")
