"""The VPSes of an old node: configurations, start links, disks, states, and lines in fstab.

A configuration is the truth about a VPS and is used as it stands. Everything else that the
original kept about VPSes is not read here: the journal stands in its place. Sources: the scripts of
dtc-xen 0.5.13, xl.cfg(5), systemd.mount(5) (mounts of fstab lines end with their device).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from dtcxen_soap.settings import Settings
from dtcxen_soap.upgrade.finding import Finding, command, counted, edit, left, listed, problem, taken, warning
from dtcxen_soap.upgrade.numbers import here, vps_of
from dtcxen_soap.upgradefacts import FoundConfig, FoundDisk, FstabLine, OldNode, StateFile
from dtcxen_soap.vps import BootMode, MacAddress, VpsId

PROGRAMS = ("dtc-soap-server", "dtc-soap-server.py", "dtc_reinstall_os", "dtc_setup_vps_disk", "dtc_kill_vps_disk", "dtc-xen_migrate")
"""Names of the original's programs, as they stand in a command line."""
_OTHERS = 0o077
_OLD_DEVICES = ("sda1", "sda2")


def judge(settings: Settings, node: OldNode) -> Iterator[Finding]:
    """Everything about VPSes."""
    for config in node.configs:
        yield from _config(config, settings, node)
    yield from _macs(node)
    yield from _autostart(node)
    for state in node.states:
        yield _state(state)
    yield from _fstab(node)
    for at in node.mounted:
        yield problem("mounted", at, "a tree is still mounted there: its VPS must not be started, and nothing can be installed on it", command("umount", "--", at))
    yield from _disks(settings, node)
    yield from _samples(node)
    if node.openvz:
        yield problem("openvz", listed(node.openvz), "VPSes of OpenVZ, which this daemon does not know: they stay with the tools of OpenVZ", command("vzlist", "--all"))


# -- configurations -------------------------------------------------------------------------------


def _config(config: FoundConfig, settings: Settings, node: OldNode) -> Iterator[Finding]:
    path = config.file.path
    vps = vps_of(config.file.name)
    if config.trouble:
        yield problem("config-unreadable", path, f"it cannot be read ({config.trouble}): this VPS cannot be started", command("ls", "-ld", "--", path))
        return
    if vps is None:
        yield warning("config-name", path, "not the name of a VPS as xen01 is: this daemon does not know it", command("mv", "--", path, f"{path}.cfg"))
        return
    worse = (*_not_started(config, vps, settings), *_screen(config))
    yield from worse
    yield from _foreign_disks(config, vps, settings, node)
    if config.ignored_keys:
        yield left("config-ignored", path, f"xl ignores {listed(config.ignored_keys)}", edit(path))
    if any(device in _OLD_DEVICES for device, _ in config.disks):
        yield left("config-sda", path, "its disks are sda1 and sda2 in it; a new installation makes them xvda and xvdb", edit(path))
    if not worse:
        yield taken("config", path, _summary(config))


def _summary(config: FoundConfig) -> str:
    words = (f"{config.memory} MiB" if config.memory else "", config.boot.value if config.boot else "boots in a way of its own", ", ".join(config.macs),
             ", ".join(str(address) for address in config.addresses), ", ".join(path for _, path in config.disks))
    return "used as it stands: " + "; ".join(word for word in words if word)


def _not_started(config: FoundConfig, vps: VpsId, settings: Settings) -> Iterator[Finding]:
    """Why xl, or this daemon, would not start it."""
    path = config.file.path
    if config.refused_lines:
        lines = listed(tuple(str(number) for number in config.refused_lines))
        yield problem("config-python", path, f"xl refuses {'line' if len(config.refused_lines) == 1 else 'lines'} {lines}: xm ran this file as a program, xl does not",
                      edit(path, config.refused_lines[0]))
    if config.name != vps.name:
        said = f"its name is {config.name!r}" if config.name else "it has no name"
        yield problem("config-other-name", path, f"{said}: as long as that is not {vps.name} this daemon takes the VPS for stopped while it runs", edit(path))
    if vps.number > settings.max_vps_id:
        yield problem("config-beyond", path, f"max_vps_id is {settings.max_vps_id}: calls that name VPS {vps} are refused", edit(f"{settings.config_dir}/dtc-xen.conf"))
    if config.lacking:
        yield problem("config-lacking", path, f"what it names is not there: {listed(config.lacking)}", edit(path))


