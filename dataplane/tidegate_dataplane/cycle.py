"""One request and its response on a connection, as uvicorn's protocol sees them; writing is ours.

uvicorn writes head and body in two system calls and checks every header with two regular expressions. Here the head
waits for the first part of the body and both leave in one write, which is what half the cost of a small answer was.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from tidegate_dataplane.errors import internal

Application = Callable[..., Awaitable[None]]

_NO_BODY = frozenset({204, 304})


def _nothing() -> None:
    """Nobody waits for the end of this response any more."""


class Cycle(RequestResponseCycle):
    """`send` takes ASGI's response messages; a head without a content length is followed by chunks."""

    _head: MutableMapping[str, Any] | None = None

    async def run_asgi(self, app: Application) -> None:
        """As uvicorn's, but a cancelled application is no error (its caller is gone), and an error has our shape."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.transport.close()
        except Exception:
            self.logger.exception("the application failed")
            await self._fail()
        else:
            if not self.response_complete and not self.disconnected:
                self.logger.error("the application returned without completing its response")
                await self._fail()
        finally:
            self.on_response = _nothing

    async def _fail(self) -> None:
        if self.response_started and self._head is None:
            self.transport.close()
            return
        failure = internal()
        body = failure.body()
        self.response_started = False
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self.send({"type": "http.response.start", "status": failure.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def send(self, message: MutableMapping[str, Any]) -> None:  # type: ignore[override]  # of any ASGI message
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            if self.response_started:
                raise RuntimeError("a response was started twice")
            self.response_started = True
            self.waiting_for_100_continue = False
            self._head = message
            return
        if not self.response_started or self.response_complete:
            raise RuntimeError("a body was sent without an open response")
        body: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        head = b""
        if self._head is not None:
            head = self._encode_head(self._head["status"], self._head["headers"])
            self._head = None
        data = head + self._frame(body, last=not more)
        if data:
            self.transport.write(data)
        if not more:
            self._complete()

    def _encode_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        lines = [STATUS_LINE[status]]
        length = -1
        for name, value in (*self.default_headers, *headers):
            lines.append(b"%b: %b\r\n" % (name, value))
            if name == b"content-length":
                length = int(value)
            elif name == b"connection" and value.lower() == b"close":
                self.keep_alive = False
        self.chunked_encoding = False
        if length >= 0:
            self.expected_content_length = length
        elif status not in _NO_BODY:
            if self.scope["http_version"] == "1.1":
                self.chunked_encoding = True
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self.keep_alive = False  # the end of the connection is the end of the body
            self.expected_content_length = -1
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        count = len(lines)
        lines.append(b"\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != count + 1 or head.count(b"\r") != count + 1:
            raise RuntimeError("a response header holds a line break")
        return head

    def _frame(self, body: bytes, *, last: bool) -> bytes:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            return b""
        if self.chunked_encoding:
            end = b"0\r\n\r\n" if last else b""
            return b"%x\r\n%b\r\n%b" % (len(body), body, end) if body else end
        if self.expected_content_length >= 0:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (last and self.expected_content_length):
                raise RuntimeError("the body does not have the length that its head promised")
        return body

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
