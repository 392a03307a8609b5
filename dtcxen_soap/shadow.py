"""etc/shadow and its neighbours as text: one user's line rewritten token by token, everything else as it was.

Source: shadow(5), passwd(5), group(5).
"""

from __future__ import annotations

DEBIANS_SHADOW_GROUP = 42


def with_hash(text: str, user: str, hashed: str, day: int) -> str:
    """`text` of etc/shadow with the user's hash, changed on `day` (since 1970); the line is added when absent.

    The day is set too: 0 there would ask for another password at once. ValueError for words that
    would break the line.
    """
    for word in (user, hashed):
        if not word or any(sign in word for sign in ":\n\r\0"):
            raise ValueError("a user or hash must not be empty or hold a colon or a line's end")
    found = False
    lines = []
    for line in text.splitlines():
        words = line.split(":")
        if words[0] == user:
            found = True
            words += [""] * (9 - len(words))
            words[1:3] = hashed, str(day)
            line = ":".join(words)
        lines.append(line)
    if not found:
        lines.append(f"{user}:{hashed}:{day}:0:99999:7:::")
    return "\n".join(lines) + "\n"


def pointing_to_shadow(text: str, user: str) -> str:
    """`text` of etc/passwd with "x" as the user's password, which sends readers to etc/shadow."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        words = line.split(":")
        if words[0] == user and len(words) > 2:
            lines[number] = ":".join((user, "x", *words[2:]))
    return "\n".join(lines)


def group_of(text: str) -> int:
    """The group that may read etc/shadow by `text` of etc/group: "shadow", or Debian's number where there is no such group."""
    for line in text.split("\n"):
        words = line.split(":")
        if words[0] == "shadow" and len(words) > 2 and words[2].isascii() and words[2].isdigit():
            return int(words[2])
    return DEBIANS_SHADOW_GROUP
