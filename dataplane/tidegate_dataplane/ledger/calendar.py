"""Calendar windows: where an hour, day, week, month or year begins and ends in a time zone.

Boundaries are wall-clock midnights (weeks begin on Monday, ISO 8601) taken through the time zone database, so that a
day of a change to or from summer time has 23 or 25 hours. Hours are whole hours of elapsed time, counted from the
wall clock's full hour, so that the repeated hour in autumn is two windows.
"""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from math import floor
from typing import NamedTuple

from tidegate_dataplane.expressions.clock import time_zone
from tidegate_dataplane.snapshot.entries import CalendarPeriod


class Bounds(NamedTuple):
    """A window from `start` to before `end`, in seconds since the epoch."""

    start: float
    end: float


def bounds(period: CalendarPeriod, zone_name: str, now: float) -> Bounds:
    """The window that `now` lies in; raises ValueError for an unknown time zone."""
    zone = time_zone(zone_name)
    second = floor(now)  # datetime would round to the next microsecond, which may be in the next window
    local = datetime.fromtimestamp(second, zone)
    if period is CalendarPeriod.HOUR:
        start = float(second - local.minute * 60 - local.second)
        return Bounds(start, start + 3600)
    first, after = _days(period, local.date())
    return Bounds(_midnight(first, zone), _midnight(after, zone))


def _days(period: CalendarPeriod, day: date) -> tuple[date, date]:
    if period is CalendarPeriod.DAY:
        return day, day + timedelta(days=1)
    if period is CalendarPeriod.WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    if period is CalendarPeriod.MONTH:
        first = day.replace(day=1)
        return first, (first + timedelta(days=32)).replace(day=1)
    return date(day.year, 1, 1), date(day.year + 1, 1, 1)


def _midnight(day: date, zone: tzinfo) -> float:
    """The first moment of a day: where summer time begins at midnight, that is one o'clock (PEP 495, fold=0)."""
    moment = datetime.combine(day, time(), zone)
    # A wall time that does not exist is read with the offset before the gap: exactly the end of the gap.
    return moment.astimezone(UTC).timestamp()
