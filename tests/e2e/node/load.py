"""A steady load on the Service, as real callers make it, and an account of every request.

Two sorts of callers: some keep their connections, some open a new one for each request. They do what RFC 9110 (section
9.2.2) lets a client do and no more: a connection that the server ended is replaced; a connect that was refused is tried
again, for nothing was sent; a request that was sent and not answered is a failure.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_TIMEOUT = 20.0
_CONNECT_TRIES = 40
_CONNECT_PAUSE = 0.05
_KEEPING, _OPENING, _STREAMING = 8, 8, 2

CALLERS = _KEEPING + _OPENING + _STREAMING
"""Requests that are under way at one time, at the most."""


@dataclass
class Account:
    """What came of the requests. `cut` are the times of those that were sent on a connection that then broke;
    `connect_retries` those of connects that were refused, and tried again."""

    served: int = 0
    streams: int = 0
    connect_retries: list[float] = field(default_factory=list)
    closed_while_idle: int = 0
    cut: list[float] = field(default_factory=list)
    cut_streams: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    @property
    def failures(self) -> int:
        """Requests and streams that were not answered in full."""
        return len(self.cut) + len(self.cut_streams) + self.refused.total()

    def __str__(self) -> str:
        return (
            f"{self.served} requests and {self.streams} streams served, {self.failures} failed"
            f" (cut {len(self.cut)}, streams cut {len(self.cut_streams)}, other {dict(self.refused)});"
            f" connects tried again {len(self.connect_retries)}, idle connections ended {self.closed_while_idle},"
            f" slowest {self.slowest * 1000:.0f} ms"
        )


@dataclass(frozen=True)
class Target:
    """Where to ask, and what."""

    host: str
    port: int
    key: str
    model: str


class Load:
    """Runs in a thread of its own while it is entered. `account` is whole afterwards."""

    def __init__(
        self, target: Target, *, keeping: int = _KEEPING, opening: int = _OPENING, rate: float = 300.0
    ) -> None:
        """So many callers that keep connections and that open new ones, `rate` requests a second by all of them."""
        self._target = target
        self._callers = (keeping, opening)
        self._pause = (keeping + opening) / rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.account = Account()
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(_TIMEOUT * 2)
        self.seconds = time.monotonic() - self._began

    async def _run(self) -> None:
        keeping, opening = self._callers
        callers = [self._call(number, keeps=True) for number in range(keeping)]
        callers += [self._call(keeping + number, keeps=False) for number in range(opening)]
        streams = [self._stream() for _ in range(_STREAMING)]
        await asyncio.gather(*callers, *streams)

    async def _call(self, number: int, *, keeps: bool) -> None:
        connection: Connection | None = None
        await asyncio.sleep(self._pause * number / sum(self._callers))
        while not self._stop.is_set():
            due = time.monotonic() + self._pause
            connection = await self._one(connection, stream=False)
            if connection is not None and not keeps:
                connection.close()
                connection = None
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        if connection is not None:
            connection.close()

    async def _stream(self) -> None:
        while not self._stop.is_set():
            connection = await self._one(None, stream=True)
            if connection is not None:
                connection.close()

    async def _one(self, connection: Connection | None, *, stream: bool) -> Connection | None:
        """One request; returns the connection if another may follow on it."""
        account = self.account
        if connection is not None and connection.ended:
            account.closed_while_idle += 1
            connection.close()
            connection = None
        began = time.monotonic()
        try:
            if connection is None:
                connection = await self._connect()
            async with asyncio.timeout(_TIMEOUT):
                status, goes_on = await connection.ask(chat_request(self._target, stream=stream))
        except TimeoutError:
            account.refused["timeout"] += 1
            return None
        except (OSError, EOFError):
            (account.cut_streams if stream else account.cut).append(time.monotonic())
            if connection is not None:
                connection.close()
            return None
        if status != 200:
            account.refused[str(status)] += 1
        elif stream:
            account.streams += 1
        else:
            account.served += 1
            account.slowest = max(account.slowest, time.monotonic() - began)
        if goes_on:
            return connection
        connection.close()
        return None

    async def _connect(self) -> Connection:
        for _ in range(_CONNECT_TRIES):
            try:
                return Connection(*await asyncio.open_connection(self._target.host, self._target.port))
            except OSError:
                self.account.connect_retries.append(time.monotonic())
                await asyncio.sleep(_CONNECT_PAUSE)
        self.account.refused["connect"] += 1
        raise EOFError("nobody accepts connections")


def chat_request(target: Target, *, stream: bool) -> bytes:
    """A chat request, head and body."""
    body = json.dumps(
        {"model": target.model, "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {target.host}\r\nauthorization: Bearer {target.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One connection of a caller."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def ended(self) -> bool:
        """Whether the server has ended it while nobody asked."""
        return self._reader.at_eof() or self._reader.exception() is not None

    async def ask(self, request: bytes) -> tuple[int, bool]:
        """Send it and read the whole answer; returns the status, and whether another request may follow.

        Raises OSError or EOFError when the connection breaks before the end.
        """
        self._writer.write(request)
        await self._writer.drain()
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if b"transfer-encoding: chunked" in head:
            await self._read_chunks()
        else:
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            await self._reader.readexactly(length)
        return int(head.split()[1]), b"connection: close" not in head

    async def _read_chunks(self) -> None:
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            await self._reader.readexactly(size + 2)
        await self._reader.readexactly(2)

    def close(self) -> None:
        self._writer.close()
