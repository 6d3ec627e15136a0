"""Calendar windows: where a second, minute, hour, day, week, month or year begins and ends in a time zone.

Windows join without gap or overlap, whatever a government does to the clock:

- A day begins at the first moment at which its date, or a later one, is on the wall; weeks begin on Monday (ISO 8601).
  So a day on which summer time begins or ends has 23 or 25 hours, a clock that is turned back over midnight does not
  open the day before again, and the day before one that an island skips goes on until the day after.
- Hours and minutes are stretches of elapsed time that begin at the wall clock's full hour or minute, so that the
  repeated hour in autumn is two windows. Only a change that is no whole number of hours (Lord Howe: 30 minutes) cuts
  an hour in two.

The time zone database says when clocks change; it is the same in every data plane (see `expressions.clock`).
"""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from math import floor
from typing import Final, NamedTuple

from tidegate_dataplane.expressions.clock import time_zone
from tidegate_dataplane.snapshot.entries import CalendarPeriod

_ELAPSED: Final = {CalendarPeriod.MINUTE: 60, CalendarPeriod.HOUR: 3600}


class Bounds(NamedTuple):
    """A window from `start` to before `end`, in whole seconds since the epoch."""

    start: float
    end: float


def bounds(period: CalendarPeriod, zone_name: str, now: float) -> Bounds:
    """The window that `now` lies in; raises ValueError for an unknown time zone."""
    second = floor(now)  # datetime would round to the next microsecond, which may be in the next window
    if period is CalendarPeriod.SECOND:
        return Bounds(float(second), float(second + 1))
    zone = time_zone(zone_name)
    length = _ELAPSED.get(period)
    if length is not None:
        return _elapsed(length, zone, second)
    first, after = _days(period, datetime.fromtimestamp(second, zone).date())
    end = _begin(after, zone)
    while end <= second:  # the clock was turned back over midnight: that day has begun already
        first, after = _days(period, after)
        end = _begin(after, zone)
    return Bounds(_begin(first, zone), end)


def following(period: CalendarPeriod, zone_name: str, window: Bounds) -> Bounds:
    """The window after a window; raises ValueError for an unknown time zone."""
    return bounds(period, zone_name, window.end)


def _elapsed(length: int, zone: tzinfo, second: int) -> Bounds:
    """The hour or minute of elapsed time since the wall clock showed a full one, cut where the clock's grid moves."""
    offset = _offset(zone, second)
    start = second - (second + offset) % length
    end = start + length
    if (_offset(zone, start) - offset) % length:
        start = _change(zone, start, second)
    if (_offset(zone, end - 1) - offset) % length:
        end = _change(zone, second, end - 1)
    return Bounds(float(start), float(end))


def _days(period: CalendarPeriod, day: date) -> tuple[date, date]:
    """The first day of the period that a day is in, and of the next one."""
    if period is CalendarPeriod.DAY:
        return day, day + timedelta(days=1)
    if period is CalendarPeriod.WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    if period is CalendarPeriod.MONTH:
        first = day.replace(day=1)
        return first, (first + timedelta(days=32)).replace(day=1)
    return date(day.year, 1, 1), date(day.year + 1, 1, 1)


def _begin(day: date, zone: tzinfo) -> float:
    """The first moment at which the wall clock shows this day or a later one."""
    midnight = datetime.combine(day, time(), zone)
    # PEP 495, fold=0: the earlier of two midnights. One that does not exist lies between what the offsets before and
    # after the gap make of it, and the day begins with the gap's end.
    moment = int(midnight.astimezone(UTC).timestamp())
    if datetime.fromtimestamp(moment, zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return float(moment)
    later_offset = int(midnight.replace(fold=1).astimezone(UTC).timestamp())
    return float(_change(zone, later_offset, moment))


def _change(zone: tzinfo, before: int, after: int) -> int:
    """The first second with the offset of `after`; between the two the offset changes once."""
    offset = _offset(zone, after)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == offset:
            after = middle
        else:
            before = middle
    return after


def _offset(zone: tzinfo, second: int) -> int:
    return int(datetime.fromtimestamp(second, zone).replace(tzinfo=UTC).timestamp()) - second
