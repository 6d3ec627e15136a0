"""Where calendar windows begin and end, on ordinary days and on those that are not."""

from datetime import datetime
from itertools import pairwise

import pytest

from tidegate_dataplane.expressions.clock import time_zone, time_zones
from tidegate_dataplane.ledger.calendar import bounds, following
from tidegate_dataplane.snapshot.entries import CalendarPeriod

SECOND, MINUTE, HOUR, DAY, WEEK, MONTH, YEAR = CalendarPeriod


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("period", "zone", "now", "start", "end"),
    [
        (SECOND, "UTC", "2026-07-01T12:34:56.5+00:00", "2026-07-01T12:34:56+00:00", "2026-07-01T12:34:57+00:00"),
        (MINUTE, "Asia/Tokyo", "2026-07-01T12:34:59.9+09:00", "2026-07-01T12:34:00+09:00", "2026-07-01T12:35:00+09:00"),
        (HOUR, "UTC", "2026-07-01T12:34:56.5+00:00", "2026-07-01T12:00:00+00:00", "2026-07-01T13:00:00+00:00"),
        (HOUR, "Asia/Kolkata", "2026-07-01T12:34:56+00:00", "2026-07-01T12:30:00+00:00", "2026-07-01T13:30:00+00:00"),
        (DAY, "UTC", "2026-07-01T23:59:59.999+00:00", "2026-07-01T00:00:00+00:00", "2026-07-02T00:00:00+00:00"),
        (DAY, "Europe/Berlin", "2026-07-01T22:30:00+00:00", "2026-07-02T00:00:00+02:00", "2026-07-03T00:00:00+02:00"),
        (WEEK, "UTC", "2026-07-05T23:00:00+00:00", "2026-06-29T00:00:00+00:00", "2026-07-06T00:00:00+00:00"),
        (WEEK, "UTC", "2026-07-06T00:00:00+00:00", "2026-07-06T00:00:00+00:00", "2026-07-13T00:00:00+00:00"),
        (MONTH, "UTC", "2026-02-28T23:59:59+00:00", "2026-02-01T00:00:00+00:00", "2026-03-01T00:00:00+00:00"),
        (MONTH, "UTC", "2028-02-29T12:00:00+00:00", "2028-02-01T00:00:00+00:00", "2028-03-01T00:00:00+00:00"),
        (MONTH, "UTC", "2026-12-31T23:59:59+00:00", "2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
        (MONTH, "Europe/Berlin", "2026-12-31T23:30:00+00:00", "2027-01-01T00:00:00+01:00", "2027-02-01T00:00:00+01:00"),
        (YEAR, "UTC", "2026-07-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
        # Summer time begins: the day has 23 hours, the month is an hour short.
        (DAY, "Europe/Berlin", "2026-03-29T12:00:00+02:00", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),
        (MONTH, "Europe/Berlin", "2026-03-10T00:00:00+01:00", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00"),
        # It ends: 25 hours.
        (DAY, "Europe/Berlin", "2026-10-25T12:00:00+01:00", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
        # The repeated hour is two windows.
        (HOUR, "Europe/Berlin", "2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T03:00:00+02:00"),
        (HOUR, "Europe/Berlin", "2026-10-25T02:30:00+01:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"),
        # A change by half an hour makes half an hour, before or after it.
        (
            HOUR,
            "Australia/Lord_Howe",
            "2026-04-05T01:45:00+10:30",
            "2026-04-05T01:30:00+10:30",
            "2026-04-05T02:00:00+10:30",
        ),
        (
            HOUR,
            "Australia/Lord_Howe",
            "2026-10-04T02:40:00+11:00",
            "2026-10-04T02:30:00+11:00",
            "2026-10-04T03:00:00+11:00",
        ),
        # Midnight comes twice: the hour before it is repeated, and the day has 25.
        (
            DAY,
            "America/Sao_Paulo",
            "2018-02-17T23:30:00-03:00",
            "2018-02-17T00:00:00-02:00",
            "2018-02-18T00:00:00-03:00",
        ),
        # Ramadan: summer time ends in February and begins again in March.
        (
            MONTH,
            "Africa/Casablanca",
            "2026-02-20T12:00:00+00:00",
            "2026-02-01T00:00:00+01:00",
            "2026-03-01T00:00:00+00:00",
        ),
        # A clock that is turned back a minute past midnight: Sunday has begun, and Saturday does not begin again.
        (
            DAY,
            "America/St_Johns",
            "2010-11-06T23:30:00-03:30",
            "2010-11-07T00:00:00-02:30",
            "2010-11-08T00:00:00-03:30",
        ),
        # Where summer time begins at midnight, the day begins at one o'clock.
        (
            DAY,
            "America/Santiago",
            "2026-09-06T12:00:00-03:00",
            "2026-09-06T01:00:00-03:00",
            "2026-09-07T00:00:00-03:00",
        ),
        # A day that an island skipped: the one before it goes on until the one after it begins.
        (DAY, "Pacific/Apia", "2011-12-29T12:00:00-10:00", "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"),
    ],
)
def test_window(period: CalendarPeriod, zone: str, now: str, start: str, end: str) -> None:
    assert bounds(period, zone, at(now)) == (at(start), at(end))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Santiago", "America/Havana", "UTC", "+05:30"])
@pytest.mark.parametrize("period", [DAY, WEEK, MONTH, YEAR])
def test_windows_of_years_join_without_gap_or_overlap(period: CalendarPeriod, zone: str) -> None:
    windows = [bounds(period, zone, at("2024-01-15T00:00:00+00:00"))]
    while windows[-1].end < at("2028-01-01T00:00:00+00:00"):
        windows.append(bounds(period, zone, windows[-1].end))
    assert all(one.end == following.start for one, following in pairwise(windows))
    assert all(one.start < one.end for one in windows)


def test_the_next_window_follows_over_a_month_end_of_a_leap_year() -> None:
    january = bounds(MONTH, "Europe/Berlin", at("2028-01-31T23:59:59+01:00"))
    february = following(MONTH, "Europe/Berlin", january)
    assert february == (at("2028-02-01T00:00:00+01:00"), at("2028-03-01T00:00:00+01:00"))
    assert february.end - february.start == 29 * 86_400


@pytest.mark.parametrize("zone", ["localtime", "posixrules", "../zone.tab", "/etc/localtime", "Europe", ""])
def test_no_zone_depends_on_the_machine(zone: str) -> None:
    assert zone not in time_zones()
    with pytest.raises(ValueError, match="no time zone"):
        time_zone(zone)


def test_an_unknown_zone_is_an_error() -> None:
    with pytest.raises(ValueError, match="no time zone 'Europe/Berln'"):
        bounds(DAY, "Europe/Berln", 0.0)
