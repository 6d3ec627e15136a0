"""A store behind a bad line: what requests wait for it, and when it is used again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from redis_parts.redis_server import RedisServer
from redis_parts.toxiproxy import Proxy, Toxiproxy
from store_parts.planes import ask, ready, single, until, window
from tidegate_dataplane.store.protocol import Reason, Status, StoreUnavailable
from tidegate_dataplane.store.redis_store import RedisStore

KEY = b"k" * 16
# The deadline, and what a busy machine adds.
FIRST = 0.2


@pytest.fixture
async def line() -> AsyncIterator[Proxy]:
    async with RedisServer(durable=False) as server, Toxiproxy() as toxiproxy:
        yield await toxiproxy.proxy("redis", server.address)


@pytest.fixture
async def store(line: Proxy) -> AsyncIterator[RedisStore]:
    store = await ready(single(line.port))
    yield store
    await store.aclose()


async def waits(store: RedisStore, requests: int) -> list[float]:
    """Seconds that each of so many requests in a row waits for nothing."""
    times = []
    for _ in range(requests):
        begun = time.perf_counter()
        with pytest.raises(StoreUnavailable):
            await ask(store, window(KEY, limit=1_000, need=1))
        times.append(time.perf_counter() - begun)
    return times


async def test_half_a_second_of_latency_costs_one_request_the_deadline(line: Proxy, store: RedisStore) -> None:
    await line.latency(500)
    first, *others = await waits(store, 100)
    assert first < FIRST
    assert max(others) < 0.02
    assert store.state.reason is Reason.TIMEOUT
    await line.heal()
    await until(lambda: store.state.connected)
    assert (await ask(store, window(KEY, limit=1_000, need=1))).status == Status.OK


async def test_connections_that_are_cut_are_made_anew(line: Proxy, store: RedisStore) -> None:
    await line.reset()
    (took,) = await waits(store, 1)
    assert took < FIRST
    await line.heal()
    await until(lambda: store.state.connected)
    assert (await ask(store, window(KEY, limit=1_000, need=1))).status == Status.OK


async def test_a_line_in_pieces_is_no_fault(line: Proxy, store: RedisStore) -> None:
    await line.slice(7)
    lines = [[window(bytes([index]) * 16, limit=1_000, need=1)] for index in range(20)]
    answer = await store.exchange(lines)
    assert [results[0].granted for results in answer.results] == [1] * 20


async def test_a_batch_whose_answer_is_lost_is_given_back_by_naming_its_counter_again(
    line: Proxy, store: RedisStore
) -> None:
    await line.black_hole()
    await waits(store, 1)
    await line.heal()
    await until(lambda: store.state.connected)
    assert (await ask(store, window(KEY, limit=1_000))).total == 0
