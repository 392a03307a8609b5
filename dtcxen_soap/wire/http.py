"""HTTP around the protocol: who is let in, in which order, and what each answer looks like.

A POST goes through: media type and Origin, credentials, and only then is its body looked at.
Calls run in the engine's threads; the reactor only waits for them, so that a slow one delays
nobody. Faults have status 500, since the panel's client reads them with no other.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from twisted.internet import defer
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from dtcxen_soap.access import Access, Caller, admit
from dtcxen_soap.answers import PerformanceList
from dtcxen_soap.calls import Call, NotAdmitted
from dtcxen_soap.errors import NotAllowed
from dtcxen_soap.settings import Settings
from dtcxen_soap.wire import delivery, faults, metrics, soap, status, statuspage, wsdl
from dtcxen_soap.wire import spynefix as _  # noqa: F401  (before Spyne)
from dtcxen_soap.wire.auth import Authenticator, WrongCredentials, credentials
from dtcxen_soap.wire.health import Health
from dtcxen_soap.wire.limits import LimitedRequest, LimitedSite

from spyne.server.http import HttpBase, HttpMethodContext, HttpTransportContext  # isort: skip

log = logging.getLogger(__name__)

REALM = b'Basic realm="dtc-xen", charset="UTF-8"'
_MEDIA_TYPES = ("text/xml", "application/xml")
_SOAP_12 = "application/soap+xml"
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


class Engine(Protocol):
    """What the wire asks of the engine."""

    def submit(self, call: Call) -> Future[Any]:
        """Start a call; its future holds the answer or an error of errors.py."""
        ...

    def not_admitted(self, refused: NotAdmitted) -> None:
        """A call that would have changed something was refused before it could be submitted."""
        ...

    def delivered(self, newest: int) -> None:
        """Samples up to this number have reached their reader. Never blocks."""
        ...


class Served:
    """The Spyne application for one state of the settings, and its WSDL."""

    def __init__(self, settings: Settings, submit: soap.Submit, tell: soap.Tell) -> None:
        self.settings = settings
        self.transport = HttpBase(soap.application(settings, submit, tell))
        self._wsdl = wsdl.build(self.transport, wsdl.ANYWHERE)

    def wsdl(self, address: str) -> bytes:
        """The WSDL with the service at `address`."""
        return self._wsdl.replace(wsdl.ANYWHERE.encode(), address.encode())


class SoapResource(Resource):  # type: ignore[misc]
    """All of the service: SOAP and WSDL at /, and the status page for who gets that; /healthz and /metrics."""

    isLeaf = True

    def __init__(
            self, settings_of: Callable[[], Settings], engine: Engine, auth: Authenticator, health: Health, figures: metrics.Metrics,
            pages: status.Status, reactor: IReactorFromThreads) -> None:
        super().__init__()
        self._settings_of, self._engine, self._auth, self._health, self._metrics, self._reactor = settings_of, engine, auth, health, figures, reactor
        self._pages = pages
        self._served = Served(settings_of(), self._submit, engine.not_admitted)

    def render(self, request: LimitedRequest) -> Any:
        """Answer a request, or say NOT_DONE_YET and answer later."""
        if request.path == b"/healthz" and request.method in (b"GET", b"HEAD"):
            return self._later(request, self._answer_health(request))
        if request.path == b"/metrics":
            return self._later(request, self._answer_metrics(request)) if request.method in (b"GET", b"HEAD") else _only_get(request)
        path = request.path.decode("latin-1")
        if status.serves(path) and request.method in (b"GET", b"HEAD") and b"?" not in request.uri:
            return self._later(request, self._answer_page(request, path))
        if path != "/":
            return _text(request, 404, "There is nothing here; SOAP, ?wsdl and the status page are at /, figures at /metrics.")
        if request.method == b"POST":
            return self._refused_media(request) or self._later(request, self._answer_call(request))
        if request.method in (b"GET", b"HEAD"):
            return self._answer_get(request)
        return _not_allowed(request)

    def _answer_get(self, request: LimitedRequest) -> bytes:
        if not request.uri.lower().partition(b"?")[2].startswith(b"wsdl"):
            return _not_allowed(request)
        return _send(request, 200, faults.MEDIA_TYPE, self._current().wsdl(_address(request)))

    def _refused_media(self, request: LimitedRequest) -> bytes:
        refused = self._refuse_media(request)
        if refused:
            self._metrics.rejected("media")
        return refused

    def _refuse_media(self, request: LimitedRequest) -> bytes:
        """A browser can be made to send everything but these types and without an Origin: b"" if the request is none of its."""
        if request.getHeader("origin") is not None:
            return _text(request, 403, "Requests of web pages are refused.")
        media = request.media_type.partition(";")[0].strip().lower()
        if media == _SOAP_12:
            return _fault(request, faults.fault("VersionMismatch", "SOAP 1.2 is not spoken here, expected SOAP 1.1 (text/xml)"))
        return b"" if media in _MEDIA_TYPES else _text(request, 415, "Expected SOAP 1.1 with Content-Type: text/xml.")

    def _later(self, request: LimitedRequest, answer: Any) -> int:
        """Write what the coroutine `answer` returns, unless the client has gone; then stop waiting for it."""
        answering = defer.Deferred.fromCoroutine(answer)
        gone: list[Failure] = []

        def left(reason: Failure) -> None:
            gone.append(reason)
            answering.cancel()

        def write(body: bytes) -> None:
            if not gone:
                request.write(body)
                request.finish()

        def failed(failure: Failure) -> None:
            if not (gone and failure.check(defer.CancelledError)):
                write(_fault(request, faults.of(failure.value)))

        request.notifyFinish().addErrback(left)
        answering.addCallbacks(write, failed)
        answering.addErrback(lambda failure: log.error("a reply was not sent: %s", failure.getTraceback()))
        return int(NOT_DONE_YET)

    async def _answer_health(self, request: LimitedRequest) -> bytes:
        healthy = await self._health.healthy()
        return _text(request, 200 if healthy else 503, "ok" if healthy else "not well")

    async def _caller(self, request: LimitedRequest) -> Caller | None:
        """Who signed in; None when nobody tried to. WrongCredentials when it is time to say so."""
        try:
            given = credentials(request.getHeader("authorization"))
            if given is not None:
                return await self._auth.authenticate(given, str(getattr(request.getClientAddress(), "host", "")))
            self._metrics.rejected("unsigned")
            return None
        except WrongCredentials:
            self._metrics.rejected("credentials")
            raise

    async def _reader(self, request: LimitedRequest) -> Caller | None:
        """Who signed in; None for whoever is to be asked for it (again)."""
        try:
            return await self._caller(request)
        except WrongCredentials:
            return None

    async def _answer_page(self, request: LimitedRequest, path: str) -> bytes:
        for name, value in statuspage.HEADERS.items():
            request.setHeader(name.encode(), value.encode())
        if status.refused(path, request.getHeader):
            return _text(request, 403, "Requests of other web pages are refused.")
        caller = await self._reader(request)
        if caller is None:
            return _challenge(request)
        answer = await self._pages.answer(path, caller, self._submit)
        return _send(request, answer.status, answer.media_type, answer.body)

    async def _answer_metrics(self, request: LimitedRequest) -> bytes:
        caller = await self._reader(request)
        if caller is None:
            return _challenge(request)
        try:
            admit("metrics", Access.READ_ALL, caller, None)
        except NotAllowed as error:
            return _text(request, 403, str(error))
        return _send(request, 200, metrics.MEDIA_TYPE, await self._metrics.text(self._submit))

    async def _answer_call(self, request: LimitedRequest) -> bytes:
        try:
            caller = await self._caller(request)
        except WrongCredentials:
            return _fault(request, faults.fault("Client.Authentication", "Authorization failed."))
        return await self._answer_caller(request, caller) if caller else _challenge(request)

    async def _answer_caller(self, request: LimitedRequest, caller: Caller) -> bytes:
        """A signed-in caller's request, counted by how it ended."""
        exchange, begun, outcome = soap.Exchange(caller), self._reactor.seconds(), "defect"
        try:
            body = await self._answer_exchange(request, exchange)
            outcome = faults.outcome(exchange.problem) if exchange.problem else metrics.DONE
            return body
        except defer.CancelledError:
            outcome = metrics.LEFT
            raise
        finally:
            self._metrics.answered(exchange.form, outcome, self._reactor.seconds() - begun)

    async def _answer_exchange(self, request: LimitedRequest, exchange: soap.Exchange) -> bytes:
        """A request through Spyne: parse, admit, run, serialise."""
        transport = self._current().transport
        context = _MethodContext(transport, request, faults.MEDIA_TYPE)
        context.in_string = [request.content.read()]
        context.udc = exchange
        ready = transport.generate_contexts(context, _charset(request.media_type))[0]
        ready.udc = exchange
        try:
            await self._run(transport, ready, exchange)
            transport.get_out_string(ready)
            exchange.problem = exchange.problem or ready.out_error
            status = 500 if ready.out_error is not None else 200
            if isinstance(exchange.answer, PerformanceList) and exchange.answer.newest and status == 200:
                delivery.when_delivered(request, lambda: self._engine.delivered(exchange.answer.newest))
            return _send(request, status, faults.MEDIA_TYPE, b"".join(ready.out_string))
        finally:
            ready.close()

    async def _run(self, transport: Any, context: Any, exchange: soap.Exchange) -> None:
        """Put the answer or the fault of the context's call into the context."""
        if context.in_error is not None:
            context.out_error = context.in_error
            return
        transport.get_in_object(context)
        transport.get_out_object(context)
        if context.out_error is not None:
            return
        try:
            exchange.answer = await context.out_object[0]
            context.out_object = [exchange.answer]
        except defer.CancelledError:
            raise
        except Exception as error:  # the one place where any error of the engine becomes a fault
            problem, told = faults.of(error, exchange.operation), exchange.outcome(error)
            exchange.problem = problem
            context.out_object, context.out_error = ([told], None) if told else (None, problem)

    def _submit(self, call: Call) -> defer.Deferred[Any]:
        """Hand a call to the engine, and its future's outcome back to the reactor's thread."""
        return defer.maybeDeferred(self._engine.submit, call).addCallback(self._outcome, call.operation)

    def _outcome(self, future: Future[Any], operation: str) -> defer.Deferred[Any]:
        waiting: defer.Deferred[Any] = defer.Deferred()

        def fire(done: Future[Any]) -> None:
            error = done.exception()
            if waiting.called:
                if error:
                    faults.of(error, operation)  # the caller has gone: the log learns of it
            elif error is None:
                waiting.callback(done.result())
            else:
                waiting.errback(error)

        future.add_done_callback(lambda done: self._reactor.callFromThread(fire, done))
        return waiting

    def _current(self) -> Served:
        """The application for the settings of now."""
        settings = self._settings_of()
        if settings is not self._served.settings:
            self._served = Served(settings, self._submit, self._engine.not_admitted)
        return self._served


