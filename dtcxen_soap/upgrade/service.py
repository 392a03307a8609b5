"""The original itself: whether it still runs or starts at boot, its programs, its logs, its firewall script, and the link /xen."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from dtcxen_soap.settings import Settings
from dtcxen_soap.upgrade.finding import Finding, command, counted, left, listed, problem, warning
from dtcxen_soap.upgradefacts import FoundProcess, OldNode

DEBUG_LOG = "/var/log/dtc-xen.log"
FIREWALL = "/etc/init.d/dtc-xen-firewall"
_OTHERS_READ = 0o044


def judge(settings: Settings, node: OldNode) -> Iterator[Finding]:
    """Everything about the original's service."""
    for process in node.processes:
        yield problem("old-runs", f"process {process.pid}", f"the original runs: {_shown(process)}; two daemons on one node undo each other's work",
                      "systemctl disable --now dtc-xen", command("kill", str(process.pid)))
    ours = {process.pid for process in node.processes}
    for process in node.listening:
        if not process.pid:
            yield problem("port-taken", f"port {settings.listen_port}", "it is taken by a process that cannot be looked into: unless that is this daemon, it could not listen",
                          command("ss", "-ltnp", f"sport = :{settings.listen_port}"))
        elif process.pid not in ours:
            yield problem("port-taken", f"port {settings.listen_port}", f"it is taken by process {process.pid}, {_shown(process)}: this daemon could not listen",
                          command("kill", str(process.pid)))
    if node.init_links:
        yield problem("old-starts", listed(node.init_links), "the original is started at boot and takes the port first", "systemctl disable dtc-xen")
    yield from _programs(node)
    yield from _logs(node)
    if node.link is not None:
        right = posixpath.normpath(posixpath.join("/", node.link.target)) == settings.provisioning_mount_point
        where = f"it leads to {node.link.target}" if node.link.target else "it is no link"
        yield left("link", node.link.path, f"not needed here; {where}" + ("" if right else f", not to {settings.provisioning_mount_point}"))


def _shown(process: FoundProcess) -> str:
    return command(*process.argv) if process.argv else "of which nothing is known"


def _programs(node: OldNode) -> Iterator[Finding]:
    programs = tuple(path for path in node.programs if path != FIREWALL)
    if programs:
        yield left("old-programs", listed(programs), "the original is still installed: remove it, and do not purge it, which would take settings with it", "apt-get remove dtc-xen")
    if FIREWALL in node.programs:
        yield left("firewall", FIREWALL, "the original's firewall goes on as it is: it limits how often port 8089, SSH and ping are answered")


def _logs(node: OldNode) -> Iterator[Finding]:
    """The original logged whole messages, and so every password that was ever set."""
    debug = tuple(file for file in node.old_logs if file.path.startswith(DEBUG_LOG))
    others = tuple(file for file in node.old_logs if file not in debug)
    if debug:
        readable = any(file.mode & _OTHERS_READ for file in debug)
        tell = problem if readable else warning
        yield tell("old-log", listed(tuple(file.path for file in debug)), "the original wrote passwords into it" + (", and others than root can read it" if readable else ""),
                   command("shred", "-u", "--", *(file.path for file in debug)))
    if others:
        directory = others[0].path.rpartition("/")[0]
        yield left("old-install-logs", directory, f"{counted(len(others), 'log')} of the original's installations; getVPSInstallLog tells of this daemon's alone",
                   command("rm", "--", *(file.path for file in others)))
