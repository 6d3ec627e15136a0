"""Every wait for a provider has an end, and the error says whether anything was sent."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tidegate_dataplane.upstream import ConnectTimeout, ResponseTimeout, UpstreamClient
from tidegate_dataplane.upstream.deadline import Deadline
from unit.upstream.scripted_server import Peer, serve
from unit.upstream.sending import Sender

LIMIT = 1 << 20


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.client_closes()


async def test_no_answer_in_time(send: Sender) -> None:
    async with serve(silent) as server:
        with pytest.raises(ResponseTimeout) as caught:
            await send(server.origin, response_timeout=0.1)
        assert caught.value.sent
        assert send.client.connections(server.origin) == (0, 0)


async def test_informational_answers_do_not_put_the_deadline_off(send: Sender) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        while True:
            await peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await asyncio.sleep(0.02)

    async with serve(script) as server:
        with pytest.raises(ResponseTimeout):
            await send(server.origin, response_timeout=0.2)


async def test_a_shorter_deadline_on_a_used_connection_is_kept(send: Sender) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        await silent(peer)

    async with serve(script) as server:
        await (await send(server.origin, response_timeout=60)).read(limit=LIMIT)
        async with asyncio.timeout(5):
            with pytest.raises(ResponseTimeout):
                await send(server.origin, response_timeout=0.1)


async def test_a_body_that_stalls(send: Sender) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await peer.client_closes()

    async with serve(script) as server:
        response = await send(server.origin)
        chunks = response.chunks(idle_timeout=0.1)
        assert await anext(chunks) == b"hello"
        with pytest.raises(ResponseTimeout):
            await anext(chunks)
        assert not response.complete
        assert send.client.connections(server.origin) == (0, 0)


async def test_framing_without_body_does_not_put_the_stall_off(send: Sender) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;")
        while True:
            await peer.send(b"x")
            await asyncio.sleep(0.02)

    async with serve(script) as server:
        response = await send(server.origin)
        with pytest.raises(ResponseTimeout):
            await response.read(limit=LIMIT, idle_timeout=0.2)


async def test_a_slow_reader_is_no_stall(send: Sender) -> None:
    read_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        await read_on.wait()
        await peer.send(b"world")
        await peer.client_closes()

    async with serve(script) as server:
        response = await send(server.origin, response_timeout=0.1)
        assert await response.next_chunk(idle_timeout=0.1) == b"hello"
        await asyncio.sleep(0.3)  # the reader is busy elsewhere, for longer than both timeouts
        read_on.set()
        assert await response.next_chunk(idle_timeout=5) == b"world"


async def test_a_provider_that_takes_nothing_of_a_large_body(send: Sender) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await asyncio.Event().wait()  # a stream that nobody reads stops reading its socket

    async with serve(script) as server:
        with pytest.raises(ResponseTimeout) as caught:
            await send(server.origin, body=b"x" * (64 << 20), response_timeout=0.3)
        assert caught.value.sent


async def test_a_caller_that_is_slow_to_make_its_body_is_not_the_providers_fault(send: Sender) -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0.15)
            yield b"x"

    async def script(peer: Peer) -> None:
        assert (await peer.request()).body == b"xxx"
        await peer.answer()

    async with serve(script) as server:
        response = await send(server.origin, body=slow(), response_timeout=0.1)
        assert await response.read(limit=LIMIT) == b"ok"


async def test_no_free_connection_in_time() -> None:
    client = UpstreamClient(max_connections_per_origin=1)
    async with serve(silent) as server:
        first = asyncio.ensure_future(Sender(client)(server.origin))
        await asyncio.sleep(0)
        with pytest.raises(ConnectTimeout) as caught:
            await Sender(client)(server.origin, connect_timeout=0.1)
        assert not caught.value.sent
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    await client.aclose()


async def test_a_moved_deadline_fires_once_and_not_before_its_time() -> None:
    loop = asyncio.get_running_loop()
    fired: list[float] = []
    done = asyncio.Event()

    def expired() -> None:
        fired.append(loop.time())
        done.set()

    deadline = Deadline(loop, expired)
    deadline.start(0.05)
    deadline.start(10)
    deadline.start(0.1)
    due = loop.time() + 0.1
    await asyncio.wait_for(done.wait(), 5)
    assert fired[0] >= due - 0.002
    deadline.start(0.05)
    deadline.stop()
    await asyncio.sleep(0.1)
    deadline.start(10)
    deadline.cancel()
    assert len(fired) == 1
