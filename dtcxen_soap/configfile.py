"""The domU's configuration file: written whole beside the old one, exchanged for it, and the old one kept for its hand edits.

Whoever writes one (an installation, writeXenHVMconf, changeBSDkernel) puts `steps` among what counts,
so that a failure brings the old one back, and `keep_previous` at the end, where nothing is undone any more.
"""

from __future__ import annotations

from dtcxen_soap.disks import auto_path, config_path, kept_config_path, previous_config_path
from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import Facts
from dtcxen_soap.plans import ExchangeFile, MakeDirectory, MustBeFree, RemoveFile, RenameFile, Step, Symlink, WriteFile
from dtcxen_soap.settings import Settings
from dtcxen_soap.vps import MacAddress, Secret, Vps, VpsId
from dtcxen_soap.xen import config
from dtcxen_soap.xen.mac import mac_for

_PRIVATE = 0o600


def mac(vps: VpsId, settings: Settings, facts: Facts) -> MacAddress:
    """The address that the configuration has, which guests may be bound to, else a new one. Failed when there is none to be had."""
    if facts.domu.config_mac is not None:
        return facts.domu.config_mac
    try:
        return mac_for(vps, settings, facts.node.node_id, facts.taken_macs)
    except ValueError as error:
        raise Failed(f"Choose the MAC address of VPS {vps}.", str(error)) from None


def must_be_down(vps: VpsId, facts: Facts) -> MustBeFree:
    """The last look before a configuration is replaced: a domU that came up meanwhile goes on with what it was started from."""
    return MustBeFree(why="Make sure that the VPS is down now.", vps=vps, toolstack=facts.domu.toolstack)


def steps(vps: Vps, settings: Settings, facts: Facts, *, autostart: bool = True) -> tuple[Step, ...]:
    """Put the configuration in its place, with undo. `autostart`: and have the VPS start with the node; else that stays as it is."""
    path = config_path(vps.id, settings)
    new, old = f"{path}.new", f"{path}.old"
    text = config.render(vps)
    secret = vps.hvm is not None and vps.hvm.vnc_password is not None
    return (
        RemoveFile(why="Remove what an interrupted call left.", path=old),
        WriteFile(why="Write the domU's configuration.", path=new, content=Secret(text) if secret else text, mode=_PRIVATE,
                  undo=(RemoveFile(why="Remove the new configuration.", path=new),)),
        _into_place(path, facts.domu.configured),
        *(_autostart(vps.id, settings) if autostart else ()))


def _into_place(path: str, exchange: bool) -> Step:
    """The new file takes the name; one that was there lives on as .old."""
    new, old, failed = f"{path}.new", f"{path}.old", f"{path}.failed"
    if not exchange:
        return RenameFile(
            why="Put the configuration in its place.", source=new, target=path, undo=(RemoveFile(why="Remove the configuration.", path=path),))
    back = (ExchangeFile(why="Put the old configuration back.", source=old, target=path, keep=failed), RemoveFile(why="Remove the one that failed.", path=failed))
    return ExchangeFile(why="Put the new configuration in the old one's place.", source=new, target=path, keep=old, undo=back)


def _autostart(vps: VpsId, settings: Settings) -> tuple[Step, ...]:
    return (MakeDirectory(why="Have a place for the start link.", path=f"{settings.xen_config_dir}/auto"),
            Symlink(why="Start the VPS with the node.", path=auto_path(vps, settings), target=f"../{vps.name}"))


def keep_previous(vps: VpsId, settings: Settings, facts: Facts, *, with_system: bool = False) -> tuple[Step, ...]:
    """Keep the old configuration for its admin's hand edits, or beside the kept system that it starts; for the end of a plan."""
    if not facts.domu.configured:
        return ()
    path = config_path(vps, settings)
    kept, whose = (kept_config_path(vps, settings), "with the old system") if with_system else (previous_config_path(vps, settings), "for its admin's hand edits")
    return (RemoveFile(why="Let go of the configuration before the last.", path=kept, may_fail=True),
            RenameFile(why=f"Keep the old configuration {whose}.", source=f"{path}.old", target=kept, may_fail=True))


def bring_back(vps: VpsId, settings: Settings, facts: Facts) -> tuple[Step, ...]:
    """The configuration that was kept with an earlier system and the present one change places; without a kept one the present one stays."""
    path, kept = config_path(vps, settings), kept_config_path(vps, settings)
    if not facts.domu.kept_config:
        return ()
    if not facts.domu.configured:
        return (_move("Put the earlier configuration in its place.", kept, path),)
    old = f"{path}.old"
    back = ExchangeFile(why="Put the newer configuration back.", source=old, target=path, keep=kept)
    return (ExchangeFile(why="Put the earlier configuration in its place.", source=kept, target=path, keep=old, undo=(back,)),
            _move("Keep the newer configuration beside it.", old, kept))


def _move(why: str, source: str, target: str) -> Step:
    return RenameFile(why=why, source=source, target=target, undo=(RenameFile(why=f"Undo: {why}", source=target, target=source),))
