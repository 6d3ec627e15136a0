"""How many calls a backend takes at once, and who waits for a place there.

Without pressure a call costs a comparison and two additions. A place that is given back goes straight to the next call
in line, so while anybody waits, no newcomer can slip in.
"""

import asyncio
from enum import StrEnum
from random import uniform
from sys import maxsize
from typing import Final

from tidegate_dataplane.pressure.gradient import GradientLimit, Kind
from tidegate_dataplane.pressure.line import RANKS, Line, Place
from tidegate_dataplane.settings import Pressure
from tidegate_dataplane.snapshot.entries import ConcurrencyEntry, ConcurrencyMode, Priority

_WAITS: Final = (0.5, 1.0, 2.0, 4.0)
"""How much of the longest wait each rank may use."""
_RETRY_SECONDS: Final = (4, 2, 1, 1)
"""After how long a call of each rank may come again; up to twice that, so that they do not all come at once."""


class ShedReason(StrEnum):
    """Why a call was turned away: no room in the line, pushed out of it by another, or it waited too long."""

    FULL = "queue_full"
    PUSHED_OUT = "pushed_out"
    TIMEOUT = "timeout"


class Shed(Exception):
    """The call was turned away; nothing was sent. `retry_after` in seconds."""

    def __init__(self, reason: ShedReason, priority: Priority) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.priority = priority
        shortest = _RETRY_SECONDS[RANKS[priority]]
        self.retry_after = round(uniform(shortest, 2 * shortest))  # noqa: S311 - spreads load, protects nothing


class Waiting(Place):
    """`turn` gets None when a place is handed over, else why there is none."""

    __slots__ = ("turn",)

    def __init__(self, consumer: str, rank: int, turn: "asyncio.Future[ShedReason | None]") -> None:
        super().__init__(consumer, rank)
        self.turn = turn


def longest_wait(seconds: float, priority: Priority) -> float:
    """How long a call of that priority waits where a Normal one waits `seconds`."""
    return seconds * _WAITS[RANKS[priority]]


class Gate:
    """The places of one backend in this process. Belongs to one event loop.

    `running` counts calls under way, `limit` how many there may be. Each `take` that returned True, and each `wait`
    that returned, needs one `give_back`.
    """

    __slots__ = ("_concurrency", "_held", "_line", "_options", "adaptive", "limit", "running")

    def __init__(self, concurrency: ConcurrencyEntry | None, options: Pressure) -> None:
        self._options = options
        self._line: Line[Waiting] = Line(options.backend_queue)
        self._held: dict[str, int] = {}
        self._concurrency: ConcurrencyEntry | None = None
        self.adaptive: GradientLimit | None = None
        self.running = 0
        self.limit = maxsize
        self.configure(concurrency)

    @property
    def limited(self) -> bool:
        return self._concurrency is not None

    @property
    def mode(self) -> str:
        """Fixed or Adaptive; "" without a limit."""
        return "" if self._concurrency is None else self._concurrency.mode.value

    @property
    def waiting(self) -> int:
        """How many calls stand in line."""
        return len(self._line)

    def configure(self, concurrency: ConcurrencyEntry | None) -> None:
        """Follow a reload. What runs goes on, also above a lower limit; what was learnt stays, within the bounds."""
        if concurrency == self._concurrency:
            return
        self._concurrency = concurrency
        if concurrency is None:
            self.adaptive = None
            self._held.clear()
            self._set_limit(maxsize)
        elif concurrency.mode is ConcurrencyMode.FIXED:
            self.adaptive = None
            self._set_limit(concurrency.max)
        else:
            if self.adaptive is None:
                self.adaptive = GradientLimit(concurrency.initial, least=concurrency.min, most=concurrency.max)
            else:
                self.adaptive.bound(concurrency.min, concurrency.max)
            self._set_limit(self.adaptive.limit)

    def take(self, consumer: str) -> bool:
        """Take a place if there is one."""
        if self.running >= self.limit:
            return False
        self.running += 1
        if self._concurrency is not None:
            held = self._held
            held[consumer] = held.get(consumer, 0) + 1
        return True

    async def wait(self, consumer: str, priority: Priority, seconds: float) -> None:
        """Wait for a place, as long as the priority may but at most `seconds`. Raises Shed. To be called after `take`
        returned False."""
        loop = asyncio.get_running_loop()
        place = Waiting(consumer, RANKS[priority], loop.create_future())
        leaving = self._line.join(place)
        if leaving is place:
            raise Shed(ShedReason.FULL, priority)
        if leaving is not None and not leaving.turn.done():
            leaving.turn.set_result(ShedReason.PUSHED_OUT)
        longest = min(seconds, longest_wait(self._options.wait_seconds, priority))
        timer = loop.call_later(longest, self._time_up, place)
        try:
            refused = await place.turn
        except asyncio.CancelledError:
            self._gone(place)
            raise
        finally:
            timer.cancel()
        if refused is not None:
            raise Shed(refused, priority)

    def give_back(self, consumer: str) -> None:
        """A call is over."""
        self.running -= 1
        if self._concurrency is not None:
            held = self._held
            left = held.get(consumer, 0) - 1
            if left > 0:
                held[consumer] = left
            else:
                held.pop(consumer, None)
            if self._line:
                self._hand_over()

    def answered(self, kind: Kind, began: float, now: float) -> None:
        """The head of a good answer is here; `kind` groups calls that take about as long as each other."""
        if self.adaptive is not None:
            self.adaptive.answered(kind, began, now, self.running)
            self._set_limit(self.adaptive.limit)

    def abandoned(self, kind: Kind, began: float, now: float) -> None:
        """The caller went away before the head was here."""
        if self.adaptive is not None:
            self.adaptive.abandoned(kind, began, now, self.running)
            self._set_limit(self.adaptive.limit)

    def overloaded(self, now: float) -> None:
        """The provider said that it has too much to do, or did not answer in time."""
        if self.adaptive is not None:
            self.adaptive.overloaded(now)
            self._set_limit(self.adaptive.limit)

    def _set_limit(self, limit: int) -> None:
        self.limit = limit
        if self._line:
            self._hand_over()

    def _hand_over(self) -> None:
        while self.running < self.limit and len(self._line):
            place = self._line.take(self._held)
            if not place.turn.done() and self.take(place.consumer):
                place.turn.set_result(None)

    def _time_up(self, place: Waiting) -> None:
        if not place.turn.done():
            self._line.leave(place)
            place.turn.set_result(ShedReason.TIMEOUT)

    def _gone(self, place: Waiting) -> None:
        """The caller went away while it waited; what was handed over in the same moment goes to the next."""
        self._line.leave(place)
        if place.turn.done() and not place.turn.cancelled() and place.turn.result() is None:
            self.give_back(place.consumer)
