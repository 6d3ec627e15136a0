"""One counter each, of four sorts: a token bucket, a calendar window, a sliding window, slots in use.

A cell is told the time and never asks for it. Limits come with each call, for they may change while what is used is
kept. `fits` brings the cell up to date and tells whether an amount fits in; `take` adds an amount and returns a
stamp; `correct` changes what was taken under a stamp (a settlement, a release, a call that turns out larger).

What is taken counts in the window in which its call came. When that is over, giving back changes nothing, and what is
used beyond what was taken counts in the present one, for nothing that is used goes uncounted.

All figures are integers, times too, in nanoseconds: nothing drifts. A clock that is put back gives nothing away: time
stands still until it has caught up, and a calendar window is never opened twice. Buckets and sliding windows, which
measure how much time has passed and not what time it is, do not wait for a clock that was put back far: they go on
counting from where they were.
"""

from functools import lru_cache
from math import ceil, inf
from typing import Final, Protocol

from tidegate_dataplane.ledger.calendar import bounds
from tidegate_dataplane.ledger.demand import Demand, Window

SLOTS: Final = 60
_SECOND: Final = 1_000_000_000
# What is further back than this is a clock that was put back, and no call that was a little late.
_LATE: Final = _SECOND
# Nobody knows when a call under way will end: those who find no slot ask again after so many seconds.
_ASK_AGAIN: Final = 1.0


@lru_cache(maxsize=4096)  # one number for all the buckets of a limit: less to work out, and less memory
def nanoseconds_per_token(rate: float) -> int:
    """The time in which a bucket of `rate` tokens a second gets one back, rounded up; at least 1."""
    return max(1, ceil(_SECOND / rate - 1e-6))  # the quotient of floats may lie a hair above a whole number


def slot_nanoseconds(seconds: float) -> int:
    """The width of a slot of a sliding window of so many seconds, rounded up."""
    return ceil(seconds * _SECOND / SLOTS)


class Cell(Protocol):
    """What the ledger needs of a counter. Times are seconds since the epoch, `retry_after` is in seconds."""

    def fits(self, demand: Demand, amount: int, now: float) -> bool: ...
    def take(self, amount: int) -> float: ...
    def correct(self, stamp: float, difference: int) -> None: ...
    def used(self) -> int: ...
    def reset_at(self, now: float) -> float: ...
    def retry_after(self, demand: Demand, amount: int, now: float) -> float: ...
    def idle(self, now: float) -> bool: ...


