"""Listening for HTTP, with or without TLS: bind, accept, take new certificates, end in order."""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from tidegate_dataplane.errors import Refusal
from tidegate_dataplane.http_protocol import HttpProtocol, nobody
from tidegate_dataplane.settings import Address, Limits
from tidegate_dataplane.transport.tls import ServerTls

_SWEEP_SECONDS = 0.5
_BACKLOG = 2048
_TLS_SHUTDOWN_SECONDS = 5.0


class Listener:
    """Serves an ASGI application on an address. `address` is the bound one after `start`."""

    def __init__(
        self,
        app: Any,
        address: Address,
        limits: Limits,
        tls: ServerTls | None = None,
        refused: Callable[[Refusal], object] = nobody,
    ) -> None:
        self.address = address
        self._limits = limits
        self._tls = tls
        self._config = uvicorn.Config(
            app,
            interface="asgi3",
            lifespan="off",
            ws="none",
            http=type(
                "LimitedHttpProtocol", (HttpProtocol,), {"limits": limits, "tls": tls, "refused": staticmethod(refused)}
            ),
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=limits.keep_alive_seconds,
        )
        self._config.load()
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._ticker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind and accept. Raises OSError that names the address."""
        loop = asyncio.get_running_loop()
        self._tick()
        try:
            server = await loop.create_server(
                self._new_protocol, self.address.host or None, self.address.port, backlog=_BACKLOG, **self._secured()
            )
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {self.address}: {error.strerror or error}") from error
        self._servers = [server]
        self.address = Address(self.address.host, server.sockets[0].getsockname()[1])
        if self._tls is not None:
            self._tls.on_change(self._secure_anew)
        self._ticker = loop.create_task(self._keep_ticking())

    def drain(self) -> None:
        """Go on accepting and serving, but end each connection with its next answer (`connection: close`, RFC 9112
        section 9.6). A caller then opens another, which a load balancer sends elsewhere; one that is still idle when
        this listener stops may lose a request that crosses its end."""
        self._config.http_protocol_class.draining = True  # type: ignore[attr-defined]  # our subclass, made above

    async def stop(self, grace: float) -> None:
        """Accept no more, close idle connections, let what is being served end; cut it after `grace` seconds."""
        if not self._servers:
            return
        for server in self._servers:
            server.close()
        self._servers = []
        for connection in list(self._state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(grace):
                while self._state.tasks:
                    await asyncio.wait(list(self._state.tasks))
        except TimeoutError:
            await self._cut()
        for connection in list(self._state.connections):
            connection.transport.close()
        if self._ticker is not None:
            self._ticker.cancel()
        await asyncio.sleep(0)

    @property
    def serving(self) -> int:
        """Requests being served."""
        return len(self._state.tasks)

    def _secured(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {
            "ssl": self._tls.context,
            "ssl_handshake_timeout": self._limits.head_seconds,
            "ssl_shutdown_timeout": _TLS_SHUTDOWN_SECONDS,
        }

    async def _secure_anew(self) -> None:
        """Accept with the new context. A server keeps the context it was made with, so there is a new one on the same
        listening sockets; what waits in their backlog is taken by it, and handshakes under way go on."""
        loop = asyncio.get_running_loop()
        before = self._servers
        fresh: list[asyncio.Server] = []
        try:
            for each in [found for server in before for found in server.sockets]:
                copy = socket.socket(fileno=os.dup(each.fileno()))
                fresh.append(
                    await loop.create_server(self._new_protocol, sock=copy, backlog=_BACKLOG, **self._secured())
                )
        except OSError:
            for server in fresh:
                server.close()
            raise
        stopped = self._servers is not before
        if not stopped:
            self._servers = fresh
        for server in fresh if stopped else before:
            server.close()

    async def _cut(self) -> None:
        for task in list(self._state.tasks):
            task.cancel()
        if self._state.tasks:
            await asyncio.wait(list(self._state.tasks), timeout=1.0)

    def _new_protocol(self) -> asyncio.Protocol:
        return self._config.http_protocol_class(config=self._config, server_state=self._state, app_state={})  # type: ignore[call-arg]

    async def _keep_ticking(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._tick()
            now = loop.time()
            for connection in list(self._state.connections):
                if isinstance(connection, HttpProtocol):
                    connection.check_pace(now)

    def _tick(self) -> None:
        self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
