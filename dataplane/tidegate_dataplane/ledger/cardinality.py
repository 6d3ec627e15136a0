"""Scopes whose values callers choose: the first so many have counters of their own, all others share one.

Without a bound, whoever invents values fills the memory, and has a fresh allowance with each. So, for each limit and
within each of its windows:

- At most `most_values` values have counters of their own, on one data plane: those that came first. All others share
  the counter `(other)`, with one amount among them. A place is free again when its counter is empty again, and never
  before: when the calendar window is over, when the sliding window, or the time in which a bucket fills, has gone by
  since the last use, and for slots in use after an hour; at the latest when that long has gone by twice. So all values
  together never get more than (most_values + 1) amounts in a window, however many are invented.
- A value that has a place keeps it for the whole calendar window. One that came too late stays with the others for the
  whole of it, so that each value has one allowance; in a sliding window, where places become free one by one, it may
  have a part of the shared one and then its own.
- Inventing values can take the places of those who come later, which then have the shared allowance: choose an
  expression whose values callers cannot choose freely, such as a claim of a token, where that matters.

Each data plane decides by itself, so that no call waits for it. As long as there are no more values than places, all
agree, and a limit with accuracy Exact or Leased is as exact as any other. With more, N data planes may give places to
different values: then a value may have its own counter on one and the shared one on another, so at most two amounts,
and all together at most N * most_values + 1. A data plane that restarts counts as one more within that window.
"""

from hashlib import blake2b
from math import inf
from typing import Final

from tidegate_dataplane.ledger.calendar import bounds
from tidegate_dataplane.ledger.cells import SLOTS
from tidegate_dataplane.ledger.demand import Terms, Window

OTHER: Final = "(other)"
# Calls that run longer lose their slots in the shared store as well.
_GAUGE_SECONDS: Final = 3_600.0
# Values are in keys, messages and headers: longer ones are cut, and told apart by a digest.
_LONGEST: Final = 128
_SHOWN: Final = 64


class Values:
    """The values of one limit that have counters of their own. Told the time, in seconds since the epoch.

    Two generations: the values seen since `_begun`, and those seen only in the time before. For a calendar window a
    generation is the window and there is no earlier one; else it lasts until every counter not used in it is empty.
    """

    __slots__ = ("_before", "_seen", "_until", "_window", "lasts", "most")

    def __init__(self, most: int, window: Window | None = None, *, lasts: float = _GAUGE_SECONDS) -> None:
        """`most` values at a time; `lasts`: after so many seconds without use a counter without a calendar window is
        empty."""
        self.most = most
        self.lasts = lasts
        self._window = window if window is not None and window.calendar is not None else None
        self._seen: set[str] = set()
        self._before: set[str] = set()
        self._until = -inf

    def scope(self, value: str, now: float) -> str:
        """The scope that a value counts in: itself, or `OTHER`."""
        if now >= self._until:
            self._turn(now)
        if len(value) > _LONGEST:
            value = _shortened(value)
        if value in self._seen:
            return value
        if value in self._before:
            self._before.discard(value)
        elif len(self._seen) + len(self._before) >= self.most:
            return OTHER
        self._seen.add(value)
        return value

    def __len__(self) -> int:
        """How many have counters of their own."""
        return len(self._seen) + len(self._before)

    def _turn(self, now: float) -> None:
        window = self._window
        if window is not None and window.calendar is not None:
            self._seen = set()
            self._until = bounds(window.calendar, window.time_zone, now).end
            return
        idle = now >= self._until + self.lasts  # nothing came for the whole of the next generation
        self._before = set() if idle else self._seen
        self._seen = set()
        self._until = (now if idle else self._until) + self.lasts


class Cardinality:
    """The values of all limits, over reloads. Limits that are gone are forgotten with `keep`."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, Values] = {}

    def scope(self, terms: Terms, value: str, now: float, *, burst: int = 0) -> str:
        """The scope of a value that a caller chose. Terms without `most_values` have a counter for each value."""
        most = terms.most_values
        if not most:
            return value
        values = self._known.get(terms.key)
        if values is None:
            values = self._known[terms.key] = Values(most, terms.window)
        values.most = most
        if terms.rate:
            values.lasts = burst / terms.rate
        elif terms.window is not None:
            # As SlidingCell and the shared store count: the slot in which the stretch began counts whole.
            values.lasts = terms.window.sliding_seconds * (SLOTS + 2) / SLOTS
        return values.scope(value, now)

    def __len__(self) -> int:
        """Of how many limits values are known."""
        return len(self._known)

    def keep(self, keys: frozenset[str]) -> None:
        """Forget the values of all limits but these, given by `Terms.key`."""
        self._known = {key: values for key, values in self._known.items() if key in keys}


def _shortened(value: str) -> str:
    return f"{value[:_SHOWN]}…{blake2b(value.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"
