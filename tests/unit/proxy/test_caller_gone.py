"""A caller that goes away closes the provider within a second, whatever either of them is doing at that moment."""

import asyncio
import json
import socket
import ssl
import struct
from pathlib import Path

import pytest

from dataplane.factory import KEY, bundle_of, http_backend, route, shard, target
from dataplane.planes import running
from dataplane.raw_http import chat, connect, read_chunk, read_head, request
from dataplane.secured import Site
from dataplane.upstream import Asked, chunk, delta, event, events_head, upstream
from dataplane.waiting import until
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.bundle import Bundle

SOON = 1.0  # second


def world(endpoint: str) -> Bundle:
    routes = [route(targets=(target("one"),), retry_attempts=0)]
    return bundle_of(shard(backends=[http_backend("one", endpoint)], routes=routes))


async def says_a_word_and_falls_silent(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(events_head() + chunk(event(delta("word "))))
    await writer.drain()
    await asyncio.sleep(60)


async def says_nothing(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


def large(size: int) -> bytes:
    messages = [{"role": "user", "content": "word " * (size // 5)}]
    return json.dumps({"model": "chat-fast", "messages": messages, "stream": True}).encode()


async def ended(plane: DataPlane) -> None:
    await until(lambda: plane.metrics.in_flight == 0)
    assert [labels[3] for labels in plane.metrics.requests.values] == ["caller_gone"]


@pytest.mark.parametrize("reset", [False, True])
async def test_while_the_provider_is_silent(reset: bool) -> None:
    async with upstream(says_a_word_and_falls_silent, watch=True) as provider, running(world(provider.url)) as plane:
        reader, writer = await connect(plane)
        writer.write(request(chat(stream=True), key=KEY))
        await read_head(reader)
        await read_chunk(reader)
        if reset:
            now = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
            writer.transport.abort()
        else:
            writer.close()
        await asyncio.wait_for(provider.closed.wait(), SOON)
        await ended(plane)


@pytest.mark.parametrize("size", [60_000, 70_000, 400_000, 3_000_000])
async def test_after_a_large_request(size: int) -> None:
    async with upstream(says_nothing, watch=True) as provider, running(world(provider.url)) as plane:
        _, writer = await connect(plane)
        writer.write(request(large(size), key=KEY))
        await until(lambda: provider.asked)
        writer.close()
        await asyncio.wait_for(provider.closed.wait(), SOON)
        await ended(plane)


async def test_with_another_request_on_its_way() -> None:
    async with upstream(says_a_word_and_falls_silent, watch=True) as provider, running(world(provider.url)) as plane:
        reader, writer = await connect(plane)
        writer.write(request(chat(stream=True), key=KEY))
        await read_head(reader)
        await read_chunk(reader)
        writer.write(request(large(70_000), key=KEY) + request(chat(), key=KEY))
        writer.transport.abort()
        await asyncio.wait_for(provider.closed.wait(), SOON)
        await ended(plane)
        assert len(provider.asked) == 1


async def test_while_it_does_not_take_what_comes() -> None:
    flooded = asyncio.Event()

    async def floods(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(events_head())
        while True:
            writer.write(chunk(event(delta("x" * 60_000))))
            try:
                await asyncio.wait_for(writer.drain(), 0.3)
            except TimeoutError:
                flooded.set()  # nobody takes anything any more
                await writer.drain()

    async with upstream(floods, watch=True) as provider, running(world(provider.url)) as plane:
        _, writer = await connect(plane)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # as asyncio's streams do
        writer.write(request(chat(stream=True), key=KEY))
        await asyncio.wait_for(flooded.wait(), 20)
        writer.transport.abort()
        await asyncio.wait_for(provider.closed.wait(), SOON)
        await ended(plane)


async def test_over_tls(tmp_path: Path) -> None:
    site = Site(tmp_path)
    async with (
        upstream(says_a_word_and_falls_silent, watch=True) as provider,
        running(world(provider.url), tls=site.settings()) as plane,
    ):
        context: ssl.SSLContext = site.client()
        reader, writer = await asyncio.open_connection("127.0.0.1", plane.address.port, ssl=context)
        writer.write(request(large(400_000), key=KEY))
        await read_head(reader)
        await read_chunk(reader)
        writer.transport.abort()
        await asyncio.wait_for(provider.closed.wait(), SOON)
        await ended(plane)
