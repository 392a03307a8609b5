"""The one place that asks xl: which domains there are, whether one is gone, how much memory is left.

No answer is never taken for "stopped": it is Failed, or told as trouble. A domain that is being
destroyed loses its name a moment before it goes; whoever waits for the end of one therefore
remembers its number too. Between the two lives of a domU that reboots Xen knows nothing of it (for
seconds, on a slow node), while the process that `xl create` left behind is about to start it anew:
a domU is gone only when that has ended as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from dtcxen_soap import plans
from dtcxen_soap.dom0 import Dom0, Watch
from dtcxen_soap.errors import Cancelled, Failed, Missing
from dtcxen_soap.facts import MemoryFact, StartedFact, plainly
from dtcxen_soap.planprint import paste
from dtcxen_soap.processes import unheard
from dtcxen_soap.vps import Mib
from dtcxen_soap.xen import bootmode, xl

XEN_CAPABILITIES = "/proc/xen/capabilities"
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 5.0
"""How long a disk may still be held by what is just leaving it: a dead domU's backend, udev's look at a new volume."""


# -- what there is ------------------------------------------------------------------------------------


def has_xen(dom0: Dom0, toolstack: str) -> bool:
    """Whether domUs can run here: as the setting says, or what the kernel says of itself."""
    if toolstack != "auto":
        return toolstack == "xl"
    try:
        return "control_d" in dom0.read_text(XEN_CAPABILITIES)
    except OSError:
        return False


def domains(dom0: Dom0) -> tuple[xl.Domain, ...]:
    """Every domain, dom0 too. Failed when xl gives no answer that can be read."""
    why = "Ask Xen which domUs run."
    ran = dom0.capture(xl.LIST)
    if ran.code:
        raise Failed(why, _ending(ran.code), paste(xl.LIST), ran.output)
    try:
        return xl.parse_table(ran.output)
    except ValueError as error:
        raise Failed(why, str(error), paste(xl.LIST), ran.output) from None


def domain(dom0: Dom0, name: str) -> xl.Domain | None:
    """The domain of this name, None when Xen knows none; Failed when it gives no answer."""
    return xl.named(domains(dom0), name)


def monitor(dom0: Dom0, name: str) -> str:
    """The xl that stays with a domU and may start it anew ("pid 12 (xl)"); "" without one."""
    return next(iter(dom0.holders(xl.monitor_log(name), "xl")), "")


def monitor_said(dom0: Dom0, name: str) -> str:
    """Why that could not start the domU anew, in xl's words; "" when it did not try, or has left no log."""
    try:
        return xl.monitor_words(dom0.read_text(xl.monitor_log(name)))
    except OSError:
        return ""


def details(dom0: Dom0, running: xl.Domain) -> xl.Details:
    """What a running domain was configured with; nothing when it has gone meanwhile."""
    try:
        return xl.parse_details(dom0.capture(xl.details(running.name)).output).get(running.domid, xl.Details())
    except ValueError:
        return xl.Details()


def started(dom0: Dom0, toolstack: str) -> tuple[StartedFact, ...]:
    """Every domU that runs, in Xen's order, without those that are just being destroyed. Missing on a node without a toolstack."""
    if not has_xen(dom0, toolstack):
        raise Missing("this node runs no domUs: it is no Xen dom0, or its toolstack is none")
    return tuple(
        StartedFact(row.name, row.domid, row.memory, row.vcpus, row.state, row.flags, row.cpu_seconds)
        for row in domains(dom0) if row.domid != xl.DOM0 and row.name != xl.NAMELESS)


def memory(dom0: Dom0) -> MemoryFact:
    """Memory as Xen has it; what cannot be known is told as trouble."""
    ran = dom0.capture(xl.INFO)
    info = xl.parse_info(ran.output)
    try:
        free, total = Mib(int(info["free_memory"])), Mib(int(info["total_memory"]))
    except (KeyError, ValueError):
        return MemoryFact(Mib(0), Mib(0), trouble=_ending(ran.code) if ran.code else "xl info does not tell the free memory")
    return MemoryFact(free, total, xl.ballooning(_conf(dom0), info.get("xen_commandline", "")))


def runs_hvm(dom0: Dom0, toolstack: str) -> bool:
    """Whether PVH and HVM guests can run here; False where there is no Xen to say so."""
    return has_xen(dom0, toolstack) and bootmode.runs_hvm(xl.parse_info(dom0.capture(xl.INFO).output).get("virt_caps", ""))


def _conf(dom0: Dom0) -> str:
    try:
        return dom0.read_text(xl.CONF)
    except OSError:
        return ""


def _ending(code: int) -> str:
    return "xl is not installed" if code == 127 else "xl gave no answer in time" if code == 124 else f"xl ended with code {code}"


# -- steps --------------------------------------------------------------------------------------------


def must_be_free(step: plans.MustBeFree, dom0: Dom0, watch: Watch) -> None:
    """Failed unless the domU is down and nobody holds the disks; what is just leaving them gets a moment."""
    if step.toolstack and (running := domain(dom0, step.vps.name)):
        raise Failed("", f"{step.vps.name} is {plainly(running.state)}: shut it down first")

    claims: list[str] = []

    def free() -> bool:
        claims[:] = _claims(step, dom0)
        return not claims

    if not _until(free, PATIENCE_SECONDS, watch):
        raise Failed("", "; ".join(claims))


def _claims(step: plans.MustBeFree, dom0: Dom0) -> list[str]:
    name = step.vps.name
    anew = monitor(dom0, name) if step.toolstack else ""
    restart = [f"{name} is about to be started anew by xl, {anew}: it reboots, or just ended"] if anew else []
    return restart + [f"{path} is {claim}" for path in step.paths for claim in dom0.claims(path)]


def wait_gone(step: plans.WaitGone | plans.EndDomu, dom0: Dom0, watch: Watch, seen: Callable[[xl.Domain], None] = lambda row: None) -> None:
    """Wait until Xen has neither the domU's name nor a number it had, and nobody is left to start it anew; Failed after the step's seconds.

    `seen` hears once of each domain that it is.
    """
    name, numbers = step.vps.name, set[int]()

    def gone() -> bool:
        rows = domains(dom0)
        if (mine := xl.named(rows, name)) and mine.domid not in numbers:
            numbers.add(mine.domid)
            seen(mine)
        return not numbers & {row.domid for row in rows} and not monitor(dom0, name)

    if not _until(gone, step.seconds, watch):
        raise Failed("", f"{name} is still there after {step.seconds} seconds")


def end(step: plans.EndDomu, dom0: Dom0, watch: Watch) -> None:
    """`xl destroy`, again if it was just being started anew, and wait. What xl says of a domU that was quicker to go is no failure."""
    def destroy(row: xl.Domain) -> None:
        run = plans.Run(why=step.why, argv=xl.destroy(row.name))
        ran = dom0.run(run, unheard, watch)
        if ran.code and (left := domain(dom0, row.name)) and left.domid == row.domid:
            raise Failed("", xl.words(ran.output) or _ending(ran.code), paste(run.argv), ran.output)

    wait_gone(step, dom0, watch, destroy)


def _until(reached: Callable[[], bool], seconds: float, watch: Watch) -> bool:
    """Look every half second until it is so; False when it is not, so many seconds after the first look. Cancelled when the watch says so."""
    if reached():
        return True
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if watch.cancelled():
            raise Cancelled("cancelled while waiting")
        time.sleep(POLL_SECONDS)
        if reached():
            return True
    return False
