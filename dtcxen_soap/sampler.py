"""One look at the node's domUs per minute, kept in the journal until the panel has fetched it."""

from __future__ import annotations

import logging

from dtcxen_soap import domus, perfdata
from dtcxen_soap.dom0 import Dom0
from dtcxen_soap.errors import DtcxenError
from dtcxen_soap.journal import Journal
from dtcxen_soap.survey import performance as survey_performance

SECONDS = 60.0
log = logging.getLogger(__name__)


def sample(dom0: Dom0, journal: Journal, toolstack: str) -> None:
    """Read the counters and keep what was used since the look before; nothing on a node without domUs. What goes wrong is logged: the next look counts it in."""
    try:
        if domus.has_xen(dom0, toolstack):
            before = journal.readings()
            now = perfdata.settled(before, survey_performance.readings(dom0, toolstack))
            if now is not None:
                journal.keep_sample(now, perfdata.usages(before, now))
    except (DtcxenError, OSError) as error:
        log.warning("no sample was taken: %s", error)
