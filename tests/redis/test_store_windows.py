"""Windows in the shared store hold what they promise, however many data planes burst over their edges.

A real Redis on its own, running clock. Each data plane keeps its books as the protocol demands; the truth is the list
of all that was admitted, and when: beside it the store's own figures do not count.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

import pytest
import pytest_asyncio

from redis_parts.redis_server import RedisServer
from tidegate_dataplane.ledger.calendar import bounds, following
from tidegate_dataplane.ledger.cells import SLOTS, nanoseconds_per_token
from tidegate_dataplane.snapshot.entries import CalendarPeriod
from tidegate_dataplane.store.protocol import Answer, Kind, Line, Position, Result, Status
from tidegate_dataplane.store.redis_store import RedisStore
from tidegate_dataplane.store.settings import Mode, StoreSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

# How far the clock of each data plane is ahead of the server's, in ms.
SKEWS = (0, -40, 25, -3)
OWNERS = len(SKEWS)
# The machine is shared: these tests are about counting, not about deadlines.
PATIENCE = 20.0


@dataclass(eq=False)
class Call:
    """Something that was admitted, by whom, when by the server's clock (ms), charged to which slot."""

    owner: int
    at: int
    slot: int
    amount: int


@dataclass
class Counter:
    """`shape` gives a, b and c of a line at a time of the server, in ms."""

    kind: Kind
    shape: Callable[[int], tuple[int, int, int]]
    limit: int


@dataclass
class Owner:
    """A data plane with accuracy Exact. `books` are (used, held) of each slot."""

    store: RedisStore
    number: int
    counter: Counter
    key: bytes
    books: dict[int, list[int]] = field(default_factory=dict)
    under_way: list[Call] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    slot: int = 0
    refused: list[tuple[int, Result]] = field(default_factory=list)

    def line(self, now: int, slot: int, need: int) -> Line:
        used, held = self.books.get(slot, (0, 0))
        firm = used + held
        kind, limit = self.counter.kind, self.counter.limit
        return Line(self.key, kind, *self.counter.shape(now), slot, limit, used, firm, firm, need, need)

    async def ask(self, needs: list[int]) -> None:
        """One round trip with a decision for each of `needs`; another when this plane's clock is ahead of the
        server's, and sees a window that has not begun."""
        answer = await self.exchange(needs, server_clock() + SKEWS[self.number])
        if answer.results[0][0].status == Status.BOUNDS_UNKNOWN:
            answer = await self.exchange(needs, answer.server_ms)
        self.take(needs, answer)

    async def exchange(self, needs: list[int], now: int) -> Answer:
        return await self.store.exchange([[self.line(now, self.slot, need)] for need in needs])

    def take(self, needs: list[int], answer: Answer) -> None:
        for need, (result,) in zip(needs, answer.results, strict=True):
            if result.status == Status.OK:
                self.slot = result.slot
                self.books.setdefault(result.slot, [0, 0])[1] += need
                call = Call(self.number, answer.server_ms, result.slot, need)
                self.under_way.append(call)
                self.calls.append(call)
            else:
                assert result.status == Status.REFUSED
                assert result.retry_ms > 0
                self.refused.append((answer.server_ms, result))

    def settle(self, chance: random.Random) -> set[int]:
        """Some calls end, having used a part of what they hold; returns the slots of which there is news."""
        ended = [call for call in self.under_way if chance.random() < 0.5]
        for call in ended:
            used = chance.randint(0, call.amount)
            book = self.books[call.slot]
            book[0] += used
            book[1] -= call.amount
            call.amount = used
            self.under_way.remove(call)
        return {call.slot for call in ended}

    async def tell(self, slots: set[int]) -> Answer:
        """Report figures, and need nothing."""
        return await self.store.exchange([[self.line(server_clock() + SKEWS[self.number], slot, 0)] for slot in slots])


