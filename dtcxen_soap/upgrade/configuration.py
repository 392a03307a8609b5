"""The settings of an old node: dtc-xen.conf and the files before it, soap.conf and dtc_create_vps.conf.sh.

Sources: the example files and scripts of dtc-xen 0.3 to 0.5. The original gave dtc-xen.conf to a
shell; here nothing in it is executed or expanded.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from dtcxen_soap import settings as table
from dtcxen_soap.settings import Settings
from dtcxen_soap.upgrade.finding import Finding, append, command, edit, left, problem, taken, warning
from dtcxen_soap.upgradefacts import FoundText, OldNode
from dtcxen_soap.vps import ImageType

_FROM_SHELL_FILE = {
    "lvmname": ("provisioning_volgroup", ""), "kernelname": ("KERNELPATH", "/boot/vmlinuz-"), "initrdname": ("INITRDPATH", "/boot/"),
    "bsdkernelpath": ("bsd_kernel_path", "")}
"""Names that only the oldest files had: what they are called now, and what stands before their value."""
_ARCHIVED = {"sarge", "etch", "lenny", "squeeze", "wheezy", "jessie", "stretch", "buster"}
"""Debian releases whose packages only archive.debian.org has."""
_KEPT_WORDS = ("motd", "bashrc", "authorized_keys2")
_UNREAD = {"sources.list": "new systems get the node's own apt sources, or debian_repo", "inittab": "a new system's own getty is put on its console"}
_SECRET_MODE = 0o077


def judge(settings: Settings, node: OldNode) -> Iterator[Finding]:
    """Everything about settings."""
    if node.conf is None:
        yield problem("no-settings", f"{settings.config_dir}/dtc-xen.conf", "there are no settings, and without this file the daemon does not start; empty it may be",
                      command("install", "-m", "600", "/dev/null", f"{settings.config_dir}/dtc-xen.conf"))
    else:
        yield from _conf(node.conf)
        yield from _secret(node.conf)
    for file in node.old_settings:
        yield from _older(file, node)
        yield from _secret(file)
    yield from _changed_meaning(settings, node)
    yield from _beside(settings, node)


# -- dtc-xen.conf ---------------------------------------------------------------------------------


def _conf(conf: FoundText) -> Iterator[Finding]:
    """What the reader of settings says, with the lines that only a shell understands told apart."""
    path = conf.file.path
    shell = dict(_shell_lines(conf.text))
    for number, value in shell.items():
        yield problem("settings-shell", f"{path}:{number}", f"a shell made something else of {value}, which is taken here as it stands", edit(path, number))
    found = table.examine(conf.text, path)
    for text in found.problems:
        number = _line_of(text, path)
        if number not in shell:
            yield problem("settings-wrong", *_parted(text), edit(path, number))
    for text in found.warnings:
        yield warning("settings-unknown", *_parted(text), edit(path, _line_of(text, path)))
    for number, key, row in _keys(conf.text):
        if key.lower() in {old.lower() for old in row.old}:
            yield taken("settings-old-name", f"{path}:{number}", f"{key} is read as {row.name}")
    yield taken("settings", path, f"{sum(source != 'default' for source in found.sources.values())} settings are read as they stand")


def _shell_lines(text: str) -> Iterator[tuple[int, str]]:
    """Assignments whose value a shell would expand, which it does not between single quotes."""
    for number, line in enumerate(text.splitlines(), 1):
        value = line.strip().partition("=")[2]
        bare = re.sub(r"'[^']*'|\\.", "", value.partition(" #")[0])
        if not line.strip().startswith("#") and re.search(r"\$[\w{(]|`", bare):
            row = _row(line.strip().removeprefix("export ").partition("=")[0].strip())
            yield number, "a secret" if row and row.secret else value


def _keys(text: str) -> Iterator[tuple[int, str, table.Row]]:
    """Every assignment of a known setting, with its line and the name that it is written by."""
    for number, line in enumerate(text.splitlines(), 1):
        key = line.strip().removeprefix("export ").partition("=")[0].strip()
        if "=" in line and (row := _row(key)) is not None:
            yield number, key, row


def _line_of(text: str, path: str) -> int:
    match = re.match(rf"{re.escape(path)}:([0-9]+): ", text)
    return int(match[1]) if match else 0


def _parted(text: str) -> tuple[str, str]:
    """A message of the reader as its place and its words."""
    place, _, words = text.partition(": ")
    return place, words


def _secret(file: FoundText) -> Iterator[Finding]:
    """A passphrase that every customer with an account can read opens the service's key to them."""
    holds = [value for key, value in _raw_values(file.text) if (row := _row(key)) is not None and row.secret and value]
    if holds and file.file.mode & _SECRET_MODE:
        yield problem("settings-open", file.file.path, f"it holds the key's passphrase, and others than root can read it ({file.file.mode:04o})",
                      command("chmod", "600", file.file.path))


# -- the files before it --------------------------------------------------------------------------


