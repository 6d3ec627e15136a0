"""Accessors of timestamps with a time zone, which the CEL library lacks: `now.getHours('Europe/Berlin')`.

Numbering follows the CEL language definition: months, days of the month, days of the year from 0; getDate from 1;
days of the week from 0 = Sunday.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

_OFFSET = re.compile(r"([+-]?)(\d{2}):(\d{2})")


@cache
def time_zones() -> frozenset[str]:
    """The IANA names that there are."""
    return frozenset(files("tzdata").joinpath("zones").read_text().split())


@lru_cache(maxsize=1024)
def time_zone(name: str) -> tzinfo:
    """A zone by IANA name or offset (`+02:00`); raises ValueError when there is none.

    Always of the tzdata package, never of the machine's own database: all data planes of one release agree where a
    window ends.
    """
    if found := _OFFSET.fullmatch(name):
        sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        return timezone(-offset if sign == "-" else offset)
    if name not in time_zones():
        raise ValueError(f"there is no time zone {name!r}")
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


_FIELDS: Final[dict[str, Callable[[datetime], int]]] = {
    "getFullYear": lambda at: at.year,
    "getMonth": lambda at: at.month - 1,
    "getDate": lambda at: at.day,
    "getDayOfMonth": lambda at: at.day - 1,
    "getDayOfWeek": lambda at: at.isoweekday() % 7,
    "getDayOfYear": lambda at: at.timetuple().tm_yday - 1,
    "getHours": lambda at: at.hour,
    "getMinutes": lambda at: at.minute,
    "getSeconds": lambda at: at.second,
    "getMilliseconds": lambda at: at.microsecond // 1000,
}


_DURATION_SECONDS: Final = {"getHours": 3600, "getMinutes": 60, "getSeconds": 1}


def accessor(name: str) -> Callable[..., int]:
    """The function `name` with and without a time zone; it takes the place of the library's own.

    It raises TypeError for what is neither a timestamp nor a duration.
    """
    field = _FIELDS[name]

    def read(at: object, zone: str = "UTC") -> int:
        if isinstance(at, datetime):
            return field(at.astimezone(time_zone(zone)))
        if not isinstance(at, timedelta):
            raise TypeError(f"{name}() is of a timestamp, not of {type(at).__name__}")
        if name == "getMilliseconds":
            return at.microseconds // 1000
        return int(at.total_seconds() / _DURATION_SECONDS[name])

    return read
