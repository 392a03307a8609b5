"""A domU's configuration for one start in single-user mode: its own text, unchanged, and what overrides it below.

xl takes the last of several statements of one name, so hand edits stay as they are and nothing in
the text is rewritten. Sources: xl.cfg(5) and libxlu's xlu_cfg_get_string, which finds the latest.
"""

from __future__ import annotations

from dtcxen_soap.xen.config import quote, texts

WORD = "single"
"""What init(1) and systemd alike read off the kernel's command line."""


def render(text: str) -> str:
    """The configuration in `text` with the word added to the kernel's command line; a reboot or a crash ends it."""
    said = texts(text)
    name = "cmdline" if "cmdline" in said else "extra"
    plain = "".join(sign if sign.isprintable() else " " for sign in said.get(name, ""))
    value = " ".join((*plain.split(), WORD))
    return "".join((text, "" if text.endswith("\n") else "\n", f"{name} = {quote(value)}\n", 'on_reboot = "destroy"\n', 'on_crash = "destroy"\n'))
