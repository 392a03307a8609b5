"""One Spyne protocol for both dialects, and the application that it serves.

A request is read by `envelope`, checked and admitted by the catalogue, and answered in the
dialect it came in: literal replies go through Spyne and its schema, RPC/encoded ones through
`encoding`, in the original's shapes where the old name was called. Spyne gives the WSDL, the
contexts and the literal serialisation; its own validators are not used, since each of them takes
something for something else (the facts are in the tests of the recorded requests).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dtcxen_soap import operations
from dtcxen_soap.access import Caller
from dtcxen_soap.calls import Call, NotAdmitted
from dtcxen_soap.errors import DtcxenError, Failed, NotAllowed
from dtcxen_soap.logfields import about
from dtcxen_soap.settings import Settings
from dtcxen_soap.wire import encoding, envelope, faults, legacy, models
from dtcxen_soap.wire import spynefix as _  # noqa: F401  (before Spyne)
from dtcxen_soap.wire.xmlnames import TNS, scrub

from spyne.application import Application  # isort: skip
from spyne.decorator import rpc  # isort: skip
from spyne.protocol.soap import Soap11  # isort: skip
from spyne.service import Service, ServiceMeta  # isort: skip

log = logging.getLogger(__name__)

Submit = Callable[[Call], Any]
Tell = Callable[[NotAdmitted], None]


@dataclass
class Exchange:
    """One request on its way through Spyne, kept in the context's `udc`. `problem` is the fault that came of it, told as one or not."""

    caller: Caller
    message: envelope.Message | None = None
    form: operations.Form | None = None
    call: Call | None = None
    answer: Any = None
    problem: Any = None

    @property
    def operation(self) -> str:
        return self.message.operation if self.message else ""

    def outcome(self, error: BaseException) -> str:
        """An error as the original's callers know it, "NOTOK - why", where the toolstack could not; "" where it is a fault for everybody."""
        form, asked_as_of_old = self.form, self.message is not None and self.message.rpc
        if isinstance(error, Failed) and asked_as_of_old and form and form.old and form.operation.notok:
            return f"NOTOK - {error.reason}"
        return ""


class DualSoap(Soap11):  # type: ignore[misc]
    """SOAP 1.1 in document/literal and in RPC/encoded, each answered in kind."""

    def __init__(self, settings: Settings, tell: Tell) -> None:
        """`tell` learns of each call that would have changed something and is not admitted."""
        super().__init__(validator=None, parse_xsi_type=False)
        self._settings, self._tell = settings, tell

    def create_in_document(self, ctx: Any, charset: str | None = None) -> None:
        """Bytes to a document."""
        ctx.in_document = envelope.parse(b"".join(ctx.in_string), charset)

    def decompose_incoming_envelope(self, ctx: Any, message: Any = Soap11.REQUEST) -> None:
        """Document to an admitted call; all faults of the request are raised as one."""
        exchange: Exchange = ctx.udc
        read = exchange.message = envelope.read(ctx.in_document)
        form = exchange.form = operations.find(read.operation, read.rpc)
        booleans = frozenset(item.name(form.old) for item in form.parameters if item.type.facets(self._settings).base == "boolean") if form else frozenset()
        given, who = read.given(booleans), exchange.caller
        try:
            exchange.call = operations.prepare(read.operation, given, self._settings, who, rpc=read.rpc)
        except DtcxenError as error:
            if told := operations.not_admitted(read.operation, given, who, error, rpc=read.rpc):
                self._tell(told)
            elif form is None or isinstance(error, NotAllowed):
                why = f"{who.name}: unknown operation {read.operation[:64]!r}" if form is None else str(error)
                log.warning("%s, from %s", why, who.peer, extra=about(caller=who.name, peer=who.peer, operation=read.operation[:64], outcome=type(error).__name__))
            raise faults.of(error, read.operation) from None
        ctx.in_header_doc, ctx.in_body_doc = None, ctx.in_document
        ctx.method_request_string = f"{{{TNS}}}{read.operation}"

    def deserialize(self, ctx: Any, message: Any) -> None:
        """Nothing is left to read: the call is in the exchange."""
        ctx.in_object = []

    def serialize(self, ctx: Any, message: Any) -> None:
        """An answer or a fault to a document, in the request's dialect."""
        exchange: Exchange = ctx.udc
        if ctx.out_error is not None:
            ctx.out_document = faults.envelope(faults.of(ctx.out_error, exchange.operation))
        elif exchange.message and exchange.form and exchange.message.rpc:
            answer = ctx.out_object[0]
            reply = legacy.old_reply_of(exchange.operation, answer) if exchange.form.old else legacy.new_reply(answer)
            ctx.out_document = encoding.message(exchange.operation, exchange.message.namespace, reply)
        else:
            super().serialize(ctx, message)

    def to_unicode(self, cls: Any, value: Any, *rest: Any, **more: Any) -> Any:
        """Texts of replies without characters that XML cannot hold; the serialisation fails on them."""
        text = super().to_unicode(cls, value, *rest, **more)
        return scrub(text) if isinstance(text, str) else text


def application(settings: Settings, submit: Submit, tell: Tell = lambda refused: None) -> Any:
    """The Spyne application: a method per form of the catalogue, each handing its call to `submit`; `tell` learns of what was not admitted."""
    replies = models.Replies()
    methods = {form.name: _method(form, settings, replies, submit) for form in operations.forms(rpc=False)}
    service = ServiceMeta("DtcXen", (Service,), methods)
    return Application([service], TNS, name="DtcXen", in_protocol=DualSoap(settings, tell), out_protocol=DualSoap(settings, tell))


def _method(form: operations.Form, settings: Settings, replies: models.Replies, submit: Submit) -> Any:
    """Spyne's descriptor of one form: what the WSDL says of it, and what runs."""
    parameters = [item for item in form.parameters if not item.rpc_only]

    def call(ctx: Any, *values: Any) -> Any:
        return submit(ctx.udc.call)

    call.__name__ = form.name
    call.__doc__ = form.operation.help + (f" The panel's name for {form.operation.name}." if form.old else "")
    return rpc(
        *(models.parameter(item, settings) for item in parameters), _args=[item.name(form.old) for item in parameters],
        _returns=replies.model(form.operation.answer).customize(min_occurs=1, nillable=False),
        _operation_name=form.name, _out_variable_name="Result")(call)
