"""A deadline that is moved for every request and hardly ever reached.

Arming and cancelling a timer for each request costs more than the rest of the bookkeeping. Here moving the
deadline only stores a number: the timer that is already running looks, when it fires, whether the deadline
has moved on, and sleeps for the rest.
"""

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """Call `expired` once when `seconds` have passed since the last `start` without a `stop`."""

    __slots__ = ("_at", "_expired", "_fires_at", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = math.inf
        self._at = math.inf

    def start(self, seconds: float) -> None:
        self._at = at = self._loop.time() + seconds
        if at < self._fires_at:
            self._arm(seconds)

    def stop(self) -> None:
        self._at = math.inf

    def cancel(self) -> None:
        """Stop for good and let go of the timer."""
        self._at = self._fires_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = self._loop.time() + seconds
        self._timer = self._loop.call_later(seconds, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._fires_at = math.inf
        if self._at == math.inf:
            return
        left = self._at - self._loop.time()
        if left > 0:
            self._arm(left)
            return
        self._at = math.inf
        self._expired()
