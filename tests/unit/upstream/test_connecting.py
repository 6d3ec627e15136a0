"""Making connections: where to, how many, and what failing means."""

import asyncio
import socket

import pytest

from tidegate_dataplane.upstream import ConnectFailed, Origin, UpstreamClient
from unit.upstream.scripted_server import Peer, serve, until
from unit.upstream.sending import Sender

LIMIT = 1 << 20


async def forever(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.answer()


async def test_nobody_listens(send: Sender) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(ConnectFailed, match=r"cannot connect to http://127\.0\.0\.1") as caught:
        await send(Origin("http", "127.0.0.1", port, None))
    assert not caught.value.sent


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".invalid"])
async def test_a_name_that_does_not_resolve(send: Sender, host: str) -> None:
    with pytest.raises(ConnectFailed) as caught:
        await send(Origin("http", host, 80, None))
    assert not caught.value.sent
    assert send.client.connections(Origin("http", host, 80, None)) == (0, 0)


async def test_ipv6(send: Sender) -> None:
    hosts: list[bytes | None] = []

    async def script(peer: Peer) -> None:
        hosts.append((await peer.request()).header(b"host"))
        await peer.answer()

    async with serve(script, host="::1") as server:
        assert await (await send(server.origin)).read(limit=LIMIT) == b"ok"
        assert hosts == [b"[::1]:%d" % server.origin.port]


async def test_a_name_with_addresses_that_do_not_answer_reaches_the_one_that_does(send: Sender) -> None:
    """localhost may resolve to ::1 first, where nobody listens."""
    async with serve(forever, host="127.0.0.1", name="localhost") as server:
        assert await (await send(server.origin)).read(limit=LIMIT) == b"ok"


async def test_the_connection_limit_makes_requests_wait_their_turn() -> None:
    most = 0
    client = UpstreamClient(max_connections_per_origin=3)
    async with serve(forever) as server:

        async def one() -> bytes:
            nonlocal most
            response = await Sender(client)(server.origin)
            most = max(most, client.connections(server.origin)[0])
            return await response.read(limit=LIMIT)

        assert await asyncio.gather(*(one() for _ in range(50))) == [b"ok"] * 50
        assert most == server.connections == 3
        assert client.connections(server.origin) == (3, 3)
    await client.aclose()


async def test_a_place_is_given_back_by_whatever_ends_a_connection() -> None:
    """One place: each of these would block the next if it kept it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 0:
            await peer.answer(extra=b"connection: close\r\n")
        elif peer.number == 1:
            peer.reset()
        elif peer.number == 2:
            await peer.send(b"garbage\r\n\r\n")
        else:
            await peer.client_closes()

    client = UpstreamClient(max_connections_per_origin=1)
    send = Sender(client)
    async with serve(script) as server:
        endings = [asyncio.ensure_future(send(server.origin, response_timeout=0.1)) for _ in range(5)]
        results = await asyncio.gather(*endings, return_exceptions=True)
        assert [type(result).__name__ for result in results] == [
            "UpstreamResponse",
            "ConnectionLost",
            "ProtocolError",
            "ResponseTimeout",
            "ResponseTimeout",
        ]
        assert client.connections(server.origin) == (0, 0)
    await client.aclose()


async def test_a_waiting_request_that_is_cancelled_leaves_its_turn_to_the_next() -> None:
    answer = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await answer.wait()
            await peer.answer()

    client = UpstreamClient(max_connections_per_origin=1)
    send = Sender(client)
    async with serve(script) as server:
        first, second, third = (asyncio.ensure_future(send(server.origin)) for _ in range(3))
        await until(lambda: server.connections == 1)
        second.cancel()
        answer.set()
        assert await (await third).read(limit=LIMIT) == b"ok"
        assert (await first).complete
        assert second.cancelled()
        assert server.connections == 1
    await client.aclose()


async def test_origins_share_no_connections(send: Sender) -> None:
    async with serve(forever) as one, serve(forever) as other:
        for _ in range(2):
            await send(one.origin)
            await send(other.origin)
        assert (one.connections, other.connections) == (1, 1)
