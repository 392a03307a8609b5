"""What a client may take of us before anyone knows who it is: bytes, and time.

Twisted buffers a whole body before it looks for a resource, and reads forms in it; this request
ends an over-long one at its header, or at the chunk that goes too far, and never parses a body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Request, Site

IDLE_SECONDS = 60
_TOO_LONG = b"HTTP/1.1 413 Request Entity Too Large\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 25\r\n\r\nThe request is too long.\n"


class LimitedRequest(Request):  # type: ignore[misc]
    """A request whose body is never longer than its site allows."""

    refused = False
    received = 0
    media_type = ""

    def gotLength(self, length: int | None) -> None:
        """Called at the end of the headers, with Content-Length if there was one."""
        too_long = length is not None and length > self._limit()
        super().gotLength(0 if too_long else length)
        if too_long:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """Called with each piece of the body; what comes after the refusal is dropped."""
        self.received += len(data)
        if self.refused:
            return
        if self.received > self._limit():
            self._refuse()
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Called when all has arrived. A form's type is hidden while Twisted would read the body by it."""
        if self.refused:
            return
        types = self.requestHeaders.getRawHeaders(b"content-type")
        self.requestHeaders.removeHeader(b"content-type")
        self.media_type = types[-1].decode("latin-1") if types else ""
        super().requestReceived(command, path, version)

    def _limit(self) -> int:
        return int(self.channel.site.longest_body())

    def _refuse(self) -> None:
        self.refused = True
        self.channel.transport.write(_TOO_LONG)
        self.channel.loseConnection()


class LimitedSite(Site):  # type: ignore[misc]
    """A site of LimitedRequests. `longest_body` is asked for each request, in bytes."""

    def __init__(self, resource: Resource, longest_body: Callable[[], int], **more: Any) -> None:
        super().__init__(resource, requestFactory=LimitedRequest, timeout=IDLE_SECONDS, **more)
        self.longest_body = longest_body
        self.displayTracebacks = False
