"""Spyne's types, generated from the words: parameters from their facets, replies from the answers.

Types carry the limits of this node's settings, so that a WSDL client knows them before it calls.
A type's name is the word's own (VpsName, DisksReady); members are camelCase.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from datetime import datetime
from typing import Any

from dtcxen_soap.requests import Parameter
from dtcxen_soap.settings import Settings
from dtcxen_soap.valuetypes import Facets
from dtcxen_soap.wire import spynefix  # noqa: F401  (before Spyne)
from dtcxen_soap.wire.xmlnames import TNS, camel

from spyne.model.complex import ComplexModel  # isort: skip
from spyne.model.primitive import Boolean, DateTime, Double, Integer, Long, Unicode  # isort: skip

Model = Any
_PLAIN: dict[type, Model] = {bool: Boolean, int: Long, float: Double, str: Unicode, datetime: DateTime}


def parameter(item: Parameter, settings: Settings) -> Model:
    """The restricted simple type of one parameter, under its help."""
    facets = item.type.facets(settings)
    occurrence = {"min_occurs": 0 if item.optional else 1, "nillable": item.optional, "doc": item.help}
    if facets.base == "boolean":
        return Boolean.customize(**occurrence)
    base = Integer if facets.base == "integer" else Unicode
    made = base.customize(type_name=item.type.name, **_restrictions(facets), **occurrence)
    made.__namespace__ = TNS
    return made


def _restrictions(facets: Facets) -> dict[str, Any]:
    if facets.base == "integer":
        return {"ge": facets.minimum, "le": facets.maximum}
    if facets.choices:
        return {"values": list(facets.choices)}
    pattern = {"pattern": facets.pattern} if facets.pattern else {}
    return {"min_len": facets.min_length, "max_len": facets.max_length, **pattern}


class Replies:
    """Reply types of one interface: each answer dataclass becomes one complex type, made once.

    Docstrings without their indentation, which Python itself takes off since 3.13: the WSDL is the same text on all.
    """

    def __init__(self) -> None:
        self._made: dict[type, Model] = {}

    def model(self, answer: type) -> Model:
        """The complex type of an answer; its docstring becomes the documentation."""
        if answer not in self._made:
            hints = typing.get_type_hints(answer)
            members = [(item.name, self._member(item.name, hints[item.name])) for item in dataclasses.fields(answer)]
            made = ComplexModel.produce(TNS, answer.__name__, members)
            made.Annotations = type("Annotations", (ComplexModel.Annotations,), {"doc": inspect.cleandoc(answer.__doc__ or "")})
            self._made[answer] = made
        return self._made[answer]

    def _member(self, name: str, hint: Any) -> Model:
        kind, occurrence = _occurrence(hint)
        base = _PLAIN.get(kind) or self.model(kind)
        return base.customize(sub_name=camel(name), nillable=False, doc="", **occurrence)


def _occurrence(hint: Any) -> tuple[type, dict[str, Any]]:
    """What one member holds, and how often: X, X | None, or tuple[X, ...]."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return arguments[0], {"min_occurs": 0, "max_occurs": "unbounded"}
    if isinstance(hint, types.UnionType):
        return next(item for item in arguments if item is not type(None)), {"min_occurs": 0}
    return hint, {"min_occurs": 1}
