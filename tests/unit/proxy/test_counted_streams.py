"""What a stream is charged: what the provider reports, else what the model's own tokenizer counts."""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataplane.factory import KEY, bundle_of, http_backend, route, shard, target
from dataplane.planes import running
from dataplane.raw_http import chat, connect, exchange, read_chunk, read_head, request
from dataplane.upstream import Asked, Script, answer, chunk, completion, delta, event, events_head, upstream
from dataplane.waiting import until
from samples.texts import TEXTS
from tidegate_dataplane.counting.encodings import Encoding
from tidegate_dataplane.counting.remote import WORKER
from tidegate_dataplane.counting.tokenizer import count
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.snapshot.bundle import Bundle

DONE = event(b"[DONE]")
O200K = "gpt-4o-mini"
HELLO = 9  # tokens of the request: 3 for the message, 1 for its role, 2 for "Hello!", 3 for the answer


def world(endpoint: str, model: str = O200K) -> Bundle:
    backend = http_backend("one", endpoint)
    routes = [route(targets=(target("one", model=model),), retry_attempts=0)]
    return bundle_of(shard(backends=[backend], routes=routes))


def tokens(text: str, encoding: Encoding = Encoding.O200K) -> int:
    return count(text, encoding) or 0


def charged(plane: DataPlane) -> dict[tuple[str, str], int]:
    found = plane.metrics.tokens.values.items()
    return {(direction, source): value for (_, direction, source), value in found}


def streaming(*parts: bytes) -> Script:
    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(events_head())
        for part in parts:
            writer.write(chunk(part))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    return script


def cut(text: str, how: str) -> Iterator[str]:
    """By characters, at words as tokenizers do, or anywhere."""
    source = random.Random(how + text)
    start = 0
    while start < len(text):
        word = len(text[start:].split(" ")[0]) + 1
        end = start + {"characters": 1, "words": word, "anywhere": source.randint(1, 30)}[how]
        yield text[start:end]
        start = end


def in_transit(stream: bytes, source: random.Random) -> Iterator[bytes]:
    """The bytes of a stream as a network may cut them: within events, and within characters."""
    start = 0
    while start < len(stream):
        end = start + source.randint(1, 400)
        yield stream[start:end]
        start = end


async def ask(plane: DataPlane, **fields: Any) -> None:
    assert (await exchange(plane, request(chat(stream=True, **fields), key=KEY))).status == 200
    await until(lambda: plane.metrics.in_flight == 0)


@pytest.mark.parametrize("how", ["characters", "words", "anywhere"])
async def test_a_silent_provider_is_counted_exactly(how: str) -> None:
    left = iter(TEXTS.values())

    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        stream = b"".join(event(delta(piece)) for piece in cut(next(left), how)) + DONE
        await streaming(*in_transit(stream, random.Random(3)))(asked, writer)

    async with upstream(script) as provider, running(world(provider.url)) as plane:
        for name, text in TEXTS.items():
            plane.metrics.tokens.values.clear()
            await ask(plane)
            expected = {("input", "Counted"): HELLO, ("output", "Counted"): tokens(text)}
            assert charged(plane) == expected, name


async def test_an_older_model_is_counted_by_its_own_tokenizer() -> None:
    text = TEXTS["Hindi"]
    assert tokens(text, Encoding.CL100K) != tokens(text)
    parts = [event(delta(piece)) for piece in cut(text, "anywhere")]
    async with upstream(streaming(*parts, DONE)) as provider, running(world(provider.url, "gpt-4-turbo")) as plane:
        await ask(plane)
    assert charged(plane)["output", "Counted"] == tokens(text, Encoding.CL100K)


async def test_several_choices_add_up() -> None:
    def of(index: int, text: str) -> bytes:
        return event({"choices": [{"index": index, "delta": {"content": text}}]})

    parts = [of(0, "unbe"), of(1, "net"), of(0, "lievable"), of(1, "working")]
    async with upstream(streaming(*parts, DONE)) as provider, running(world(provider.url)) as plane:
        await ask(plane, n=2)
    assert charged(plane)["output", "Counted"] == tokens("unbelievable") + tokens("networking")


