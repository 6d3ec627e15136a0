"""A provider that does exactly what a test says, byte by byte: for each connection a script is run against its peer."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tidegate_dataplane.upstream import Origin


@dataclass(frozen=True)
class Received:
    """A request as it came over the wire; `body` is without chunk framing."""

    line: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)


@dataclass
class Peer:
    """The server's end of one connection; `number` counts connections from 0."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(self) -> Received:
        lines = (await self.reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
        pairs = [line.split(b": ", 1) for line in lines[1:]]
        return Received(lines[0], [(name.lower(), value) for name, value in pairs], b"")

    async def request(self) -> Received:
        head = await self.head()
        if head.header(b"transfer-encoding") == b"chunked":
            body = b""
            while size := int((await self.reader.readuntil(b"\r\n")), 16):
                body += await self.reader.readexactly(size)
                assert await self.reader.readexactly(2) == b"\r\n"
            assert await self.reader.readexactly(2) == b"\r\n"
        else:
            body = await self.reader.readexactly(int(head.header(b"content-length") or 0))
        return Received(head.line, head.headers, body)

    async def send(self, data: bytes) -> None:
        if self.writer.is_closing():
            raise ConnectionResetError("the client closed the connection")
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"ok", *, extra: bytes = b"") -> None:
        await self.send(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (extra, len(body), body))

    async def client_closes(self) -> None:
        """Return when the client has closed or reset the connection; what it still sends is thrown away."""
        try:
            while await self.reader.read(65536):
                pass
        except (ConnectionError, ssl.SSLError):
            pass

    def reset(self) -> None:
        """Close with RST instead of FIN (SO_LINGER with a time of zero)."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class ScriptedServer:
    origin: Origin
    peers: list[Peer] = field(default_factory=list)

    @property
    def connections(self) -> int:
        return len(self.peers)


@asynccontextmanager
async def serve(
    script: Script,
    *,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    client_tls: ssl.SSLContext | None = None,
    name: str | None = None,
) -> AsyncIterator[ScriptedServer]:
    """Run `script` for each connection; the connection is closed when it returns. A script's failure fails the test."""
    tasks: list[asyncio.Task[None]] = []

    async def run(peer: Peer) -> None:
        try:
            await script(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away, which the test judges from its own side
        finally:
            peer.writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(server.connections, reader, writer)
        server.peers.append(peer)
        tasks.append(asyncio.ensure_future(run(peer)))

    listener = await asyncio.start_server(connected, host, 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    server = ScriptedServer(Origin("http" if tls is None else "https", name or host, port, client_tls))
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for peer in server.peers:
            peer.writer.transport.abort()
        await asyncio.sleep(0)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def until(condition: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """Return as soon as `condition` holds; fail the test when it does not within `seconds`."""
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


async def settled(progress: Callable[[], int], *, seconds: float = 0.3) -> None:
    """Return when `progress()` has not changed for `seconds`; fail the test when it goes on for 10 s."""
    loop = asyncio.get_running_loop()
    seen, since = progress(), loop.time()
    async with asyncio.timeout(10):
        while loop.time() - since < seconds:
            await asyncio.sleep(0.01)
            if progress() != seen:
                seen, since = progress(), loop.time()
