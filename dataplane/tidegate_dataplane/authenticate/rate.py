"""How often something may happen."""

from typing import Final

from msgspec import Struct

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_COUNT: Final = 1_000_000


class Rate(Struct, frozen=True):
    """`count` at once, and as many again over each `seconds`."""

    count: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read `60/1m`; raises ValueError that says so."""
        count, slash, period = text.partition("/")
        number, unit = period[:-1], period[-1:]
        good = slash and count.isascii() and count.isdecimal() and number.isascii() and number.isdecimal()
        if not good or unit not in _UNITS or not 0 < int(count) <= _MAX_COUNT or not 0 < int(number) <= _MAX_COUNT:
            raise ValueError(f"{text!r} is not a rate such as 60/1m: a count, and a time in s, m or h")
        return cls(int(count), int(number) * _UNITS[unit])

    def __str__(self) -> str:
        unit = next(unit for unit in ("h", "m", "s") if self.seconds % _UNITS[unit] == 0)
        return f"{self.count}/{self.seconds / _UNITS[unit]:g}{unit}"


FAILURES_PER_ADDRESS: Final = Rate(60, 60.0)
FAILURES_PER_PREFIX: Final = Rate(30, 60.0)
