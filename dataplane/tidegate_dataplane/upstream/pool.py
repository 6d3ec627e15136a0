"""The connections to one origin: the idle ones, how many there are, and who waits for one.

Idle connections are taken last in, first out: the warm ones stay warm and the surplus ages until it is closed.
"""

import asyncio
import socket
import ssl
from collections import deque
from dataclasses import dataclass
from typing import Any

from tidegate_dataplane.upstream.connection import Connection
from tidegate_dataplane.upstream.errors import ConnectFailed, ConnectTimeout
from tidegate_dataplane.upstream.origin import Origin

# Seconds that a peer may take over TLS's goodbye before the socket is closed anyway.
_TLS_SHUTDOWN_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """`idle_timeout` in seconds, sizes in bytes."""

    max_idle: int
    idle_timeout: float
    max_connections: int
    max_header_bytes: int
    read_high_water: int


class OriginPool:
    """Owns every connection to `origin`."""

    def __init__(self, origin: Origin, limits: PoolLimits) -> None:
        self._origin = origin
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._idle: list[Connection] = []  # oldest first
        self._sockets: set[Connection] = set()  # until the socket is really closed
        self._open = 0  # places taken: connections that are usable, in use, or being made
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._all_lost: asyncio.Future[None] | None = None

    @property
    def open_connections(self) -> int:
        return self._open

    @property
    def idle_connections(self) -> int:
        return len(self._idle)

    def take_idle(self) -> Connection | None:
        """Return the idle connection that was used last, if one is fit for use."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.is_fresh(self._loop.time()):
                return connection
            connection.abort()
        return None

    async def connect(self, *, within: float) -> Connection:
        """Return a connection that has carried nothing yet, making room for it if need be.

        At the connection limit one that someone else gave back may be returned instead.
        Raises ConnectFailed or, after `within` seconds, ConnectTimeout.
        """
        try:
            async with asyncio.timeout(within):
                return await self._wait_for_place() or await self._connect()
        except TimeoutError:
            raise ConnectTimeout(f"no connection to {self._where} within {within:g} s") from None

    async def _wait_for_place(self) -> Connection | None:
        """Return a connection that became free, or None when a place was taken for a new one."""
        while self._open >= self._limits.max_connections:
            if self._idle:
                self._idle[0].abort()
                continue
            waiter: asyncio.Future[Connection | None] = self._loop.create_future()
            self._waiters.append(waiter)
            try:
                connection = await waiter
            except asyncio.CancelledError:
                self._return_unused(waiter)
                raise
            if connection is None:
                return None
            if not connection.closed:
                return connection
        self._open += 1
        return None

    def _return_unused(self, waiter: "asyncio.Future[Connection | None]") -> None:
        """What was handed to a caller who left in the same moment goes to the next one."""
        if waiter.cancelled() or not waiter.done():
            return
        connection = waiter.result()
        if connection is None:
            self._free_place()
        elif not connection.closed:
            self.released(connection)

    async def _connect(self) -> Connection:
        """Use the place that was taken to connect; give it back when that fails."""
        try:
            return await self._open_socket()
        except (OSError, UnicodeError, ValueError) as error:
            self._free_place()
            raise ConnectFailed(f"cannot connect to {self._where}: {_reason(error)}") from error
        except BaseException:
            self._free_place()
            raise

    async def _open_socket(self) -> Connection:
        origin = self._origin
        options: dict[str, Any] = {}
        if origin.tls is not None:
            options = {"ssl": origin.tls, "server_hostname": origin.host, "ssl_shutdown_timeout": _TLS_SHUTDOWN_TIMEOUT}
        transport, connection = await self._loop.create_connection(
            self._new_connection, origin.host, origin.port, **options
        )
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._closed:
            connection.abort()
        if connection.closed:
            raise ConnectionResetError("the connection was closed at once")
        self._sockets.add(connection)
        return connection

    def _new_connection(self) -> Connection:
        limits = self._limits
        return Connection(
            self, self._loop, max_header_bytes=limits.max_header_bytes, read_high_water=limits.read_high_water
        )

    @property
    def _where(self) -> str:
        return f"{self._origin.scheme}://{self._origin.authority.decode('ascii')}"

    # ConnectionOwner

    def released(self, connection: Connection) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if len(self._idle) >= self._limits.max_idle:
            connection.close()
            return
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._limits.idle_timeout, self._sweep)

    def retired(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        if connection in self._sockets:  # else it never was ours: the attempt to connect gives its place back
            self._free_place()

    def lost(self, connection: Connection) -> None:
        self._sockets.discard(connection)
        if not self._sockets and self._all_lost is not None and not self._all_lost.done():
            self._all_lost.set_result(None)

    def _free_place(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._open -= 1

    # Age and end

    def _sweep(self) -> None:
        """Close what has been idle too long, and look again when the next one is due."""
        self._sweeper = None
        oldest_allowed = self._loop.time() - self._limits.idle_timeout
        for connection in [each for each in self._idle if each.idle_since <= oldest_allowed]:
            connection.close()
        if self._idle:
            due = min(each.idle_since for each in self._idle) - oldest_allowed
            self._sweeper = self._loop.call_later(due, self._sweep)

    async def aclose(self) -> None:
        """Close every connection, also those in use, and wait until the sockets are gone."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        sockets = list(self._sockets)
        if not sockets:
            return
        self._all_lost = self._loop.create_future()
        for connection in sockets:
            connection.abort()
        await self._all_lost


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
