"""A domU's configuration from another node: what in it is changed for this one, and what of it is not accepted.

Only the texts within quotes change, so that an admin's own lines, comments and order stay. The other node may be
hostile, and xl reads this as root: nothing is accepted that is not known to concern this VPS alone,
and no text that xl might read otherwise than we do. Sources: xl.cfg(5), xl-disk-configuration(5), xl-network-configuration(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from dtcxen_soap.xen import configread
from dtcxen_soap.xen.configread import DomuConfig, code, parse

KEYS = frozenset((
    "name", "type", "builder", "kernel", "ramdisk", "bootloader", "root", "extra", "cmdline", "memory", "maxmem", "vcpus", "maxvcpus", "cpus", "cpu_weight", "cap",
    "vif", "disk", "on_poweroff", "on_reboot", "on_crash", "boot", "bios", "firmware", "serial", "vnc", "vnclisten", "vncpasswd", "vncunused", "vncdisplay", "sdl",
    "stdvga", "videoram", "vga", "keymap", "localtime", "rtc_timeoffset", "acpi", "apic", "pae", "nx", "hap", "viridian", "tsc_mode", "timer_mode", "uuid", "usb",
    "usbdevice", "acpi_s3", "acpi_s4", "hpet", "nographic", "shadow_memory", "device_model_version", "xen_platform_pci"))
"""Settings that concern this domU alone, whatever stands in them, but for those that are looked at below."""
_VIF = frozenset(("mac", "ip", "bridge", "model", "type", "rate", "script"))
_DISK = frozenset(("", "format", "vdev", "access", "devtype", "backendtype", "discard", "target"))
_ONLY = {"bootloader": ("pygrub",), "serial": ("pty",), "usbdevice": ("tablet", "mouse", "keyboard"), "device_model_version": ("qemu-xen", "qemu-xen-traditional")}
"""Settings with few values."""
_VIF_SCRIPTS = ("vif-bridge", "")
_BRIDGE = re.compile(r"""((?<=[,"'\s])bridge\s*=\s*)([A-Za-z0-9._-]+)""")
_EDGE = r"A-Za-z0-9._/+-"


def rendered(text: str, *, name: str, paths: Mapping[str, str], bridges: Mapping[str, str]) -> str:
    """The text with the VPS's own name, with each path of `paths` and each bridge of `bridges` replaced, and all else as it was."""
    made, at, key, depth = [], 0, "", 0
    for match in configread._TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "end" and depth <= 0:
            key = ""
        elif kind == "word" and not key:
            key = match[0]
        elif kind == "mark":
            depth += (match[0] in "[(") - (match[0] in "])")
        elif kind == "string":
            made += [text[at:match.start()], _replaced(match[0], key, name, paths, bridges)]
            at = match.end()
    return "".join((*made, text[at:]))


def _replaced(quoted: str, key: str, name: str, paths: Mapping[str, str], bridges: Mapping[str, str]) -> str:
    if key == "name":
        return f'"{name}"'
    if key == "vif":
        return _BRIDGE.sub(lambda found: found[1] + bridges.get(found[2], found[2]), quoted)
    for old, new in sorted(paths.items(), key=lambda pair: -len(pair[0])):
        first, *others = re.split(rf"(?<![{_EDGE}]){re.escape(old)}(?![{_EDGE}])", quoted)
        if others:
            return new.join((first, *others))
    return quoted


def bridges(text: str) -> tuple[str, ...]:
    """The bridges that its cards join."""
    return tuple(dict.fromkeys(value for vif in _values(text).get("vif", ()) for key, value in configread._parameters(vif) if key == "bridge"))


def screens(text: str) -> tuple[str, ...]:
    """The UNIX sockets that it serves screens at."""
    return tuple(value.removeprefix("unix:") for value in _values(text).get("vnclisten", ()) if value.startswith("unix:/"))


def strange(text: str) -> Iterator[str]:
    """Why this text cannot be judged, in clauses: xl could read it otherwise than we do."""
    if any(not (character.isprintable() or character in "\n\t") for character in text) or "\\" in text:
        yield "holds control characters or backslashes"
    if statement := code(text):
        yield f"holds more than settings: {statement[:60]!r}"
    names = [tokens[0][1] for tokens in configread._statements(text) if tokens]
    if twice := sorted({key for key in names if names.count(key) > 1}):
        yield f"sets {', '.join(twice)[:100]} more than once"
    if '"""' in text or "'''" in text:
        yield "holds a text of several lines"


def foreign(text: str, *, name: str, paths: frozenset[str], boot_files: frozenset[str], screen: str) -> Iterator[str]:
    """What in it does not concern this VPS alone, in clauses; none for one that may be written. `paths` are its disks, `screen` its socket."""
    problems = tuple(strange(text))
    if problems:
        yield from problems
        return
    values, config = _values(text), parse(text)
    yield from (f"has {key[:40]!r}, which is not taken over from another node" for key in values if key not in KEYS)
    if config.name != name:
        yield f"is of {config.name[:40]!r}, not of {name}"
    yield from _of_boot(values, config, boot_files)
    for key, allowed in _ONLY.items():
        yield from (f"has {key} = {value[:40]!r}, expected {' or '.join(allowed)}" for value in values.get(key, ()) if value not in allowed)
    yield from (problem for spec in values.get("disk", ()) for problem in _of_disk(spec, paths))
    yield from (problem for spec in values.get("vif", ()) for problem in _of_vif(spec))
    yield from (f"serves a screen at {value[:60]!r}" for value in values.get("vnclisten", ()) if "/" in value and value != f"unix:{screen}")


def _of_boot(values: Mapping[str, tuple[str, ...]], config: DomuConfig, boot_files: frozenset[str]) -> Iterator[str]:
    for key in ("kernel", "ramdisk", "firmware", "bios"):
        for value in values.get(key, ()):
            if key in ("kernel", "ramdisk") and value and value not in boot_files:
                yield f"has {key} = {value[:100]!r}, which is no boot file of this node"
            if key in ("firmware", "bios") and "/" in value:
                yield f"has {key} = {value[:100]!r}"
    if config.boot is None:
        yield "does not say how it boots"


def _of_disk(spec: str, paths: frozenset[str]) -> Iterator[str]:
    head, _ = configread._before_target(spec)
    if strangers := [key for key, _ in configread._parameters(head) if key not in _DISK]:
        yield f"has a disk with {strangers[0][:40]!r}"
    path = configread._disk(spec).path
    empty_drive = configread._is_cd(spec) and not path
    if path not in paths and not empty_drive:
        yield f"has a disk {path[:100]!r}, which is none of this VPS's"


def _of_vif(spec: str) -> Iterator[str]:
    for key, value in configread._parameters(spec):
        if key not in _VIF and (key or value):
            yield f"has a network card with {key[:40]!r}"
        if key == "script" and value not in _VIF_SCRIPTS:
            yield f"has a network card with the script {value[:40]!r}"


def _values(text: str) -> dict[str, tuple[str, ...]]:
    return configread._values(text)
