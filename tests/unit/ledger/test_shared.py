"""What one data plane makes of the store's answers: nothing is spent twice, nothing is lost, nothing is forgotten."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace

from dataplane.waiting import until
from samples.demands import calendar, sliding
from store_parts.told import ToldStore, granting, rebuilding, refusing
from tidegate_dataplane.engine.admit import demand_of
from tidegate_dataplane.ledger.demand import MEASURES, Demand, Excess, StoreFailure, Terms, Window, amounts_of
from tidegate_dataplane.ledger.journal import GRANTED, HELD, SEEN, USED, Journal
from tidegate_dataplane.ledger.ledger import Ledger, Reservation
from tidegate_dataplane.ledger.shared import SharedLedger
from tidegate_dataplane.snapshot.entries import Accuracy, CalendarPeriod, FailureMode, MidStream, Unit
from tidegate_dataplane.store.protocol import Kind, Line, Result

YEAR = calendar(CalendarPeriod.YEAR)


def limit(
    amount: int,
    *,
    name: str = "limit",
    unit: Unit = Unit.TOKENS,
    window: Window | None = YEAR,
    accuracy: Accuracy = Accuracy.EXACT,
    **more: Any,
) -> Demand:
    terms = Terms("Quota", "team-a/q", 1, unit, unit, MEASURES[unit], f"{name}/{unit}/")
    return demand_of(replace(terms, window=window, accuracy=accuracy, **more), amount, "whose", obeyed=True)


class Plane:
    """A ledger, its store and its journal."""

    def __init__(self) -> None:
        self.store = ToldStore()
        self.journal = Journal()
        self.shared = SharedLedger(self.store, self.journal)
        self.ledger = Ledger(self.shared)
        self._calls = 0

    async def ask(self, *demands: Demand, tokens: int = 10) -> Any:
        self._calls += 1
        return await self.ledger.acquire(f"call-{self._calls}", demands, amounts_of(tokens), time.time())

    def settle(self, found: Reservation, tokens: int) -> None:
        self.ledger.settle(found, amounts_of(tokens), time.time())

    def sums(self) -> tuple[int, int]:
        """Used and held, over all rows."""
        cells = self.journal.cells
        rows = list(self.journal.rows())
        return sum(cells[at + USED] for at in rows), sum(cells[at + HELD] for at in rows)


@asynccontextmanager
async def running() -> AsyncIterator[Plane]:
    plane = Plane()
    await plane.shared.start()
    try:
        yield plane
    finally:
        plane.store.free.set()
        await plane.shared.aclose()


async def test_a_call_that_another_limit_refuses_brings_no_tokens_into_a_bucket() -> None:
    rate: dict[str, Any] = {"unit": Unit.REQUESTS, "window": None, "rate": 100.0, "accuracy": Accuracy.LEASED}
    bucket, budget = limit(100, name="rate", **rate), limit(1_000)
    async with running() as plane:

        def answer(line: Line) -> Result:
            return granting(line) if line.kind == Kind.BUCKET else refusing(line)

        plane.store.answer = answer
        plane.store.free.clear()
        # One tick: a call that draws tokens ahead, and others that a budget refuses.
        first, *others = [
            asyncio.create_task(plane.ask(bucket)),
            *(asyncio.create_task(plane.ask(bucket, budget)) for _ in range(20)),
        ]
        await until(lambda: plane.store.batches)
        plane.store.free.set()
        assert isinstance(await first, Reservation)
        assert all(isinstance(each, Excess) for each in await asyncio.gather(*others))
        drawn = max(line.want for line in plane.store.asked) - 1
        asked = len(plane.store.asked)
        for _ in range(drawn):
            assert isinstance(await plane.ask(bucket), Reservation)
        assert len(plane.store.asked) == asked
        await plane.ask(bucket)
        assert len(plane.store.asked) > asked, "all that was drawn is spent"


async def test_a_slot_that_is_being_asked_for_is_not_forgotten_meanwhile() -> None:
    slots = limit(1, unit=Unit.CONCURRENT, window=None)
    async with running() as plane:
        first = await plane.ask(slots)
        plane.settle(first, 5)
        at = next(iter(plane.journal.rows()))
        await until(lambda: plane.journal.cells[at + GRANTED] == 0 and plane.journal.cells[at + SEEN] == 1)
        plane.store.free.clear()
        asking = asyncio.create_task(plane.ask(slots))
        for _ in range(6):
            await asyncio.sleep(0.1)  # several looks for idle rows
        plane.store.free.set()
        assert isinstance(await asking, Reservation)
        assert plane.sums() == (0, 1)


async def test_growing_while_calls_settle_breaks_nothing() -> None:
    """The journal moves in memory when it grows; a settlement in the next window makes a row."""
    second = limit(10**6, window=calendar(CalendarPeriod.SECOND))
    async with running() as plane:
        found = await plane.ask(second, tokens=10)
        while plane.journal.count * 12 + 64 < len(plane.journal.cells):
            plane.journal.add(plane.journal.count, 1, 0, Kind.WINDOW, 0, 10**15)
        window = int(time.time())
        await until(lambda: time.time() > window + 1.05)
        plane.settle(found, 25)
        assert plane.ledger.outstanding == 0
        assert plane.sums()[1] == 0


async def test_a_stream_that_outlives_its_window_is_held_to_the_next_one() -> None:
    demand = limit(100, window=calendar(CalendarPeriod.SECOND), mid_stream=MidStream.END)
    async with running() as plane:
        stream = await plane.ask(demand, tokens=50)
        plane.ledger.deliver(stream, amounts_of(10, 40))
        window = int(time.time())
        await until(lambda: time.time() > window + 1.05)
        assert await plane.ledger.extend(stream, amounts_of(10, 90), time.time()) is None
        line = plane.store.asked[-1]
        assert (line.need, line.slot) == (50, line.a), "asked of the present window"
        plane.store.answer = refusing
        assert isinstance(await plane.ledger.extend(stream, amounts_of(10, 190), time.time()), Excess)
        plane.settle(stream, 95)
        used, held = plane.sums()
        assert (used, held) == (95, 0), "50 in the window in which it came, 45 in the next"


async def test_a_stream_does_not_run_on_while_the_store_is_rebuilt() -> None:
    demand = limit(100, mid_stream=MidStream.END)
    async with running() as plane:
        stream = await plane.ask(demand, tokens=50)
        plane.store.answer = rebuilding
        assert isinstance(await plane.ledger.extend(stream, amounts_of(10, 90), time.time()), StoreFailure)


async def test_a_store_whose_clock_went_back_goes_on_counting_in_the_latest_window() -> None:
    demand = limit(1_000, window=calendar(CalendarPeriod.DAY))
    async with running() as plane:
        tomorrow = (int(time.time()) // 86_400 + 1) * 86_400_000

        def answer(line: Line) -> Result:
            own = line.keep if line.slot == tomorrow else 0
            return Result(0, tomorrow, own + line.need, own + line.need, own + line.need, line.used, 0, 0)

        plane.store.answer = answer
        for _ in range(3):
            found = await plane.ask(demand, tokens=10)
            assert isinstance(found, Reservation)
            plane.settle(found, 10)
        assert plane.sums() == (30, 0)


async def test_short_windows_do_not_fail_because_answers_take_longer() -> None:
    demand = limit(1_000, window=sliding(0.6))  # slots of 10 ms
    async with running() as plane:

        def answer(line: Line) -> Result:
            present = int(time.time() * 1000) // line.a
            granted = line.need + (line.keep if line.slot == present else 0)
            return Result(0, present, granted, granted, granted, line.used, 0, 0)

        async def slow(decisions: Any) -> Any:
            await asyncio.sleep(0.015)
            return await exchange(decisions)

        exchange = plane.store.exchange
        plane.store.answer = answer
        plane.store.exchange = slow  # type: ignore[method-assign]
        found = [await plane.ask(demand, tokens=10) for _ in range(5)]
        assert all(isinstance(each, Reservation) for each in found)
        assert plane.sums() == (0, 50)


async def test_clocks_that_disagree_are_treated_as_the_limit_says() -> None:
    def answer(line: Line) -> Result:
        return Result(4, line.slot, 0, 0, 0, 0, 0, 0)

    async with running() as plane:
        plane.store.answer = answer
        assert isinstance(await plane.ask(limit(100)), StoreFailure)
        assert isinstance(await plane.ask(limit(100, name="open", failure=FailureMode.OPEN)), Reservation)


async def test_absurd_amounts_harm_nobody_else() -> None:
    class Huge:
        def evaluate(self, variables: Any) -> int:
            return 10**30

    huge = replace(limit(100, name="huge", unit=Unit.EXPRESSION, program=Huge()))
    counted = replace(limit(100, name="counted", unit=Unit.EXPRESSION, program=Huge()), obeyed=False)
    async with running() as plane:
        plane.store.answer = lambda line: refusing(line) if line.need > line.limit > 0 else granting(line)
        assert isinstance(await plane.ask(huge), Excess)
        for _ in range(2_000):
            found = await plane.ask(counted)
            assert isinstance(found, Reservation)
            plane.settle(found, 10)
        assert isinstance(await plane.ask(limit(100, name="sane")), Reservation)
        assert (
            max(
                abs(number)
                for batch in plane.store.batches
                for lines in batch
                for line in lines
                for number in (line.used, line.firm, line.keep, line.need, line.want)
            )
            <= 2**53
        )


async def test_a_flood_of_calls_beyond_a_limit_does_not_reach_the_store() -> None:
    demand, other = limit(100), limit(100, name="other")
    async with running() as plane:
        plane.store.answer = refusing
        assert isinstance(await plane.ask(demand), Excess)
        before = len(plane.store.asked)
        begun = time.monotonic()
        refused = [await plane.ask(demand) for _ in range(500)]
        assert all(isinstance(each, Excess) for each in refused)
        asked = len(plane.store.asked) - before
        assert asked <= (time.monotonic() - begun) * 60 + 1
        # Less may fit, another limit has nothing to do with it, and an amount that was raised counts at once.
        plane.store.answer = granting
        await plane.ask(demand)
        assert isinstance(await plane.ask(demand, tokens=3), Reservation)
        assert isinstance(await plane.ask(other), Reservation)
        assert isinstance(await plane.ask(replace(demand, amount=1_000)), Reservation)


async def test_calls_that_wait_behind_a_refused_one_do_not_hold_up_others() -> None:
    demand, other = limit(100), limit(100, name="other")
    async with running() as plane:
        plane.store.answer = lambda line: refusing(line) if line.limit == 100 and line.need == 10 else granting(line)
        plane.store.free.clear()
        flood = [asyncio.create_task(plane.ask(demand)) for _ in range(5_000)]
        await asyncio.sleep(0)
        bystander = asyncio.create_task(plane.ask(other, tokens=5))
        await until(lambda: plane.store.batches)
        plane.store.free.set()
        assert isinstance(await bystander, Reservation)
        assert len(plane.store.batches) <= 20, "of 80"
        assert all(isinstance(each, Excess) for each in await asyncio.gather(*flood))


async def test_what_is_given_back_here_is_there_at_once_for_who_was_refused() -> None:
    demand = limit(100)
    async with running() as plane:
        found = await plane.ask(demand, tokens=60)
        plane.store.answer = refusing
        assert isinstance(await plane.ask(demand, tokens=60), Excess)
        plane.store.answer = granting
        plane.ledger.release(found)
        assert isinstance(await plane.ask(demand, tokens=60), Reservation)


async def test_a_store_that_is_away_costs_no_look_at_all_rows() -> None:
    demand = limit(10**6, failure=FailureMode.OPEN)
    async with running() as plane:
        found = await plane.ask(demand)
        plane.settle(found, 10)
        looks = 0
        rows = plane.journal.rows

        def counted() -> Any:
            nonlocal looks
            looks += 1
            return rows()

        plane.journal.rows = counted  # type: ignore[method-assign]
        plane.store.connected = False
        plane.shared._exchanges._spend_until = 0.0  # as after ten seconds
        for _ in range(30):
            plane.settle(await plane.ask(demand), 10)
            await asyncio.sleep(0.02)
        assert looks <= 1


async def test_one_batch_has_a_bounded_number_of_lines() -> None:
    async with running() as plane:
        plane.store.free.clear()
        many = [limit(100, name=f"limit-{number}") for number in range(64)]
        waiting = [asyncio.create_task(plane.ask(*many, tokens=1)) for _ in range(64)]
        await until(lambda: plane.store.batches)
        plane.store.free.set()
        assert all(isinstance(each, Reservation) for each in await asyncio.gather(*waiting))
        assert max(sum(len(lines) for lines in batch) for batch in plane.store.batches) <= 1_024


async def test_a_rate_that_takes_ages_to_fill_stays_within_what_the_store_can_count() -> None:
    hour = 3_600
    async with running() as plane:
        for burst, rate in ((10**9, 1 / (720 * hour)), (10**9, 10**9 / (720 * hour)), (10**9, 1e9)):
            demand = limit(burst, name=f"{burst}/{rate}", unit=Unit.REQUESTS, window=None, rate=rate)
            assert isinstance(await plane.ask(demand), Reservation)
            line = plane.store.asked[-1]
            assert line.a >= 1e9 / rate - 1e-6
            assert line.a * line.b <= 4 * 10**18


async def test_calls_go_on_while_very_much_is_declared() -> None:
    async with running() as plane:
        for number in range(100_000):
            plane.journal.add(number * 7_919, number, 1, Kind.WINDOW, 0, 10**15)
        turns = 0
        declaring = asyncio.create_task(plane.shared._exchanges._declare())
        while not declaring.done():
            await asyncio.sleep(0)
            turns += 1
        assert await declaring
        assert turns >= 40


async def test_a_limit_is_not_divided_among_nobody_knows_how_many() -> None:
    """Data planes that begin while the store is away would each take the whole amount."""
    local = limit(100, failure=FailureMode.LOCAL)
    async with running() as plane:
        plane.store.connected = False
        found = await plane.ask(local)
        assert isinstance(found, StoreFailure)
        assert "--replicas" in found.reason
        plane.store.connected = True
        plane.ledger.release(await plane.ask(local))
        plane.store.connected = False
        assert isinstance(await plane.ask(local), Reservation)