def _screen(config: FoundConfig) -> Iterator[Finding]:
    path = config.file.path
    if config.screen_password and config.file.mode & _OTHERS:
        yield problem("config-open", path, f"it holds the password of its screen, and others than root can read it ({config.file.mode:04o})", command("chmod", "600", "--", path))
    if config.default_password:
        yield problem("config-screen-default", path, "its screen has the original's password for all, XXXX", edit(path))
    elif config.screen_password == "vfb" and config.boot is BootMode.HVM:
        yield problem("config-screen", path, "the password of its screen stands in vfb, where xl does not look for an HVM guest's: put vncpasswd on a line of its own", edit(path))


def _foreign_disks(config: FoundConfig, vps: VpsId, settings: Settings, node: OldNode) -> Iterator[Finding]:
    """Disks that it names and this daemon, which goes by names, does not take for its own."""
    mine = {name for disk in node.disks if disk.vps == vps for name in disk.names}
    foreign = tuple(path for _, path in config.disks if path not in mine and path not in config.lacking and not path.lower().endswith(".iso"))
    if foreign and not (node.volumes_trouble and all(path.startswith("/dev/") for path in foreign)):
        yield warning("config-foreign-disk", config.file.path, f"it is started with {listed(foreign)}, which no other operation takes for a disk of VPS {vps}: "
                      f"only {vps.name} and {vps.name}swap, or {settings.provisioning_mount_point}/{vps.name}.img and .swap.img, are", edit(config.file.path))


def _macs(node: OldNode) -> Iterator[Finding]:
    """Two cards of one address disturb each other, and one VPS is let through for the other by anti-spoofing rules."""
    users: dict[MacAddress, list[FoundConfig]] = {}
    for config in node.configs:
        for mac in dict.fromkeys(config.macs):
            users.setdefault(mac, []).append(config)
    for mac, configs in users.items():
        if len(configs) > 1:
            yield warning("config-mac", ", ".join(config.file.path for config in configs), f"they share the MAC address {mac}", edit(configs[-1].file.path))


def _autostart(node: OldNode) -> Iterator[Finding]:
    whole = tuple(file.name for file in node.autostart if file.path not in node.autostart_lacking)
    if whole:
        yield taken("autostart", node.autostart[0].path.rpartition("/")[0], f"started with the node: {listed(whole)}")
    for file in node.autostart:
        if file.path in node.autostart_lacking:
            yield warning("autostart-lacking", file.path, f"it leads to {file.target}, which is not there: starting it fails at every boot",
                          command("rm", "--", file.path))


# -- what the original noted ----------------------------------------------------------------------


def _state(state: StateFile) -> Finding:
    """The original's word for what it did to a VPS; it asked for no more than whether a process had that number."""
    words = {"mkos": "an installation", "fsck": "a file system check"}.get(state.doing, "something")
    if any(name in state.program for name in (*PROGRAMS, "fsck")):
        return problem("state-running", state.path, f"{words} by the original still runs (process {state.pid}, {state.program}): wait for its end before this daemon serves",
                       command("tail", f"--pid={state.pid}", "-f", "/dev/null"), command("rm", "--", state.path))
    if state.pid is None or state.doing not in ("mkos", "fsck"):
        return warning("state-unreadable", state.path, "nobody knows what it means; it is not read here", command("rm", "--", state.path))
    if state.doing == "mkos":
        return warning("state-mkos", state.path, "an installation by the original that no longer runs: whether its system is whole is not known; the file is not read here",
                       command("rm", "--", state.path))
    return left("state-fsck", state.path, "a file system check by the original that no longer runs; the file is not read here", command("rm", "--", state.path))


