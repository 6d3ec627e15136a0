"""One connection to an origin, as an asyncio protocol, and the one exchange it may be busy with.

A connection goes back to its pool only from the state in which nothing is in doubt: the request wholly written,
the response wholly read, no byte beyond it, and neither side having said that it will close. Anything else closes
it, at once and for good.
"""

import asyncio
import ssl
from collections.abc import Coroutine
from typing import Protocol, cast

from tidegate_dataplane.upstream.deadline import Deadline
from tidegate_dataplane.upstream.errors import ConnectionLost, ProtocolError, ResponseTimeout, UpstreamError
from tidegate_dataplane.upstream.parser import ResponseParser
from tidegate_dataplane.upstream.readable import Readability
from tidegate_dataplane.upstream.response import UpstreamResponse

# Under this idle time, in seconds, a peer's idle timeout cannot have closed the connection.
_SURELY_ALIVE = 1.0


class ConnectionOwner(Protocol):
    """The pool, as a connection sees it."""

    def released(self, connection: "Connection") -> None:
        """The exchange is over and the connection may carry another."""

    def retired(self, connection: "Connection") -> None:
        """The connection will carry nothing more; its place is free. Called once."""

    def lost(self, connection: "Connection") -> None:
        """The socket is closed. Called once, after `retired`."""


