"""Reading: chunk by chunk, bounded, and never faster than the reader."""

import asyncio

import pytest

from tidegate_dataplane.upstream import ResponseTooLarge, UpstreamClient
from unit.upstream.scripted_server import Peer, serve, settled
from unit.upstream.sending import Sender

HIGH_WATER = 256 * 1024
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_chunks_come_while_the_provider_still_writes(send: Sender) -> None:
    seen = asyncio.Queue[None]()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for word in (b"one", b"two", b"three"):
            await peer.send(b"%x\r\n%b\r\n" % (len(word), word))
            await seen.get()  # the next is written only after this one was read
        await peer.send(b"0\r\n\r\n")
        await peer.client_closes()

    async with serve(script) as server:
        response = await send(server.origin)
        chunks = []
        async for chunk in response:
            assert not response.complete
            chunks.append(chunk)
            seen.put_nowait(None)
        assert chunks == [b"one", b"two", b"three"]
        assert response.complete
        assert send.client.connections(server.origin) == (1, 1)


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_unread_body_stops_the_provider(send: Sender, chunked: bool) -> None:
    written = 0
    piece, count = b"x" * 65536, 1024

    async def script(peer: Peer) -> None:
        nonlocal written
        await peer.request()
        await peer.send(CHUNKED if chunked else b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(piece) * count))
        for _ in range(count):
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            written += len(piece)
        if chunked:
            await peer.send(b"0\r\n\r\n")
        await peer.client_closes()

    async with serve(script) as server:
        response = await send(server.origin)
        await settled(lambda: written)
        assert written < len(piece) * count // 2
        assert HIGH_WATER < response.buffered <= 2 * HIGH_WATER + len(piece)
        size = sum([len(chunk) async for chunk in response])
        assert size == len(piece) * count
        assert send.client.connections(server.origin) == (1, 1)


async def test_a_body_within_the_limit_is_read_whole(send: Sender) -> None:
    body = bytes(range(256)) * 8192  # 2 MiB: more than the high-water mark

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(body)
        await peer.client_closes()

    async with serve(script) as server:
        assert await (await send(server.origin)).read(limit=len(body)) == body
        assert send.client.connections(server.origin) == (1, 1)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_body_beyond_the_limit_is_an_error(send: Sender, at_once: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if at_once:
            await peer.answer(b"x" * 101)
        else:
            await peer.send(CHUNKED)
            while True:
                await peer.send(b"a\r\n0123456789\r\n")

    async with serve(script) as server:
        response = await send(server.origin)
        with pytest.raises(ResponseTooLarge, match="100 bytes"):
            await response.read(limit=100)
        if not at_once:
            assert send.client.connections(server.origin) == (0, 0)


async def test_every_high_water_mark_gives_the_same_body() -> None:
    body = bytes(range(256)) * 2048

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(body)
        await peer.client_closes()

    async with serve(script) as server:
        for high_water in (1, 4096, 10 * len(body)):
            client = UpstreamClient(read_high_water=high_water)
            response = await Sender(client)(server.origin)
            assert b"".join([chunk async for chunk in response.chunks(idle_timeout=5)]) == body
            await client.aclose()
