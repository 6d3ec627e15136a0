"""What is counted while a revision is tried on some data planes: for each revision, and for each consumer.

Only then is anything counted, so that it costs nothing otherwise; and bounded, whatever callers do. The operator
compares the figures of those that try the revision with the others'.
"""

from bisect import bisect_left
from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tidegate_dataplane.proxy.exchange import Exchange, Outcome

MAX_CONSUMERS = 1_000
MAX_REVISIONS = 8
OTHERS = "(others)"
NOBODY = "(nobody)"
_FIRST, _LAST, _STEP = 0.001, 120.0, 1.3


def _bounds() -> tuple[float, ...]:
    found = [_FIRST]
    while found[-1] < _LAST:
        found.append(found[-1] * _STEP)
    return tuple(round(bound, 6) for bound in found)


LATENCY_BOUNDS = _bounds()
"""Seconds to the head of a provider's answer: upper bounds of buckets, each 30 % above the one before."""


class Tally(msgspec.Struct):
    """Calls of one consumer: those that were let in, refused (401, 403), held to a limit (429), and failed (5xx)."""

    served: int = 0
    denied: int = 0
    limited: int = 0
    failed: int = 0

    def add(self, exchange: Exchange) -> None:
        status = exchange.status
        if status in (401, 403):
            self.denied += 1
        elif status == 429:
            self.limited += 1
        elif status >= 500:
            self.failed += 1
        else:
            self.served += 1


class RevisionTally(msgspec.Struct):
    """What was counted under one revision. `latency` counts answers by LATENCY_BOUNDS, the last what is above all."""

    total: Tally
    consumers: dict[str, Tally]
    latency: list[int]


class TrialReport(msgspec.Struct):
    """The body of `/-/rollout`: `trial` is 0 while nothing is tried."""

    trial: int
    revision: int
    revisions: dict[int, RevisionTally]


class Trial:
    """Counts for one data plane. `number` tells one trial from the next; 0: nothing is tried."""

    def __init__(self, revision: Callable[[], int]) -> None:
        """`revision` tells the one in force."""
        self._revision = revision
        self._tallies: dict[int, RevisionTally] = {}
        self.number = 0

    def follow(self, number: int) -> None:
        """A trial begins, goes on, or (0) is over."""
        if number != self.number:
            self.number = number
            self._tallies = {}

    def count(self, exchange: Exchange) -> None:
        """Count a call that is over. Ask only while `number` is not 0."""
        if exchange.outcome is Outcome.CALLER_GONE or not exchange.revision:
            return
        tally = self._tallies.get(exchange.revision)
        if tally is None:
            if len(self._tallies) >= MAX_REVISIONS:
                return
            tally = RevisionTally(Tally(), {}, [0] * (len(LATENCY_BOUNDS) + 1))
            self._tallies[exchange.revision] = tally
        tally.total.add(exchange)
        consumers, key = tally.consumers, _consumer(exchange)
        found = consumers.get(key)
        if found is None:
            if len(consumers) >= MAX_CONSUMERS:
                key = OTHERS
            found = consumers.setdefault(key, Tally())
        found.add(exchange)
        if exchange.attempts and exchange.outcome is Outcome.SERVED:
            tally.latency[bisect_left(LATENCY_BOUNDS, exchange.upstream_seconds)] += 1

    def report(self) -> TrialReport:
        """The figures so far."""
        return TrialReport(self.number, self._revision(), self._tallies)

    async def answer(self, request: Request) -> Response:
        """`GET /-/rollout`."""
        return Response(msgspec.json.encode(self.report()), media_type="application/json")


def _consumer(exchange: Exchange) -> str:
    decision = exchange.decision
    consumer = None if decision is None else decision.consumer
    return (consumer.key if consumer is not None else "") or NOBODY
