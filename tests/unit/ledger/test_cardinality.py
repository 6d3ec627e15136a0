"""Values that callers choose: so many have counters of their own, and nothing is gained by inventing more."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from samples.demands import allowance, bucket, calendar, sliding
from tidegate_dataplane.ledger.calendar import bounds
from tidegate_dataplane.ledger.cardinality import OTHER, Cardinality, Values
from tidegate_dataplane.ledger.demand import Terms
from tidegate_dataplane.snapshot.entries import CalendarPeriod

NOON = datetime.fromisoformat("2026-07-01T12:00:00+00:00").timestamp()
DAY = calendar(CalendarPeriod.DAY)


def terms(most: int, **window: Any) -> Terms:
    return replace(allowance(amount=1, **window).terms, most_values=most, key="limit")


def test_the_first_values_have_counters_of_their_own_and_all_others_share_one() -> None:
    values = Values(2, DAY)
    assert [values.scope(value, NOON) for value in "abcda"] == ["a", "b", OTHER, OTHER, "a"]


def test_places_are_free_again_when_the_calendar_window_is_over() -> None:
    values = Values(2, DAY)
    for value in "abc":
        values.scope(value, NOON)
    midnight = bounds(CalendarPeriod.DAY, "UTC", NOON).end
    assert values.scope("c", midnight - 0.001) == OTHER
    assert [values.scope(value, midnight) for value in "cab"] == ["c", "a", OTHER]


def test_a_place_is_free_again_when_a_sliding_window_has_gone_by_since_its_last_use() -> None:
    table, limit = Cardinality(), terms(1, window=sliding(60))
    assert table.scope(limit, "a", NOON) == "a"
    assert table.scope(limit, "b", NOON + 1) == OTHER
    assert table.scope(limit, "a", NOON + 61.9) == "a"
    assert table.scope(limit, "b", NOON + 62 + 61) == OTHER
    assert table.scope(limit, "b", NOON + 300) == "b"


def test_a_bucket_keeps_its_place_until_it_is_full() -> None:
    table = Cardinality()
    limit = replace(bucket(burst=10, rate=2.0).terms, most_values=1, key="rate")
    assert table.scope(limit, "a", NOON, burst=10) == "a"
    assert table.scope(limit, "b", NOON + 4.9, burst=10) == OTHER
    assert table.scope(limit, "b", NOON + 10.1, burst=10) == "b"


def test_a_limit_for_all_values_has_a_counter_for_each() -> None:
    table = Cardinality()
    assert {table.scope(terms(0, window=DAY), str(number), NOON) for number in range(5_000)} > {"0", "4999"}


def test_a_reload_may_change_how_many_there_are_and_forgets_limits_that_are_gone() -> None:
    table = Cardinality()
    assert [table.scope(terms(1, window=DAY), value, NOON) for value in "ab"] == ["a", OTHER]
    assert [table.scope(terms(2, window=DAY), value, NOON) for value in "abc"] == ["a", "b", OTHER]
    assert [table.scope(terms(1, window=DAY), value, NOON) for value in "abc"] == ["a", "b", OTHER]
    table.keep(frozenset({"limit"}))
    assert table.scope(terms(1, window=DAY), "c", NOON) == OTHER
    table.keep(frozenset())
    assert table.scope(terms(1, window=DAY), "c", NOON) == "c"


@pytest.mark.parametrize("length", [129, 100_000])
def test_long_values_are_short_and_still_told_apart(length: int) -> None:
    values = Values(3, DAY)
    first, second = values.scope("x" * length, NOON), values.scope("x" * length + "\ud800", NOON)
    assert len(first) < 128
    assert first != second
    assert values.scope("x" * length, NOON) == first


steps = st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 12)), max_size=120)


@settings(max_examples=200)
@given(st.integers(1, 5), st.sampled_from((CalendarPeriod.MINUTE, CalendarPeriod.DAY)), steps)
def test_a_calendar_window_has_so_many_counters_and_each_value_has_one(
    most: int, period: CalendarPeriod, drawn: list[tuple[int, int]]
) -> None:
    table, limit, now = Cardinality(), terms(most, window=calendar(period)), NOON
    counted: dict[float, dict[str, str]] = {}
    for wait, value in drawn:
        now += wait / (1000 if period is CalendarPeriod.MINUTE else 1)
        scope = table.scope(limit, str(value), now)
        places = counted.setdefault(bounds(period, "UTC", now).start, {})
        assert places.setdefault(str(value), scope) == scope
        assert len(set(places.values()) - {OTHER}) <= most
        if OTHER in places.values():
            assert len(set(places.values()) - {OTHER}) == most


@settings(max_examples=200)
@given(st.integers(1, 5), st.integers(1, 600), steps)
@example(1, 31, [(0, 0), (33_034, 1), (32_033, 1)])
def test_no_stretch_of_a_sliding_window_has_more_counters(
    most: int, seconds: int, drawn: list[tuple[int, int]]
) -> None:
    table, limit, now = Cardinality(), terms(most, window=sliding(seconds)), NOON
    seen: list[tuple[float, str]] = []
    for wait, value in drawn:
        now += wait / 1000
        seen.append((now, table.scope(limit, str(value), now)))
        recent = {scope for at, scope in seen if at > now - seconds * 62 / 60} - {OTHER}
        assert len(recent) <= most
        lately = {scope for at, scope in seen if at > now - 2 * seconds * 62 / 60 - 1} - {OTHER}
        assert seen[-1][1] != OTHER or len(lately) >= most
