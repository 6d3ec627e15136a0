"""When a counter's use is worth telling: only what reaches its next threshold is looked at closer."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from tidegate_dataplane.alerts.rule import AlertRule, aligned_window
from tidegate_dataplane.ledger.calendar import bounds
from tidegate_dataplane.ledger.demand import Demand, Window

Note = Callable[[AlertRule, str, float, float, int, int], int]
# Of too many counters all are forgotten, and looked at anew.
_MOST: Final = 200_000
# What only counts what runs has no window: it is told of once in so many seconds.
_GAUGE_SECONDS: Final = 3_600.0


class _Known(Struct, frozen=True, gc=False):
    """From which use on it is worth telling, until when, at which amount."""

    least: int
    end: float
    amount: int


class Levels:
    """Tells `note` (see alerts.Alerts.note) of counters that reach a threshold."""

    __slots__ = ("_known", "_note")

    def __init__(self, note: Note) -> None:
        self._note = note
        self._known: dict[str, _Known] = {}

    def see(self, demand: Demand, used: int, now: float) -> None:
        """So much of a demand's counter is used, by all that share it."""
        rule = demand.terms.alert
        if rule is None:
            return
        known = self._known.get(demand.key)
        if known is not None and used < known.least and now < known.end and demand.amount == known.amount:
            return
        start, end = _bounds(demand.terms.window, now)
        if len(self._known) >= _MOST:
            self._known.clear()
        least = self._note(rule, demand.scope, start, end, used, demand.amount)
        self._known[demand.key] = _Known(least, end, demand.amount)


def _bounds(window: Window | None, now: float) -> tuple[float, float]:
    if window is None:
        return aligned_window(_GAUGE_SECONDS, now)
    if window.calendar is None:
        return aligned_window(window.sliding_seconds, now)
    found = bounds(window.calendar, window.time_zone, now)
    return found.start, found.end
