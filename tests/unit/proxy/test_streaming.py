"""Streams: chunk by chunk, accounted for, and never silently cut."""

import asyncio
import contextlib
import json
from typing import Any

import openai
import pytest

from dataplane.factory import KEY, bundle_of, http_backend, mock_backend, route, shard, target
from dataplane.planes import running, url
from dataplane.raw_http import chat, connect, exchange, read_chunk, read_head, request
from dataplane.upstream import Asked, Script, chunk, completion, delta, event, events_head, upstream
from dataplane.waiting import until
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.settings import Limits
from tidegate_dataplane.snapshot.bundle import Bundle

DONE = event(b"[DONE]")


def world(endpoint: str, **fields: Any) -> Bundle:
    backend = http_backend("one", endpoint)
    return bundle_of(shard(backends=[backend], routes=[route(targets=(target("one"),), **fields)]))


def streaming(*parts: bytes, end: bool = True) -> Script:
    """Send each part as a chunk of its own, then the end of the body, or the end of the connection."""

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(events_head())
        for part in parts:
            writer.write(chunk(part))
            await writer.drain()
        if end:
            writer.write(b"0\r\n\r\n")
        else:
            writer.close()

    return script


def tokens(plane: DataPlane) -> dict[tuple[str, str], int]:
    found = plane.metrics.tokens.values.items()
    return {(direction, source): value for (_, direction, source), value in found}


async def events_of(plane: DataPlane, **fields: Any) -> list[Any]:
    answer = await exchange(plane, request(chat(stream=True, **fields), key=KEY))
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = [line.removeprefix(b"data: ") for line in answer.body.split(b"\n\n") if line]
    return [each if each == b"[DONE]" else json.loads(each) for each in found]


async def test_usage_is_asked_for_counted_and_hidden() -> None:
    parts = [event(delta("Hi")), event(delta(".", finish="stop")), event(delta(None, usage=(11, 13))), DONE]
    async with upstream(streaming(*parts)) as provider, running(world(provider.url)) as plane:
        events = await events_of(plane)
    assert provider.asked[0].json["stream_options"] == {"include_usage": True}
    assert [each["choices"][0]["delta"]["content"] for each in events[:-1]] == ["Hi", "."]
    assert events[-1] == b"[DONE]"
    assert all("usage" not in each for each in events[:-1])
    assert tokens(plane) == {("input", "Reported"): 11, ("output", "Reported"): 13}


async def test_usage_that_was_asked_for_passes_as_it_is() -> None:
    parts = [event(delta("Hi")), event(delta(None, usage=(11, 13))), DONE]
    async with upstream(streaming(*parts)) as provider, running(world(provider.url)) as plane:
        events = await events_of(plane, stream_options={"include_usage": True, "x": 1})
    assert provider.asked[0].json["stream_options"] == {"include_usage": True, "x": 1}
    assert events[0]["usage"] is None
    assert events[1]["usage"]["total_tokens"] == 24


async def test_other_stream_options_of_the_caller_are_kept() -> None:
    async with upstream(streaming(DONE)) as provider, running(world(provider.url)) as plane:
        await events_of(plane, stream_options={"include_obfuscation": False})
    assert provider.asked[0].json["stream_options"] == {"include_obfuscation": False, "include_usage": True}


async def test_without_a_report_the_deltas_are_counted() -> None:
    parts = [event(delta("")), *(event(delta("word ")) for _ in range(20)), DONE]
    async with upstream(streaming(*parts)) as provider, running(world(provider.url)) as plane:
        await events_of(plane)
    counted = tokens(plane)["output", "Estimated"]
    assert 20 <= counted <= 30


async def test_each_chunk_is_passed_on_before_the_next_one_comes() -> None:
    proceed = asyncio.Event()

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(events_head() + chunk(event(delta("first"))))
        await writer.drain()
        await proceed.wait()
        writer.write(chunk(event(delta("second"))) + b"0\r\n\r\n")

    async with upstream(script) as provider, running(world(provider.url)) as plane:
        reader, writer = await connect(plane)
        with contextlib.closing(writer):
            writer.write(request(chat(stream=True), key=KEY))
            async with asyncio.timeout(5):
                assert (await read_head(reader))[0] == 200
                assert b"first" in await read_chunk(reader)
                proceed.set()
                assert b"second" in await read_chunk(reader)


async def test_events_that_are_cut_anywhere_arrive_whole() -> None:
    whole = event(delta("Hällo")) + event(delta(None, usage=(1, 2))) + DONE
    parts = [whole[start : start + 7] for start in range(0, len(whole), 7)]
    async with upstream(streaming(*parts)) as provider, running(world(provider.url)) as plane:
        events = await events_of(plane)
    assert events[0]["choices"][0]["delta"]["content"] == "Hällo"
    assert len(events) == 2
    assert tokens(plane)["output", "Reported"] == 2