def _fstab(node: OldNode) -> Iterator[Finding]:
    """Trees are mounted here without fstab; what harm its lines do depends on systemd."""
    waking = [line for line in node.fstab if "noauto" not in line.options]
    stale = [line for line in node.fstab if line not in waking and not line.there]
    asleep = [line for line in node.fstab if line not in waking and line not in stale]
    if waking:
        yield problem("fstab-auto", _where(waking), f"without noauto a VPS's disk is mounted at every boot, whoever uses it: {_mounts(waking)}", _drop(waking))
    if stale:
        yield problem("fstab-stale", _where(stale), f"systemd unmounts at once what is mounted in a place whose disk is not there, an installation too: {_mounts(stale)}",
                      _drop(stale))
    if asleep:
        yield left("fstab", _where(asleep), f"not needed: this daemon mounts by itself: {_mounts(asleep)}", _drop(asleep))


def _where(lines: list[FstabLine]) -> str:
    return f"/etc/fstab:{','.join(str(line.number) for line in lines)}"


def _mounts(lines: list[FstabLine]) -> str:
    return listed(tuple(f"{line.source} at {line.at}" for line in lines))


def _drop(lines: list[FstabLine]) -> str:
    """All at once, since numbers change with the first line that goes; the old file stays beside the new."""
    words = tuple(word for line in lines for word in ("-e", f"{line.number}d"))
    return f"{command('sed', '--in-place=.before-dtcxen', *words, '/etc/fstab')} && systemctl daemon-reload"


def _samples(node: OldNode) -> Iterator[Finding]:
    """Pickles are programs to whoever reads them, so nobody here does."""
    if node.samples:
        directory = node.samples[0].path.rpartition("/")[0]
        size = sum(file.size for file in node.samples)
        times = sorted(int(file.name[7:-7]) for file in node.samples if file.name.startswith("sample-") and file.name[7:-7].isdecimal())
        since = f", the oldest of {datetime.fromtimestamp(min(times[0], 1 << 33), UTC):%Y-%m-%d %H:%M}Z" if times else ""
        yield left("samples", directory, f"{counted(len(node.samples), 'file')} of performance data, {size} bytes{since}: never read here, since a pickle can do anything "
                   "to whoever reads it; what the panel did not fetch from the original is not billed", command("rm", "-r", "--", directory))


# -- disks ----------------------------------------------------------------------------------------


def _disks(settings: Settings, node: OldNode) -> Iterator[Finding]:
    configured = {vps_of(config.file.name) for config in node.configs}
    named = {path for config in node.configs for _, path in config.disks}
    if node.volumes_trouble:
        yield warning("volumes-unknown", "lvs", f"the logical volumes are not known: {node.volumes_trouble}", command("lvs"))
    for disk in node.disks:
        yield from _disk(disk, configured, bool(disk.names & named))
    mine = tuple(str(vps) for vps in sorted(here(node) & {disk.vps for disk in node.disks if disk.names & named}))
    if mine:
        yield taken("disks", settings.provisioning_mount_point, f"disks are known by their names, those of VPS {listed(mine)} are in use")


def _disk(disk: FoundDisk, configured: set[VpsId | None], named: bool) -> Iterator[Finding]:
    size = f"{disk.size_bytes >> 20} MiB"
    if disk.vps is None and not named:
        yield left("disk-name", disk.path, f"{size}; not the name of a VPS's disk: nothing here touches it")
    elif disk.vps is not None and disk.vps not in configured:
        yield warning("disk-unnamed", disk.path, f"{size}; VPS {disk.vps} has no configuration: nothing starts it, setupVPSDisk refuses the number, setupLVMDisks sets it aside",
                      command("dtcxen", "plan", "killVPSDisk", f"vps={disk.vps}"))
    elif disk.vps is not None and not named:
        yield left("disk-idle", disk.path, f"{size}; the configuration of VPS {disk.vps} does not name it, and it stays that VPS's by its name")
