"""How a plan reads: commands ready to paste, and the numbered lines that an admin sees before anything runs.

Secrets print as redacted, since their own text does.
"""

from __future__ import annotations

import dataclasses
import shlex

from dtcxen_soap.plans import Hold, Plan, Run, Step


def paste(argv: tuple[str, ...]) -> str:
    """A command as a shell would take it, ready to paste."""
    return " ".join(shlex.quote(word) for word in argv)


_SHOWN_APART = {"why", "undo", "destroys", "weight", "may_fail", "steps", "argv", "decide", "content", "judge", "texts", "globs", "heads", "outcomes", "takes", "lock", "made_from",
                "offer", "text", "peer", "transfer"}


def _detail(step: Step) -> str:
    """What a step does, one line, secrets redacted."""
    if isinstance(step, Run):
        inside = f"chroot {shlex.quote(step.chroot)} " if step.chroot else ""
        return inside + paste(step.argv)
    words = [type(step).__name__]
    for item in dataclasses.fields(step):
        value = getattr(step, item.name)
        if item.name in _SHOWN_APART or value == item.default:
            continue
        words.append(f"{item.name}={oct(value) if item.name == 'mode' else value}")
    return " ".join(words)


def render(plan: Plan) -> tuple[str, ...]:
    """The plan as lines for an admin: numbered reasons, what runs, what is destroyed and what would undo it."""
    lines: list[str] = [plan.title, *(f"note: {note}" for note in plan.notes)]
    count = 0

    def add(steps: tuple[Step, ...], indent: str) -> None:
        nonlocal count
        for step in steps:
            count += 1
            lines.append(f"{indent}{count}. {step.why}")
            lines.append(f"{indent}   {_detail(step)}")
            if step.destroys:
                lines.append(f"{indent}   DESTROYS {step.destroys}")
            lines.extend(f"{indent}   undo: {_detail(undo)}" for undo in step.undo)
            if step.may_fail:
                lines.append(f"{indent}   if this fails, the rest goes on")
            if isinstance(step, Hold):
                add(step.steps, indent + "   ")
                lines.append(f"{indent}   release: {step.why}")

    add(plan.steps, "")
    if plan.proof:
        lines.append("then, without undo:")
        add(plan.proof, "")
    if plan.later:
        lines += ["and after the answer, as a job:", *render(plan.later)]
    return tuple(lines)