async def test_responses_are_counted_too() -> None:
    text = TEXTS["French"]
    parts = [
        b"event: response.output_text.delta\n"
        + event({"type": "response.output_text.delta", "output_index": 0, "delta": piece})
        for piece in cut(text, "anywhere")
    ]
    body = json.dumps({"model": "chat-fast", "input": "Hello!", "stream": True}).encode()
    async with upstream(streaming(*parts)) as provider, running(world(provider.url)) as plane:
        assert (await exchange(plane, request(body, path="/v1/responses", key=KEY))).status == 200
        await until(lambda: plane.metrics.in_flight == 0)
    assert charged(plane) == {("input", "Counted"): HELLO, ("output", "Counted"): tokens(text)}


async def test_what_the_provider_reports_is_exact_and_loads_no_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(*_: object) -> None:
        raise AssertionError("a tokenizer was asked")

    monkeypatch.setattr(WORKER, "count", count)
    usage = {
        "prompt_tokens": 1200,
        "completion_tokens": 345,
        "prompt_tokens_details": {"cached_tokens": 1024},
        "completion_tokens_details": {"reasoning_tokens": 300},
    }
    parts = [event(delta("Hi")), event({"choices": [], "usage": usage}), DONE]
    async with upstream(streaming(*parts)) as provider, running(world(provider.url)) as plane:
        await ask(plane)
    assert charged(plane) == {("input", "Reported"): 1200, ("output", "Reported"): 345}


async def test_the_audit_line_says_what_was_cached_and_thought(tmp_path: Path) -> None:
    usage = {
        "prompt_tokens": 1200,
        "completion_tokens": 345,
        "prompt_tokens_details": {"cached_tokens": 1024},
        "completion_tokens_details": {"reasoning_tokens": 300},
    }
    path = tmp_path / "audit.jsonl"
    async with (
        upstream(streaming(event({"choices": [], "usage": usage}), DONE)) as provider,
        running(world(provider.url), audit=path) as plane,
    ):
        await ask(plane)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    found = [line["tokens"] for line in lines if "tokens" in line]
    assert found == [{"input": 1200, "output": 345, "source": "Reported", "cached": 1024, "reasoning": 300}]


async def test_a_provider_that_reports_zeros_is_counted() -> None:
    parts = [event(delta("Hello there")), event(delta(None, usage=(0, 0))), DONE]
    async with upstream(streaming(*parts)) as provider, running(world(provider.url)) as plane:
        await ask(plane)
    assert charged(plane) == {("input", "Counted"): HELLO, ("output", "Counted"): tokens("Hello there")}


async def test_half_a_report_is_completed() -> None:
    parts = [event(delta("Hello there")), event({"choices": [], "usage": {"completion_tokens": 77}}), DONE]
    async with upstream(streaming(*parts)) as provider, running(world(provider.url)) as plane:
        await ask(plane)
    assert charged(plane) == {("input", "Counted"): HELLO, ("output", "Counted"): 77}


async def test_text_after_the_last_report_is_added_to_it() -> None:
    """As of a server that reports with every chunk, and breaks off."""

    def reporting(text: str, output: int) -> bytes:
        usage = {"prompt_tokens": 5, "completion_tokens": output}
        return event({"choices": [{"index": 0, "delta": {"content": text}}], "usage": usage})

    parts = [reporting("one ", 2), reporting("two ", 4), event(delta("three four"))]
    async with upstream(streaming(*parts)) as provider, running(world(provider.url)) as plane:
        await ask(plane)
    assert charged(plane) == {("input", "Counted"): 5, ("output", "Counted"): 4 + tokens("three four")}


async def test_a_model_without_a_tokenizer_is_estimated_and_said_to_be() -> None:
    text = TEXTS["English"]
    parts = [event(delta(piece)) for piece in cut(text, "words")]
    async with upstream(streaming(*parts, DONE)) as provider, running(world(provider.url, "llama-3.1-8b")) as plane:
        await ask(plane)
    assert charged(plane)["output", "Estimated"] == pytest.approx(tokens(text), rel=0.25)


