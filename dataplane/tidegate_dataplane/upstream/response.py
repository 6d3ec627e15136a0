"""One response: its head, and its body as it arrives.

The connection pushes, the reader pulls; what lies between is bounded by the connection's high-water mark. A response
must be read to its end or closed, otherwise its connection stays occupied.
"""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Protocol, Self

from tidegate_dataplane.upstream.errors import ResponseTooLarge, UpstreamError


class BodySource(Protocol):
    """What a response needs of the connection that feeds it."""

    def body_drained(self) -> None:
        """The reader took everything there was: reading from the socket may go on."""

    def start_deadline(self, seconds: float) -> None:
        """Fail the response with ResponseTimeout when no byte comes within `seconds`."""

    def stop_deadline(self) -> None:
        """The reader no longer waits."""

    def abort(self) -> None:
        """Close the connection now."""


class UpstreamResponse:
    """`headers` are as received, names in lower case, hop-by-hop ones included (see `HOP_BY_HOP`)."""

    __slots__ = ("_buffer", "_complete", "_error", "_source", "_waiter", "buffered", "headers", "status")

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], source: BodySource) -> None:
        self.status = status
        self.headers = headers
        self.buffered = 0  # bytes that arrived and were not read yet
        self._buffer: list[bytes] = []
        self._complete = False
        self._error: UpstreamError | None = None
        self._source: BodySource | None = source  # None once the connection has nothing more to do with us
        self._waiter: asyncio.Future[None] | None = None

    @property
    def complete(self) -> bool:
        """Whether the whole body has arrived (some of it may still be unread)."""
        return self._complete

    async def read(self, *, limit: int, idle_timeout: float | None = None) -> bytes:
        """Return the rest of the body. Raises ResponseTooLarge, and closes, when it is longer than `limit` bytes."""
        if self._complete and self.buffered <= limit:
            return self._take()
        parts: list[bytes] = []
        size = 0
        while chunk := await self.next_chunk(idle_timeout=idle_timeout):
            size += len(chunk)
            if size > limit:
                self._close()
                raise ResponseTooLarge(f"the response body is longer than {limit} bytes")
            parts.append(chunk)
        return b"".join(parts)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return Chunks(self, None)

    def chunks(self, *, idle_timeout: float | None = None) -> AsyncIterator[bytes]:
        """Iterate the body as it arrives. `idle_timeout`: seconds that may pass without a byte."""
        return Chunks(self, idle_timeout)

    async def next_chunk(self, *, idle_timeout: float | None = None) -> bytes:
        """Return what has arrived since the last call, or wait for more; b"" at the end.

        Raises ResponseTimeout after `idle_timeout` seconds without a byte, ConnectionLost or ProtocolError when
        the body cannot be completed: a truncated body never looks like a whole one.
        """
        while not self._buffer:
            if self._complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait(idle_timeout)
        return self._take()

    async def aclose(self) -> None:
        """Let go of the response. Before its end this closes the connection, which is never used again."""
        self._close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _take(self) -> bytes:
        buffer = self._buffer
        taken = buffer[0] if len(buffer) == 1 else b"".join(buffer)
        buffer.clear()
        self.buffered = 0
        if self._source is not None:
            self._source.body_drained()
        return taken

    async def _wait(self, idle_timeout: float | None) -> None:
        source = self._source
        if source is None:
            raise RuntimeError("the response has no source and no end")
        if self._waiter is not None:
            raise RuntimeError("two readers wait for one response")
        self._waiter = waiter = asyncio.get_running_loop().create_future()
        if idle_timeout is not None:
            source.start_deadline(idle_timeout)
        try:
            await waiter
        finally:
            self._waiter = None
            if self._source is not None:  # else the connection may already serve someone else
                self._source.stop_deadline()

    def _close(self) -> None:
        source, self._source = self._source, None
        self._buffer.clear()
        self.buffered = 0
        if not self._complete and self._error is None:
            self._error = UpstreamError("the response was closed before its end", sent=True)
        if source is not None:
            source.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The connection's side

    def feed(self, data: bytes) -> None:
        self._buffer.append(data)
        self.buffered += len(data)
        if self._waiter is not None:
            self._wake()

    def finish(self) -> None:
        self._complete = True
        self._source = None
        if self._waiter is not None:
            self._wake()

    def fail(self, error: UpstreamError) -> None:
        if self._complete or self._error is not None:
            return
        self._error = error
        self._source = None
        self._wake()


class Chunks:
    """An iterator without a generator's frame: nothing to finalize when a reader stops half-way."""

    __slots__ = ("_idle_timeout", "_response")

    def __init__(self, response: UpstreamResponse, idle_timeout: float | None) -> None:
        self._response = response
        self._idle_timeout = idle_timeout

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._response.next_chunk(idle_timeout=self._idle_timeout)
        if not chunk:
            raise StopAsyncIteration
        return chunk
