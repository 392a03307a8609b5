"""ifupdown's files: where a network card has its address, and the same with a bridge above the card.

Sources: interfaces(5), bridge-utils-interfaces(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAIN, PARTS = "/etc/network/interfaces", "/etc/network/interfaces.d"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}")
"""A network card's name, as far as we write one (IFNAMSIZ of netdevice(7), less its end)."""
_METHODS = ("static", "dhcp", "auto", "manual")
_OPTIONS = ("    bridge_stp off", "    bridge_fd 0")
_STANDS_ON = ("vlan-raw-device", "vlan_raw_device", "bond-slaves", "bond_slaves", "slaves", "bridge_ports", "bridge-ports")


def names(text: str) -> frozenset[str]:
    """Every interface that a file configures."""
    return frozenset(words[1] for words in map(str.split, text.splitlines()) if words[:1] == ["iface"] and len(words) > 1)


def alone(bridge: str, card: str) -> str:
    """A bridge without an address of its own; `card` in it unless that is ""."""
    over = f"iface {card} inet manual\n\n" if card else ""
    return "\n".join((f"# A bridge for the VPSes of this node.\n{over}auto {bridge}", f"iface {bridge} inet manual", f"    bridge_ports {card or 'none'}", *_OPTIONS)) + "\n"


def bridged(text: str, card: str, bridge: str) -> str:
    """The file with `card` in `bridge`, and all that the card had on the bridge. ValueError for what a change of text cannot move."""
    check(text, card)
    return "\n".join(_lines(text.splitlines(), card, bridge)) + "\n"


def check(text: str, card: str) -> None:
    """ValueError for what stands on the card in any file, and would stand on a port of the bridge."""
    lines = text.splitlines()
    if any(line.rstrip().endswith("\\") for line in lines):
        raise ValueError("lines go on behind a backslash there")
    for words in map(str.split, lines):
        _refuse_what_stands_on(card, words)


def _refuse_what_stands_on(card: str, words: list[str]) -> None:
    match words:
        case ["iface", name, *_] if name.startswith((f"{card}:", f"{card}.")):
            raise ValueError(f"{name} stands on {card}")
        case ["iface", name, _, method, *more] if name == card and (more or method not in _METHODS):
            raise ValueError(f"{card} is configured by {' '.join((method, *more))}")
        case [option, *values] if option in _STANDS_ON and card in values:
            raise ValueError(f"{card} is used by {option} already")


def _lines(lines: list[str], card: str, bridge: str) -> Iterator[str]:
    """Line by line; what is not about the card stays as it is."""
    begun, moved = False, False
    for line in lines:
        match line.split():
            case [word, *named] if card in named and (word == "auto" or word.startswith("allow-")):
                others = [name for name in named if name != card]
                yield from ((f"{word} {' '.join(others)}",) if others else ())
                if not begun:
                    yield f"auto {bridge}"
                begun = True
            case ["iface", name, family, method] if name == card:
                yield from (() if moved else (f"iface {card} inet manual", "", *(() if begun else (f"auto {bridge}",))))
                yield f"iface {bridge} {family} {method}"
                yield from (() if moved else (f"    bridge_ports {card}", *_OPTIONS))
                begun, moved = True, True
            case _:
                yield line
