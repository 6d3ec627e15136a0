"""One counter each, of three sorts: a token bucket, a calendar window, a sliding window.

A cell is told the time and never asks for it. Limits come with each call, for they may change while what is used is
kept. `fits` brings the cell up to date and tells whether an amount fits in; `take` adds an amount and returns a
stamp; `correct` changes what was taken under a stamp (a settlement, a release).
"""

from collections import deque
from math import ceil, inf
from typing import Final, Protocol

from tidegate_dataplane.ledger.calendar import bounds
from tidegate_dataplane.ledger.demand import Demand, Window

SLOTS: Final = 60
# Sums of floats: a bucket that is full again to within this has room for one.
_EPSILON: Final = 1e-9


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
    """A token bucket, kept as the debt that flows back at the limit's rate."""

    __slots__ = ("at", "debt", "rate")

    def __init__(self, rate: float) -> None:
        self.debt = 0.0
        self.at = -inf
        self.rate = rate

    def fits(self, demand: Demand, amount: int, now: float) -> bool:
        self.rate = demand.rate
        self._advance(now)
        return self.debt + amount <= demand.amount + _EPSILON

    def _advance(self, now: float) -> None:
        if now > self.at:
            if self.debt:
                debt = self.debt - (now - self.at) * self.rate
                self.debt = debt if debt > 0.0 else 0.0
            self.at = now

    def take(self, amount: int) -> float:
        self.debt += amount
        return 0.0

    def correct(self, stamp: float, difference: int) -> None:
        self.debt = max(0.0, self.debt + difference)

    def used(self) -> int:
        return ceil(self.debt - _EPSILON)

    def reset_at(self, now: float) -> float:
        return now + self.debt / self.rate

    def retry_after(self, demand: Demand, amount: int, now: float) -> float:
        return inf if amount > demand.amount else max(0.0, (self.debt + amount - demand.amount) / demand.rate)

    def idle(self, now: float) -> bool:
        self._advance(now)
        return self.debt == 0.0


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
        if stamp == self.start:  # a call is charged to the window in which it came
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

    __slots__ = ("amount", "slot", "slots", "width")

    def __init__(self, seconds: float) -> None:
        self.width = seconds / SLOTS
        self.slots: deque[list[int]] = deque()
        self.slot = 0
        self.amount = 0

    def fits(self, demand: Demand, amount: int, now: float) -> bool:
        self._advance(now)
        return self.amount + amount <= demand.amount

    def _advance(self, now: float) -> None:
        slot = int(now // self.width)
        if slot > self.slot:
            self.slot = slot
            slots, oldest = self.slots, slot - SLOTS
            while slots and slots[0][0] < oldest:
                self.amount -= slots.popleft()[1]

    def take(self, amount: int) -> float:
        slots, slot = self.slots, self.slot
        if slots and slots[-1][0] == slot:
            slots[-1][1] += amount
        else:
            slots.append([slot, amount])
        self.amount += amount
        return slot

    def correct(self, stamp: float, difference: int) -> None:
        for entry in reversed(self.slots):
            if entry[0] == stamp:
                entry[1] += difference
                self.amount += difference
                return

    def used(self) -> int:
        return self.amount

    def reset_at(self, now: float) -> float:
        return (self.slots[-1][0] + SLOTS + 1) * self.width if self.slots else now

    def retry_after(self, demand: Demand, amount: int, now: float) -> float:
        if amount > demand.amount:
            return inf
        excess = self.amount + amount - demand.amount
        for slot, used in self.slots:
            excess -= used
            if excess <= 0:
                return max(0.0, (slot + SLOTS + 1) * self.width - now)
        return 0.0

    def idle(self, now: float) -> bool:
        self._advance(now)
        return not self.slots
