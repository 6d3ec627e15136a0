"""A provider in a few lines: `places` calls are worked on at once, the others queue inside it, first come first."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from random import Random

from tidegate_dataplane.pressure.gradient import GradientLimit, Kind

CHAT: Kind = ("Chat", "m", False)


class SimulatedServer:
    """Work times are exponential with a mean of `mean` seconds, or all the same when not `random`; so with `places`
    workers it is an M/M/k or M/D/k server. There is always more to do than the limit lets through."""

    def __init__(self, limit: GradientLimit, places: int, *, seed: int, mean: float = 1.0, random: bool = True) -> None:
        self.limit = limit
        self.places = places
        self.mean = mean
        self.now = 0.0
        self.demand = 1_000_000
        self._random = Random(seed) if random else None
        self._working: list[tuple[float, float]] = []  # end, when the call was sent
        self._queued: deque[float] = deque()

    @property
    def running(self) -> int:
        return len(self._working) + len(self._queued)

    def run(self, seconds: float) -> Iterator[int]:
        """Yield the limit after each answer."""
        until = self.now + seconds
        while self.now < until:
            while self.running < min(self.limit.limit, self.demand):
                self._queued.append(self.now)
            self._begin()
            end, sent = heapq.heappop(self._working)
            self.now = end
            self.limit.answered(CHAT, sent, end, self.running + 1)
            yield self.limit.limit

    def average(self, seconds: float) -> float:
        """The mean limit over time."""
        total = 0.0
        began = last = self.now
        for limit in self.run(seconds):
            total += limit * (self.now - last)
            last = self.now
        return total / (self.now - began)

    def _begin(self) -> None:
        while self._queued and len(self._working) < self.places:
            sent = self._queued.popleft()
            work = self.mean if self._random is None else self._random.expovariate(1 / self.mean)
            heapq.heappush(self._working, (self.now + work, sent))
