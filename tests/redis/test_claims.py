"""Claims on names over data planes, in a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dataplane.waiting import until
from store_parts.script import ScriptServer
from tidegate_dataplane.alerts.claims import ClaimUnavailable, StoreClaims
from tidegate_dataplane.store.protocol import Position
from tidegate_dataplane.store.redis_store import RedisStore
from tidegate_dataplane.store.settings import Mode, StoreSettings


@asynccontextmanager
async def _claims(port: int, number: int) -> AsyncIterator[StoreClaims]:
    settings = StoreSettings(mode=Mode.SINGLE, addresses=(("127.0.0.1", port),))
    store = RedisStore(settings, gateway="default", position=Position(bytes([number]) * 16))
    await store.start()
    try:
        await until(lambda: store.state.connected)
        yield StoreClaims(store)
    finally:
        await store.aclose()


async def test_one_of_many_has_a_name_until_it_lets_go(script: ScriptServer, server_port: int) -> None:
    async with _claims(server_port, 1) as first, _claims(server_port, 2) as second:
        for number in range(20):
            won = await asyncio.gather(first.claim(f"name-{number}", 60), second.claim(f"name-{number}", 60))
            assert sorted(won) == [False, True]
        assert await first.claim("held", 0.3)
        assert not await second.claim("held", 60)
        for _ in range(4):
            # It goes on for longer than the first time, because it is kept.
            await asyncio.sleep(0.15)
            await first.keep("held", 0.3)
            assert not await second.claim("held", 60)
        await asyncio.sleep(0.35)
        assert await second.claim("held", 60)
        await first.keep("held", 60)
        assert await second.claim("held", 60), "what somebody else has by now is not taken back"


async def test_a_store_that_is_away_is_no_answer(script: ScriptServer, server_port: int) -> None:
    async with _claims(server_port, 1) as claims:
        store = claims._store
        await store.aclose()
        with pytest.raises(ClaimUnavailable, match="cannot be used"):
            await claims.claim("name", 1)
