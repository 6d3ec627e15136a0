"""Times as the command line says them, and the days and months that times of a log fall on. Clocks are arguments."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tidegate_operator.compile.durations import parse_duration
from tidegate_operator.compile.timestamps import parse_timestamp

_SECOND: Final = len("2026-07-01T12:00:00")
_HOUR: Final = len("2026-07-01T12")
_MOST_REMEMBERED: Final = 100_000
_UTC_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


class Day(NamedTuple):
    """A day such as 2026-07-01 and its month 2026-07, where the time zone has them."""

    day: str
    month: str


def time_zone(name: str) -> tzinfo:
    """Raises ValueError when there is no such time zone."""
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no IANA time zone: write one such as Europe/Berlin") from None


def moment(text: str, zone: tzinfo, now: datetime) -> datetime:
    """A month (2026-07), a day (2026-07-01), a time (RFC 3339), or how long ago (7d); the first two begin in `zone`."""
    try:
        if re.fullmatch(r"\d{4}-\d\d", text):
            return datetime.fromisoformat(f"{text}-01").replace(tzinfo=zone).astimezone(UTC)
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)
        if re.fullmatch(r"[0-9a-z]+", text):
            return now.astimezone(UTC) - timedelta(milliseconds=parse_duration(text))
        return datetime.fromtimestamp(parse_timestamp(text), UTC)
    except (ValueError, OverflowError):
        message = (
            "is no time: write a month (2026-07), a day (2026-07-01), a time (2026-07-01T12:00:00Z) or an age (7d)"
        )
        raise ValueError(f"{text!r} {message}") from None


class Period:
    """Which times count: from `since` on, and before `until`. Both are exact to the second."""

    def __init__(self, zone: tzinfo, since: datetime | None, until: datetime | None) -> None:
        self._zone = zone
        self._since = "" if since is None else _text(since)
        # No year of a log begins with a letter.
        self._until = "~" if until is None else _text(until)
        # By the hour, which nearly always has one day; else by the minute.
        self._days: dict[str, Day | None] = {}

    def day(self, time: str) -> Day | None:
        """The day of a time (RFC 3339 in UTC); None when it does not count. Raises ValueError when it is none."""
        day = self._days.get(time[:_HOUR])
        if day is None or not time.endswith("Z"):
            day = self._find(time)
        return day if self._since <= time[:_SECOND] < self._until else None

    def _find(self, time: str) -> Day:
        if not _UTC_TIME.fullmatch(time):
            raise ValueError("has no time in UTC")
        hour = time[:_HOUR]
        if len(self._days) >= _MOST_REMEMBERED:
            self._days.clear()
        if hour not in self._days:
            first = self._local(f"{hour}:00:00")
            self._days[hour] = first if first == self._local(f"{hour}:59:59") else None
        return self._days[hour] or self._local(time[:_SECOND])

    def _local(self, time: str) -> Day:
        local = datetime.fromisoformat(time).replace(tzinfo=UTC).astimezone(self._zone)
        return Day(f"{local:%Y-%m-%d}", f"{local:%Y-%m}")


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