def _older(file: FoundText, node: OldNode) -> Iterator[Finding]:
    """What these files say is not read; what dtc-xen.conf does not say either is named, with the command that makes it say so."""
    said = _values(node.conf.text) if node.conf else {}
    path, conf = file.file.path, node.conf.file.path if node.conf else "/etc/dtc-xen/dtc-xen.conf"
    lines, hidden, differing = [], [], []
    for key, raw in _raw_values(file.text):
        row, before = _row_now(key)
        value = before + raw
        if row is None:
            continue
        if row.name in said:
            differing += [row.name] if said[row.name] != value else []
        elif row.secret:
            hidden.append((row.name, f"{command('grep', f'^{key}=', path)} >> {command(conf)}"))
        else:
            lines.append((row.name, f"{row.name}={shlex.quote(value) if value else ''}"))
    if lines or hidden:
        mend = ([append(conf, *(line for _, line in lines))] if lines else []) + [line for _, line in hidden]
        yield warning("settings-older", path, f"not read, and dtc-xen.conf does not say: {', '.join(name for name, _ in (*lines, *hidden))}", *mend)
    else:
        words = f"; otherwise than here dtc-xen.conf says {', '.join(differing)}, and that counts" if differing else ", and says nothing that dtc-xen.conf does not say"
        yield left("settings-older", path, f"not read{words}", command("rm", "--", path))


def _raw_values(text: str) -> Iterator[tuple[str, str]]:
    """KEY and value of each line, without a shell's quotes."""
    for line in text.splitlines():
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and re.fullmatch(r"[A-Za-z_]\w*", key.strip(), re.ASCII):
            try:
                yield key.strip(), " ".join(shlex.split(value, comments=True))
            except ValueError:
                yield key.strip(), value.strip()


def _values(text: str) -> dict[str, str]:
    return {row.name: value for key, value in _raw_values(text) if (row := _row(key)) is not None}


def _row(key: str) -> table.Row | None:
    return next((row for row in table.TABLE if key.lower() in {name.lower() for name in (row.name, *row.old)}), None)


def _row_now(key: str) -> tuple[table.Row | None, str]:
    """The setting that a key of an older file is now, and what stands before its value; None for one that means nothing any more, or never did."""
    name, before = _FROM_SHELL_FILE.get(key.lower(), (key, ""))
    return _row(name), before


# -- what means something else now ----------------------------------------------------------------


def _changed_meaning(settings: Settings, node: OldNode) -> Iterator[Finding]:
    """Settings that are read, and do not do what they did."""
    path = node.conf.file.path if node.conf else f"{settings.config_dir}/dtc-xen.conf"
    said = _values(node.conf.text) if node.conf else {}
    for name in ("debian_added_debs", "centos_added_rpms"):
        if said.get(name):
            yield left("settings-now-read", path, f"{name} was documented and never read; from now on these packages are installed", edit(path))
    if said.get("XEN_DOMU_HDD_DEV_TYPE") == "sda":
        yield left("settings-sda", path, "new configurations name the disks xvda and xvdb, whatever XEN_DOMU_HDD_DEV_TYPE says", edit(path))
    if said.get("VZ_NO_MOUNT"):
        yield left("settings-openvz", path, "VZ_NO_MOUNT is of OpenVZ, which this daemon does not know", edit(path))
    if settings.debian_release in _ARCHIVED and "archive" not in settings.debian_repo:
        yield warning("settings-release", path, f"debian_release={settings.debian_release}: mirrors no longer have it; empty means the node's own release", edit(path))
    if settings.soap_server_allowed_ip and "/etc/init.d/dtc-xen-firewall" not in node.programs:
        networks = ", ".join(str(network) for network in settings.soap_server_allowed_ip)
        yield warning("settings-firewall", path, "soap_server_allowed_ip was enforced by the original's firewall script, which is not here; this daemon does not enforce it",
                      f"# let {networks} and nobody else reach port {settings.listen_port}, by the node's own firewall")
    yield from _volume_group(settings, node, path)


def _volume_group(settings: Settings, node: OldNode, path: str) -> Iterator[Finding]:
    """The original took the last of several groups; here a disk goes nowhere by chance."""
    if settings.provisioning_volgroup or len(node.groups) < 2 or settings.default_image_type is not ImageType.LVM:
        return
    used = {disk.path.split("/")[2] for disk in node.disks if disk.image_type is ImageType.LVM}
    names = sorted(used) or sorted(node.groups)
    yield problem("settings-volgroup", path, f"provisioning_volgroup names none of the volume groups {', '.join(sorted(node.groups))}: no disk would be made on any",
                  append(path, f"provisioning_volgroup={names[0]}"))


def _beside(settings: Settings, node: OldNode) -> Iterator[Finding]:
    """The other files of the settings' directory."""
    for file in node.settings_dir:
        if file.name in _KEPT_WORDS and file.kind == "file":
            yield taken("settings-file", file.path, "new systems get it, as before")
        elif file.name in _UNREAD:
            yield left("settings-file", file.path, f"not read: {_UNREAD[file.name]}", command("rm", "--", file.path))
