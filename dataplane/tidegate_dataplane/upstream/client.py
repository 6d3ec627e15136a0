"""The client: one request, one response, over a pooled HTTP/1.1 connection.

Repeating. A connection that was idle may be closed by its peer in the very moment we use it. Such a request is
repeated once, on a new connection, only when not one byte of an answer came, the body can be sent again, and
either nothing of it was sent or it is idempotent: by its method, or because the caller says so. RFC 9110, section
9.2.2 forbids a proxy to repeat any other on its own, since a lost answer does not prove that nothing was done;
there the error's `sent` leaves the choice to the route's retry rule. To keep that window small, a connection that
was idle for a second or more is asked at the kernel before it is used. Whatever fails on a new connection is never
repeated here.
"""

from collections.abc import AsyncIterator, Sequence

from tidegate_dataplane.upstream.connection import Connection
from tidegate_dataplane.upstream.errors import ConnectionLost
from tidegate_dataplane.upstream.origin import Origin
from tidegate_dataplane.upstream.pool import OriginPool, PoolLimits
from tidegate_dataplane.upstream.request_body import ONE_WRITE, send_chunked, send_sliced
from tidegate_dataplane.upstream.request_head import IDEMPOTENT_METHODS, encode_headers, encode_request_head
from tidegate_dataplane.upstream.response import UpstreamResponse

Body = bytes | AsyncIterator[bytes]


class UpstreamClient:
    """Keeps connections by origin. Belongs to one event loop.

    `idle_timeout` in seconds; `max_header_bytes` bounds a response's head and trailers; `read_high_water` is the
    number of unread body bytes above which the socket is not read.
    """

    def __init__(
        self,
        *,
        max_idle_per_origin: int = 256,
        idle_timeout: float = 30.0,
        max_connections_per_origin: int = 1024,
        max_header_bytes: int = 65536,
        read_high_water: int = 256 * 1024,
    ) -> None:
        self._limits = PoolLimits(
            max_idle=max_idle_per_origin,
            idle_timeout=idle_timeout,
            max_connections=max_connections_per_origin,
            max_header_bytes=max_header_bytes,
            read_high_water=read_high_water,
        )
        self._pools: dict[Origin, OriginPool] = {}
        self._closed = False

    async def request(
        self,
        origin: Origin,
        method: bytes,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]] | bytes = (),
        body: Body = b"",
        *,
        connect_timeout: float,
        response_timeout: float,
        idempotent: bool = False,
    ) -> UpstreamResponse:
        """Send a request and return when the head of its final response has arrived.

        `headers`: without those of the connection (`HOP_BY_HOP`), or already encoded by `encode_headers`. `body`:
        bytes, or an iterator that is sent chunked. Timeouts in seconds; `response_timeout` runs from the last
        moment at which the provider took a byte of the request.

        Raises UpstreamError (see errors.py), ValueError for a request that cannot be written, and whatever `body`
        raises. Cancelling closes the connection.
        """
        if self._closed:
            raise RuntimeError("the upstream client is closed")
        block = headers if isinstance(headers, bytes) else encode_headers(headers)
        replayable = isinstance(body, bytes)
        length = len(body) if isinstance(body, bytes) else None
        head = encode_request_head(method, target, origin.authority, block, length)
        connection = self._pool(origin).take_idle()
        if connection is not None:
            try:
                return await _exchange(connection, method, head, body, response_timeout)
            except ConnectionLost as lost:
                may_repeat = not lost.sent or idempotent or method in IDEMPOTENT_METHODS
                if lost.answered or not replayable or not may_repeat:
                    raise
        connection = await self._pool(origin).connect(within=connect_timeout)
        return await _exchange(connection, method, head, body, response_timeout)

    def _pool(self, origin: Origin) -> OriginPool:
        pool = self._pools.get(origin)
        if pool is None:
            # Origins come and go with the configuration: forget those that nothing is connected to.
            self._pools = {each: kept for each, kept in self._pools.items() if kept.open_connections}
            pool = self._pools[origin] = OriginPool(origin, self._limits)
        return pool

    def connections(self, origin: Origin) -> tuple[int, int]:
        """Return how many connections to `origin` are open, and how many of these are idle."""
        pool = self._pools.get(origin)
        return (0, 0) if pool is None else (pool.open_connections, pool.idle_connections)

    async def aclose(self) -> None:
        """Close every connection, also those in use; open exchanges fail with ConnectionLost."""
        self._closed = True
        for pool in list(self._pools.values()):
            await pool.aclose()


async def _exchange(
    connection: Connection, method: bytes, head: bytes, body: Body, response_timeout: float
) -> UpstreamResponse:
    waiter = connection.begin(head_request=method == b"HEAD", response_timeout=response_timeout)
    if isinstance(body, bytes):
        if len(body) <= ONE_WRITE:
            connection.write(head + body)
        else:
            connection.write_in(send_sliced(connection, head, body, stall_timeout=response_timeout))
    else:
        connection.write_in(send_chunked(connection, head, body, stall_timeout=response_timeout))
    try:
        return await waiter
    except BaseException:
        # Cancelled, perhaps in the moment in which the response came; after an error there is nothing left to close.
        if waiter.cancelled() or not waiter.done():
            connection.abort()
        elif waiter.exception() is None:
            await waiter.result().aclose()
        raise
