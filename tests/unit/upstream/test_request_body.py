"""What goes out: the request on the wire, large and streamed bodies, and stopping when the answer comes early."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tidegate_dataplane.upstream import encode_headers
from unit.upstream.scripted_server import Peer, Received, Script, serve, settled, until
from unit.upstream.sending import Sender

LIMIT = 1 << 20
LARGE = bytes(range(256)) * 4096 * 8  # 8 MiB


def recording(into: list[Received]) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            into.append(await peer.request())
            await peer.answer()

    return script


async def test_the_request_on_the_wire(send: Sender) -> None:
    received: list[Received] = []
    async with serve(recording(received)) as server:
        await send(server.origin, b"POST", b"/v1/x?y=z", [(b"Authorization", b"Bearer k")], b"body")
        await send(server.origin, b"GET", b"/v1/models", encode_headers([(b"accept", b"*/*")]))
        await send(server.origin, b"POST", b"/v1/empty", body=b"")
        host = f"127.0.0.1:{server.origin.port}".encode()
    assert received == [
        Received(
            b"POST /v1/x?y=z HTTP/1.1",
            [(b"host", host), (b"authorization", b"Bearer k"), (b"content-length", b"4")],
            b"body",
        ),
        Received(b"GET /v1/models HTTP/1.1", [(b"host", host), (b"accept", b"*/*")], b""),
        Received(b"POST /v1/empty HTTP/1.1", [(b"host", host), (b"content-length", b"0")], b""),
    ]


async def test_a_large_body_arrives_whole_and_the_connection_stays(send: Sender) -> None:
    received: list[Received] = []
    async with serve(recording(received)) as server:
        for _ in range(2):
            assert await (await send(server.origin, body=LARGE)).read(limit=LIMIT) == b"ok"
        assert server.connections == 1
    assert [each.body for each in received] == [LARGE, LARGE]


async def test_a_streamed_body_goes_out_in_chunks_as_it_is_made(send: Sender) -> None:
    pieces: asyncio.Queue[bytes] = asyncio.Queue()
    received: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        yield b""
        yield await pieces.get()

    async def script(peer: Peer) -> None:
        head = await peer.head()
        assert head.header(b"transfer-encoding") == b"chunked"
        assert head.header(b"content-length") is None
        received.append(await peer.reader.readexactly(len(b"5\r\nfirst\r\n")))
        pieces.put_nowait(b"second")  # made only after the first was seen here
        received.append(await peer.reader.readuntil(b"\r\n0\r\n\r\n"))
        await peer.answer()
        await peer.client_closes()

    async with serve(script) as server:
        assert await (await send(server.origin, body=body())).read(limit=LIMIT) == b"ok"
        assert send.client.connections(server.origin) == (1, 1)
    assert received == [b"5\r\nfirst\r\n", b"6\r\nsecond\r\n0\r\n\r\n"]


async def test_a_provider_that_reads_slowly_slows_the_body_down(send: Sender) -> None:
    made = 0
    read_on = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        nonlocal made
        for _ in range(1024):
            made += 1
            yield b"x" * 65536

    async def script(peer: Peer) -> None:
        await peer.head()
        await read_on.wait()
        while size := int(await peer.reader.readline(), 16):
            await peer.reader.readexactly(size + 2)
        await peer.reader.readexactly(2)
        await peer.answer()

    async with serve(script) as server:
        request = asyncio.ensure_future(send(server.origin, body=body()))
        await until(lambda: made > 0)
        await settled(lambda: made)
        assert made < 512  # what the kernel and two buffers hold, not the 64 MiB
        read_on.set()
        assert await (await request).read(limit=LIMIT) == b"ok"
        assert made == 1024


@pytest.mark.parametrize("streamed", [False, True], ids=["bytes", "streamed"])
async def test_an_early_answer_stops_the_body_and_ends_the_connection(send: Sender, streamed: bool) -> None:
    finished = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            finished.set()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await peer.client_closes()

    async with serve(script) as server:
        response = await send(server.origin, body=endless() if streamed else LARGE * 4)
        assert (response.status, await response.read(limit=LIMIT)) == (413, b"big")
        assert send.client.connections(server.origin) == (0, 0)
        if streamed:
            await asyncio.wait_for(finished.wait(), 5)


async def test_an_early_answer_whose_body_comes_later_ends_the_connection_too(send: Sender) -> None:
    stopped = asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
        await stopped.wait()
        await peer.send(b"cd")
        await peer.client_closes()

    async with serve(script) as server:
        response = await send(server.origin, body=waiting())
        assert await response.read(limit=LIMIT) == b"abcd"
        assert send.client.connections(server.origin) == (0, 0)


async def test_what_the_body_raises_reaches_the_caller(send: Sender) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"first"
        raise LookupError("the caller has gone")

    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.client_closes()
        closed.set()

    async with serve(script) as server:
        with pytest.raises(LookupError, match="the caller has gone"):
            await send(server.origin, body=failing())
        assert send.client.connections(server.origin) == (0, 0)
        await asyncio.wait_for(closed.wait(), 5)


async def test_cancelling_ends_a_streamed_body(send: Sender) -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            begun.set()
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def script(peer: Peer) -> None:
        await peer.client_closes()

    async with serve(script) as server:
        request = asyncio.ensure_future(send(server.origin, body=waiting()))
        await begun.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await asyncio.wait_for(stopped.wait(), 5)
