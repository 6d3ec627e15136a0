"""Calendar windows against somebody who watches the clock on the wall, minute by minute."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidegate_dataplane.expressions.clock import time_zone, time_zones
from tidegate_dataplane.ledger.calendar import Bounds, bounds, following
from tidegate_dataplane.snapshot.entries import CalendarPeriod

LABELS: dict[CalendarPeriod, Callable[[date], object]] = {
    CalendarPeriod.DAY: lambda day: day,
    CalendarPeriod.WEEK: lambda day: day.isocalendar()[:2],
    CalendarPeriod.MONTH: lambda day: (day.year, day.month),
    CalendarPeriod.YEAR: lambda day: day.year,
}
# Days on which a clock or a calendar does what few expect.
ODD_DAYS = [
    ("UTC", "2028-02-29"),
    ("UTC", "2100-02-28"),
    ("Asia/Kolkata", "2026-12-31"),
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("Europe/Dublin", "2026-10-25"),  # winter time is the one that is "saved"
    ("Australia/Lord_Howe", "2026-04-05"),  # half an hour back
    ("Australia/Lord_Howe", "2026-10-04"),  # half an hour ahead
    ("Antarctica/Troll", "2026-03-29"),  # two hours ahead
    ("Antarctica/Troll", "2026-10-25"),
    ("Pacific/Apia", "2011-12-30"),  # there was no such day
    ("Pacific/Kwajalein", "1993-08-21"),  # nor such a one
    ("America/Sao_Paulo", "2018-02-18"),  # midnight comes twice over
    ("America/Sao_Paulo", "2018-11-04"),  # there is no midnight
    ("Asia/Beirut", "2026-03-29"),
    ("Asia/Beirut", "2026-10-25"),
    ("Africa/Cairo", "2026-10-30"),
    ("America/Santiago", "2026-09-06"),
    ("America/Havana", "2026-03-08"),
    ("Africa/Casablanca", "2026-02-15"),  # Ramadan
    ("Africa/Casablanca", "2026-03-22"),
    ("Africa/Juba", "2021-02-01"),  # the last hour of January was repeated
    ("America/St_Johns", "2010-03-14"),  # one minute past midnight
    ("America/St_Johns", "2010-11-07"),  # a minute of Sunday, an hour of Saturday, Sunday again
    ("America/Scoresbysund", "2024-03-31"),  # 23:00 to midnight fell out
    ("America/Caracas", "2016-05-01"),  # half an hour, at half past two
    ("Asia/Pyongyang", "2015-08-15"),
    ("Asia/Pyongyang", "2018-05-05"),
    ("Asia/Kathmandu", "1986-01-01"),  # a quarter of an hour, at New Year
    ("Asia/Singapore", "1982-01-01"),  # half an hour, at New Year
]


def minutes(zone: str, day: date) -> Iterator[tuple[int, datetime]]:
    """The minutes of three days around a day, in the order of time: seconds since the epoch, and the wall clock."""
    begin = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) - 86_400
    for second in range(begin, begin + 3 * 86_400, 60):
        yield second, datetime.fromtimestamp(second, time_zone(zone))


def watched(period: CalendarPeriod, zone: str, day: date) -> list[int]:
    """Where windows begin, as the watcher sees it."""
    begins: list[int] = []
    latest, minute = date.min, -1
    for second, wall in minutes(zone, day):
        if period is CalendarPeriod.MINUTE:
            new = True
        elif period is CalendarPeriod.HOUR:
            # A full hour; or the clock was moved, and not by whole hours.
            new = wall.minute == 0 or wall.minute != (minute + 1) % 60
        else:
            # A date that was not seen before. One that comes back does not count.
            new = wall.date() > latest and LABELS[period](wall.date()) != LABELS[period](latest)
        latest, minute = max(latest, wall.date()), wall.minute
        if new:
            begins.append(second)
    return begins


def agree(period: CalendarPeriod, zone: str, day: date) -> None:
    begins = watched(period, zone, day)[1:]  # the first is only where the watcher began
    for begin, after in pairwise(begins):
        window = Bounds(begin, after)
        assert bounds(period, zone, begin) == window
        assert bounds(period, zone, after - 1e-6) == window
        assert following(period, zone, window).start == after
    for begin in begins:
        assert bounds(period, zone, begin - 1e-6).end == begin == bounds(period, zone, begin).start
    moments = [second for second, _ in minutes(zone, day)]
    for first, second in pairwise(moments[86_400 // 60 :: 7]):
        if not any(first < begin <= second for begin in begins):
            assert bounds(period, zone, first) == bounds(period, zone, second)


@pytest.mark.parametrize("period", [period for period in CalendarPeriod if period is not CalendarPeriod.SECOND])
@pytest.mark.parametrize(("zone", "day"), ODD_DAYS)
def test_windows_are_those_of_a_watcher_on_odd_days(period: CalendarPeriod, zone: str, day: str) -> None:
    agree(period, zone, date.fromisoformat(day))


days = st.dates(date(1975, 1, 1), date(2099, 12, 31))
year_ends = st.integers(1976, 2098).flatmap(lambda year: st.sampled_from((date(year, 12, 31), date(year, 2, 28))))


@settings(max_examples=60)
@given(st.sampled_from([*LABELS, CalendarPeriod.HOUR]), st.sampled_from(sorted(time_zones())), days | year_ends)
def test_windows_are_those_of_a_watcher(period: CalendarPeriod, zone: str, day: date) -> None:
    agree(period, zone, day)


@settings(max_examples=300)
@given(st.sampled_from(CalendarPeriod), st.sampled_from(sorted(time_zones())), st.floats(-2_200_000_000, 4_000_000_000))
@example(CalendarPeriod.DAY, "America/St_Johns", datetime(2010, 11, 7, 2, 45, tzinfo=UTC).timestamp())
def test_a_moment_lies_in_its_window_and_all_of_the_window_agrees(
    period: CalendarPeriod, zone: str, now: float
) -> None:
    """In all zones, back to the days of local mean time with its odd seconds."""
    window = bounds(period, zone, now)
    assert window.start <= now < window.end
    for moment in (window.start, (window.start + window.end) // 2, window.end - 1):
        assert bounds(period, zone, moment) == window
    after = following(period, zone, window)
    assert after.start == window.end < after.end


LONGEST = {
    CalendarPeriod.SECOND: timedelta(seconds=1),
    CalendarPeriod.MINUTE: timedelta(minutes=1),
    CalendarPeriod.HOUR: timedelta(hours=1),
    CalendarPeriod.DAY: timedelta(hours=48),  # the day before one that was skipped
    CalendarPeriod.WEEK: timedelta(days=7, hours=2),
    CalendarPeriod.MONTH: timedelta(days=31, hours=2),
    CalendarPeriod.YEAR: timedelta(days=366, hours=2),
}


@settings(max_examples=300)
@given(st.sampled_from(CalendarPeriod), st.sampled_from(sorted(time_zones())), st.floats(1_800_000_000, 4_000_000_000))
def test_no_window_to_come_is_longer_than_its_name_says(period: CalendarPeriod, zone: str, now: float) -> None:
    window = bounds(period, zone, now)
    assert window.end - window.start <= LONGEST[period].total_seconds()
