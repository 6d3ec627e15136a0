"""Callers that go away at any moment, whatever their call waits for: nothing stays held, and no budget is exceeded."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from dataplane.factory import KEY, bundle_of, http_backend, route, shard, source, target
from dataplane.planes import running
from dataplane.raw_http import chat, connect, exchange, request
from dataplane.upstream import Asked, answer, chunk, completion, delta, event, events_head, upstream
from dataplane.waiting import until
from redis_parts.redis_server import RedisServer
from tidegate_dataplane.snapshot.bundle import Bundle
from tidegate_dataplane.snapshot.entries import (
    Accuracy,
    CalendarPeriod,
    LimitEntry,
    OnExceed,
    QuotaEntry,
    QuotaScope,
    TargetKind,
    TargetRef,
    Unit,
    WindowEntry,
)
from tidegate_dataplane.store.settings import Mode, StoreSettings

BUDGET = 60_000
SLOTS = 6
YEAR = WindowEntry(calendar=CalendarPeriod.YEAR)
HERE = (TargetRef(kind=TargetKind.NAMESPACE),)


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    async with RedisServer(durable=False) as server:
        yield server


def world(endpoint: str, accuracy: Accuracy) -> Bundle:
    slots = LimitEntry(unit=Unit.CONCURRENT, amount=SLOTS, on_exceed=OnExceed.QUEUE, queue_ms=200)
    tokens = LimitEntry(unit=Unit.TOKENS, amount=BUDGET, window=YEAR)
    quotas = [
        QuotaEntry(
            source=source("slots"), limits=(slots,), per=QuotaScope.CONSUMER, target_refs=HERE, accuracy=accuracy
        ),
        QuotaEntry(
            source=source("tokens"), limits=(tokens,), per=QuotaScope.ROUTE, target_refs=HERE, accuracy=accuracy
        ),
        QuotaEntry(source=source("leg"), limits=(tokens,), per=QuotaScope.BACKEND, target_refs=HERE, accuracy=accuracy),
        QuotaEntry(source=source("here"), limits=(tokens,), per=QuotaScope.TEAM, target_refs=HERE),
    ]
    names = tuple(quota.source.name for quota in quotas)
    return bundle_of(
        shard(
            backends=[http_backend("one", endpoint), http_backend("two", endpoint)],
            routes=[route(targets=(target("one"), target("two", priority=1)), quotas=names, retry_attempts=1)],
            quotas=quotas,
        )
    )


async def slow(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Streams some words, answers at once, or fails, as the prompt says."""
    await asyncio.sleep(random.random() * 0.02)
    if b"fail" in asked.body:
        await answer({"error": {"message": "busy"}}, status=503)(asked, writer)
        return
    if b'"stream":true' not in asked.body.replace(b" ", b""):
        await answer(completion(usage=(10, 20)))(asked, writer)
        return
    writer.write(events_head())
    for _ in range(10):
        writer.write(chunk(event(delta(" word"))))
        await writer.drain()
        await asyncio.sleep(0.003)
    writer.write(chunk(event(delta(None, usage=(10, 20)))) + chunk(b"data: [DONE]\n\n") + chunk(b""))
    await writer.drain()


@pytest.mark.parametrize("accuracy", [Accuracy.LOCAL, Accuracy.EXACT, Accuracy.LEASED])
async def test_nothing_stays_held(redis: RedisServer, accuracy: Accuracy) -> None:
    rng = random.Random(11)
    store = StoreSettings(mode=Mode.SINGLE, addresses=(("127.0.0.1", redis.port),))
    async with upstream(slow) as provider, running(world(provider.url, accuracy), store=store) as plane:

        async def served() -> int:
            return (await exchange(plane, request(chat(max_tokens=50), key=KEY))).status

        for _ in range(300):
            if await served() == 200:
                break
            await asyncio.sleep(0.1)

        async def call() -> None:
            reader, writer = await connect(plane)
            text = rng.choice(("hello", "fail"))
            fields = {"messages": [{"role": "user", "content": text}], "max_tokens": 50}
            writer.write(request(chat(stream=rng.random() < 0.7, **fields), key=KEY))
            try:
                async with asyncio.timeout(rng.choice((0.0, 0.002, 0.005, 0.02, 0.05, 0.3))):
                    await reader.read()
            except TimeoutError:
                pass
            if rng.random() < 0.5:
                writer.transport.abort()
            writer.close()

        for _ in range(10):
            await asyncio.gather(*(call() for _ in range(40)))
        await until(lambda: plane.metrics.in_flight == 0)
        assert plane.ledger.outstanding == 0
        assert plane.quota_lines.waiting == 0

        def held() -> list[tuple[str, int]]:
            return [(each.object, each.held) for each in plane.ledger.reports() if each.held]

        await until(lambda: not held())
        running_calls = [each.used for each in plane.ledger.reports() if each.unit is Unit.CONCURRENT]
        assert sum(running_calls) == 0
        assert await served() == 200