class BucketCell:
    """A token bucket as the generic cell rate algorithm keeps it (GCRA, ITU-T I.371): by the time at which it will be
    full, `full_at`.

    The stamp of a take is that time, right after it, and all that had been given back by then: what is given back later
    may have stood before it, and then it flows back so much sooner.
    """

    __slots__ = ("at", "behind", "full_at", "given", "interval", "rate", "void")

    def __init__(self, rate: float) -> None:
        self.at = 0
        self.behind = 0  # how far the clock was put back so far
        self.full_at = 0
        self.given = 0  # back, so far
        self.rate = rate
        self.interval = nanoseconds_per_token(rate)
        self.void = 0  # stamps up to this one speak of another rate

    def fits(self, demand: Demand, amount: int, now: float) -> bool:
        at = int(now * _SECOND) + self.behind
        if at <= self.at:
            at = self._wait(at)
        self.at = at
        if self.full_at < at:
            self.full_at = at
        if demand.terms.rate != self.rate:
            self._change(demand.terms.rate)
        return self.full_at - at <= (demand.amount - amount) * self.interval

    def _wait(self, at: int) -> int:
        if at < self.at - _LATE:
            self.behind += self.at - at
        return self.at

    def _change(self, rate: float) -> None:
        """Tokens that are out stay out, and flow back at the new rate."""
        interval = nanoseconds_per_token(rate)
        self.void = max(self.void, self.full_at + self.given)
        self.full_at = self.at - (self.at - self.full_at) * interval // self.interval
        self.rate, self.interval = rate, interval

    def take(self, amount: int) -> float:
        self.full_at = full_at = self.full_at + amount * self.interval
        return full_at + self.given

    def correct(self, stamp: float, difference: int) -> None:
        if difference > 0:
            self.full_at += difference * self.interval
        elif stamp > self.void:
            # What has flowed back of it by now is not given back twice: whoever came meanwhile may have taken it.
            owed = min(-difference * self.interval, int(stamp) - self.given - self.at)
            if owed > 0:
                self.full_at -= owed
                self.given += owed

    def used(self) -> int:
        return -((self.at - self.full_at) // self.interval)

    def reset_at(self, now: float) -> float:
        return max(now, (self.full_at - self.behind) / _SECOND)

    def retry_after(self, demand: Demand, amount: int, now: float) -> float:
        if amount > demand.amount:
            return inf
        fits_at = self.full_at - self.behind - (demand.amount - amount) * self.interval
        return max(0, fits_at - int(now * _SECOND)) / _SECOND

    def idle(self, now: float) -> bool:
        return self.full_at <= max(self.at, int(now * _SECOND) + self.behind)


class GaugeCell:
    """Slots in use: calls under way. No window; what is taken comes back by a settlement or a release alone."""

    __slots__ = ("amount",)

    def __init__(self) -> None:
        self.amount = 0

    def fits(self, demand: Demand, amount: int, now: float) -> bool:
        return self.amount + amount <= demand.amount

    def take(self, amount: int) -> float:
        self.amount += amount
        return 0.0

    def correct(self, stamp: float, difference: int) -> None:
        self.amount += difference

    def used(self) -> int:
        return self.amount

    def reset_at(self, now: float) -> float:
        return now + _ASK_AGAIN if self.amount else now

    def retry_after(self, demand: Demand, amount: int, now: float) -> float:
        if amount > demand.amount:
            return inf
        return 0.0 if self.amount + amount <= demand.amount else _ASK_AGAIN

    def idle(self, now: float) -> bool:
        return self.amount == 0


class Calendar:
    """The current window of a calendar period: worked out once a window, for all counters. It never goes back."""

    __slots__ = ("end", "start", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.start = self.end = -inf

    def advance(self, now: float) -> None:
        if self.window.calendar is not None:
            self.start, self.end = bounds(self.window.calendar, self.window.time_zone, now)


class CalendarCell:
    """Use within the current window of a calendar period."""

    __slots__ = ("amount", "calendar", "start")

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self.start = -inf
        self.amount = 0

    def fits(self, demand: Demand, amount: int, now: float) -> bool:
        calendar = self.calendar
        if now >= calendar.end:
            calendar.advance(now)
        if self.start != calendar.start:
            self.start = calendar.start
            self.amount = 0
        return self.amount + amount <= demand.amount

    def take(self, amount: int) -> float:
        self.amount += amount
        return self.start

    def correct(self, stamp: float, difference: int) -> None:
        if stamp == self.start or difference > 0:
            self.amount += difference

    def used(self) -> int:
        return self.amount

    def reset_at(self, now: float) -> float:
        return self.calendar.end

    def retry_after(self, demand: Demand, amount: int, now: float) -> float:
        return inf if amount > demand.amount else max(0.0, self.calendar.end - now)

    def idle(self, now: float) -> bool:
        return now >= self.calendar.end or self.start != self.calendar.start


class SlidingCell:
    """Use within the last stretch of time, in slots of a sixtieth of it.

    Conservative: the slot in which the stretch began counts whole, so that no stretch of that length, wherever it
    begins, ever holds more than the amount.
    """

    __slots__ = ("amount", "behind", "slot", "slots", "width")

    def __init__(self, seconds: float) -> None:
        self.width = slot_nanoseconds(seconds)
        self.slots: dict[float, int] = {}  # in the order of time
        self.slot = 0
        self.behind = 0  # how many slots the clock was put back so far
        self.amount = 0

    def fits(self, demand: Demand, amount: int, now: float) -> bool:
        slot = int(now * _SECOND) // self.width + self.behind
        if slot != self.slot:
            self._advance(slot)
        return self.amount + amount <= demand.amount

    def _advance(self, slot: int) -> None:
        if slot > self.slot:
            self.slot = slot
            slots = self.slots
            oldest = slot - SLOTS
            while slots:
                first = next(iter(slots))
                if first >= oldest:
                    return
                self.amount -= slots.pop(first)
        elif slot < self.slot - 1 - _LATE // self.width:
            # To the slot before, for this one may have only just begun, and the clock's may be about to end.
            self.behind += self.slot - 1 - slot

    def take(self, amount: int) -> float:
        slot = self.slot
        try:
            self.slots[slot] += amount
        except KeyError:
            self.slots[slot] = amount
        self.amount += amount
        return slot

    def correct(self, stamp: float, difference: int) -> None:
        try:
            self.slots[stamp] += difference
        except KeyError:
            if difference > 0:
                self.take(difference)
        else:
            self.amount += difference

    def used(self) -> int:
        return self.amount

    def reset_at(self, now: float) -> float:
        return self._gone_at(next(reversed(self.slots))) / _SECOND if self.slots else now

    def _gone_at(self, slot: float) -> int:
        return (int(slot) - self.behind + SLOTS + 1) * self.width

    def retry_after(self, demand: Demand, amount: int, now: float) -> float:
        if amount > demand.amount:
            return inf
        excess = self.amount + amount - demand.amount
        for slot, used in self.slots.items():
            excess -= used
            if excess <= 0:
                return max(0, self._gone_at(slot) - int(now * _SECOND)) / _SECOND
        return 0.0

    def idle(self, now: float) -> bool:
        self._advance(int(now * _SECOND) // self.width + self.behind)
        return not self.slots
