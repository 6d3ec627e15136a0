"""Several data planes' ledgers burst over the edges of windows, on a real store that is not next door: a call
is let in at some moment between its question and its answer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from redis_parts.redis_server import RedisServer
from samples.demands import calendar, sliding
from tidegate_dataplane.engine.admit import demand_of
from tidegate_dataplane.ledger.demand import MEASURES, Demand, Excess, Terms, Window, amounts_of
from tidegate_dataplane.ledger.journal import Journal
from tidegate_dataplane.ledger.ledger import Ledger, Reservation
from tidegate_dataplane.ledger.shared import SharedLedger
from tidegate_dataplane.snapshot.entries import Accuracy, CalendarPeriod, MidStream, Unit
from tidegate_dataplane.store.protocol import Answer, Line
from tidegate_dataplane.store.redis_store import RedisStore
from tidegate_dataplane.store.settings import Mode, StoreSettings

PLANES = 4
PATIENCE = 20.0
both = pytest.mark.parametrize("accuracy", [Accuracy.EXACT, Accuracy.LEASED])
_ids = iter(range(10**9))


class FarStore(RedisStore):
    """As over a network: answers are so many seconds on their way."""

    way = 0.02

    async def exchange(self, decisions: Sequence[Sequence[Line]]) -> Answer:
        answer = await super().exchange(decisions)
        await asyncio.sleep(self.way)
        return answer


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer(durable=False)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.close())


@asynccontextmanager
async def planes(redis: RedisServer) -> AsyncIterator[list[Ledger]]:
    settings = StoreSettings(mode=Mode.SINGLE, addresses=(("127.0.0.1", redis.port),), deadline=PATIENCE)
    async with AsyncExitStack() as stack:
        ledgers = []
        for _ in range(PLANES):
            journal = Journal()
            shared = SharedLedger(FarStore(settings, gateway="default", position=journal.position), journal)
            await shared.start()
            stack.push_async_callback(shared.aclose)
            ledgers.append(Ledger(shared))
        probe = limit(Accuracy.EXACT, 10**9, calendar(CalendarPeriod.YEAR))
        for ledger in ledgers:
            async with asyncio.timeout(PATIENCE):
                while not isinstance(await ask(ledger, probe), Reservation):  # noqa: ASYNC110 - in another process
                    await asyncio.sleep(0.02)
        yield ledgers


def limit(
    accuracy: Accuracy, amount: int, window: Window | None, rate: float = 0.0, unit: Unit = Unit.REQUESTS
) -> Demand:
    terms = Terms("Quota", "team-a/q", 1, unit, unit, MEASURES[unit], f"limit-{next(_ids)}/", rate=rate)
    return demand_of(
        replace(terms, window=window, accuracy=accuracy, mid_stream=MidStream.END), amount, "whose", obeyed=True
    )


async def ask(ledger: Ledger, demand: Demand, tokens: int = 0) -> object:
    return await ledger.acquire(f"call-{next(_ids)}", (demand,), amounts_of(tokens), time.time())


class Admitted(NamedTuple):
    """A call that was let in between two moments, and the slot that it is charged to if the store was asked, else -1.
    On a busy machine there may be much time between what is decided and what is written down."""

    asked: float
    told: float
    slot: int


async def burst(ledgers: list[Ledger], demand: Demand, seconds: float, callers: int = 16) -> list[Admitted]:
    """Callers that come again as soon as they are answered; whom was let in, in the order of their questions."""
    ends = time.monotonic() + seconds
    admitted: list[Admitted] = []

    async def one(ledger: Ledger) -> None:
        while time.monotonic() < ends:
            asked = time.time()
            found: object = ledger.reserve(f"call-{next(_ids)}", (demand,), amounts_of(), asked)
            here = found is not None
            if found is None:
                found = await ask(ledger, demand)
            if isinstance(found, Reservation):
                admitted.append(Admitted(asked, time.time(), -1 if here else found.holdings[0].slot))
            else:
                assert isinstance(found, Excess), found
            await asyncio.sleep(0.0005)

    await asyncio.gather(*(one(ledger) for ledger in ledgers for _ in range(callers)))
    return sorted(admitted)


def by_second(admitted: list[Admitted]) -> tuple[Counter[int], Counter[int]]:
    """How many were let in in each second, at least and at most."""
    least: Counter[int] = Counter()
    most: Counter[int] = Counter()
    for asked, told, slot in admitted:
        # What the store decided was decided before its answer was on its way.
        seconds = {int(asked), int(told)} if slot < 0 else {slot // 1000}
        most.update(seconds)
        if len(seconds) == 1:
            least.update(seconds)
    return least, most


def within(admitted: list[Admitted], first: int, seconds: float) -> int:
    """How many were let in for certain in so many seconds from the question of one of them on."""
    begins = admitted[first].asked
    return sum(each.told < begins + seconds for each in admitted[first:])


@both
async def test_seconds_are_kept_over_their_edges(redis: RedisServer, accuracy: Accuracy) -> None:
    async with planes(redis) as ledgers:
        demand = limit(accuracy, 600, calendar(CalendarPeriod.SECOND))
        least, most = by_second(await burst(ledgers, demand, 3.5))
        assert max(least.values()) <= 600 <= max(most.values())


async def test_what_was_leased_for_a_window_is_not_spent_in_the_next(redis: RedisServer) -> None:
    """A quiet second, in which some is leased and not used; then a burst in the first moments of the next."""
    async with planes(redis) as ledgers:
        demand = limit(Accuracy.LEASED, 300, calendar(CalendarPeriod.SECOND))
        for _ in range(3):
            await asyncio.sleep(1.7 - time.time() % 1)
            quiet = await burst(ledgers, demand, 0.25, callers=1)
            await asyncio.sleep(max(0.0, 0.98 - time.time() % 1))
            loud = await burst(ledgers, demand, 0.6)
            least, most = by_second(quiet + loud)
            assert max(least.values()) <= 300 <= max(most.values())


async def next_second() -> None:
    """Well into it: the store's clock is known to a network's way."""
    await asyncio.sleep(1.05 - time.time() % 1)


@pytest.mark.parametrize("accuracy", Accuracy)
async def test_a_stream_that_goes_on_takes_from_the_window_in_which_it_goes_on(
    redis: RedisServer, accuracy: Accuracy
) -> None:
    async with planes(redis) as ledgers:
        demand = limit(accuracy, 100, calendar(CalendarPeriod.SECOND), unit=Unit.TOKENS)
        one, other = (ledgers[0], ledgers[0]) if accuracy is Accuracy.LOCAL else ledgers[:2]
        await next_second()
        held = await ask(one, demand, 30)
        assert isinstance(held, Reservation)
        one.deliver(held, amounts_of(30))
        await next_second()
        assert await one.extend(held, amounts_of(90), time.time()) is None
        assert isinstance(await ask(other, demand, 41), Excess)
        assert isinstance(await ask(other, demand, 40), Reservation)
        assert isinstance(await one.extend(held, amounts_of(91), time.time()), Excess)
        one.deliver(held, amounts_of(90))
        assert one.settle(held, amounts_of(90), time.time()) == 0
        assert isinstance(await ask(one, demand, 1), Excess)


@both
async def test_a_sliding_window_is_kept_wherever_it_begins(redis: RedisServer, accuracy: Accuracy) -> None:
    async with planes(redis) as ledgers:
        demand = limit(accuracy, 500, sliding(1.2))
        admitted = await burst(ledgers, demand, 3.0)
        assert max(within(admitted, first, 1.2) for first in range(len(admitted))) <= 500
        assert len(admitted) >= 900


@both
async def test_a_rate_is_kept_in_every_stretch(redis: RedisServer, accuracy: Accuracy) -> None:
    async with planes(redis) as ledgers:
        demand = limit(accuracy, 200, None, rate=400.0)
        admitted = await burst(ledgers, demand, 2.0)
        assert len(admitted) >= 600
        for place, first in enumerate(admitted):
            last = sorted(each.told for each in admitted[place:])
            assert all(count <= 200 + 400 * (told - first.asked) for count, told in enumerate(last, start=1))
