"""Single counters at the very edge of a window, when their limit changes, and when clocks are put back."""

from datetime import datetime

import pytest

from samples.demands import allowance, bucket, calendar, sliding, slots
from tidegate_dataplane.ledger.calendar import bounds
from tidegate_dataplane.ledger.cells import (
    BucketCell,
    Calendar,
    CalendarCell,
    Cell,
    GaugeCell,
    SlidingCell,
    nanoseconds_per_token,
    slot_nanoseconds,
)
from tidegate_dataplane.ledger.demand import Demand
from tidegate_dataplane.snapshot.entries import CalendarPeriod

NOON = datetime.fromisoformat("2026-07-01T12:00:00+00:00").timestamp()


def admitted(cell: Cell, demand: Demand, times: list[float]) -> list[float]:
    passed = []
    for now in times:
        if cell.fits(demand, 1, now):
            cell.take(1)
            passed.append(now)
    return passed


def around(edge: float) -> list[float]:
    """10,000 moments, from a millisecond before an edge to one after it."""
    return [edge + (number - 5_000) * 2e-7 for number in range(10_000)]


@pytest.mark.parametrize("period", CalendarPeriod)
@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("UTC", "2028-02-28T12:00+00:00"),
        ("UTC", "2026-12-31T12:00+00:00"),
        ("Europe/Berlin", "2026-03-29T12:00+02:00"),
        ("Europe/Berlin", "2026-10-25T00:30+02:00"),
        ("Australia/Lord_Howe", "2026-04-05T01:10+11:00"),
        ("America/St_Johns", "2010-11-06T23:10-02:30"),
        ("Pacific/Apia", "2011-12-29T23:10-10:00"),
    ],
)
def test_a_burst_at_the_edge_of_a_calendar_window_gets_one_amount_on_each_side(
    period: CalendarPeriod, zone: str, day: str
) -> None:
    window = calendar(period, zone)
    edge = bounds(period, zone, datetime.fromisoformat(day).timestamp()).end
    passed = admitted(CalendarCell(Calendar(window)), allowance(amount=100, window=window), around(edge))
    assert len([now for now in passed if now < edge]) == 100
    assert len([now for now in passed if now >= edge]) == 100


@pytest.mark.parametrize("seconds", [1, 7, 60, 86_400])
def test_a_burst_gets_one_amount_of_a_sliding_window_and_the_next_when_the_stretch_is_over(seconds: int) -> None:
    cell, demand = SlidingCell(seconds), allowance(amount=100, window=sliding(seconds))
    assert len(admitted(cell, demand, around(NOON))) == 100
    assert admitted(cell, demand, [NOON + seconds * 0.98 - 0.001]) == []
    assert len(admitted(cell, demand, around(NOON + seconds * 62 / 60 + 0.001))) == 100


def test_a_burst_gets_the_burst_of_a_bucket_and_what_flows_back_meanwhile() -> None:
    passed = admitted(BucketCell(5_000.0), bucket(burst=100, rate=5_000.0), around(NOON))
    assert 100 + 9 <= len(passed) <= 100 + 10


@pytest.mark.parametrize(
    ("rate", "nanoseconds"),
    [(100 / 60, 600_000_000), (3.0, 333_333_334), (1e9, 1), (5e9, 1), (1 / 86_400, 86_400_000_000_000), (0.1, 10**10)],
)
def test_the_time_of_a_token_is_whole_and_never_too_short(rate: float, nanoseconds: int) -> None:
    assert nanoseconds_per_token(rate) == nanoseconds


def test_sixty_slots_are_never_shorter_than_their_window() -> None:
    assert slot_nanoseconds(60) == 10**9
    assert slot_nanoseconds(7) * 60 >= 7 * 10**9


def test_a_token_that_has_flowed_back_is_not_given_back_again() -> None:
    """A call takes the only token, lasts until there is another, and fails: the next one has that other's place."""
    cell, demand = BucketCell(1.0), bucket(burst=1, rate=1.0)
    cell.fits(demand, 1, NOON)
    stamp = cell.take(1)
    assert admitted(cell, demand, [NOON + 1]) == [NOON + 1]
    cell.correct(stamp, -1)
    assert admitted(cell, demand, [NOON + 1]) == []


def test_a_token_is_given_back_at_once() -> None:
    cell, demand = BucketCell(0.01), bucket(burst=2, rate=0.01)
    cell.fits(demand, 1, NOON)
    stamp = cell.take(1)
    cell.take(1)
    cell.correct(stamp, -1)
    assert cell.used() == 1
    assert len(admitted(cell, demand, [NOON] * 9)) == 1


