"""Everything at once: whatever fails, is cancelled or comes in pieces, nobody ever gets another request's answer."""

import asyncio
import os
import random
from collections.abc import AsyncIterator

import pytest

from tidegate_dataplane.upstream import UpstreamClient, UpstreamError
from unit.upstream.scripted_server import Peer, serve, until
from unit.upstream.sending import Sender

CALLERS, REQUESTS, PLACES = 24, 40, 8


async def in_pieces(peer: Peer, data: bytes, chance: random.Random) -> None:
    while data:
        size = chance.randint(1, 40)
        await peer.send(data[:size])
        data = data[size:]
        if chance.random() < 0.3:
            await asyncio.sleep(chance.random() * 0.002)


@pytest.mark.parametrize("seed", range(4))
async def test_nobody_gets_anothers_answer(seed: int) -> None:
    chance = random.Random(seed)

    async def script(peer: Peer) -> None:
        while True:
            marker = (await peer.request()).body
            kind = chance.random()
            length = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(marker), marker)
            chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (
                len(marker),
                marker,
            )
            if kind < 0.35:
                await peer.send(length)
            elif kind < 0.55:
                await in_pieces(peer, b"HTTP/1.1 103 Early Hints\r\n\r\n" + chunked, chance)
            elif kind < 0.65:
                await peer.send(length + length)  # an answer that nobody asked for
            elif kind < 0.75:
                await in_pieces(peer, length[: chance.randrange(len(length))], chance)
                return
            elif kind < 0.80:
                peer.reset()
                return
            elif kind < 0.85:
                await peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + marker)
                return
            elif kind < 0.90:
                await asyncio.sleep(0.2)
                await peer.send(length)
            else:
                await peer.send(length)
                await asyncio.sleep(chance.random() * 0.002)
                return

    outcomes: dict[str, int] = {}

    async def caller(number: int, send: Sender) -> None:
        for turn in range(REQUESTS):
            marker = b"caller %d turn %d " % (number, turn) * chance.randint(1, 20)
            outcome = await one(marker, send)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1

    async def one(marker: bytes, send: Sender) -> str:
        body = in_two(marker) if chance.random() < 0.2 else marker
        try:
            async with asyncio.timeout(chance.choice([0.002, 0.01, 5, 5, 5])):
                async with await send(server.origin, body=body, response_timeout=chance.choice([0.1, 5])) as response:
                    if chance.random() < 0.1:
                        return "left"
                    assert await response.read(limit=1 << 20) == marker
                    return "answered"
        except TimeoutError:
            return "cancelled"
        except UpstreamError as error:
            return type(error).__name__

    sockets_before = open_sockets()
    client = UpstreamClient(max_connections_per_origin=PLACES)
    async with serve(script) as server:
        await asyncio.gather(*(caller(number, Sender(client)) for number in range(CALLERS)))
        assert sum(outcomes.values()) == CALLERS * REQUESTS
        assert outcomes["answered"] > CALLERS * REQUESTS // 3
        assert {"cancelled", "ConnectionLost"} <= outcomes.keys()
        # Every place is accounted for: what is open is idle, and all places can be taken again.
        await until(lambda: len(set(client.connections(server.origin))) == 1)
        assert client.connections(server.origin)[0] <= PLACES
        await client.aclose()
    await until(lambda: open_sockets() <= sockets_before)


def open_sockets() -> int:
    files = [entry.path for entry in os.scandir("/proc/self/fd")]
    return sum(os.readlink(file).startswith("socket:") for file in files if os.path.lexists(file))


async def in_two(data: bytes) -> AsyncIterator[bytes]:
    yield data[: len(data) // 2]
    await asyncio.sleep(0)
    yield data[len(data) // 2 :]
