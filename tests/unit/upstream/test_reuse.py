"""When a connection carries another exchange, and when it must not."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from functools import partial

import pytest

from tidegate_dataplane.upstream import ConnectionLost, UpstreamClient
from unit.upstream.scripted_server import Peer, Script, serve, until
from unit.upstream.sending import Sender

LIMIT = 1 << 20
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"


async def forever(peer: Peer) -> None:
    """Answer each request with the number of the connection."""
    while True:
        await peer.request()
        await peer.answer(b"%d" % peer.number)


async def test_one_after_another_use_one_connection(send: Sender) -> None:
    async with serve(forever) as server:
        for _ in range(5):
            assert await (await send(server.origin)).read(limit=LIMIT) == b"0"
        assert server.connections == 1


async def test_the_connection_used_last_is_used_first(send: Sender) -> None:
    gates = [asyncio.Event() for _ in range(3)]

    async def script(peer: Peer) -> None:
        await peer.request()
        await gates[peer.number].wait()
        await peer.answer(b"%d" % peer.number)
        await forever(peer)

    def has_idle(count: int) -> bool:
        return send.client.connections(server.origin)[1] == count

    async with serve(script) as server:
        requests = [asyncio.ensure_future(send(server.origin)) for _ in range(3)]
        await until(lambda: server.connections == 3)
        for finished, number in enumerate([2, 0, 1], start=1):
            gates[number].set()
            await until(partial(has_idle, finished))
        await asyncio.gather(*requests)
        again = [await send(server.origin) for _ in range(2)]
        assert [await response.read(limit=LIMIT) for response in again] == [b"1", b"1"]


@pytest.mark.parametrize(
    ("head", "connections"),
    [
        (OK + b"Connection: close\r\n", 2),
        (OK + b"Connection: keep-alive, Close\r\n", 2),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n", 2),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n", 1),
    ],
)
async def test_what_the_peer_says_about_the_connection_is_respected(
    send: Sender, head: bytes, connections: int
) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(head + b"\r\nok")

    async with serve(script) as server:
        for _ in range(2):
            assert await (await send(server.origin)).read(limit=LIMIT) == b"ok"
        assert server.connections == connections


async def test_the_connection_is_free_before_the_body_is_read(send: Sender) -> None:
    async with serve(forever) as server:
        first, second = await send(server.origin), await send(server.origin)
        assert await first.read(limit=LIMIT) == await second.read(limit=LIMIT) == b"0"


@pytest.mark.parametrize("surplus", [b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", b"x"])
async def test_bytes_after_the_response_spoil_the_connection(send: Sender, surplus: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"\r\nok" + surplus)
        await peer.client_closes()

    async with serve(script) as server:
        for _ in range(2):
            assert await (await send(server.origin)).read(limit=LIMIT) == b"ok"
        assert server.connections == 2


async def test_bytes_on_an_idle_connection_close_it(send: Sender) -> None:
    idle = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        await idle.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        await peer.client_closes()

    async with serve(script) as server:
        assert await (await send(server.origin)).read(limit=LIMIT) == b"ok"
        assert send.client.connections(server.origin) == (1, 1)
        idle.set()
        await until(lambda: send.client.connections(server.origin) == (0, 0))
        assert await (await send(server.origin)).read(limit=LIMIT) == b"ok"
        assert server.connections == 2


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_an_idle_connection_that_the_peer_closes_is_forgotten_at_once(send: Sender, end: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        if end == "reset":
            peer.reset()

    async with serve(script) as server:
        assert await (await send(server.origin)).read(limit=LIMIT) == b"ok"
        await until(lambda: send.client.connections(server.origin) == (0, 0))
        assert await (await send(server.origin)).read(limit=LIMIT) == b"ok"


async def test_idle_connections_are_closed_when_their_time_is_over() -> None:
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        await peer.client_closes()
        closed.set()

    client = UpstreamClient(idle_timeout=0.1)
    async with serve(script) as server:
        await Sender(client)(server.origin)
        assert client.connections(server.origin) == (1, 1)
        await asyncio.wait_for(closed.wait(), 5)
        assert client.connections(server.origin) == (0, 0)
    await client.aclose()


async def test_no_more_idle_connections_than_allowed() -> None:
    everyone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await everyone.wait()
        await peer.answer()
        await peer.client_closes()

    client = UpstreamClient(max_idle_per_origin=2)
    async with serve(script) as server:
        requests = [asyncio.ensure_future(Sender(client)(server.origin)) for _ in range(5)]
        await until(lambda: server.connections == 5)
        everyone.set()
        await asyncio.gather(*requests)
        assert client.connections(server.origin) == (2, 2)
    await client.aclose()


async def test_a_keep_alive_time_that_the_peer_announces_is_kept() -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer(b"%d" % peer.number, extra=b"keep-alive: timeout=2, max=9\r\n")

    client = UpstreamClient()
    send = Sender(client)
    async with serve(script) as server:
        assert await (await send(server.origin)).read(limit=LIMIT) == b"0"
        assert await (await send(server.origin)).read(limit=LIMIT) == b"0"
        await asyncio.sleep(1.1)  # idle for so long that its peer may have closed it
        assert await (await send(server.origin)).read(limit=LIMIT) == b"1"
    await client.aclose()


def dying_once(*, answered: bytes = b"", reset: bool = False) -> Script:
    """The first connection answers once and dies over its second request; later ones answer for ever."""

    async def script(peer: Peer) -> None:
        if peer.number == 0:
            await peer.request()
            await peer.answer(b"warm")
            await peer.request()
            await peer.send(answered)
            if reset:
                peer.reset()
            return
        await forever(peer)

    return script


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
@pytest.mark.parametrize(("method", "idempotent"), [(b"GET", False), (b"POST", True)])
async def test_an_idempotent_request_survives_a_stale_connection(
    send: Sender, method: bytes, idempotent: bool, reset: bool
) -> None:
    async with serve(dying_once(reset=reset)) as server:
        assert await (await send(server.origin)).read(limit=LIMIT) == b"warm"
        again = await send(server.origin, method, idempotent=idempotent)
        assert await again.read(limit=LIMIT) == b"1"


async def test_any_other_request_that_was_sent_is_not_repeated(send: Sender) -> None:
    async with serve(dying_once()) as server:
        assert await (await send(server.origin)).read(limit=LIMIT) == b"warm"
        with pytest.raises(ConnectionLost) as caught:
            await send(server.origin)
        assert (caught.value.sent, caught.value.answered) == (True, False)
        assert server.connections == 1


async def test_nothing_is_repeated_once_an_answer_began(send: Sender) -> None:
    async with serve(dying_once(answered=b"HTTP/1.1 2")) as server:
        assert await (await send(server.origin)).read(limit=LIMIT) == b"warm"
        with pytest.raises(ConnectionLost) as caught:
            await send(server.origin, b"GET")
        assert caught.value.answered
        assert server.connections == 1


async def test_a_body_that_cannot_be_sent_again_is_not_repeated(send: Sender) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    async with serve(dying_once()) as server:
        assert await (await send(server.origin)).read(limit=LIMIT) == b"warm"
        with pytest.raises(ConnectionLost):
            await send(server.origin, body=body(), idempotent=True)
        assert server.connections == 1


async def test_a_new_connection_that_dies_is_not_repeated(send: Sender) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()

    async with serve(script) as server:
        with pytest.raises(ConnectionLost):
            await send(server.origin, b"GET")
        assert server.connections == 1


async def test_a_connection_that_the_kernel_knows_is_closed_is_not_used(send: Sender) -> None:
    """The loop has not seen the end yet, the kernel has: even a POST goes out safely, on a new connection."""
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"%d" % peer.number)
        if peer.number == 0:
            await gone.wait()

    async with serve(script) as server:
        assert await (await send(server.origin)).read(limit=LIMIT) == b"0"
        await asyncio.sleep(1.1)  # idle for so long that its peer may have closed it
        # The peer ends its side with no turn of the loop between that and the request.
        with socket.socket(fileno=os.dup(server.peers[0].writer.get_extra_info("socket").fileno())) as twin:
            twin.shutdown(socket.SHUT_WR)
        assert await (await send(server.origin)).read(limit=LIMIT) == b"1"
        gone.set()


async def test_a_cancelled_request_closes_its_connection(send: Sender) -> None:
    arrived, closed = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await peer.client_closes()
        closed.set()

    async with serve(script) as server:
        request = asyncio.ensure_future(send(server.origin))
        await arrived.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert send.client.connections(server.origin) == (0, 0)
        await asyncio.wait_for(closed.wait(), 5)


async def test_a_response_closed_before_its_end_closes_its_connection(send: Sender) -> None:
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello")
        await peer.client_closes()
        closed.set()

    async with serve(script) as server:
        async with await send(server.origin) as response:
            assert await response.next_chunk() == b"hello"
        assert not response.complete
        assert send.client.connections(server.origin) == (0, 0)
        await asyncio.wait_for(closed.wait(), 5)


async def test_closing_a_response_that_is_complete_keeps_the_connection(send: Sender) -> None:
    async with serve(forever) as server:
        await (await send(server.origin)).aclose()
        assert send.client.connections(server.origin) == (1, 1)


async def test_closing_the_client_ends_what_is_open(send: Sender) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello")
        await peer.client_closes()

    async with serve(script) as server:
        response = await send(server.origin)
        assert await response.next_chunk() == b"hello"
        await send.client.aclose()
        with pytest.raises(ConnectionLost):
            await response.next_chunk()
        with pytest.raises(RuntimeError, match="closed"):
            await send(server.origin)
