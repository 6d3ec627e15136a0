"""Strangers cannot fill the memory with bodies, and do not get in the way of those who show a credential."""

import asyncio

from dataplane.factory import KEY, bundle_of, shard
from dataplane.planes import running
from dataplane.raw_http import chat, connect, read_answer, request
from dataplane.waiting import until
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.proxy.room import FREE_BYTES, Room
from tidegate_dataplane.settings import Limits

LIMITS = Limits(strangers_bytes=1_000_000)
LARGE = chat(padding="x" * 700_000)


async def begin(plane: DataPlane, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await connect(plane)
    writer.write(sent)
    await writer.drain()
    return reader, writer


async def ask(plane: DataPlane, sent: bytes) -> tuple[int, str]:
    reader, writer = await begin(plane, sent)
    try:
        answer = await read_answer(reader)
        return answer.status, answer.json().get("error", {}).get("code", "")
    finally:
        writer.close()


async def test_large_bodies_of_strangers_are_bounded_together() -> None:
    async with running(bundle_of(shard()), limits=LIMITS) as plane:
        _, held = await begin(plane, request(LARGE)[:-10])
        await until(lambda: plane.metrics.in_flight == 1)
        assert await ask(plane, request(LARGE)) == (503, "overloaded")
        assert await ask(plane, request(LARGE, key="sk-wrong")) == (401, "invalid_api_key")
        assert await ask(plane, request(LARGE, key=KEY)) == (200, "")
        assert await ask(plane, request(chat())) == (401, "invalid_api_key")
        held.close()
        await until(lambda: plane.metrics.in_flight == 0)
        assert await ask(plane, request(LARGE)) == (401, "invalid_api_key")


async def test_room_is_given_back_however_a_request_ends() -> None:
    async with running(bundle_of(shard()), limits=LIMITS) as plane:
        for sent in (request(LARGE), request(b"{" * 700_000)):
            assert (await ask(plane, sent))[0] in (400, 401)
        for _ in range(3):
            _, writer = await begin(plane, request(LARGE)[:-10])
            await until(lambda: plane.metrics.in_flight == 1)
            writer.close()
            await until(lambda: plane.metrics.in_flight == 0)
        assert await ask(plane, request(LARGE)) == (401, "invalid_api_key")


def test_what_is_free_is_not_taken_from_the_others() -> None:
    room = Room(100)
    with room.share() as one, room.share() as other:
        assert one.take(FREE_BYTES)
        assert other.take(FREE_BYTES - 1)
        assert room.left == 100
        assert other.take(61)
        assert room.left == 40
        assert not one.take(41)
        assert one.take(40)
        assert room.left == 0
    assert room.left == 100
