"""Each fault of the proxy, as a client of Redis sees it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from redis_parts.redis_server import RedisServer
from redis_parts.toxiproxy import Proxy, Toxiproxy


@pytest.fixture
async def way() -> AsyncIterator[Proxy]:
    async with RedisServer(durable=False) as server, Toxiproxy() as toxiproxy:
        yield await toxiproxy.proxy("redis", server.address)


async def _ping(way: Proxy) -> float:
    """Seconds of a PING on a new connection."""
    client = Redis(host="127.0.0.1", port=way.port, socket_timeout=1.0, retry=Retry(NoBackoff(), 0))
    began = time.monotonic()
    try:
        await client.ping()
    finally:
        await client.aclose()
    return time.monotonic() - began


async def test_latency_delays(way: Proxy) -> None:
    await way.latency(200)
    assert await _ping(way) >= 0.2
    await way.heal()
    assert await _ping(way) < 0.2


async def test_a_black_hole_answers_nothing(way: Proxy) -> None:
    await way.black_hole()
    with pytest.raises(RedisTimeoutError):
        await _ping(way)
    await way.heal()
    await _ping(way)


async def test_a_reset_cuts(way: Proxy) -> None:
    await way.reset()
    with pytest.raises(RedisConnectionError):
        await _ping(way)
    await way.heal()
    await _ping(way)


async def test_disabled_it_refuses(way: Proxy) -> None:
    await way.disable()
    with pytest.raises(RedisConnectionError):
        await _ping(way)
    await way.heal()
    await _ping(way)


async def test_a_slow_line_still_delivers(way: Proxy) -> None:
    await way.bandwidth(1)
    await way.slice(4, delay_us=1_000)
    await _ping(way)