def server_clock() -> int:
    """The server runs on this machine."""
    return time.time_ns() // 1_000_000


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stores() -> AsyncIterator[list[RedisStore]]:
    """Data planes that are connected and are granted what fits, on a Redis of their own."""
    async with RedisServer(durable=False) as server:
        settings = StoreSettings(mode=Mode.SINGLE, addresses=(("127.0.0.1", server.port),), deadline=PATIENCE)
        made = [RedisStore(settings, gateway="test", position=Position(secrets.token_bytes(16))) for _ in range(OWNERS)]
        probe = Line(b"probe".ljust(16), Kind.GAUGE, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1)

        async def grants() -> bool:
            return (await made[0].exchange([[probe]])).results[0][0].status == Status.OK

        try:
            for store in made:
                await store.start()

                async def connected(store: RedisStore = store) -> bool:
                    return store.state.connected

                await until(connected)
                await store.declare([], ())
            await until(grants)
            yield made
        finally:
            for store in made:
                await store.aclose()


Fleet = Callable[["Counter"], list["Owner"]]


@pytest.fixture
def fleet(stores: list[RedisStore]) -> Fleet:
    """Makes data planes that share a new counter."""
    key = secrets.token_bytes(16)
    return lambda counter: [Owner(store, number, counter, key) for number, store in enumerate(stores)]


async def until_clock(milliseconds: int) -> None:
    await asyncio.sleep(max(0.0, (milliseconds - server_clock()) / 1000))


def calendar_shape(period: CalendarPeriod, zone: str, shift: int = 0) -> Callable[[int], tuple[int, int, int]]:
    """As a data plane gives them; `shift` ms make the calendar's moment come now."""

    def shape(now: int) -> tuple[int, int, int]:
        present = bounds(period, zone, (now - shift) / 1000)
        after = following(period, zone, present)
        return int(present.start * 1000) + shift, int(present.end * 1000) + shift, int(after.end * 1000) + shift

    return shape