def test_a_token_of_another_rate_is_not_given_back() -> None:
    cell = BucketCell(1.0)
    cell.fits(bucket(burst=10, rate=1.0), 1, NOON)
    stamps = [cell.take(1) for _ in range(10)]
    fast = bucket(burst=10, rate=100.0)
    assert len(admitted(cell, fast, [NOON + 5] * 20)) == 5  # five were out when the rate changed
    assert len(admitted(cell, fast, [NOON + 5.1] * 20)) == 10
    for stamp in stamps:
        cell.correct(stamp, -1)
    assert admitted(cell, fast, [NOON + 5.1]) == []


def test_tokens_used_beyond_what_was_taken_are_owed() -> None:
    cell, demand = BucketCell(1.0), bucket(burst=5, rate=1.0)
    cell.fits(demand, 1, NOON)
    cell.correct(cell.take(1), 9)
    assert cell.used() == 10
    assert cell.retry_after(demand, 1, NOON) == 6.0
    assert admitted(cell, demand, [NOON + 5.9, NOON + 6]) == [NOON + 6]


@pytest.mark.parametrize("back", [0.5, 90.0, 86_400.0 * 400])
def test_a_clock_that_is_put_back_gives_nothing_and_stops_nothing(back: float) -> None:
    rate, demand = BucketCell(1.0), bucket(burst=5, rate=1.0)
    stretch, amount = SlidingCell(60), allowance(amount=5, window=sliding(60))
    assert len(admitted(rate, demand, [NOON] * 6)) == len(admitted(stretch, amount, [NOON] * 6)) == 5
    then = NOON - back
    assert admitted(rate, demand, [then] * 6) == admitted(stretch, amount, [then + 59] * 6) == []
    waited = rate.retry_after(demand, 1, then)
    assert waited <= 1.0 + 0.5
    assert admitted(rate, demand, [then + waited - 0.001, then + waited]) == [then + waited]
    waited = stretch.retry_after(amount, 1, then + 59)
    assert waited <= 63
    assert len(admitted(stretch, amount, [then + 59 + waited - 0.01])) == 0
    assert len(admitted(stretch, amount, [then + 59 + waited] * 9)) == 5


def test_no_calendar_window_is_opened_twice() -> None:
    day = calendar(CalendarPeriod.DAY)
    cell, demand = CalendarCell(Calendar(day)), allowance(amount=3, window=day)
    midnight = bounds(CalendarPeriod.DAY, "UTC", NOON).end
    times = [midnight - 1, midnight, midnight - 1, midnight, midnight - 2] * 10
    assert len(admitted(cell, demand, times)) == 1 + 3


def test_slots_come_back_when_calls_end_and_only_then() -> None:
    cell, demand = GaugeCell(), slots(2)
    stamps = []
    for _ in range(2):
        assert cell.fits(demand, 1, NOON)
        stamps.append(cell.take(1))
    assert not cell.fits(demand, 1, NOON + 10**9)
    assert 0 < cell.retry_after(demand, 1, NOON) < 10
    assert cell.retry_after(demand, 3, NOON) == float("inf")
    assert not cell.idle(NOON + 10**9)
    cell.correct(stamps[0], -1)
    assert cell.fits(demand, 1, NOON)
    assert cell.used() == 1


def test_fewer_slots_wait_until_enough_calls_have_ended() -> None:
    cell = GaugeCell()
    for _ in range(5):
        cell.take(1)
    assert not cell.fits(slots(2), 1, NOON)
    for _ in range(4):
        cell.correct(0.0, -1)
    assert cell.fits(slots(2), 1, NOON)


def test_what_is_used_after_the_window_is_over_counts_in_the_next_one() -> None:
    minute = calendar(CalendarPeriod.MINUTE)
    for cell, demand in (
        (CalendarCell(Calendar(minute)), allowance(amount=100, window=minute)),
        (SlidingCell(60), allowance(amount=100, window=sliding(60))),
    ):
        assert cell.fits(demand, 10, NOON)
        large, small = cell.take(10), cell.take(10)
        assert cell.fits(demand, 100, NOON + 120)
        cell.correct(small, -4)
        assert cell.used() == 0
        cell.correct(large, 15)
        assert cell.used() == 15
        assert not cell.fits(demand, 86, NOON + 120)
