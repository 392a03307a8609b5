"""Undo steps as data, so that a daemon that starts after a crash still knows what an earlier one owed."""

from __future__ import annotations

import dataclasses
from typing import Any

from dtcxen_soap.movesteps import DropAtPeer, StartAgain, TakeBack
from dtcxen_soap.plans import ExchangeFile, ExchangeVolume, RemoveAccount, RemoveDirectory, RemoveFile, RemoveVolume, RenameFile, RenameVolume, Run, Step, Symlink, WriteFile

UNDO_KINDS = (
    RemoveFile, RemoveDirectory, RenameFile, ExchangeFile, WriteFile, Symlink, Run, RemoveVolume, RenameVolume, ExchangeVolume, RemoveAccount, DropAtPeer, StartAgain,
    TakeBack)


def undo_to_record(step: Step) -> dict[str, Any]:
    """An undo step as JSON-able data for the journal. Only kinds without secrets may be undo steps."""
    if not isinstance(step, UNDO_KINDS):
        raise TypeError(f"{type(step).__name__} cannot be an undo step")
    record: dict[str, Any] = {"kind": type(step).__name__}
    for item in dataclasses.fields(step):
        value = getattr(step, item.name)
        if value == item.default or item.name == "undo":
            continue
        record[item.name] = _jsonable(value)
    return record


def _jsonable(value: Any) -> Any:
    """The value as JSON keeps it. TypeError for a secret at any depth, and for a confinement, which must not get lost."""
    if isinstance(value, tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, str | int):
        return value
    raise TypeError(f"an undo step must not hold a {type(value).__name__}")


def undo_from_record(record: dict[str, Any]) -> Step:
    """The undo step of a journal record."""
    kinds = {kind.__name__: kind for kind in UNDO_KINDS}
    fields = {name: _tuples(value) for name, value in record.items() if name != "kind"}
    return kinds[record["kind"]](**fields)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
