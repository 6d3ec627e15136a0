"""A TCP proxy on loopback that can freeze the connections of this moment, for ever and in silence.

So dies a connection whose state a NAT box or a load balancer has forgotten: nobody says so, and new connections work.
Toxiproxy cannot do this: what it holds back is closed in the end, and new connections are held back too.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

from cluster.harness.processes import free_port

_CHUNK = 256 * 1024
_TICK = 0.2


class FreezingProxy:
    """Listens on `port` and passes on to 127.0.0.1:`server`. Use as a context manager."""

    def __init__(self, server: int) -> None:
        self.port = free_port()
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="freezing proxy", daemon=True)

    def freeze(self) -> int:
        """From now on nothing passes on the connections that are open now; returns how many there are."""
        with self._lock:
            alive = [pair for pair in self._pairs if pair.passing]
            for pair in alive:
                pair.frozen.set()
            return len(alive)

    def __enter__(self) -> Self:
        self._listener.settimeout(_TICK)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._listener.close()
        with self._lock:
            for pair in self._pairs:
                pair.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._server), timeout=5)
            except OSError:
                client.close()
                continue
            pair = _Pair(client, server, self._stop)
            with self._lock:
                self._pairs.append(pair)


class _Pair:
    """One connection, passed on by a thread of its own."""

    def __init__(self, client: socket.socket, server: socket.socket, stop: threading.Event) -> None:
        self.frozen = threading.Event()
        self._sides = (client, server)
        self._stop = stop
        for side in self._sides:
            side.settimeout(10)
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    @property
    def passing(self) -> bool:
        return self._thread.is_alive() and not self.frozen.is_set()

    def close(self) -> None:
        self._thread.join()
        for side in self._sides:
            side.close()

    def _pass_on(self) -> None:
        client, server = self._sides
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            with contextlib.suppress(OSError):
                while not self._stop.is_set():
                    for key, _ in selector.select(_TICK):
                        if self.frozen.is_set():
                            # Both ends stay open, and neither hears of the other again.
                            self._stop.wait()
                            return
                        data = key.fileobj.recv(_CHUNK) if isinstance(key.fileobj, socket.socket) else b""
                        if not data:
                            client.close()
                            server.close()
                            return
                        key.data.sendall(data)