class _TransportContext(HttpTransportContext):  # type: ignore[misc]
    """The little that Spyne asks of a transport."""

    def get_request_method(self) -> str:
        return str(self.req.method.decode("latin-1"))

    def get_request_content_type(self) -> str:
        return str(self.req.media_type)

    def get_path(self) -> str:
        return str(self.req.path.decode("latin-1"))


class _MethodContext(HttpMethodContext):  # type: ignore[misc]
    HttpTransportContext = _TransportContext


def site(
        settings_of: Callable[[], Settings], engine: Engine, auth: Authenticator, health: Health, figures: metrics.Metrics,
        pages: status.Status, reactor: IReactorFromThreads) -> LimitedSite:
    """The whole service as a factory of connections."""
    resource = SoapResource(settings_of, engine, auth, health, figures, pages, reactor)
    return LimitedSite(resource, lambda: settings_of().max_body_kib << 10)


def _charset(media_type: str) -> str | None:
    match = re.search(r';\s*charset\s*=\s*"?([^";\s]+)', media_type, re.IGNORECASE)
    return match[1] if match else None


def _address(request: LimitedRequest) -> str:
    """Where this client reaches us, in its own words if they make sense."""
    given = request.getHeader("host") or ""
    host = given if _HOST.fullmatch(given) else f"localhost:{getattr(request.getHost(), 'port', 0)}"
    return f"{'https' if request.isSecure() else 'http'}://{host}/"


def _send(request: LimitedRequest, status: int, media_type: str, body: bytes) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"content-type", media_type.encode())
    request.setHeader(b"content-length", str(len(body)).encode())
    request.setHeader(b"server", b"dtc-xen")
    return b"" if request.method == b"HEAD" else body


def _text(request: LimitedRequest, status: int, text: str) -> bytes:
    return _send(request, status, "text/plain; charset=utf-8", text.encode() + b"\n")


def _not_allowed(request: LimitedRequest) -> bytes:
    request.setHeader(b"allow", b"GET, HEAD, POST")
    return _text(request, 405, "POST SOAP 1.1 here, or GET /?wsdl.")


def _only_get(request: LimitedRequest) -> bytes:
    request.setHeader(b"allow", b"GET, HEAD")
    return _text(request, 405, "GET it.")


def _challenge(request: LimitedRequest) -> bytes:
    request.setHeader(b"www-authenticate", REALM)
    return _text(request, 401, "Sign in with Basic authentication.")


def _fault(request: LimitedRequest, problem: Any) -> bytes:
    return _send(request, 500, faults.MEDIA_TYPE, faults.message(problem))