class Connection(asyncio.Protocol):
    """Carries exchanges one after another: `start`, then the future's response, then its body."""

    __slots__ = (
        "_busy",
        "_deadline",
        "_high_water",
        "_loop",
        "_owner",
        "_parser",
        "_readability",
        "_reading_paused",
        "_response",
        "_resumed_writing",
        "_sender",
        "_transport",
        "_waiter",
        "_wrote",
        "closed",
        "idle_since",
        "writing_paused",
    )

    def __init__(
        self, owner: ConnectionOwner, loop: asyncio.AbstractEventLoop, *, max_header_bytes: int, read_high_water: int
    ) -> None:
        self._owner = owner
        self._loop = loop
        self._high_water = read_high_water
        self._parser = ResponseParser(max_header_bytes)
        self._deadline = Deadline(loop, self._expired)
        self._transport: asyncio.Transport
        self._readability: Readability | None = None
        self._busy = False
        self._reading_paused = False
        self._wrote = False
        self._waiter: asyncio.Future[UpstreamResponse] | None = None
        self._response: UpstreamResponse | None = None
        self._sender: asyncio.Task[None] | None = None
        self._resumed_writing: asyncio.Future[None] | None = None
        self.writing_paused = False
        self.closed = False
        self.idle_since = 0.0

    # The client's side

    def begin(self, *, head_request: bool, response_timeout: float) -> "asyncio.Future[UpstreamResponse]":
        """Occupy the connection for an exchange; the future ends with the response or an UpstreamError."""
        self._busy = True
        self._wrote = False
        self._parser.begin(head_request=head_request)
        self._waiter = waiter = self._loop.create_future()
        self._deadline.start(response_timeout)
        return waiter

    def write(self, data: bytes | memoryview) -> None:
        self._wrote = True
        self._transport.write(data)

    def write_in(self, sending: Coroutine[object, object, None]) -> None:
        """Let `sending` write the request meanwhile; when it fails, the exchange ends with its very error."""
        self._sender = self._loop.create_task(sending)
        self._sender.add_done_callback(self._sender_ended)

    async def writable(self) -> None:
        """Wait until the transport takes more, or the connection is closed."""
        while self.writing_paused and not self.closed:
            if self._resumed_writing is None:
                self._resumed_writing = self._loop.create_future()
            await self._resumed_writing

    def is_fresh(self, now: float) -> bool:
        """Whether an idle connection may be used: still open, and the peer has sent nothing, not even its end.

        The loop may not have seen yet what the kernel already knows, so after a pause the socket itself is asked.
        """
        idle = now - self.idle_since
        if self.closed or self._transport.is_closing():
            return False
        if idle < _SURELY_ALIVE:
            return True
        limit = self._parser.idle_limit
        if limit is not None and idle > limit - _SURELY_ALIVE:
            return False
        return self._readability is None or not self._readability.now()

    def close(self) -> None:
        """Close in good order (TLS says goodbye)."""
        self._retire()
        self._transport.close()

    def abort(self) -> None:
        """Close now; an exchange that is still open fails."""
        if not self.closed:
            self._fail(
                ConnectionLost(
                    "the connection was closed by this side", sent=self._wrote, answered=self._parser.answered
                )
            )

    # BodySource

    def body_drained(self) -> None:
        if self._reading_paused and not self.closed:
            self._reading_paused = False
            self._transport.resume_reading()

    def start_deadline(self, seconds: float) -> None:
        self._deadline.start(seconds)

    def stop_deadline(self) -> None:
        self._deadline.stop()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports only look like asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._readability = Readability.of(transport)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            # Nobody asked: whatever this is, it would be taken for the answer to the next request.
            self.abort()
            return
        parser = self._parser
        try:
            parser.feed(data)
        except ProtocolError as error:
            self._fail(error)
            return
        response = self._response
        if response is None:
            if not parser.status:
                return
            self._deadline.stop()
            response = self._response = UpstreamResponse(parser.status, parser.headers, self)
        if parser.body:
            response.feed(parser.take_body())
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if waiter.done():  # the caller has gone
                self.abort()
                return
            waiter.set_result(response)
        if parser.complete:
            self._finish(response)
            return
        if self._sender is not None:
            self._stop_sending()
        if response.buffered > self._high_water and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        response = self._response
        if response is not None and self._is_goodbye() and self._parser.feed_eof():
            self._finish(response)
        return False

    def _is_goodbye(self) -> bool:
        """Whether the peer itself ended its side: over TLS by close_notify, for FIN can come from anybody.

        RFC 9112, section 9.8. uvloop reports only close_notify as the end, asyncio reports either.
        """
        tls = self._transport.get_extra_info("ssl_object")
        if tls is None:
            return True
        try:
            return not tls.read(1)
        except ssl.SSLError:
            return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed:
            self._fail(
                ConnectionLost(
                    _describe_loss(exc, answered=self._parser.answered),
                    sent=self._wrote,
                    answered=self._parser.answered,
                )
            )
        self._owner.lost(self)

    def pause_writing(self) -> None:
        self.writing_paused = True

    def resume_writing(self) -> None:
        self.writing_paused = False
        self._wake_sender()

    # Ends

    def _finish(self, response: UpstreamResponse) -> None:
        self._response = None
        self._busy = False
        self._deadline.stop()
        response.finish()
        parser = self._parser
        self._stop_sending()
        if self._transport.get_write_buffer_size() > 0:
            self.abort()
        elif parser.surplus or not parser.keep_alive or self._transport.is_closing():
            self.close()
        else:
            self.body_drained()
            self.idle_since = self._loop.time()
            self._owner.released(self)

    def _stop_sending(self) -> None:
        """Send no more of a request whose answer is here already (RFC 9112, section 9.5)."""
        sender, self._sender = self._sender, None
        if sender is not None and not sender.done():
            sender.cancel()
            self._parser.keep_alive = False

    def _sender_ended(self, sender: "asyncio.Task[None]") -> None:
        error = asyncio.CancelledError() if sender.cancelled() else sender.exception()
        if sender is not self._sender:  # it was stopped, and nobody minds how it ended
            return
        self._sender = None
        if error is None:
            return
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            if sender.cancelled():
                waiter.cancel()
            else:
                waiter.set_exception(error)
        self.abort()

    def _fail(self, error: UpstreamError) -> None:
        waiter, self._waiter = self._waiter, None
        response, self._response = self._response, None
        self._retire()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        if response is not None:
            response.fail(error)
        self._transport.abort()

    def _retire(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._busy = False
        self._deadline.cancel()
        self._stop_sending()
        self._wake_sender()
        self._owner.retired(self)

    def _wake_sender(self) -> None:
        resumed, self._resumed_writing = self._resumed_writing, None
        if resumed is not None and not resumed.done():
            resumed.set_result(None)

    def _expired(self) -> None:
        head = self._waiter is not None
        what = "no response within the response timeout" if head else "the response body stalled"
        self._fail(ResponseTimeout(what, sent=self._wrote))


def _describe_loss(exc: Exception | None, *, answered: bool) -> str:
    how = "was reset" if exc is not None else "ended"
    return f"the connection {how} {'before the response was complete' if answered else 'without an answer'}"
