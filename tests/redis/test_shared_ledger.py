"""Several data planes' ledgers on one real store: never over, nothing lost, whatever happens to store and planes."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from redis_parts.redis_server import RedisServer
from samples.demands import calendar, sliding
from tidegate_dataplane.engine.admit import demand_of
from tidegate_dataplane.ledger.demand import MEASURES, Demand, Excess, StoreFailure, Terms, Window, amounts_of
from tidegate_dataplane.ledger.journal import Journal
from tidegate_dataplane.ledger.ledger import Ledger, Reservation
from tidegate_dataplane.ledger.shared import SharedLedger
from tidegate_dataplane.snapshot.entries import Accuracy, CalendarPeriod, FailureMode, MidStream, Unit
from tidegate_dataplane.store.redis_store import RedisStore
from tidegate_dataplane.store.settings import Mode, StoreSettings

YEAR = calendar(CalendarPeriod.YEAR)
SHARED = (Accuracy.EXACT, Accuracy.LEASED)
both = pytest.mark.parametrize("accuracy", SHARED)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """One for all: a store that is new waits some seconds for data planes that nobody knows of yet."""
    server = RedisServer(durable=False)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@pytest.fixture
async def mortal() -> AsyncIterator[RedisServer]:
    async with RedisServer() as server:
        yield server


async def attempts(seconds: float = 5.0) -> AsyncIterator[None]:
    """Some a second; raises TimeoutError when they have not sufficed."""
    async with asyncio.timeout(seconds):
        while True:
            yield
            await asyncio.sleep(0.03)


@asynccontextmanager
async def planes(redis: RedisServer, count: int = 1, path: Path | None = None) -> AsyncIterator[list[Ledger]]:
    """Ledgers of so many data planes, ready to be granted something."""
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(plane(redis, path)) for _ in range(count)]
        for ledger in found:
            await granted(ledger)
        yield found


@asynccontextmanager
async def plane(redis: RedisServer, path: Path | None = None) -> AsyncIterator[Ledger]:
    settings = StoreSettings(mode=Mode.SINGLE, addresses=(("127.0.0.1", redis.port),))
    journal = Journal(path)
    ledger = Ledger(SharedLedger(RedisStore(settings, gateway="default", position=journal.position), journal))
    assert ledger.shared is not None
    await ledger.shared.start()
    try:
        yield ledger
    finally:
        await ledger.shared.aclose()


async def granted(ledger: Ledger) -> None:
    """Wait until the store grants: it connects, and a store that was lost waits for all data planes."""
    probe = limit(Accuracy.EXACT, 10**9)
    async for _ in attempts(20):
        found = await ask(ledger, probe, 1)
        if isinstance(found, Reservation):
            ledger.release(found)
            return


def limit(
    accuracy: Accuracy,
    amount: int,
    *,
    unit: Unit = Unit.TOKENS,
    window: Window | None = YEAR,
    failure: FailureMode = FailureMode.CLOSED,
    **more: Any,
) -> Demand:
    terms = Terms("Quota", "team-a/q", 1, unit, unit, MEASURES[unit], f"limit-{next(_ids)}/")
    terms = replace(terms, window=window, accuracy=accuracy, failure=failure, **more)
    return demand_of(terms, amount, "whose", obeyed=True)


_ids = iter(range(10**9))


async def ask(ledger: Ledger, demand: Demand, tokens: int) -> Reservation | Excess | StoreFailure:
    return await ledger.acquire(f"call-{next(_ids)}", (demand,), amounts_of(tokens), time.time())


async def held(ledger: Ledger, demand: Demand, tokens: int) -> Reservation:
    found = await ask(ledger, demand, tokens)
    assert isinstance(found, Reservation)
    return found


async def excess(ledger: Ledger, demand: Demand, tokens: int) -> Excess:
    found = await ask(ledger, demand, tokens)
    assert isinstance(found, Excess)
    return found


def settle(ledger: Ledger, reservation: Reservation, tokens: int) -> None:
    ledger.settle(reservation, amounts_of(tokens), time.time())


async def soon_held(ledger: Ledger, demand: Demand, tokens: int) -> Reservation:
    """What others give back comes by their next report."""
    async for _ in attempts():
        found = await ask(ledger, demand, tokens)
        if isinstance(found, Reservation):
            return found
    raise AssertionError


@both
async def test_planes_together_never_go_over_and_can_use_all(redis: RedisServer, accuracy: Accuracy) -> None:
    demand, rng = limit(accuracy, 50_000), random.Random(7)
    outstanding = delivered = most = 0

    async def caller(ledger: Ledger) -> None:
        nonlocal outstanding, delivered, most
        refused = 0
        while refused < 10:
            asked = rng.randint(20, 200)
            found = await ask(ledger, demand, asked)
            if not isinstance(found, Reservation):
                assert isinstance(found, Excess)
                refused += 1
                await asyncio.sleep(0.02)
                continue
            refused = 0
            outstanding += asked
            most = max(most, outstanding + delivered)
            await asyncio.sleep(rng.random() * 0.004)
            used = rng.choice((asked, asked // 2, 0))
            outstanding -= asked
            delivered += used
            settle(ledger, found, used) if used else ledger.release(found)

    async with planes(redis, 4) as ledgers:
        await asyncio.gather(*(caller(ledger) for ledger in ledgers for _ in range(8)))
        assert most <= 50_000
        assert delivered >= 0.99 * 50_000
        for ledger in ledgers:
            assert ledger.outstanding == 0


@both
async def test_what_all_used_is_known_to_all(redis: RedisServer, accuracy: Accuracy) -> None:
    demand = limit(accuracy, 100_000)
    async with planes(redis, 3) as ledgers:
        for number, ledger in enumerate(ledgers, 1):
            settle(ledger, await held(ledger, demand, 5_000), number * 1_000)
        # A plane knows of the others what the store said when it asked last.
        async with asyncio.timeout(10):
            while [each.used for ledger in ledgers for each in ledger.reports() if each.scope == "whose"].count(
                6_000
            ) < 3:
                for ledger in ledgers:
                    ledger.release(await held(ledger, demand, 30_000))
                await asyncio.sleep(0.05)


@both
async def test_an_idle_planes_slice_is_there_for_others(redis: RedisServer, accuracy: Accuracy) -> None:
    demand = limit(accuracy, 1_000)
    async with planes(redis, 2) as (first, second):
        settle(first, await held(first, demand, 10), 10)
        found = await soon_held(second, demand, 990)
        assert (await excess(first, demand, 1)).used == 1_000
        second.release(found)


@both
async def test_a_killed_plane_keeps_what_it_delivered_and_frees_what_it_held(
    redis: RedisServer, accuracy: Accuracy, tmp_path: Path
) -> None:
    demand = limit(accuracy, 1_000)
    async with planes(redis, 1) as (other,):
        settings = StoreSettings(mode=Mode.SINGLE, addresses=(("127.0.0.1", redis.port),))
        journal = Journal(tmp_path / "journal")
        shared = SharedLedger(RedisStore(settings, gateway="default", position=journal.position), journal)
        await shared.start()
        killed = Ledger(shared)
        await granted(killed)
        stream = await held(killed, demand, 600)
        killed.deliver(stream, amounts_of(100, 50))
        shutil.copy(tmp_path / "journal", tmp_path / "left")  # the moment of kill -9
        await shared._exchanges._store.aclose()  # nothing more comes of it
        async with plane(redis, tmp_path / "left") as restarted:
            await granted(restarted)
            found = await soon_held(other, demand, 850)
            assert isinstance(await ask(other, demand, 1), Excess), "the 150 that were delivered stay used"
            other.release(found)


@both
async def test_a_store_that_comes_back_empty_is_told_everything(mortal: RedisServer, accuracy: Accuracy) -> None:
    demand = limit(accuracy, 1_000)
    async with planes(mortal, 3) as ledgers:
        for ledger in ledgers:
            settle(ledger, await held(ledger, demand, 300), 300)
        stream = await held(ledgers[0], demand, 50)
        await mortal.kill()
        await mortal.start(with_data=False)
        for ledger in ledgers:
            await granted(ledger)
        for ledger in ledgers:
            assert (await excess(ledger, demand, 60)).used >= 950
        settle(ledgers[0], stream, 10)
        await soon_held(ledgers[2], demand, 90)
        assert isinstance(await ask(ledgers[1], demand, 1), Excess)


async def test_closed_refuses_open_lets_pass_and_local_shares_out(mortal: RedisServer) -> None:
    closed, opened, local = (
        limit(Accuracy.EXACT, 1_000, key=mode, failure=mode)
        for mode in (FailureMode.CLOSED, FailureMode.OPEN, FailureMode.LOCAL)
    )
    async with planes(mortal, 4) as ledgers:
        first = ledgers[0]
        for demand in (closed, opened, local):
            settle(first, await held(first, demand, 100), 100)
        await mortal.kill()
        assert isinstance(await ask(first, closed, 1), StoreFailure)
        passed = await held(first, opened, 5_000)
        assert passed.degraded
        settle(first, passed, 5_000)
        part = await held(first, local, 150)  # 1,000 among 4 planes: 250 each, and this one has used 100
        assert part.degraded
        over = await excess(first, local, 1)
        assert (over.used, over.limit) == (250, 250)
        settle(first, part, 150)
        await mortal.start()
        for ledger in ledgers:
            await granted(ledger)
        # Reconciled, not forgotten: what went beyond is known to all.
        async for _ in attempts():
            if (await excess(ledgers[1], opened, 1)).used == 5_100:
                break
        found = await held(ledgers[1], local, 750)
        assert isinstance(await ask(ledgers[2], local, 1), Excess)
        ledgers[1].release(found)


async def test_leased_goes_on_with_its_slice_while_the_store_is_away(mortal: RedisServer) -> None:
    demand = limit(Accuracy.LEASED, 1_000_000)
    async with planes(mortal, 1) as (ledger,):
        settle(ledger, await held(ledger, demand, 10), 10)
        await mortal.kill()
        found = ledger.reserve("within", (demand,), amounts_of(10), time.time())
        assert isinstance(found, Reservation)
        assert not found.degraded
        assert isinstance(await ask(ledger, demand, 500_000), StoreFailure), "more than it has leased"


@both
async def test_slots_are_of_all_planes_and_come_back(redis: RedisServer, accuracy: Accuracy) -> None:
    demand = limit(accuracy, 3, unit=Unit.CONCURRENT, window=None)
    async with planes(redis, 2) as (first, second):
        running = [await held(first, demand, 0), await held(second, demand, 0), await held(second, demand, 0)]
        assert isinstance(await ask(first, demand, 0), Excess)
        settle(second, running.pop(), 50)
        await soon_held(first, demand, 0)


@both
async def test_a_rate_is_that_of_all_planes(redis: RedisServer, accuracy: Accuracy) -> None:
    demand = limit(accuracy, 40, unit=Unit.REQUESTS, window=None, rate=40.0)
    passed: list[float] = []
    async with planes(redis, 2) as ledgers:
        until = time.monotonic() + 2.0
        while (now := time.monotonic()) < until:
            for ledger in ledgers:
                if isinstance(await ask(ledger, demand, 0), Reservation):
                    passed.append(now)
            await asyncio.sleep(0.002)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            # The clock is read a moment before the store's.
            assert last - first + 1 <= 40 + 40 * (passed[last] - begin + 0.05) + 1
    assert len(passed) >= 0.9 * 120


@both
async def test_a_window_begins_anew_for_all(redis: RedisServer, accuracy: Accuracy) -> None:
    demand = limit(accuracy, 100, window=calendar(CalendarPeriod.SECOND))
    by_second: dict[int, int] = {}
    async with planes(redis, 3) as ledgers:
        until = time.monotonic() + 3.5
        while time.monotonic() < until:
            before = time.time()
            ledger = ledgers[next(_ids) % 3]
            found = await ask(ledger, demand, 10)
            if isinstance(found, Reservation):
                settle(ledger, found, 10)
                if int(before) == int(time.time()):
                    by_second[int(before)] = by_second.get(int(before), 0) + 10
            await asyncio.sleep(0.003)
    assert max(by_second.values()) <= 100
    assert sorted(by_second.values())[-2] >= 90


@both
async def test_a_stretch_never_holds_more_than_the_amount(redis: RedisServer, accuracy: Accuracy) -> None:
    demand = limit(accuracy, 100, window=sliding(0.6))
    passed: list[float] = []
    async with planes(redis, 3) as ledgers:
        until = time.monotonic() + 3.0
        number = 0
        while time.monotonic() < until:
            number += 1
            ledger, before = ledgers[number % 3], time.monotonic()
            found = await ask(ledger, demand, 10)
            if isinstance(found, Reservation):
                passed.append(before)
                settle(ledger, found, 10)
            await asyncio.sleep(0.002)
    for begin in passed:
        assert 10 * sum(begin <= moment < begin + 0.59 for moment in passed) <= 100
    assert 10 * len(passed) >= 300


@both
async def test_whoever_goes_away_while_waiting_leaves_nothing_behind(redis: RedisServer, accuracy: Accuracy) -> None:
    demand = limit(accuracy, 1_000)
    async with planes(redis, 2) as (first, second):
        for delay in range(40):
            task = asyncio.create_task(ask(first, demand, 900))
            for _ in range(delay % 6):
                await asyncio.sleep(0)
            task.cancel()
            done = (await asyncio.gather(task, return_exceptions=True))[0]
            if isinstance(done, Reservation):
                first.release(done)
        assert first.outstanding == 0
        second.release(await soon_held(second, demand, 1_000))


@both
async def test_a_stream_that_outruns_its_reservation_gets_more_or_hears_no(
    redis: RedisServer, accuracy: Accuracy
) -> None:
    demand = limit(accuracy, 1_000, mid_stream=MidStream.END)
    async with planes(redis, 1) as (ledger,):
        stream = await held(ledger, demand, 100)
        ledger.deliver(stream, amounts_of(20, 80))
        ledger.deliver(stream, amounts_of(20, 90))
        assert await ledger.extend(stream, amounts_of(20, 480), time.time()) is None
        ledger.deliver(stream, amounts_of(20, 480))
        refused = await ledger.extend(stream, amounts_of(20, 2_000), time.time())
        assert isinstance(refused, Excess)
        settle(ledger, stream, 510)
        rest = await held(ledger, demand, 490)
        assert isinstance(await ask(ledger, demand, 1), Excess)
        ledger.release(rest)


@both
async def test_a_stream_that_may_finish_counts_all_that_it_delivered(redis: RedisServer, accuracy: Accuracy) -> None:
    demand = limit(accuracy, 1_000)
    async with planes(redis, 2) as (ledger, other):
        stream = await held(ledger, demand, 900)
        assert await ledger.extend(stream, amounts_of(20, 1_480), time.time()) is None
        ledger.deliver(stream, amounts_of(20, 1_480))
        settle(ledger, stream, 1_500)
        async for _ in attempts():
            if (await excess(other, demand, 1)).used == 1_500:
                break


async def test_without_a_store_a_shared_limit_says_so() -> None:
    ledger = Ledger()
    found = await ask(ledger, limit(Accuracy.LEASED, 10), 1)
    assert isinstance(found, StoreFailure)
    assert "--store" in found.reason
    assert isinstance(await ask(ledger, limit(Accuracy.LEASED, 10, failure=FailureMode.OPEN), 1), Reservation)
