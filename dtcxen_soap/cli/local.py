"""This node's own answers, without a daemon: from its journal and from a survey, both only read, also beside a daemon that runs."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dtcxen_soap import answers, operations
from dtcxen_soap.access import Caller, Role
from dtcxen_soap.calls import Kind
from dtcxen_soap.cli.console import UsageError, load
from dtcxen_soap.errors import Misconfigured
from dtcxen_soap.lookfacts import busy_word
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import VpsId

if TYPE_CHECKING:
    from dtcxen_soap.journal import Journal
    from dtcxen_soap.survey.survey import Survey

LIVE = ("queued", "running")
_LEFT = "the daemon that ran it is gone; what it left is settled when one starts again"


@dataclass(frozen=True)
class Looked:
    """A survey of this node. `served` tells whether a daemon runs, so that what the journal says of jobs is true now."""

    survey: Survey
    served: Callable[[], bool]


@contextmanager
def survey(settings: Settings) -> Iterator[Looked]:
    """Look at this node. One that never served has no journal yet, and gets none from us."""
    from dtcxen_soap.dom0 import Dom0
    from dtcxen_soap.survey.survey import Survey
    with journal_of(settings) as journal:
        def busy(vps: VpsId) -> str:
            operation = journal.at_work(vps) if journal.served() else ""
            return busy_word(operation) if operation else ""

        yield Looked(Survey(settings, Dom0(), journal, busy), journal.served)


@contextmanager
def journal_of(settings: Settings) -> Iterator[Journal]:
    """This node's journal, only to be read; an empty one where there is none yet."""
    from dtcxen_soap.journal import Journal
    with tempfile.TemporaryDirectory(prefix="dtcxen-look-") as scratch:
        there = _has_journal(settings)
        found = Journal(settings.journal_path, settings.job_log_dir, read_only=True) if there else Journal(f"{scratch}/journal.sqlite")
        try:
            yield found
        finally:
            found.close()


def _has_journal(settings: Settings) -> bool:
    """Whether there is one. Misconfigured for who may not even look: "no jobs" would not be true."""
    try:
        os.stat(settings.journal_path)
    except FileNotFoundError:
        return False
    except PermissionError:
        raise Misconfigured(f"{settings.journal_path}: only root looks at a node itself; --url asks its daemon") from None
    if not os.access(settings.journal_path, os.R_OK):
        raise Misconfigured(f"{settings.journal_path}: only root looks at a node itself; --url asks its daemon")
    return True


class Here:
    """Answers calls that only read, as the daemon of this node would answer its admin."""

    def __init__(self, settings: Settings, looked: Looked) -> None:
        self._settings, self._looked = settings, looked

    def call(self, operation: str, values: list[tuple[str, str]]) -> Any:
        """The answer under the wire's names; Refused, Missing or Failed as over the wire."""
        caller = Caller(self._settings.admin_user, Role.ADMIN, "dtcxen")
        call = operations.prepare(operation, values, self._settings, caller, rpc=False)
        if call.kind is not Kind.READ:
            raise UsageError(f"{operation} changes something: that is the daemon's, which has the locks")
        answer = call.decide(self._looked.survey.fill(call.needs))
        return plain(answer if self._looked.served() else _unserved(answer))


@contextmanager
def here(config: str) -> Iterator[Here]:
    """This node, with the settings of a file."""
    settings = load(config)
    with survey(settings) as looked:
        yield Here(settings, looked)


def _unserved(answer: Any) -> Any:
    """Jobs that a daemon left when it died are not running, whatever the journal still says."""
    if isinstance(answer, answers.JobList):
        return answers.JobList(tuple(map(_unserved, answer.jobs)))
    if isinstance(answer, answers.Job) and answer.state in LIVE:
        return dataclasses.replace(answer, state="interrupted", reason=_LEFT)
    if isinstance(answer, answers.JobLogPart) and answer.state in LIVE:
        return dataclasses.replace(answer, state="interrupted")
    return answer


def plain(value: Any) -> Any:
    """An answer as the client of a daemon gets it: dictionaries under the wire's names, and lists."""
    from dtcxen_soap.wire.xmlnames import camel
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {camel(item.name): plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return [plain(item) for item in value] if isinstance(value, tuple) else value