async def test_a_whole_answer_without_usage_is_counted() -> None:
    text = TEXTS["Python"]
    async with upstream(answer(completion(text, usage=None))) as provider, running(world(provider.url)) as plane:
        assert (await exchange(plane, request(chat(), key=KEY))).status == 200
    assert charged(plane) == {("input", "Counted"): HELLO, ("output", "Counted"): tokens(text)}


@pytest.mark.parametrize("seed", range(8))
async def test_a_caller_that_leaves_pays_for_the_prompt_and_what_was_delivered(seed: int) -> None:
    source = random.Random(seed)
    text = TEXTS[source.choice(list(TEXTS))] * 3
    parts = list(cut(text, "anywhere"))
    leaves_after = source.randint(1, len(parts) - 1)
    proceed = asyncio.Semaphore(1)

    async def paced(asked: Asked, writer: asyncio.StreamWriter) -> None:
        """The next piece only when the caller has the one before: so it is known what was delivered."""
        writer.write(events_head())
        for part in parts:
            await proceed.acquire()
            writer.write(chunk(event(delta(part))))
            await writer.drain()

    async with upstream(paced, watch=True) as provider, running(world(provider.url)) as plane:
        reader, writer = await connect(plane)
        writer.write(request(chat(stream=True), key=KEY))
        await read_head(reader)
        for number in range(leaves_after):
            await read_chunk(reader)
            if number + 1 < leaves_after:
                proceed.release()
        left = asyncio.get_running_loop().time()
        writer.close()
        await asyncio.wait_for(provider.closed.wait(), 1)
        assert asyncio.get_running_loop().time() - left < 1
        await until(lambda: plane.metrics.in_flight == 0)
    expected = tokens("".join(parts[:leaves_after]))
    assert charged(plane) == {("input", "Counted"): HELLO, ("output", "Counted"): expected}
    assert plane.ledger.outstanding == 0


async def test_a_caller_that_leaves_before_any_answer_pays_for_the_prompt() -> None:
    async def silent(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with upstream(silent, watch=True) as provider, running(world(provider.url)) as plane:
        _, writer = await connect(plane)
        writer.write(request(chat(), key=KEY))
        await until(lambda: provider.asked)
        writer.close()
        await asyncio.wait_for(provider.closed.wait(), 1)
        await until(lambda: plane.metrics.in_flight == 0)
    assert charged(plane) == {("input", "Counted"): HELLO, ("output", "Counted"): 0}


async def test_a_very_long_stream_is_counted_in_parts() -> None:
    text = "".join(TEXTS.values()) * 30
    parts = [event(delta(piece)) for piece in cut(text, "anywhere")]
    assert len(text) > 2 * 64 * 1024
    async with upstream(streaming(b"".join(parts), DONE)) as provider, running(world(provider.url)) as plane:
        await ask(plane)
    assert charged(plane)["output", "Counted"] == pytest.approx(tokens(text), rel=0.001)


async def test_an_answer_that_nobody_can_read_is_estimated() -> None:
    async with upstream(answer(b"plain text, " * 100)) as provider, running(world(provider.url)) as plane:
        assert (await exchange(plane, request(chat(), key=KEY))).status == 200
    assert charged(plane) == {("input", "Estimated"): HELLO, ("output", "Estimated"): 300}


async def test_embeddings_and_pictures_without_usage_are_counted(tmp_path: Path) -> None:
    async def script(asked: Asked, writer: asyncio.StreamWriter) -> None:
        body = {"data": [{"b64_json": "AAAA"}, {"b64_json": "BBBB"}]} if "images" in asked.target else {"data": []}
        await answer(body)(asked, writer)

    path = tmp_path / "audit.jsonl"
    async with upstream(script) as provider, running(world(provider.url), audit=path) as plane:
        for where, field in (("embeddings", "input"), ("images/generations", "prompt")):
            body = json.dumps({"model": "chat-fast", field: "Hello!"}).encode()
            assert (await exchange(plane, request(body, path=f"/v1/{where}", key=KEY))).status == 200
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["tokens"] for line in lines if "tokens" in line] == [
        {"input": 2, "output": 0, "source": "Counted"},
        {"input": 2, "output": 0, "source": "Counted", "images": 2},
    ]
