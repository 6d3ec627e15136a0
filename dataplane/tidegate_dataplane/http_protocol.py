"""One connection of a caller: uvicorn's HTTP protocol, with our limits and error shape.

uvicorn answers what it cannot parse in plain text, has no limit on headers and no timeout for them, and tells the
application that a caller is gone only when asked. Here, bad HTTP gets an OpenAI-shaped 400, too many headers 431, slow
headers or bodies 408, and a caller that goes away cancels the task that serves it. With TLS, the scope has the scheme
"https" and, under CERTIFICATE, the caller's certificate if it showed one; one that does not hold any more stands there
as the reason, and the connection ends with that request.
"""

import asyncio
import secrets
import select
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tidegate_dataplane.cycle import Cycle
from tidegate_dataplane.errors import (
    REFUSAL,
    Failure,
    Refusal,
    body_too_slow,
    head_too_large,
    head_too_slow,
    malformed_http,
)
from tidegate_dataplane.settings import Limits
from tidegate_dataplane.transport.peer import CERTIFICATE, Peer, peer_of
from tidegate_dataplane.transport.tls import ServerTls

_PEER_ENDED = getattr(select, "POLLRDHUP", 0)  # Linux
_ASGI = {"version": "3.0", "spec_version": "2.3"}


class HttpProtocol(HttpToolsProtocol):
    """One connection of a caller."""

    limits: Limits  # set by `Listener` on a subclass of its own
    tls: ServerTls | None = None
    draining = False  # set on that subclass too: each answer then ends its connection, so that callers go elsewhere
    refused: Callable[[Refusal], object]  # hears of what no application sees
    _peer: Peer | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        if self.tls is not None:
            self._peer = peer_of(transport.get_extra_info("ssl_object"), self.tls)
        self.url, self.headers = b"", []
        self._in_head = True
        self._head_since = self.loop.time()
        self._head_bytes = 0
        self._arrived = 0
        self._stalled_since = 0.0
        self._refusal: Failure | None = None
        self._receiving = False
        self._serving: asyncio.Task[None] | None = None
        self._serving_cycle: Any = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        serving = self._serving
        if serving is not None and not serving.done() and not self._serving_cycle.response_complete:
            serving.cancel()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._arrived = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing is upgraded here: the request is served as it is, and the connection ends with it.
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(self._refusal or malformed_http())
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.head_bytes:
                self._refuse(head_too_large(self.limits.head_bytes, self.limits.head_count))

    def on_message_begin(self) -> None:
        """As uvicorn's, with the state that nobody uses left out."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.scope = {  # type: ignore[typeddict-item]  # the rest comes with the head, as in uvicorn
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": "http",
            "root_path": "",
            "headers": self.headers,
        }
        self._in_head = self._receiving = True
        self._head_since = self.loop.time()
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        headers = self.headers
        headers.append((name, value))
        if len(headers) > self.limits.head_count:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """As uvicorn's, with a cycle of our own and without WebSockets."""
        self._in_head = False
        limit = self.limits.head_bytes
        if self._head_bytes + self._arrived > limit and _size(self.url, self.headers) > limit:
            self._refuse_head()
        parser, scope = self.parser, self.scope
        version = parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        keep_alive = version == "1.1" and parser.should_keep_alive() and not self.draining
        if self.tls is not None:
            keep_alive = self._add_certificate(scope) and keep_alive
        before = self.cycle
        self.cycle = cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            # Pipelined: it waits until the one before is answered.
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _add_certificate(self, scope: Any) -> bool:
        """Return whether another request may follow on this connection."""
        scope["scheme"] = "https"
        peer = self._peer
        if peer is None:
            return True
        fault = peer.fault(time.time())
        scope[CERTIFICATE] = peer.certificate if fault is None else fault
        return fault is None

    def on_message_complete(self) -> None:
        self._receiving = False
        super().on_message_complete()
        if self.cycle is self._serving_cycle:
            # A large body has paused it; with the body here, only the end of the connection is to be read.
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        self._stalled_since = self.loop.time()
        super().pause_writing()

    def check_pace(self, now: float) -> None:
        """Refuse a head or a body that takes too long, cut off a caller that does not read, and notice one that left
        while nobody read from it; called twice a second."""
        if self.transport.is_closing():
            return
        if self.flow.read_paused and self._caller_left():
            self.transport.abort()
            return
        if self.flow.write_paused and now - self._stalled_since > self.limits.stall_seconds:
            self.transport.abort()
            return
        waited = now - self._head_since
        if self._in_head:
            if waited > self.limits.head_seconds:
                self._end_slow_head()
        elif self._receiving and waited > self.limits.body_seconds:
            # Also the rest of a body that was refused already and that we only let pass by.
            self._refuse(body_too_slow(self.limits.body_seconds))

    def _caller_left(self) -> bool:
        """Whether the caller has ended its side, though what it sent before is not read yet."""
        connection = self.transport.get_extra_info("socket")
        if not _PEER_ENDED or connection is None or connection.fileno() < 0:
            return False
        asked = select.poll()
        asked.register(connection.fileno(), _PEER_ENDED)
        return bool(asked.poll(0))

    def _end_slow_head(self) -> None:
        if self._head_bytes:
            self._refuse(head_too_slow(self.limits.head_seconds))
        elif self.timeout_keep_alive_task is None:
            self.transport.close()  # connected and said nothing

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._serving_cycle = cycle
        self._serving = task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _refuse_head(self) -> None:
        """Called by the parser, which reports the exception to `data_received`."""
        self._refusal = head_too_large(self.limits.head_bytes, self.limits.head_count)
        raise ValueError("the head is too large")

    def _refuse(self, failure: Failure) -> None:
        """Answer and close. After an answer has begun there is no room for another: then close only."""
        cycle = self._serving_cycle
        in_body = self._receiving and not self._in_head
        if cycle is not None and cycle.response_started and (in_body or not cycle.response_complete):
            self.transport.abort()
            return
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        refusal = self._refusal_of(failure)
        if in_body and cycle is not None and cycle is self.cycle:
            scope: Any = cycle.scope
            scope[REFUSAL] = refusal  # for the application, which accounts for it
        else:
            self.refused(refusal)
        body = failure.body()
        lines = [
            STATUS_LINE[failure.status],
            b"content-type: application/json\r\n",
            b"content-length: %d\r\n" % len(body),
            b"x-request-id: %b\r\n" % refusal.request_id.encode(),
            b"connection: close\r\n\r\n",
            body,
        ]
        self.transport.write(b"".join(lines))
        self.transport.close()

    def _refusal_of(self, failure: Failure) -> Refusal:
        begun = self._in_head or self._receiving
        host = next((value for name, value in self.headers if name == b"host"), b"") if begun else b""
        path = self.url.partition(b"?")[0] if begun else b""
        address = self.client[0] if self.client else ""
        return Refusal(failure, secrets.token_hex(16), address, host.decode("latin-1"), path.decode("latin-1"))


def nobody(refusal: Refusal) -> None:
    """Nobody wants to hear of refusals."""


def _size(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)
