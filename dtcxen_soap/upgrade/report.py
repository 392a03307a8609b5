"""All findings, of an upgrade and of the machine, the worst first."""

from __future__ import annotations

from dtcxen_soap.machinefacts import Machine
from dtcxen_soap.settings import Settings
from dtcxen_soap.upgrade import access, configuration, machine, owners, service, vpses
from dtcxen_soap.upgrade.finding import Finding, Severity
from dtcxen_soap.upgrade.numbers import here
from dtcxen_soap.upgradefacts import OldNode


def judge(settings: Settings, node: OldNode, found: Machine | None = None) -> tuple[Finding, ...]:
    """What this node holds of the original, and what its machine lacks unless a copy is looked at; in one order within each severity, so that two reports can be compared."""
    known = here(node)
    findings = (
        *service.judge(settings, node), *(machine.judge(settings, found) if found else ()),
        *configuration.judge(settings, node), *access.judge(settings, node, known), *vpses.judge(settings, node),
        *owners.judge(settings, node, known))
    order = tuple(Severity)
    return tuple(sorted(findings, key=lambda finding: (order.index(finding.severity), finding.taken_over)))
