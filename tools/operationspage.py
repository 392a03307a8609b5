"""docs/operations.md, written from the catalogue: every operation with both names, who may call it, its parameters and its answer.

Nothing in it is written by hand but the words around the tables, so a new operation needs no second list.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from datetime import datetime

from dtcxen_soap import requests, settings
from dtcxen_soap.access import Access
from dtcxen_soap.calls import Kind
from dtcxen_soap.operations import OPERATIONS, Operation
from dtcxen_soap.requests import Parameter
from dtcxen_soap.wire.xmlnames import camel

WHO = {
    Access.ADMIN: "admin", Access.OWNER: "admin, owner", Access.READ_OWN: "admin, monitor, owner", Access.READ_ALL: "admin, monitor", Access.ANYONE: "anyone"}
"""Who may call an operation, as the tables say it."""
_KINDS = {
    Kind.READ: "reads, and changes nothing",
    Kind.NOW: "answers when it is done",
    Kind.JOB: "answers at once with the number of a job, which goes on",
    Kind.CANCEL: "answers at once; the job ends soon after",
}
_PLAIN = {str: "text", int: "number", float: "number", bool: "true or false", datetime: "date and time"}
_HEAD = """\
# Operations

<!-- Written by tools/operationspage.py from dtcxen_soap/operations.py: `make documents`. -->

Every operation has a new name. Those that the panel calls have its name too, with its parameter names and its kind of reply.
Both names work in both dialects (RPC/encoded and document/literal). The same words are `dtcxen call NAME parameter=value`.

Who signs in is the node's admin (`admin_user`), its monitor (`monitor_user`), or the owner of one VPS: user `xenNN`, for that VPS
only. "anyone" is each of these. Nobody calls anything without signing in.

{table}

Numbers are within the limits of default settings. The WSDL of a node has the node's own limits: `https://NODE:8089/?wsdl`.

## What holds for every operation

- Parameters have names. A missing, repeated, unknown, empty or wrong one is refused. All faults of a call are told at once.
- In document/literal the order is that of the schema. In RPC/encoded and on the command line any order will do.
- Some that may be absent alone are needed in one of two forms: reinstallOS wants `nics`, or the sign-up form's `ipaddr`.
- A VPS is written `01` or `xen01`.
- Where both names are the same, RPC/encoded means the panel's form, with the panel's parameter names.
- An optional parameter that is empty counts as not given.
- With `planOnly=true` the answer holds the steps, and nothing is changed.
- What changes a VPS holds that VPS's lock until its end. A second change meanwhile is refused as `Busy`.

## Faults

| fault code | who must act | what it means |
|---|---|---|
| `Client.MissingParameter`, `Client.NilParameter` | the caller | a parameter that must be there is not, or is null |
| `Client.UnknownParameter`, `Client.RepeatedParameter`, `Client.ParameterOrder` | the caller | a name that is not known, is there twice, or is out of the schema's order |
| `Client.ParameterType`, `Client.InvalidParameter` | the caller | a value of the wrong kind, or not what is expected there |
| `Client.UnknownOperation` | the caller | there is no operation of that name |
| `Client.NotAllowed` | the caller | who signed in may not do this |
| `Client.Missing` | the caller | what the call names is not there: no such job, no disk, no log |
| `Client.Busy` | the caller, later | another job holds the VPS; the detail has its number as `job` |
| `Client.Cancelled` | nobody | the work was ended by cancelJob |
| `Server.Failed` | the node's admin | a step went wrong; the detail has `step`, `problem` and, where something was, `undone` |
| `Server` | the node's admin | a defect; the reference number in the text is in the node's log |

Each fault of the call's own words has an entry in the detail, with `parameter`, `problem` and `expected`. Where they are of several kinds, the code
is `Client.InvalidParameter`. Operations that run or end a VPS answer the panel's name with `NOTOK - why` where xl refused, as the original did; under the new name that is a fault.

"""


def page() -> str:
    """The whole document."""
    return _HEAD.format(table="\n".join(_overview())) + "\n".join(line for row in OPERATIONS for line in _section(row))


def _overview() -> Iterator[str]:
    yield "| operation | the panel's name | who may call it | what it does |"
    yield "|---|---|---|---|"
    for row in OPERATIONS:
        yield f"| [{row.name}](#{row.name.lower()}) | {row.old_name} | {WHO[row.access]} | {_cell(row.help)} |"


def _section(row: Operation) -> Iterator[str]:
    yield from (f"## {row.name}", "", f"{row.help} It {_KINDS[row.kind]}.", "")
    old = f" The panel's name: `{row.old_name}`." if row.old_name and row.old_name != row.name else " The panel uses the same name." if row.old_name else ""
    yield from (f"For: {row.access.value}.{old}", "")
    yield from _parameters(row)
    yield from _answer(row)
    yield ""


def _parameters(row: Operation) -> Iterator[str]:
    every = tuple(dict.fromkeys((*requests.parameters(row.request), *requests.parameters(row.request, old=True))))
    if not every:
        yield from ("It takes no parameters.", "")
        return
    yield from ("| parameter | the panel's | must be there | what it is | expected |", "|---|---|---|---|---|")
    yield from (_parameter(item, bool(row.old_name)) for item in every)
    yield ""


def _parameter(item: Parameter, panel: bool) -> str:
    words = f"{item.help} Never shown in plans, logs or the audit." if item.secret else item.help
    name, old = (f"`{word}`" if word else "" for word in (item.wire, item.old if panel else ""))
    return f"| {name} | {old} | {'' if item.optional else 'yes'} | {_cell(words)} | {_cell(item.type.expected(settings.defaults()))} |"


def _answer(row: Operation) -> Iterator[str]:
    doc = " ".join((row.answer.__doc__ or "").split())
    yield from (f"Answer `{row.answer.__name__}`: {_told(doc)}", "")
    yield from ("| member | what |", "|---|---|")
    yield from _members(row.answer, "")


def _told(doc: str) -> str:
    """A record's docstring without the operations' names that it begins with."""
    head, colon, rest = doc.partition(": ")
    named = colon and all(word in {row.name for row in OPERATIONS} for word in head.split(", "))
    return rest if named else doc


def _members(record: type, before: str) -> Iterator[str]:
    """A row per member; those of a list's records stand behind its name."""
    hints = typing.get_type_hints(record)
    for item in dataclasses.fields(record):
        kind, many, optional = _kind(hints[item.name])
        name = before + camel(item.name)
        if dataclasses.is_dataclass(kind):
            yield f"| `{name}` | a list; {_cell(' '.join((kind.__doc__ or '').split()))} |"
            yield from _members(typing.cast(type, kind), f"{name}.")
        else:
            yield f"| `{name}` | {'a list of ' if many else ''}{_PLAIN[kind]}{'; may be absent' if optional else ''} |"


def _kind(hint: typing.Any) -> tuple[typing.Any, bool, bool]:
    """The type of a member, whether it is a list, whether it may be absent."""
    if isinstance(hint, types.UnionType):
        (kind,) = (each for each in typing.get_args(hint) if each is not type(None))
        return kind, False, True
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True, False
    return hint, False, False


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
