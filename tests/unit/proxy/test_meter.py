"""The relay tells the meter before it sends, and ends a stream that a limit ends."""

import asyncio
import json
from collections.abc import Callable

import openai
import pytest

from dataplane.factory import KEY, bundle_of, http_backend, route, shard, target
from dataplane.planes import running, url
from dataplane.raw_http import chat, exchange, request
from dataplane.upstream import Asked, answer, chunk, delta, event, events_head, upstream
from dataplane.waiting import until
from tidegate_dataplane.counting.encodings import Encoding
from tidegate_dataplane.counting.tokenizer import count
from tidegate_dataplane.plane import DataPlane
from tidegate_dataplane.providers.answer import Answer
from tidegate_dataplane.proxy.exchange import Exchange
from tidegate_dataplane.proxy.intake import Prompt
from tidegate_dataplane.proxy.meter import Meter, MidStreamStop
from tidegate_dataplane.proxy.relay import Relay
from tidegate_dataplane.runtime import Route
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import Operation

STOP = MidStreamStop("quota_exceeded", "Quota team-a/daily is used up. It resets at midnight.")


class Limited:
    """Lets `reserved` tokens pass, and `extensions` times as many more."""

    def __init__(self, reserved: int, extensions: int = 0) -> None:
        self.reserved = self.left = reserved
        self.extensions = extensions
        self.prompt = 0
        self.delivered = 0

    def whole(self) -> None:
        raise RuntimeError("nothing can be charged")

    def begin(self, prompt_tokens: int) -> None:
        self.prompt = prompt_tokens

    def deliver(self, tokens: int) -> bool:
        self.delivered += tokens
        self.left -= tokens
        return self.left >= 0

    async def extend(self) -> MidStreamStop | None:
        await asyncio.sleep(0)
        if self.extensions:
            self.extensions -= 1
            self.left += self.reserved
            return None
        return STOP


@pytest.fixture
def metered(monkeypatch: pytest.MonkeyPatch) -> Callable[[Limited], None]:
    """Gives every call of the plane this meter."""
    before = Relay.pass_on

    def use(meter: Limited) -> None:
        async def pass_on(
            self: Relay,
            exchange: Exchange,
            prompt: Prompt,
            operation: Operation,
            route: Route,
            answer: Answer,
            input: int,
            _: Meter,
        ) -> None:
            await before(self, exchange, prompt, operation, route, answer, input, meter)

        monkeypatch.setattr(Relay, "pass_on", pass_on)

    return use


def world(endpoint: str) -> Bundle:
    routes = [route(targets=(target("one", model="gpt-4o"),), retry_attempts=0)]
    return bundle_of(shard(backends=[http_backend("one", endpoint)], routes=routes))


async def endless(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(events_head())
    while True:
        if asked.target.endswith("/responses"):
            data = event({"type": "response.output_text.delta", "output_index": 0, "delta": " word"})
        else:
            data = event(delta(" word"))
        writer.write(chunk(data))
        await writer.drain()
        await asyncio.sleep(0.002)


def charged(plane: DataPlane) -> dict[tuple[str, str], int]:
    found = plane.metrics.tokens.values.items()
    return {(direction, source): value for (_, direction, source), value in found}


def words(body: bytes) -> int:
    return body.count(b" word")


async def test_a_stream_that_may_not_finish_ends_with_an_error_and_closes_the_provider(
    metered: Callable[[Limited], None],
) -> None:
    meter = Limited(20)
    metered(meter)
    async with upstream(endless, watch=True) as provider, running(world(provider.url)) as plane:
        found = await exchange(plane, request(chat(stream=True), key=KEY))
        await asyncio.wait_for(provider.closed.wait(), 1)
        await until(lambda: plane.metrics.in_flight == 0)
    last = json.loads(found.body.rstrip().split(b"data: ")[-1])
    assert last["error"]["code"] == "quota_exceeded"
    assert last["error"]["message"] == STOP.message
    assert words(found.body) <= 20
    assert meter.prompt > 0
    # Charged is what the caller got, not what was held back.
    text = " word" * words(found.body)
    assert charged(plane)["output", "Counted"] == count(text, Encoding.O200K)
    assert [(labels[2], labels[3]) for labels in plane.metrics.requests.values] == [("200", "quota_exceeded")]


async def test_the_openai_client_hears_why(metered: Callable[[Limited], None]) -> None:
    metered(Limited(5))
    async with (
        upstream(endless, watch=True) as provider,
        running(world(provider.url)) as plane,
        openai.AsyncOpenAI(base_url=f"{url(plane)}/v1", api_key=KEY, max_retries=0) as client,
    ):
        stream = await client.chat.completions.create(model="chat-fast", messages=[], stream=True)
        with pytest.raises(openai.APIError, match="used up"):
            async for _ in stream:
                pass


async def test_responses_end_with_an_error_event(metered: Callable[[Limited], None]) -> None:
    metered(Limited(5))
    body = json.dumps({"model": "chat-fast", "input": "Hello!", "stream": True}).encode()
    async with upstream(endless, watch=True) as provider, running(world(provider.url)) as plane:
        found = await exchange(plane, request(body, path="/v1/responses", key=KEY))
    assert b"event: error\ndata: " in found.body
    assert b"quota_exceeded" in found.body


async def test_what_is_granted_later_lets_it_go_on(metered: Callable[[Limited], None]) -> None:
    meter = Limited(10, extensions=3)
    metered(meter)
    async with upstream(endless, watch=True) as provider, running(world(provider.url)) as plane:
        found = await exchange(plane, request(chat(stream=True), key=KEY))
    assert 30 <= words(found.body) <= 40


async def test_nothing_is_sent_before_the_meter_knows(metered: Callable[[Limited], None]) -> None:
    async def large(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(events_head() + chunk(event(delta("word " * 4000))))
        await writer.drain()
        await asyncio.sleep(60)

    meter = Limited(1000)
    metered(meter)
    async with upstream(large, watch=True) as provider, running(world(provider.url)) as plane:
        found = await exchange(plane, request(chat(stream=True), key=KEY))
    assert words(found.body) == 0
    assert 4000 <= meter.delivered <= 6000


async def test_an_answer_in_one_piece_is_charged_before_it_goes(metered: Callable[[Limited], None]) -> None:
    metered(Limited(1000))
    async with upstream(answer(b'{"text": "word"}')) as provider, running(world(provider.url)) as plane:
        found = await exchange(plane, request(chat(), key=KEY))
    assert (found.status, b"word" in found.body) == (500, False)
