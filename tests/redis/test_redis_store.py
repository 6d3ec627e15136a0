"""A data plane's store on a real server: what it does when the server hangs, dies, restarts or forgets."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator

import pytest

from redis_parts.redis_server import RedisServer
from store_parts.planes import DAY_MS, ask, gauge, plane, ready, settled, single, today, until, window
from tidegate_dataplane.store.protocol import (
    Declared,
    EpochChanged,
    Kind,
    Position,
    Reason,
    Status,
    StoreUnavailable,
)
from tidegate_dataplane.store.redis_store import RedisStore

KEY = b"k" * 16
# A deadline of 50 ms, and what a busy machine adds.
SOON = 0.2


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    async with RedisServer(durable=False) as server:
        yield server


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisStore]:
    store = await ready(single(server.port))
    yield store
    await store.aclose()


async def unavailable(store: RedisStore) -> tuple[Reason, float]:
    """Why an exchange fails, and after how many seconds."""
    begun = time.perf_counter()
    with pytest.raises(StoreUnavailable) as failure:
        await ask(store, window(KEY, limit=100, need=1))
    return failure.value.reason, time.perf_counter() - begun


async def test_what_is_asked_is_granted_and_counted(store: RedisStore) -> None:
    answer = await store.exchange(
        [
            [window(KEY, limit=100, need=60), gauge(b"g" * 16, limit=1, need=1)],
            [window(KEY, limit=100, need=60)],
        ]
    )
    assert [[result.status for result in each] for each in answer.results] == [[0, 0], [1]]
    assert abs(answer.server_ms - time.time() * 1000) < 1_000
    assert store.state.connected
    assert store.state.owners == answer.owners == 1
    assert store.known_owners == {store.position.owner}


async def test_two_exchanges_at_once_are_a_mistake_of_the_caller(store: RedisStore) -> None:
    first = asyncio.create_task(ask(store, window(KEY, limit=100, need=1)))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="one batch at a time"):
        await ask(store, window(KEY, limit=100, need=1))
    assert (await first).status == Status.OK


async def test_an_idle_plane_stays_alive(store: RedisStore) -> None:
    before = store.state.confirmed_at
    await until(lambda: store.state.confirmed_at > before + 1.5)


async def test_a_server_that_hangs_costs_one_request_a_deadline_and_the_others_nothing(
    server: RedisServer, store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.pause()
    reason, took = await unavailable(store)
    assert (reason, took < SOON) == (Reason.TIMEOUT, True)
    for _ in range(50):
        assert (await unavailable(store))[1] < 0.01
    state = store.state
    assert (state.connected, state.opened) == (False, 1)
    server.resume()
    await until(lambda: store.state.connected)
    assert (await ask(store, window(KEY, limit=100, need=1))).status == Status.OK
    messages = [record.message for record in caplog.records]
    assert [("cannot be used (timeout)" in each, "is in use" in each) for each in messages] == [
        (True, False),
        (False, True),
    ]


async def test_a_server_that_is_gone_is_found_again_and_asks_for_a_declaration(
    server: RedisServer, store: RedisStore
) -> None:
    assert (await ask(store, window(KEY, limit=100, need=60))).granted == 60
    told = asyncio.Event()
    store.on_epoch_changed(told.set)
    await server.kill()
    reason, took = await unavailable(store)
    assert (reason in (Reason.LOST, Reason.REFUSED), took < SOON) == (True, True)
    await until(lambda: store.state.reason is Reason.REFUSED)
    await server.start(with_data=False)
    async with asyncio.timeout(10):
        await told.wait()
    await until(lambda: store.state.connected)
    with pytest.raises(EpochChanged):
        await ask(store, window(KEY, limit=100, need=1))

    day = today()
    shape = (Kind.WINDOW, day, day + DAY_MS, day + 2 * DAY_MS)
    rows = [Declared(KEY, *shape, day, 100, 20, 60, 60, 60)]
    rows += [Declared(secrets.token_bytes(16), *shape, day, 100, 1, 1, 1, 1) for _ in range(1_000)]
    results = await store.declare(rows, store.known_owners)
    assert len(results) == len(rows)
    assert (results[0].granted, results[0].used, results[-1].total) == (60, 20, 1)
    await settled(store)
    assert (await ask(store, window(KEY, limit=100, used=20, firm=60, keep=60, need=41))).status == Status.REFUSED
    assert (await ask(store, window(KEY, limit=100, used=20, firm=60, keep=60, need=40))).status == Status.OK


async def test_a_server_that_restarts_with_an_old_dump_grants_nothing_until_all_declared(
    server: RedisServer, store: RedisStore
) -> None:
    other = await ready(single(server.port))
    try:
        client = server.client()
        await client.save()
        await client.aclose()
        assert (await ask(other, window(KEY, limit=100, need=90))).status == Status.OK
        await server.restart(with_data=True)
        await until(lambda: store.state.must_declare and other.state.must_declare)
        await store.declare([], store.known_owners)
        assert (await ask(store, window(KEY, limit=100, need=11))).status == Status.REBUILDING
        day = today()
        row = Declared(KEY, Kind.WINDOW, day, day + DAY_MS, day + 2 * DAY_MS, day, 100, 0, 90, 90, 90)
        await other.declare([row], other.known_owners)
        assert (await ask(store, window(KEY, limit=100, need=11))).status == Status.REFUSED
        assert (await ask(store, window(KEY, limit=100, need=10))).status == Status.OK
    finally:
        await other.aclose()


async def test_a_server_that_forgot_the_script_is_told_it_again(server: RedisServer, store: RedisStore) -> None:
    client = server.client()
    await client.script_flush()
    await client.aclose()
    assert (await ask(store, window(KEY, limit=100, need=1))).status == Status.OK


async def test_a_caller_that_goes_away_leaves_no_answer_for_the_next(server: RedisServer, store: RedisStore) -> None:
    server.pause()
    task = asyncio.create_task(ask(store, window(KEY, limit=100, need=60)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.resume()
    await until(lambda: store.state.connected)
    assert (await ask(store, gauge(b"g" * 16, limit=5, need=1))).granted == 1


async def test_one_of_all_planes_claims_a_name(server: RedisServer, store: RedisStore) -> None:
    other = await plane(single(server.port))
    try:
        claims = await asyncio.gather(
            store.claim("alert/80", 60), other.claim("alert/80", 60), other.claim("alert/100", 0.05)
        )
        assert sorted(claims[:2]) == [False, True]
        assert claims[2]
        async with asyncio.timeout(5):
            while not await store.claim("alert/100", 60):  # noqa: ASYNC110 -- a claim ends with time only
                await asyncio.sleep(0.02)
    finally:
        await other.aclose()


async def test_a_journal_that_is_an_old_copy_still_works(server: RedisServer, store: RedisStore) -> None:
    position = store.position
    await store.aclose()
    ahead = Position(position.owner, position.sequence + 10**9, position.acknowledged, position.epoch)
    second = await plane(single(server.port), position=ahead)
    await second.aclose()
    third = await plane(single(server.port), position=position)
    try:
        assert (await ask(third, window(KEY, limit=100, need=1))).status == Status.OK
    finally:
        await third.aclose()


async def test_a_plane_that_restarts_with_its_journal_goes_on(server: RedisServer, store: RedisStore) -> None:
    assert (await ask(store, window(KEY, limit=100, need=60))).status == Status.OK
    position = store.position
    await store.aclose()
    restarted = await plane(single(server.port), position=position)
    try:
        assert not restarted.state.must_declare
        result = await ask(restarted, window(KEY, limit=100, used=50, firm=50, keep=50, need=50))
        assert (result.status, result.total, result.used) == (Status.OK, 100, 50)
    finally:
        await restarted.aclose()


async def test_without_a_server_a_plane_starts_and_says_so_once(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    await server.kill()
    store = RedisStore(single(server.port), gateway="test", position=Position(secrets.token_bytes(16)))
    await store.start()
    try:
        assert (await unavailable(store))[0] is Reason.STARTING
        await until(lambda: store.state.reason is Reason.REFUSED)
        await asyncio.sleep(2.5)
        assert len(caplog.records) == 1
        await server.start()
        await until(lambda: store.state.connected)
    finally:
        await store.aclose()
    assert (await unavailable(store))[0] is Reason.CLOSED
