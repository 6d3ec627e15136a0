"""Durations as the API writes them: one to four number-unit pairs (a subset of GEP-2257, plus days)."""

import re

_PAIR = re.compile(r"([0-9]{1,6})(ms|s|m|h|d)")
_WHOLE = re.compile(r"([0-9]{1,6}(ms|s|m|h|d)){1,4}")
_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

SECOND = _UNITS["s"]
MINUTE = _UNITS["m"]
HOUR = _UNITS["h"]
DAY = _UNITS["d"]


def parse_duration(text: str) -> int:
    """Milliseconds of a duration such as `500ms`, `30s` or `1h30m`; raises ValueError."""
    if not _WHOLE.fullmatch(text):
        raise ValueError("a duration is one to four pairs of number and unit (ms, s, m, h, d), such as 500ms or 1m30s")
    return sum(int(number) * _UNITS[unit] for number, unit in _PAIR.findall(text))


def format_duration(milliseconds: int) -> str:
    """The shortest way to write a duration: `90s` is `1m30s`, nothing is `0s`."""
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, milliseconds = divmod(milliseconds, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