async def test_a_caller_that_goes_away_closes_the_provider_within_a_second_and_is_charged() -> None:
    async def endless(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(events_head())
        for _ in range(10):
            writer.write(chunk(event(delta("word "))))
        await writer.drain()
        await asyncio.sleep(60)

    async with upstream(endless, watch=True) as provider, running(world(provider.url)) as plane:
        reader, writer = await connect(plane)
        writer.write(request(chat(stream=True), key=KEY))
        await read_head(reader)
        await read_chunk(reader)
        writer.close()
        await asyncio.wait_for(provider.closed.wait(), 1)
        await until(lambda: plane.metrics.in_flight == 0)
    assert tokens(plane)["output", "Estimated"] >= 10
    assert plane.ledger.outstanding == 0
    assert [labels[3] for labels in plane.metrics.requests.values] == ["caller_gone"]


async def test_a_caller_that_goes_away_while_waiting_closes_the_provider_too() -> None:
    async def silent(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with upstream(silent, watch=True) as provider, running(world(provider.url)) as plane:
        _, writer = await connect(plane)
        writer.write(request(chat(), key=KEY))
        await until(lambda: provider.asked)
        writer.close()
        await asyncio.wait_for(provider.closed.wait(), 1)


async def test_a_stream_that_breaks_off_says_so() -> None:
    async with (
        upstream(streaming(event(delta("Hi")), b'data: {"half', end=False)) as provider,
        running(world(provider.url)) as plane,
    ):
        events = await events_of(plane)
    assert events[0]["choices"][0]["delta"]["content"] == "Hi"
    assert events[1]["error"]["code"] == "upstream_failed"
    assert len(events) == 2


async def test_the_openai_client_raises_when_a_stream_breaks_off() -> None:
    async with (
        upstream(streaming(event(delta("Hi")), end=False)) as provider,
        running(world(provider.url)) as plane,
        openai.AsyncOpenAI(base_url=f"{url(plane)}/v1", api_key=KEY, max_retries=0) as client,
    ):
        stream = await client.chat.completions.create(model="chat-fast", messages=[], stream=True)
        assert (await anext(stream)).choices[0].delta.content == "Hi"
        with pytest.raises(openai.APIError, match="broke off"):
            await anext(stream)


async def test_a_provider_that_falls_silent_is_given_up() -> None:
    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(events_head() + chunk(event(delta("Hi"))))
        await writer.drain()
        await asyncio.sleep(60)

    async with (
        upstream(script, watch=True) as provider,
        running(world(provider.url, stream_idle_timeout_ms=200)) as plane,
    ):
        events = await events_of(plane)
        await asyncio.wait_for(provider.closed.wait(), 1)
    assert events[-1]["error"]["code"] == "upstream_timeout"


async def test_a_stream_that_fails_before_its_first_byte_is_a_status() -> None:
    async with upstream(streaming(end=False)) as provider, running(world(provider.url)) as plane:
        answer = await exchange(plane, request(chat(stream=True), key=KEY))
    assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_failed")


async def test_a_provider_that_does_not_stream_is_passed_on_whole() -> None:
    body = json.dumps(completion(usage=(3, 4))).encode()

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )

    async with upstream(script) as provider, running(world(provider.url)) as plane:
        answer = await exchange(plane, request(chat(stream=True), key=KEY))
    assert answer.body == body
    assert tokens(plane) == {("input", "Reported"): 3, ("output", "Reported"): 4}


async def test_a_slow_reader_stops_the_provider() -> None:
    sent = 0
    big = event(delta("x" * 60_000))

    async def flood(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(events_head())
        while True:
            writer.write(chunk(big))
            await writer.drain()
            sent += len(big)

    async with upstream(flood, watch=True) as provider, running(world(provider.url), grace=0.1) as plane:
        reader, writer = await connect(plane)
        writer.write(request(chat(stream=True), key=KEY))
        await read_head(reader)
        before = -1
        while sent != before:  # until the flood stands still
            before = sent
            await asyncio.sleep(0.3)
        # Kernel buffers on both sides and ours: far from what a provider could send in that time.
        assert sent < 40_000_000
        writer.close()
        await asyncio.wait_for(provider.closed.wait(), 2)


async def test_a_caller_that_reads_nothing_for_long_is_cut_off() -> None:
    async def flood(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(events_head())
        while True:
            writer.write(chunk(event(delta("x" * 60_000))))
            await writer.drain()

    async with (
        upstream(flood, watch=True) as provider,
        running(world(provider.url), limits=Limits(stall_seconds=0.2)) as plane,
    ):
        reader, writer = await connect(plane)
        writer.write(request(chat(stream=True), key=KEY))
        await read_head(reader)
        await asyncio.wait_for(provider.closed.wait(), 10)
        writer.close()


async def test_streams_keep_their_pace() -> None:
    slow = mock_backend(chunk_delay_ms=20, reply="one two three four five")
    async with running(bundle_of(shard(backends=[slow]))) as plane:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await exchange(plane, request(chat(stream=True), key=KEY))
    assert loop.time() - began >= 0.1