def sliding_shape(milliseconds: int) -> Callable[[int], tuple[int, int, int]]:
    return lambda now: (milliseconds // SLOTS, SLOTS, 0)


def all_calls(planes: list[Owner]) -> list[Call]:
    return sorted((call for plane in planes for call in plane.calls), key=lambda call: call.at)


async def burst(planes: list[Owner], calls: int, each: int = 50) -> None:
    """All planes at once, as fast as they can."""

    async def one(plane: Owner) -> None:
        for _ in range(calls // OWNERS // each):
            await plane.ask([1] * each)

    await asyncio.gather(*(one(plane) for plane in planes))


async def test_a_burst_over_the_edge_of_a_second_gets_one_amount_on_each_side(fleet: Fleet) -> None:
    """10,000 requests, measured by the server's time."""
    counter = Counter(Kind.WINDOW, calendar_shape(CalendarPeriod.SECOND, "UTC"), 700)
    planes = fleet(counter)
    edge = (server_clock() // 1000 + 1) * 1000
    await until_clock(edge - 60)
    await burst(planes, 2_000)
    await until_clock(edge)
    await burst(planes, 8_000)
    calls = all_calls(planes)
    sides = {slot: [call for call in calls if call.slot == slot] for slot in {call.slot for call in calls}}
    for slot, side in sides.items():
        assert all(slot <= call.at < slot + 1000 for call in side)
        assert sum(call.amount for call in side) <= 700
    refused_in = {at // 1000 * 1000 for plane in planes for at, _ in plane.refused}
    assert refused_in
    for slot in refused_in:  # whoever is refused is refused because all is given
        assert sum(call.amount for call in sides[slot]) == 700
    for plane in planes:
        for at, result in plane.refused:
            assert at + result.retry_ms == at // 1000 * 1000 + 1000


EDGES = [
    pytest.param(CalendarPeriod.DAY, "Europe/Berlin", "2026-03-28T23:00Z", id="day of 23 hours begins"),
    pytest.param(CalendarPeriod.DAY, "Europe/Berlin", "2026-10-25T23:00Z", id="day of 25 hours ends"),
    pytest.param(CalendarPeriod.HOUR, "Australia/Lord_Howe", "2026-04-04T15:00Z", id="half an hour twice"),
    pytest.param(CalendarPeriod.DAY, "Pacific/Apia", "2011-12-30T10:00Z", id="a day that never was"),
    pytest.param(CalendarPeriod.MONTH, "UTC", "2028-03-01T00:00Z", id="leap February ends"),
    pytest.param(CalendarPeriod.YEAR, "Asia/Kolkata", "2026-12-31T18:30Z", id="new year"),
]


@pytest.mark.parametrize(("period", "zone", "edge"), EDGES)
async def test_a_burst_over_the_edge_of_an_odd_window(
    fleet: Fleet, period: CalendarPeriod, zone: str, edge: str
) -> None:
    moment = int(datetime.fromisoformat(edge).timestamp() * 1000)
    assert bounds(period, zone, moment / 1000).start * 1000 == moment
    counter = Counter(Kind.WINDOW, lambda now: (0, 0, 0), 300)
    planes = fleet(counter)
    turn = server_clock() + 150
    counter.shape = calendar_shape(period, zone, shift=turn - moment)
    while server_clock() < turn + 20:
        await burst(planes, 800)
    calls = all_calls(planes)
    before = sum(call.amount for call in calls if call.at < turn)
    after = sum(call.amount for call in calls if call.at >= turn)
    assert (before, after) == (300, 300)


@pytest.mark.parametrize("milliseconds", [600, 1_200])
async def test_no_stretch_of_a_sliding_window_holds_more(fleet: Fleet, milliseconds: int) -> None:
    """Wherever it begins, with calls that give back what they did not use."""
    chance = random.Random(milliseconds)
    counter = Counter(Kind.SLIDING, sliding_shape(milliseconds), 200)
    planes = fleet(counter)
    ends = server_clock() + 3 * milliseconds

    async def one(plane: Owner) -> None:
        while server_clock() < ends:
            await plane.ask([chance.randint(1, 9) for _ in range(20)])
            news = plane.settle(chance)
            if news:
                await plane.tell(news)
            await asyncio.sleep(chance.random() * 0.02)

    await asyncio.gather(*(one(plane) for plane in planes))
    calls = all_calls(planes)
    assert most_in_a_stretch(calls, milliseconds) <= 200
    assert any(plane.refused for plane in planes)
    # What is given back is there for others: the window is as good as full once, and not only at first.
    assert sum(call.amount for call in calls) > 2.5 * 200


def most_in_a_stretch(calls: list[Call], milliseconds: int) -> int:
    most = 0
    for place, first in enumerate(calls):
        stretch = [call.amount for call in calls[place:] if call.at < first.at + milliseconds]
        most = max(most, sum(stretch))
    return most


async def test_a_burst_gets_one_amount_of_a_sliding_window_until_it_has_gone_by(fleet: Fleet) -> None:
    """10,000 requests in 600 ms windows: the second amount comes a window after the first, and not before."""
    counter = Counter(Kind.SLIDING, sliding_shape(600), 500)
    planes = fleet(counter)
    began = server_clock()
    while server_clock() < began + 1_500 or sum(len(plane.calls) + len(plane.refused) for plane in planes) < 10_000:
        await burst(planes, 1_000)
    calls = all_calls(planes)
    assert most_in_a_stretch(calls, 600) == 500
    firsts = [calls[place].at for place in range(0, len(calls), 500)]
    assert len(firsts) >= 3
    for plane in planes:
        for at, result in plane.refused:
            again = min((call.at for call in calls if call.at > at), default=0)
            # As said, or later where others were quicker.
            assert again == 0 or again >= at + result.retry_ms - 1


@pytest.mark.parametrize(("leased_ms", "fail"), [(0, False), (0, True), (100, False)])
async def test_a_bucket_gives_no_more_than_burst_and_rate_in_any_stretch(
    fleet: Fleet, leased_ms: int, fail: bool
) -> None:
    """Then too, when tokens drawn ahead are spent at the very end of their life, together with those that have flowed
    back meanwhile; and when calls fail, late or soon, and give theirs back."""
    rate, most, chance = 50.0, 20, random.Random(leased_ms)
    shape = (nanoseconds_per_token(rate), most, leased_ms * 1000)
    planes = fleet(Counter(Kind.BUCKET, lambda now: shape, most))
    spent: list[int] = []
    ends = server_clock() + 2_500

    async def one(plane: Owner) -> None:
        failing: list[tuple[int, int]] = []  # when it fails, the TAT of its token
        spends_late = leased_ms > 0 and plane.number < 2
        want = 4 if spends_late else 1
        while server_clock() < ends:
            # The bucket fills; some draw ahead; others come when those spend what they have drawn.
            begin = 550 if leased_ms and not spends_late else 450
            end = 500 if spends_late else 700
            if not begin <= server_clock() % 700 < end:
                await asyncio.sleep(0.002)
                continue
            failed = [tat for at, tat in failing if at <= server_clock()]
            failing = [each for each in failing if each[1] not in failed]
            takes = [[Line(plane.key, Kind.BUCKET, *shape, 0, most, 0, 0, 0, 1, want)] for _ in range(5)]
            gives = [[Line(plane.key, Kind.BUCKET, *shape, tat, most, 0, 0, 1, 0, 0)] for tat in failed]
            answer = await plane.store.exchange(takes + gives)
            for (result,) in answer.results[:5]:
                if result.status != Status.OK:
                    continue
                assert result.granted <= want
                if fail and answer.server_ms % 700 >= 600:
                    failing.append((answer.server_ms + chance.randint(0, 500), result.slot))
                    continue
                spent.extend([answer.server_ms + (leased_ms if spends_late else 0)] * result.granted)

    await asyncio.gather(*(one(plane) for plane in planes))
    spent.sort()
    for place, first in enumerate(spent):
        for count, at in enumerate(spent[place:], start=1):
            assert count <= most + rate * (at - first + 1) / 1000
    assert len(spent) >= 2 * most


async def test_what_is_settled_is_what_the_store_holds(fleet: Fleet) -> None:
    """Conservation: a month's counter, drawn and settled at random by all planes."""
    chance = random.Random(7)
    counter = Counter(Kind.WINDOW, calendar_shape(CalendarPeriod.YEAR, "UTC"), 2_000)
    planes = fleet(counter)

    async def one(plane: Owner) -> None:
        for _ in range(30):
            await plane.ask([chance.randint(1, 30) for _ in range(8)])
            await plane.tell(plane.settle(chance) or {plane.slot})

    await asyncio.gather(*(one(plane) for plane in planes))
    assert sum(call.amount for call in all_calls(planes)) <= 2_000
    for plane in planes:
        while plane.under_way:
            plane.settle(chance)
    for plane in planes:
        answer = await plane.tell({plane.slot})
    result = answer.results[0][0]
    charged = sum(call.amount for call in all_calls(planes))
    assert (result.used, result.total) == (charged, charged)


async def test_slots_in_use_are_never_more_than_there_are(fleet: Fleet) -> None:
    chance = random.Random(3)
    counter = Counter(Kind.GAUGE, lambda now: (0, 0, 0), 10)
    planes = fleet(counter)
    most = 0

    async def one(plane: Owner) -> None:
        nonlocal most
        for _ in range(60):
            await plane.ask([1] * 4)
            most = max(most, sum(len(each.under_way) for each in planes))
            for call in [call for call in plane.under_way if chance.random() < 0.5]:
                plane.under_way.remove(call)
                plane.books[0][1] -= 1

    await asyncio.gather(*(one(plane) for plane in planes))
    assert 8 <= most <= 10
